/* The method PoolSet: see set_call.h. */
#include "pool/core/set_call.h"

#include "base/text.h"
#include "pool/core/pool.h"
#include "pool/core/rows.h"
#include "pool/service/pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One call, until its settings are on record. One after the other is recorded, and checked when the
 * one before is in force: two that each fit alone may not fit together. */
struct pool_set {
    struct list node; /* core->sets, the first one is being recorded */
    struct core *core;
    struct pending pending;
    char image[DB_NAME_SIZE];
    json_t *settings;
    struct config_patch *patch;
};

static void set_free(struct pool_set *set)
{
    list_remove(&set->node);
    json_decref(set->settings);
    config_patch_free(set->patch);
    free(set);
}

static int read_changes(const struct entry *im, const json_t *settings,
                        struct config_change changes[ROWS_MAX], size_t *n, struct error *e)
{
    const char *key;
    json_t *value;
    *n = 0;
    json_object_foreach ((json_t *)settings, key, value) {
        if (im->base && strcmp(key, "ttl") != 0)
            return error_set(e, ANSWER_BAD_VALUE,
                             "%.40s: the slots of image %s are those of its base: set it for %s",
                             key, im->row.name, im->base->row.name);
        if (*n == ROWS_MAX)
            return error_set(e, ANSWER_BAD_VALUE, "too many settings at once, %d are allowed",
                             ROWS_MAX);
        changes[(*n)++] = (struct config_change){key, json_string_value(value)};
    }
    return 0;
}

static void put_setting(struct rows *r, const char *image, const struct config_change *c)
{
    struct db_op *op = rows_add(r, c->value[0] ? DB_SETTING_PUT : DB_SETTING_DELETE);
    if (!op)
        return;
    format_fits(op->setting.image, sizeof op->setting.image, "%s", image);
    format_fits(op->setting.key, sizeof op->setting.key, "%s", c->key);
    format_fits(op->setting.value, sizeof op->setting.value, "%s", c->value);
}

static void set_recorded(void *owner, int rc, const struct error *e);

/* Checks the settings against what is in force and commits their rows. */
static int set_start(struct pool_set *set, struct error *e)
{
    struct core *core = set->core;
    struct entry *im;
    struct config_change changes[ROWS_MAX];
    size_t n;
    if (core_ready(core, e) || entry_need(core, set->image, &im, e) ||
        read_changes(im, set->settings, changes, &n, e) ||
        config_patch_new(core->config, set->image, changes, n, &set->patch, e))
        return e->code;
    struct rows *r = rows_new(core);
    for (size_t i = 0; i < n; i++)
        put_setting(r, set->image, &changes[i]);
    if (!rows_commit(core, r, set_recorded, set))
        return error_set(e, -ENOMEM, "out of memory");
    return 0;
}

/* The next one; those that are refused are over at once. */
static void sets_start(struct core *core)
{
    struct error e;
    while (!list_empty(&core->sets)) {
        struct pool_set *set = container_of(core->sets.next, struct pool_set, node);
        if (!set_start(set, &e))
            return;
        pending_refuse(&set->pending, e.code, e.text);
        set_free(set);
    }
}

static void set_apply(struct pool_set *set, struct entry *im)
{
    config_patch_apply(set->core->config, set->patch);
    image_configure(im);
    core_kick(set->core);
    pending_reply(&set->pending, json_pack("{s:o}", "pool", pool_to_json(im->own)));
}

static void set_recorded(void *owner, int rc, const struct error *e)
{
    struct pool_set *set = owner;
    struct core *core = set->core;
    struct entry *im;
    struct error why = *e;
    if (!rc)
        rc = entry_need(core, set->image, &im, &why); /* removed meanwhile? */
    if (rc)
        pending_refuse(&set->pending, rc, why.text);
    else
        set_apply(set, im);
    set_free(set);
    sets_start(core);
}

void sets_dispose(struct core *core)
{
    while (!list_empty(&core->sets))
        set_free(container_of(core->sets.next, struct pool_set, node));
}

const struct answered *set_call(struct core *core, struct call *call, const char *image,
                                const json_t *settings)
{
    struct error e;
    struct entry *im;
    if (core_ready(core, &e) || entry_need(core, image, &im, &e))
        return call_refuse(call, e.code, e.text);
    struct pool_set *set = calloc(1, sizeof *set);
    if (!set)
        return call_refuse(call, -ENOMEM, "out of memory");
    bool first = list_empty(&core->sets);
    set->core = core;
    set->settings = json_incref((json_t *)settings);
    format_fits(set->image, sizeof set->image, "%s", im->row.name);
    list_init(&set->node);
    list_append(&core->sets, &set->node);
    const struct answered *deferred = pending_begin(&set->pending, call, NULL);
    if (first)
        sets_start(core);
    return deferred;
}
