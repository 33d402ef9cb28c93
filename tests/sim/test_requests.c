/* The core in good weather: what each request does and says, and who may do what. */
#include "pool/core/domains.h"
#include "pool/core/reconcile.h"
#include "tests/sim/fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROOT 0
#define ALICE 1000
#define BOB 1001

/* Allocates; the lease's id into lease. Returns the domid. */
static uint32_t take_as(struct sim_client *c, const char *image, char lease[32])
{
    json_t *reply = sim_ask(c, "Allocate", want(image, 0), 1000);
    json_t *p = answer(reply);
    if (lease)
        assert_true(strlen(text_of(p, "lease")) < 32 && strcpy(lease, text_of(p, "lease")));
    uint32_t domid = (uint32_t)integer_of(p, "domid");
    json_decref(reply);
    return domid;
}

static json_t *names(const char *one)
{
    return json_pack("{s:[s]}", "leases", one);
}

static void test_allocate(void **state)
{
    (void)state;
    json_t *reply = sim_ask(
        root, "Allocate", json_pack("{s:s, s:{s:s}}", "image", "fire", "meta", "job", "42"), 1000);
    json_t *p = answer(reply);
    assert_string_equal(text_of(p, "lease"), "l1");
    assert_string_equal(text_of(p, "image"), "fire");
    assert_string_equal(text_of(p, "name"), "fire-l1");
    assert_string_equal(text_of(p, "slot"), "s1");
    assert_string_equal(text_of(p, "from"), "warm");
    assert_int_equal(integer_of(p, "delta_pages"), 7);
    json_t *stages = json_object_get(p, "stages");
    assert_int_equal(json_array_size(stages), 5);
    assert_string_equal(text_of(json_array_get(stages, 0), "name"), "pick");
    assert_string_equal(text_of(json_array_get(stages, 1), "name"), "handover");
    assert_string_equal(text_of(json_array_get(stages, 3), "name"), "return");
    assert_string_equal(text_of(json_array_get(stages, 4), "name"), "commit");
    json_int_t sum = 0;
    for (size_t i = 0; i < 5; i++)
        sum += integer_of(json_array_get(stages, i), "us");
    assert_int_equal(sum, integer_of(p, "total_us")); /* no time is in no stage */
    assert_string_equal(sim_domain_find(&sim, (uint32_t)integer_of(p, "domid"))->d.name, "fire-l1");
    json_decref(reply);
    sim_run(&sim, 5000);
    assert_int_equal(warm("fire"), 2); /* refilled */
    sim_check_quiet(&sim);
    reply = sim_ask(root, "List", NULL, 10);
    p = json_array_get(json_object_get(answer(reply), "leases"), 0);
    assert_string_equal(text_of(json_object_get(p, "meta"), "job"), "42");
    assert_int_equal(json_array_size(json_object_get(answer(reply), "slots")), 3);
    json_decref(reply);
}

/* Refill starts at once, but not before the reply has left. */
static void test_refill_after_reply(void **state)
{
    (void)state;
    sim_call(root, "Allocate", want("fire", 0));
    while (!root->answered) {
        assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_BUILDING], 0);
        sim_run_us(&sim, 20);
    }
    sim_run(&sim, 1);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_BUILDING], 1);
}

/* Destroying waits while somebody is being served, but not for ever. */
static void test_destroy_steps_aside(void **state)
{
    (void)state;
    take_as(root, "fire", NULL);
    sim.complete_us = 60000;
    struct sim_client *c = sim_connect(&sim, ALICE);
    struct slot *s = slot_at(sim.core.slots.next);
    sim_call(c, "Allocate", want("fire", 0));
    sim_call(root, "Release", names("l1"));
    sim_run(&sim, 55);
    assert_int_equal(s->state, SLOT_RELEASING);
    assert_int_equal(s->reap, REAP_QUEUED);
    assert_int_equal(c->answered, 0);
    sim_run(&sim, 10);
    assert_int_equal(c->answered, 1);
    assert_int_equal(s->reap, REAP_DESTROY);
    sim_run(&sim, 5000);
    sim.complete_us = 5000000; /* one that takes as long as it may */
    sim_call(c, "Allocate", want("fire", 0));
    sim_call(root, "Release", names("l2"));
    sim_run(&sim, 500);
    assert_int_equal(c->answered, 1);
    assert_int_equal(root->answered, 3);
}

static void test_release(void **state)
{
    char lease[32];
    (void)state;
    uint32_t domid = take_as(root, "fire", lease);
    json_t *reply = sim_ask(root, "Release", names(lease), 1000);
    json_t *ended = json_array_get(json_object_get(answer(reply), "released"), 0);
    assert_string_equal(text_of(ended, "lease"), lease);
    assert_int_equal(integer_of(ended, "domid"), domid);
    assert_null(sim_domain_find(&sim, domid)); /* answered when it is gone */
    json_decref(reply);
    sim_expect(root, "Release", names(lease), 1000, "NoSuchLease");
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
    assert_int_equal(sim_domains(&sim), 2);
}

static void test_release_by_name_and_domid(void **state)
{
    char domid[16], lease[32];
    (void)state;
    snprintf(domid, sizeof domid, "%u", take_as(root, "fire", NULL));
    take_as(root, "fire", lease);
    sim_expect(root, "Release", names(domid), 1000, NULL);
    sim_expect(root, "Release", names("fire-l2"), 1000, NULL);
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
    /* Nothing is released when one of the names is unknown. */
    take_as(root, "fire", lease);
    sim_expect(root, "Release", json_pack("{s:[s,s]}", "leases", lease, "nobody"), 1000,
               "NoSuchLease");
    sim_expect(root, "Release", json_pack("{s:[s,s]}", "leases", lease, lease), 1000, NULL);
    sim_expect(root, "Release", json_object(), 1000, "InvalidParameter");
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
}

static void test_release_without_waiting(void **state)
{
    char lease[32];
    (void)state;
    uint32_t domid = take_as(root, "fire", lease);
    json_t *reply =
        sim_ask(root, "Release", json_pack("{s:[s], s:b}", "leases", lease, "wait", 0), 50);
    answer(reply);
    json_decref(reply);
    assert_non_null(sim_domain_find(&sim, domid));
    sim_run(&sim, 5000);
    assert_null(sim_domain_find(&sim, domid));
}

static void test_release_all_is_mine_only(void **state)
{
    (void)state;
    struct sim_client *alice = sim_connect(&sim, ALICE), *bob = sim_connect(&sim, BOB);
    take_as(alice, "fire", NULL);
    take_as(bob, "fire", NULL);
    sim_expect(alice, "Release", names("l2"), 1000, "NotPermitted");
    json_t *reply = sim_ask(alice, "Release", json_pack("{s:b}", "all", 1), 1000);
    assert_int_equal(json_array_size(json_object_get(answer(reply), "released")), 1);
    json_decref(reply);
    reply = sim_ask(root, "Release", json_pack("{s:b}", "all", 1), 1000);
    assert_int_equal(json_array_size(json_object_get(answer(reply), "released")), 1);
    json_decref(reply);
}

static void test_permissions(void **state)
{
    (void)state;
    struct sim_client *alice = sim_connect(&sim, ALICE);
    sim_expect(alice, "ImageImport", json_pack("{s:s, s:s}", "name", "x", "path", "/x"), 100,
               "NotPermitted");
    sim_expect(alice, "ImageRemove", json_pack("{s:s}", "name", "fire"), 100, "NotPermitted");
    sim_expect(alice, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "0"), 100,
               "NotPermitted");
    sim_expect(alice, "List", NULL, 100, NULL);
    sim_expect(alice, "Status", NULL, 100, NULL);
    sim_expect(alice, "PoolShow", NULL, 100, NULL);
    sim_expect(alice, "ConfigShow", NULL, 100, NULL);
}

static void test_bad_requests(void **state)
{
    (void)state;
    sim_expect(root, "Allocate", want("nope", 0), 10, "NoSuchImage");
    sim_expect(root, "Allocate", want("fire", -1), 10, "BadValue");
    sim_expect(root, "Allocate",
               json_pack("{s:s, s:I}", "image", "fire", "ttl_ms", (json_int_t)INT64_MAX), 10,
               "BadValue");
    sim_expect(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", "a b"), 10,
               "BadValue");
    sim_expect(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", "l7"), 10,
               "BadValue");
    sim_expect(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", "12"), 10,
               "BadValue");
    sim_expect(root, "Allocate", json_pack("{s:i}", "image", 5), 10, "InvalidParameter");
    sim_expect(root, "Allocate", json_pack("{s:s, s:i}", "image", "fire", "wat", 5), 10,
               "InvalidParameter");
    sim_expect(root, "Allocate", json_pack("{s:s, s:{s:i}}", "image", "fire", "meta", "a", 1), 10,
               "InvalidParameter");
    sim_expect(root, "Nothing", NULL, 10, "MethodNotFound");
    sim_expect(root, "org.example.Thing.Do", NULL, 10, "InterfaceNotFound");
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "../x", "path", "/x"), 10,
               "BadValue");
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "x", "path", "x"), 10,
               "BadValue");
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "fire", "path", "/x"), 10,
               "ImageExists");
    sim_expect(root, "PoolWait", json_pack("{s:s}", "image", "nope"), 10, "NoSuchImage");
    sim_expect(root, "PoolWait", json_pack("{s:i}", "timeout_ms", -1), 10, "BadValue");
    sim_expect(root, "PoolShow", json_pack("{s:s}", "image", "nope"), 10, "NoSuchImage");
    sim_expect(root, "ImageShow", json_pack("{s:s}", "name", "nope"), 10, "NoSuchImage");
    assert_int_equal(warm("fire"), 2);
}

static void test_names(void **state)
{
    (void)state;
    sim_domain_add(&sim, "taken", "", NULL);
    sim_domain_add(&sim, "fire-l1", "", NULL);
    domains_list(&sim.core);
    sim_run(&sim, 10);
    sim_expect(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", "taken"), 10,
               "NameInUse");
    json_t *reply = sim_ask(root, "Allocate", want("fire", 0), 100);
    assert_string_equal(text_of(answer(reply), "name"), "fire-l1-2");
    json_decref(reply);
    sim_expect(root, "Allocate",
               json_pack("{s:s, s:s, s:i}", "image", "fire", "name", "mine", "wait_ms", 5000), 5000,
               NULL);
    sim_expect(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", "mine"), 10,
               "NameInUse");
}

static json_t *mine(void)
{
    return json_pack("{s:s, s:s, s:i}", "image", "fire", "name", "mine", "wait_ms", 5000);
}

/* The name of a domain that is gone is free when that is answered, whatever was listed before, or
 * is being listed. */
static void test_name_is_free_again(void **state)
{
    (void)state;
    sim.destroy_ms = 20;
    for (uint64_t us = 0; us < 40000; us += 1000) {
        char lease[32];
        uint64_t slots = sim.core.next_slot;
        sim.list_us = 300;
        json_t *reply = sim_ask(root, "Allocate", mine(), 6000);
        snprintf(lease, sizeof lease, "%s", text_of(answer(reply), "lease"));
        json_decref(reply);
        sim_run(&sim, 1000);
        sim.list_us = 30000;
        sim_call(root, "Release", names(lease));
        sim_run_us(&sim, us);
        domains_list(&sim.core);
        while (!(reply = sim_reply(root)))
            sim_run_us(&sim, 100);
        answer(reply);
        json_decref(reply);
        sim_expect(root, "Allocate", mine(), 6000, NULL);
        sim_expect(root, "Release", names("mine"), 1000, NULL);
        sim_run(&sim, 3000);
        /* Nor is what the listing still had taken for a domain that no slot knows. */
        assert_true(sim.core.next_slot <= slots + 4);
        sim_check_quiet(&sim);
    }
}

static void test_empty_pool(void **state)
{
    (void)state;
    take_as(root, "fire", NULL);
    take_as(root, "fire", NULL);
    sim_expect(root, "Allocate", want("fire", 0), 10, "PoolEmpty");
    uint64_t before = sim.now_us;
    json_t *reply = sim_ask(root, "Allocate", want("fire", 60000), 60000);
    assert_string_equal(text_of(answer(reply), "from"), "cold");
    assert_true(sim.now_us - before < 1000000); /* one build, no ticker */
    json_decref(reply);
}

/* Whoever came first is served first, and short waits end by name. */
static void test_fifo(void **state)
{
    struct sim_client *c[4];
    (void)state;
    take_as(root, "fire", NULL);
    take_as(root, "fire", NULL);
    for (int i = 0; i < 4; i++) {
        c[i] = sim_connect(&sim, ALICE);
        sim_call(c[i], "Allocate", want("fire", i == 1 ? 100 : 60000));
    }
    sim_run(&sim, 150);
    json_t *reply = sim_reply(c[1]);
    assert_string_equal(sim_error_name(reply), "PoolEmpty");
    json_decref(reply);
    uint64_t done[4] = {0};
    for (int t = 0; t < 600; t++) {
        sim_run(&sim, 10);
        for (int i = 0; i < 4; i++)
            if (c[i]->answered && !done[i])
                done[i] = sim.now_us;
    }
    assert_true(done[0] && done[0] < done[2] && done[2] < done[3]);
    sim_run(&sim, 5000);
    assert_int_equal(warm("fire"), 2);
    assert_int_equal(sim.allocated, 5);
}

static void test_waiting_client_dies(void **state)
{
    (void)state;
    take_as(root, "fire", NULL);
    take_as(root, "fire", NULL);
    struct sim_client *c = sim_connect(&sim, ALICE);
    sim_call(c, "Allocate", want("fire", 60000));
    sim_run(&sim, 100);
    sim_disconnect(c);
    sim_run(&sim, 120000);
    assert_int_equal(sim.allocated, 2);
    assert_int_equal(warm("fire"), 2); /* what was built for it does not stay */
    sim_check_quiet(&sim);
}

static void test_completing_client_dies(void **state)
{
    (void)state;
    for (unsigned us = 0; us < 2000; us += 50) { /* at every moment of a request */
        struct sim_client *c = sim_connect(&sim, ALICE);
        sim_call(c, "Allocate", want("fire", 0));
        sim_run_us(&sim, us);
        bool answered = c->answered != 0;
        sim_disconnect(c);
        sim_run(&sim, 8000);
        unsigned leased = sim_pool(&sim, "fire")->set.count[SLOT_LEASED];
        assert_int_equal(leased, answered ? 1 : 0);
        sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
        sim_run(&sim, 5000);
        assert_int_equal(sim_domains(&sim), 2);
    }
}

static void test_hold(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, ALICE);
    json_t *reply =
        sim_ask(c, "Allocate", json_pack("{s:s, s:b}", "image", "fire", "hold", 1), 100);
    uint32_t domid = (uint32_t)integer_of(answer(reply), "domid");
    json_decref(reply);
    sim_run(&sim, 60000);
    assert_non_null(sim_domain_find(&sim, domid));
    sim_disconnect(c);
    sim_run(&sim, 1000);
    assert_null(sim_domain_find(&sim, domid));
    /* Released by somebody else before its holder goes. */
    c = sim_connect(&sim, ALICE);
    json_decref(sim_ask(c, "Allocate", json_pack("{s:s, s:b}", "image", "fire", "hold", 1), 1000));
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
    sim_disconnect(c);
    sim_run(&sim, 1000);
}

static void test_ttl(void **state)
{
    (void)state;
    json_t *reply =
        sim_ask(root, "Allocate", json_pack("{s:s, s:i}", "image", "fire", "ttl_ms", 10000), 100);
    uint32_t domid = (uint32_t)integer_of(answer(reply), "domid");
    json_decref(reply);
    sim_run(&sim, 9900);
    assert_non_null(sim_domain_find(&sim, domid));
    sim_run(&sim, 400);
    assert_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
}

static void test_domain_ends(void **state)
{
    uint32_t domid[4];
    (void)state;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "4"), 100, NULL);
    sim_expect(root, "PoolWait", NULL, 10000, NULL);
    for (int i = 0; i < 4; i++)
        domid[i] = take_as(root, "fire", NULL);
    sim_domain_shutdown(&sim, domid[0], 0); /* poweroff */
    sim_domain_shutdown(&sim, domid[1], 3); /* crash */
    sim_domain_destroy(&sim, domid[2]);     /* xl destroy */
    sim_domain_shutdown(&sim, domid[3], 2); /* xl save has it suspended */
    sim_run(&sim, 10000);
    assert_null(sim_domain_find(&sim, domid[0]));
    assert_null(sim_domain_find(&sim, domid[1]));
    assert_non_null(sim_domain_find(&sim, domid[3])); /* is not ours to destroy meanwhile */
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 1);
    const struct uuid uuid = sim_domain_find(&sim, domid[3])->d.uuid;
    sim.restored = true;
    sim_domain_destroy(&sim, domid[3]); /* saved: the lease keeps its disks */
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 0);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_SAVED], 1);
    /* xl restore makes a domain of the same UUID: first a paused one, and that one may fail. */
    struct sim_domain *back = sim_domain_add(&sim, "back", "", &uuid);
    back->d.paused = true;
    sim_run(&sim, 70000); /* longer than between two listings */
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 1);
    sim_domain_destroy(&sim, back->d.domid);
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_SAVED], 1);
    /* This one runs; when it ends, the lease ends. */
    back = sim_domain_add(&sim, "back", "", &uuid);
    sim_run(&sim, 70000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 1);
    sim_domain_destroy(&sim, back->d.domid);
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 0);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_SAVED], 0);
    sim_check_quiet(&sim);
}

static void test_warm_domain_ends(void **state)
{
    (void)state;
    struct slot *s = container_of(sim_pool(&sim, "fire")->set.warm.next, struct slot, in_warm);
    sim_domain_destroy(&sim, (uint32_t)s->domid);
    sim_run(&sim, 100);
    assert_int_equal(warm("fire"), 1);
    sim_run(&sim, 10000);
    assert_int_equal(warm("fire"), 2);
    sim_check_quiet(&sim);
}

static void test_settings(void **state)
{
    (void)state;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "5"), 100, NULL);
    sim_run(&sim, 10000);
    assert_int_equal(warm("fire"), 5);
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "max", "4"), 100,
               "BadValue");
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "mix", "4"), 100,
               "NoSuchSetting");
    sim_expect(
        root, "PoolSet",
        json_pack("{s:s, s:{s:s, s:s}}", "image", "fire", "settings", "min", "1", "max", "4"), 100,
        NULL);
    sim_run(&sim, 2000); /* a pool that shrank lets go at once */
    assert_int_equal(warm("fire"), 1);
    assert_int_equal(sim_domains(&sim), 1);
    sim_check_quiet(&sim);
    sim_crash(&sim);
    sim_restart(&sim, "[pool]\nmin = 2\n", NULL);
    sim_run(&sim, 10000);
    assert_int_equal(warm("fire"), 1); /* kept across restarts */
    root = sim_connect(&sim, ROOT);
    sim_expect(root, "PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", ""),
               100, NULL);
    sim_run(&sim, 10000);
    assert_int_equal(warm("fire"), 2);
}

/* Each of the two fits what is in force, and the first one is on record before the second one is
 * looked at. */
static void test_settings_at_once(void **state)
{
    (void)state;
    struct sim_client *second = sim_connect(&sim, ROOT);
    sim_call(root, "PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "5"));
    sim_call(second, "PoolSet",
             json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "max", "3"));
    sim_run(&sim, 100);
    json_t *reply = sim_reply(root);
    answer(reply);
    json_decref(reply);
    reply = sim_reply(second);
    assert_string_equal(sim_error_name(reply), "BadValue");
    json_decref(reply);
    assert_int_equal(sim_pool(&sim, "fire")->settings.min, 5);
    assert_int_equal(sim_pool(&sim, "fire")->settings.max, 0);
}

/* The settings of a client that is gone are set all the same. */
static void test_settings_client_gone(void **state)
{
    (void)state;
    struct sim_client *first = sim_connect(&sim, ROOT), *second = sim_connect(&sim, ROOT);
    sim_call(first, "PoolSet",
             json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "3"));
    sim_call(second, "PoolSet",
             json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "max", "6"));
    sim_disconnect(first);
    sim_disconnect(second);
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "fire")->settings.min, 3);
    assert_int_equal(sim_pool(&sim, "fire")->settings.max, 6);
    sim_check_quiet(&sim);
}

static void test_max(void **state)
{
    (void)state;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "max", "3"), 100, NULL);
    for (int i = 0; i < 2; i++)
        take_as(root, "fire", NULL);
    sim_expect(root, "Allocate", want("fire", 3000), 3000, NULL);
    sim_expect(root, "Allocate", want("fire", 0), 100, "LimitReached");
    sim_expect(root, "Allocate", want("fire", 2000), 2100, "LimitReached");
    assert_int_equal(sim_pool(&sim, "fire")->set.total, 3);
    /* A place that becomes free goes to whoever waits. */
    struct sim_client *c = sim_connect(&sim, ALICE);
    sim_call(c, "Allocate", want("fire", 60000));
    sim_expect(root, "Release", names("l1"), 1000, NULL);
    sim_run(&sim, 3000);
    json_t *reply = sim_reply(c);
    answer(reply);
    json_decref(reply);
}

static void test_pool_wait(void **state)
{
    (void)state;
    sim_expect(root, "PoolWait", json_pack("{s:s}", "image", "fire"), 0, NULL);
    take_as(root, "fire", NULL);
    sim_expect(root, "PoolWait", json_pack("{s:s, s:i}", "image", "fire", "timeout_ms", 50), 100,
               "TimedOut");
    sim_expect(root, "PoolWait", json_pack("{s:s}", "image", "fire"), 2000, NULL);
    assert_int_equal(warm("fire"), 2);
    struct sim_client *c = sim_connect(&sim, ALICE);
    take_as(root, "fire", NULL);
    sim_call(c, "PoolWait", NULL);
    sim_run(&sim, 10);
    sim_disconnect(c);
    sim_run(&sim, 2000);
}

static void test_image_remove(void **state)
{
    char lease[32];
    (void)state;
    take_as(root, "fire", lease);
    sim_expect(root, "ImageRemove", json_pack("{s:s}", "name", "fire"), 100, "ImageInUse");
    sim_expect(root, "Release", names(lease), 1000, NULL);
    sim_expect(root, "ImageRemove", json_pack("{s:s}", "name", "fire"), 5000, NULL);
    assert_null(entry_find(&sim.core, "fire"));
    assert_int_equal(sim_domains(&sim), 0);
    assert_int_equal(sim.discarded, 1);
    sim_image(&sim, "fire"); /* the name is free again */
    sim_expect(root, "PoolWait", NULL, 5000, NULL);
    sim_run(&sim, 1000);
    sim_check_quiet(&sim);
}

static void test_import(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, ROOT);
    sim_call(c, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/save"));
    sim_run(&sim, 100);
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/save"), 100,
               "ImageExists");
    sim_disconnect(c); /* cancels it */
    sim_run(&sim, 2000);
    assert_null(entry_find(&sim.core, "ice"));
    assert_int_equal(sim.discarded, 1);
    sim.faults.work.fate = FATE_WORK_FAILS;
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/save"), 2000,
               "ImageRefused");
    sim.faults.work.fate = FATE_WORK_DIES;
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/save"), 2000,
               "Internal");
    sim.faults.work.fate = FATE_NO_START;
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/save"), 2000,
               "Internal");
    sim.faults.work.fate = FATE_GOOD;
    sim_image(&sim, "ice");
    json_t *reply = sim_ask(root, "ImageList", NULL, 10);
    json_t *images = json_object_get(answer(reply), "images");
    assert_int_equal(json_array_size(images), 2);
    assert_string_equal(text_of(json_array_get(images, 1), "name"), "ice");
    json_decref(reply);
    sim_expect(root, "ImageShow", json_pack("{s:s}", "name", "ice"), 10, NULL);
}

/* Calls that are sent together are answered in order, also when one of them waits. */
static void test_pipelining(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, ROOT);
    take_as(root, "fire", NULL);
    take_as(root, "fire", NULL);
    sim_call(c, "Allocate", want("fire", 10000));
    sim_call(c, "Release", json_pack("{s:b}", "all", 1));
    sim_call(c, "Status", NULL);
    assert_int_equal(c->answered, 0);
    sim_run(&sim, 5000);
    assert_int_equal(c->answered, 3);
    json_t *reply = sim_reply(c);
    assert_non_null(text_of(answer(reply), "lease"));
    json_decref(reply);
    reply = sim_reply(c);
    assert_int_equal(json_array_size(json_object_get(answer(reply), "released")), 3);
    json_decref(reply);
    reply = sim_reply(c);
    assert_int_equal(integer_of(answer(reply), "allocations"), 3);
    assert_int_equal(integer_of(answer(reply), "pid"), getpid());
    json_decref(reply);
}

static void test_stop(void **state)
{
    (void)state;
    struct sim_client *held = sim_connect(&sim, ALICE), *waiting = sim_connect(&sim, ALICE);
    uint32_t domid = take_as(root, "fire", NULL);
    json_decref(
        sim_ask(held, "Allocate", json_pack("{s:s, s:b}", "image", "fire", "hold", 1), 100));
    sim_call(waiting, "Allocate", want("fire", 60000));
    core_stop(&sim.core);
    json_t *reply = sim_reply(waiting);
    assert_string_equal(sim_error_name(reply), "Stopping");
    json_decref(reply);
    sim_expect(root, "Allocate", want("fire", 0), 10, "Stopping");
    sim_expect(root, "ImageImport", json_pack("{s:s, s:s}", "name", "x", "path", "/x"), 10,
               "Stopping");
    sim_run(&sim, 9000);
    assert_true(sim.stopped);
    assert_true(sim.stopped_idle);
    assert_int_equal(sim_domains(&sim), 1);
    assert_non_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
}

static void test_quota(void **state)
{
    (void)state;
    sim_crash(&sim);
    sim_restart(&sim, "leases_per_user = 1\n[pool]\nmin = 2\n", NULL);
    sim_run(&sim, 5000);
    struct sim_client *alice = sim_connect(&sim, ALICE), *bob = sim_connect(&sim, BOB);
    take_as(alice, "fire", NULL);
    sim_expect(alice, "Allocate", want("fire", 0), 100, "LimitReached");
    take_as(bob, "fire", NULL);
    root = sim_connect(&sim, ROOT);
    sim_expect(root, "Allocate", want("fire", 5000), 5000, NULL);
    sim_expect(root, "Allocate", want("fire", 5000), 5000, NULL);
}

/* With nothing kept warm, each request is served cold, and short waits in a row get there too. */
static void test_short_waits(void **state)
{
    (void)state;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "0"), 100, NULL);
    sim_run(&sim, 5000);
    assert_int_equal(sim_domains(&sim), 0);
    json_t *reply = NULL;
    for (int i = 0; i < 20 && !sim.allocated; i++) {
        reply = sim_ask(root, "Allocate", want("fire", 100), 200);
        json_decref(reply);
    }
    assert_int_equal(sim.allocated, 1);
}

#define TEST(name) TEST_OF(FIRE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_allocate),
        TEST(test_refill_after_reply),
        TEST(test_destroy_steps_aside),
        TEST(test_release),
        TEST(test_release_by_name_and_domid),
        TEST(test_release_without_waiting),
        TEST(test_release_all_is_mine_only),
        TEST(test_permissions),
        TEST(test_bad_requests),
        TEST(test_names),
        TEST(test_name_is_free_again),
        TEST(test_empty_pool),
        TEST(test_fifo),
        TEST(test_waiting_client_dies),
        TEST(test_completing_client_dies),
        TEST(test_hold),
        TEST(test_ttl),
        TEST(test_domain_ends),
        TEST(test_warm_domain_ends),
        TEST(test_settings),
        TEST(test_settings_at_once),
        TEST(test_settings_client_gone),
        TEST(test_max),
        TEST(test_pool_wait),
        TEST(test_image_remove),
        TEST(test_import),
        TEST(test_pipelining),
        TEST(test_stop),
        TEST(test_quota),
        TEST(test_short_waits),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
