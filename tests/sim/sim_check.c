/* What must hold after every event of a simulated run: see world_sim.h. */
#include "tests/sim/world_sim.h"

#include "pool/core/image_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void sim_violated(const struct sim *s, const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: at %" PRIu64 " us: %s\n", file, line, s->now_us, what);
    abort();
}

static const struct slot *slot_of_uuid(struct sim *s, const uint8_t uuid[16])
{
    list_each (node, &s->core.slots) {
        const struct slot *slot = container_of(node, struct slot, in_core);
        if (!memcmp(slot->uuid, uuid, sizeof slot->uuid))
            return slot;
    }
    return NULL;
}

/* No domain of ours is without its slot. */
static void check_domains(struct sim *s)
{
    list_each (node, &s->domains) {
        const struct host_domain *d = &container_of(node, struct sim_domain, node)->d;
        if (!s->orphans && !strcmp(d->tag, s->core.tag))
            MUST(slot_of_uuid(s, d->uuid));
    }
}

static void check_slot(struct sim *s, const struct slot *slot)
{
    const struct lease *l = slot->lease;
    bool needs_lease = slot->state == SLOT_COMPLETING || slot_is_leased(slot);
    MUST(slot->state < SLOT_GONE);
    MUST((l != NULL) == needs_lease);
    MUST(!l || l->slot == slot);
    MUST(list_empty(&slot->in_warm) == (slot->state != SLOT_WARM || !slot_is_current(slot)));
    MUST(slot->state != SLOT_WARM || (slot->helper && slot->domid != DB_NO_DOMID));
    bool leaving = slot->state == SLOT_RELEASING || slot->state == SLOT_BROKEN;
    /* On its way out something always goes on: the next step, or what it waits for. */
    MUST(!leaving || slot->reap != REAP_NONE || slot->helper || slot->row_pending);
    MUST(leaving || slot->reap == REAP_NONE);
    MUST(slot->reap != REAP_PAUSE || timer_armed(&slot->timer));
    MUST(slot->state != SLOT_BUILDING || slot->row_pending || timer_armed(&slot->timer));
    MUST(slot->state != SLOT_COMPLETING || timer_armed(&slot->timer));
}

static void check_slots(struct sim *s)
{
    list_each (node, &s->core.slots) {
        const struct slot *slot = container_of(node, struct slot, in_core);
        check_slot(s, slot);
        list_each (other, &s->core.slots) {
            const struct slot *o = container_of(other, struct slot, in_core);
            MUST(o == slot || (o->id != slot->id && memcmp(o->uuid, slot->uuid, 16)));
        }
    }
}

static void check_leases(struct sim *s)
{
    unsigned in_flight = 0;
    list_each (node, &s->core.leases) {
        const struct lease *l = container_of(node, struct lease, in_core);
        in_flight += l->state == LEASE_COMPLETING || l->state == LEASE_COMMITTING;
        MUST((l->slot != NULL) == (l->state != LEASE_WAITING));
        MUST(!l->slot || l->slot->lease == l);
        MUST(l->state == LEASE_WAITING || l->id);
        MUST(list_empty(&l->in_pool) == (l->state != LEASE_WAITING));
        MUST(l->state != LEASE_WAITING || timer_armed(&l->timer));
        MUST(l->state != LEASE_WAITING || l->pool == pool_of(l->image));
        MUST(!l->image->row.removing);
        MUST(l->state != LEASE_ACTIVE || !l->call);
        MUST(!l->trace_due || (l->state == LEASE_ACTIVE && !l->trace));
        MUST(!l->trace || !l->stages);
        MUST(!l->expires_ms || l->state != LEASE_ACTIVE || timer_armed(&l->timer));
        list_each (other, &s->core.leases) {
            const struct lease *o = container_of(other, struct lease, in_core);
            MUST(o == l || !l->name[0] || strcmp(o->name, l->name));
            MUST(o == l || !l->id || o->id != l->id);
        }
    }
    MUST(in_flight == s->core.completing);
}

static void check_pool(struct sim *s, const struct pool *p)
{
    unsigned count[SLOT_STATE_COUNT] = {0}, total = 0;
    list_each (node, &p->slots) {
        count[container_of(node, struct slot, in_pool)->state]++;
        total++;
    }
    MUST(!memcmp(count, p->count, sizeof count));
    MUST(total == p->total);
    /* Nobody waits beside a warm slot. */
    MUST(list_empty(&p->waiting) || list_empty(&p->warm));
}

/* A check of the file comes to an end, or is tried again. */
static void check_verified(struct sim *s, const struct pool *p, bool checking)
{
    MUST(!p->checking || p->unverified);
    MUST(!p->unverified || !p->damage[0]);
    MUST(!p->unverified || checking || timer_armed(&p->backoff) || timer_armed(&s->core.kick) ||
         s->core.state == CORE_STOPPING);
    MUST(!p->unverified || !p->total || p->count[SLOT_BUILDING] + p->count[SLOT_WARM] == 0);
}

static void check_images(struct sim *s)
{
    bool checking = false;
    list_each (node, &s->core.pools)
        checking |= container_of(node, struct pool, in_core)->checking;
    list_each (node, &s->core.pools) {
        const struct pool *p = container_of(node, struct pool, in_core);
        char path[400];
        pool_path(p, path, sizeof path);
        MUST(p->damage[0] || !access(path, F_OK));
        MUST((p->base != NULL) == pool_is_derived(p) || p->damage[0]);
        MUST(!p->base || (!p->base->base && !p->base->row.removing));
        MUST(!p->base || (list_empty(&p->waiting) && list_empty(&p->warm)));
        check_verified(s, p, checking);
    }
    list_each (node, &s->core.image_jobs) {
        const struct image_job *job = container_of(node, struct image_job, node);
        MUST(job->helper || job->busy);
    }
}

void sim_check(struct sim *s)
{
    if (!s->started)
        return;
    check_domains(s);
    check_slots(s);
    check_leases(s);
    list_each (node, &s->core.pools)
        check_pool(s, container_of(node, struct pool, in_core));
    check_images(s);
    list_each (node, &s->clients) {
        const struct sim_client *c = container_of(node, struct sim_client, node);
        MUST(c->answered <= c->sent || c->hung_up);
    }
}

static bool rows_have_slot(const struct db_rows *rows, const struct slot *slot)
{
    for (size_t i = 0; i < rows->n_slots; i++)
        if (rows->slots[i].id == slot->id)
            return !strcmp(rows->slots[i].state, slot_state_name(slot->state)) &&
                   rows->slots[i].domid == slot->domid &&
                   !memcmp(rows->slots[i].uuid, slot->uuid, sizeof slot->uuid);
    return false;
}

static bool rows_have_lease(const struct db_rows *rows, const struct lease *l)
{
    for (size_t i = 0; i < rows->n_leases; i++)
        if (rows->leases[i].id == l->id)
            return rows->leases[i].slot == l->slot->id && !strcmp(rows->leases[i].name, l->name) &&
                   rows->leases[i].expires_ms == l->expires_ms;
    return false;
}

/* A trace that is kept in memory is in its row as well. */
static void check_trace(struct sim *s, const struct lease *l)
{
    struct lease_lookup lookup = {.id = l->id};
    const struct db_op op = {.kind = DB_LEASE_FIND, .lookup = &lookup};
    struct error e;
    MUST(!l->trace_due);
    MUST(!db_apply(s->db, &op, 1, &e) && !lookup.rc && lookup.found);
    MUST(!l->trace || (lookup.row.trace && !strcmp(l->trace, lookup.row.trace)));
    free(lookup.row.trace);
}

/* One file for each image, and no other. */
static void check_files(struct sim *s, const struct db_rows *rows)
{
    size_t n = 0;
    list_each (node, &s->core.pools) {
        const struct pool *p = container_of(node, struct pool, in_core);
        n++;
        MUST(list_empty(&p->old));
        const struct image_row *found = NULL;
        for (size_t i = 0; i < rows->n_images; i++)
            if (!strcmp(rows->images[i].name, p->row.name))
                found = &rows->images[i];
        MUST(found && !strcmp(found->file, p->row.file) && !memcmp(found->id, p->row.id, 16) &&
             !memcmp(found->base, p->row.base, 16) && found->removing == p->row.removing);
    }
    MUST(n == rows->n_images);
    MUST(!list_empty(&s->core.image_jobs) || sim_image_files(s) == n);
}

static bool list_has(const json_t *list, const char *path)
{
    size_t i;
    json_t *at;
    json_array_foreach (list, i, at) {
        if (!strcmp(json_string_value(at), path))
            return true;
    }
    return false;
}

/* All that the slots may become, where there is room for all, and nothing else. */
static void check_expected(struct sim *s, const struct pool *p)
{
    char path[400];
    size_t n = 0, found = 0;
    uint64_t bytes = 0;
    list_each (node, &s->core.pools) {
        const struct pool *image = container_of(node, struct pool, in_core);
        if (image->base != p || image->damage[0] || image->unverified || image->row.removing)
            continue;
        pool_path(image, path, sizeof path);
        found += list_has(p->expected, path);
        bytes += image->facts.info.payload_pages * PAGE_BYTES;
        n++;
    }
    MUST(json_array_size(p->expected) == found);
    MUST(found == n || n > 16 || bytes > p->settings.expect_max);
}

/* The helpers of warm slots know. */
static void check_told(struct sim *s, const struct pool *p)
{
    list_each (node, &p->slots) {
        const struct slot *slot = container_of(node, struct slot, in_pool);
        if (slot->state != SLOT_WARM)
            continue;
        const json_t *told = sim_helper_expects(slot->helper);
        MUST(json_array_size(told) == json_array_size(p->expected));
        for (size_t i = 0; i < json_array_size(told); i++) /* in an older order, maybe */
            MUST(list_has(p->expected, json_string_value(json_array_get(told, i))));
    }
}

void sim_check_quiet(struct sim *s)
{
    struct db_rows rows;
    struct error e;
    size_t n_slots = 0, n_leases = 0;
    MUST(!s->core.db_failing && list_empty(&s->writes));
    if (db_load(s->db, &rows, &e))
        sim_violated(s, __FILE__, __LINE__, e.text);
    list_each (node, &s->core.slots) {
        n_slots++;
        MUST(rows_have_slot(&rows, container_of(node, struct slot, in_core)));
    }
    list_each (node, &s->core.leases) {
        n_leases++;
        MUST(rows_have_lease(&rows, container_of(node, struct lease, in_core)));
        check_trace(s, container_of(node, struct lease, in_core));
    }
    MUST(n_slots == rows.n_slots && n_leases == rows.n_leases);
    MUST(sim_domains(s) == n_slots);
    check_files(s, &rows);
    list_each (node, &s->core.pools) {
        const struct pool *p = container_of(node, struct pool, in_core);
        check_expected(s, p);
        check_told(s, p);
    }
    db_rows_dispose(&rows);
}
