/*
 * A new version of an image under its old name. Leases go on with what they have. Warm slots of the
 * base are turned in place: their helper writes the pages that differ between the two versions,
 * one slot after the other, within the limit for builds. When the versions share no lineage the
 * first attempt says so, and the slots are replaced instead, one for one.
 *
 * The old file stays until no slot is made of it and nobody is about to read it. A restart
 * finds it without a row and removes it (reconcile.c).
 */
#include "base/log.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"

#include <stdlib.h>
#include <string.h>

struct old_file {
    struct list node;
    uint8_t id[16];
    char path[400];
};

static struct old_file *old_at(struct list *node)
{
    return container_of(node, struct old_file, node);
}

void pool_old_free(struct pool *p)
{
    struct list *node;
    while ((node = list_pop(&p->old))) {
        struct old_file *old = old_at(node);
        p->core->world->ops->image_discard(p->core->world, old->path);
        free(old);
    }
}

int pool_replaceable(const struct pool *p, struct error *e)
{
    char derived[160];
    if (!pool_has_derived(p, derived, sizeof derived))
        return 0;
    return error_set(e, ANSWER_IMAGE_IN_USE,
                     "image %s: %s derived from it, and a delta is of no use over another base; "
                     "import the new base under another name, derive again, then remove these",
                     p->row.name, derived);
}

struct old_file *pool_old_new(void)
{
    return calloc(1, sizeof(struct old_file));
}

void pool_replace(struct pool *p, const struct image_row *row, struct image_facts *facts,
                  struct old_file *old)
{
    memcpy(old->id, p->row.id, sizeof old->id);
    pool_path(p, old->path, sizeof old->path);
    list_append(&p->old, &old->node);
    json_decref(p->facts.config);
    p->row = *row;
    p->facts = *facts;
    *facts = (struct image_facts){0};
    p->damage[0] = '\0';
    p->unverified = p->checking = false; /* what was just written is sound */
    p->failures = 0;
    p->last_error[0] = '\0';
    p->turn_refused = false;
    timer_stop(&p->backoff);
    list_each (node, &p->slots)
        list_remove(&container_of(node, struct slot, in_pool)->in_warm);
    pools_link(p->core);
    p->shrink |= p->base != NULL; /* none of its slots can become a delta */
    leases_rehome(p->core);
    log_info("image %s: replaced by a new version", p->row.name);
}

static bool slot_before_lease(const struct slot *s)
{
    return s->state == SLOT_BUILDING || s->state == SLOT_WARM || s->state == SLOT_COMPLETING;
}

static bool old_in_use(struct pool *p, const struct old_file *old)
{
    list_each (node, &p->slots) {
        const struct slot *s = container_of(node, struct slot, in_pool);
        if (slot_before_lease(s) && !memcmp(s->holds, old->id, sizeof old->id))
            return true;
    }
    list_each (node, &p->core->leases) {
        const struct lease *l = container_of(node, struct lease, in_core);
        if (l->image == p && l->state == LEASE_COMPLETING &&
            !memcmp(l->version, old->id, sizeof old->id))
            return true;
    }
    return image_jobs_read(p->core, old->path);
}

static void old_discard(struct pool *p)
{
    list_each (node, &p->old) {
        struct old_file *old = old_at(node);
        if (old_in_use(p, old))
            continue;
        p->core->world->ops->image_discard(p->core->world, old->path);
        list_remove(&old->node);
        free(old);
    }
}

static struct slot *warm_of_old(const struct pool *p)
{
    list_each (node, &p->slots) {
        struct slot *s = container_of(node, struct slot, in_pool);
        if (s->state == SLOT_WARM && !slot_is_current(s))
            return s;
    }
    return NULL;
}

static bool is_turning(const struct pool *p)
{
    list_each (node, &p->slots) {
        const struct slot *s = container_of(node, struct slot, in_pool);
        if (s->state == SLOT_BUILDING && s->turning)
            return true;
    }
    return false;
}

/* One that cannot be destroyed is not waited for. */
static bool old_is_leaving(const struct pool *p)
{
    list_each (node, &p->slots) {
        const struct slot *s = container_of(node, struct slot, in_pool);
        bool leaving = s->state == SLOT_RELEASING || s->state == SLOT_BROKEN;
        if (leaving && s->reap != REAP_PAUSE && (s->turning || !slot_is_current(s)))
            return true;
    }
    return false;
}

/* The next old slot goes when the one before is gone and what can be built in its place is. */
static bool may_replace(const struct pool *p)
{
    return !p->count[SLOT_BUILDING] && !pool_may_build(p) && !old_is_leaving(p);
}

void pool_replace_check(struct pool *p, bool may_turn)
{
    struct slot *s = warm_of_old(p);
    if (s && may_turn && !is_turning(p) && !p->row.removing && !p->damage[0] &&
        !timer_armed(&p->backoff)) {
        if (!p->turn_refused)
            slot_turn(s);
        else if (may_replace(p))
            slot_release(s, "of an older version of its image");
    }
    old_discard(p);
}
