/* The host's memory runs short, and comes back: who waits waits, and is served at once. */
#include "tests/sim/fixture.h"

#include <string.h>

#define ENOUGH_KIB (1u << 19)
#define SHORT_KIB 102400u /* less than memory_reserve */

/* For so long that the pauses between builds are long: 1 s, 2 s, 4 s, ... */
static void run_short(void)
{
    begin_with(FIRE, NULL);
    sim.faults.fate = FATE_BUILD_NO_MEMORY;
    sim.free_kib = SHORT_KIB;
    sim_run(&sim, 72000);
    assert_int_equal(sim_pool(&sim, "fire")->set.total, 0);
    assert_true(sim_pool(&sim, "fire")->failures.n >= 5);
    assert_true(failures_pause_ms(&sim_pool(&sim, "fire")->failures) > 20000);
}

/* Somebody's balloon gives memory back: no event tells of it. */
static void come_back(void)
{
    sim.faults.fate = FATE_GOOD;
    sim.free_kib = ENOUGH_KIB;
}

static void built_at_once(void **state)
{
    (void)state;
    run_short();
    come_back();
    sim_run(&sim, 3000);
    assert_int_equal(warm("fire"), 2);
    sim_end(&sim);
}

/* Also when it comes back a little at a time. */
static void built_when_it_fits(void **state)
{
    (void)state;
    run_short();
    unsigned n = sim_pool(&sim, "fire")->failures.n;
    for (sim.free_kib = SHORT_KIB; sim.free_kib < 262000; sim.free_kib += 20000)
        sim_run(&sim, 1500);
    assert_true(sim_pool(&sim, "fire")->failures.n <= n + 1); /* not asked for in vain each time */
    sim.faults.fate = FATE_GOOD;
    for (unsigned i = 0; i < 20; i++, sim.free_kib += 100)
        sim_run(&sim, 1500);
    assert_int_equal(warm("fire"), 2);
    sim_end(&sim);
}

static void waiting_waits(void **state)
{
    (void)state;
    run_short();
    sim_call(root, "Allocate", want("fire", 60000));
    sim_run(&sim, 20000);
    assert_null(sim_reply(root));
    come_back();
    sim_run(&sim, 2000); /* 1 s until it is measured, 0.5 s for the slot */
    json_t *reply = sim_reply(root);
    answer(reply);
    json_decref(reply);
    sim_end(&sim);
}

/* Its refusal says what holds then, not what the last build saw. */
static void waiting_ends(void **state)
{
    (void)state;
    run_short();
    sim_call(root, "Allocate", want("fire", 5000));
    sim_run(&sim, 3000);
    sim.free_kib = 50 * 1024;
    sim_run(&sim, 1990);
    assert_null(sim_reply(root));
    sim_run(&sim, 20);
    json_t *reply = sim_reply(root);
    assert_string_equal(sim_error_name(reply), "NoHostMemory");
    assert_non_null(strstr(text_of(json_object_get(reply, "parameters"), "text"), "50 MiB"));
    json_decref(reply);
    sim_end(&sim);
}

/* Who does not wait is refused by a measurement of that moment. */
static void measured_anew(void **state)
{
    (void)state;
    run_short();
    sim.free_kib = 60 * 1024;
    expect_text("Allocate", want("fire", 0), "NoHostMemory", "60 MiB of host memory are free");
    come_back();
    json_t *reply = sim_ask(root, "Allocate", want("fire", 0), 10);
    assert_string_equal(sim_error_name(reply), "PoolEmpty");
    json_decref(reply);
    sim_run(&sim, 1000);
    expect("Allocate", want("fire", 0), NULL);
    sim_end(&sim);
}

/* A measurement that fails or hangs keeps nobody waiting. */
static void client_goes(void **state)
{
    (void)state;
    run_short();
    struct sim_client *c = sim_connect(&sim, 1000);
    sim_call(c, "Allocate", want("fire", 0));
    sim_run_us(&sim, 50);
    sim_disconnect(c);
    sim_run(&sim, 10);
    c = sim_connect(&sim, 1000);
    sim_call(c, "Allocate", want("fire", 60000));
    sim_run(&sim, 5000);
    sim_disconnect(c);
    come_back();
    settled("fire");
    sim_end(&sim);
}

/* Memory that its own failed domains give back is none that came free. */
static void own_memory(void **state)
{
    (void)state;
    begin_with(FIRE, NULL);
    sim.faults.fate = FATE_BUILD_NO_MEMORY;
    sim_run(&sim, 30000);
    unsigned n = sim_pool(&sim, "fire")->failures.n;
    assert_true(n >= 4 && n <= 6);
    sim_end(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_at_once), cmocka_unit_test(built_when_it_fits),
        cmocka_unit_test(waiting_waits), cmocka_unit_test(waiting_ends),
        cmocka_unit_test(measured_anew), cmocka_unit_test(client_goes),
        cmocka_unit_test(own_memory),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
