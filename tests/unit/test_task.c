/* base/task.h: a task is done once, its answer is told, also where no thread is to be had. */
#include "tests/cmocka.h"

#include "base/task.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

static bool no_threads;

int __real_thread_start(pthread_t *thread, void *(*run)(void *data), void *data);
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *data), void *data);
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *data), void *data)
{
    return no_threads ? EAGAIN : __real_thread_start(thread, run, data);
}

struct work {
    atomic_uint done;
    atomic_bool may_end;
    bool waits, takes_signals;
    pthread_t by;
    int answer;
};

static int do_work(void *data, struct error *e)
{
    struct work *w = data;
    sigset_t blocked;
    while (w->waits && !atomic_load(&w->may_end))
        sched_yield();
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    w->takes_signals = !sigismember(&blocked, SIGTERM);
    w->by = pthread_self();
    atomic_fetch_add(&w->done, 1);
    return w->answer ? error_set(e, w->answer, "task %d", w->answer) : 0;
}

static void done_and_told(void **state)
{
    (void)state;
    for (int threads = 1; threads >= 0; threads--) {
        struct task t;
        struct error e = {0};
        no_threads = !threads;
        task_open(&t);
        assert_int_equal(task_end(&t, &e), 0); /* none was begun */
        for (int i = 0; i < 200; i++) {
            struct work w = {.answer = i % 3 ? 0 : -i - 1};
            char text[32];
            task_begin(&t, do_work, &w);
            assert_int_equal(task_end(&t, &e), w.answer);
            assert_int_equal(atomic_load(&w.done), 1);
            assert_int_equal(!pthread_equal(w.by, pthread_self()), threads);
            assert_int_equal(w.takes_signals, !threads);
            snprintf(text, sizeof text, "task %d", w.answer);
            if (w.answer)
                assert_string_equal(e.text, text);
            assert_int_equal(task_end(&t, &e), 0); /* it has been told */
        }
        task_close(&t);
        task_close(&t);
    }
}

/* It runs beside its caller: it ends only when that says so. */
static void meanwhile(void **state)
{
    (void)state;
    struct work w = {.waits = true};
    struct task t;
    struct error e;
    no_threads = false;
    task_open(&t);
    task_begin(&t, do_work, &w);
    assert_int_equal(atomic_load(&w.done), 0);
    atomic_store(&w.may_end, true);
    assert_int_equal(task_end(&t, &e), 0);
    assert_int_equal(atomic_load(&w.done), 1);
    task_close(&t);
}

/* What runs is waited for: it uses what its caller is about to free. What nobody runs is left. */
static void closed_while_it_runs(void **state)
{
    (void)state;
    for (int threads = 1; threads >= 0; threads--) {
        struct work w = {0};
        struct task t;
        no_threads = !threads;
        task_open(&t);
        task_begin(&t, do_work, &w);
        task_close(&t);
        assert_int_equal(atomic_load(&w.done), threads);
    }
    struct task never = {0};
    task_close(&never);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(done_and_told),
        cmocka_unit_test(meanwhile),
        cmocka_unit_test(closed_while_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
