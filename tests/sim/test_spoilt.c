/*
 * Warm slots that somebody has spoilt: an administrator who uses xl on their domains, a disk of
 * their image that was written. They are retired with the reason, and never given to anybody.
 */
#include "tests/sim/fixture.h"

#include "base/array.h"

#include <string.h>

static uint32_t oldest_warm(void)
{
    const struct slot *s = pool_oldest_warm(sim_pool(&sim, "fire"));
    assert_non_null(s);
    return (uint32_t)s->domid;
}

static void keep_warm(const char *min)
{
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", min), NULL);
    expect("PoolWait", NULL, NULL);
}

/* Of the last lease. */
static json_int_t retries(const char *lease)
{
    json_t *trace = sim_ask(root, "Trace", json_pack("{s:s}", "lease", lease), 1000);
    json_int_t n = integer_of(answer(trace), "retries");
    json_decref(trace);
    return n;
}

/* ---- seen by a listing ---- */

static void spoil_shutdown(struct sim *s, uint32_t domid)
{
    sim_domain_shutdown(s, domid, 0);
}

static const struct spoiler {
    void (*spoil)(struct sim *s, uint32_t domid);
    const char *says;
} spoilers[] = {
    {sim_domain_unpause, "unpaused by somebody"},
    {sim_domain_ask, "asked by somebody"},
    {spoil_shutdown, "shut down by somebody"},
    {sim_domain_destroy, "destroyed by somebody"},
};

static void retired_by_a_listing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(spoilers); i++) {
        begin_with(FIRE, NULL);
        sim_run(&sim, 5000);
        uint32_t domid = oldest_warm();
        const struct slot *slot = pool_oldest_warm(sim_pool(&sim, "fire"));
        spoilers[i].spoil(&sim, domid);
        for (unsigned ms = 0; slot->state == SLOT_WARM; ms++) {
            assert_true(ms < 31000);
            sim_run(&sim, 1);
        }
        assert_int_equal(slot->state, SLOT_BROKEN);
        assert_non_null(strstr(slot->reason, spoilers[i].says));
        sim_run(&sim, 1000);
        assert_null(sim_domain_find(&sim, domid));
        settled("fire");
        assert_int_equal(sim_pool(&sim, "fire")->failures.n, 0);
        sim_end(&sim);
    }
}

/* All of them at once are one failure, not as many builds that failed in a row. */
static void all_at_once(void **state)
{
    (void)state;
    keep_warm("4");
    list_each (node, &sim_pool(&sim, "fire")->set.warm)
        sim_domain_unpause(&sim, (uint32_t)container_of(node, struct slot, in_warm)->domid);
    struct sim_client *waiting = sim_connect(&sim, 1000);
    for (unsigned i = 0; i < 31000 && sim_pool(&sim, "fire")->set.count[SLOT_WARM]; i++)
        sim_run(&sim, 1);
    assert_int_equal(sim_pool(&sim, "fire")->failures.n, 1);
    assert_non_null(strstr(sim_pool(&sim, "fire")->failures.text, "unpaused by somebody"));
    sim_expect(waiting, "Allocate", want("fire", 20000), 20000, NULL);
    settled("fire");
}

/* ---- seen by the helper, before a listing ---- */

static void another_is_given(void **state)
{
    (void)state;
    char lease[32];
    for (size_t i = 0; i < 2; i++) { /* those of which nobody is told */
        uint32_t spoilt = oldest_warm();
        spoilers[i].spoil(&sim, spoilt);
        assert_int_not_equal(take("fire", lease), spoilt);
        sim_run(&sim, 500);
        assert_int_equal(retries(lease), 1);
        assert_null(sim_domain_find(&sim, spoilt));
        settled("fire");
    }
}

/* However many there are: `retries` is for slots that fail. */
static void more_than_retries(void **state)
{
    (void)state;
    char lease[32];
    keep_warm("6");
    unsigned left = 5;
    list_each (node, &sim_pool(&sim, "fire")->set.warm)
        if (left && left--)
            sim_domain_unpause(&sim, (uint32_t)container_of(node, struct slot, in_warm)->domid);
    json_t *reply = sim_ask(root, "Allocate", want("fire", 0), 1000);
    strcpy(lease, text_of(answer(reply), "lease"));
    json_decref(reply);
    sim_run(&sim, 500);
    assert_int_equal(retries(lease), 5);
    settled("fire");
}

/* Spoilt ones before it do not use up the tries of a request whose slots fail. */
static void spoilt_and_failing(void **state)
{
    (void)state;
    char lease[32];
    unsigned spoilt = 2;
    sim_end(&sim);
    begin_with(FIRE, "complete_timeout = 1s\n[pool]\nmin = 2\n");
    sim_run(&sim, 5000);
    sim.faults.fate = FATE_COMPLETE_HANGS; /* each for a reason of its own */
    sim.faults.fate_for = 2;               /* as many as retries */
    keep_warm("5");
    list_each (node, &sim_pool(&sim, "fire")->set.warm)
        if (spoilt && spoilt--)
            sim_domain_unpause(&sim, (uint32_t)container_of(node, struct slot, in_warm)->domid);
    take("fire", lease);
    sim_run(&sim, 500);
    assert_int_equal(retries(lease), 4);
    settled("fire");
}

static void spoil_all(void)
{
    list_each (node, &sim_pool(&sim, "fire")->set.warm)
        sim_domain_unpause(&sim, (uint32_t)container_of(node, struct slot, in_warm)->domid);
}

static void none_is_left(void **state)
{
    (void)state;
    char lease[32];
    spoil_all();
    expect_text("Allocate", want("fire", 0), "PoolEmpty", "somebody has touched the domain");
    assert_int_equal(sim.allocated, 0);
    settled("fire");
    spoil_all();
    take("fire", lease); /* waits for a new one */
    assert_int_equal(sim.allocated, 1);
    settled("fire");
}

/* ---- disks ---- */

static void disk_changed(void **state)
{
    (void)state;
    keep_warm("4");
    unsigned building = sim.moves;
    sim.faults.complete = (struct sim_doom){FATE_DISK_CHANGED, 1};
    sim.faults.fate = FATE_BUILD_FAILS; /* as the real one does then */
    expect_text("Allocate", want("fire", 0), "ImageBroken", "disk has changed");
    assert_int_equal(warm("fire"), 0);
    assert_true(sim.moves > building);
    assert_int_equal(sim.allocated, 0);
    sim_run(&sim, 1000);
    assert_int_equal(sim_domains(&sim), 0);
    expect("Allocate", want("fire", 60000), "ImageBroken");
    sim.faults.fate = FATE_GOOD; /* it has been put back */
    sim_run(&sim, 60000);
    settled("fire");
}

/* The slots of other images are none of its concern; those who wait are served in their turn. */
static void disk_changed_alone(void **state)
{
    (void)state;
    sim_image(&sim, "ice");
    sim_run(&sim, 10000);
    sim.faults.complete = (struct sim_doom){FATE_DISK_CHANGED, 1};
    struct sim_client *other = sim_connect(&sim, 1000);
    sim_call(root, "Allocate", want("fire", 30000));
    sim_call(other, "Allocate", want("fire", 30000));
    sim_run(&sim, 100);
    assert_int_equal(sim_pool(&sim, "ice")->set.count[SLOT_WARM], 2);
    sim_run(&sim, 20000);
    assert_int_equal(sim.allocated, 2);
    json_decref(sim_reply(root));
    json_decref(sim_reply(other));
    settled("fire");
}

/* ---- layers that take no writes ---- */

static json_t *leases(void)
{
    json_t *reply = answer_take(sim_ask(root, "List", NULL, 1000));
    json_t *list = json_incref(json_object_get(reply, "leases"));
    json_decref(reply);
    return list;
}

static json_int_t faulty(void)
{
    json_t *reply = answer_take(sim_ask(root, "Status", NULL, 1000));
    json_int_t n = integer_of(reply, "faulty_leases");
    json_decref(reply);
    return n;
}

static void assert_fault(const char *lease, const char *says)
{
    json_t *list = leases(), *l;
    size_t i;
    bool found = false;
    json_array_foreach (list, i, l) {
        const char *fault = json_string_value(json_object_get(l, "fault"));
        if (strcmp(text_of(l, "lease"), lease) != 0)
            continue;
        found = true;
        if (!fault != !says || (says && !strstr(fault, says)))
            fail_msg("%s: fault \"%s\"", lease, fault ? fault : "(null)");
    }
    assert_true(found);
    json_decref(list);
}

static void layer_of_a_lease(void **state)
{
    (void)state;
    char sick[32], well[32];
    uint32_t domid = take("fire", sick);
    take("fire", well);
    assert_int_equal(faulty(), 0);
    sim_domain_find(&sim, domid)->failed = "xvdb";
    sim_run(&sim, 5100);
    assert_fault(sick, "disk xvdb takes no writes any more: its layer /dev/mapper/dompool-");
    assert_fault(sick, "/cow");
    assert_fault(well, NULL);
    assert_int_equal(faulty(), 1);
    sim_crash(&sim);
    sim_restart(&sim, config, NULL); /* another daemon finds it again */
    root = sim_connect(&sim, 0);
    assert_fault(sick, "disk xvdb");
    assert_int_equal(faulty(), 1);
    expect("Release", json_pack("{s:[s]}", "leases", sick), NULL);
    assert_int_equal(faulty(), 0);
    assert_fault(well, NULL);
    sim_run(&sim, 60000);
}

/* Of a warm slot: it is never given to anybody. */
static void layer_of_a_slot(void **state)
{
    (void)state;
    char lease[32];
    uint32_t domid = oldest_warm();
    const struct slot *slot = pool_oldest_warm(sim_pool(&sim, "fire"));
    sim_domain_find(&sim, domid)->failed = "xvda";
    for (unsigned ms = 0; slot->state == SLOT_WARM; ms++) {
        assert_true(ms < 5100);
        sim_run(&sim, 1);
    }
    assert_non_null(strstr(slot->reason, "disk xvda takes no writes"));
    assert_int_not_equal(take("fire", lease), domid);
    settled("fire");
    assert_null(sim_domain_find(&sim, domid));
}

/* ---- what is said when an image is made ---- */

static bool warned(const char *name)
{
    json_t *reply = sim_ask(root, "ImageImport", import_of(name, NULL, false), 5000);
    size_t i;
    json_t *warning;
    bool found = false;
    json_array_foreach (json_object_get(answer(reply), "warnings"), i, warning) {
        found |= strstr(json_string_value(warning), "still runs") != NULL;
    }
    json_decref(reply);
    return found;
}

static void saved_domain_runs(void **state)
{
    (void)state;
    struct uuid uuid = {{1, 2, 3, 4, 5, 6, 0x40, 8, 0x80, 10}};
    sim.saved = uuid;
    assert_false(warned("gone"));
    struct sim_domain *d = sim_domain_add(&sim, "golden", "", &uuid);
    sim_changed(&sim);
    sim_run(&sim, 100);
    assert_true(warned("golden"));
    sim_domain_destroy(&sim, d->d.domid);
    sim_run(&sim, 100);
    assert_false(warned("destroyed"));
}

#define TEST(name) TEST_OF(FIRE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retired_by_a_listing),
        TEST(all_at_once),
        TEST(another_is_given),
        TEST(more_than_retries),
        TEST(spoilt_and_failing),
        TEST(none_is_left),
        TEST(disk_changed),
        TEST(disk_changed_alone),
        TEST(layer_of_a_lease),
        TEST(layer_of_a_slot),
        TEST(saved_domain_runs),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
