/* The method Release: see release_call.h. */
#include "pool/core/release_call.h"

#include "base/text.h"
#include "pool/core/lease_find.h"
#include "pool/core/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One call of Release and what it still waits for. */
struct release {
    struct pending pending;
    unsigned outstanding;
    int rc;
    char failure[DB_REASON_SIZE + 64];
    json_t *ended;
};

struct release_item {
    struct slot_watch watch;
    struct release *release;
    int64_t domid;
};

static void release_finish(struct release *rel)
{
    if (--rel->outstanding)
        return;
    if (rel->rc)
        pending_refuse(&rel->pending, rel->rc, rel->failure);
    else
        pending_reply(&rel->pending, json_pack("{s:O}", "released", rel->ended));
    json_decref(rel->ended);
    free(rel);
}

static void release_gone(struct slot_watch *w, int rc, const char *failure)
{
    struct release_item *item = container_of(w, struct release_item, watch);
    struct release *rel = item->release;
    if (rc && !rel->rc) {
        rel->rc = rc == -ETIMEDOUT ? ANSWER_TIMED_OUT : rc;
        format_fits(rel->failure, sizeof rel->failure,
                    "the lease has ended, but domain %" PRId64 " is not gone yet, it is tried "
                    "again: %.200s",
                    item->domid, failure);
    }
    free(item);
    release_finish(rel);
}

/* Without waiting: the caller is answered when the end is on record. */
static void release_recorded(void *owner, int rc, const struct error *e)
{
    struct release *rel = owner;
    (void)rc; /* the end of a lease is done even if it cannot be recorded: see rows.c */
    (void)e;
    release_finish(rel);
}

/* Watches the end of the lease's domain. False: no memory. */
static bool release_watch(struct release *rel, struct slot *s)
{
    struct release_item *item = calloc(1, sizeof *item);
    if (!item)
        return false;
    item->release = rel;
    item->domid = s->domid;
    slot_watch(s, &item->watch, release_gone);
    return true;
}

/* Ends one lease; false when there is no memory for it, and then it has not ended. */
static bool release_one(struct release *rel, struct lease *l, bool wait)
{
    struct slot *s = l->slot;
    json_t *ended =
        json_pack("{s:o, s:I, s:s, s:s}", "lease", show_id('l', l->label.id), "domid",
                  (json_int_t)s->domid, "name", l->label.name, "image", l->image->row.name);
    if (json_array_append_new(rel->ended, ended))
        return false;
    if (wait && !release_watch(rel, s)) {
        json_array_remove(rel->ended, json_array_size(rel->ended) - 1);
        return false;
    }
    rel->outstanding++;
    if (wait)
        lease_end(l, "released", NULL, NULL);
    else if (!lease_end(l, "released", release_recorded, rel))
        rel->outstanding--;
    return true;
}

/* Every name must be known and allowed before anything is ended. */
static int release_check(const struct core *core, uid_t uid, const json_t *names, struct error *e)
{
    size_t i;
    json_t *v;
    json_array_foreach ((json_t *)names, i, v) {
        struct lease *l;
        if (lease_need(core, json_string_value(v), uid, &l, e))
            return e->code;
    }
    return 0;
}

static bool release_all(struct release *rel, struct core *core, uid_t uid, bool wait)
{
    bool ok = true;
    list_each (node, &core->leases) {
        struct lease *l = lease_at(node);
        if (ok && l->state == LEASE_ACTIVE && lease_belongs_to(l, uid))
            ok = release_one(rel, l, wait);
    }
    return ok;
}

/* A name given twice finds nothing the second time. */
static bool release_listed(struct release *rel, struct core *core, const json_t *names, bool wait)
{
    size_t i;
    json_t *v;
    bool ok = true;
    json_array_foreach ((json_t *)names, i, v) {
        struct lease *l = lease_find(core, json_string_value(v));
        if (ok && l)
            ok = release_one(rel, l, wait);
    }
    return ok;
}

static struct release *release_new(void)
{
    struct release *rel = calloc(1, sizeof *rel);
    if (!rel)
        return NULL;
    rel->outstanding = 1; /* release_call */
    rel->ended = json_array();
    if (rel->ended)
        return rel;
    free(rel);
    return NULL;
}

const struct answered *release_call(struct core *core, struct call *call,
                                    const struct release_request *rq)
{
    struct error e;
    uid_t uid = call->conn->uid;
    if (core_running(core, &e))
        return call_refuse(call, e.code, e.text);
    if (!rq->all && !rq->leases)
        return call_invalid(call, "leases");
    if (!rq->all && release_check(core, uid, rq->leases, &e))
        return call_refuse(call, e.code, e.text);
    struct release *rel = release_new();
    if (!rel)
        return call_refuse(call, -ENOMEM, "out of memory");
    const struct answered *deferred = pending_begin(&rel->pending, call, NULL);
    bool ok = rq->all ? release_all(rel, core, uid, rq->wait)
                      : release_listed(rel, core, rq->leases, rq->wait);
    if (!ok && !rel->rc) {
        rel->rc = -ENOMEM;
        format_fits(rel->failure, sizeof rel->failure, "out of memory; some leases are not ended");
    }
    release_finish(rel);
    return deferred;
}
