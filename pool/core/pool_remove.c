/*
 * Removing an image: its row says so first, so that a restart goes on with it; then its slots
 * go, then its row, then its file, then the callers are answered.
 */
#include "base/log.h"
#include "pool/core/expect.h"
#include "pool/core/import.h"
#include "pool/core/lease.h"

#include <errno.h>
#include <stdlib.h>

#define REMOVE_WAIT_MS 60000 /* a caller is not kept longer; the removal itself goes on */

struct removal {
    struct list node;
    struct pool *pool;
    struct call *call;
    struct timer timer;
};

static struct call *removal_free(struct removal *m)
{
    struct call *call = m->call;
    timer_stop(&m->timer);
    list_remove(&m->node);
    free(m);
    return call;
}

static void removal_cancelled(struct call *call)
{
    removal_free(call->owner);
}

static void removal_timed_out(struct timer *t)
{
    struct removal *m = container_of(t, struct removal, timer);
    char text[160];
    format_fits(text, sizeof text,
                "image %s: %u of its domains are still being destroyed; it "
                "will be removed when they are gone",
                m->pool->row.name, m->pool->total);
    call_refuse(removal_free(m), ANSWER_TIMED_OUT, text);
}

void pool_removals_refuse(struct pool *p, int answer, const char *text)
{
    struct list *node;
    while ((node = p->removals.next) != &p->removals)
        call_refuse(removal_free(container_of(node, struct removal, node)), answer, text);
}

static void row_removed(void *owner, int rc, const struct error *e)
{
    struct pool *p = owner;
    struct core *core = p->core;
    p->row_pending = false;
    if (rc) {
        pool_removals_refuse(p, rc, e->text); /* tried again when the database works */
        return;
    }
    char path[400];
    pool_path(p, path, sizeof path);
    core->world->ops->image_discard(core->world, path);
    log_info("image %s removed", p->row.name);
    struct list calls, *node;
    list_init(&calls);
    while ((node = list_pop(&p->removals)))
        list_append(&calls, node);
    config_forget(core->config, p->row.name);
    pool_free(p);
    while ((node = calls.next) != &calls)
        call_reply(removal_free(container_of(node, struct removal, node)), json_object());
    core_kick(core);
}

void pool_remove_check(struct pool *p)
{
    if (!p->row.removing || p->total || p->row_pending || p->core->db_failing)
        return;
    struct rows *r = rows_new(p->core);
    rows_image_gone(r, &p->row);
    p->row_pending = rows_commit(p->core, r, row_removed, p);
}

static void mark_written(void *owner, int rc, const struct error *e)
{
    struct pool *p = owner;
    p->row_pending = false;
    if (rc) {
        p->row.removing = false;
        pool_expect_due(p);
        pool_removals_refuse(p, rc, e->text);
    }
    core_kick(p->core);
}

static bool removal_begin(struct pool *p)
{
    struct rows *r = rows_new(p->core);
    p->row.removing = true;
    pool_expect_due(p);
    rows_image(r, &p->row);
    p->row_pending = rows_commit(p->core, r, mark_written, p);
    if (!p->row_pending)
        p->row.removing = false;
    return p->row_pending;
}

/* ANSWER_IMAGE_IN_USE and by what, or 0. */
static int removable(const struct pool *p, struct error *e)
{
    unsigned leases = leases_of_pool(p);
    char derived[120];
    if (pool_has_derived(p, derived, sizeof derived))
        return error_set(e, ANSWER_IMAGE_IN_USE,
                         "image %s: %s derived from it; remove what is derived first", p->row.name,
                         derived);
    if (leases)
        return error_set(e, ANSWER_IMAGE_IN_USE,
                         "image %s: %u leases are alive or being made; release them first",
                         p->row.name, leases);
    if (import_commits(p->core, p->row.name))
        return error_set(e, ANSWER_IMAGE_IN_USE, "image %s: it is just being replaced",
                         p->row.name);
    return 0;
}

const struct answered *pool_remove(struct pool *p, struct call *call)
{
    struct error e;
    if (removable(p, &e))
        return call_refuse(call, e.code, e.text);
    struct removal *m = calloc(1, sizeof *m);
    if (!m || (!p->row.removing && !removal_begin(p))) {
        free(m);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    m->pool = p;
    m->call = call;
    timer_init(&m->timer);
    timer_start(&p->core->timers, &m->timer, REMOVE_WAIT_MS, removal_timed_out);
    list_append(&p->removals, &m->node);
    return call_defer(call, removal_cancelled, m);
}
