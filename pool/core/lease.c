/* Leases: see lease.h. The steps of a request stand in the order in which they run. */
#include "pool/core/lease.h"

#include "base/log.h"
#include "pool/core/api.h"
#include "pool/core/expect.h"
#include "pool/core/lease_trace.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ASIDE_MS                                                                                   \
    100 /* background work gives way to a request for so long; completing takes less               \
         */
#define TIME_MAX_MS (10ll * 365 * 86400 * 1000) /* as base/util.h parses durations */
#define META_KEYS_MAX 64
#define META_BYTES_MAX 16384

static bool state_in_flight(enum lease_state state)
{
    return state == LEASE_COMPLETING || state == LEASE_COMMITTING;
}

static void lease_move(struct lease *l, enum lease_state to)
{
    struct core *core = l->core;
    bool before = state_in_flight(l->state), after = state_in_flight(to);
    l->state = to;
    if (after && !before) {
        core->completing++;
        core->aside_until_us = core_now_us(core) + ASIDE_MS * 1000;
    } else if (before && !after) {
        core->completing--;
        core_kick(core);
    }
}

void lease_free(struct lease *l)
{
    if (state_in_flight(l->state))
        lease_move(l, LEASE_WAITING);
    timer_stop(&l->timer);
    list_remove(&l->in_core);
    list_remove(&l->in_pool);
    list_remove(&l->watch.node);
    if (l->slot)
        l->slot->lease = NULL;
    json_decref(l->meta);
    json_decref(l->stages);
    free(l->trace);
    free(l);
}

static struct lease *lease_new(struct pool *p)
{
    struct lease *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->core = p->core;
    l->image = p;
    l->pool = pool_of(p);
    l->state = LEASE_WAITING;
    list_init(&l->in_core);
    list_init(&l->in_pool);
    list_init(&l->watch.node);
    timer_init(&l->timer);
    list_append(&p->core->leases, &l->in_core);
    return l;
}

static struct lease *lease_at(struct list *node)
{
    return container_of(node, struct lease, in_core);
}

unsigned leases_of_image(const struct pool *image)
{
    unsigned n = 0;
    list_each (node, &image->core->leases)
        n += lease_at(node)->image == image;
    return n;
}

unsigned leases_of_pool(const struct pool *p)
{
    unsigned n = 0;
    list_each (node, &p->core->leases)
        n += lease_at(node)->image == p || lease_at(node)->pool == p;
    return n;
}

bool lease_named(const struct core *core, const char *name)
{
    list_each (node, &core->leases)
        if (!strcmp(lease_at(node)->name, name))
            return true;
    return false;
}

/* ---- the request ---- */

/* "l7" and "7" would be taken for a lease id and a domid. */
static bool name_ambiguous(const char *name)
{
    const char *digits = name[0] == 'l' ? name + 1 : name;
    return digits[0] && strspn(digits, "0123456789") == strlen(digits);
}

static int check_name(const struct core *core, const char *name, struct error *e)
{
    if (!name)
        return 0;
    if (!name_valid(name) || name_ambiguous(name))
        return error_set(e, ANSWER_BAD_VALUE,
                         "name \"%.80s\": 1 to 63 letters, digits, '.', '_' or '-', first a letter "
                         "or digit, and not like a lease id or domid",
                         name);
    if (lease_named(core, name) || core_domain_named(core, name))
        return error_set(e, ANSWER_NAME_IN_USE, "a domain named %s exists already", name);
    return 0;
}

static int check_meta(const json_t *meta, struct error *e)
{
    const char *key;
    json_t *value;
    size_t bytes = 0;
    json_object_foreach ((json_t *)meta, key, value)
        bytes += strlen(key) + json_string_length(value);
    if (json_object_size(meta) > META_KEYS_MAX || bytes > META_BYTES_MAX)
        return error_set(e, ANSWER_BAD_VALUE, "meta: at most %d keys and %d bytes", META_KEYS_MAX,
                         META_BYTES_MAX);
    return 0;
}

static int check_quota(const struct core *core, uid_t uid, struct error *e)
{
    uint64_t limit = config_number(core->config, KEY_LEASES_PER_USER), n = 0;
    if (!limit || uid == 0)
        return 0;
    list_each (node, &core->leases)
        n += lease_at(node)->owner_uid == uid;
    if (n < limit)
        return 0;
    return error_set(e, ANSWER_LIMIT_REACHED,
                     "uid %u has %" PRIu64 " leases, of %" PRIu64 " allowed", (unsigned)uid, n,
                     limit);
}

/* The file of the image, and if no slot is warm, whether any can be built. */
static int check_image(struct pool *image, struct error *e)
{
    struct pool *p = pool_of(image);
    int rc = 0;
    if (image->damage[0] || image != p)
        rc = pool_check(image, e);
    if (rc)
        return rc;
    return list_empty(&p->warm) ? pool_check(p, e) : 0;
}

/* A staircase of refusals; 0 and *image when the request is in order. */
static int request_check(struct core *core, const struct call *call, const struct lease_request *rq,
                         struct pool **image, struct error *e)
{
    int rc = core_ready(core, e);
    if (!rc && (rq->ttl_ms < 0 || rq->ttl_ms > TIME_MAX_MS || rq->wait_ms < 0 ||
                rq->wait_ms > TIME_MAX_MS))
        rc = error_set(e, ANSWER_BAD_VALUE, "ttl_ms and wait_ms must be between 0 and 10 years");
    *image = rc ? NULL : pool_find(core, rq->image);
    if (!rc && (!*image || (*image)->row.removing))
        rc = error_set(e, ANSWER_NO_SUCH_IMAGE, "no image is called %.80s", rq->image);
    if (!rc)
        rc = check_name(core, rq->name, e);
    if (!rc)
        rc = check_meta(rq->meta, e);
    if (!rc)
        rc = check_quota(core, call->conn->uid, e);
    return rc ? rc : check_image(*image, e);
}

static void lease_refuse(struct lease *l, int code, const char *text)
{
    struct call *call = l->call;
    l->core->figures.failures++;
    log_info("allocate %s for uid %u: refused, %s: %s", l->image->row.name, (unsigned)l->owner_uid,
             answer_name(code), text);
    lease_free(l);
    if (call)
        call_refuse(call, code, text);
}

static void wait_timed_out(struct timer *t)
{
    struct lease *l = container_of(t, struct lease, timer);
    struct error e;
    if (l->state != LEASE_WAITING)
        return; /* a slot is being completed for it: that has a timeout of its own */
    pool_refusal(l->pool, &e);
    if (l->tries)
        error_set(&e, ANSWER_ALLOCATE_FAILED, "%u slots failed, the last one: %s", l->tries,
                  l->last_failure);
    lease_refuse(l, e.code, e.text);
}

/* The client is gone before it was answered. */
static void request_cancelled(struct call *call)
{
    struct lease *l = call->owner;
    struct core *core = l->core;
    struct slot *s = l->slot;
    l->call = NULL;
    if (l->state == LEASE_COMMITTING)
        return; /* lease_committed ends it */
    log_info("allocate %s for uid %u: the client is gone", l->image->row.name,
             (unsigned)l->owner_uid);
    lease_free(l);
    if (s)
        slot_break(s, "its client is gone");
    else
        core_kick(core); /* one slot less is wanted */
}

static void lease_take(struct lease *l, struct slot *s);

static struct slot *pool_oldest_warm(const struct pool *p)
{
    return list_empty(&p->warm) ? NULL : container_of(p->warm.next, struct slot, in_warm);
}

/* Gives l a slot, or puts it in the queue; false when it can do neither. */
static bool lease_place(struct lease *l)
{
    struct pool *p = l->pool = pool_of(l->image); /* it may have got another base */
    bool first = l->tries || list_empty(&p->waiting);
    struct slot *s = first ? pool_oldest_warm(p) : NULL;
    if (s) {
        lease_take(l, s);
        return true;
    }
    l->cold = true;
    if (!timer_armed(&l->timer))
        return false;
    if (l->tries)
        list_prepend(&p->waiting, &l->in_pool);
    else
        list_append(&p->waiting, &l->in_pool);
    core_kick(l->core);
    return true;
}

const struct answered *lease_request(struct core *core, struct call *call,
                                     const struct lease_request *rq)
{
    struct pool *image;
    struct error e;
    int rc = request_check(core, call, rq, &image, &e);
    struct pool *p = rc ? NULL : pool_of(image);
    struct lease *l = rc ? NULL : lease_new(image);
    if (!rc && !l)
        rc = error_set(&e, -ENOMEM, "out of memory");
    if (rc) {
        core->figures.failures++;
        return call_refuse(call, rc, e.text);
    }
    l->owner_uid = call->conn->uid;
    l->named = rq->name != NULL;
    format_fits(l->name, sizeof l->name, "%s", rq->name ? rq->name : "");
    l->hold = rq->hold;
    l->paused = rq->paused;
    l->ttl_ms = rq->ttl_given ? (uint64_t)rq->ttl_ms : image->settings.ttl_ms;
    l->meta = json_incref((json_t *)rq->meta);
    l->received_us = call->received_us;
    if (rq->wait_ms)
        timer_start(&core->timers, &l->timer, (uint64_t)rq->wait_ms, wait_timed_out);
    if (!lease_place(l)) {
        p->misses++;
        core->figures.failures++;
        lease_free(l);
        core_kick(core);
        return call_refuse(call, pool_refusal(p, &e), e.text);
    }
    if (l->cold)
        p->misses++;
    else
        p->hits++;
    l->call = call;
    return call_defer(call, request_cancelled, l);
}

/* ---- waiting ---- */

void leases_serve(struct pool *p)
{
    struct slot *s;
    while (!list_empty(&p->waiting) && (s = pool_oldest_warm(p)))
        lease_take(container_of(list_pop(&p->waiting), struct lease, in_pool), s);
}

void leases_rehome(struct core *core)
{
    list_each (node, &core->leases) {
        struct lease *l = lease_at(node);
        if (l->state != LEASE_WAITING || l->pool == pool_of(l->image))
            continue;
        list_remove(&l->in_pool);
        l->pool = pool_of(l->image);
        list_append(&l->pool->waiting, &l->in_pool);
        leases_serve(l->pool);
    }
}

static struct lease *first_waiting(const struct pool *p)
{
    list_each (node, &p->core->leases) {
        struct lease *l = lease_at(node);
        if (l->state == LEASE_WAITING && (l->image == p || l->pool == p))
            return l;
    }
    return NULL;
}

void leases_refuse_waiting(struct pool *p, int answer, const char *text)
{
    struct lease *l;
    while ((l = first_waiting(p)))
        lease_refuse(l, answer, text);
}

/* ---- completing ---- */

/* <image>-<lease id>, with a number behind it while such a domain exists. */
static void lease_choose_name(struct lease *l)
{
    char name[DB_NAME_SIZE];
    for (unsigned i = 1; i < 1000; i++) {
        format_fits(name, sizeof name, i == 1 ? "%.36s-l%" PRIu64 : "%.36s-l%" PRIu64 "-%u",
                    l->image->row.name, l->id, i);
        if (!lease_named(l->core, name) && !core_domain_named(l->core, name))
            break;
    }
    memcpy(l->name, name, sizeof l->name);
}

static void lease_take(struct lease *l, struct slot *s)
{
    l->slot = s;
    s->lease = l;
    memcpy(l->version, l->image->row.id, sizeof l->version);
    if (!l->id)
        l->id = l->core->next_lease++;
    if (!l->name[0])
        lease_choose_name(l);
    l->picked_us = core_now_us(l->core);
    slot_complete(s);
    lease_probe_picked(l);
    pool_expect_used(l->image);
    lease_move(l, LEASE_COMPLETING);
}

void lease_slot_failed(struct lease *l, const char *why)
{
    char text[DB_REASON_SIZE + 64];
    lease_move(l, LEASE_WAITING);
    l->tries++;
    format_fits(l->last_failure, sizeof l->last_failure, "%s", why);
    if (l->tries <= l->pool->settings.retries && lease_place(l))
        return;
    format_fits(text, sizeof text, "%u slots failed, the last one: %s", l->tries, why);
    lease_refuse(l, ANSWER_ALLOCATE_FAILED, text);
}

void lease_refused_by_slot(struct lease *l, int answer, const char *why)
{
    struct pool *image = l->image;
    bool newest = !memcmp(l->version, image->row.id, sizeof l->version);
    if (answer != ANSWER_IMAGE_REFUSED || !pool_is_derived(image) || !newest) {
        lease_slot_failed(l, why);
        return;
    }
    lease_move(l, LEASE_WAITING);
    pool_damaged(image, why); /* refuses it, and all the others that wait for this image */
}

/* ---- committing ---- */

static void lease_committed(void *owner, int rc, const struct error *e);

void lease_completed(struct lease *l, int64_t delta_pages, uint64_t helper_start_us,
                     uint64_t helper_us, json_t *stages)
{
    struct core *core = l->core;
    l->completed_us = core_now_us(core);
    l->delta_pages = delta_pages;
    l->helper_start_us = helper_start_us;
    l->helper_us = helper_us;
    lease_probe_completed(l);
    l->stages = json_incref(stages);
    l->created_ms = core_wall_ms(core);
    l->expires_ms = l->ttl_ms ? l->created_ms + (int64_t)l->ttl_ms : 0;
    lease_move(l, LEASE_COMMITTING);
    struct rows *r = rows_new(core);
    slot_move(l->slot, SLOT_LEASED, r, NULL);
    rows_lease(r, l);
    if (!rows_commit(core, r, lease_committed, l)) {
        struct error e;
        error_set(&e, -ENOMEM, "out of memory");
        lease_committed(l, e.code, &e);
    }
}

static void sample_add(struct figures *f, uint64_t us)
{
    f->allocations++;
    f->last = f->n_samples ? (f->last + 1) % SAMPLES : 0;
    f->samples[f->last] = us;
    if (f->n_samples < SAMPLES)
        f->n_samples++;
}

static void lease_expired(struct timer *t)
{
    lease_end(container_of(t, struct lease, timer), "its time to live is over", NULL, NULL);
}

static void holder_closed(struct conn_watch *w)
{
    lease_end(container_of(w, struct lease, watch), "the client that held it is gone", NULL, NULL);
}

static void deadline_start(struct lease *l)
{
    int64_t left = l->expires_ms - core_wall_ms(l->core);
    timer_stop(&l->timer);
    if (l->expires_ms)
        timer_start(&l->core->timers, &l->timer, left > 0 ? (uint64_t)left : 0, lease_expired);
}

/* The reply leaves first; what it sets off (refill, the log) comes after. */
static void lease_activate(struct lease *l)
{
    struct core *core = l->core;
    struct call *call = l->call;
    struct conn *conn = call->conn;
    uint64_t id = l->id, now = core_now_us(core);
    l->replied_us = now;
    lease_probe_replied(l);
    l->trace_due = true;
    sample_add(&core->figures, now - l->received_us);
    if (l->hold) {
        l->watch.closed = holder_closed;
        conn_watch(conn, &l->watch);
    }
    deadline_start(l);
    json_t *reply = api_allocated(l, now);
    l->call = NULL;
    call_reply(call, reply);
    lease_move(l, LEASE_ACTIVE);
    slot_dismiss(l->slot);
    log_info("lease l%" PRIu64 " begins: %s, domain %" PRId64 " (%s), uid %u, %s, %" PRIu64 " us",
             id, l->image->row.name, l->slot->domid, l->name, (unsigned)l->owner_uid,
             l->cold ? "cold" : "warm", now - l->received_us);
    if (conn->broken && !l->hold)
        lease_end(l, "its client could not be told", NULL, NULL);
}

static void lease_committed(void *owner, int rc, const struct error *e)
{
    struct lease *l = owner;
    struct slot *s = l->slot;
    if (!rc && l->call) {
        lease_activate(l);
        return;
    }
    if (!rc) {
        lease_move(l, LEASE_ACTIVE);
        lease_end(l, "its client is gone", NULL, NULL);
        return;
    }
    char text[DB_REASON_SIZE];
    format_fits(text, sizeof text, "%s", e->text);
    slot_break(s, text);
    lease_refuse(l, rc, text);
}

/* ---- the end ---- */

bool lease_end(struct lease *l, const char *reason,
               void (*then)(void *owner, int rc, const struct error *e), void *owner)
{
    struct core *core = l->core;
    struct slot *s = l->slot;
    assert(l->state == LEASE_ACTIVE);
    log_info("lease l%" PRIu64 " ends: %s, domain %" PRId64 " (%s): %s", l->id, l->image->row.name,
             s->domid, l->name, reason);
    lease_trace_record(l);
    struct rows *r = rows_new(core);
    rows_lease_ended(r, l, reason);
    slot_move(s, SLOT_RELEASING, r, reason);
    lease_free(l);
    bool committing = rows_commit(core, r, then, owner);
    slot_reap(s); /* after the commit: it may write that the slot is gone */
    return committing;
}

struct lease *lease_adopt(struct slot *s, const struct lease_row *row)
{
    struct pool *image = pool_find(s->core, row->image);
    struct lease *l = lease_new(image ? image : s->pool);
    if (!l)
        return NULL;
    l->pool = s->pool;
    l->state = LEASE_ACTIVE;
    l->slot = s;
    s->lease = l;
    l->id = row->id;
    l->owner_uid = row->owner_uid;
    format_fits(l->name, sizeof l->name, "%s", row->name);
    l->hold = row->hold;
    l->paused = row->paused;
    l->created_ms = row->created_ms;
    l->expires_ms = row->expires_ms;
    l->meta = row->meta ? json_loads(row->meta, 0, NULL) : NULL;
    deadline_start(l);
    return l;
}

struct lease *lease_find(const struct core *core, const char *what)
{
    uint64_t number = 0;
    bool id = what[0] == 'l' && !number_parse(what + 1, 1, INT64_MAX, &number);
    bool domid = !id && !number_parse(what, 0, UINT32_MAX, &number);
    list_each (node, &core->leases) {
        struct lease *l = lease_at(node);
        if (l->state != LEASE_ACTIVE)
            continue;
        /* The domid of a saved domain is no more. */
        bool there = l->slot->state != SLOT_SAVED && l->slot->domid == (int64_t)number;
        if (id ? l->id == number : domid ? there : !strcmp(l->name, what))
            return l;
    }
    return NULL;
}

/* ---- release ---- */

/* One call of Release and what it still waits for. */
struct release {
    struct call *call; /* NULL: gone */
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
    if (rel->outstanding)
        return;
    struct call *call = rel->call;
    int rc = rel->rc;
    json_t *reply = rc ? NULL : json_pack("{s:O}", "released", rel->ended);
    char failure[sizeof rel->failure];
    memcpy(failure, rel->failure, sizeof failure);
    json_decref(rel->ended);
    free(rel);
    if (!call)
        json_decref(reply);
    else if (rc)
        call_refuse(call, rc, failure);
    else
        call_reply(call, reply);
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
    rel->outstanding--;
    release_finish(rel);
}

/* Without waiting: the caller is answered when the end is on record. */
static void release_recorded(void *owner, int rc, const struct error *e)
{
    struct release *rel = owner;
    (void)rc; /* the end of a lease is done even if it cannot be recorded: see rows.c */
    (void)e;
    rel->outstanding--;
    release_finish(rel);
}

static void release_cancelled(struct call *call)
{
    struct release *rel = call->owner;
    rel->call = NULL;
}

static bool may_release(const struct lease *l, uid_t uid)
{
    return uid == 0 || l->owner_uid == uid;
}

/* Ends one lease; false when there is no memory for it, and then it has not ended. */
static bool release_one(struct release *rel, struct lease *l, bool wait)
{
    struct slot *s = l->slot;
    struct release_item *item = wait ? calloc(1, sizeof *item) : NULL;
    json_t *ended =
        json_pack("{s:o, s:I, s:s, s:s}", "lease", json_sprintf("l%" PRIu64, l->id), "domid",
                  (json_int_t)s->domid, "name", l->name, "image", l->image->row.name);
    bool ok = !wait || item;
    if (!ok)
        json_decref(ended);
    if (!ok || json_array_append_new(rel->ended, ended)) {
        free(item);
        return false;
    }
    rel->outstanding++;
    if (!wait) {
        if (!lease_end(l, "released", release_recorded, rel))
            rel->outstanding--;
        return true;
    }
    item->release = rel;
    item->domid = s->domid;
    slot_watch(s, &item->watch, release_gone);
    lease_end(l, "released", NULL, NULL);
    return true;
}

/* Every name must be known and allowed before anything is ended. */
static int release_check(const struct core *core, uid_t uid, const json_t *names, struct error *e)
{
    size_t i;
    json_t *v;
    json_array_foreach ((json_t *)names, i, v) {
        const char *what = json_string_value(v);
        const struct lease *l = lease_find(core, what);
        if (!l)
            return error_set(e, ANSWER_NO_SUCH_LEASE,
                             "no lease, domain name or domid matches %.80s", what);
        if (!may_release(l, uid))
            return error_set(e, ANSWER_NOT_PERMITTED, "lease l%" PRIu64 " belongs to uid %u", l->id,
                             (unsigned)l->owner_uid);
    }
    return 0;
}

static bool release_all(struct release *rel, struct core *core, uid_t uid, bool wait)
{
    bool ok = true;
    list_each (node, &core->leases) {
        struct lease *l = lease_at(node);
        if (ok && l->state == LEASE_ACTIVE && may_release(l, uid))
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

const struct answered *lease_release(struct core *core, struct call *call,
                                     const struct release_request *rq)
{
    struct error e;
    uid_t uid = call->conn->uid;
    if (core->state == CORE_STOPPING)
        return call_refuse(call, ANSWER_STOPPING, "the daemon is shutting down");
    if (!rq->all && !rq->leases)
        return call_invalid(call, "leases");
    if (!rq->all && release_check(core, uid, rq->leases, &e))
        return call_refuse(call, e.code, e.text);
    struct release *rel = calloc(1, sizeof *rel);
    json_t *ended = json_array();
    if (!rel || !ended) {
        json_decref(ended);
        free(rel);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    rel->call = call;
    rel->ended = ended;
    rel->outstanding = 1; /* this function */
    const struct answered *deferred = call_defer(call, release_cancelled, rel);
    bool ok = rq->all ? release_all(rel, core, uid, rq->wait)
                      : release_listed(rel, core, rq->leases, rq->wait);
    if (!ok && !rel->rc) {
        rel->rc = -ENOMEM;
        format_fits(rel->failure, sizeof rel->failure, "out of memory; some leases are not ended");
    }
    rel->outstanding--;
    release_finish(rel);
    return deferred;
}
