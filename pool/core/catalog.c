/* The catalog: see catalog.h. */
#include "pool/core/catalog.h"

#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/uuid.h"
#include "pool/core/image_job.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"unverified", "checking", "sound",  "damaged",
                                    "marking",    "removing", "erasing"};

/* The diagram of catalog.h. */
#define TO(sym) (1u << ENTRY_##sym)
static const unsigned successors[] = {
    [ENTRY_UNVERIFIED] = TO(CHECKING) | TO(SOUND) | TO(DAMAGED) | TO(MARKING),
    [ENTRY_CHECKING] = TO(UNVERIFIED) | TO(SOUND) | TO(DAMAGED) | TO(MARKING),
    [ENTRY_SOUND] = TO(SOUND) | TO(DAMAGED) | TO(MARKING),
    [ENTRY_DAMAGED] = TO(SOUND) | TO(DAMAGED) | TO(MARKING),
    [ENTRY_MARKING] = TO(UNVERIFIED) | TO(SOUND) | TO(DAMAGED) | TO(REMOVING),
    [ENTRY_REMOVING] = TO(ERASING),
    [ENTRY_ERASING] = TO(REMOVING),
};
#undef TO
static const struct machine entry_machine = {"image", names, successors, ENTRY_STATE_COUNT};

struct entry *entry_new(struct core *core, const struct image_row *row, struct image_facts *facts,
                        enum entry_state state)
{
    struct entry *im = calloc(1, sizeof *im);
    if (!im)
        return NULL;
    im->core = core;
    im->row = *row;
    im->state = row->removing ? ENTRY_REMOVING : state;
    im->facts = *facts;
    *facts = (struct image_facts){0};
    failures_init(&im->checks, core);
    failures_init(&im->completions, core);
    list_init(&im->in_core);
    list_init(&im->removals);
    list_init(&im->old);
    entry_configure(im);
    struct list *before = core->images.next; /* by name */
    while (before != &core->images && strcmp(entry_at(before)->row.name, row->name) < 0)
        before = before->next;
    list_insert(before, &im->in_core);
    return im;
}

void entry_free(struct entry *im)
{
    failures_dispose(&im->checks);
    failures_dispose(&im->completions);
    list_remove(&im->in_core);
    json_decref(im->facts.config);
    free(im);
}

void entry_configure(struct entry *im)
{
    struct pool_settings settings = config_pool(im->core->config, im->row.name);
    im->ttl_ms = settings.ttl_ms;
    im->on_end = settings.on_end;
    im->backoff_ms = settings.backoff_ms;
    im->backoff_max_ms = settings.backoff_max_ms;
}

/* ---- looking up ---- */

bool entry_is_derived(const struct entry *im)
{
    return !uuid_is_none(&im->row.base);
}

bool entry_is_going(const struct entry *im)
{
    return im->state == ENTRY_MARKING || im->state == ENTRY_REMOVING || im->state == ENTRY_ERASING;
}

bool entry_is_unchecked(const struct entry *im)
{
    return im->state == ENTRY_UNVERIFIED || im->state == ENTRY_CHECKING;
}

struct entry *entry_of_id(const struct core *core, const struct uuid *id)
{
    list_each (node, &core->images)
        if (uuid_equal(&entry_at(node)->row.id, id))
            return entry_at(node);
    return NULL;
}

void entries_link(struct core *core)
{
    list_each (node, &core->images) {
        struct entry *im = entry_at(node);
        im->base = entry_is_derived(im) ? entry_of_id(core, &im->row.base) : NULL;
        im->pool = im->base ? im->base->own : im->own;
        im->prefetch_due = true;
    }
}

struct entry *entry_find(const struct core *core, const char *name)
{
    list_each (node, &core->images)
        if (!strcmp(entry_at(node)->row.name, name))
            return entry_at(node);
    return NULL;
}

static int unknown(const char *name, struct error *e)
{
    return error_set(e, ANSWER_NO_SUCH_IMAGE, "no image is called %.80s", name);
}

int entry_look_up(const struct core *core, const char *name, struct entry **out, struct error *e)
{
    *out = entry_find(core, name);
    return *out ? 0 : unknown(name, e);
}

int entry_need(const struct core *core, const char *name, struct entry **out, struct error *e)
{
    *out = entry_find(core, name);
    return *out && !entry_is_going(*out) ? 0 : unknown(name, e);
}

json_t *entry_disks(const struct entry *im)
{
    size_t i;
    json_t *v, *disks = json_object();
    bool ok = disks != NULL;
    json_array_foreach (json_object_get(im->facts.config, "disks"), i, v) {
        const char *vdev = json_string_value(json_object_get(v, "vdev"));
        const char *kind = json_string_value(json_object_get(v, "kind"));
        const char *path = json_string_value(json_object_get(v, "path"));
        json_int_t size = json_integer_value(json_object_get(v, "size_bytes"));
        if (vdev && kind)
            ok = ok && !json_object_set_new(disks, vdev,
                                            path ? json_sprintf("%s:%s", kind, path)
                                                 : json_sprintf("%s:%lld", kind, (long long)size));
    }
    if (!ok)
        json_decref(disks);
    return ok ? disks : NULL;
}

void entry_path(const struct entry *im, char buf[IMAGE_PATH_SIZE])
{
    format_fits(buf, IMAGE_PATH_SIZE, "%s/%s", im->core->images_dir, im->row.file);
}

bool entry_has_derived(const struct entry *im, char *text, size_t size)
{
    bool any = false;
    text[0] = '\0';
    list_each (node, &im->core->images) {
        const struct entry *d = entry_at(node);
        size_t used = strlen(text);
        if (d->base != im)
            continue;
        format_fits(text + used, size - used, "%s%s", any ? ", " : "", d->row.name);
        any = true;
    }
    const char *coming = any ? NULL : image_jobs_record_derived(im->core, im->row.name);
    if (coming)
        format_fits(text, size, "%s", coming);
    return any || coming;
}

/* ---- whether it can be used ---- */

void entry_move(struct entry *im, enum entry_state to)
{
    if (im->state == ENTRY_CHECKING)
        core_kick(im->core); /* the next image may be checked */
    if (to == ENTRY_MARKING)
        im->before = im->state == ENTRY_CHECKING ? ENTRY_UNVERIFIED : im->state;
    im->state = (enum entry_state)machine_step(&entry_machine, im->state, to, 0);
    im->row.removing = entry_is_going(im);
    entry_changed(im);
}

int entry_check(const struct entry *im, struct error *e)
{
    const struct failures *f = &im->checks, *c = &im->completions;
    if (im->state == ENTRY_DAMAGED)
        return error_set(e, ANSWER_IMAGE_BROKEN, "image %s: %s", im->row.name, im->damage);
    if (f->n >= BROKEN_AFTER)
        return error_set(
            e, failures_answer(f),
            "image %s: its file could not be checked %u times in a row, the last time: %s",
            im->row.name, f->n, f->text);
    if (c->n >= SHARED_BY && timer_armed(&c->pause))
        return error_set(e, failures_answer(c),
                         "image %s: %u slots in a row failed to become it, for one reason: %s; the "
                         "next try is in %" PRIu64 " ms",
                         im->row.name, c->n, c->text, failures_pause_ms(c));
    return 0;
}

bool entry_family_checked(const struct entry *im)
{
    struct error e;
    if (entry_is_unchecked(im))
        return false;
    list_each (node, &im->core->images) {
        const struct entry *d = entry_at(node);
        if (d->base == im && entry_is_unchecked(d) && !entry_check(d, &e))
            return false;
    }
    return true;
}

void entry_damaged(struct entry *im, const char *text)
{
    format_fits(im->damage, sizeof im->damage, "%s", text);
    entry_move(im, ENTRY_DAMAGED);
    log_error("image %s cannot be used: %s", im->row.name, text);
    core_kick(im->core); /* whoever waits for it is refused */
}

/* ---- what happens to it ---- */

void entry_completed(struct entry *im)
{
    if (im->completions.n)
        failures_reset(&im->completions);
}

/* The domids in them differ from slot to slot. */
void entry_completion_failed(struct entry *im, int answer, const char *text)
{
    struct failures *f = &im->completions;
    if (answer != ANSWER_IMAGE_REFUSED && answer != ANSWER_INTERNAL)
        return;
    if (f->n && !text_same_but_numbers(f->text, text))
        failures_reset(f);
    failures_add(f, answer, text, im->backoff_ms, im->backoff_max_ms);
    if (f->n < SHARED_BY)
        return;
    log_error("image %s: %u slots in a row failed to become it, for one reason: %s", im->row.name,
              f->n, text);
    core_kick(im->core); /* whoever waits for it is refused */
}

void entry_changed(struct entry *im)
{
    struct entry *whole = im->base ? im->base : im;
    whole->prefetch_due = true;
}

void entry_used(struct entry *im)
{
    im->used_us = core_now_us(im->core);
    if (im->base)
        entry_changed(im);
}

struct old_file *old_file_new(void)
{
    return calloc(1, sizeof(struct old_file));
}

void entry_replace(struct entry *im, const struct image_row *row, struct image_facts *facts,
                   struct old_file *old)
{
    old->id = im->row.id;
    entry_path(im, old->path);
    list_append(&im->old, &old->node);
    json_decref(im->facts.config);
    im->row = *row;
    im->facts = *facts;
    *facts = (struct image_facts){0};
    failures_reset(&im->checks);
    failures_reset(&im->completions);
    entry_move(im, ENTRY_SOUND); /* what was just written is sound */
    entries_link(im->core);
}

void old_file_discard(struct entry *im, struct old_file *old)
{
    struct world *w = im->core->world;
    w->ops->image_discard(w, old->path);
    list_remove(&old->node);
    free(old);
}

void entry_discard_old(struct entry *im)
{
    list_each (node, &im->old)
        old_file_discard(im, container_of(node, struct old_file, node));
}
