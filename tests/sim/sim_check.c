/* What must hold after every event of a simulated run: see world_sim.h. */
#include "tests/sim/world_sim.h"

#include "base/page.h"
#include "pool/core/domains.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"
#include "pool/core/lost.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct slot *slot_with_uuid(struct sim *s, const struct uuid *uuid)
{
    list_each (node, &s->core.slots) {
        const struct slot *slot = slot_at(node);
        if (uuid_equal(&slot->uuid, uuid))
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
            MUST(slot_with_uuid(s, &d->uuid));
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
    bool leaving = slot_is_leaving(slot);
    /* On its way out something always goes on: the next step, or what it waits for. */
    MUST(leaving == (slot->reap != REAP_NONE));
    MUST(slot->reap != REAP_HELPER || slot->helper);
    MUST(slot->reap != REAP_ROW || slot->domain == DOMAIN_NOT_YET);
    MUST(slot->reap < REAP_DONE);
    MUST(slot->reap != REAP_PAUSE || timer_armed(&slot->timer));
    MUST(slot->state != SLOT_BUILDING || slot->domain == DOMAIN_NOT_YET ||
         timer_armed(&slot->timer));
    MUST(slot->state != SLOT_TURNING || timer_armed(&slot->timer));
    MUST(slot->state != SLOT_COMPLETING || timer_armed(&slot->timer));
}

/* Who has a key is found by it. */
static void check_slot_tables(struct sim *s, const struct slot *slot)
{
    const struct core *core = &s->core;
    const struct slot *at = slot_of_uuid(core, &slot->uuid);
    MUST(slot_of_id(core, slot->id) == slot);
    while (at && at != slot)
        at = slot_next_of_uuid(at);
    MUST(at == slot);
    MUST((slot->state != SLOT_LEASED && slot->state != SLOT_KEPT) ||
         slot_leased_as(core, (uint64_t)slot->domid) == slot);
}

static void check_slots(struct sim *s)
{
    unsigned faulty = 0;
    list_each (node, &s->core.slots) {
        const struct slot *slot = slot_at(node);
        check_slot(s, slot);
        check_slot_tables(s, slot);
        faulty += slot_is_leased(slot) && slot->fault[0];
        list_each (other, &s->core.slots) {
            const struct slot *o = slot_at(other);
            MUST(o == slot || (o->id != slot->id && !uuid_equal(&o->uuid, &slot->uuid)));
        }
    }
    MUST(faulty == s->core.faulty);
}

static void check_lease_tables(struct sim *s, const struct lease *l)
{
    const struct core *core = &s->core;
    const struct label *at = l->label.name[0] ? label_named(core, l->label.name) : &l->label;
    MUST(!l->label.id || label_of_id(core, l->label.id) == &l->label);
    while (at && at != &l->label)
        at = label_next_named(core, at);
    MUST(at == &l->label);
    MUST(list_empty(&l->in_traces) == !l->story.trace_due);
}

static unsigned leases_of_uid(struct sim *s, uid_t uid, bool waiting)
{
    unsigned n = 0;
    list_each (node, &s->core.leases)
        n += lease_at(node)->owner->uid == uid &&
             (!waiting || lease_at(node)->state == LEASE_WAITING);
    return n;
}

static void check_leases(struct sim *s)
{
    unsigned in_flight = 0, active = 0;
    list_each (node, &s->core.leases) {
        const struct lease *l = lease_at(node);
        in_flight += l->state == LEASE_COMPLETING || l->state == LEASE_COMMITTING;
        active += l->state == LEASE_ACTIVE;
        check_lease_tables(s, l);
        MUST(owner_leases(&s->core, l->owner->uid) == leases_of_uid(s, l->owner->uid, false));
        MUST(owner_waiting(&s->core, l->owner->uid) == leases_of_uid(s, l->owner->uid, true));
        MUST((l->slot != NULL) == (l->state != LEASE_WAITING));
        MUST(!l->slot || l->slot->lease == l);
        MUST(l->state == LEASE_WAITING || l->label.id);
        MUST(list_empty(&l->in_pool) == (l->state != LEASE_WAITING));
        MUST(l->state != LEASE_WAITING || timer_armed(&l->timer));
        MUST(l->state != LEASE_WAITING || l->pool == l->image->pool);
        MUST(!entry_is_going(l->image));
        MUST(l->state != LEASE_ACTIVE || !pending_waits(&l->pending));
        MUST(!l->story.trace_due || (l->state == LEASE_ACTIVE && !l->story.trace));
        MUST(!l->story.trace || !l->story.stages);
        MUST(!l->expires_ms || l->state != LEASE_ACTIVE || timer_armed(&l->timer));
        list_each (other, &s->core.leases) {
            const struct lease *o = lease_at(other);
            MUST(o == l || !l->label.name[0] || strcmp(o->label.name, l->label.name) || s->renamed);
            MUST(o == l || !l->label.id || o->label.id != l->label.id);
        }
    }
    MUST(in_flight == s->core.background.in_flight);
    MUST(active == s->core.active);
}

static void check_pool(struct sim *s, const struct pool *p)
{
    unsigned count[SLOT_STATE_COUNT] = {0}, total = 0, unleased = 0;
    list_each (node, &s->core.slots) {
        const struct slot *slot = slot_at(node);
        if (slot->set != &p->set)
            continue;
        count[slot->state]++;
        total++;
        MUST(list_empty(&slot->in_set) == slot_is_leased(slot));
    }
    list_each (node, &p->set.slots)
        unleased++;
    MUST(unleased + count[SLOT_LEASED] + count[SLOT_SAVED] + count[SLOT_KEPT] == total);
    MUST(!memcmp(count, p->set.count, sizeof count));
    MUST(total == p->set.total);
    /* Nobody waits beside a warm slot, unless its guest could not write. */
    MUST(list_empty(&p->waiting) || list_empty(&p->set.warm) || domains_disk_check(&s->core, NULL));
}

/* A check of the file comes to an end, or is tried again. */
static void check_verified(struct sim *s, const struct entry *im, bool checking)
{
    if (!entry_is_unchecked(im))
        return;
    MUST(checking || timer_armed(&im->checks.pause) || timer_armed(&s->core.background.kick) ||
         s->core.state == CORE_STOPPING);
    MUST(pool_building(im->own) + im->own->set.count[SLOT_WARM] == 0);
}

static unsigned leases_of(struct sim *s, const struct entry *im)
{
    unsigned n = 0;
    list_each (node, &s->core.leases)
        n += lease_at(node)->image == im;
    return n;
}

static void check_image(struct sim *s, const struct entry *im)
{
    char path[IMAGE_PATH_SIZE];
    bool damaged = im->state == ENTRY_DAMAGED;
    entry_path(im, path);
    MUST(damaged || !access(path, F_OK));
    MUST((im->base != NULL) == entry_is_derived(im) || damaged || entry_is_going(im));
    MUST(im->row.removing == entry_is_going(im));
    MUST(im->own->set.image == im);
    MUST(im->pool == (im->base ? im->base->own : im->own));
    MUST(!im->base || (!im->base->base && !entry_is_going(im->base)));
    MUST(!im->base || (list_empty(&im->own->waiting) && list_empty(&im->own->set.warm)));
    MUST(im->leases == leases_of(s, im));
}

static void check_images(struct sim *s)
{
    bool checking = false;
    list_each (node, &s->core.images)
        checking |= entry_at(node)->state == ENTRY_CHECKING;
    list_each (node, &s->core.images) {
        check_image(s, entry_at(node));
        check_verified(s, entry_at(node), checking);
    }
    list_each (node, &s->core.jobs) {
        const struct image_job *job = container_of(node, struct image_job, node);
        MUST(job->helper || job->state == JOB_RECORDING);
    }
}

void sim_check(struct sim *s)
{
    if (!s->started || s->unchecked)
        return;
    check_domains(s);
    check_slots(s);
    check_leases(s);
    list_each (node, &s->core.images)
        check_pool(s, pool_at(node));
    check_images(s);
    list_each (node, &s->clients) {
        const struct sim_client *c = container_of(node, struct sim_client, node);
        MUST(c->answered <= c->sent || c->hung_up);
    }
}

void sim_run(struct sim *s, uint64_t ms)
{
    sim_run_us(s, ms * 1000);
}

void sim_run_us(struct sim *s, uint64_t us)
{
    uint64_t until = s->now_us + us;
    bool before = sim_memory_spare();
    for (unsigned i = 0; sim_step(s, until); i++) {
        MUST(i < 2000000); /* else the core is busy with nothing */
        if (!s->dead)
            sim_check(s);
    }
    s->now_us = until;
    sim_memory_restore(before);
}

static bool rows_have_slot(const struct db_rows *rows, const struct slot *slot)
{
    for (size_t i = 0; i < rows->n_slots; i++)
        if (rows->slots[i].id == slot->id)
            return !strcmp(rows->slots[i].state, slot_state_name(slot->state)) &&
                   rows->slots[i].domid == slot->domid &&
                   uuid_equal(&rows->slots[i].uuid, &slot->uuid);
    return false;
}

static bool rows_have_lease(const struct db_rows *rows, const struct lease *l)
{
    for (size_t i = 0; i < rows->n_leases; i++)
        if (rows->leases[i].id == l->label.id)
            return rows->leases[i].slot == l->slot->id &&
                   !strcmp(rows->leases[i].name, l->label.name) &&
                   rows->leases[i].expires_ms == l->expires_ms;
    return false;
}

/* A trace that is kept in memory is in its row as well. */
static void check_trace(struct sim *s, const struct lease *l)
{
    struct lease_lookup lookup = {.id = l->label.id};
    const struct db_op op = {.kind = DB_LEASE_FIND, .lookup = &lookup};
    struct error e;
    MUST(!l->story.trace_due);
    MUST(!db_apply(s->db, &op, 1, &e) && !lookup.rc && lookup.found);
    MUST(!l->story.trace || (lookup.row.trace && !strcmp(l->story.trace, lookup.row.trace)));
    free(lookup.row.trace);
}

/* One file for each image, and no other. */
static void check_files(struct sim *s, const struct db_rows *rows)
{
    size_t n = 0;
    list_each (node, &s->core.images) {
        const struct entry *im = entry_at(node);
        n++;
        MUST(list_empty(&im->old));
        const struct image_row *found = NULL;
        for (size_t i = 0; i < rows->n_images; i++)
            if (!strcmp(rows->images[i].name, im->row.name))
                found = &rows->images[i];
        MUST(found && !strcmp(found->file, im->row.file) && uuid_equal(&found->id, &im->row.id) &&
             uuid_equal(&found->base, &im->row.base) && found->removing == im->row.removing);
    }
    MUST(n == rows->n_images);
    json_t *lost = lost_to_json(&s->core); /* of a daemon that was killed between file and row */
    n += json_array_size(lost);
    json_decref(lost);
    MUST(!list_empty(&s->core.jobs) || sim_image_files(s) == n);
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
static void check_prefetched(struct sim *s, const struct pool *p)
{
    char path[IMAGE_PATH_SIZE];
    size_t n = 0, found = 0;
    uint64_t bytes = 0;
    list_each (node, &s->core.images) {
        const struct entry *image = entry_at(node);
        if (image->base != p->set.image || image->state != ENTRY_SOUND)
            continue;
        entry_path(image, path);
        found += list_has(p->prefetched, path);
        bytes += image->facts.info.payload_pages * PAGE_BYTES;
        n++;
    }
    MUST(json_array_size(p->prefetched) == found);
    MUST(found == n || n > 16 || bytes > p->settings.expect_max);
}

/* The helpers of warm slots know. */
static void check_told(struct sim *s, const struct pool *p)
{
    list_each (node, &p->set.slots) {
        const struct slot *slot = container_of(node, struct slot, in_set);
        if (slot->state != SLOT_WARM)
            continue;
        const json_t *told = sim_helper_expects(slot->helper);
        MUST(json_array_size(told) == json_array_size(p->prefetched));
        for (size_t i = 0; i < json_array_size(told); i++) /* in an older order, maybe */
            MUST(list_has(p->prefetched, json_string_value(json_array_get(told, i))));
    }
}

void sim_check_quiet(struct sim *s)
{
    struct db_rows rows;
    struct error e;
    size_t n_slots = 0, n_leases = 0;
    MUST(s->core.database.state == DATABASE_WORKS && list_empty(&s->writes));
    if (db_load(s->db, &rows, &e))
        sim_violated(s, __FILE__, __LINE__, e.text);
    list_each (node, &s->core.slots) {
        n_slots++;
        MUST(rows_have_slot(&rows, slot_at(node)));
    }
    list_each (node, &s->core.leases) {
        n_leases++;
        MUST(rows_have_lease(&rows, lease_at(node)));
        check_trace(s, lease_at(node));
    }
    MUST(n_slots == rows.n_slots && n_leases == rows.n_leases);
    MUST(sim_domains(s) == n_slots);
    check_files(s, &rows);
    list_each (node, &s->core.images) {
        check_prefetched(s, pool_at(node));
        check_told(s, pool_at(node));
    }
    db_rows_dispose(&rows);
}
