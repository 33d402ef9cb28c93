/*
 * restore/protocol/unreadable.h: a process that touches a page of an image which the disk does not
 * give says which image it was. A file that becomes shorter under its mapping is such a disk.
 */
#include "tests/unit/check.h"

#include "base/message.h"
#include "base/page.h"
#include "restore/protocol/protocol.h"
#include "restore/protocol/unreadable.h"
#include "store/image.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PAGES 40u

static void write_image(const char *path)
{
    struct image_page pages[PAGES];
    uint8_t page[PAGE_BYTES];
    struct image_info info = {.guest = IMAGE_GUEST_PVH, .vcpus = 1, .max_pfn = PAGES};
    struct image_writer *w;
    struct error e;
    assert_int_equal(image_writer_new(path, &w, &e), 0);
    for (unsigned i = 0; i < PAGES; i++) {
        memset(page, (int)i + 1, sizeof page);
        page[0] = 0xff;
        pages[i].pfn_type = i;
        assert_int_equal(image_writer_payload(w, page, &pages[i].payload, &e), 0);
    }
    assert_int_equal(image_writer_pages(w, pages, PAGES, &e), 0);
    assert_int_equal(image_writer_config(w, "{}", &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), 0);
    image_writer_free(w);
}

/* In a child: opens the image, shortens it, and reads what is gone. */
static _Noreturn void touch_what_is_gone(const char *path, int fd)
{
    struct error e;
    struct image *im;
    unreadable_report(fd);
    if (image_open(path, &im, &e) || truncate(path, 3 * (off_t)PAGE_BYTES))
        _exit(90);
    image_drop(im);
    if (image_verify(im, &e))
        _exit(91);
    _exit(92);
}

static int run(const char *path, int pair[2])
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid)
        touch_what_is_gone(path, pair ? pair[1] : -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void named(void **state)
{
    static const char *const names[] = {"a.img", "quote\"back\\slash.img", "\xc3\xa4.img"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        int pair[2];
        struct error e;
        struct message_reader reader;
        json_t *message;
        const char *path = scratch_path(&dir, names[i]);
        write_image(path);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        int status = run(path, pair);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
        message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
        if (message_receive(pair[0], &reader, &message, &e) != 1)
            fail_msg("%s", e.text);
        assert_string_equal(json_string_value(json_object_get(message, "event")), "failed");
        assert_string_equal(json_string_value(json_object_get(message, "answer")), "ImageRefused");
        const char *text = json_string_value(json_object_get(message, "error"));
        assert_says(text, "cannot be read");
        assert_says(text, i == 1 ? "quote?back?slash.img: byte 12288" : names[i]);
        json_decref(message);
        message_reader_dispose(&reader);
        close(pair[0]);
        close(pair[1]);
    }
}

/* By hand there is no socket. */
static void by_hand(void **state)
{
    (void)state;
    const char *path = scratch_path(&dir, "a.img");
    write_image(path);
    int status = run(path, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* No image's fault: it ends as it always did. */
static void somebody_elses(void **state)
{
    int status;
    (void)state;
    scratch_write(&dir, "f", "x", 1);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        unreadable_report(-1);
        int fd = open(scratch_path(&dir, "f"), O_RDONLY);
        const volatile char *p = mmap(NULL, 2 * PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        _exit(p[PAGE_BYTES]);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

/* Which image an address belongs to, and none once it is closed. */
static void addresses(void **state)
{
    struct image *a, *b;
    struct error e;
    uint64_t at;
    (void)state;
    write_image(scratch_path(&dir, "a"));
    write_image(scratch_path(&dir, "b"));
    assert_int_equal(image_open(scratch_path(&dir, "a"), &a, &e), 0);
    assert_int_equal(image_open(scratch_path(&dir, "b"), &b, &e), 0);
    const uint8_t *in_a = image_payload(a, 2), *in_b = image_payload(b, 0);
    assert_string_equal(image_of_address(in_a + 7, &at), scratch_path(&dir, "a"));
    assert_int_equal(at, image_payload_offset(a) + 2 * PAGE_BYTES + 7);
    assert_string_equal(image_of_address(in_b, &at), scratch_path(&dir, "b"));
    assert_null(image_of_address(&at, &at));
    assert_null(image_of_address(in_a + (1u << 30), &at));
    image_close(a);
    assert_null(image_of_address(in_a, &at));
    assert_string_equal(image_of_address(in_b, &at), scratch_path(&dir, "b"));
    image_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(named),
        TEST_IN_DIR(by_hand),
        TEST_IN_DIR(somebody_elses),
        TEST_IN_DIR(addresses),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
