/*
 * The process in which dompool-image reads what is foreign, seen from outside: it has no rights,
 * and its end costs the import alone.
 */
#include "tests/unit/check.h"
#include "tests/unit/image_helper.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "restore/protocol/protocol.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PV IMAGE_GUEST_PV

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    return dir_setup(state);
}

/* The only child of a process, once it has one. */
static pid_t child_of(pid_t pid)
{
    char path[64], *text;
    long child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    for (unsigned i = 0; !child; i++) {
        assert_true(i < 5000);
        usleep(1000);
        if (read_file(path, 100, &text, NULL, NULL))
            continue;
        child = strtol(text, NULL, 10);
        free(text);
    }
    return (pid_t)child;
}

/* Waits until the kernel says this of the process. */
static void wait_for_status(pid_t pid, const char *line)
{
    char path[64], *text;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    for (unsigned i = 0; !found; i++) {
        assert_true(i < 5000);
        usleep(1000);
        assert_int_equal(read_file(path, 10000, &text, NULL, NULL), 0);
        found = strstr(text, line);
        free(text);
    }
}

/* Waits until it sleeps, which it does for nothing but more of the FIFO: it has done what comes
 * before that. */
static void wait_for_sleep(pid_t pid)
{
    for (unsigned i = 0; i < 20; i++)
        wait_for_status(pid, "\nState:\tS");
}

/* Descriptors of a process. */
static unsigned descriptors(pid_t pid)
{
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

/* What reads the save file has no rights: seen from outside, while it is in the middle of it. */
static void reader_has_no_rights(void **state)
{
    const char *fifo = scratch_path(&dir, "fifo"), *image = scratch_path(&dir, "x.img");
    struct helper h;
    struct stream_build b;
    struct built f;
    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    stream_build_init(&b, PV);
    stream_build_bytes(&b, &f);
    helper_start(&h);
    helper_ask(&h, fifo, image);
    int feed = feed_half(fifo, &f);
    pid_t reader = child_of(h.pid);
    wait_for_status(reader, "\nSeccomp:\t2\n");
    wait_for_status(reader, "\nNoNewPrivs:\t1\n");
    wait_for_status(reader, "\nCapEff:\t0000000000000000\n");
    if (!geteuid()) {
        wait_for_status(reader, "\nUid:\t65534\t65534\t65534\t65534\n");
        wait_for_status(reader, "\nGroups:\t \n");
        assert_int_equal(descriptors(reader), 4); /* standard error, its socket, save file, image */
    }
    assert_int_equal(write_full(feed, f.bytes + f.size / 2, f.size - f.size / 2), 0);
    fd_close(&feed);
    json_t *o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "done");
    json_decref(o);
    assert_int_equal(helper_end(&h), 0);
    built_dispose(&f);
    stream_build_dispose(&b);
}

/* One that is killed costs its import, and nothing stays. */
static void reader_dies(void **state)
{
    const char *fifo = scratch_path(&dir, "fifo"), *image = scratch_path(&dir, "x.img");
    struct helper h;
    struct stream_build b;
    struct built f;
    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    stream_build_init(&b, PV);
    stream_build_bytes(&b, &f);
    helper_start(&h);
    helper_ask(&h, fifo, image);
    int feed = feed_half(fifo, &f);
    pid_t reader = child_of(h.pid);
    wait_for_status(reader, "\nSeccomp:\t2\n");
    kill(reader, SIGKILL);
    json_t *o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "failed");
    assert_says(json_string_value(json_object_get(o, "error")), "killed by signal 9");
    json_decref(o);
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
    fd_close(&feed);
    assert_int_equal(scratch_files(&dir, false), 1); /* the FIFO */
    built_dispose(&f);
    stream_build_dispose(&b);
}

/* Rights that cannot be given up: no work, and a text that says what to do. */
static void reader_without_user(void **state)
{
    const char *save = scratch_path(&dir, "s"), *image = scratch_path(&dir, "x.img");
    static const char *const users[] = {"root", "no-such-user-here"};
    struct stream_build b;
    (void)state;
    stream_build_init(&b, PV);
    write_save_file(&b);
    stream_build_dispose(&b);
    for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
        struct helper h;
        assert_int_equal(setenv(HELPER_USER_VARIABLE, users[i], 1), 0);
        helper_start(&h);
        unsetenv(HELPER_USER_VARIABLE);
        helper_ask(&h, save, image);
        json_t *o = helper_hear(&h);
        assert_string_equal(json_string_value(json_object_get(o, "event")), "failed");
        assert_says(json_string_value(json_object_get(o, "error")), "helper_user");
        json_decref(o);
        assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
        assert_int_equal(access(image, F_OK), -1);
    }
}

/* A base that cannot be read any more, while the import compares with it, is named. */
static void base_becomes_unreadable(void **state)
{
    const char *fifo = scratch_path(&dir, "fifo"), *image = scratch_path(&dir, "x.img");
    const char *base = scratch_path(&dir, "b.img");
    struct helper h;
    struct stream_build b;
    struct built f;
    struct error e;
    struct image_info info;
    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    stream_build_init(&b, PV);
    assert_int_equal(stream_build_import(&b, base, &info, &e), 0);
    stream_build_bytes(&b, &f);
    helper_start(&h);
    json_t *o =
        json_pack("{ss ss ss ss}", "op", "import", "save", fifo, "image", image, "base", base);
    assert_int_equal(message_send(h.fd, o, &e), 0);
    json_decref(o);
    int feed = open(fifo, O_WRONLY | O_CLOEXEC);
    assert_true(feed >= 0);
    pid_t reader = child_of(h.pid);
    wait_for_status(reader, "\nSeccomp:\t2\n");
    assert_int_equal(write_full(feed, f.bytes, 4096), 0); /* the configuration, and no page */
    wait_for_sleep(reader);
    assert_int_equal(truncate(base, PAGE_BYTES), 0);
    (void)!write_full(feed, f.bytes + 4096, f.size - 4096);
    fd_close(&feed);
    o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "answer")), "ImageRefused");
    assert_says(json_string_value(json_object_get(o, "error")), "b.img: byte");
    assert_says(json_string_value(json_object_get(o, "error")), "cannot be read");
    json_decref(o);
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
    assert_int_equal(access(image, F_OK), -1);
    built_dispose(&f);
    stream_build_dispose(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(reader_has_no_rights),
        TEST_IN_DIR(reader_dies),
        TEST_IN_DIR(reader_without_user),
        TEST_IN_DIR(base_becomes_unreadable),
    };
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
