/* Rows: see rows.h. */
#include "pool/core/rows.h"

#include "base/log.h"
#include "base/text.h"

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

struct rows *rows_new_sized(struct core *core, size_t size)
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

struct db_op *rows_add(struct rows *r, enum db_op_kind kind)
{
    if (!r)
        return NULL;
    assert(r->write.n < r->size);
    struct db_op *op = &r->ops[r->write.n++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    return op;
}

void rows_spoil(struct rows *r)
{
    if (r)
        r->incomplete = true;
}

void rows_image(struct rows *r, const struct image_row *image)
{
    struct db_op *op = rows_add(r, DB_IMAGE_PUT);
    if (op)
        op->image = *image;
}

void rows_image_gone(struct rows *r, const struct image_row *image)
{
    struct db_op *op = rows_add(r, DB_IMAGE_DELETE);
    if (op)
        op->image = *image;
}

void rows_discard(struct rows *r, const char *file)
{
    struct db_op *op = rows_add(r, DB_DISCARD_PUT);
    if (op)
        format_fits(op->discard.file, sizeof op->discard.file, "%s", file);
}

/* ---- repair ---- */

static void repair_later(struct core *core);
static void repair_done(void *owner, int rc, const struct error *e);

static void repair_try(struct timer *t)
{
    struct core *core = container_of(t, struct core, database.repair);
    core->database.state = DATABASE_REPAIRING;
    if (rows_commit(core, core->up->live_rows(core), repair_done, core))
        return;
    core->database.state = DATABASE_FAILING;
    repair_later(core);
}

static void repair_later(struct core *core)
{
    if (core->database.state == DATABASE_FAILING && !timer_armed(&core->database.repair))
        timer_start(&core->timers, &core->database.repair, REPAIR_MS, repair_try);
}

static void db_failed(struct core *core, const struct error *e)
{
    struct database *db = &core->database;
    if (db->state == DATABASE_WORKS) {
        log_error("%s; no new leases until it works again", e->text);
        db->state = DATABASE_FAILING;
    }
    db->error = *e;
    repair_later(core);
}

static void repair_done(void *owner, int rc, const struct error *e)
{
    struct core *core = owner;
    (void)e;
    core->database.state = rc ? DATABASE_FAILING : DATABASE_WORKS;
    if (rc) {
        repair_later(core);
        return;
    }
    log_info("the database works again");
    core_kick(core);
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
