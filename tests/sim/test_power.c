/*
 * The power is cut at each moment of each operation on images: what was answered must be there,
 * what was there before must not be lost, and the daemon must start. The database's files forget
 * what was not synced (power.h), or keep a part of it; image files are as safe as their writer
 * makes them.
 */
#include "base/array.h"
#include "tests/sim/fixture.h"
#include "tests/sim/power.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000u
#define MOMENTS_MAX 400

static const unsigned parts[] = {0, 50, 100}; /* percent of the unsynced writes that are kept */

struct operation {
    const char *name, *method;
    json_t *(*parameters)(void);
    void (*check)(bool answered);
};

/* ---- what must be there afterwards ---- */

static const struct entry *sound(const char *name)
{
    const struct entry *im = entry_find(&sim.core, name);
    return im && im->state == ENTRY_SOUND ? im : NULL;
}

static void check_import(bool answered)
{
    assert_true(!answered || sound("ice"));
}

static void check_replace(bool answered)
{
    (void)answered; /* "fire" is looked at in any case */
}

static void check_remove(bool answered)
{
    const struct entry *mist = entry_find(&sim.core, "mist");
    assert_true(answered ? !mist : !mist || entry_is_going(mist) || sound("mist"));
}

static void check_set(bool answered)
{
    assert_true(!answered || sim_pool(&sim, "fire")->settings.max == 7);
}

static json_t *import_ice(void)
{
    return import_of("ice", NULL, false);
}

static json_t *derive_ice(void)
{
    return import_of("ice", "fire", false);
}

static json_t *replace_fire(void)
{
    return import_of("fire", NULL, true);
}

static json_t *name_mist(void)
{
    return named("mist");
}

static json_t *set_max(void)
{
    return json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "max", "7");
}

static const struct operation operations[] = {
    {"import", "ImageImport", import_ice, check_import},
    {"derive", "ImageImport", derive_ice, check_import},
    {"replace", "ImageImport", replace_fire, check_replace},
    {"remove", "ImageRemove", name_mist, check_remove},
    {"set", "PoolSet", set_max, check_set},
};

/* ---- one cut ---- */

/* Runs the operation for so many events; true when it was answered by then, without an error. */
static bool operate(const struct operation *op, unsigned events, bool *over)
{
    struct sim_client *c = sim_connect(&sim, 0);
    sim_call(c, op->method, op->parameters());
    unsigned after = 0;
    bool more = true;
    for (unsigned i = 0; i < events && more; i++) {
        after += c->answered > 0;
        more = sim_step(&sim, sim.now_us + 5 * SECOND);
    }
    *over = after > 20 || !more;
    if (!c->answered)
        return false;
    json_t *reply = sim_reply(c);
    assert_string_equal(sim_error_name(reply), "");
    json_decref(reply);
    return true;
}

static bool cut_at(const struct operation *op, unsigned events, unsigned kept)
{
    bool over;
    begin_with(FIRE, NULL);
    sim_image(&sim, "mist");
    sim_run(&sim, 5000);
    bool answered = operate(op, events, &over);
    power_cut(kept);
    sim_crash(&sim);
    power_back();
    while (!list_empty(&sim.domains)) { /* they end with the host */
        struct sim_domain *d = container_of(sim.domains.next, struct sim_domain, node);
        sim_domain_destroy(&sim, d->d.domid);
    }
    sim_restart(&sim, config, "another boot");
    sim_run(&sim, 60000);
    assert_non_null(sound("fire"));
    op->check(answered);
    sim_end(&sim);
    return over;
}

static void test_cut(void **state)
{
    const struct operation *op = *state;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        unsigned events = 0;
        while (!cut_at(op, events, parts[i]))
            assert_true(++events < MOMENTS_MAX);
        printf("%s, %u %% kept: %u moments\n", op->name, parts[i], events);
    }
}

#define CUT(i) cmocka_unit_test_prestate(test_cut, (void *)&operations[i])

int main(void)
{
    power_begin();
    tests_begin();
    const struct CMUnitTest tests[] = {CUT(0), CUT(1), CUT(2), CUT(3), CUT(4)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
