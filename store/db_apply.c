/* Writing rows: see db.h. */
#include "base/clock.h"
#include "store/db_query.h"
#include "store/db_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- operations, in the order of enum db_op_kind ---- */

/* raised: what is known of this counter. */
static int counter_raise(struct db *db, const char *name, uint64_t *raised, uint64_t used,
                         struct error *e)
{
    if (used <= *raised)
        return 0;
    *raised = used;
    struct query q = query_begin(db, ST_COUNTER_RAISE);
    query_text(&q, name);
    query_int(&q, (int64_t)used);
    return query_run(&q, e);
}

static int op_image_put(struct db *db, const struct db_op *op, struct error *e)
{
    const struct image_row *r = &op->image;
    struct query q = query_begin(db, ST_IMAGE_PUT);
    query_text(&q, r->name);
    query_text(&q, r->file);
    query_uuid(&q, &r->id);
    if (uuid_is_none(&r->base))
        query_null(&q);
    else
        query_uuid(&q, &r->base);
    query_int(&q, r->created_ms);
    query_int(&q, r->removing);
    return query_run(&q, e);
}

static int op_image_delete(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_IMAGE_DELETE);
    query_text(&q, op->image.name);
    return query_run(&q, e);
}

static int op_discard_put(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_DISCARD_PUT);
    query_text(&q, op->discard.file);
    return query_run(&q, e);
}

static int op_discard_clear(struct db *db, const struct db_op *op, struct error *e)
{
    (void)op;
    return run(db, ST_DISCARD_CLEAR, e);
}

static int op_slot_put(struct db *db, const struct db_op *op, struct error *e)
{
    const struct slot_row *r = &op->slot;
    struct query q = query_begin(db, ST_SLOT_PUT);
    query_int(&q, (int64_t)r->id);
    query_uuid(&q, &r->uuid);
    if (r->image[0])
        query_text(&q, r->image);
    else
        query_null(&q);
    query_text(&q, r->state);
    query_text(&q, r->engine);
    if (r->domid == DB_NO_DOMID)
        query_null(&q);
    else
        query_int(&q, r->domid);
    query_text(&q, r->name);
    query_int(&q, r->since_ms);
    query_text(&q, r->reason);
    query_text(&q, db->boot_id);
    char macs[MACS_TEXT_SIZE];
    macs_format(&r->macs, macs);
    query_text(&q, macs);
    int rc = query_run(&q, e);
    return rc ? rc : counter_raise(db, "slot", &db->slot_raised, r->id, e);
}

static int op_slot_delete(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_SLOT_DELETE);
    query_int(&q, (int64_t)op->slot.id);
    return query_run(&q, e);
}

static int leases_forget(struct db *db, uint64_t from, uint64_t below, struct error *e)
{
    struct query q = query_begin(db, ST_LEASE_PRUNE);
    query_int(&q, (int64_t)from);
    query_int(&q, (int64_t)below);
    return query_run(&q, e);
}

/* A lease has ended. Those that live on are passed over once, and not at each end of another
 * one. */
static int history_prune(struct db *db, uint64_t ended, struct error *e)
{
    if (ended < db->pruned)
        return leases_forget(db, ended, ended + 1, e);
    if (ended <= DB_LEASE_HISTORY || ended - DB_LEASE_HISTORY <= db->pruned)
        return 0;
    uint64_t from = db->pruned;
    db->pruned = ended - DB_LEASE_HISTORY;
    return leases_forget(db, from, db->pruned, e);
}

static int op_lease_put(struct db *db, const struct db_op *op, struct error *e)
{
    const struct lease_row *r = &op->lease;
    struct query q = query_begin(db, ST_LEASE_PUT);
    query_int(&q, (int64_t)r->id);
    query_int_or_null(&q, (int64_t)r->slot);
    query_text(&q, r->image);
    query_int(&q, r->owner_uid);
    query_text(&q, r->name);
    query_int(&q, r->created_ms);
    query_int_or_null(&q, r->expires_ms);
    query_int(&q, r->hold);
    query_int(&q, r->paused);
    query_text_or_null(&q, r->meta);
    query_int_or_null(&q, r->ended_ms);
    query_text_or_null(&q, r->ended_ms ? r->end_reason : NULL);
    query_text_or_null(&q, r->trace);
    int rc = query_run(&q, e);
    if (!rc)
        rc = counter_raise(db, "lease", &db->lease_raised, r->id, e);
    return rc || !r->ended_ms ? rc : history_prune(db, r->id, e);
}

static int op_lease_find(struct db *db, const struct db_op *op, struct error *e)
{
    struct lease_lookup *f = op->lookup;
    struct query q = query_begin(db, f->id ? ST_LEASE_BY_ID : ST_LEASE_BY_NAME);
    (void)e;
    if (f->id) {
        query_int(&q, (int64_t)f->id);
    } else {
        query_text(&q, f->name);
        query_int(&q, f->owner_uid);
    }
    enum step step = query_step(&q);
    f->found = step == STEP_ROW;
    if (step == STEP_ERROR)
        f->rc = db_error(db->handle, &f->error, "find a lease");
    else if (f->found && !row_lease_past(q.s, &f->row))
        f->rc = error_set(&f->error, -EUCLEAN,
                          "database: the row of lease l%" PRIu64 " is malformed", f->row.id);
    query_end(&q);
    return 0;
}

static int op_setting_put(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_SETTING_PUT);
    query_text(&q, op->setting.image);
    query_text(&q, op->setting.key);
    query_text(&q, op->setting.value);
    return query_run(&q, e);
}

static int op_setting_delete(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_SETTING_DELETE);
    query_text(&q, op->setting.image);
    query_text(&q, op->setting.key);
    return query_run(&q, e);
}

static int op_live_clear(struct db *db, const struct db_op *op, struct error *e)
{
    (void)op;
    db->pruned = 0; /* any of them may end by this */
    struct query q = query_begin(db, ST_LIVE_LEASES);
    query_int(&q, clock_wall_ms());
    int rc = query_run(&q, e);
    return rc ? rc : run(db, ST_LIVE_SLOTS, e);
}

static int (*const op_table[])(struct db *db, const struct db_op *op, struct error *e) = {
    [DB_IMAGE_PUT] = op_image_put,     [DB_IMAGE_DELETE] = op_image_delete,
    [DB_DISCARD_PUT] = op_discard_put, [DB_DISCARD_CLEAR] = op_discard_clear,
    [DB_SLOT_PUT] = op_slot_put,       [DB_SLOT_DELETE] = op_slot_delete,
    [DB_LEASE_PUT] = op_lease_put,     [DB_LEASE_FIND] = op_lease_find,
    [DB_SETTING_PUT] = op_setting_put, [DB_SETTING_DELETE] = op_setting_delete,
    [DB_LIVE_CLEAR] = op_live_clear,
};

/* Slots and leases end with the host; everything else must survive it. */
static bool op_is_durable(const struct db_op *op)
{
    return op->kind == DB_IMAGE_PUT || op->kind == DB_IMAGE_DELETE || op->kind == DB_SETTING_PUT ||
           op->kind == DB_SETTING_DELETE;
}

/* Whether a commit is on the disk when it returns. It cannot be changed inside a transaction. */
static int sync_commits(struct db *db, bool on, struct error *e)
{
    if (db->syncs == on)
        return 0;
    const char *pragma = on ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    int rc = transaction_clear(db, e);
    if (!rc && sqlite3_exec(db->handle, pragma, NULL, NULL, NULL) != SQLITE_OK)
        rc = db_error(db->handle, e, pragma);
    if (!rc)
        db->syncs = on;
    return rc;
}

static int apply(struct db *db, const struct db_op *ops, size_t n, struct error *e)
{
    int rc = transaction_begin(db, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++)
        rc = op_table[ops[i].kind](db, &ops[i], e);
    return transaction_end(db, rc, e);
}

/* On a full disk the log may hold nothing but what can be moved into the file. */
static int apply_somehow(struct db *db, const struct db_op *ops, size_t n, struct error *e)
{
    struct error second;
    int left, rc = apply(db, ops, n, e);
    if (rc != -ENOSPC || log_empty(db, SQLITE_CHECKPOINT_PASSIVE, &left, &second) || left)
        return rc;
    return apply(db, ops, n, e);
}

int db_apply(struct db *db, const struct db_op *ops, size_t n, struct error *e)
{
    bool durable = false;
    for (size_t i = 0; i < n; i++)
        durable |= op_is_durable(&ops[i]);
    int rc = sync_commits(db, durable, e);
    return rc ? rc : apply_somehow(db, ops, n, e);
}

void db_op_dispose(struct db_op *op)
{
    if (op->kind == DB_LEASE_PUT) {
        free(op->lease.meta);
        free(op->lease.trace);
        op->lease.meta = op->lease.trace = NULL;
    }
}
