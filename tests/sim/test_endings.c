/* What the end of a guest means (pool/core/ending.h): by the image, by the pool's setting, for each
 * way to end; and what becomes of a domain that is kept. */
#include "pool/core/lease_find.h"

#include "base/array.h"
#include "tests/sim/fixture.h"

#include <string.h>

enum how { POWEROFF, REBOOT, SUSPEND, CRASH }; /* SHUTDOWN_* of xen/sched.h */

/* One listing later, and one more that comes by itself. */
#define LISTED_MS 35000

static unsigned count(enum slot_state state)
{
    return sim_pool(&sim, "fire")->set.count[state];
}

static void set_on_end(const char *value)
{
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "on_end", value),
           NULL);
}

/* The present version of the image says so. */
static void image_says(const char *reason, const char *action)
{
    sim.on_end = json_pack("{s:s}", reason, action);
    replace("fire", NULL);
    settled("fire");
}

static int end(void **state)
{
    json_decref(sim.on_end);
    sim.on_end = NULL;
    return fixture_end(state);
}

#define TEST(f)                                                                                    \
    cmocka_unit_test_prestate_setup_teardown(f, fixture_begin, end, (void *)&fixtures[FIRE])

/* A guest that ends so: whether its lease and its domain are still there. */
static bool kept(enum how how)
{
    char lease[32];
    uint32_t domid = take("fire", lease);
    sim_domain_shutdown(&sim, domid, how);
    sim_run(&sim, LISTED_MS);
    bool there = sim_domain_find(&sim, domid) != NULL;
    assert_int_equal(lease_find(&sim.core, lease) != NULL, there);
    assert_int_equal(count(SLOT_KEPT), there);
    assert_int_equal(count(SLOT_LEASED), 0);
    if (there)
        expect("Release", json_pack("{s:[s]}", "leases", lease), NULL);
    sim_run(&sim, 5000);
    assert_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
    return there;
}

static void nobody_says_anything(void **state)
{
    (void)state;
    assert_false(kept(POWEROFF) || kept(REBOOT) || kept(CRASH));
}

static void image_says_preserve(void **state)
{
    (void)state;
    image_says("crash", "preserve");
    assert_false(kept(POWEROFF) || kept(REBOOT));
    assert_true(kept(CRASH));
    set_on_end("destroy"); /* the setting counts, as soon as it is made */
    assert_false(kept(CRASH));
    set_on_end("");
    assert_true(kept(CRASH));
}

/* A disposable domain is not started again. */
static void image_says_others(void **state)
{
    static const char *const actions[] = {"destroy",          "restart",          "rename-restart",
                                          "coredump-destroy", "coredump-restart", "soft-reset"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        image_says("crash", actions[i]);
        assert_false(kept(CRASH));
        json_decref(sim.on_end);
    }
    sim.on_end = NULL;
}

static void setting_says_preserve(void **state)
{
    (void)state;
    set_on_end("preserve");
    assert_true(kept(POWEROFF) && kept(REBOOT) && kept(CRASH));
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "on_end", "restart"),
           "BadValue");
}

/* ---- what becomes of one that is kept ---- */

static uint32_t keep(char lease[32])
{
    uint32_t domid = take("fire", lease);
    sim_domain_shutdown(&sim, domid, CRASH);
    sim_run(&sim, 3000);
    assert_int_equal(lease_find(&sim.core, lease)->slot->state, SLOT_KEPT);
    return domid;
}

static void is_shown(void **state)
{
    char lease[32];
    (void)state;
    set_on_end("preserve");
    uint32_t domid = keep(lease);
    json_t *reply = sim_ask(root, "List", NULL, 10), *p = answer(reply), *slot;
    size_t i;
    unsigned found = 0;
    json_array_foreach (json_object_get(p, "slots"), i, slot) {
        if (strcmp(text_of(slot, "state"), "kept") != 0)
            continue;
        found++;
        assert_int_equal(integer_of(slot, "domid"), domid);
        assert_string_equal(text_of(slot, "lease"), lease);
        assert_memory_equal(text_of(slot, "reason"), "crash: ", 7);
    }
    assert_int_equal(found, 1);
    assert_int_equal(json_array_size(json_object_get(p, "leases")), 1);
    json_decref(reply);
    /* Whoever wants something of the domain finds it by its number, and by the name that xl gives
     * it. */
    assert_non_null(lease_find(&sim.core, lease));
    strcpy(sim_domain_find(&sim, domid)->d.name, "corpse");
    sim_run(&sim, LISTED_MS);
    assert_non_null(lease_find(&sim.core, "corpse"));
    expect_text("ImageCapture", json_pack("{s:s, s:s}", "name", "x", "domain", "corpse"),
                "DomainState", "has ended");
}

static void ends_with_its_time(void **state)
{
    (void)state;
    set_on_end("preserve");
    json_t *p = answer_take(
        sim_ask(root, "Allocate", json_pack("{s:s, s:i}", "image", "fire", "ttl_ms", 60000), 1000));
    uint32_t domid = (uint32_t)integer_of(p, "domid");
    json_decref(p);
    sim_domain_shutdown(&sim, domid, CRASH);
    sim_run(&sim, 50000);
    assert_int_equal(count(SLOT_KEPT), 1);
    sim_run(&sim, 15000);
    assert_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
}

static void is_destroyed_by_hand(void **state)
{
    char lease[32];
    (void)state;
    set_on_end("preserve");
    sim_domain_destroy(&sim, keep(lease));
    sim_run(&sim, 5000);
    assert_null(lease_find(&sim.core, lease));
    assert_int_equal(count(SLOT_KEPT), 0);
    sim_check_quiet(&sim);
}

static void is_wanted_no_more(void **state)
{
    char lease[32];
    (void)state;
    set_on_end("preserve");
    uint32_t domid = keep(lease);
    set_on_end("destroy");
    sim_run(&sim, LISTED_MS);
    assert_null(lease_find(&sim.core, lease));
    assert_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
}

/* By whatever tool: then it is a lease like any other, and xl save saves it. */
static void goes_on(void **state)
{
    char lease[32];
    (void)state;
    set_on_end("preserve");
    uint32_t domid = keep(lease);
    sim_domain_find(&sim, domid)->d.state = HOST_DOMAIN_ALIVE;
    sim_run(&sim, LISTED_MS);
    assert_int_equal(lease_find(&sim.core, lease)->slot->state, SLOT_LEASED);
    sim_domain_shutdown(&sim, domid, CRASH);
    sim_run(&sim, 3000);
    assert_int_equal(lease_find(&sim.core, lease)->slot->state, SLOT_KEPT);
    sim_domain_shutdown(&sim, domid, SUSPEND);
    sim_run(&sim, 3000);
    assert_int_equal(lease_find(&sim.core, lease)->slot->state, SLOT_LEASED);
    sim_domain_destroy(&sim, domid);
    sim_run(&sim, 3000);
    assert_int_equal(lease_find(&sim.core, lease)->slot->state, SLOT_SAVED);
    release_all();
    sim_run(&sim, 3000);
    sim_check_quiet(&sim);
}

/* ---- restarts ---- */

static void outlives_the_daemon(void **state)
{
    char lease[32], other[32];
    (void)state;
    set_on_end("preserve");
    uint32_t domid = keep(lease), late = take("fire", other);
    sim_crash(&sim);
    sim_domain_shutdown(&sim, late, CRASH); /* while no daemon runs */
    restart(NULL);
    sim_run(&sim, LISTED_MS);
    assert_int_equal(count(SLOT_KEPT), 2);
    assert_true(sim_domain_find(&sim, domid) && sim_domain_find(&sim, late));
    sim_crash(&sim);
    sim_domain_destroy(&sim, late);
    restart(NULL);
    sim_run(&sim, 5000);
    assert_int_equal(count(SLOT_KEPT), 1);
    assert_null(lease_find(&sim.core, other));
    sim_stop(&sim);
    assert_non_null(sim_domain_find(&sim, domid));
    sim_restart(&sim, config, NULL);
    assert_int_equal(count(SLOT_KEPT), 1);
    sim_run(&sim, LISTED_MS);
    sim_check_quiet(&sim);
}

/* The connection that holds it is its life. */
static void ends_with_its_holder(void **state)
{
    (void)state;
    set_on_end("preserve");
    struct sim_client *c = sim_connect(&sim, 0);
    json_t *p = answer_take(
        sim_ask(c, "Allocate", json_pack("{s:s, s:b}", "image", "fire", "hold", 1), 1000));
    uint32_t domid = (uint32_t)integer_of(p, "domid");
    json_decref(p);
    sim_domain_shutdown(&sim, domid, POWEROFF);
    sim_run(&sim, LISTED_MS);
    assert_int_equal(count(SLOT_KEPT), 1);
    sim_disconnect(c);
    sim_run(&sim, 5000);
    assert_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_says_anything),
        TEST(image_says_preserve),
        TEST(image_says_others),
        TEST(setting_says_preserve),
        TEST(is_shown),
        TEST(ends_with_its_time),
        TEST(is_destroyed_by_hand),
        TEST(is_wanted_no_more),
        TEST(goes_on),
        TEST(outlives_the_daemon),
        TEST(ends_with_its_holder),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
