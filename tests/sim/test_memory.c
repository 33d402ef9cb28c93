/* The host runs short of memory, or of disk space, and has some again: who waits waits, and is
 * served at once. */
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

/* ---- disk space for what guests write ---- */

#define FULL (63ull << 20) /* less than disk_reserve */
#define ROOM (65ull << 20)

static void run_full(void)
{
    begin_with(FIRE, NULL);
    sim_run(&sim, 5000);
    assert_int_equal(warm("fire"), 2);
    sim.disk_free = FULL;
}

/* One clear answer, for a slot that is warm as well; a guest fills a disk without an event. */
static void full_disk_refuses(void **state)
{
    (void)state;
    run_full();
    sim_run(&sim, 5000);
    expect_text("Allocate", want("fire", 0), "NoHostDisk", "63 MiB are free");
    json_t *status = answer_take(sim_ask(root, "Status", NULL, 10));
    assert_int_equal(integer_of(status, "disk_free_bytes"), FULL);
    json_decref(status);
    sim_expect(root, "Allocate", want("fire", 2000), 2001, "NoHostDisk");
    assert_int_equal(warm("fire"), 2); /* these are kept */
    assert_int_equal(sim.allocated, 0);
    sim.disk_free = ROOM; /* measured at that moment */
    expect("Allocate", want("fire", 0), NULL);
    settled("fire");
    sim_end(&sim);
}

static void full_disk_builds_nothing(void **state)
{
    (void)state;
    run_full();
    sim_run(&sim, 5000);
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "4"), NULL);
    struct sim_client *waiting = sim_connect(&sim, 1000);
    sim_call(waiting, "Allocate", want("fire", 600000));
    sim_run(&sim, 60000);
    assert_int_equal(sim_pool(&sim, "fire")->set.total, 2);
    assert_int_equal(sim_pool(&sim, "fire")->failures.n, 0);
    assert_null(sim_reply(waiting));
    sim.disk_free = ROOM;
    sim_run(&sim, 1010);
    json_t *reply = sim_reply(waiting);
    answer(reply);
    json_decref(reply);
    settled("fire");
    sim_end(&sim);
}

/* Without a reserve, or on a file system that does not say how large it is, nothing is refused. */
static void no_reserve(void **state)
{
    (void)state;
    begin_with(FIRE, "disk_reserve = 0\n[pool]\nmin = 2\n");
    sim.disk_free = 0;
    sim_run(&sim, 20000);
    expect("Allocate", want("fire", 0), NULL);
    settled("fire");
    sim_end(&sim);
    begin_with(FIRE, NULL);
    sim.disk_free = sim.disk_total = 0;
    sim_run(&sim, 20000);
    expect("Allocate", want("fire", 0), NULL);
    settled("fire");
    sim_end(&sim);
}

/* The bound of each layer goes to the helper, the image's own before that of all. */
static void layers_bounded(void **state)
{
    (void)state;
    begin_with(FIRE, "[pool]\nmin = 1\ncow_max = 4G\n[image ice]\ncow_max = 1G\n");
    sim_image(&sim, "ice");
    sim_run(&sim, 10000);
    assert_int_equal(sim.cow_max, 1ll << 30);
    expect(
        "PoolSet",
        json_pack("{s:s, s:{s:s, s:s}}", "image", "fire", "settings", "min", "2", "cow_max", "3G"),
        NULL);
    sim_run(&sim, 10000);
    assert_int_equal(sim.cow_max, 3ll << 30);
    sim_end(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_at_once),
        cmocka_unit_test(built_when_it_fits),
        cmocka_unit_test(waiting_waits),
        cmocka_unit_test(waiting_ends),
        cmocka_unit_test(measured_anew),
        cmocka_unit_test(client_goes),
        cmocka_unit_test(own_memory),
        cmocka_unit_test(full_disk_refuses),
        cmocka_unit_test(full_disk_builds_nothing),
        cmocka_unit_test(no_reserve),
        cmocka_unit_test(layers_bounded),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
