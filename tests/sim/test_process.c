/*
 * pool/service/process.h: what a helper finds when it starts, and what its owner hears of it. This
 * program is its own helper: it is one when it finds DOMPOOL_LOG_LEVEL, and then answers one
 * message and waits to be killed.
 */
#include "base/message.h"
#include "base/text.h"
#include "pool/service/process.h"
#include "restore/protocol/protocol.h"
#include "tests/cmocka.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static uv_loop_t loop;
static struct work_queue starts;
static struct list helpers;
static char self[PATH_MAX], how_ended[96];
static json_t *heard;
static unsigned ended;
static int null_fd;

/* ---- as the helper ---- */

static bool is_null_device(int fd)
{
    struct stat st, null;
    return !fstat(fd, &st) && !stat("/dev/null", &null) && st.st_rdev == null.st_rdev;
}

static int be_helper(void)
{
    struct message_reader reader;
    struct sigaction pipe_action;
    sigset_t blocked;
    struct error e;
    json_t *asked;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    if (message_receive(HELPER_FD, &reader, &asked, &e) != 1)
        return 1;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    sigaction(SIGPIPE, NULL, &pipe_action);
    int kept_open = atoi(json_string_value(json_object_get(asked, "fd")));
    char input[16] = "";
    ssize_t n = read(HELPER_INPUT_FD, input, sizeof input - 1);
    json_t *answer =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:s}", "input", n < 0 ? "none" : input, "null",
                  is_null_device(0) && is_null_device(1), "closed", fcntl(kept_open, F_GETFD) < 0,
                  "unblocked", !sigismember(&blocked, SIGUSR1), "signals",
                  pipe_action.sa_handler == SIG_DFL, "level", getenv("DOMPOOL_LOG_LEVEL"));
    if (message_send(HELPER_FD, answer, &e))
        return 2;
    for (;;)
        pause();
}

/* ---- as the owner ---- */

static void message_came(struct helper *h, void *owner, const json_t *message)
{
    (void)h;
    assert_ptr_equal(owner, &heard);
    assert_null(heard);
    heard = json_incref((json_t *)(uintptr_t)message);
    uv_stop(&loop);
}

static void helper_ended(struct helper *h, void *owner, const char *how)
{
    (void)h;
    assert_ptr_equal(owner, &heard);
    ended++;
    format_fits(how_ended, sizeof how_ended, "%s", how);
    uv_stop(&loop);
}

static const struct helper_events events = {message_came, helper_ended};

static struct helper *start_with(const char *path, int input)
{
    struct helper *h;
    struct error e;
    ended = 0;
    const struct helper_settings settings = {"debug", "nobody"};
    if (helper_spawn(&starts, &loop, path, &settings, input, &events, &heard, &helpers, &h, &e))
        fail_msg("%s", e.text);
    assert_int_equal(ended, 0); /* never from inside */
    return h;
}

static struct helper *start(const char *path)
{
    return start_with(path, -1);
}

static void hear_end(const char *how)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(ended, 1);
    assert_string_equal(how_ended, how);
    while (!list_empty(&helpers))
        uv_run(&loop, UV_RUN_ONCE);
}

/* What is sent before it runs waits for it. Nothing of ours is left to it. */
static void what_it_finds(void **state)
{
    char fd[12];
    sigset_t usr1;
    (void)state;
    int kept_open = open("/dev/null", O_RDONLY | O_CLOEXEC);
    format_fits(fd, sizeof fd, "%d", kept_open);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    struct helper *h = start(self);
    json_t *message = json_pack("{s:s}", "fd", fd);
    helper_send(h, message);
    json_decref(message);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_non_null(heard);
    static const char *const all[] = {"null", "closed", "unblocked", "signals"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (!json_is_true(json_object_get(heard, all[i])))
            fail_msg("not %s", all[i]);
    assert_string_equal(json_string_value(json_object_get(heard, "level")), "debug");
    assert_string_equal(json_string_value(json_object_get(heard, "input")), "none");
    json_decref(heard);
    heard = NULL;
    helper_stop(h);
    hear_end("was killed by signal 15 (Terminated)");
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    close(kept_open);
}

/* Its input is its own from the call on, whatever becomes of the caller's, under any number. */
static void what_it_reads(void **state)
{
    (void)state;
    for (int at = HELPER_FD; at <= HELPER_INPUT_FD; at++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], "given", 5), 5);
        close(ends[1]);
        assert_int_equal(dup3(ends[0], at, O_CLOEXEC), at);
        close(ends[0]);
        struct helper *h = start_with(self, at);
        dup3(null_fd, at, O_CLOEXEC);
        json_t *message = json_pack("{s:s}", "fd", "99");
        helper_send(h, message);
        json_decref(message);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_string_equal(json_string_value(json_object_get(heard, "input")), "given");
        json_decref(heard);
        heard = NULL;
        helper_kill(h);
        hear_end("was killed by signal 9 (Killed)");
    }
}

static void how_it_ends(void **state)
{
    (void)state;
    start("/bin/true");
    hear_end("exited with status 0");
    start("/bin/false");
    hear_end("exited with status 1");
    start("/nonexistent");
    hear_end("could not be started: no such file or directory");
    start("/dev/null");
    hear_end("could not be started: permission denied");
}

/* Whoever is killed while it is being started is killed when it has been. */
static void killed_at_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct helper *h = start(self);
        helper_stop(h);
        helper_kill(h);
        helper_stop(h);
        hear_end("was killed by signal 9 (Killed)");
    }
}

/* Nobody hears of it any more, and it is gone. */
static void abandoned(void **state)
{
    (void)state;
    start(self);
    helper_abandon(helpers.next);
    while (!list_empty(&helpers))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(ended, 0);
}

static int begin(void **state)
{
    struct error e;
    (void)state;
    while ((null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) <= HELPER_INPUT_FD)
        assert_true(null_fd >= 0); /* below it are none of the loop's */
    uv_loop_init(&loop);
    list_init(&helpers);
    signal(SIGPIPE, SIG_IGN);
    return work_queue_init(&starts, &loop, &helper_start_ops, NULL, 1, &e);
}

static int end(void **state)
{
    close(null_fd);
    (void)state;
    work_queue_stop(&starts);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

int main(void)
{
    if (getenv("DOMPOOL_LOG_LEVEL"))
        return be_helper();
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_finds), cmocka_unit_test(what_it_reads),
        cmocka_unit_test(how_it_ends),   cmocka_unit_test(killed_at_once),
        cmocka_unit_test(abandoned),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
