/* See fixture.h. */
#include "tests/sim/fixture.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim sim;
struct sim_client *root;
char config[400];

#define TWO_AT_A_TIME "parallel = 2\n[pool]\nmin = 2\n"

static const char *const none[] = {NULL};
const char *const family[] = {"mail", "shop", "wiki", NULL};

const struct fixture fixtures[FIXTURE_COUNT] = {
    [FIRE] = {"[pool]\nmin = 2\n", "fire", none},
    [FIRE_ONE] = {"[pool]\nmin = 1\n", "fire", none},
    [BASE] = {TWO_AT_A_TIME, "base", none},
    [FAMILY] = {TWO_AT_A_TIME, "base", family},
};

static void start(const struct fixture *f, const char *text)
{
    assert_true(snprintf(config, sizeof config, "%s", text) < (int)sizeof config);
    sim_start(&sim, config);
    sim_image(&sim, f->image);
    root = sim_connect(&sim, 0);
}

void begin_with(enum fixture_name which, const char *text)
{
    start(&fixtures[which], text ? text : fixtures[which].config);
}

int fixture_begin(void **state)
{
    const struct fixture *f = *state;
    start(f, f->config);
    for (const char *const *name = f->derived; *name; name++)
        sim_derive(&sim, *name, f->image);
    sim_run(&sim, 5000);
    return 0;
}

int fixture_end(void **state)
{
    (void)state;
    sim_end(&sim);
    return 0;
}

void restart(const char *boot)
{
    sim_crash(&sim);
    sim_restart(&sim, config, boot);
    root = sim_connect(&sim, 0);
}

void tests_begin(void)
{
    log_init("test", getenv("V") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
}

json_t *named(const char *name)
{
    return json_pack("{s:s}", "name", name);
}

json_t *import_of(const char *name, const char *base, bool replace)
{
    return json_pack("{s:s, s:s, s:s*, s:b}", "name", name, "path", "/save", "base", base,
                     "replace", (int)replace);
}

json_t *want(const char *image, json_int_t wait_ms)
{
    return json_pack("{s:s, s:I}", "image", image, "wait_ms", wait_ms);
}

json_t *answer(json_t *reply)
{
    assert_non_null(reply);
    if (json_object_get(reply, "error"))
        fail_msg("%s", json_dumps(reply, 0));
    return json_object_get(reply, "parameters");
}

json_t *answer_take(json_t *reply)
{
    json_t *p = json_incref(answer(reply));
    json_decref(reply);
    return p;
}

const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    assert_non_null(text);
    return text;
}

json_int_t integer_of(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

void expect(const char *method, json_t *parameters, const char *name)
{
    sim_expect(root, method, parameters, 5000, name);
}

void expect_text(const char *method, json_t *parameters, const char *name, const char *text)
{
    json_t *reply = sim_ask(root, method, parameters, 5000);
    const char *message =
        json_string_value(json_object_get(json_object_get(reply, "parameters"), "text"));
    assert_string_equal(sim_error_name(reply), name);
    if (!message || !strstr(message, text))
        fail_msg("%s: \"%s\" lacks \"%s\"", method, message ? message : "", text);
    json_decref(reply);
}

unsigned warm(const char *image)
{
    return sim_pool(&sim, image)->set.count[SLOT_WARM];
}

uint32_t take(const char *image, char lease[32])
{
    json_t *reply = sim_ask(root, "Allocate", want(image, 60000), 60000);
    json_t *p = answer(reply);
    assert_string_equal(text_of(p, "image"), image);
    snprintf(lease, 32, "%s", text_of(p, "lease"));
    uint32_t domid = (uint32_t)integer_of(p, "domid");
    json_decref(reply);
    return domid;
}

void release_all(void)
{
    expect("Release", json_pack("{s:b}", "all", 1), NULL);
}

void replace(const char *name, const char *base)
{
    expect("ImageImport", import_of(name, base, true), NULL);
}

void settled(const char *image)
{
    sim_run(&sim, 60000);
    const struct pool *p = sim_pool(&sim, image);
    assert_int_equal(pool_warm(p), p->settings.min);
    assert_int_equal(p->set.total - pool_leased(p), p->settings.min);
    sim_check_quiet(&sim);
}
