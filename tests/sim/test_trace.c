/* What an allocate did can be asked for afterwards: while the lease lives, when it has ended, after
 * restarts; and whatever stands in the row, the answer is a trace or a refusal. */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "pool/core/reconcile.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROOT 0
#define ALICE 1000

/* Of a lease by this name of its domain. Caller owns it. */
static json_t *allocate(const char *name)
{
    return answer_take(sim_ask(
        root, "Allocate",
        json_pack("{s:s, s:s, s:i}", "image", "fire", "name", name, "wait_ms", 60000), 60000));
}

static json_t *lease_of(const char *what)
{
    return json_pack("{s:s}", "lease", what);
}

static json_t *trace(const char *what)
{
    return answer_take(sim_ask(root, "Trace", lease_of(what), 100));
}

static void refused(const char *what, const char *name)
{
    sim_expect(root, "Trace", lease_of(what), 100, name);
}

static void release(const char *what)
{
    sim_expect(root, "Release", json_pack("{s:[s]}", "leases", what), 5000, NULL);
}

static sqlite3 *raw_open(void)
{
    char path[100];
    sqlite3 *raw;
    snprintf(path, sizeof path, "%s/db", sim.dir);
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    return raw;
}

/* Somebody writes into the database. */
static void exec(const char *sql)
{
    sqlite3 *raw = raw_open();
    char *why = NULL;
    if (sqlite3_exec(raw, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(raw);
}

static bool written(void)
{
    sqlite3 *raw = raw_open();
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_prepare_v2(raw, "SELECT max(trace) FROM lease", -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    bool there = sqlite3_column_type(s, 0) != SQLITE_NULL;
    sqlite3_finalize(s);
    sqlite3_close(raw);
    return there;
}

/* ---- in good weather ---- */

static void test_alive(void **state)
{
    char domid[16];
    (void)state;
    json_t *a = allocate("mine"), *t = trace(text_of(a, "lease"));
    assert_string_equal(text_of(t, "lease"), "l1");
    assert_string_equal(text_of(t, "image"), "fire");
    assert_string_equal(text_of(t, "name"), "mine");
    assert_string_equal(text_of(t, "slot"), "s1");
    assert_string_equal(text_of(t, "engine"), "guest");
    assert_string_equal(text_of(t, "from"), "warm");
    assert_int_equal(integer_of(t, "owner_uid"), 0);
    assert_int_equal(integer_of(t, "retries"), 0);
    assert_int_equal(integer_of(t, "delta_pages"), 7);
    assert_int_equal(integer_of(t, "domid"), integer_of(a, "domid"));
    assert_true(integer_of(t, "created_ms") > 0);
    assert_true(json_is_null(json_object_get(t, "ended_ms")));
    assert_true(json_is_null(json_object_get(t, "end_reason")));
    assert_int_equal(json_object_size(t), 15);
    /* What the reply said, to the microsecond. */
    assert_true(json_equal(json_object_get(a, "stages"), json_object_get(t, "stages")));
    assert_true(json_equal(json_object_get(a, "total_us"), json_object_get(t, "total_us")));
    json_t *helper = json_array_get(json_object_get(t, "stages"), 2);
    assert_string_equal(text_of(helper, "name"), "vcpus");
    assert_int_equal(integer_of(helper, "pages"), 7);
    snprintf(domid, sizeof domid, "%d", (int)integer_of(a, "domid"));
    json_t *by_name = trace("mine"), *by_domid = trace(domid);
    assert_true(json_equal(t, by_name) && json_equal(t, by_domid));
    json_decref(a);
    json_decref(t);
    json_decref(by_name);
    json_decref(by_domid);
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
}

/* Nobody waits for it: it is written when the reply has left. */
static void test_behind_the_reply(void **state)
{
    (void)state;
    sim_call(root, "Allocate", json_pack("{s:s}", "image", "fire"));
    while (!root->answered)
        sim_run_us(&sim, 10);
    assert_false(written());
    sim_run(&sim, 1);
    assert_true(written());
}

/* It is not written in front of what another one waits for. */
static void test_steps_aside(void **state)
{
    (void)state;
    struct sim_client *other = sim_connect(&sim, ALICE);
    sim_call(root, "Allocate", json_pack("{s:s}", "image", "fire"));
    sim_run_us(&sim, 400);
    sim_call(other, "Allocate", json_pack("{s:s}", "image", "fire"));
    while (!root->answered)
        sim_run_us(&sim, 10);
    while (!other->answered) {
        assert_false(written());
        sim_run_us(&sim, 10);
    }
    sim_run(&sim, 1);
    assert_true(written());
    json_t *t = trace("l1");
    json_decref(t);
    json_decref(trace("l2"));
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
}

/* Who asks before it is written waits for that. */
static void test_at_once(void **state)
{
    (void)state;
    sim_call(root, "Allocate", json_pack("{s:s}", "image", "fire"));
    sim_call(root, "Trace", lease_of("l1"));
    sim_run(&sim, 10);
    json_decref(sim_reply(root));
    json_t *t = answer_take(sim_reply(root));
    assert_string_equal(text_of(t, "lease"), "l1");
    json_decref(t);
}

static void test_ended(void **state)
{
    char domid[16];
    (void)state;
    json_t *a = allocate("mine"), *before = trace("l1");
    snprintf(domid, sizeof domid, "%d", (int)integer_of(a, "domid"));
    release("mine");
    json_t *t = trace("l1");
    assert_string_equal(text_of(t, "end_reason"), "released");
    assert_true(integer_of(t, "ended_ms") >= integer_of(t, "created_ms"));
    assert_true(json_equal(json_object_get(t, "stages"), json_object_get(before, "stages")));
    assert_int_equal(integer_of(t, "domid"), integer_of(a, "domid"));
    json_decref(t);
    refused(domid, "NoSuchLease"); /* Xen gives domids again */
    /* Of those that had the name, the living one goes before, then the newest. */
    sim_run(&sim, 1000);
    json_decref(allocate("mine"));
    t = trace("mine");
    assert_string_equal(text_of(t, "lease"), "l2");
    json_decref(t);
    release("mine");
    t = trace("mine");
    assert_string_equal(text_of(t, "lease"), "l2");
    assert_string_equal(text_of(t, "end_reason"), "released");
    json_decref(t);
    json_decref(a);
    json_decref(before);
}

/* A lease that ends before its trace could be written takes it along. */
static void test_brief(void **state)
{
    (void)state;
    struct sim_client *holder = sim_connect(&sim, ALICE);
    sim_call(holder, "Allocate", json_pack("{s:s, s:b}", "image", "fire", "hold", 1));
    while (!holder->answered)
        sim_run_us(&sim, 10);
    sim_disconnect(holder);
    sim_run(&sim, 2000);
    json_t *t = trace("l1");
    assert_string_equal(text_of(t, "end_reason"), "the client that held it is gone");
    json_decref(t);
}

static void test_unknown(void **state)
{
    static const char *const names[] = {
        "l1",    "l0",  "l",           "",    "nobody", "77",    "l99999999999999999999",
        "../db", "a b", "' OR 1=1 --", "l1;", "-1",     "\u00fc"};
    char endless[5000];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        refused(names[i], "NoSuchLease");
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    refused(endless, "NoSuchLease");
    endless[0] = 'l';
    memset(endless + 1, '0', sizeof endless - 3);
    endless[sizeof endless - 2] = '7';
    refused(endless, "NoSuchLease");
    json_t *reply = sim_ask(root, "Trace", json_object(), 100);
    assert_string_equal(text_of(reply, "error"), "org.varlink.service.InvalidParameter");
    json_decref(reply);
}

/* ---- what else becomes of a request ---- */

static const json_t *first_stage(const json_t *t)
{
    return json_array_get(json_object_get(t, "stages"), 0);
}

static void test_cold(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        sim_call(sim_connect(&sim, ROOT), "Allocate",
                 json_pack("{s:s, s:i}", "image", "fire", "wait_ms", 60000));
    sim_run(&sim, 20000);
    json_t *t = trace("l3");
    assert_string_equal(text_of(t, "from"), "cold");
    assert_string_equal(text_of(first_stage(t), "name"), "wait");
    assert_true(integer_of(first_stage(t), "us") > 100000);
    json_decref(t);
}

static void test_retried(void **state)
{
    (void)state;
    sim_expect(root, "PoolSet",
               json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "0"), 1000, NULL);
    sim_run(&sim, 5000);
    sim.faults.fate = FATE_COMPLETE_FAILS;
    sim.faults.fate_for = 1;
    json_decref(allocate("mine"));
    json_t *t = trace("mine");
    assert_int_equal(integer_of(t, "retries"), 1);
    json_int_t sum = 0;
    json_t *stage;
    size_t i;
    json_array_foreach (json_object_get(t, "stages"), i, stage)
        sum += integer_of(stage, "us");
    assert_int_equal(sum, integer_of(t, "total_us"));
    json_decref(t);
}

/* Stages that are none cost the trace, not the lease. */
static json_int_t us_of(const json_t *trace, const char *name)
{
    json_t *stage;
    size_t i;
    json_array_foreach (json_object_get(trace, "stages"), i, stage)
        if (!strcmp(text_of(stage, "name"), name))
            return integer_of(stage, "us");
    fail_msg("no stage %s", name);
    return 0;
}

/* Whatever a helper says of when it began, no stage is negative and none is missing in the sum. */
static void test_when_it_began(void **state)
{
    (void)state;
    static const int64_t lies[] = {-1, 1, INT64_MAX};
    json_decref(allocate("honest"));
    json_t *t = trace("honest");
    json_int_t between = us_of(t, "handover") + us_of(t, "return");
    assert_true(between > 0);
    assert_int_equal(us_of(t, "return"), 0);
    json_decref(t);
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        char name[16];
        snprintf(name, sizeof name, "liar-%u", (unsigned)i);
        sim.began_us = lies[i];
        json_decref(allocate(name));
        t = trace(name);
        assert_int_equal(us_of(t, lies[i] == 1 ? "return" : "handover"), between);
        assert_int_equal(us_of(t, "handover") + us_of(t, "return"), between);
        json_decref(t);
    }
}

static void test_helper_stages(void **state)
{
    static const char *const stages[] = {
        "[7]",
        "[{}]",
        "[{\"name\":\"x\",\"us\":1,\"hypercalls\":1}]",
        "[{\"name\":\"x\",\"us\":-1,\"hypercalls\":1,\"pages\":0}]",
        "[{\"name\":\"x\",\"us\":1,\"hypercalls\":1,\"pages\":0,\"more\":0}]",
        "[{\"name\":\"\\u001b[31m\",\"us\":1,\"hypercalls\":1,\"pages\":0}]",
    };
    char what[16];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
        json_decref(sim.stages);
        sim.stages = json_loads(stages[i], 0, NULL);
        assert_non_null(sim.stages);
        json_decref(allocate("mine"));
        sim_run(&sim, 10);
        assert_false(written());
        snprintf(what, sizeof what, "l%zu", i + 1);
        refused(what, "NoTrace");
        release(what);
        refused(what, "NoTrace");
        sim_run(&sim, 5000);
    }
    json_decref(sim.stages);
    sim.stages = json_array();
    json_t *stage =
        json_pack("{s:s, s:i, s:i, s:i}", "name", "x", "us", 1, "hypercalls", 1, "pages", 0);
    for (unsigned i = 0; i < 5000; i++) /* no row is to grow with what a helper says */
        json_array_append(sim.stages, stage);
    json_decref(stage);
    json_decref(allocate("mine"));
    refused("mine", "NoTrace");
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
}

/* ---- restarts ---- */

static void test_restart(void **state)
{
    (void)state;
    json_decref(allocate("stays"));
    json_decref(allocate("goes"));
    release("goes");
    json_t *stays = trace("stays"), *goes = trace("goes");
    restart(NULL);
    json_t *t = trace("stays");
    assert_true(json_equal(t, stays));
    json_decref(t);
    t = trace("goes");
    assert_true(json_equal(t, goes));
    json_decref(t);
    /* The end of an adopted lease leaves the trace as it was. */
    release("stays");
    t = trace("l1");
    assert_true(json_equal(json_object_get(t, "stages"), json_object_get(stays, "stages")));
    assert_string_equal(text_of(t, "end_reason"), "released");
    json_decref(t);
    restart("boot-two");
    t = trace("l1");
    assert_string_equal(text_of(t, "end_reason"), "released");
    json_decref(t);
    json_decref(stays);
    json_decref(goes);
}

/* Killed between the reply and the writing: the lease lives on, and says so. */
static void test_lost(void **state)
{
    (void)state;
    sim_call(root, "Allocate", json_pack("{s:s}", "image", "fire"));
    while (!root->answered)
        sim_run_us(&sim, 10);
    restart(NULL);
    refused("l1", "NoTrace");
    release("l1");
    refused("l1", "NoTrace");
}

/* An orderly stop writes what is due. */
static void test_stop(void **state)
{
    (void)state;
    sim_call(root, "Allocate", json_pack("{s:s}", "image", "fire"));
    while (!root->answered)
        sim_run_us(&sim, 10);
    json_decref(sim_reply(root));
    core_stop(&sim.core);
    refused("l1", "Stopping");
    sim_run(&sim, 20000);
    assert_true(sim.stopped);
    restart(NULL);
    json_decref(trace("l1"));
}

/* ---- the database ---- */

static void test_damaged(void **state)
{
#define TRACE(slot, domid, from, delta, stages)                                                    \
    "{\"slot\":" slot ",\"domid\":" domid ",\"engine\":\"guest\",\"from\":" from                   \
    ",\"retries\":0,\"delta_pages\":" delta ",\"total_us\":5,\"stages\":" stages "}"
#define STAGE(name, us) "[{\"name\":" name ",\"us\":" us ",\"hypercalls\":0,\"pages\":0}]"
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"stages\":[]}",
        TRACE("\"s1\"", "3", "\"warm\"", "7", "[]"),
        TRACE("\"s1\"", "3", "\"warm\"", "7", "{}"),
        TRACE("\"s1\"", "3", "\"warm\"", "7", "[null]"),
        TRACE("\"s1\"", "3", "\"warm\"", "7", STAGE("\"pick\"", "-5")),
        TRACE("\"s1\"", "3", "\"warm\"", "7", STAGE("\"pick\"", "9223372036854775807")),
        TRACE("\"s1\"", "3", "\"warm\"", "7", STAGE("\"pick\"", "1.5")),
        TRACE("\"s1\"", "3", "\"warm\"", "7", STAGE("\"\"", "5")),
        TRACE("\"s1\"", "3", "\"warm\"", "7", STAGE("\"Pick me\"", "5")),
        TRACE("\"s1\"", "3", "\"warm\"", "7", STAGE("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "5")),
        TRACE("\"l1\"", "3", "\"warm\"", "7", STAGE("\"pick\"", "5")),
        TRACE("1", "3", "\"warm\"", "7", STAGE("\"pick\"", "5")),
        TRACE("\"s1\"", "-1", "\"warm\"", "7", STAGE("\"pick\"", "5")),
        TRACE("\"s1\"", "3", "\"\\u0007\"", "7", STAGE("\"pick\"", "5")),
        TRACE("\"s1\"", "3", "\"warm\"", "-7", STAGE("\"pick\"", "5")),
        TRACE("\"s1\"", "3", "\"warm\"", "7,\"lease\":\"l9\"", STAGE("\"pick\"", "5")),
    };
    char sql[600];
    (void)state;
    json_decref(allocate("mine"));
    sim_run(&sim, 5000);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        snprintf(sql, sizeof sql, "UPDATE lease SET trace = '%s'", bad[i]);
        exec(sql);
        json_t *reply = sim_ask(root, "Trace", lease_of("l1"), 100);
        if (strcmp(sim_error_name(reply), "Internal") != 0)
            fail_msg("%s: %s", bad[i], json_dumps(reply, 0));
        assert_non_null(strstr(text_of(json_object_get(reply, "parameters"), "text"), "damaged"));
        json_decref(reply);
    }
    /* What is in order is shown, so the others were refused for what is wrong with them. */
    exec("UPDATE lease SET trace = '" TRACE("\"s1\"", "3", "\"warm\"", "7",
                                            STAGE("\"pick\"", "5")) "'");
    json_decref(trace("l1"));
    exec("UPDATE lease SET image = cast(x'ff' AS TEXT)");
    json_t *shown = trace("l1");
    assert_string_equal(text_of(shown, "image"), "?");
    json_decref(shown);
    exec("UPDATE lease SET image = printf('%0200d', 1)");
    refused("l1", "Internal");
    exec("UPDATE lease SET image = 'fire', trace = printf('%09000d', 1)");
    refused("l1", "Internal");
    assert_int_equal(sim.core.database.state, DATABASE_WORKS); /* leases are given all the same */
    json_decref(allocate("other"));
}

/* A write that fails is made good with the other rows. */
static void test_write_fails(void **state)
{
    (void)state;
    sim_call(root, "Allocate", json_pack("{s:s}", "image", "fire"));
    while (!root->answered)
        sim_run_us(&sim, 10);
    sim.faults.writes_fail = true;
    sim_run(&sim, 10);
    assert_int_not_equal(sim.core.database.state, DATABASE_WORKS);
    json_decref(sim_reply(root));
    refused("l1", "Internal");
    sim.faults.writes_fail = false;
    sim_run(&sim, 3000);
    json_decref(trace("l1"));
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
}

static void test_asker_gone(void **state)
{
    (void)state;
    json_decref(allocate("mine"));
    struct sim_client *c = sim_connect(&sim, ALICE);
    sim_call(c, "Trace", lease_of("mine"));
    sim_run_us(&sim, 20);
    assert_int_equal(c->answered, 0);
    sim_disconnect(c);
    sim_run(&sim, 5000);
    sim_check_quiet(&sim);
    /* Others may not look. */
    c = sim_connect(&sim, ALICE);
    sim_expect(c, "Trace", lease_of("mine"), 100, "NotPermitted");
}

#define TEST(name) TEST_OF(FIRE, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_alive),         TEST(test_behind_the_reply),
        TEST(test_steps_aside),   TEST(test_at_once),
        TEST(test_ended),         TEST(test_brief),
        TEST(test_unknown),       TEST(test_cold),
        TEST(test_retried),       TEST(test_when_it_began),
        TEST(test_helper_stages), TEST(test_restart),
        TEST(test_lost),          TEST(test_stop),
        TEST(test_damaged),       TEST(test_write_fails),
        TEST(test_asker_gone),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
