/*
 * Rows: what the core knows, written down.
 *
 * Writes are committed by another thread in the order in which they are started, each in a
 * transaction. Most are sent off and forgotten: a row that lags is repaired at the next start,
 * since a restart destroys whatever is not leased. Two are waited for: the row of a slot before
 * anything is built (or a kill between would leave a domain that no row knows), and the rows of a
 * lease before its caller is answered.
 *
 * When a write fails the database counts as failing: leased domains run on, releases work, but no
 * lease is given and nothing is built. Every second all live rows are written again; when that
 * works, all is as if nothing had happened.
 */
#include "base/log.h"
#include "base/message.h"
#include "pool/core/lease_trace.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPAIR_MS 1000

struct rows {
    struct db_write write;
    struct core *core;
    void (*then)(void *owner, int rc, const struct error *e);
    void *owner;
    bool incomplete; /* no memory for a part of it: it must not be written */
    size_t size;
    struct db_op ops[];
};

static struct rows *rows_new_sized(struct core *core, size_t size)
{
    struct rows *r = malloc(sizeof *r + size * sizeof r->ops[0]);
    if (!r)
        return NULL;
    memset(r, 0, sizeof *r);
    r->core = core;
    r->size = size;
    r->write.ops = r->ops;
    list_init(&r->write.node);
    return r;
}

struct rows *rows_new(struct core *core)
{
    return rows_new_sized(core, ROWS_MAX);
}

static void rows_free(struct rows *r)
{
    for (size_t i = 0; i < r->write.n; i++)
        db_op_dispose(&r->ops[i]);
    free(r);
}

static struct db_op *rows_op(struct rows *r, enum db_op_kind kind)
{
    assert(r->write.n < r->size);
    struct db_op *op = &r->ops[r->write.n++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    return op;
}

/* ---- operations ---- */

void rows_slot(struct rows *r, const struct slot *s)
{
    if (!r)
        return;
    struct slot_row *row = &rows_op(r, DB_SLOT_PUT)->slot;
    row->id = s->id;
    memcpy(row->uuid, s->uuid, sizeof row->uuid);
    format_fits(row->image, sizeof row->image, "%s", s->pool ? s->pool->row.name : "");
    format_fits(row->state, sizeof row->state, "%s", slot_state_name(s->state));
    format_fits(row->engine, sizeof row->engine, "%s", s->engine);
    row->domid = s->domid;
    format_fits(row->name, sizeof row->name, "%s", s->name);
    row->since_ms = s->since_ms;
    format_fits(row->reason, sizeof row->reason, "%s", s->reason);
}

void rows_slot_gone(struct rows *r, const struct slot *s)
{
    if (r)
        rows_op(r, DB_SLOT_DELETE)->slot.id = s->id;
}

static void lease_row_fill(struct rows *r, struct lease_row *row, const struct lease *l)
{
    size_t len;
    row->id = l->id;
    row->slot = l->slot->id;
    format_fits(row->image, sizeof row->image, "%s", l->image->row.name);
    row->owner_uid = l->owner_uid;
    format_fits(row->name, sizeof row->name, "%s", l->name);
    row->created_ms = l->created_ms;
    row->expires_ms = l->expires_ms;
    row->hold = l->hold;
    row->paused = l->paused;
    row->meta = l->meta ? message_encode(l->meta, &len) : NULL;
    if (l->meta && !row->meta)
        r->incomplete = true;
    row->trace = l->trace ? strdup(l->trace) : NULL; /* without memory it stays as it was */
}

void rows_lease(struct rows *r, const struct lease *l)
{
    if (r)
        lease_row_fill(r, &rows_op(r, DB_LEASE_PUT)->lease, l);
}

void rows_lease_ended(struct rows *r, const struct lease *l, const char *reason)
{
    if (!r)
        return;
    struct lease_row *row = &rows_op(r, DB_LEASE_PUT)->lease;
    lease_row_fill(r, row, l);
    row->ended_ms = core_wall_ms(l->core);
    format_fits(row->end_reason, sizeof row->end_reason, "%s", reason);
}

static struct lease *lease_at(struct list *node)
{
    return container_of(node, struct lease, in_core);
}

void rows_traces(struct core *core)
{
    size_t due = 0;
    list_each (node, &core->leases)
        due += lease_at(node)->trace_due;
    struct rows *r = due ? rows_new_sized(core, due) : NULL;
    if (!r)
        return;
    list_each (node, &core->leases) {
        struct lease *l = lease_at(node);
        if (!l->trace_due)
            continue;
        lease_trace_record(l);
        rows_lease(r, l);
    }
    rows_commit(core, r, NULL, NULL);
}

void rows_lease_lookup(struct rows *r, struct lease_lookup *lookup)
{
    if (r)
        rows_op(r, DB_LEASE_FIND)->lookup = lookup;
}

void rows_lease_lost(struct core *core, const struct lease_row *lost)
{
    struct rows *r = rows_new(core);
    if (r) {
        struct lease_row *row = &rows_op(r, DB_LEASE_PUT)->lease;
        *row = *lost;
        row->slot = 0;
        row->meta = row->trace = NULL; /* the row that exists keeps its own */
        row->ended_ms = core_wall_ms(core);
        format_fits(row->end_reason, sizeof row->end_reason, "its slot's row was lost");
    }
    rows_commit(core, r, NULL, NULL);
}

void rows_image(struct rows *r, const struct image_row *image)
{
    if (r)
        rows_op(r, DB_IMAGE_PUT)->image = *image;
}

void rows_image_gone(struct rows *r, const struct image_row *image)
{
    if (r)
        rows_op(r, DB_IMAGE_DELETE)->image = *image;
}

void rows_setting(struct rows *r, const char *image, const char *key, const char *value)
{
    if (!r)
        return;
    struct db_op *op = rows_op(r, value[0] ? DB_SETTING_PUT : DB_SETTING_DELETE);
    format_fits(op->setting.image, sizeof op->setting.image, "%s", image);
    format_fits(op->setting.key, sizeof op->setting.key, "%s", key);
    format_fits(op->setting.value, sizeof op->setting.value, "%s", value);
}

/* ---- repair ---- */

static void repair_try(struct timer *t);

static void repair_later(struct core *core)
{
    if (!core->repairing && !timer_armed(&core->repair))
        timer_start(&core->timers, &core->repair, REPAIR_MS, repair_try);
}

static void db_failed(struct core *core, const struct error *e)
{
    if (!core->db_failing)
        log_error("%s; no new leases until it works again", e->text);
    core->db_failing = true;
    core->db_error = *e;
    repair_later(core);
}

static void repair_done(void *owner, int rc, const struct error *e)
{
    struct core *core = owner;
    (void)e;
    core->repairing = false;
    if (rc) {
        repair_later(core);
        return;
    }
    core->db_failing = false;
    log_info("the database works again");
    core_kick(core);
}

static bool row_live(const struct lease *l)
{
    return l->state == LEASE_ACTIVE;
}

static void repair_try(struct timer *t)
{
    struct core *core = container_of(t, struct core, repair);
    size_t size = 1;
    list_each (node, &core->slots)
        size++;
    list_each (node, &core->leases)
        size++;
    struct rows *r = rows_new_sized(core, size);
    if (r) {
        rows_op(r, DB_LIVE_CLEAR);
        list_each (node, &core->slots)
            rows_slot(r, container_of(node, struct slot, in_core));
        list_each (node, &core->leases)
            if (row_live(lease_at(node)))
                rows_lease(r, lease_at(node));
    }
    core->repairing = rows_commit(core, r, repair_done, core);
}

/* ---- committing ---- */

static void rows_written(struct db_write *w)
{
    struct rows *r = container_of(w, struct rows, write);
    if (w->rc)
        db_failed(r->core, &w->error);
    if (r->then)
        r->then(r->owner, w->rc, &w->error);
    rows_free(r);
}

bool rows_commit(struct core *core, struct rows *r,
                 void (*then)(void *owner, int rc, const struct error *e), void *owner)
{
    if (!r || r->incomplete) {
        struct error e;
        if (r)
            rows_free(r);
        error_set(&e, -ENOMEM, "database: out of memory for a row");
        db_failed(core, &e);
        return false;
    }
    r->then = then;
    r->owner = owner;
    r->write.done = rows_written;
    core->world->ops->write_start(core->world, &r->write);
    return true;
}
