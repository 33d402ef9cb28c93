/*
 * What the tests of the core start from: one simulated world, a client of root in it, and the
 * questions that many tests ask. Every function fails the test when something is not as it says.
 */
#ifndef TESTS_SIM_FIXTURE_H
#define TESTS_SIM_FIXTURE_H

#include "tests/cmocka.h"
#include "tests/sim/world_sim.h"

/* Of the running test. */
extern struct sim sim;
extern struct sim_client *root; /* NULL after a crash, until restart */
extern char config[400];        /* that the daemon was started with */

enum fixture_name {
    FIRE,     /* one image, "fire", with two slots */
    FIRE_ONE, /* ... with one slot */
    BASE,     /* one image, "base", with two slots, two at a time */
    FAMILY,   /* ... and all of family, which are derived from it */
    FIXTURE_COUNT
};

struct fixture {
    const char *config, *image;
    const char *const *derived; /* ends with NULL */
};

extern const struct fixture fixtures[FIXTURE_COUNT];
extern const char *const family[]; /* ends with NULL */

/* A test that starts from a fixture, five seconds after it began: the slots are there. */
#define TEST_OF(which, test)                                                                       \
    cmocka_unit_test_prestate_setup_teardown(test, fixture_begin, fixture_end,                     \
                                             (void *)&fixtures[which])

/* For TEST_OF. */
int fixture_begin(void **state);
int fixture_end(void **state);

/* Starts a fixture's world with its image and nothing that is derived from it; no time passes.
 * text: the daemon's configuration, NULL: the fixture's own. The test ends it by sim_end. */
void begin_with(enum fixture_name which, const char *text);
/* kill -9, and a daemon with the same configuration. boot: another boot of the host, or NULL. */
void restart(const char *boot);

/* The log's level from the environment (V: all), and a test alone (ONLY). For main. */
void tests_begin(void);

/* ---- parameters; the caller owns them ---- */

json_t *named(const char *name);
json_t *import_of(const char *name, const char *base, bool replace); /* base NULL: whole */
json_t *want(const char *image, json_int_t wait_ms);

/* ---- answers ---- */

/* The parameters of a reply that must be no error. answer: borrowed from reply; answer_take: takes
 * reply, the caller owns the result. */
json_t *answer(json_t *reply);
json_t *answer_take(json_t *reply);
/* A member that must be there. */
const char *text_of(const json_t *o, const char *key);
json_int_t integer_of(const json_t *o, const char *key);

/* Asks as root. name: of the error that must come, NULL: none. */
void expect(const char *method, json_t *parameters, const char *name);
/* ... and its text must say so. */
void expect_text(const char *method, json_t *parameters, const char *name, const char *text);

/* ---- images, slots, leases ---- */

/* Slots that wait for a request, of whatever version. */
unsigned warm(const char *image);
/* Allocates, waiting as long as it takes; the lease's id into lease. Returns the domid. */
uint32_t take(const char *image, char lease[32]);
void release_all(void);
/* A new version, made of base or whole. */
void replace(const char *name, const char *base);
/* Comes to rest, with the right number of slots, all of the present version. */
void settled(const char *image);

#endif
