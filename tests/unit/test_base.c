/* base/error.h, and the small things of base/: io, page, text, uuid, units. */
#include "tests/unit/check.h"

#include "base/array.h"
#include "base/error.h"
#include "base/io.h"
#include "base/log.h"
#include "base/page.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/units.h"
#include "base/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void plain_texts(void **state)
{
    static const struct {
        const char *text, *plain;
    } cases[] = {
        {"", ""},
        {"a\tb\x1b\x7f", "a?b??"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80."},
        {"a\xc3", "a"},               /* cut */
        {"a\xf0\x9f\x98", "a"},       /* cut */
        {"\xc3(", "?("},              /* no second byte */
        {"\x80\xbf", "??"},           /* no first byte */
        {"\xc0\xaf", "??"},           /* too long for '/' */
        {"\xe0\x80\xaf", "???"},      /* likewise */
        {"\xed\xa0\x80", "???"},      /* a surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* beyond Unicode */
        {"\xff\xfe", "??"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[32];
        strcpy(text, cases[i].text);
        text_plain(text);
        assert_string_equal(text, cases[i].plain);
    }
    /* The same bytes are good or bad in a text that is kept, but for control characters. */
    for (size_t i = 1; i < ARRAY_SIZE(cases); i++) {
        char text[32];
        size_t len = strlen(cases[i].text), wrong = 0;
        strcpy(text, cases[i].text);
        for (size_t j = 0; cases[i].plain[j]; j++)
            wrong += cases[i].plain[j] == '?';
        wrong = i == 1 ? 0 : wrong + len - strlen(cases[i].plain);
        assert_int_equal(text_repair(text, len, '!'), wrong);
        json_t *json = json_stringn(text, len);
        assert_non_null(json);
        json_decref(json);
    }
    /* Wherever a text is cut, what is left is UTF-8. */
    for (size_t size = 1; size < 12; size++) {
        char text[12];
        struct error e;
        format_fits(text, size, "%s", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
        json_t *json = json_string(text);
        assert_non_null(json);
        json_decref(json);
        error_set(&e, -1, "%*s%s", (int)(sizeof e.text - size), "", "\xf0\x9f\x98\x80\xe2\x82\xac");
        json = json_string(e.text);
        assert_non_null(json);
        json_decref(json);
    }
}

static void error_texts(void **state)
{
    (void)state;
    struct error e = {0};
    assert_int_equal(error_set(&e, ANSWER_BAD_VALUE, "x%d\ny\x7f", 1), ANSWER_BAD_VALUE);
    assert_string_equal(e.text, "x1?y?"); /* one line whatever is put into it */
    assert_int_equal(e.code, ANSWER_BAD_VALUE);
    assert_int_equal(error_prefix(&e, "a %s: ", "b"), ANSWER_BAD_VALUE);
    assert_string_equal(e.text, "a b: x1?y?");
    assert_int_equal(error_errno(&e, ENOENT, "open %s", "f"), -ENOENT);
    assert_string_equal(e.text, "open f: No such file or directory");
    error_clear(&e);
    assert_int_equal(e.code, 0);
    assert_int_equal(error_set(NULL, -EIO, "nobody reads this"), -EIO);
    assert_int_equal(error_errno(NULL, 0, "no errno"), -EIO);
}

static void error_text_is_cut(void **state)
{
    (void)state;
    struct error e = {0};
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    error_set(&e, -EIO, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    error_errno(&e, EIO, "%s", big);
    error_prefix(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void answers_have_names(void **state)
{
    (void)state;
    for (int i = 1; i < ANSWER_COUNT; i++) {
        assert_int_equal(answer_by_name(answer_name(i)), i);
        assert_true(strlen(answer_text(i)) > 0);
    }
    assert_string_equal(answer_name(-EIO), "Internal");
    assert_string_equal(answer_name(10000), "Internal");
    assert_int_equal(answer_by_name("NoSuchThing"), ANSWER_NONE);
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
        const char *shortest;
    } good[] = {{"0", 0, "0ms"},           {"500ms", 500, "500ms"}, {"10s", 10000, "10s"},
                {"90s", 90000, "90s"},     {"5m", 300000, "5m"},    {"120m", 7200000, "2h"},
                {"1001ms", 1001, "1001ms"}};
    static const char *const bad[] = {
        "", "5", "s", "-1s", "5 s", "5S", "1.5s", "5sx", "99999999999999999999s", "87601h", "0x5s"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t ms = 1;
        char text[32];
        assert_int_equal(duration_parse_ms(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
        duration_format_ms(ms, text, sizeof text);
        assert_string_equal(text, good[i].shortest);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t ms;
        assert_int_equal(duration_parse_ms(bad[i], &ms), -1);
    }
}

static void sizes(void **state)
{
    (void)state;
    uint64_t bytes;
    char text[32];
    assert_int_equal(size_parse_bytes("512M", &bytes), 0);
    assert_int_equal(bytes, 512u << 20);
    size_format_bytes(bytes, text, sizeof text);
    assert_string_equal(text, "512M");
    assert_int_equal(size_parse_bytes("4097", &bytes), 0);
    size_format_bytes(bytes, text, sizeof text);
    assert_string_equal(text, "4097");
    assert_int_equal(size_parse_bytes("9000000T", &bytes), -1);
    assert_int_equal(size_parse_bytes("16777216T", &bytes), -1); /* 2^64 */
    assert_int_equal(size_parse_bytes("1MB", &bytes), -1);
    assert_int_equal(size_parse_bytes("", &bytes), -1);
}

static void numbers(void **state)
{
    (void)state;
    uint64_t n;
    assert_int_equal(number_parse("18446744073709551615", 0, UINT64_MAX, &n), 0);
    assert_true(n == UINT64_MAX);
    assert_int_equal(number_parse("18446744073709551616", 0, UINT64_MAX, &n), -1);
    assert_int_equal(number_parse("5", 6, 9, &n), -1);
    assert_int_equal(number_parse("+5", 0, 9, &n), -1);
    assert_int_equal(number_parse("5 ", 0, 9, &n), -1);
}

static void names(void **state)
{
    (void)state;
    char long_name[65];
    memset(long_name, 'a', 64);
    long_name[64] = '\0';
    assert_true(name_valid("firefox-1.2_x"));
    assert_true(name_valid("0"));
    assert_true(name_valid(long_name + 1));
    assert_false(name_valid(long_name));
    assert_false(name_valid(""));
    assert_false(name_valid(".hidden"));
    assert_false(name_valid("a/b"));
    assert_false(name_valid("a b"));
    assert_false(name_valid("\xc3\xa4"));
}

static void uuids(void **state)
{
    (void)state;
    struct uuid a, b;
    char text[UUID_TEXT_SIZE];
    uuid_random(&a);
    uuid_format(&a, text);
    assert_int_equal(text[14], '4');
    assert_int_equal(uuid_parse(text, &b), 0);
    assert_true(uuid_equal(&a, &b));
    assert_int_equal(uuid_parse("AAAABBBB-cccc-DDDD-eeee-ffff00001111", &b), 0);
    assert_int_equal(uuid_parse("AAAABBBB-cccc-DDDD-eeee-ffff0000111", &b), -1);
    assert_int_equal(uuid_parse("AAAABBBB-cccc-DDDD-eeee-ffff0000111g", &b), -1);
    assert_int_equal(uuid_parse("AAAABBBBxcccc-DDDD-eeee-ffff00001111", &b), -1);
    assert_int_equal(uuid_parse("", &b), -1);
}

static void zero_pages(void **state)
{
    (void)state;
    uint8_t *page = calloc(1, PAGE_BYTES);
    assert_true(page_is_zero(page));
    for (size_t i = 0; i < PAGE_BYTES; i++) {
        page[i] = 1;
        assert_false(page_is_zero(page));
        page[i] = 0;
    }
    free(page);
}

static void files(void **state)
{
    (void)state;
    struct scratch s;
    struct error e = {0};
    char *text, deep[128];
    size_t len;
    scratch_make(&s);
    int fd = open(scratch_path(&s, "f"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write_full(fd, "hello", 5), 0);
    assert_int_equal(pwrite_full(fd, "J", 1, 0), 0);
    char buf[8];
    assert_int_equal(pread_full(fd, buf, 5, 0), 0);
    assert_memory_equal(buf, "Jello", 5);
    assert_int_equal(pread_full(fd, buf, 6, 0), -ENODATA);
    fd_close(&fd);
    assert_int_equal(fd, -1);
    fd_close(&fd);
    assert_int_equal(read_file(scratch_path(&s, "f"), 5, &text, &len, &e), 0);
    assert_string_equal(text, "Jello");
    free(text);
    assert_int_equal(read_file(scratch_path(&s, "f"), 4, &text, &len, &e), -EFBIG);
    assert_int_equal(read_file(scratch_path(&s, "none"), 4, &text, &len, &e), -ENOENT);
    assert_int_equal(fsync_parent(scratch_path(&s, "f"), &e), 0);
    snprintf(deep, sizeof deep, "%s/a/b/c", s.dir);
    assert_int_equal(make_dirs(deep, 0700, &e), 0);
    assert_int_equal(make_dirs(deep, 0700, &e), 0);
    rmdir(deep);
    *strrchr(deep, '/') = '\0';
    rmdir(deep);
    *strrchr(deep, '/') = '\0';
    rmdir(deep);
    scratch_remove(&s);
}

struct sleeper {
    atomic_int tid;
    atomic_bool ends;
};

static void *sleeper_run(void *data)
{
    struct sleeper *s = data;
    atomic_store(&s->tid, gettid());
    while (!atomic_load(&s->ends))
        usleep(1000);
    return NULL;
}

static bool nice_are(int own, int other, pid_t tid)
{
    return getpriority(PRIO_PROCESS, 0) == own && getpriority(PRIO_PROCESS, (id_t)tid) == other;
}

/* In a process group of its own: 0, or the number of the step that went wrong. */
static int priority_steps(void)
{
    struct sleeper s = {0};
    pthread_t thread;
    if (setpgid(0, 0) || thread_start(&thread, sleeper_run, &s))
        return 1;
    while (!atomic_load(&s.tid))
        usleep(1000);
    pid_t tid = atomic_load(&s.tid);
    background_group(true);
    if (!nice_are(10, 10, tid))
        return 2;
    background_group(false);
    if (!nice_are(0, 0, tid))
        return 3;
    background_thread(true);
    if (!nice_are(10, 0, tid))
        return 4;
    background_thread(false);
    atomic_store(&s.ends, true);
    pthread_join(thread, NULL);
    return getpriority(PRIO_PROCESS, 0) ? 5 : 0;
}

/* An allocation that runs at the priority of background work would be slow, and nothing else. */
static void priorities(void **state)
{
    (void)state;
    int status = -1, before = getpriority(PRIO_PROCESS, 0);
    if (geteuid() || before)
        skip(); /* who is not root may not raise it again */
    pid_t pid = fork();
    if (!pid)
        _exit(priority_steps());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* of a group that it does not lead nothing is changed */
    background_group(true);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), getpgrp() == getpid() ? 10 : 0);
    background_group(false);
}

/* A log that nobody reads stops nobody; what was lost is said. */
static void log_unread(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        int ends[2], before = dup(STDERR_FILENO);
        char *text = malloc(1 << 20);
        assert_int_equal(kind ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
        dup2(ends[1], STDERR_FILENO);
        for (int i = 0; i < 20000; i++)
            log_error("a line that nobody reads, %d", i);
        ssize_t n = read(ends[0], text, 1 << 20);
        assert_true(n > 1000);
        while (recv(ends[0], text, 1 << 20, MSG_DONTWAIT) > 0)
            ;
        log_error("the last one");
        dup2(before, STDERR_FILENO);
        n = read(ends[0], text, (1 << 20) - 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "log lines are lost"));
        assert_non_null(strstr(text, "the last one"));
        free(text);
        close(before);
        close(ends[0]);
        close(ends[1]);
    }
}

static void same_but_numbers(void **state)
{
    (void)state;
    assert_true(text_same_but_numbers("", ""));
    assert_true(text_same_but_numbers("domain 7: no", "domain 1234: no"));
    assert_true(text_same_but_numbers("5", "50"));
    assert_false(text_same_but_numbers("domain 7: no", "domain : no"));
    assert_false(text_same_but_numbers("domain 7: no", "domain 7: yes"));
    assert_false(text_same_but_numbers("7", "7 "));
    assert_false(text_same_but_numbers("a7", "a"));
}

/* Lines that clients cause: so many in ten seconds, and a word on the others. */
static void log_limits(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    for (int round = 0; round < 3; round++) {
        uint64_t now = 20000000 + (uint64_t)round * 10000000;
        for (unsigned i = 0; i < LOG_LIMIT_LINES; i++)
            assert_true(log_allowed(&limit, now + i));
        assert_false(log_allowed(&limit, now + 5000000));
        assert_false(log_allowed(&limit, now + 9999999));
        assert_int_equal(limit.left_out, 2);
    }
    int ends[2], before = dup(STDERR_FILENO);
    char text[400] = "";
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    assert_true(log_allowed(&limit, 50000000));
    assert_true(log_allowed(&limit, 50000001)); /* that is said once */
    dup2(before, STDERR_FILENO);
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "2 log lines that clients caused were left out"));
    assert_int_equal(read(ends[0], text, sizeof text - 1), 0);
    assert_true(log_allowed(&limit, 0)); /* the clock began again */
    close(ends[0]);
    close(before);
}

static void log_levels(void **state)
{
    (void)state;
    enum log_level level;
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("loud", &level), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_texts),
        cmocka_unit_test(error_texts),
        cmocka_unit_test(error_text_is_cut),
        cmocka_unit_test(answers_have_names),
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(numbers),
        cmocka_unit_test(names),
        cmocka_unit_test(uuids),
        cmocka_unit_test(zero_pages),
        cmocka_unit_test(files),
        cmocka_unit_test(same_but_numbers),
        cmocka_unit_test(log_levels),
        cmocka_unit_test(log_unread),
        cmocka_unit_test(log_limits),
        cmocka_unit_test(priorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
