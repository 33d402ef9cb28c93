/* The helper dompool-image of a test: see image_helper.h. */
#include "tests/unit/image_helper.h"
#include "tests/unit/check.h"

#include "base/io.h"
#include "restore/protocol/protocol.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

void write_save_file(struct stream_build *b)
{
    struct built f;
    stream_build_bytes(b, &f);
    scratch_write(&dir, "s", f.bytes, f.size);
    built_dispose(&f);
}

void helper_start(struct helper *h)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    h->pid = fork();
    assert_true(h->pid >= 0);
    if (!h->pid) {
        close(pair[0]);
        if (dup2(pair[1], HELPER_FD) < 0)
            _exit(99);
        execl(IMPORT_HELPER, IMPORT_HELPER, (char *)NULL);
        _exit(99);
    }
    close(pair[1]);
    h->fd = pair[0];
    message_reader_init(&h->reader, HELPER_MESSAGE_LIMIT);
}

int helper_end(struct helper *h)
{
    int status;
    fd_close(&h->fd);
    message_reader_dispose(&h->reader);
    assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
    return status;
}

void helper_ask(struct helper *h, const char *save, const char *image)
{
    struct error e;
    json_t *request = json_pack("{ss ss ss s{ss}}", "op", "import", "save", save, "image", image,
                                "disks", "xvda", "cow:/dev/vg/disk");
    assert_int_equal(message_send(h->fd, request, &e), 0);
    json_decref(request);
}

/* The next message that is not about progress. */
json_t *helper_hear(struct helper *h)
{
    struct error e = {0};
    json_t *o;
    for (;;) {
        if (message_receive(h->fd, &h->reader, &o, &e) != 1)
            fail_msg("no answer: %s", e.text);
        if (strcmp(json_string_value(json_object_get(o, "event")), "progress"))
            return o;
        json_decref(o);
    }
}

/* A FIFO as save file: the helper is in the middle of it for as long as we like. */
int feed_half(const char *fifo, const struct built *f)
{
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, f->bytes, f->size / 2), 0);
    return fd;
}
