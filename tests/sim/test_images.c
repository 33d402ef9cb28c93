/*
 * Images that are derived, captured and checked, over a simulated world. A helper that is
 * given a file that is gone, or a slot that is no kin of it, is a violation (sim_helpers.c), and so
 * is a file too many when all is quiet (sim_check.c).
 */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "base/uuid.h"
#include "pool/core/lease_find.h"
#include "pool/core/reconcile.h"

#include <stdio.h>

/* ---- derived images ---- */

/* First come, first served, whatever image of the base they want. */
static void test_interleaved(void **state)
{
    static const char *const images[] = {"base", "mail", "shop", "wiki"};
    struct sim_client *clients[12];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = sim_connect(&sim, 1000);
        sim_call(clients[i], "Allocate", want(images[i * 3 % 4], 60000));
    }
    sim_run(&sim, 30000);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        char lease[24];
        json_t *reply = sim_reply(clients[i]);
        snprintf(lease, sizeof lease, "l%zu", i + 1);
        assert_string_equal(text_of(answer(reply), "lease"), lease);
        assert_string_equal(text_of(answer(reply), "image"), images[i * 3 % 4]);
        json_decref(reply);
    }
    settled("base");
    assert_int_equal(sim_pool(&sim, "mail")->set.total, 0);
    for (int again = 0; again < 2; again++) {
        json_t *reply = sim_ask(root, "List", NULL, 10);
        json_t *leases = json_object_get(answer(reply), "leases"), *lease;
        size_t i;
        assert_int_equal(json_array_size(leases), ARRAY_SIZE(clients));
        json_array_foreach (leases, i, lease)
            assert_string_equal(text_of(lease, "image"), images[i * 3 % 4]);
        json_decref(reply);
        restart(NULL); /* leases of all images go on */
        settled("base");
    }
    release_all();
    settled("base");
}

static void test_quiet_waiting_ends(void **state)
{
    (void)state;
    sim.faults.fate = FATE_BUILD_FAILS;
    char lease[32];
    take("mail", lease);
    take("base", lease);
    /* Builds of the base fail: who waits for what is derived from it is told. */
    sim_expect(root, "Allocate", want("shop", 60000), 30000, "ImageBroken");
    sim_expect(root, "PoolWait", json_pack("{s:s}", "image", "wiki"), 10, "ImageBroken");
    sim.faults.fate = FATE_GOOD;
    sim_run(&sim, 300000);
    take("wiki", lease);
    release_all();
    settled("base");
}

/* A slot that failed is followed by another one of the same base. */
static void test_retries(void **state)
{
    char lease[32];
    (void)state;
    sim.faults.fate = FATE_COMPLETE_HANGS;
    sim_pool(&sim, "base")->shrink = true;
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "min", "0"), NULL);
    sim_run(&sim, 5000);
    sim_expect(root, "Allocate", want("shop", 600000), 600000, "AllocateFailed");
    sim.faults.fate_for = 2;
    take("shop", lease);
}

/* An image that its slots refuse costs none of them, nor another image's allocation. */
static void test_refused(void **state)
{
    struct sim_client *clients[3];
    char lease[32];
    (void)state;
    uint64_t slots = sim.core.next_slot;
    assert_int_equal(sim_pool(&sim, "base")->set.count[SLOT_WARM], 2);
    sim.faults.complete.fate = FATE_REFUSED;
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = sim_connect(&sim, 1000);
        sim_call(clients[i], "Allocate", want("shop", 60000));
    }
    sim_run(&sim, 100);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        json_t *reply = sim_reply(clients[i]);
        assert_string_equal(sim_error_name(reply), "ImageBroken");
        json_decref(reply);
    }
    sim.faults.complete.fate = FATE_GOOD;
    assert_int_equal(sim_pool(&sim, "base")->set.count[SLOT_WARM], 2);
    assert_int_equal(sim_pool(&sim, "base")->failures.n, 0);
    assert_int_equal(sim.core.next_slot, slots);
    sim_check_quiet(&sim);
    expect("Allocate", want("shop", 0), "ImageBroken");
    take("base", lease);
    take("wiki", lease);
    assert_int_equal(sim.allocated, 2);
}

/* What may pass is tried again, by slots that are as warm as before. */
static void test_unread(void **state)
{
    char lease[32];
    (void)state;
    uint64_t slots = sim.core.next_slot;
    sim.faults.complete = (struct sim_doom){FATE_UNREAD, 2};
    take("shop", lease);
    sim.faults.complete = (struct sim_doom){FATE_UNREAD, 0};
    expect("Allocate", want("shop", 4000), "AllocateFailed");
    sim.faults.complete.fate = FATE_GOOD;
    take("shop", lease);
    sim_run(&sim, 5000);
    assert_int_equal(sim.core.next_slot, slots + 2); /* what the two leases were refilled with */
    settled("base");
}

static void test_removal(void **state)
{
    char lease[32];
    (void)state;
    expect_text("ImageRemove", named("base"), "ImageInUse", "mail, shop, wiki");
    take("mail", lease);
    expect("ImageRemove", named("mail"), "ImageInUse");
    expect("ImageRemove", named("shop"), NULL);
    expect_text("ImageRemove", named("base"), "ImageInUse", "mail, wiki");
    sim_run(&sim, 3000);
    take("base", lease);
    take("base", lease);
    /* One who waits counts, too. */
    struct sim_client *c = sim_connect(&sim, 1000);
    sim_call(c, "Allocate", want("wiki", 60000));
    expect("ImageRemove", named("wiki"), "ImageInUse");
    release_all();
    sim_run(&sim, 5000);
    release_all();
    expect("ImageRemove", named("wiki"), NULL);
    expect("ImageRemove", named("mail"), NULL);
    expect("ImageRemove", named("base"), NULL);
    sim_run(&sim, 1000);
    sim_check_quiet(&sim);
    assert_int_equal(sim_image_files(&sim), 0);
}

/* What can be said of a derived image's pool is said of its base's. */
static void test_settings(void **state)
{
    (void)state;
    expect_text("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "mail", "settings", "min", "3"),
                "BadValue", "set it for base");
    expect("PoolSet",
           json_pack("{s:s, s:{s:s, s:s}}", "image", "mail", "settings", "ttl", "5s", "max", "1"),
           "BadValue");
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "mail", "settings", "ttl", "5s"), NULL);
    char lease[32];
    take("mail", lease);
    assert_int_equal(pool_leased(sim_pool(&sim, "base")), 1);
    expect("PoolWait", json_pack("{s:s}", "image", "mail"), NULL);
    json_t *reply = sim_ask(root, "PoolShow", json_pack("{s:s}", "image", "mail"), 10);
    json_t *pools = json_object_get(answer(reply), "pools");
    assert_int_equal(json_array_size(pools), 1);
    assert_string_equal(text_of(json_array_get(pools, 0), "image"), "base");
    json_decref(reply);
    reply = sim_ask(root, "Status", NULL, 10);
    assert_int_equal(json_array_size(json_object_get(answer(reply), "pools")), 1);
    json_decref(reply);
    sim_run(&sim, 6000); /* its own time to live */
    assert_int_equal(pool_leased(sim_pool(&sim, "base")), 0);
    reply = sim_ask(root, "ImageShow", named("mail"), 10);
    const json_t *image = json_object_get(answer(reply), "image");
    assert_string_equal(text_of(image, "base"), "base");
    assert_int_equal(json_integer_value(json_object_get(image, "delta_pages")), 7);
    json_decref(reply);
}

/* ---- import with a base ---- */

static void test_base_refused(void **state)
{
    (void)state;
    expect("ImageImport", import_of("x", "nobody", false), "NoSuchImage");
    expect_text("ImageImport", import_of("x", "mail", false), "BadValue", "from base");
    expect("ImageImport", import_of("mail", "mail", true), "BadValue");
    expect("ImageImport", import_of("base", "base", true), "ImageInUse");
    sim_image(&sim, "alone");
    expect_text("ImageImport", import_of("alone", "alone", true), "BadValue", "its own base");
    sim.faults.destroy_fails = 100;
    sim_run(&sim, 3000);
    sim_call(sim_connect(&sim, 0), "ImageRemove", named("alone"));
    sim_run(&sim, 100);
    expect("ImageImport", import_of("x", "alone", false), "NoSuchImage");
    sim.faults.destroy_fails = 0;
    settled("base");
}

/* In the middle of an import, at each of its steps: what was made from what is gone is refused. */
static void base_goes(const char *method, json_t *(*what)(void), uint64_t us)
{
    begin_with(BASE, NULL);
    sim_run(&sim, 5000);
    sim.build_ms = 2;
    struct sim_client *c = sim_connect(&sim, 0), *other = sim_connect(&sim, 0);
    sim_call(c, "ImageImport", import_of("x", "base", false));
    sim_run_us(&sim, us);
    sim_call(other, method, what());
    sim_run(&sim, 10000);
    assert_true(c->answered == 1 && other->answered == 1);
    json_t *made = sim_reply(c), *gone = sim_reply(other);
    bool refused = json_object_get(gone, "error");
    assert_string_equal(sim_error_name(gone), refused ? "ImageInUse" : "");
    assert_string_equal(sim_error_name(made), refused ? "" : "NoSuchImage");
    assert_int_equal(entry_find(&sim.core, "x") != NULL, refused);
    json_decref(made);
    json_decref(gone);
    sim_run(&sim, 1000);
    sim_check_quiet(&sim);
    sim_end(&sim);
}

static json_t *base_again(void)
{
    return import_of("base", NULL, true);
}

static json_t *base_name(void)
{
    return named("base");
}

static void test_base_goes(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 3600; us += 30) {
        base_goes("ImageRemove", base_name, us);
        base_goes("ImageImport", base_again, us);
    }
}

/* The base's new version is being recorded when the image that was made of the old one is there. */
static void test_base_is_being_replaced(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 200; us += 10) {
        begin_with(BASE, NULL);
        sim_run(&sim, 5000);
        struct sim_client *c = sim_connect(&sim, 0), *other = sim_connect(&sim, 0);
        sim_call(other, "ImageImport", base_again());
        sim_run_us(&sim, us);
        sim_call(c, "ImageImport", import_of("x", "base", false));
        sim_run(&sim, 10000);
        json_t *made = sim_reply(c), *again = sim_reply(other);
        assert_string_equal(sim_error_name(again), "");
        assert_string_equal(sim_error_name(made), "NoSuchImage");
        json_decref(made);
        json_decref(again);
        sim_check_quiet(&sim);
        sim_end(&sim);
    }
}

/* An image that is replaced while it is removed, and the other way round. */
static void test_removed_while_replaced(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 3600; us += 30) {
        begin_with(BASE, NULL);
        sim_run(&sim, 5000);
        sim.build_ms = 2;
        struct sim_client *c = sim_connect(&sim, 0), *other = sim_connect(&sim, 0);
        sim_call(c, "ImageImport", import_of("base", NULL, true));
        sim_run_us(&sim, us);
        sim_call(other, "ImageRemove", named("base"));
        sim_run(&sim, 20000);
        assert_true(c->answered == 1 && other->answered == 1);
        sim_check_quiet(&sim);
        json_t *made = sim_reply(c), *gone = sim_reply(other);
        bool there = entry_find(&sim.core, "base") != NULL;
        assert_true(!there == !json_object_get(gone, "error"));
        json_decref(made);
        json_decref(gone);
        sim_end(&sim);
    }
}

static void test_reports_are_checked(void **state)
{
    static const enum sim_fate fates[] = {FATE_WORK_FAILS,     FATE_WORK_DIES, FATE_WORK_DIES_LATE,
                                          FATE_WORK_NONSENSE,  FATE_GARBAGE,   FATE_NO_START,
                                          FATE_WORK_FAILS_DONE};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++) {
        sim.faults.work = (struct sim_doom){fates[i], 1};
        json_t *reply = sim_ask(root, "ImageImport", import_of("x", "base", false), 2000);
        bool done = fates[i] == FATE_WORK_FAILS_DONE; /* the first word counts */
        assert_string_equal(sim_error_name(reply), done                          ? ""
                                                   : fates[i] == FATE_WORK_FAILS ? "ImageRefused"
                                                                                 : "Internal");
        json_decref(reply);
        sim_run(&sim, 10000);
        sim_check_quiet(&sim);
        assert_int_equal(entry_find(&sim.core, "x") != NULL, done);
    }
}

/* A helper that does not exit when it has said everything is ended, and its image stays. */
static void test_done_hangs(void **state)
{
    (void)state;
    sim.faults.work = (struct sim_doom){FATE_WORK_DONE_HANGS, 1};
    expect("ImageImport", import_of("x", NULL, false), NULL);
    expect("ImageImport", import_of("x", NULL, true), NULL);
    expect("ImageImport", import_of("x", NULL, true), NULL);
    settled("x");
    assert_true(list_empty(&sim.core.jobs));
}

/* ---- the check at the start ---- */

static void test_damaged_base(void **state)
{
    (void)state;
    sim_image_rot(&sim, "base");
    restart(NULL);
    assert_int_equal(sim_entry(&sim, "base")->state, ENTRY_DAMAGED);
    assert_int_equal(sim_pool(&sim, "base")->set.total, 0);
    for (const char *const *name = family; *name; name++)
        expect("Allocate", want(*name, 1000), "ImageBroken");
    expect_text("Allocate", want("base", 1000), "ImageBroken", "digests");
    expect("ImageImport", import_of("x", "base", false), "ImageBroken");
    expect("PoolWait", json_pack("{s:s}", "image", "mail"), "ImageBroken");
}

/* Those who came before it was known, too. */
static void test_damaged_while_waited_for(void **state)
{
    static const char *const rotten[] = {"base", "mail"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rotten); i++) {
        begin_with(BASE, NULL);
        sim_derive(&sim, "mail", "base");
        sim_derive(&sim, "wiki", "base");
        sim_image_rot(&sim, rotten[i]);
        sim_crash(&sim);
        sim.faults.work = (struct sim_doom){FATE_NO_START, 1}; /* the first try: a second passes */
        sim.start_only = true;
        sim_restart(&sim, config, NULL);
        sim.start_only = false;
        struct sim_client *mail = sim_connect(&sim, 0), *wiki = sim_connect(&sim, 0);
        sim_call(mail, "Allocate", want("mail", 60000));
        sim_call(wiki, "Allocate", want("wiki", 60000));
        sim_run(&sim, 10000);
        json_t *reply = sim_reply(mail);
        assert_string_equal(sim_error_name(reply), "ImageBroken");
        json_decref(reply);
        reply = sim_reply(wiki);
        assert_string_equal(sim_error_name(reply), i ? "" : "ImageBroken");
        json_decref(reply);
        sim_end(&sim);
    }
}

static bool is_unchecked(const char *image)
{
    return entry_is_unchecked(sim_entry(&sim, image));
}

/* Derived ones first; no slot before its base and all that is derived from it are checked. */
static void test_check_order(void **state)
{
    (void)state;
    sim_crash(&sim);
    sim.build_ms = 1000;
    sim.start_only = true;
    sim_restart(&sim, config, NULL);
    sim.start_only = false;
    root = sim_connect(&sim, 0);
    for (unsigned i = 0; i < 400; i++) {
        bool derived_left = false;
        for (const char *const *name = family; *name; name++)
            derived_left |= is_unchecked(*name);
        assert_true(!derived_left || sim_entry(&sim, "base")->state != ENTRY_CHECKING);
        assert_true(!is_unchecked("base") || !sim_pool(&sim, "base")->set.total);
        assert_true(!derived_left || i < 310);
        sim_run(&sim, 10);
    }
    expect_text("Allocate", want("mail", 0), "PoolEmpty", "still being checked");
    sim_run(&sim, 1200);
    assert_false(is_unchecked("base"));
    sim.build_ms = 500;
    settled("base");
}

/* A helper that dies says nothing about the image. */
static void test_check_dies(void **state)
{
    static const enum sim_fate fates[] = {FATE_WORK_DIES, FATE_NO_START, FATE_GARBAGE};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++) {
        sim_crash(&sim);
        sim.faults.work = (struct sim_doom){fates[i], 0};
        sim_restart(&sim, config, NULL);
        root = sim_connect(&sim, 0);
        assert_int_equal(sim_pool(&sim, "base")->set.total, 0);
        expect_text("Allocate", want("mail", 1000), "ImageBroken", "could not be checked");
        expect_text("Allocate", want("base", 1000), "ImageBroken", "could not be checked");
        sim.faults.work = (struct sim_doom){0};
        sim_run(&sim, 300000);
        settled("base");
        char lease[32];
        take("mail", lease);
        release_all();
    }
}

/* One image that cannot be checked does not hold up the others. */
static void test_check_dies_alone(void **state)
{
    char lease[32];
    (void)state;
    sim_crash(&sim);
    sim.faults.work = (struct sim_doom){FATE_WORK_DIES, 1}; /* mail: the first by name */
    sim_restart(&sim, config, NULL);
    root = sim_connect(&sim, 0);
    settled("base");
    take("mail", lease);
}

/* What is said about a file that was replaced meanwhile is of no interest. */
static void test_replaced_while_checked(void **state)
{
    (void)state;
    for (unsigned ms = 0; ms < 30; ms += 2) {
        begin_with(BASE, NULL);
        sim_image_rot(&sim, "base");
        sim_crash(&sim);
        sim.build_ms = 25;
        sim.start_only = true;
        sim_restart(&sim, config, NULL);
        sim.start_only = false;
        root = sim_connect(&sim, 0);
        sim_run(&sim, ms);
        sim.build_ms = 10;
        replace("base", NULL);
        settled("base");
        sim_end(&sim);
    }
}

/* The daemon is stopped while it checks, or makes an image. */
static void test_stopped(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        sim_crash(&sim);
        sim.build_ms = 5000;
        sim.start_only = true;
        sim_restart(&sim, config, NULL);
        sim.start_only = false;
        struct sim_client *c = sim_connect(&sim, 0);
        if (what)
            sim_call(c, "ImageImport", import_of("x", "base", false));
        if (what == 2)
            sim.faults.work.fate = FATE_WORK_HANGS;
        sim_run(&sim, 100);
        uint64_t before = sim.now_us;
        core_stop(&sim.core);
        for (unsigned i = 0; i < 1000 && !sim.stopped; i++)
            sim_run(&sim, 10);
        assert_true(sim.now_us - before < (what == 2 ? 6000000 : 100000));
        if (what) {
            json_t *reply = sim_reply(c);
            assert_string_equal(sim_error_name(reply), "Stopping");
            json_decref(reply);
        }
        sim.build_ms = 500;
        sim.faults.work.fate = FATE_GOOD;
        restart(NULL);
        settled("base");
    }
}

/* ---- capture ---- */

static json_t *capture_of(const char *domain, bool stop)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "name", "x", "domain", domain, "base", "base", "stop",
                     (int)stop);
}

static void test_capture(void **state)
{
    char lease[32], text[16], uuid[UUID_TEXT_SIZE], path[400];
    (void)state;
    uint32_t domid = take("mail", lease);
    expect("ImageCapture", capture_of(lease, false), NULL);
    snprintf(text, sizeof text, "%u", domid);
    uuid_format(&sim_domain_find(&sim, domid)->d.uuid, uuid);
    entry_path(sim_entry(&sim, "base"), path);
    assert_string_equal(text_of(sim.asked, "op"), "capture");
    assert_string_equal(text_of(sim.asked, "domain"), text);
    assert_string_equal(text_of(sim.asked, "uuid"), uuid);
    assert_string_equal(text_of(sim.asked, "base"), path);
    assert_string_equal(text_of(json_object_get(sim.asked, "disks"), "xvda"), "cow:/dev/golden");
    assert_int_equal(json_array_size(json_object_get(sim.asked, "cow")), 1);
    assert_int_equal(json_integer_value(json_object_get(sim.asked, "timeout_ms")), 60000);
    assert_int_equal(sim_domain_find(&sim, domid)->d.state, HOST_DOMAIN_ALIVE);
    assert_true(sim_entry(&sim, "x")->pool == sim_pool(&sim, "base"));
    /* What the caller says of a disk goes before. */
    json_t *request = json_pack("{s:s, s:s, s:b, s:{s:s}, s:i}", "name", "x", "domain", lease,
                                "replace", 1, "disks", "xvda", "ro:/dev/other", "timeout_ms", 5);
    expect("ImageCapture", request, NULL);
    assert_string_equal(text_of(json_object_get(sim.asked, "disks"), "xvda"), "ro:/dev/other");
    assert_int_equal(json_array_size(json_object_get(sim.asked, "cow")), 0);
    assert_null(json_object_get(sim.asked, "base"));
    assert_non_null(lease_find(&sim.core, lease));
    expect("Release", json_pack("{s:[s]}", "leases", lease), NULL);
    expect("ImageCapture", capture_of("nobody", false), "ImageExists");
    expect("ImageRemove", named("x"), NULL);
    expect("ImageCapture", capture_of("nobody", false), "NoSuchDomain");
    settled("base");
}

static void test_capture_another(void **state)
{
    (void)state;
    uint32_t domid = sim_domain_add(&sim, "builder", "", NULL)->d.domid;
    expect("ImageCapture", capture_of("builder", false), NULL);
    assert_string_equal(text_of(sim.asked, "domain"), "builder");
    assert_null(json_object_get(sim.asked, "uuid"));
    assert_int_equal(json_object_size(json_object_get(sim.asked, "disks")), 0);
    expect("ImageRemove", named("x"), NULL);
    expect("ImageCapture", capture_of("builder", true), NULL);
    assert_null(sim_domain_find(&sim, domid));
    settled("base");
}

static void test_capture_stop(void **state)
{
    char lease[32];
    (void)state;
    uint32_t domid = take("mail", lease);
    expect("ImageCapture", capture_of(lease, true), NULL);
    assert_null(lease_find(&sim.core, lease));
    sim_run(&sim, 3000);
    assert_null(sim_domain_find(&sim, domid));
    take("x", lease);
    settled("base");
    /* What fails ends nothing. */
    expect("ImageRemove", named("mail"), NULL);
    sim.faults.work = (struct sim_doom){FATE_WORK_FAILS, 1};
    sim_expect(root, "ImageCapture",
               json_pack("{s:s, s:s, s:b}", "name", "y", "domain", lease, "stop", 1), 5000,
               "ImageRefused");
    assert_non_null(lease_find(&sim.core, lease));
}

/* The disks of a version that was replaced are on record no more: the caller has to name them. */
static void test_capture_older(void **state)
{
    char lease[32];
    (void)state;
    take("base", lease);
    sim_run(&sim, 3000);
    for (int again = 0; again < 2; again++) {
        if (!again)
            replace("base", NULL);
        expect_text("ImageCapture",
                    json_pack("{s:s, s:s, s:b}", "name", "x", "domain", lease, "replace", 1),
                    "BadValue", "older version");
        expect("ImageCapture",
               json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", "x", "domain", lease, "replace", 1,
                         "disks", "xvdb", "ro:/dev/b"),
               NULL);
        assert_int_equal(json_object_size(json_object_get(sim.asked, "disks")), 1);
        restart(NULL); /* which does not know what a slot holds */
    }
    sim_run(&sim, 3000);
    take("base", lease);
    expect("ImageCapture", json_pack("{s:s, s:s, s:b}", "name", "x", "domain", lease, "replace", 1),
           NULL);
    restart(NULL);
    expect("ImageCapture", json_pack("{s:s, s:s, s:b}", "name", "x", "domain", lease, "replace", 1),
           NULL);
}

static void test_capture_saved(void **state)
{
    char lease[32];
    (void)state;
    uint32_t domid = take("mail", lease);
    sim_domain_shutdown(&sim, domid, 2);
    sim_run(&sim, 3000);
    sim_domain_destroy(&sim, domid);
    sim_run(&sim, 3000);
    assert_int_equal(lease_find(&sim.core, lease)->slot->state, SLOT_SAVED);
    expect_text("ImageCapture", capture_of(lease, false), "DomainState", "saved in a file");
}

/* The domain goes on when its capture is given up: by the client, by the daemon's stop. */
static void test_capture_given_up(void **state)
{
    (void)state;
    for (unsigned ms = 0; ms < 600; ms += 20)
        for (int how = 0; how < 2; how++) {
            char lease[32];
            begin_with(BASE, NULL);
            uint32_t domid = take("base", lease);
            sim_run(&sim, 3000);
            struct sim_client *c = sim_connect(&sim, 0);
            sim_call(c, "ImageCapture", capture_of(lease, false));
            sim_run(&sim, ms);
            if (how)
                core_stop(&sim.core);
            else
                sim_disconnect(c);
            sim_run(&sim, 20000);
            assert_int_equal(sim_domain_find(&sim, domid)->d.state, HOST_DOMAIN_ALIVE);
            assert_int_equal(sim.stranded, 0);
            assert_true(list_empty(&sim.core.jobs));
            assert_non_null(lease_find(&sim.core, lease));
            assert_int_equal(sim_image_files(&sim), entry_find(&sim.core, "x") ? 2 : 1);
            sim_end(&sim);
        }
}

/* ---- warnings ---- */

static void expect_warnings(const char *method, json_t *parameters, const char *of_disk,
                            const char *of_delta)
{
    const char *const texts[] = {of_delta, of_disk};
    json_t *reply = sim_ask(root, method, parameters, 5000);
    const json_t *warnings = json_object_get(answer(reply), "warnings");
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i])
            assert_string_equal(json_string_value(json_array_get(warnings, n++)), texts[i]);
    assert_int_equal(json_array_size(warnings), n);
    json_decref(reply);
    expect("ImageRemove", named("x"), NULL);
}

/* A simulated delta is 7 of 100 pages. Whole images are never too large. */
static void test_large_delta(void **state)
{
    static const char *const limits[] = {"6", "7"};
    const char *disk = "disk xvda: /dev/golden could not be looked at: nobody will notice when it "
                       "changes";
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        const char *delta = i ? NULL
                              : "the delta is 7 pages, 7 % of the guest's memory: every allocate "
                                "copies 0 MiB; consider a base of its own";
        char conf[80], lease[32];
        snprintf(conf, sizeof conf, "delta_warn = %s\n%s", limits[i], fixtures[BASE].config);
        begin_with(BASE, conf);
        sim_run(&sim, 5000);
        expect_warnings("ImageImport", import_of("x", "base", false), disk, delta);
        expect_warnings("ImageImport", import_of("x", NULL, false), disk, NULL);
        take("base", lease);
        expect_warnings("ImageCapture", capture_of(lease, false), disk, delta);
        sim_end(&sim);
    }
}

/* What a fingerprint was taken of, and what belongs to the slot alone, needs no warning. */
static void test_disks_looked_at(void **state)
{
    (void)state;
    begin_with(BASE, NULL);
    sim.disks = json_pack("[{s:s, s:s, s:s, s:{s:i, s:i}}, {s:s, s:s, s:i}]", "vdev", "xvda",
                          "kind", "ro", "path", "/dev/a", "was", "bytes", 1, "mtime_ns", 0, "vdev",
                          "xvdb", "kind", "scratch", "size_bytes", 4096);
    expect_warnings("ImageImport", import_of("x", NULL, false), NULL, NULL);
    json_decref(sim.disks);
    sim.disks = NULL;
    sim_end(&sim);
}

#define TEST(name) TEST_OF(FAMILY, name)
#define ALONE(name) TEST_OF(BASE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_interleaved),
        TEST(test_quiet_waiting_ends),
        TEST(test_retries),
        TEST(test_refused),
        TEST(test_unread),
        TEST(test_removal),
        TEST(test_settings),
        TEST(test_base_refused),
        cmocka_unit_test(test_base_goes),
        cmocka_unit_test(test_base_is_being_replaced),
        cmocka_unit_test(test_removed_while_replaced),
        TEST(test_reports_are_checked),
        TEST(test_done_hangs),
        TEST(test_damaged_base),
        cmocka_unit_test(test_damaged_while_waited_for),
        TEST(test_check_order),
        TEST(test_check_dies),
        TEST(test_check_dies_alone),
        cmocka_unit_test(test_replaced_while_checked),
        TEST(test_stopped),
        TEST(test_capture),
        TEST(test_capture_another),
        TEST(test_capture_stop),
        ALONE(test_capture_older),
        TEST(test_capture_saved),
        cmocka_unit_test(test_capture_given_up),
        cmocka_unit_test(test_large_delta),
        cmocka_unit_test(test_disks_looked_at),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
