/* The core in bad weather: helpers, host and database fail at each point where they can. */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "pool/core/reconcile.h"

#include <stdio.h>
#include <string.h>

/* All is well again: the pool is full, nothing is left over, requests are served. */
static void recovered(uint64_t ms)
{
    memset(&sim.faults, 0, sizeof sim.faults);
    sim_run(&sim, ms);
    sim_expect(root, "Allocate", want("fire", 0), 1000, NULL);
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 60000, NULL);
    sim_run(&sim, 120000);
    assert_int_equal(warm("fire"), 2);
    assert_int_equal(sim_domains(&sim), 2);
    sim_check_quiet(&sim);
}

/* Every way in which a build can go wrong, for ever: a backoff, an answer, no domain left. */
static void test_builds_fail(void **state)
{
    static const enum sim_fate fates[] = {
        FATE_BUILD_FAILS,     FATE_BUILD_FAILS_LATE, FATE_BUILD_DIES,
        FATE_BUILD_DIES_LATE, FATE_BUILD_HANGS,      FATE_NONSENSE,
        FATE_GARBAGE,         FATE_NO_START,         FATE_BUILD_DIES_UNTOLD,
        FATE_DOMID,           FATE_BUILD_DIES_NAMED};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++) {
        begin_with(FIRE, "build_timeout = 2s\n[pool]\nmin = 2\n");
        sim.faults.fate = fates[i];
        sim_call(root, "PoolWait", json_pack("{s:s, s:i}", "image", "fire", "timeout_ms", 600000));
        struct sim_client *waiting = sim_connect(&sim, 1000);
        sim_call(waiting, "Allocate", want("fire", 600000));
        sim_run(&sim, 60000);
        const struct pool *p = sim_pool(&sim, "fire");
        assert_true(p->failures.n >= 4 && p->failures.n < 12); /* it backs off */
        assert_true(failures_pause_ms(&p->failures) > 0);
        assert_true(p->failures.text[0]);
        assert_int_equal(p->set.total, 0);
        assert_int_equal(sim_domains(&sim), 0);
        const char *expected = "ImageBroken";
        json_t *reply = sim_reply(root);
        assert_string_equal(sim_error_name(reply), expected);
        json_decref(reply);
        reply = sim_reply(waiting);
        assert_string_equal(sim_error_name(reply), expected);
        json_decref(reply);
        sim_expect(root, "Allocate", want("fire", 60000), 10, expected);
        recovered(400000);
        sim_end(&sim);
    }
}

/* What a helper says is checked, and the reason says what was wrong with it. */
static void test_no_domid(void **state)
{
    (void)state;
    begin_with(FIRE, NULL);
    sim.faults.fate = FATE_DOMID;
    sim_run(&sim, 30000);
    assert_string_equal(sim_pool(&sim, "fire")->failures.text,
                        "its helper said created: domid 32752 is none, they are 1 to 32751");
    assert_int_equal(sim_domains(&sim), 0);
    recovered(60000);
    sim_end(&sim);
}

/* Domids come again: a slot is told from another by its uuid, and every one is found by its own. */
static void test_domids_again(void **state)
{
    static const uint32_t last = 0x7fef;
    (void)state;
    begin_with(FIRE, NULL);
    sim_run(&sim, 5000);
    sim.next_domid = last;
    for (unsigned i = 0; i < 5; i++) {
        char lease[32], domid[16];
        snprintf(domid, sizeof domid, "%u", take("fire", lease));
        expect("Release", json_pack("{s:[s]}", "leases", domid), NULL);
        sim_run(&sim, 3000);
    }
    list_each (node, &sim.domains)
        assert_true(container_of(node, struct sim_domain, node)->d.domid < 10);
    recovered(1000);
    sim_end(&sim);
}

/* Memory that somebody else frees is used at once, not at the end of a pause. */
static void test_memory_comes_back(void **state)
{
    (void)state;
    begin_with(FIRE, NULL);
    sim.faults.fate = FATE_BUILD_NO_MEMORY;
    sim_run(&sim, 72000); /* the pauses double: 1 s, 2 s, ... */
    assert_int_equal(sim_pool(&sim, "fire")->set.total, 0);
    assert_true(failures_pause_ms(&sim_pool(&sim, "fire")->failures) > 20000);
    sim.faults.fate = FATE_GOOD;
    sim.free_kib *= 2;
    sim_changed(&sim); /* as when a domain is destroyed */
    sim_run(&sim, 3000);
    assert_int_equal(warm("fire"), 2);
    sim_end(&sim);
}

/* A pool that builds for requests alone: builds are tried again for whoever asks after the
 * pause. */
static void test_builds_for_requests(void **state)
{
    (void)state;
    sim_end(&sim);
    begin_with(FIRE, "[pool]\nmin = 0\n");
    sim.faults.fate = FATE_BUILD_FAILS;
    sim_expect(root, "Allocate", want("fire", 60000), 60000, "ImageBroken");
    uint64_t slots = sim.core.next_slot;
    sim_expect(root, "Allocate", want("fire", 60000), 10, "ImageBroken");
    assert_int_equal(sim.core.next_slot, slots);
    sim_run(&sim, 10000);
    sim_expect(root, "Allocate", want("fire", 60000), 60000, "ImageBroken");
    assert_int_equal(sim.core.next_slot, slots + 1);
    sim.faults.fate = FATE_GOOD;
    sim_run(&sim, 20000);
    sim_expect(root, "Allocate", want("fire", 60000), 60000, NULL);
    assert_int_equal(sim.core.next_slot, slots + 2);
}

/* One broken image does not hold up another, nor one failed build the pool. */
static void test_broken_image_alone(void **state)
{
    (void)state;
    sim_image(&sim, "ice");
    sim.faults.fate = FATE_BUILD_FAILS;
    sim.faults.fate_for = 1;
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "ice")->set.count[SLOT_WARM], 2);
    assert_int_equal(warm("fire"), 2);
    assert_int_equal(sim_pool(&sim, "ice")->failures.n, 0);
}

static void test_warm_helper_dies(void **state)
{
    (void)state;
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim.faults.fate = FATE_WARM_DIES;
    sim_run(&sim, 20000);
    assert_true(sim_pool(&sim, "fire")->set.total <= 3);
    recovered(60000);
}

/* A slot that fails to complete is thrown away; the request gets another one. */
static void test_retries(void **state)
{
    (void)state;
    sim_end(&sim);
    begin_with(FIRE, "complete_timeout = 1s\n");
    sim.faults.fate = FATE_COMPLETE_HANGS; /* each for a reason of its own */
    sim.faults.fate_for = 2;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "4"), 100, NULL);
    sim_expect(root, "PoolWait", NULL, 20000, NULL);
    sim_expect(root, "Allocate", want("fire", 0), 4000, NULL); /* the third one is good */
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_BROKEN], 0);
    assert_int_equal(sim_domains(&sim), 5);
    sim_check_quiet(&sim);
}

/* All warm slots go, others come, and whatever pause there was is over. */
static void refill(const char *image)
{
    static const char *const min[] = {"0", "2"};
    for (size_t i = 0; i < ARRAY_SIZE(min); i++) {
        sim_expect(root, "PoolSet",
                   json_pack("{s:s, s:{s:s}}", "image", image, "settings", "min", min[i]), 100,
                   NULL);
        sim_run(&sim, 50000);
    }
}

static void test_completions_fail(void **state)
{
    static const enum sim_fate fates[] = {FATE_COMPLETE_FAILS, FATE_COMPLETE_DIES,
                                          FATE_COMPLETE_HANGS};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++) {
        /* That it took too long is no reason that two slots share. */
        const char *expected = fates[i] == FATE_COMPLETE_HANGS ? "AllocateFailed" : "ImageBroken";
        begin_with(FIRE, "complete_timeout = 1s\n[pool]\nmin = 2\n");
        sim.faults.fate = fates[i];
        sim_run(&sim, 5000);
        sim_expect(root, "Allocate", want("fire", 0), 5000, expected);
        sim_run(&sim, 5000);
        sim_expect(root, "Allocate", want("fire", 30000), 40000, expected);
        assert_int_equal(sim.allocated, 0);
        /* Those that are warm now would fail as well. */
        memset(&sim.faults, 0, sizeof sim.faults);
        refill("fire");
        sim_expect(root, "Allocate", want("fire", 30000), 40000, NULL);
        sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
        recovered(10000);
        sim_end(&sim);
    }
}

/* What two slots share is the image's fault: it is known by then, and costs no third one; and after
 * that one slot for each pause. */
static void test_shared_reason(void **state)
{
    (void)state;
    sim_end(&sim);
    begin_with(FIRE, "[pool]\nmin = 4\nbackoff = 10s\nbackoff_max = 40s\n");
    sim.faults.fate = FATE_COMPLETE_FAILS;
    sim_run(&sim, 30000);
    const struct entry *im = sim_pool(&sim, "fire")->set.image;
    uint64_t slots = sim.core.next_slot;
    sim_expect(root, "Allocate", want("fire", 0), 1000, "ImageBroken");
    assert_int_equal(im->completions.n, 2);
    json_t *reply = sim_ask(root, "PoolShow", json_pack("{s:s}", "image", "fire"), 10);
    const json_t *pool = json_array_get(json_object_get(answer(reply), "pools"), 0);
    assert_string_equal(text_of(pool, "last_error"), im->completions.text);
    json_decref(reply);
    sim_expect(root, "Allocate", want("fire", 5000), 10, "ImageBroken");
    sim_run(&sim, 8000);
    assert_int_equal(sim.core.next_slot, slots + 2);
    assert_int_equal(warm("fire"), 4);
    sim_expect(root, "Allocate", want("fire", 0), 10, "ImageBroken");
    sim_run(&sim, 20000); /* the pause is 20 s by now */
    for (unsigned n = 3; n <= 4; n++) {
        sim_expect(root, "Allocate", want("fire", 0), 1000, "ImageBroken");
        assert_int_equal(im->completions.n, n);
        sim_run(&sim, 50000);
    }
    assert_int_equal(sim.core.next_slot, slots + 4);
    /* Slots that are warm have their fate already. */
    memset(&sim.faults, 0, sizeof sim.faults);
    refill("fire");
    sim_expect(root, "Allocate", want("fire", 0), 1000, NULL);
    assert_int_equal(im->completions.n, 0);
}

/* An image that no slot can read costs no more than others that cannot be built, and harms none. */
static void test_unreadable_builds(void **state)
{
    (void)state;
    sim_end(&sim);
    begin_with(FIRE, "[pool]\nmin = 0\n");
    sim_image(&sim, "ice");
    sim.faults.fate = FATE_BUILD_UNREADABLE;
    uint64_t slots = sim.core.next_slot;
    sim_expect(root, "Allocate", want("fire", 60000), 60000, "ImageBroken");
    const struct failures *f = &sim_pool(&sim, "fire")->failures;
    assert_int_equal(f->n, 3);
    assert_non_null(strstr(f->text, "told to fail"));
    sim_run(&sim, 600000);
    assert_int_equal(sim.core.next_slot, slots + 3);
    sim.faults.fate = FATE_GOOD;
    sim_expect(root, "Allocate", want("ice", 60000), 60000, NULL);
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
}

/* One that is read again meanwhile had bad luck. */
static void test_unreadable_once(void **state)
{
    (void)state;
    const struct entry *im = sim_entry(&sim, "fire");
    for (int i = 0; i < 3; i++) {
        sim.faults.fate = i % 2 ? FATE_BUILD_UNREADABLE : FATE_COMPLETE_UNREADABLE;
        sim.faults.fate_for = 1;
        sim_expect(root, "Allocate", want("fire", 60000), 60000, NULL);
        sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
        sim_run(&sim, 60000);
        assert_int_equal(im->completions.n, 0);
        assert_int_equal(im->state, ENTRY_SOUND);
    }
    recovered(60000);
}

/* A second slot that cannot read the image shares the first one's reason, and costs no third. */
static void test_unreadable_completions(void **state)
{
    struct error e;
    (void)state;
    sim_end(&sim);
    begin_with(FIRE, "[pool]\nmin = 4\nretries = 5\nbackoff = 10s\n");
    sim.faults.fate = FATE_COMPLETE_UNREADABLE;
    sim_run(&sim, 20000);
    assert_int_equal(warm("fire"), 4);
    sim_expect(root, "Allocate", want("fire", 0), 1000, "ImageBroken");
    assert_int_equal(warm("fire"), 2);
    assert_int_equal(entry_check(sim_entry(&sim, "fire"), &e), ANSWER_IMAGE_BROKEN);
    assert_non_null(strstr(e.text, "2 slots in a row failed to become it"));
    assert_non_null(strstr(e.text, "told to fail"));
    memset(&sim.faults, 0, sizeof sim.faults);
    refill("fire");
    recovered(60000);
}

static void test_completed_helper_hangs(void **state)
{
    (void)state;
    sim_end(&sim);
    begin_with(FIRE, NULL);
    sim.faults.fate = FATE_COMPLETED_HANGS;
    sim.faults.fate_for = 2;
    sim_run(&sim, 5000);
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim_run(&sim, 10000); /* it is killed, the lease lives */
    assert_true(list_empty(&sim.helpers) || sim_pool(&sim, "fire")->set.count[SLOT_LEASED] == 1);
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL); /* before it is killed */
    recovered(10000);
}

static void test_destroy_fails(void **state)
{
    (void)state;
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim.faults.destroy_fails = 3;
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 5000, "Internal");
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_BROKEN], 1);
    assert_int_equal(sim_domains(&sim), 3);
    sim_run(&sim, 60000);
    assert_int_equal(sim_domains(&sim), 2);
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim.faults.destroy_hangs = 1;
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 20000, "TimedOut");
    recovered(60000);
}

/* Without the host's list nothing that is leased is touched. */
static void test_list_fails(void **state)
{
    (void)state;
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim.faults.list_fails = 1000000;
    sim_run(&sim, 120000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 1);
    json_t *reply = sim_ask(root, "Status", NULL, 10);
    assert_true(json_is_false(json_object_get(json_object_get(reply, "parameters"), "xen")));
    json_decref(reply);
    /* A slot whose domid nobody knows waits until the list is back. */
    sim.faults.fate = FATE_BUILD_DIES_UNTOLD;
    sim.faults.fate_for = 1;
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim_run(&sim, 20000);
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
    recovered(60000);
}

static void test_database_fails(void **state)
{
    (void)state;
    sim_expect(root, "Allocate", want("fire", 0), 100, NULL);
    sim_run(&sim, 5000);
    sim.faults.writes_fail = true;
    sim_expect(root, "Allocate", want("fire", 0), 1000, "Internal"); /* finds out */
    sim_expect(root, "Allocate", want("fire", 0), 1000, "Internal"); /* knows */
    sim_run(&sim, 20000);
    unsigned leased = sim_pool(&sim, "fire")->set.count[SLOT_LEASED];
    assert_int_equal(leased, 1); /* runs on */
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_BUILDING], 0);
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "1"), 100,
               "Internal");
    sim_expect(root, "ImageRemove", json_pack("{s:s}", "name", "fire"), 100, "Internal");
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/x"), 100,
               "Internal");
    /* Releasing works; the row follows when it can. */
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 5000, NULL);
    recovered(20000);
}

/* A setting that cannot be recorded is refused and not in force, then or later. */
static void test_setting_write_fails(void **state)
{
    (void)state;
    sim.faults.write_fails = 1;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "7"), 1000,
               "Internal");
    assert_int_equal(sim_pool(&sim, "fire")->settings.min, 2);
    recovered(20000);
    assert_int_equal(sim_pool(&sim, "fire")->settings.min, 2);
    assert_int_equal(warm("fire"), 2);
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "3"), 1000, NULL);
    assert_int_equal(sim_pool(&sim, "fire")->settings.min, 3);
}

/* Each single write fails once, while a lease begins and ends. */
static void test_each_write_fails(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 20; n++) {
        unsigned moves = sim.moves;
        sim_call(root, "Allocate", want("fire", 5000));
        for (unsigned i = 0; i < n; i++)
            sim_run_us(&sim, 100);
        sim.faults.write_fails = 1;
        sim_run(&sim, 6000);
        json_t *reply = sim_reply(root);
        assert_non_null(reply);
        json_decref(reply);
        sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 5000, NULL);
        recovered(20000);
        assert_true(sim.moves > moves);
    }
}

static void test_import_write_fails(void **state)
{
    (void)state;
    sim_call(root, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/x"));
    sim_run(&sim, 300);
    sim.faults.write_fails = 1;
    sim_run(&sim, 1000);
    json_t *reply = sim_reply(root);
    assert_string_equal(sim_error_name(reply), "Internal");
    json_decref(reply);
    assert_int_equal(sim.discarded, 1);
    assert_null(entry_find(&sim.core, "ice"));
    recovered(10000);
}

/* Stopping comes to an end though a domain does not. */
static void test_stop_is_bounded(void **state)
{
    (void)state;
    sim.faults.destroy_fails = 1000;
    core_stop(&sim.core);
    sim_run(&sim, 9000);
    assert_false(sim.stopped);
    sim_run(&sim, 2000);
    assert_true(sim.stopped);
}

#define TEST(name) TEST_OF(FIRE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builds_fail),
        cmocka_unit_test(test_no_domid),
        cmocka_unit_test(test_domids_again),
        cmocka_unit_test(test_memory_comes_back),
        TEST(test_builds_for_requests),
        TEST(test_broken_image_alone),
        TEST(test_warm_helper_dies),
        TEST(test_retries),
        cmocka_unit_test(test_completions_fail),
        TEST(test_shared_reason),
        TEST(test_unreadable_builds),
        TEST(test_unreadable_once),
        TEST(test_unreadable_completions),
        TEST(test_completed_helper_hangs),
        TEST(test_destroy_fails),
        TEST(test_list_fails),
        TEST(test_database_fails),
        TEST(test_setting_write_fails),
        TEST(test_each_write_fails),
        TEST(test_import_write_fails),
        TEST(test_stop_is_bounded),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
