/*
 * A scripted daemon: runs a command with DOMPOOL_SOCKET pointing at itself, answers its requests
 * by a script, and exits with the command's status.
 *
 *   fake SCRIPT COMMAND [ARGUMENT...]
 *
 * SCRIPT is a JSON array (or "" for []); each request takes the next step:
 *
 *   {"expect": {whole request},   compared; a difference is a failure (status 99)
 *    "replies": [{message}, ...], sent in order, a few bytes at a time
 *    "raw": "text",               sent as it is, with a NUL behind it
 *    "end": true,                 close every connection then
 *    "signal": 15,                send this to the command then
 *    "again": true}               serve any number of equal requests, zero too
 *
 * The command may hold two connections; a request is answered on its own.
 *
 * A request too many, or a step that was not taken, is a failure, too.
 */
#include "base/io.h"
#include "base/message.h"
#include "base/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED 99
#define CONNS 2

struct conn {
    int fd; /* -1: none */
    struct message_reader reader;
};

static json_t *script;
static size_t step;
static pid_t child;
static struct conn conns[CONNS] = {{.fd = -1}, {.fd = -1}};
static bool failed;

static void fail(const char *what, const json_t *expected, const json_t *got)
{
    char *a = expected ? json_dumps(expected, JSON_SORT_KEYS) : NULL;
    char *b = got ? json_dumps(got, JSON_SORT_KEYS) : NULL;
    fprintf(stderr, "fake: step %zu: %s\n  expected %s\n  got      %s\n", step, what, a ? a : "-",
            b ? b : "-");
    free(a);
    free(b);
    failed = true;
}

static int listen_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!format_fits(at.sun_path, sizeof at.sun_path, "%s", path) ||
        bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 8)) {
        perror("fake: listen");
        exit(FAILED);
    }
    return fd;
}

static void hang_up(struct conn *c)
{
    if (c->fd >= 0)
        message_reader_dispose(&c->reader);
    fd_close(&c->fd);
}

static void hang_up_all(void)
{
    for (size_t i = 0; i < CONNS; i++)
        hang_up(&conns[i]);
}

/* In pieces, so that the client meets partial messages. */
static void send_pieces(const struct conn *c, const char *bytes, size_t len)
{
    while (len) {
        size_t n = len > 1000 ? len - 7 : len > 7 ? 7 : len;
        if (send(c->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
            return;
        bytes += n;
        len -= n;
    }
}

static void step_answer(const struct conn *c, const json_t *now)
{
    json_t *reply;
    size_t i;
    json_array_foreach (json_object_get(now, "replies"), i, reply) {
        size_t len;
        char *text = message_encode(reply, &len);
        send_pieces(c, text, len);
        free(text);
    }
    const char *raw = json_string_value(json_object_get(now, "raw"));
    if (raw)
        send_pieces(c, raw, strlen(raw) + 1);
    if (json_is_true(json_object_get(now, "end")))
        hang_up_all();
    if (json_object_get(now, "signal"))
        kill(child, (int)json_integer_value(json_object_get(now, "signal")));
}

static void request_handle(struct conn *c, const json_t *request)
{
    for (; step < json_array_size(script); step++) {
        const json_t *now = json_array_get(script, step);
        const json_t *expect = json_object_get(now, "expect");
        bool again = json_is_true(json_object_get(now, "again"));
        bool same = !expect || json_equal(expect, request);
        if (!same && again)
            continue;
        if (!same)
            fail("another request", expect, request);
        step_answer(c, now);
        step += !again;
        return;
    }
    fail("a request too many", NULL, request);
    hang_up(c);
}

static void conn_read(struct conn *c)
{
    char chunk[4096];
    struct error e = {0};
    json_t *request;
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n <= 0 || message_reader_feed(&c->reader, chunk, (size_t)n, &e)) {
        hang_up(c);
        return;
    }
    int rc;
    while (c->fd >= 0 && (rc = message_reader_next(&c->reader, &request, &e)) > 0) {
        request_handle(c, request);
        json_decref(request);
    }
    if (e.code)
        fail(e.text, NULL, NULL);
}

static void conn_accept(int listener)
{
    size_t i = conns[0].fd < 0 ? 0 : 1;
    conns[i].fd = accept(listener, NULL, NULL);
    message_reader_init(&conns[i].reader, 1u << 20);
}

static void serve(int listener, int ended)
{
    for (;;) {
        bool full = conns[0].fd >= 0 && conns[1].fd >= 0;
        struct pollfd watch[] = {{.fd = ended, .events = POLLIN},
                                 {.fd = full ? -1 : listener, .events = POLLIN},
                                 {.fd = conns[0].fd, .events = POLLIN},
                                 {.fd = conns[1].fd, .events = POLLIN}};
        if (poll(watch, 4, 30000) == 0) {
            fail("nothing happened for 30 s", json_array_get(script, step), NULL);
            kill(child, SIGKILL);
        }
        bool quiet = true;
        for (size_t i = 0; i < CONNS; i++) {
            if (!watch[2 + i].revents)
                continue;
            quiet = false;
            if (conns[i].fd >= 0)
                conn_read(&conns[i]);
        }
        if (watch[1].revents)
            conn_accept(listener);
        else if (quiet && watch[0].revents)
            return;
    }
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/dompool-fake-XXXXXX", path[64];
    if (argc < 3 || !mkdtemp(dir) || !format_fits(path, sizeof path, "%s/socket", dir))
        return FAILED;
    script = *argv[1] ? json_loads(argv[1], JSON_REJECT_DUPLICATES, NULL) : json_array();
    if (!json_is_array(script)) {
        fprintf(stderr, "fake: the script is no JSON array: %s\n", argv[1]);
        return FAILED;
    }
    int listener = listen_at(path);
    setenv("DOMPOOL_SOCKET", path, 1);
    child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(FAILED);
    }
    int ended = pidfd_open(child, 0), status;
    serve(listener, ended);
    waitpid(child, &status, 0);
    while (step < json_array_size(script) &&
           json_is_true(json_object_get(json_array_get(script, step), "again")))
        step++;
    if (step < json_array_size(script))
        fail("not reached", json_array_get(script, step), NULL);
    hang_up_all();
    close(ended);
    close(listener);
    unlink(path);
    rmdir(dir);
    json_decref(script);
    return failed ? FAILED : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
