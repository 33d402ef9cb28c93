/* Users who share a daemon: what one sees of another, whose names are whose, and what each may
 * take. */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "pool/core/domains.h"
#include "pool/core/lease_find.h"

#include <stdio.h>
#include <string.h>

#define ALICE 1000
#define BOB 1001

static struct sim_client *alice, *bob;

static void users_begin(const char *conf)
{
    begin_with(FIRE, conf);
    alice = sim_connect(&sim, ALICE);
    bob = sim_connect(&sim, BOB);
    sim_run(&sim, 5000);
}

static json_t *ask_for(const char *name)
{
    return json_pack("{s:s, s:s*, s:i, s:{s:s}}", "image", "fire", "name", name, "wait_ms", 60000,
                     "meta", "secret", name ? name : "none");
}

/* Caller owns the reply's parameters. */
static json_t *allocate(struct sim_client *c, const char *name)
{
    return answer_take(sim_ask(c, "Allocate", ask_for(name), 60000));
}

static json_t *list_of(struct sim_client *c)
{
    return answer_take(sim_ask(c, "List", NULL, 1000));
}

/* The object of an array whose member has this text. */
static const json_t *member_with(const json_t *list, const char *key, const char *text)
{
    size_t i;
    json_t *v;
    json_array_foreach (list, i, v) {
        const char *has = json_string_value(json_object_get(v, key));
        if (has && !strcmp(has, text))
            return v;
    }
    return NULL;
}

/* ---- what one sees of another ---- */

static void test_list(void **state)
{
    (void)state;
    users_begin(NULL);
    json_t *of_alice = allocate(alice, NULL), *of_bob = allocate(bob, NULL);
    const char *lease = text_of(of_alice, "lease"), *slot = text_of(of_alice, "slot");
    struct sim_client *const who[] = {root, alice, bob};
    for (size_t i = 0; i < ARRAY_SIZE(who); i++) {
        bool sees = who[i] != bob;
        json_t *all = list_of(who[i]);
        const json_t *leases = json_object_get(all, "leases");
        const json_t *l = member_with(leases, "lease", lease);
        assert_int_equal(json_array_size(leases), i ? 1 : 2);
        assert_int_equal(l != NULL, sees);
        if (sees)
            assert_string_equal(text_of(json_object_get(l, "meta"), "secret"), "none");
        const json_t *s = member_with(json_object_get(all, "slots"), "slot", slot);
        assert_string_equal(text_of(s, "state"), "leased");
        assert_string_equal(text_of(s, "image"), "fire");
        assert_int_equal(text_of(s, "name")[0] != 0, sees);
        assert_int_equal(text_of(s, "uuid")[0] != 0, sees);
        assert_int_equal(json_is_integer(json_object_get(s, "domid")), sees);
        assert_int_equal(json_is_string(json_object_get(s, "lease")), sees);
        json_decref(all);
    }
    json_decref(of_alice);
    json_decref(of_bob);
    sim_end(&sim);
}

/* A slot keeps the name of a lease that has ended, while its domain is on its way out. */
static void test_list_of_what_goes(void **state)
{
    (void)state;
    users_begin(NULL);
    sim.destroy_ms = 5000;
    json_t *of_alice = allocate(alice, NULL);
    sim_expect(alice, "Release", json_pack("{s:b, s:b}", "all", 1, "wait", 0), 1000, NULL);
    struct sim_client *const who[] = {root, bob};
    for (size_t i = 0; i < ARRAY_SIZE(who); i++) {
        json_t *all = list_of(who[i]);
        const json_t *s =
            member_with(json_object_get(all, "slots"), "slot", text_of(of_alice, "slot"));
        assert_string_equal(text_of(s, "state"), "releasing");
        assert_string_equal(text_of(s, "name"), i ? "" : text_of(of_alice, "name"));
        assert_int_equal(json_is_string(json_object_get(s, "reason")), !i);
        const json_t *w = member_with(json_object_get(all, "slots"), "state", "warm");
        assert_int_not_equal(text_of(w, "name")[0], 0); /* nobody's */
        json_decref(all);
    }
    json_decref(of_alice);
    sim_end(&sim);
}

static json_t *lease_of(const char *what)
{
    return json_pack("{s:s}", "lease", what);
}

/* By id, alive or not, it is refused without a word on whose it is; by name it is not there. */
static void test_trace(void **state)
{
    (void)state;
    users_begin("name_prefix =\n[pool]\nmin = 2\n");
    for (int ended = 0; ended < 2; ended++) {
        json_t *of_alice = allocate(alice, "mine");
        const char *id = text_of(of_alice, "lease");
        sim_run(&sim, 1000);
        if (ended)
            sim_expect(alice, "Release", json_pack("{s:b}", "all", 1), 5000, NULL);
        sim_expect(alice, "Trace", lease_of(id), 1000, NULL);
        sim_expect(alice, "Trace", lease_of("mine"), 1000, NULL);
        sim_expect(root, "Trace", lease_of(id), 1000, NULL);
        sim_expect(root, "Trace", lease_of("mine"), 1000, NULL);
        json_t *reply = sim_ask(bob, "Trace", lease_of(id), 1000);
        assert_string_equal(sim_error_name(reply), "NotPermitted");
        assert_null(strstr(text_of(json_object_get(reply, "parameters"), "text"), "1000"));
        json_decref(reply);
        sim_expect(bob, "Trace", lease_of("mine"), 1000, ended ? "NoSuchLease" : "NotPermitted");
        sim_expect(bob, "LeaseWait", lease_of(id), 1000, ended ? "NoSuchLease" : "NotPermitted");
        if (!ended)
            sim_expect(alice, "Release", json_pack("{s:b}", "all", 1), 5000, NULL);
        json_decref(of_alice);
    }
    /* Each finds the own one of two with the same name. */
    json_t *of_bob = allocate(bob, "mine");
    sim_expect(bob, "Release", json_pack("{s:b}", "all", 1), 5000, NULL);
    json_t *seen = answer_take(sim_ask(alice, "Trace", lease_of("mine"), 1000));
    assert_int_equal(integer_of(seen, "owner_uid"), ALICE);
    json_decref(seen);
    seen = answer_take(sim_ask(root, "Trace", lease_of("mine"), 1000));
    assert_int_equal(integer_of(seen, "owner_uid"), BOB);
    json_decref(seen);
    json_decref(of_bob);
    sim_end(&sim);
}

/* ---- whose name ---- */

static void expect_name(struct sim_client *c, const char *name, const char *error, const char *text)
{
    json_t *reply = sim_ask(c, "Allocate", ask_for(name), 60000);
    assert_string_equal(sim_error_name(reply), error);
    const char *said = json_string_value(
        json_object_get(json_object_get(reply, "parameters"), *error ? "text" : "name"));
    if (!said || !strstr(said, text))
        fail_msg("%s: \"%s\" lacks \"%s\"", name ? name : "no name", said ? said : "", text);
    json_decref(reply);
    if (!*error)
        release_all();
}

/* A user's domains are called after the user, root's as root likes. */
static void test_names(void **state)
{
    (void)state;
    users_begin(NULL);
    expect_name(alice, "web", "NotPermitted", "must begin with u1000-, such as u1000-web");
    expect_name(alice, "u1001-web", "NotPermitted", "u1000-");
    expect_name(alice, "u100-web", "NotPermitted", "u1000-");
    expect_name(alice, "u1000-", "NotPermitted", "u1000-");
    expect_name(alice, "u1000-web", "", "u1000-web");
    expect_name(bob, "u1000-web", "NotPermitted", "u1001-");
    expect_name(alice, NULL, "", "u1000-fire-l");
    expect_name(root, "u1000-web", "", "u1000-web");
    expect_name(root, "web", "", "web");
    expect_name(root, NULL, "", "fire-l");
    sim_end(&sim);
}

static void test_name_settings(void **state)
{
    (void)state;
    users_begin("name_prefix = lab.%U.\n[pool]\nmin = 1\n");
    expect_name(alice, NULL, "", "lab.1000.fire-l");
    expect_name(alice, "u1000-web", "NotPermitted", "lab.1000.");
    sim_end(&sim);
    users_begin("name_prefix = guests-\n[pool]\nmin = 1\n");
    expect_name(bob, NULL, "", "guests-fire-l");
    expect_name(alice, "guests-web", "", "guests-web");
    sim_end(&sim);
    users_begin("name_prefix =\n[pool]\nmin = 1\n");
    expect_name(alice, "web", "", "web");
    expect_name(alice, NULL, "", "fire-l");
    sim_end(&sim);
}

/* The longest prefix, image and uid leave room for the lease's id and a number. */
static void test_long_names(void **state)
{
    char image[64], wanted[64];
    (void)state;
    memset(image, 'i', 63);
    image[63] = '\0';
    begin_with(FIRE, "name_prefix = abcdefghijklm%U-\n[pool]\nmin = 1\n");
    sim_image(&sim, image);
    alice = sim_connect(&sim, 4294967294u);
    snprintf(wanted, sizeof wanted, "abcdefghijklm4294967294-%.25s-l1", image);
    sim_domain_add(&sim, wanted, "", NULL);
    domains_list(&sim.core);
    sim_run(&sim, 5000);
    json_t *reply = answer_take(sim_ask(
        alice, "Allocate", json_pack("{s:s, s:i}", "image", image, "wait_ms", 60000), 60000));
    strcat(wanted, "-2");
    assert_string_equal(text_of(reply, "name"), wanted);
    json_decref(reply);
    sim_end(&sim);
}

/* ---- how much ---- */

static json_t *timed(const char *key, int64_t ms)
{
    return json_pack("{s:s, s:I}", "image", "fire", key, (json_int_t)ms);
}

static void expect_limit(const char *key, int64_t ms, const char *text)
{
    json_t *reply = sim_ask(alice, "Allocate", timed(key, ms), 100);
    assert_string_equal(sim_error_name(reply), "LimitReached");
    const char *said = text_of(json_object_get(reply, "parameters"), "text");
    if (!strstr(said, text))
        fail_msg("\"%s\" lacks \"%s\"", said, text);
    json_decref(reply);
    sim_expect(root, "Allocate", timed(key, ms), 100, NULL);
    release_all();
    sim_run(&sim, 5000);
}

static void expect_lives(struct sim_client *c, json_t *request, int64_t ms)
{
    json_t *reply = answer_take(sim_ask(c, "Allocate", request, 1000));
    const struct lease *l = lease_find(&sim.core, text_of(reply, "lease"));
    assert_int_equal(l->expires_ms ? l->expires_ms - l->created_ms : 0, ms);
    json_decref(reply);
    release_all();
    sim_run(&sim, 5000);
}

static void test_times(void **state)
{
    (void)state;
    users_begin("ttl_max = 2h\nwait_max = 5m\n[pool]\nmin = 2\n");
    expect_limit("ttl_ms", 7200001, "at most 2h (ttl_max)");
    expect_limit("ttl_ms", 0, "at most 2h (ttl_max)"); /* for ever */
    expect_limit("wait_ms", 300001, "at most 5m (wait_max)");
    expect_lives(alice, timed("ttl_ms", 7200000), 7200000);
    expect_lives(alice, timed("wait_ms", 300000), 7200000); /* none is given: no longer than that */
    expect_lives(root, timed("wait_ms", 0), 0);
    sim_end(&sim);
    users_begin("ttl_max = 2h\n[pool]\nttl = 1h\nmin = 2\n");
    expect_lives(alice, timed("wait_ms", 3600000), 3600000);   /* the image's is shorter */
    expect_limit("wait_ms", 3600001, "at most 1h (wait_max)"); /* by default */
    sim_end(&sim);
    users_begin(NULL);
    expect_lives(alice, timed("ttl_ms", 0), 0);
    sim_end(&sim);
}

/* Requests that find a warm slot do not count; each user has an account of its own. */
static void test_waiting(void **state)
{
    struct sim_client *c[5];
    (void)state;
    users_begin("waiting_per_user = 3\n[pool]\nmin = 2\nmax = 2\n");
    for (size_t i = 0; i < 5; i++) {
        c[i] = sim_connect(&sim, ALICE);
        sim_call(c[i], "Allocate", want("fire", 60000));
        sim_run(&sim, 10);
    }
    json_t *reply = sim_ask(alice, "Allocate", want("fire", 60000), 100);
    assert_string_equal(sim_error_name(reply), "LimitReached");
    assert_non_null(strstr(text_of(json_object_get(reply, "parameters"), "text"),
                           "at most 3 (waiting_per_user)"));
    json_decref(reply);
    reply = sim_ask(alice, "Allocate", want("fire", 0), 100); /* does not wait */
    assert_non_null(strstr(text_of(json_object_get(reply, "parameters"), "text"), "max = 2"));
    json_decref(reply);
    sim_call(bob, "Allocate", want("fire", 60000));
    sim_call(root, "Allocate", want("fire", 60000));
    sim_run(&sim, 100);
    assert_null(sim_reply(bob));
    assert_null(sim_reply(root));
    sim_disconnect(c[4]); /* a place becomes free */
    sim_run(&sim, 10);
    sim_call(alice, "Allocate", want("fire", 60000));
    sim_run(&sim, 100);
    assert_null(sim_reply(alice));
    sim_end(&sim);
}

/* ---- who may what ---- */

/* The comment that stands before a declaration: the lines that begin with '#'. */
static bool comment_says_root(const char *text, const char *at)
{
    const char *line = at;
    while (line > text) {
        const char *before = line - 1;
        while (before > text && before[-1] != '\n')
            before--;
        if (*before != '#')
            break;
        line = before;
    }
    return !strncmp(line, "# Root only.\n", 13);
}

/* The interface file marks exactly the methods that the daemon keeps to root. */
static void test_root_only(void **state)
{
    (void)state;
    users_begin(NULL);
    for (size_t i = 0; i < sim.service.n_methods; i++) {
        const struct method *m = &sim.service.methods[i];
        char declared[80];
        snprintf(declared, sizeof declared, "\nmethod %s(", m->name);
        const char *at = strstr(sim.service.interface_text, declared);
        assert_non_null(at);
        if (comment_says_root(sim.service.interface_text, at + 1) != m->root_only)
            fail_msg("%s: the interface file and the daemon differ on who may call it", m->name);
    }
    sim_end(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),          cmocka_unit_test(test_list_of_what_goes),
        cmocka_unit_test(test_trace),         cmocka_unit_test(test_names),
        cmocka_unit_test(test_name_settings), cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_times),         cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_root_only),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
