/* pool/service/timer.h: every timer fires once, when it is due, in order, however many there
 * are. */
#include "tests/cmocka.h"

#include "base/list.h"
#include "pool/service/timer.h"
#include "tests/random.h"

#define TIMERS 500

struct probe {
    struct timer timer;
    uint64_t due_us, number; /* when it was started last */
    bool armed;
};

static uint64_t now_us, alarm_us, started, last_due, last_number;
static unsigned fired;
static struct world world;
static struct timers timers;
static struct probe probes[TIMERS];

static uint64_t mono_us(struct world *w)
{
    (void)w;
    return now_us;
}

static void alarm_at(struct world *w, uint64_t at_us)
{
    (void)w;
    alarm_us = at_us;
}

static void alarm_off(struct world *w)
{
    (void)w;
    alarm_us = UINT64_MAX;
}

static const struct world_ops ops = {
    .mono_us = mono_us, .alarm_at = alarm_at, .alarm_off = alarm_off};

static int begin(void **state)
{
    (void)state;
    world.ops = &ops;
    now_us = 1000;
    alarm_us = UINT64_MAX;
    started = last_due = last_number = fired = 0;
    timers_init(&timers, &world);
    for (size_t i = 0; i < TIMERS; i++) {
        probes[i] = (struct probe){0};
        timer_init(&probes[i].timer);
    }
    return 0;
}

static void fires(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    assert_true(p->armed && p->due_us <= now_us);
    assert_false(timer_armed(t));
    assert_true(p->due_us > last_due || (p->due_us == last_due && p->number > last_number));
    last_due = p->due_us;
    last_number = p->number;
    p->armed = false;
    fired++;
}

static void start(struct probe *p, uint64_t delay_ms)
{
    p->due_us = now_us + delay_ms * 1000;
    p->number = ++started;
    p->armed = true;
    timer_start(&timers, &p->timer, delay_ms, fires);
}

/* The alarm is never later than the first timer, and nothing that is due is left. */
static void look_at_all(void)
{
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(timer_armed(&probes[i].timer), probes[i].armed);
        assert_true(!probes[i].armed ||
                    (probes[i].due_us > now_us && alarm_us <= probes[i].due_us));
    }
}

static void at_random(void **state)
{
    (void)state;
    random_seed(7);
    for (unsigned round = 0; round < 3000; round++) {
        for (unsigned i = below(20); i; i--) {
            struct probe *p = &probes[below(TIMERS)];
            if (below(3)) {
                start(p, below(50));
                continue;
            }
            timer_stop(&p->timer);
            p->armed = false;
        }
        now_us += below(4) * 1000;
        last_due = 0;
        timers_run(&timers);
        look_at_all();
    }
    assert_true(fired > 10000);
    for (size_t i = 0; i < TIMERS; i++) {
        timer_stop(&probes[i].timer);
        probes[i].armed = false;
    }
    timers_run(&timers);
    assert_int_equal(alarm_us, UINT64_MAX);
}

static void starts_again(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    fired++;
    timer_start(&timers, &p->timer, 0, starts_again);
    timer_stop(&probes[1].timer);
}

/* One that starts itself without a delay, or is stopped by one before it, does not fire now. */
static void while_they_run(void **state)
{
    (void)state;
    timer_start(&timers, &probes[0].timer, 0, starts_again);
    start(&probes[1], 0);
    start(&probes[2], 0);
    timers_run(&timers);
    assert_int_equal(fired, 2);
    assert_true(timer_armed(&probes[0].timer) && !timer_armed(&probes[1].timer));
    assert_false(timer_armed(&probes[2].timer));
    assert_int_equal(alarm_us, now_us);
    timers_run(&timers);
    assert_int_equal(fired, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(at_random, begin),
        cmocka_unit_test_setup(while_they_run, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
