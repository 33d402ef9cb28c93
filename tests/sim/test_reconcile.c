/* What a restart finds: every state of a row with every fate of its domain, and kill -9 at each
 * moment of a lease's life. */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "base/uuid.h"
#include "pool/core/domains.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What has become of the domain while the daemon was down. */
enum fate { ALIVE, SAVING, POWEROFF, DYING, GONE, REUSED_DOMID, REUSED_UUID, FATES };

static const char *const states[] = {"building", "warm",   "completing", "settling",
                                     "ready",    "leased", "releasing",  "broken"};
enum lease_kind { LEASE_NONE, LEASE_PLAIN, LEASE_HOLD, LEASE_EXPIRED, LEASE_KINDS };

/* Writes a row as an earlier daemon would have, and makes its domain. */
static void plant(uint64_t id, const char *slot_state, enum lease_kind lease, enum fate fate,
                  bool domid_known, struct db_op ops[2])
{
    struct sim_domain *d = sim_domain_add(&sim, "planted", sim.core.tag, NULL);
    struct slot_row *row = &ops[0].slot;
    memset(ops, 0, 2 * sizeof ops[0]);
    ops[0].kind = DB_SLOT_PUT;
    row->id = id;
    row->uuid = d->d.uuid;
    strcpy(row->image, "fire");
    strcpy(row->state, slot_state);
    row->domid = domid_known ? (int64_t)d->d.domid : DB_NO_DOMID;
    strcpy(row->name, "planted");
    ops[1].kind = DB_LEASE_PUT;
    struct lease_row *l = &ops[1].lease;
    l->id = id;
    l->slot = id;
    strcpy(l->image, "fire");
    snprintf(l->name, sizeof l->name, "planted-%u", (unsigned)id);
    l->hold = lease == LEASE_HOLD;
    l->expires_ms = lease == LEASE_EXPIRED ? 1 : 0;
    l->created_ms = 1;
    if (fate == SAVING || fate == POWEROFF) {
        d->d.state = HOST_DOMAIN_SHUTDOWN;
        d->d.shutdown_reason = fate == SAVING ? 2 : 0;
    } else if (fate == DYING) {
        d->d.state = HOST_DOMAIN_DYING;
    } else if (fate == REUSED_UUID) { /* saved, and restored by xl */
        d->d.domid += 1000;
        d->d.tag[0] = '\0';
    } else if (fate == REUSED_DOMID) { /* a stranger has its number now */
        d->d.tag[0] = '\0';
        sim.world.ops->random(&sim.world, d->d.uuid.bytes, sizeof d->d.uuid.bytes);
    } else if (fate == GONE) {
        list_remove(&d->node);
        free(d);
    }
}

static bool lives_on(const char *slot_state, enum lease_kind lease, enum fate fate,
                     bool domid_known)
{
    (void)domid_known;
    /* The uuid says which domain it is: xl restore gives a new domid. */
    bool there = fate == ALIVE || fate == SAVING || fate == REUSED_UUID;
    return !strcmp(slot_state, "leased") && lease == LEASE_PLAIN && there;
}

static void check_one(const char *slot_state, enum lease_kind lease, enum fate fate,
                      bool domid_known)
{
    struct db_op ops[2];
    struct error e;
    uint64_t id = 100;
    begin_with(FIRE_ONE, NULL);
    sim_run(&sim, 3000);
    sim.orphans = true;
    sim.restored = fate == REUSED_UUID;
    plant(id, slot_state, lease, fate, domid_known, ops);
    assert_int_equal(db_apply(sim.db, ops, lease == LEASE_NONE ? 1 : 2, &e), 0);
    sim_crash(&sim);
    sim.orphans = false;
    sim_restart(&sim, config, NULL);
    bool expected = lives_on(slot_state, lease, fate, domid_known);
    unsigned leased = sim_pool(&sim, "fire")->set.count[SLOT_LEASED];
    if (leased != (expected ? 1 : 0))
        fail_msg("%s lease %d fate %d domid known %d: %u leased", slot_state, lease, fate,
                 domid_known, leased);
    sim_run(&sim, 10000);
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_WARM], 1);
    assert_int_equal(sim_pool(&sim, "fire")->set.total, expected ? 2 : 1);
    bool stranger = fate == REUSED_DOMID;
    unsigned n = 0;
    list_each (node, &sim.domains)
        n++;
    /* Strangers are never touched. */
    assert_int_equal(n, 1 + (expected ? 1 : 0) + (stranger ? 1 : 0));
    if (expected) {
        struct sim_client *c = sim_connect(&sim, 0); /* all features again */
        sim_expect(c, "Release", json_pack("{s:[s]}", "leases", "l100"), 5000, NULL);
        sim_run(&sim, 2000);
    }
    /* Ids are never used again. */
    assert_true(sim.core.next_slot > id);
    assert_true(lease == LEASE_NONE || sim.core.next_lease > id);
    sim_end(&sim);
}

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        for (int lease = LEASE_NONE; lease < LEASE_KINDS; lease++)
            for (int fate = ALIVE; fate < FATES; fate++)
                for (int known = 0; known < 2; known++)
                    check_one(states[i], (enum lease_kind)lease, (enum fate)fate, known);
}

/* kill -9 at every moment of building, allocating, living and releasing. */
static void test_kill_at_each_moment(void **state)
{
    (void)state;
    for (unsigned us = 0; us < 8000; us += 40) {
        struct sim_client *c = sim_connect(&sim, 0);
        unsigned before = sim_pool(&sim, "fire")->set.count[SLOT_LEASED];
        sim_call(c, "Allocate", json_pack("{s:s}", "image", "fire"));
        sim_run_us(&sim, us);
        bool answered = c->answered != 0;
        sim_crash(&sim);
        sim_restart(&sim, config, NULL);
        sim_run(&sim, 3000);
        unsigned after = sim_pool(&sim, "fire")->set.count[SLOT_LEASED];
        /* Whoever was told of a lease has it; a lease that was not told may exist or not. */
        assert_true(after == before + 1 || (after == before && !answered));
        sim_check_quiet(&sim);
        c = sim_connect(&sim, 0);
        if (after > 3) {
            sim_call(c, "Release", json_pack("{s:b}", "all", 1));
            sim_run_us(&sim, us * 30);
            sim_crash(&sim);
            sim_restart(&sim, config, NULL);
            sim_run(&sim, 3000);
            sim_check_quiet(&sim);
        }
    }
}

static void test_orphans(void **state)
{
    (void)state;
    sim.orphans = true;
    sim_domain_add(&sim, "lost", sim.core.tag, NULL);
    sim_domain_add(&sim, "theirs", "dp-another1", NULL);
    sim_domain_add(&sim, "plain", "", NULL);
    sim_crash(&sim);
    sim.orphans = false;
    sim_restart(&sim, config, NULL);
    sim_run(&sim, 5000);
    assert_int_equal(sim_domains(&sim), 1); /* the warm one */
    unsigned n = 0;
    list_each (node, &sim.domains)
        n++;
    assert_int_equal(n, 3);
    sim_check_quiet(&sim);
}

/* A helper that did not notice its daemon's end makes its domain when the next daemon runs. */
static void test_late_orphan(void **state)
{
    (void)state;
    sim.orphans = true;
    sim_domain_add(&sim, "late", sim.core.tag, NULL);
    domains_list(&sim.core);
    sim_run(&sim, 5000);
    sim.orphans = false;
    assert_int_equal(sim_domains(&sim), 1);
    sim_check_quiet(&sim);
}

/* A leftover that will not die does not keep the daemon from starting. */
static void test_stubborn_leftover(void **state)
{
    (void)state;
    sim_crash(&sim);
    sim.faults.destroy_fails = 3;
    sim_restart(&sim, config, NULL);
    sim_run(&sim, 60000);
    assert_int_equal(sim_domains(&sim), 1);
    sim_check_quiet(&sim);
}

static void test_host_rebooted(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, 0);
    sim_expect(c, "Allocate", json_pack("{s:s}", "image", "fire"), 1000, NULL);
    sim_run(&sim, 3000);
    sim_crash(&sim);
    while (!list_empty(&sim.domains)) {
        struct sim_domain *d = container_of(sim.domains.next, struct sim_domain, node);
        list_remove(&d->node);
        free(d);
    }
    sim.next_domid = 1;
    sim_domain_add(&sim, "other", "", NULL); /* numbers start over */
    sim_restart(&sim, config, "boot-two");
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 0);
    sim_run(&sim, 5000);
    assert_int_equal(sim_domains(&sim), 1);
    assert_true(sim.core.next_lease == 2);
    sim_check_quiet(&sim);
}

/* Clean stop and start: leases live on, with their deadlines. */
static void test_stop_and_start(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, 1000);
    sim_expect(
        c, "Allocate",
        json_pack("{s:s, s:i, s:s}", "image", "fire", "ttl_ms", 600000, "name", "u1000-mine"), 1000,
        NULL);
    sim_stop(&sim);
    assert_int_equal(sim_domains(&sim), 1);
    sim_restart(&sim, config, NULL);
    c = sim_connect(&sim, 1000);
    json_t *reply = sim_ask(c, "List", NULL, 10);
    json_t *lease =
        json_array_get(json_object_get(json_object_get(reply, "parameters"), "leases"), 0);
    assert_string_equal(json_string_value(json_object_get(lease, "name")), "u1000-mine");
    assert_int_equal(json_integer_value(json_object_get(lease, "owner_uid")), 1000);
    json_decref(reply);
    sim_run(&sim, 600000); /* its time is over */
    assert_int_equal(sim_pool(&sim, "fire")->set.count[SLOT_LEASED], 0);
    sim_check_quiet(&sim);
}

static void file_path(char out[300], const char *name)
{
    snprintf(out, 300, "%s/images/%s", sim.dir, name);
}

static void file_make(const char *name)
{
    char path[300];
    file_path(path, name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
}

static bool file_is(const char *name)
{
    char path[300];
    file_path(path, name);
    return !access(path, F_OK);
}

/* What goes at a start is the temporary file of an import. Whole ones stay, and so does what is not
 * the daemon's. */
static void test_files(void **state)
{
    static const char *const stay[] = {
        "0b7e1c1a-0000-4000-8000-000000000000.img",
        "0B7E1C1A-0000-4000-8000-000000000001.img.tmp-abc123",
        "0b7e1c1a-0000-4000-8000-000000000002.img.tmp-abc12",
        "0b7e1c1a-0000-4000-8000-000000000003.img.tmp-abc123.old",
        "0b7e1c1a-0000-4000-8000-000000000004.img.bak",
        "mine.img",
        ".img.tmp-abc123",
    };
    static const char go[] = "0b7e1c1a-0000-4000-8000-000000000005.img.tmp-a0ZXyz";
    (void)state;
    sim_crash(&sim);
    for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
        file_make(stay[i]);
    file_make(go);
    sim_restart(&sim, config, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
        assert_true(file_is(stay[i]));
    assert_false(file_is(go));
    json_t *reply = sim_ask(sim_connect(&sim, 0), "Status", NULL, 10);
    json_t *lost = json_object_get(json_object_get(reply, "parameters"), "lost_images");
    assert_int_equal(json_array_size(lost), 1);
    assert_string_equal(json_string_value(json_array_get(lost, 0)), stay[0]);
    json_decref(reply);
    for (size_t i = 0; i < ARRAY_SIZE(stay); i++) { /* sim_check counts them */
        char path[300];
        file_path(path, stay[i]);
        unlink(path);
    }
}

static json_t *adopt(const char *file, const char *name)
{
    return json_pack("{s:s, s:s}", "file", file, "name", name);
}

/* The database is gone: no image is lost with it. */
static void test_adopt(void **state)
{
    char fire[64], ice[64], path[300];
    (void)state;
    sim_derive(&sim, "ice", "fire");
    strcpy(fire, sim_entry(&sim, "fire")->row.file);
    strcpy(ice, sim_entry(&sim, "ice")->row.file);
    sim_crash(&sim);
    snprintf(path, sizeof path, "%s/db", sim.dir);
    assert_int_equal(unlink(path), 0);
    sim_restart(&sim, config, NULL);
    assert_null(entry_find(&sim.core, "fire"));
    struct sim_client *c = sim_connect(&sim, 0);
    sim_expect(c, "ImageAdopt", adopt(ice, "ice"), 5000, "NoSuchImage"); /* its base first */
    sim_expect(c, "ImageAdopt", adopt("x.img", "ice"), 10, "NoSuchImage");
    sim_expect(c, "ImageAdopt", adopt(fire, "no/name"), 10, "BadValue");
    sim_expect(c, "ImageAdopt", adopt(fire, "fire"), 5000, NULL);
    sim_expect(c, "ImageAdopt", adopt(fire, "again"), 10, "NoSuchImage");
    sim_expect(c, "ImageAdopt", adopt(ice, "fire"), 10, "ImageExists");
    sim_expect(c, "ImageAdopt", adopt(ice, "ice"), 5000, NULL);
    sim_crash(&sim);
    sim_restart(&sim, config, NULL);
    sim_run(&sim, 60000);
    c = sim_connect(&sim, 0);
    sim_expect(c, "Allocate", json_pack("{s:s, s:i}", "image", "ice", "wait_ms", 9000), 9000, NULL);
    sim_expect(c, "Release", json_pack("{s:b}", "all", 1), 9000, NULL);
    sim_run(&sim, 60000);
    sim_check_quiet(&sim);
}

/* One damaged file does not stop the others. */
static void test_images(void **state)
{
    char path[300];
    (void)state;
    sim_image(&sim, "ice");
    file_path(path, sim_entry(&sim, "ice")->row.file);
    sim_crash(&sim);
    assert_int_equal(truncate(path, 3), 0);
    sim_restart(&sim, config, NULL);
    assert_int_equal(sim_entry(&sim, "ice")->state, ENTRY_DAMAGED);
    struct sim_client *c = sim_connect(&sim, 0);
    sim_expect(c, "Allocate", json_pack("{s:s, s:i}", "image", "ice", "wait_ms", 9000), 10,
               "ImageBroken");
    sim_expect(c, "PoolWait", json_pack("{s:s}", "image", "ice"), 10, "ImageBroken");
    sim_run(&sim, 3000);
    sim_expect(c, "Allocate", json_pack("{s:s}", "image", "fire"), 1000, NULL);
    sim_expect(c, "ImageRemove", json_pack("{s:s}", "name", "ice"), 1000, NULL);
}

/* A disk that gives nothing of a file when the daemon starts costs that image alone, and only until
 * it does: the check of the file brings what is known of it. */
static void test_unreadable(void **state)
{
    (void)state;
    sim_image(&sim, "ice");
    sim_crash(&sim);
    sim.faults.reads_fail = 2; /* both images' */
    sim_restart(&sim, config, NULL);
    struct sim_client *c = sim_connect(&sim, 0);
    assert_int_equal(sim.faults.reads_fail, 0);
    sim_run(&sim, 10000);
    for (int i = 0; i < 2; i++) {
        const char *const name = i ? "ice" : "fire";
        const struct entry *im = sim_entry(&sim, name);
        assert_int_equal(im->state, ENTRY_SOUND);
        assert_non_null(im->facts.config);
        assert_int_equal(im->facts.info.populated, 100);
        sim_expect(c, "Allocate", json_pack("{s:s, s:i}", "image", name, "wait_ms", 9000), 9000,
                   NULL);
    }
    sim_expect(c, "Release", json_pack("{s:b}", "all", 1), 9000, NULL);
}

/* While it stays so, the others serve, and whoever asks is told. */
static void test_stays_unreadable(void **state)
{
    (void)state;
    sim_image(&sim, "ice");
    sim_image_rot(&sim, "fire");
    sim_crash(&sim);
    sim.faults.reads_fail = 1; /* fire's: by name */
    sim_restart(&sim, config, NULL);
    struct sim_client *c = sim_connect(&sim, 0);
    sim_run(&sim, 10000);
    assert_int_equal(sim_entry(&sim, "fire")->state, ENTRY_DAMAGED);
    assert_null(sim_entry(&sim, "fire")->facts.config);
    sim_expect(c, "Allocate", json_pack("{s:s}", "image", "fire"), 1000, "ImageBroken");
    sim_expect(c, "Allocate", json_pack("{s:s}", "image", "ice"), 1000, NULL);
    for (int i = 0; i < 3; i++) { /* what is not known is no reason to fall over */
        static const char *const methods[] = {"ImageList", "ImageShow", "Status"};
        sim_expect(c, methods[i], i == 1 ? json_pack("{s:s}", "name", "fire") : NULL, 1000, NULL);
    }
    sim_expect(c, "Release", json_pack("{s:b}", "all", 1), 9000, NULL);
}

/* The file that the check finds must be the one of the row. */
static void test_other_file_found(void **state)
{
    char path[300], other[300];
    (void)state;
    sim_image(&sim, "ice");
    file_path(path, sim_entry(&sim, "fire")->row.file);
    file_path(other, sim_entry(&sim, "ice")->row.file);
    sim_crash(&sim);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(link(other, path), 0);
    sim.faults.reads_fail = 1;
    sim_restart(&sim, config, NULL);
    sim_run(&sim, 10000);
    assert_int_equal(sim_entry(&sim, "fire")->state, ENTRY_DAMAGED);
    assert_int_equal(sim_entry(&sim, "ice")->state, ENTRY_SOUND);
}

/* A removal that was cut short goes on. */
static void test_removal_goes_on(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, 0);
    sim.faults.destroy_fails = 1;
    sim_call(c, "ImageRemove", json_pack("{s:s}", "name", "fire"));
    sim_run(&sim, 200);
    sim_expect(sim_connect(&sim, 0), "Allocate", json_pack("{s:s}", "image", "fire"), 10,
               "NoSuchImage");
    sim_crash(&sim);
    sim_restart(&sim, config, NULL);
    sim_run(&sim, 10000);
    assert_null(entry_find(&sim.core, "fire"));
    assert_int_equal(sim_domains(&sim), 0);
    sim_check_quiet(&sim);
}

/* Settings that contradict the file one by one, and not together, are there after a restart. */
static void test_settings_together(void **state)
{
    (void)state;
    expect("PoolSet",
           json_pack("{s:s, s:{s:s, s:s}}", "image", "fire", "settings", "backoff", "10m",
                     "backoff_max", "20m"),
           NULL);
    restart(NULL);
    assert_int_equal(sim_pool(&sim, "fire")->settings.backoff_ms, 600000);
    assert_int_equal(sim_pool(&sim, "fire")->settings.backoff_max_ms, 1200000);
}

#define TEST(name) TEST_OF(FIRE_ONE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        TEST(test_kill_at_each_moment),
        TEST(test_orphans),
        TEST(test_late_orphan),
        TEST(test_stubborn_leftover),
        TEST(test_host_rebooted),
        TEST(test_stop_and_start),
        TEST(test_images),
        TEST(test_unreadable),
        TEST(test_stays_unreadable),
        TEST(test_other_file_found),
        TEST(test_files),
        TEST(test_adopt),
        TEST(test_removal_goes_on),
        TEST(test_settings_together),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
