/*
 * How much the daemon does for one request, one domain event and one start, counted in steps: basic
 * blocks of the core and of what it stands on, which are compiled to count themselves
 * (-fsanitize-coverage=trace-pc). No clock is read, so the numbers are the same on every machine.
 * Twice as many leases must cost a request nothing, and a listing or a start no more than twice as
 * much. SQLite's work, and the sorting of a listing, which are other threads', do not count.
 */
#include "tests/sim/fixture.h"

#include "base/array.h"

#include <stdio.h>
#include <string.h>

#define FEW 1000 /* enough that a walk past all of them is most of the work of a request */
#define MANY (2 * FEW)
#define ALICE 1000
#define DAY_MS (24ll * 3600 * 1000)

static unsigned long steps;
static bool inside_simulator = true;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    steps += !inside_simulator;
}

/* The simulator says when it is itself at work: a test of memory needs to know as well. */
bool sim_memory_spare(void)
{
    bool before = inside_simulator;
    inside_simulator = true;
    return before;
}

void sim_memory_restore(bool before)
{
    inside_simulator = before;
}

/* ---- what is measured ---- */

enum measure {
    ALLOCATE,
    ALLOCATE_NAMED,
    FIND_ID,
    FIND_NAME,
    FIND_DOMID,
    RELEASE,
    STATUS,
    LISTING,
    START,
    TURN,
    MEASURES
};

static const struct {
    const char *what;
    bool grows; /* with the number of leases: at most as that does */
} measures[MEASURES] = {
    [ALLOCATE] = {"an allocation", false},
    [ALLOCATE_NAMED] = {"an allocation with a name", false},
    [FIND_ID] = {"finding a lease by its id", false},
    [FIND_NAME] = {"finding a lease by its name", false},
    [FIND_DOMID] = {"finding a lease by its domid", false},
    [RELEASE] = {"a release", false},
    [STATUS] = {"the daemon's status", false},
    [LISTING] = {"a listing of the domains", true},
    [START] = {"a start", true},
    [TURN] = {"the longest turn while domains are listed", false},
};

/* ---- a daemon with many leases ---- */

static void plant(uint64_t id)
{
    char name[DB_NAME_SIZE];
    struct error e;
    snprintf(name, sizeof name, "planted-%u", (unsigned)id);
    const struct sim_domain *d = sim_domain_add(&sim, name, sim.core.tag, NULL);
    struct db_op ops[2] = {{.kind = DB_SLOT_PUT}, {.kind = DB_LEASE_PUT}};
    struct slot_row *slot = &ops[0].slot;
    struct lease_row *lease = &ops[1].lease;
    slot->id = lease->id = lease->slot = id;
    slot->uuid = d->d.uuid;
    slot->domid = d->d.domid;
    strcpy(slot->image, "fire");
    strcpy(slot->state, "leased");
    strcpy(slot->name, name);
    strcpy(lease->image, "fire");
    strcpy(lease->name, name);
    lease->owner_uid = ALICE;
    lease->created_ms = 1700000000000;
    lease->expires_ms = lease->created_ms + DAY_MS + (int64_t)id * 1000;
    assert_int_equal(db_apply(sim.db, ops, ARRAY_SIZE(ops), &e), 0);
}

/* Returns the steps of its start. */
static unsigned long begin_with_leases(unsigned n)
{
    begin_with(FIRE, "leases_per_user = 100000\n[pool]\nmin = 4\n");
    sim.unchecked = true; /* that compares all with all */
    sim_run(&sim, 5000);
    for (uint64_t id = 1000; id < 1000 + n; id++)
        plant(id);
    sim_crash(&sim);
    sim.start_only = true;
    steps = 0;
    sim_restart(&sim, config, NULL);
    unsigned long taken = steps;
    sim_run(&sim, 10000);
    assert_int_equal(sim.core.active, n);
    assert_int_equal(warm("fire"), 4);
    root = sim_connect(&sim, 0);
    return taken;
}

/* Steps until the reply. */
static unsigned long ask(struct sim_client *c, const char *method, json_t *parameters,
                         json_t **reply)
{
    inside_simulator = false; /* a message that comes is the core's at once */
    steps = 0;
    json_t *got = sim_ask(c, method, parameters, 1000);
    unsigned long taken = steps;
    inside_simulator = true;
    json_t *p = answer_take(got);
    if (reply)
        *reply = p;
    else
        json_decref(p);
    return taken;
}

static json_t *released(const char *what)
{
    return json_pack("{s:[s], s:b}", "leases", what, "wait", 0);
}

/* ---- measuring ---- */

static void measure_requests(unsigned long out[MEASURES])
{
    struct sim_client *c = sim_connect(&sim, ALICE);
    json_t *first, *second;
    char domid[24];
    out[ALLOCATE] = ask(c, "Allocate", want("fire", 0), &first);
    sim_run(&sim, 2000);
    out[ALLOCATE_NAMED] =
        ask(c, "Allocate",
            json_pack("{s:s, s:s, s:i}", "image", "fire", "name", "u1000-mine", "ttl_ms", 60000),
            &second);
    sim_run(&sim, 2000);
    snprintf(domid, sizeof domid, "%lld", (long long)integer_of(first, "domid"));
    out[FIND_ID] = ask(c, "Trace", json_pack("{s:s}", "lease", text_of(first, "lease")), NULL);
    out[FIND_NAME] = ask(c, "Trace", json_pack("{s:s}", "lease", "u1000-mine"), NULL);
    out[FIND_DOMID] = ask(c, "Trace", json_pack("{s:s}", "lease", domid), NULL);
    out[RELEASE] = ask(c, "Release", released(domid), NULL);
    sim_run(&sim, 5000);
    out[STATUS] = ask(c, "Status", NULL, NULL);
    json_decref(first);
    json_decref(second);
    sim_disconnect(c);
}

/* A domain that is nobody's has come: all there is to it is a listing. */
static void measure_listing(unsigned long out[MEASURES])
{
    const uint64_t listings = sim.core.listing.started, until = sim.now_us + 1000000;
    sim_domain_add(&sim, "stranger", "", NULL);
    sim_changed(&sim);
    steps = 0;
    for (unsigned long before = 0; sim_step(&sim, until); before = steps)
        if (steps - before > out[TURN])
            out[TURN] = steps - before;
    out[LISTING] = steps;
    assert_int_equal(sim.core.listing.started, listings + 1);
    assert_int_equal(sim.core.listing.state, LISTING_IDLE);
}

static void measure(unsigned n, unsigned long out[MEASURES])
{
    out[START] = begin_with_leases(n);
    measure_requests(out);
    measure_listing(out);
    sim_end(&sim);
}

static void test_steps(void **state)
{
    unsigned long few[MEASURES] = {0}, many[MEASURES] = {0};
    bool ok = true;
    (void)state;
    measure(FEW, few);
    measure(MANY, many);
    for (size_t i = 0; i < MEASURES; i++) {
        /* A tenth more is the next level of a heap, or a search that takes one step more. */
        unsigned long most = (measures[i].grows ? 2 : 1) * few[i] + few[i] / 10;
        bool good = few[i] && many[i] <= most;
        ok &= good;
        if (!good || getenv("V"))
            printf("%s: %lu steps with %d leases, %lu with %d%s\n", measures[i].what, few[i], FEW,
                   many[i], MANY, good ? "" : ": too many");
    }
    assert_true(ok);
}

int main(void)
{
    tests_begin();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
