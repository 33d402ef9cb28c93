/*
 * Images that are derived, replaced, captured and checked, over a simulated world. A helper that is
 * given a file that is gone, or a slot that is no kin of it, is a violation (sim_helpers.c), and so
 * is a file too many when all is quiet (sim_check.c).
 */
#include "base/log.h"
#include "tests/sim/check.h"
#include "tests/sim/world_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sim sim;
static struct sim_client *root;
static const char config[] = "parallel = 2\n[pool]\nmin = 2\n";
static const char *const derived[] = {"mail", "shop", "wiki"};

static void begin_with(const char *text)
{
    sim_start(&sim, text);
    sim_image(&sim, "base");
    root = sim_connect(&sim, 0);
}

static int begin(void **state)
{
    (void)state;
    begin_with(config);
    for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
        sim_derive(&sim, derived[i], "base");
    sim_run(&sim, 5000);
    return 0;
}

/* One image, nothing derived from it. */
static int begin_alone(void **state)
{
    (void)state;
    begin_with(config);
    sim_run(&sim, 5000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sim_end(&sim);
    return 0;
}

static void restart(void)
{
    sim_crash(&sim);
    sim_restart(&sim, config, NULL);
    root = sim_connect(&sim, 0);
}

static json_t *named(const char *name)
{
    return json_pack("{s:s}", "name", name);
}

static json_t *import_of(const char *name, const char *base, bool replace)
{
    return json_pack("{s:s, s:s, s:s*, s:b}", "name", name, "path", "/save", "base", base,
                     "replace", (int)replace);
}

static json_t *want(const char *image, int wait_ms)
{
    return json_pack("{s:s, s:i}", "image", image, "wait_ms", wait_ms);
}

static void expect(const char *method, json_t *parameters, const char *name)
{
    sim_expect(root, method, parameters, 5000, name);
}

/* Asserts that it is refused, and that the text says so. */
static void expect_text(const char *method, json_t *parameters, const char *name, const char *text)
{
    json_t *reply = sim_ask(root, method, parameters, 5000);
    const char *message =
        json_string_value(json_object_get(json_object_get(reply, "parameters"), "text"));
    assert_string_equal(sim_error_name(reply), name);
    if (!message || !strstr(message, text))
        fail_msg("%s: \"%s\" lacks \"%s\"", method, message ? message : "", text);
    json_decref(reply);
}

static json_t *answer(json_t *reply)
{
    assert_non_null(reply);
    if (json_object_get(reply, "error"))
        fail_msg("%s", json_dumps(reply, 0));
    return json_object_get(reply, "parameters");
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    assert_non_null(text);
    return text;
}

/* Allocates; the lease's id into lease. */
static uint32_t take(const char *image, char lease[32])
{
    json_t *reply = sim_ask(root, "Allocate", want(image, 60000), 60000);
    json_t *p = answer(reply);
    assert_string_equal(text_of(p, "image"), image);
    snprintf(lease, 32, "%s", text_of(p, "lease"));
    uint32_t domid = (uint32_t)json_integer_value(json_object_get(p, "domid"));
    json_decref(reply);
    return domid;
}

static void release_all(void)
{
    expect("Release", json_pack("{s:b}", "all", 1), NULL);
}

/* Comes to rest, with the right number of slots, all of the present version. */
static void settled(const char *image)
{
    sim_run(&sim, 60000);
    const struct pool *p = sim_pool(&sim, image);
    assert_int_equal(pool_warm(p), p->settings.min);
    assert_int_equal(p->total - pool_leased(p), p->settings.min);
    sim_check_quiet(&sim);
}

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
    assert_int_equal(sim_pool(&sim, "mail")->total, 0);
    for (int again = 0; again < 2; again++) {
        json_t *reply = sim_ask(root, "List", NULL, 10);
        json_t *leases = json_object_get(answer(reply), "leases"), *lease;
        size_t i;
        assert_int_equal(json_array_size(leases), ARRAY_SIZE(clients));
        json_array_foreach (leases, i, lease)
            assert_string_equal(text_of(lease, "image"), images[i * 3 % 4]);
        json_decref(reply);
        restart(); /* leases of all images go on */
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
    sim.faults.fate = FATE_COMPLETE_FAILS;
    sim_pool(&sim, "base")->shrink = true;
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "min", "0"), NULL);
    sim_run(&sim, 5000);
    sim_expect(root, "Allocate", want("shop", 60000), 60000, "AllocateFailed");
    sim.faults.fate_for = 2;
    take("shop", lease);
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
    begin_with(config);
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
    assert_int_equal(pool_find(&sim.core, "x") != NULL, refused);
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

/* An image that is replaced while it is removed, and the other way round. */
static void test_removed_while_replaced(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 3600; us += 30) {
        begin_with(config);
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
        bool there = pool_find(&sim.core, "base") != NULL;
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
        assert_int_equal(pool_find(&sim.core, "x") != NULL, done);
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
    assert_true(list_empty(&sim.core.image_jobs));
}

/* ---- a new version ---- */

struct census {
    unsigned least_all, most_turning, least_current;
};

/* Runs step by step and keeps the extremes of the pool's slots. */
static void watch(const char *image, unsigned ms, struct census *c)
{
    *c = (struct census){UINT32_MAX, 0, UINT32_MAX};
    for (unsigned i = 0; i < ms * 2; i++) {
        sim_run_us(&sim, 500);
        const struct pool *p = sim_pool(&sim, image);
        unsigned turning = 0, all = p->count[SLOT_WARM] + p->count[SLOT_BUILDING];
        list_each (node, &p->slots) {
            const struct slot *s = container_of(node, struct slot, in_pool);
            turning += s->state == SLOT_BUILDING && s->turning;
        }
        c->least_all = all < c->least_all ? all : c->least_all;
        c->most_turning = turning > c->most_turning ? turning : c->most_turning;
        c->least_current = pool_warm(p) < c->least_current ? pool_warm(p) : c->least_current;
    }
}

static void replace(const char *name, const char *base)
{
    expect("ImageImport", import_of(name, base, true), NULL);
}

static void test_replace(void **state)
{
    char lease[32], before[70], path[400];
    struct census census;
    (void)state;
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "min", "5"), NULL);
    uint32_t domid = take("base", lease);
    settled("base");
    pool_path(sim_pool(&sim, "base"), path, sizeof path);
    snprintf(before, sizeof before, "%s", sim_pool(&sim, "base")->row.file);
    sim.turn_ms = 300;
    replace("base", NULL);
    assert_string_not_equal(before, sim_pool(&sim, "base")->row.file);
    assert_int_equal(pool_warm(sim_pool(&sim, "base")), 0);
    assert_int_equal(access(path, F_OK), 0); /* slots hold the old version yet */
    sim_expect(root, "PoolWait", json_pack("{s:s, s:i}", "image", "base", "timeout_ms", 10), 100,
               "TimedOut");
    watch("base", 3000, &census);
    assert_int_equal(census.least_all, 5); /* none is built anew */
    assert_int_equal(census.most_turning, 2);
    assert_int_equal(sim.turned, 5);
    assert_int_equal(access(path, F_OK), -1);
    assert_non_null(sim_domain_find(&sim, domid)); /* the lease goes on */
    settled("base");
    expect("Release", json_pack("{s:[s]}", "leases", lease), NULL);
}

/* Allocates at each moment of the turning get the new version (sim_helpers.c), in order. */
static void test_allocate_while_turning(void **state)
{
    (void)state;
    sim.turn_ms = 20;
    for (unsigned us = 0; us < 60000; us += 700) {
        struct sim_client *c[3];
        replace("base", NULL);
        sim_run_us(&sim, us);
        for (int i = 0; i < 3; i++) {
            c[i] = sim_connect(&sim, 0);
            sim_call(c[i], "Allocate", want("base", 60000));
        }
        sim_run(&sim, 5000);
        for (int i = 0; i < 3; i++) {
            json_t *reply = sim_reply(c[i]);
            answer(reply);
            json_decref(reply);
            sim_disconnect(c[i]);
        }
        release_all();
        sim_run(&sim, 5000);
        sim_check_quiet(&sim);
    }
}

/* Slots that are being built, at each step of that, become the new version. */
static void test_replace_while_building(void **state)
{
    (void)state;
    for (unsigned us = 0; us < 6000; us += 50) {
        begin_with(config);
        sim_run(&sim, 5000);
        sim.build_ms = 3;
        char lease[32];
        struct sim_client *c = sim_connect(&sim, 0), *importer = sim_connect(&sim, 0);
        sim_call(importer, "ImageImport", import_of("base", NULL, true));
        sim_run_us(&sim, us);
        sim_call(c, "Allocate", want("base", 1000));
        sim_run(&sim, 1000);
        assert_true(importer->answered == 1 && c->answered == 1);
        settled("base");
        take("base", lease);
        sim_end(&sim);
    }
}

/* What cannot be turned is replaced, one by one. */
static void test_turn_refused(void **state)
{
    struct census census;
    char path[400];
    (void)state;
    for (unsigned min = 2; min < 5; min++) {
        char text[8];
        snprintf(text, sizeof text, "%u", min);
        expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "min", text),
               NULL);
        settled("base");
        pool_path(sim_pool(&sim, "base"), path, sizeof path);
        sim.faults.turn = (struct sim_doom){FATE_TURN_REFUSED, 0};
        sim.turned = 0;
        replace("base", NULL);
        assert_int_equal(access(path, F_OK), 0);
        watch("base", 10000, &census);
        assert_int_equal(sim.turned, 0);
        /* The ones that are tried first go together, then one at a time. */
        assert_true(census.least_all >= min - 2 && census.least_all >= 1);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(sim_pool(&sim, "base")->failures, 0);
        settled("base");
    }
}

/* ... also when nothing more may be built beside them. */
static void test_turn_refused_at_max(void **state)
{
    struct census census;
    char lease[32];
    (void)state;
    expect("PoolSet",
           json_pack("{s:s, s:{s:s, s:s}}", "image", "base", "settings", "min", "3", "max", "4"),
           NULL);
    settled("base");
    take("base", lease);
    settled("base");
    sim.faults.turn = (struct sim_doom){FATE_TURN_REFUSED, 0};
    replace("base", NULL);
    watch("base", 10000, &census);
    assert_true(census.least_all >= 1);
    settled("base");
    release_all();
}

static void test_turn_fails(void **state)
{
    static const enum sim_fate fates[] = {FATE_TURN_FAILS, FATE_TURN_DIES, FATE_TURN_HANGS};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
        for (unsigned n = 0; n < 3; n++) { /* 0: all of them */
            sim.faults.turn = (struct sim_doom){fates[i], n};
            replace("base", NULL);
            sim_run(&sim, 600000);
            sim.faults.turn = (struct sim_doom){0};
            settled("base");
        }
}

/* Each old file goes when its last user has gone. */
static void test_replace_twice(void **state)
{
    (void)state;
    sim.turn_ms = 20;
    for (unsigned us = 0; us < 50000; us += 500) {
        replace("base", NULL);
        sim_run_us(&sim, us);
        replace("base", NULL);
        assert_true(sim_image_files(&sim) <= 3);
        sim_run(&sim, 3000);
        assert_int_equal(sim_image_files(&sim), 1);
        sim_check_quiet(&sim);
    }
}

/* The file of a derived image stays while a slot is being completed with it, and no longer. */
static void test_replace_derived(void **state)
{
    char lease[32], path[400];
    (void)state;
    take("mail", lease);
    sim_run(&sim, 3000);
    sim.complete_us = 1500000;
    pool_path(sim_pool(&sim, "mail"), path, sizeof path);
    struct sim_client *c = sim_connect(&sim, 0), *later = sim_connect(&sim, 0);
    sim_call(c, "Allocate", want("mail", 0));
    replace("mail", "base");
    sim_call(later, "Allocate", want("mail", 0));
    assert_int_equal(access(path, F_OK), 0);
    while (!c->answered)
        sim_run(&sim, 10);
    sim_run(&sim, 1);
    assert_int_equal(later->answered, 0);
    assert_int_equal(access(path, F_OK), -1);
    sim_run(&sim, 3000);
    assert_int_equal(later->answered, 1);
    json_t *reply = sim_reply(later);
    answer(reply);
    json_decref(reply);
    assert_int_equal(sim.turned, 0);
    expect_text("ImageImport", import_of("base", NULL, true), "ImageInUse", "mail, shop, wiki");
    settled("base");
    assert_int_equal(pool_leased(sim_pool(&sim, "base")), 3);
}

/* A derived image becomes whole, another is derived from it, and back: who waits follows it. */
static void test_lineage_changes(void **state)
{
    (void)state;
    sim_image(&sim, "alone");
    for (unsigned round = 0; round < 4; round++) {
        const char *base = round == 0 ? NULL : round == 1 ? "alone" : round == 2 ? NULL : "base";
        char lease[32];
        settled("base");
        take("shop", lease);
        take("shop", lease);
        take("base", lease);
        struct sim_client *c = sim_connect(&sim, 0);
        sim_call(c, "Allocate", want("shop", 60000));
        sim.build_ms = 5000;
        struct sim_client *importer = sim_connect(&sim, 0);
        sim_call(importer, "ImageImport", import_of("shop", base, true));
        sim.build_ms = 500;
        sim_run(&sim, 20000);
        assert_int_equal(importer->answered, 1);
        assert_int_equal(c->answered, 1);
        json_t *reply = sim_reply(c);
        answer(reply);
        json_decref(reply);
        sim_disconnect(c);
        sim_run(&sim, 60000);
        assert_int_equal(sim_pool(&sim, "shop")->base != NULL, base != NULL);
        restart();
        sim_run(&sim, 60000);
        sim_check_quiet(&sim);
        release_all();
        sim_run(&sim, 60000);
        assert_int_equal(sim_pool(&sim, "shop")->total, base ? 0 : 2);
        sim_check_quiet(&sim);
    }
}

/* A derived image that was made whole leaves leases on its old base's slots. */
static void test_base_keeps_leases(void **state)
{
    char lease[32];
    (void)state;
    take("mail", lease);
    for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
        replace(derived[i], NULL);
    expect("ImageRemove", named("base"), "ImageInUse");
    release_all();
    expect("ImageRemove", named("base"), NULL);
}

/* A reader of the old file comes late. */
static void test_readers(void **state)
{
    (void)state;
    static const char *const methods[] = {"ImageVerify", "ImageExport", "ImageDiff"};
    for (unsigned us = 0; us < 3000; us += 50)
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
            struct sim_client *c = sim_connect(&sim, 0), *other = sim_connect(&sim, 0);
            sim.build_ms = 2;
            sim_call(other, "ImageImport", import_of("mail", "base", true));
            sim_run_us(&sim, us);
            sim_call(c, methods[i],
                     i == 0   ? named("mail")
                     : i == 1 ? json_pack("{s:s, s:s}", "name", "mail", "path", "/save")
                              : json_pack("{s:s, s:s}", "a", "mail", "b", "wiki"));
            sim_run(&sim, 100);
            json_t *reply = sim_reply(c);
            answer(reply);
            json_decref(reply);
            sim_disconnect(c);
            sim_disconnect(other);
        }
    assert_int_equal(sim.missed, 0);
    expect("ImageVerify", named("nobody"), "NoSuchImage");
    expect("ImageExport", json_pack("{s:s, s:s}", "name", "mail", "path", "save"), "BadValue");
    expect("ImageDiff", json_pack("{s:s, s:s}", "a", "mail", "b", "nobody"), "NoSuchImage");
    sim_image_rot(&sim, "mail");
    expect("ImageVerify", named("mail"), "ImageRefused");
    settled("base");
}

/* kill -9 of the daemon at each step. Afterwards there is the one version or the other. */
static void kill_at(uint64_t us, const char *method, json_t *request, const char *name)
{
    struct sim_client *c = sim_connect(&sim, 0);
    uint8_t before[16] = {0};
    char lease[32];
    const struct pool *p = pool_find(&sim.core, name);
    if (p)
        memcpy(before, p->row.id, sizeof before);
    sim.build_ms = 2;
    sim.turn_ms = 2;
    sim_call(c, method, request);
    sim_run_us(&sim, us);
    bool answered = c->answered;
    restart();
    p = pool_find(&sim.core, name);
    if (answered)
        assert_true(p && memcmp(p->row.id, before, sizeof before) != 0);
    else
        assert_true(p || !memcmp(before, (uint8_t[16]){0}, sizeof before));
    assert_true(!p || !p->damage[0]);
    sim_run(&sim, 20000);
    sim_check_quiet(&sim);
    if (p)
        take(name, lease);
}

static void test_killed(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 8000; us += 90)
        for (int what = 0; what < 4; what++) {
            char lease[32];
            begin_with(config);
            sim_derive(&sim, "mail", "base");
            sim_image(&sim, "alone");
            sim_run(&sim, 5000);
            take("mail", lease);
            sim_run(&sim, 5000);
            if (what == 0)
                kill_at(us, "ImageImport", import_of("x", "base", false), "x");
            else if (what == 1)
                kill_at(us, "ImageImport", import_of("alone", NULL, true), "alone");
            else if (what == 2)
                kill_at(us, "ImageImport", import_of("mail", "base", true), "mail");
            else
                kill_at(us, "ImageCapture",
                        json_pack("{s:s, s:s, s:s}", "name", "x", "domain", lease, "base", "base"),
                        "x");
            assert_non_null(lease_find(&sim.core, lease));
            sim_end(&sim);
        }
}

/* ---- the check at the start ---- */

static void test_damaged_base(void **state)
{
    (void)state;
    sim_image_rot(&sim, "base");
    restart();
    assert_true(sim_pool(&sim, "base")->damage[0]);
    assert_int_equal(sim_pool(&sim, "base")->total, 0);
    for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
        expect("Allocate", want(derived[i], 1000), "ImageBroken");
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
        begin_with(config);
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
        for (size_t k = 0; k < ARRAY_SIZE(derived); k++)
            derived_left |= sim_pool(&sim, derived[k])->unverified;
        assert_true(!derived_left || !sim_pool(&sim, "base")->checking);
        assert_true(!sim_pool(&sim, "base")->unverified || !sim_pool(&sim, "base")->total);
        assert_true(!derived_left || i < 310);
        sim_run(&sim, 10);
    }
    expect_text("Allocate", want("mail", 0), "PoolEmpty", "still being checked");
    sim_run(&sim, 1200);
    assert_false(sim_pool(&sim, "base")->unverified);
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
        assert_int_equal(sim_pool(&sim, "base")->total, 0);
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
        begin_with(config);
        sim_image_rot(&sim, "base");
        sim_crash(&sim);
        sim.build_ms = 10;
        sim.start_only = true;
        sim_restart(&sim, config, NULL);
        sim.start_only = false;
        root = sim_connect(&sim, 0);
        sim_run(&sim, ms);
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
        restart();
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
    uuid_format(sim_domain_find(&sim, domid)->d.uuid, uuid);
    pool_path(sim_pool(&sim, "base"), path, sizeof path);
    assert_string_equal(text_of(sim.asked, "op"), "capture");
    assert_string_equal(text_of(sim.asked, "domain"), text);
    assert_string_equal(text_of(sim.asked, "uuid"), uuid);
    assert_string_equal(text_of(sim.asked, "base"), path);
    assert_string_equal(text_of(json_object_get(sim.asked, "disks"), "xvda"), "cow:/dev/golden");
    assert_int_equal(json_array_size(json_object_get(sim.asked, "cow")), 1);
    assert_int_equal(json_integer_value(json_object_get(sim.asked, "timeout_ms")), 60000);
    assert_int_equal(sim_domain_find(&sim, domid)->d.state, HOST_DOMAIN_ALIVE);
    assert_true(pool_of(sim_pool(&sim, "x")) == sim_pool(&sim, "base"));
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
    expect("ImageCapture", capture_of("nobody", false), "NoSuchLease");
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
        restart(); /* which does not know what a slot holds */
    }
    sim_run(&sim, 3000);
    take("base", lease);
    expect("ImageCapture", json_pack("{s:s, s:s, s:b}", "name", "x", "domain", lease, "replace", 1),
           NULL);
    restart();
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
    expect_text("ImageCapture", capture_of(lease, false), "BadValue", "saved in a file");
}

/* The domain goes on when its capture is given up: by the client, by the daemon's stop. */
static void test_capture_given_up(void **state)
{
    (void)state;
    for (unsigned ms = 0; ms < 600; ms += 20)
        for (int how = 0; how < 2; how++) {
            char lease[32];
            begin_with(config);
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
            assert_true(list_empty(&sim.core.image_jobs));
            assert_non_null(lease_find(&sim.core, lease));
            assert_int_equal(sim_image_files(&sim), pool_find(&sim.core, "x") ? 2 : 1);
            sim_end(&sim);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, begin_alone, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_interleaved),
        TEST(test_quiet_waiting_ends),
        TEST(test_retries),
        TEST(test_removal),
        TEST(test_settings),
        TEST(test_base_refused),
        cmocka_unit_test(test_base_goes),
        cmocka_unit_test(test_removed_while_replaced),
        TEST(test_reports_are_checked),
        TEST(test_done_hangs),
        ALONE(test_replace),
        ALONE(test_allocate_while_turning),
        cmocka_unit_test(test_replace_while_building),
        ALONE(test_turn_refused),
        ALONE(test_turn_refused_at_max),
        ALONE(test_turn_fails),
        ALONE(test_replace_twice),
        TEST(test_replace_derived),
        TEST(test_lineage_changes),
        TEST(test_base_keeps_leases),
        TEST(test_readers),
        cmocka_unit_test(test_killed),
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
    };
    log_init("test", getenv("V") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
