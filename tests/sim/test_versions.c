/*
 * New versions of images under their old names: slots that are turned, or replaced when they cannot
 * be, leases that go on, old files that stay as long as somebody needs them. Who is given an older
 * version, or a file that is gone, is caught in sim_helpers.c.
 */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "pool/core/lease_find.h"

#include <unistd.h>

/* ---- a new version ---- */

struct census {
    unsigned least_warm, most_turning; /* warm: of whatever version */
};

/* Runs step by step and keeps the extremes of the pool's slots. */
static void watch(const char *image, unsigned ms, struct census *c)
{
    *c = (struct census){UINT32_MAX, 0};
    for (unsigned i = 0; i < ms * 2; i++) {
        sim_run_us(&sim, 500);
        const struct pool *p = sim_pool(&sim, image);
        unsigned turning = 0, warm = p->set.count[SLOT_WARM];
        list_each (node, &p->set.slots) {
            const struct slot *s = container_of(node, struct slot, in_set);
            turning += s->state == SLOT_TURNING;
        }
        c->least_warm = warm < c->least_warm ? warm : c->least_warm;
        c->most_turning = turning > c->most_turning ? turning : c->most_turning;
    }
}

static void test_replace(void **state)
{
    char lease[32], before[70], path[400];
    struct census census;
    (void)state;
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "min", "5"), NULL);
    uint32_t domid = take("base", lease);
    settled("base");
    entry_path(sim_entry(&sim, "base"), path);
    snprintf(before, sizeof before, "%s", sim_entry(&sim, "base")->row.file);
    sim.turn_ms = 300;
    replace("base", NULL);
    assert_string_not_equal(before, sim_entry(&sim, "base")->row.file);
    assert_int_equal(pool_warm(sim_pool(&sim, "base")), 0);
    assert_int_equal(access(path, F_OK), 0); /* slots hold the old version yet */
    sim_expect(root, "PoolWait", json_pack("{s:s, s:i}", "image", "base", "timeout_ms", 10), 100,
               "TimedOut");
    watch("base", 3000, &census);
    assert_int_equal(census.least_warm, 4); /* none is built anew */
    assert_int_equal(census.most_turning, 1);
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
        begin_with(BASE, NULL);
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
        entry_path(sim_entry(&sim, "base"), path);
        sim.faults.turn = (struct sim_doom){FATE_TURN_REFUSED, 0};
        sim.turned = 0;
        replace("base", NULL);
        assert_int_equal(access(path, F_OK), 0);
        watch("base", 10000, &census);
        assert_int_equal(sim.turned, 0);
        assert_int_equal(census.least_warm, min - 1);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(sim_pool(&sim, "base")->failures.n, 0);
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
    assert_int_equal(census.least_warm, 2);
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

/* The helper that made a version exits late, when there is a newer one: the file is no longer its.
 */
static void test_maker_exits_late(void **state)
{
    (void)state;
    begin_with(BASE, "complete_timeout = 20s\n[pool]\nmin = 2\n");
    sim.faults.work = (struct sim_doom){FATE_WORK_DONE_HANGS, 1};
    sim_image(&sim, "x");
    sim_run(&sim, 2000);
    assert_int_equal(pool_warm(sim_pool(&sim, "x")), 2);
    sim.complete_us = 6000000;
    struct sim_client *c = sim_connect(&sim, 0);
    sim_call(c, "Allocate", want("x", 0));
    replace("x", NULL);
    assert_false(list_empty(&sim.core.jobs));
    sim_run(&sim, 10000); /* the file is opened at the end of the completion */
    assert_true(list_empty(&sim.core.jobs));
    json_t *reply = sim_reply(c);
    answer(reply);
    json_decref(reply);
    sim.complete_us = 800;
    settled("x");
    sim_end(&sim);
}

/* The file of a derived image stays while a slot is being completed with it, and no longer. */
static void test_replace_derived(void **state)
{
    char lease[32], path[400];
    (void)state;
    take("mail", lease);
    sim_run(&sim, 3000);
    sim.complete_us = 1500000;
    entry_path(sim_entry(&sim, "mail"), path);
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
        assert_int_equal(sim_entry(&sim, "shop")->base != NULL, base != NULL);
        restart(NULL);
        sim_run(&sim, 60000);
        sim_check_quiet(&sim);
        release_all();
        sim_run(&sim, 60000);
        assert_int_equal(sim_pool(&sim, "shop")->set.total, base ? 0 : 2);
        sim_check_quiet(&sim);
    }
}

/* A derived image that was made whole leaves leases on its old base's slots. */
static void test_base_keeps_leases(void **state)
{
    char lease[32];
    (void)state;
    take("mail", lease);
    for (const char *const *name = family; *name; name++)
        replace(*name, NULL);
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
    struct uuid before = {0};
    char lease[32];
    const struct entry *p = entry_find(&sim.core, name);
    if (p)
        before = p->row.id;
    sim.build_ms = 2;
    sim.turn_ms = 2;
    sim_call(c, method, request);
    sim_run_us(&sim, us);
    bool answered = c->answered;
    restart(NULL);
    p = entry_find(&sim.core, name);
    if (answered)
        assert_true(p && !uuid_equal(&p->row.id, &before));
    else
        assert_true(p || uuid_is_none(&before));
    assert_true(!p || p->state != ENTRY_DAMAGED);
    sim_run(&sim, 20000);
    sim_check_quiet(&sim);
    if (p)
        take(name, lease);
}

static void test_killed(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 8000; us += 170)
        for (int what = 0; what < 4; what++) {
            char lease[32];
            begin_with(BASE, NULL);
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

#define TEST(name) TEST_OF(FAMILY, name)
#define ALONE(name) TEST_OF(BASE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(test_replace),
        ALONE(test_allocate_while_turning),
        cmocka_unit_test(test_replace_while_building),
        ALONE(test_turn_refused),
        ALONE(test_turn_refused_at_max),
        ALONE(test_turn_fails),
        ALONE(test_replace_twice),
        cmocka_unit_test(test_maker_exits_late),
        TEST(test_replace_derived),
        TEST(test_lineage_changes),
        TEST(test_base_keeps_leases),
        TEST(test_readers),
        cmocka_unit_test(test_killed),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
