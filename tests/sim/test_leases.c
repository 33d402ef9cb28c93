/* What a lease is called, and who is told of its end. */
#include "tests/sim/fixture.h"

#include "base/array.h"

#include <stdio.h>
#include <string.h>

#define ALICE 1000
#define BOB 1001

static json_t *lease_param(const json_t *allocated)
{
    return json_pack("{s:O}", "lease", json_object_get(allocated, "lease"));
}

/* Allocates as ALICE, and waits for the end on a connection of its own. */
static struct sim_client *allocate_watched(struct sim_client *c, json_t *parameters)
{
    json_object_set_new(parameters, "wait_ms", json_integer(9000));
    json_t *reply = sim_ask(c, "Allocate", parameters, 9000);
    struct sim_client *watcher = sim_connect(&sim, ALICE);
    sim_call(watcher, "LeaseWait", lease_param(answer(reply)));
    json_decref(reply);
    sim_run(&sim, 100);
    assert_false(watcher->answered);
    return watcher;
}

static void expect_reason(struct sim_client *watcher, const char *reason)
{
    sim_run(&sim, 100);
    json_t *reply = sim_reply(watcher);
    assert_string_equal(text_of(answer(reply), "reason"), reason);
    json_decref(reply);
    sim_disconnect(watcher);
}

static void test_lease_wait(void **state)
{
    (void)state;
    struct sim_client *c = sim_connect(&sim, ALICE);
    struct sim_client *w = allocate_watched(c, json_pack("{s:s, s:b}", "image", "fire", "hold", 1));
    sim_disconnect(c);
    expect_reason(w, "the client that held it is gone");

    c = sim_connect(&sim, ALICE);
    w = allocate_watched(c, json_pack("{s:s}", "image", "fire"));
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
    expect_reason(w, "released");

    w = allocate_watched(c, json_pack("{s:s, s:i}", "image", "fire", "ttl_ms", 5000));
    sim_run(&sim, 5000);
    expect_reason(w, "its time to live is over");

    /* Who waits may go first, and only the owner and root may wait. */
    w = allocate_watched(c, json_pack("{s:s, s:s}", "image", "fire", "name", "u1000-mine"));
    sim_disconnect(w);
    sim_run(&sim, 100);
    w = sim_connect(&sim, BOB);
    sim_expect(w, "LeaseWait", json_pack("{s:s}", "lease", "u1000-mine"), 10, "NotPermitted");
    sim_expect(w, "LeaseWait", json_pack("{s:s}", "lease", "other"), 10, "NoSuchLease");
    sim_disconnect(w);
    w = sim_connect(&sim, 0);
    sim_call(w, "LeaseWait", json_pack("{s:s}", "lease", "u1000-mine"));
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 1000, NULL);
    expect_reason(w, "released");
    sim_disconnect(c);
    sim_check_quiet(&sim);
}

/* A name that is in use is never given, however many like it are. */
static void test_many_names(void **state)
{
    char name[DB_NAME_SIZE];
    const unsigned id = (unsigned)sim.core.next_lease;
    (void)state;
    for (unsigned i = 1; i < 1200; i++) {
        snprintf(name, sizeof name, i == 1 ? "fire-l%u" : "fire-l%u-%u", id, i);
        sim_domain_add(&sim, name, "", NULL);
    }
    sim_changed(&sim);
    sim_run(&sim, 1000);
    json_t *p = answer_take(sim_ask(root, "Allocate", want("fire", 0), 1000));
    strcpy(name, text_of(p, "name"));
    assert_memory_equal(name, "fire-l", 6);
    unsigned same = 0;
    list_each (node, &sim.domains)
        same += !strcmp(container_of(node, struct sim_domain, node)->d.name, name);
    assert_int_equal(same, 1);
    json_decref(p);
    sim_expect(root, "Release", json_pack("{s:[s]}", "leases", name), 2000, NULL);
}

/* A lease cannot take a name that stands for a domain of Xen's own. */
static void test_reserved_names(void **state)
{
    static const char *const names[] = {"Domain-0", "domain-0", "Xenstore"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        sim_expect(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", names[i]), 10,
                   "NameInUse");
}

/* xl rename: the lease is found by the new name, and by no other, also after a restart. */
static void test_renamed(void **state)
{
    (void)state;
    json_t *reply =
        sim_ask(root, "Allocate", json_pack("{s:s, s:s}", "image", "fire", "name", "old"), 100);
    uint32_t domid = (uint32_t)integer_of(answer(reply), "domid");
    json_decref(reply);
    sim_run(&sim, 3000);
    strcpy(sim_domain_find(&sim, domid)->d.name, "new");
    sim_changed(&sim);
    sim_run(&sim, 1000);
    restart(NULL);
    sim_expect(root, "Release", json_pack("{s:[s]}", "leases", "old"), 10, "NoSuchLease");
    sim_expect(root, "Release", json_pack("{s:[s]}", "leases", "new"), 1000, NULL);
    sim_run(&sim, 5000);
    assert_null(sim_domain_find(&sim, domid));
    sim_check_quiet(&sim);
}

#define TEST(name) TEST_OF(FIRE, name)

int main(void)
{
    tests_begin();
    const struct CMUnitTest tests[] = {
        TEST(test_lease_wait),
        TEST(test_many_names),
        TEST(test_reserved_names),
        TEST(test_renamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
