/* base/crew.h: every part is done once, and a failure is told. */
#include "tests/cmocka.h"

#include "base/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define PARTS_MAX 64u

static unsigned threads_left, most_threads = CREW_MAX; /* that can be had */

int __real_thread_start(pthread_t *thread, void *(*run)(void *data), void *data);
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *data), void *data);
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *data), void *data)
{
    if (!threads_left)
        return EAGAIN;
    threads_left--;
    return __real_thread_start(thread, run, data);
}

struct work {
    atomic_uint done[PARTS_MAX];
    atomic_uint busy[CREW_MAX];      /* workers that do a part just now */
    unsigned workers;                /* how many there may be */
    unsigned fails_from, fails_step; /* parts that fail; step 0: none */
};

static int do_part(void *data, unsigned part, unsigned worker, struct error *e)
{
    struct work *w = data;
    if (worker >= w->workers || atomic_fetch_add(&w->busy[worker], 1))
        abort(); /* no other thread than the test's own can make it fail */
    atomic_fetch_add(&w->done[part], 1);
    atomic_fetch_sub(&w->busy[worker], 1);
    if (w->fails_step && part >= w->fails_from && (part - w->fails_from) % w->fails_step == 0)
        return error_set(e, -EIO, "part %u", part);
    return 0;
}

static struct crew *crew_of(unsigned size)
{
    struct error e = {0};
    struct crew *c;
    threads_left = most_threads;
    if (crew_new(size, &c, &e))
        fail_msg("%s", e.text);
    return c;
}

static int crew_run(struct crew *c, unsigned parts, struct work *w, struct error *e)
{
    crew_begin(c, parts, do_part, w);
    return crew_end(c, e);
}

static void each_part_once(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= CREW_MAX + 1; size++) {
        struct crew *c = crew_of(size);
        assert_int_equal(crew_size(c), size > CREW_MAX ? CREW_MAX : size);
        for (unsigned parts = 1; parts <= PARTS_MAX; parts++) {
            struct work w = {.workers = crew_size(c)};
            struct error e = {0};
            assert_int_equal(crew_run(c, parts, &w, &e), 0);
            for (unsigned i = 0; i < PARTS_MAX; i++)
                assert_int_equal(atomic_load(&w.done[i]), i < parts);
        }
        crew_free(c);
    }
    crew_free(NULL);
}

/* A machine that gives no more threads makes a smaller crew, which does the same. */
static void fewer_threads(void **state)
{
    (void)state;
    for (most_threads = 0; most_threads < CREW_MAX; most_threads++) {
        struct crew *c = crew_of(CREW_MAX);
        struct work w = {.workers = crew_size(c)};
        struct error e = {0};
        assert_int_equal(crew_size(c), most_threads + 1);
        assert_int_equal(crew_run(c, PARTS_MAX, &w, &e), 0);
        for (unsigned i = 0; i < PARTS_MAX; i++)
            assert_int_equal(atomic_load(&w.done[i]), 1);
        crew_free(c);
    }
    most_threads = CREW_MAX;
}

/* The lowest of those that failed, and none twice; afterwards the crew works as before. */
static void failures(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= CREW_MAX; size++) {
        struct crew *c = crew_of(size);
        for (unsigned from = 0; from < 20; from++) {
            struct work right = {.workers = size};
            struct work w = {.workers = size, .fails_from = from, .fails_step = 1};
            struct error e = {0};
            char text[32];
            assert_int_equal(crew_run(c, 20, &w, &e), -EIO);
            snprintf(text, sizeof text, "part %u", from);
            /* parts begin in their order, so the first that fails has begun before the others */
            assert_string_equal(e.text, text);
            for (unsigned i = 0; i < PARTS_MAX; i++)
                assert_true(atomic_load(&w.done[i]) <= 1);
            assert_int_equal(crew_run(c, 8, &right, &e), 0);
        }
        crew_free(c);
    }
}

/* The caller has something else to do first; some fail, and now and then there is nothing. */
static void parts_without_the_caller(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= CREW_MAX; size++) {
        struct crew *c = crew_of(size);
        for (unsigned turn = 0; turn < 300; turn++) {
            struct work w = {.workers = size, .fails_from = turn % 40, .fails_step = turn % 2};
            struct error e = {0};
            unsigned parts = turn % 3 ? PARTS_MAX : 0;
            bool fails = w.fails_step && w.fails_from < parts;
            crew_begin(c, parts, do_part, &w);
            for (unsigned i = 0; size > 1 && parts && turn % 10 == 1 && !i;)
                i = atomic_load(&w.done[0]); /* somebody begins without being waited for */
            assert_int_equal(crew_end(c, &e), fails ? -EIO : 0);
            for (unsigned i = 0; i < PARTS_MAX; i++) {
                unsigned done = atomic_load(&w.done[i]);
                assert_true(fails ? done <= (i < parts) : done == (i < parts));
            }
        }
        crew_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_once),
        cmocka_unit_test(failures),
        cmocka_unit_test(parts_without_the_caller),
        cmocka_unit_test(fewer_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
