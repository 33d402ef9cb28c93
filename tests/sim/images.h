/* What the tests of images have in common: one simulated world, one client, a few questions. */
#ifndef TESTS_SIM_IMAGES_H
#define TESTS_SIM_IMAGES_H

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

static inline void begin_with(const char *text)
{
    sim_start(&sim, text);
    sim_image(&sim, "base");
    root = sim_connect(&sim, 0);
}

static inline int begin(void **state)
{
    (void)state;
    begin_with(config);
    for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
        sim_derive(&sim, derived[i], "base");
    sim_run(&sim, 5000);
    return 0;
}

/* One image, nothing derived from it. */
static inline int begin_alone(void **state)
{
    (void)state;
    begin_with(config);
    sim_run(&sim, 5000);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    sim_end(&sim);
    return 0;
}

static inline void restart(void)
{
    sim_crash(&sim);
    sim_restart(&sim, config, NULL);
    root = sim_connect(&sim, 0);
}

static inline json_t *named(const char *name)
{
    return json_pack("{s:s}", "name", name);
}

static inline json_t *import_of(const char *name, const char *base, bool replace)
{
    return json_pack("{s:s, s:s, s:s*, s:b}", "name", name, "path", "/save", "base", base,
                     "replace", (int)replace);
}

static inline json_t *want(const char *image, int wait_ms)
{
    return json_pack("{s:s, s:i}", "image", image, "wait_ms", wait_ms);
}

static inline void expect(const char *method, json_t *parameters, const char *name)
{
    sim_expect(root, method, parameters, 5000, name);
}

/* Asserts that it is refused, and that the text says so. */
static inline void expect_text(const char *method, json_t *parameters, const char *name,
                               const char *text)
{
    json_t *reply = sim_ask(root, method, parameters, 5000);
    const char *message =
        json_string_value(json_object_get(json_object_get(reply, "parameters"), "text"));
    assert_string_equal(sim_error_name(reply), name);
    if (!message || !strstr(message, text))
        fail_msg("%s: \"%s\" lacks \"%s\"", method, message ? message : "", text);
    json_decref(reply);
}

static inline json_t *answer(json_t *reply)
{
    assert_non_null(reply);
    if (json_object_get(reply, "error"))
        fail_msg("%s", json_dumps(reply, 0));
    return json_object_get(reply, "parameters");
}

static inline const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    assert_non_null(text);
    return text;
}

/* Allocates; the lease's id into lease. */
static inline uint32_t take(const char *image, char lease[32])
{
    json_t *reply = sim_ask(root, "Allocate", want(image, 60000), 60000);
    json_t *p = answer(reply);
    assert_string_equal(text_of(p, "image"), image);
    snprintf(lease, 32, "%s", text_of(p, "lease"));
    uint32_t domid = (uint32_t)json_integer_value(json_object_get(p, "domid"));
    json_decref(reply);
    return domid;
}

static inline void release_all(void)
{
    expect("Release", json_pack("{s:b}", "all", 1), NULL);
}

/* Comes to rest, with the right number of slots, all of the present version. */
static inline void settled(const char *image)
{
    sim_run(&sim, 60000);
    const struct pool *p = sim_pool(&sim, image);
    assert_int_equal(pool_warm(p), p->settings.min);
    assert_int_equal(p->total - pool_leased(p), p->settings.min);
    sim_check_quiet(&sim);
}

/* A new version, made of base or whole. */
static inline void replace(const char *name, const char *base)
{
    expect("ImageImport", import_of(name, base, true), NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, begin_alone, end)

static inline void tests_begin(void)
{
    log_init("test", getenv("V") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
}

#endif
