/* Leases: see lease.h. The steps of a request stand in the order in which they run. */
#include "pool/core/lease.h"

#include "base/log.h"
#include "base/message.h"
#include "base/text.h"
#include "pool/core/domains.h"
#include "pool/core/end_wait.h"
#include "pool/core/rows.h"
#include "pool/core/show.h"
#include "pool/core/slot_mac.h"
#include "pool/core/slot_reap.h"
#include "pool/core/user_limits.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Background work gives way to a request for so long; completing takes less. */
#define ASIDE_MS 100
#define MEASURE_MS 1000 /* a measurement of the host takes less than 1 ms, or Xen does not answer */
#define TIME_MAX_MS (10ll * 365 * 86400 * 1000) /* as base/units.h parses durations */
#define META_KEYS_MAX 64
#define META_BYTES_MAX 16384

/* The diagram of lease.h. */
#define TO(sym) (1u << LEASE_##sym)
static const char *const names[] = {"waiting", "completing", "committing", "active", "ended"};
static const unsigned successors[] = {
    [LEASE_WAITING] = TO(COMPLETING) | TO(ENDED),
    [LEASE_COMPLETING] = TO(WAITING) | TO(COMMITTING) | TO(ENDED),
    [LEASE_COMMITTING] = TO(ACTIVE) | TO(ENDED),
    [LEASE_ACTIVE] = TO(ENDED),
    [LEASE_ENDED] = 0,
};
#undef TO
static const struct machine lease_machine = {"lease", names, successors, LEASE_STATE_COUNT};

static bool is_in_flight(enum lease_state state)
{
    return state == LEASE_COMPLETING || state == LEASE_COMMITTING;
}

static void lease_move(struct lease *l, enum lease_state to)
{
    struct core *core = l->core;
    bool before = is_in_flight(l->state), after = is_in_flight(to);
    core->active -= l->state == LEASE_ACTIVE;
    l->owner->waiting -= l->state == LEASE_WAITING;
    l->state = (enum lease_state)machine_step(&lease_machine, l->state, to, l->label.id);
    l->owner->waiting += l->state == LEASE_WAITING;
    core->active += l->state == LEASE_ACTIVE;
    if (after && !before) {
        core->background.in_flight++;
        core->background.aside_until_us = core_now_us(core) + ASIDE_MS * 1000;
    } else if (before && !after) {
        core->background.in_flight--;
        core_kick(core);
    }
}

struct slot *lease_let_go(struct lease *l)
{
    struct slot *s = l->slot;
    l->slot = NULL;
    if (s)
        s->lease = NULL;
    return s;
}

void lease_free(struct lease *l)
{
    lease_move(l, LEASE_ENDED);
    timer_stop(&l->timer);
    list_remove(&l->in_core);
    list_remove(&l->in_pool);
    list_remove(&l->in_traces);
    list_remove(&l->watch.node);
    label_dispose(&l->label, l->core);
    lease_let_go(l);
    l->image->leases--;
    owner_drop(l->core, l->owner);
    json_decref(l->meta);
    story_dispose(&l->story);
    free(l);
}

static struct lease *lease_new(struct entry *im, uid_t uid, enum lease_state state)
{
    struct lease *l = calloc(1, sizeof *l);
    struct owner *owner = l ? owner_take(im->core, uid) : NULL;
    if (!owner) {
        free(l);
        return NULL;
    }
    l->core = im->core;
    l->image = im;
    l->pool = im->pool;
    l->owner = owner;
    l->state = state;
    list_init(&l->in_core);
    list_init(&l->in_pool);
    list_init(&l->in_traces);
    list_init(&l->watch.node);
    list_init(&l->end_waits);
    label_init(&l->label);
    timer_init(&l->timer);
    list_append(&im->core->leases, &l->in_core);
    im->core->active += state == LEASE_ACTIVE;
    owner->waiting += state == LEASE_WAITING;
    im->leases++;
    return l;
}

unsigned leases_on_image(const struct entry *im)
{
    unsigned n = 0;
    list_each (node, &im->core->leases)
        n += lease_at(node)->image == im || lease_at(node)->pool == im->own;
    return n;
}

/* ---- the request ---- */

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

static int check_times(const struct core *core, uid_t uid, const struct lease_request *rq,
                       struct error *e)
{
    if (rq->ttl_ms < 0 || rq->ttl_ms > TIME_MAX_MS || rq->wait_ms < 0 || rq->wait_ms > TIME_MAX_MS)
        return error_set(e, ANSWER_BAD_VALUE, "ttl_ms and wait_ms must be between 0 and 10 years");
    int rc = rq->ttl_given ? user_limits_ttl(core->config, uid, (uint64_t)rq->ttl_ms, e) : 0;
    return rc ? rc : user_limits_wait(core->config, uid, (uint64_t)rq->wait_ms, e);
}

/* A slot is built for each request that waits. */
static int check_waiting(const struct pool *p, uid_t uid, const struct lease_request *rq,
                         struct error *e)
{
    if (uid == 0 || !rq->wait_ms || (list_empty(&p->waiting) && pool_oldest_warm(p)))
        return 0;
    const struct core *core = p->set.image->core;
    return user_limits_waiting(core->config, uid, owner_waiting(core, uid), e);
}

/* The image itself; and if no slot is warm, whether any can be built. */
static int check_image(const struct entry *im, struct error *e)
{
    if (entry_check(im, e))
        return e->code;
    return list_empty(&im->pool->set.warm) ? pool_hopeless(im->pool, e) : 0;
}

/* A staircase of refusals; 0 and *image when the request is in order. */
static int request_check(struct core *core, uid_t uid, const struct lease_request *rq,
                         struct entry **image, struct error *e)
{
    if (core_ready(core, e) || check_times(core, uid, rq, e) ||
        entry_need(core, rq->image, image, e) ||
        (rq->name && label_check_name(core, uid, rq->name, e)) || check_meta(rq->meta, e) ||
        user_limits_leases(core->config, uid, owner_leases(core, uid), e) ||
        check_image(*image, e) || slot_mac_may_choose(uid, rq->mac, e) ||
        slot_mac_check(core, pool_oldest_warm((*image)->pool), rq->mac, e) ||
        check_waiting((*image)->pool, uid, rq, e))
        return e->code;
    return 0;
}

/* A user can cause as many lines as there are requests. */
static bool may_say(const struct lease *l)
{
    return l->owner->uid == 0 || log_allowed(&l->core->user_lines, core_now_us(l->core));
}

static void lease_refuse(struct lease *l, int code, const char *text)
{
    struct call *call = pending_take(&l->pending);
    l->core->figures.failures++;
    if (may_say(l))
        log_info("allocate %s for uid %u: refused, %s: %s", l->image->row.name,
                 (unsigned)l->owner->uid, answer_name(code), text);
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
    unsigned failed = l->story.tries - l->story.unusable;
    if (failed)
        error_set(&e, ANSWER_ALLOCATE_FAILED, "%u slots failed, the last one: %s", failed,
                  l->story.last_failure);
    lease_refuse(l, e.code, e.text);
}

/* The client is gone before it was answered. */
static void client_gone(struct pending *p)
{
    struct lease *l = container_of(p, struct lease, pending);
    struct core *core = l->core;
    if (l->state == LEASE_COMMITTING)
        return; /* lease_committed ends it */
    if (may_say(l))
        log_info("allocate %s for uid %u: the client is gone", l->image->row.name,
                 (unsigned)l->owner->uid);
    struct slot *s = lease_let_go(l);
    lease_free(l);
    if (s)
        slot_break(s, "its client is gone");
    else
        core_kick(core); /* one slot less is wanted */
}

static void lease_take(struct lease *l, struct slot *s);

/* Gives l a slot, or puts it in the queue; false when it can do neither. */
static bool lease_place(struct lease *l)
{
    struct pool *p = l->pool = l->image->pool; /* it may have got another base */
    bool first = (l->story.tries || list_empty(&p->waiting)) && !domains_disk_check(l->core, NULL);
    struct slot *s = first ? pool_oldest_warm(p) : NULL;
    if (s) {
        lease_take(l, s);
        return true;
    }
    l->story.cold = true;
    if (!timer_armed(&l->timer))
        return false;
    if (l->story.tries)
        list_prepend(&p->waiting, &l->in_pool);
    else
        list_append(&p->waiting, &l->in_pool);
    core_kick(l->core);
    return true;
}

/* Of a request that is in order. NULL: no memory. */
static struct lease *lease_of_request(struct entry *im, const struct call *call,
                                      const struct lease_request *rq)
{
    struct lease *l = lease_new(im, call->conn->uid, LEASE_WAITING);
    if (!l)
        return NULL;
    label_set_name(&l->label, l->core, rq->name ? rq->name : "");
    l->hold = rq->hold;
    l->paused = rq->paused;
    l->ttl_ms = rq->ttl_given
                    ? (uint64_t)rq->ttl_ms
                    : user_limits_default_ttl(im->core->config, l->owner->uid, im->ttl_ms);
    l->meta = json_incref((json_t *)rq->meta);
    l->wants_mac = rq->mac != NULL;
    l->mac = rq->mac ? *rq->mac : (struct mac){{0}};
    l->story.received_us = call->received_us;
    return l;
}

static const struct answered *refuse_request(struct core *core, struct call *call,
                                             const struct error *e)
{
    core->figures.failures++;
    return call_refuse(call, e->code, e->text);
}

/* For one that would not wait and found no slot: if it is the host that lacks memory or disk space,
 * it waits for a measurement, and is not refused by an old one. */
static bool lease_ask(struct lease *l)
{
    struct core *core = l->core;
    if (!pool_lacks_memory(l->pool) && !domains_disk_check(core, NULL))
        return false;
    l->asks = true;
    timer_start(&core->timers, &l->timer, MEASURE_MS, wait_timed_out);
    domains_measure(core);
    return lease_place(l);
}

const struct answered *lease_request(struct core *core, struct call *call,
                                     const struct lease_request *rq)
{
    struct entry *im;
    struct error e;
    if (request_check(core, call->conn->uid, rq, &im, &e))
        return refuse_request(core, call, &e);
    struct lease *l = lease_of_request(im, call, rq);
    if (!l) {
        error_set(&e, -ENOMEM, "out of memory");
        return refuse_request(core, call, &e);
    }
    struct pool *p = l->pool;
    if (rq->wait_ms)
        timer_start(&core->timers, &l->timer, (uint64_t)rq->wait_ms, wait_timed_out);
    if (!lease_place(l) && !lease_ask(l)) {
        p->misses++;
        lease_free(l);
        core_kick(core);
        pool_refusal(p, &e);
        return refuse_request(core, call, &e);
    }
    if (l->story.cold)
        p->misses++;
    else
        p->hits++;
    return pending_begin(&l->pending, call, client_gone);
}

/* ---- waiting ---- */

/* NULL: its slot's. */
static const struct mac *wanted_mac(const struct lease *l)
{
    return l->wants_mac ? &l->mac : NULL;
}

static struct lease *first_waiting(const struct pool *p)
{
    return list_empty(&p->waiting) ? NULL : container_of(p->waiting.next, struct lease, in_pool);
}

void leases_serve(struct pool *p)
{
    struct lease *l;
    struct slot *s;
    struct error e;
    while ((l = first_waiting(p)) && (s = pool_oldest_warm(p)) &&
           !domains_disk_check(p->core, NULL)) {
        list_remove(&l->in_pool);
        if (entry_check(l->image, &e) || slot_mac_check(l->core, s, wanted_mac(l), &e))
            lease_refuse(l, e.code, e.text);
        else
            lease_take(l, s);
    }
}

void leases_measured(struct pool *p)
{
    list_each (node, &p->waiting) {
        struct lease *l = container_of(node, struct lease, in_pool);
        struct error e;
        if (!l->asks)
            continue;
        pool_refusal(p, &e);
        lease_refuse(l, e.code, e.text);
    }
}

void leases_refuse_hopeless(struct pool *p)
{
    list_each (node, &p->waiting) {
        struct lease *l = container_of(node, struct lease, in_pool);
        struct error e;
        if (check_image(l->image, &e))
            lease_refuse(l, e.code, e.text);
    }
}

void leases_rehome(struct core *core)
{
    list_each (node, &core->leases) {
        struct lease *l = lease_at(node);
        if (l->state != LEASE_WAITING || l->pool == l->image->pool)
            continue;
        list_remove(&l->in_pool);
        l->pool = l->image->pool;
        list_append(&l->pool->waiting, &l->in_pool);
        leases_serve(l->pool);
    }
}

/* ---- completing ---- */

static void lease_take(struct lease *l, struct slot *s)
{
    char path[IMAGE_PATH_SIZE];
    l->slot = s;
    s->lease = l;
    l->version = l->image->row.id;
    if (!l->label.id)
        label_set_id(&l->label, l->core, l->core->next_lease++);
    s->lease_id = l->label.id;
    if (!l->label.name[0])
        label_choose_name(&l->label, l->core, l->owner->uid, l->image->row.name);
    l->story.picked_us = core_now_us(l->core);
    entry_path(l->image, path);
    const struct slot_wish wish = {l->label.name, wanted_mac(l), l->paused};
    slot_mac_take(s, wish.mac);
    slot_complete(s, path, &wish);
    story_probe_picked(&l->story, s);
    entry_used(l->image);
    lease_move(l, LEASE_COMPLETING);
}

void lease_slot_failed(struct lease *l, const char *why)
{
    struct error e;
    char text[DB_REASON_SIZE + 64];
    struct story *st = &l->story;
    lease_let_go(l);
    lease_move(l, LEASE_WAITING);
    st->tries++;
    format_fits(st->last_failure, sizeof st->last_failure, "%s", why);
    if (entry_check(l->image, &e)) {
        lease_refuse(l, e.code, e.text);
        return;
    }
    unsigned failed = st->tries - st->unusable;
    if (failed <= l->pool->settings.retries && lease_place(l))
        return;
    format_fits(text, sizeof text, "%u slots failed, the last one: %s", failed, why);
    lease_refuse(l, ANSWER_ALLOCATE_FAILED, text);
}

/* Each such slot is gone, so this comes to an end: at the latest with the wait. */
void lease_slot_unusable(struct lease *l, int answer, const char *why)
{
    struct error e;
    struct story *st = &l->story;
    lease_move(l, LEASE_WAITING);
    st->tries++;
    st->unusable++;
    format_fits(st->last_failure, sizeof st->last_failure, "%s", why);
    if (lease_place(l))
        return;
    if (answer != ANSWER_IMAGE_BROKEN)
        answer = pool_refusal(l->pool, &e);
    else
        error_set(&e, answer, "image %s: %s", l->image->row.name, why);
    lease_refuse(l, answer, e.text);
}

/* A derived image that was refused, and is still the one asked for, cannot be used. */
void lease_slot_refused(struct lease *l, int answer, const char *why)
{
    struct entry *im = l->image;
    struct error e;
    if (answer == ANSWER_BAD_VALUE) { /* of the request; any other slot would say the same */
        lease_let_go(l);
        lease_refuse(l, answer, why);
        return;
    }
    bool newest = uuid_equal(&l->version, &im->row.id);
    if (answer != ANSWER_IMAGE_REFUSED || !entry_is_derived(im) || !newest) {
        lease_slot_failed(l, why);
        return;
    }
    if (im->state != ENTRY_DAMAGED)
        entry_damaged(im, why);
    entry_check(im, &e);
    lease_let_go(l);
    lease_refuse(l, e.code, e.text);
}

/* ---- committing ---- */

static void lease_committed(void *owner, int rc, const struct error *e);

void lease_completed(struct lease *l, const struct completion *c)
{
    struct core *core = l->core;
    entry_completed(l->image);
    story_completed(&l->story, c, core_now_us(core));
    story_probe_completed(&l->story, l->slot);
    l->created_ms = core_wall_ms(core);
    l->expires_ms = l->ttl_ms ? l->created_ms + (int64_t)l->ttl_ms : 0;
    l->slot->known_since_list = core->listing.started; /* which may have its former name */
    lease_move(l, LEASE_COMMITTING);
    struct rows *r = rows_new(core);
    slot_move(l->slot, SLOT_LEASED, r, NULL);
    lease_put(l, r);
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

/* What the caller of Allocate is answered. */
static json_t *allocated_to_json(const struct lease *l)
{
    const struct slot *s = l->slot;
    const struct story *st = &l->story;
    return json_pack("{s:o, s:s, s:I, s:o, s:s, s:o, s:o, s:s, s:I, s:I, s:o}", "lease",
                     show_id('l', l->label.id), "image", l->image->row.name, "domid",
                     (json_int_t)s->domid, "uuid", show_uuid(&s->uuid), "name", l->label.name,
                     "macs", macs_to_json(&s->macs), "slot", show_id('s', s->id), "from",
                     st->cold ? "cold" : "warm", "delta_pages", (json_int_t)st->delta_pages,
                     "total_us", (json_int_t)(st->replied_us - st->received_us), "stages",
                     story_stages(st, st->replied_us));
}

static void log_begin(const struct lease *l, uint64_t took_us)
{
    if (may_say(l))
        log_info("lease l%" PRIu64 " begins: %s, domain %" PRId64 " (%s), uid %u, %s, %" PRIu64
                 " us",
                 l->label.id, l->image->row.name, l->slot->domid, l->label.name,
                 (unsigned)l->owner->uid, l->story.cold ? "cold" : "warm", took_us);
}

/* The reply leaves first; what it sets off (refill, the log) comes after. */
static void lease_activate(struct lease *l)
{
    struct core *core = l->core;
    struct story *st = &l->story;
    struct conn *conn = l->pending.call->conn;
    st->replied_us = core_now_us(core);
    story_probe_replied(st, l->slot);
    st->trace_due = true;
    list_append(&core->traces, &l->in_traces);
    uint64_t took_us = st->replied_us - st->received_us;
    sample_add(&core->figures, took_us);
    if (l->hold) {
        l->watch.closed = holder_closed;
        conn_watch(conn, &l->watch);
    }
    deadline_start(l);
    pending_reply(&l->pending, allocated_to_json(l));
    lease_move(l, LEASE_ACTIVE);
    slot_dismiss(l->slot);
    log_begin(l, took_us);
    if (conn->broken && !l->hold)
        lease_end(l, "its client could not be told", NULL, NULL);
}

static void lease_committed(void *owner, int rc, const struct error *e)
{
    struct lease *l = owner;
    if (!rc && pending_waits(&l->pending)) {
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
    slot_break(lease_let_go(l), text);
    lease_refuse(l, rc, text);
}

/* ---- the end ---- */

static void lease_put_ended(const struct lease *l, struct rows *r, const char *reason);

bool lease_end(struct lease *l, const char *reason,
               void (*then)(void *owner, int rc, const struct error *e), void *owner)
{
    struct core *core = l->core;
    struct slot *s = l->slot;
    assert(l->state == LEASE_ACTIVE);
    if (may_say(l))
        log_info("lease l%" PRIu64 " ends: %s, domain %" PRId64 " (%s): %s", l->label.id,
                 l->image->row.name, s->domid, l->label.name, reason);
    story_record(&l->story, s);
    end_waits_answer(&l->end_waits, l->label.id, reason);
    struct rows *r = rows_new(core);
    lease_put_ended(l, r, reason);
    lease_let_go(l);
    slot_move(s, SLOT_RELEASING, r, reason);
    lease_free(l);
    bool committing = rows_commit(core, r, then, owner);
    slot_reap(s); /* after the commit: it may write that the slot is gone */
    return committing;
}

bool lease_take_name(struct lease *l, const char *given)
{
    struct slot *s = l->slot;
    char name[DB_NAME_SIZE];
    if (l->state != LEASE_ACTIVE || !given[0] || !strcmp(given, l->label.name))
        return false;
    format_fits(name, sizeof name, "%s", given);
    text_plain(name);
    if (!strcmp(name, l->label.name))
        return false;
    log_info("lease l%" PRIu64 ": domain %" PRId64 " (%s) is called %s now", l->label.id, s->domid,
             l->label.name, name);
    label_set_name(&l->label, l->core, name);
    memcpy(s->name, l->label.name, sizeof s->name);
    struct rows *r = rows_new(l->core);
    slot_put(s, r);
    lease_put(l, r);
    rows_commit(l->core, r, NULL, NULL);
    return true;
}

/* Requests that are being committed come to their end; all others are refused. A lease that a
 * connection holds ends with the daemon, which is the other end of that connection. */
void lease_stop(struct lease *l)
{
    if (l->state == LEASE_ACTIVE && l->hold) {
        lease_end(l, "the daemon that kept its connection is shutting down", NULL, NULL);
        return;
    }
    struct error e;
    core_running(l->core, &e);
    end_waits_refuse(&l->end_waits, e.code, e.text);
    if (l->state != LEASE_WAITING && l->state != LEASE_COMPLETING)
        return;
    struct slot *s = lease_let_go(l);
    struct call *call = pending_take(&l->pending);
    lease_free(l);
    if (s)
        slot_break(s, e.text);
    if (call)
        call_refuse(call, e.code, e.text);
}

struct lease *lease_adopt(struct slot *s, const struct lease_row *row)
{
    struct entry *im = entry_find(s->core, row->image);
    struct lease *l = lease_new(im ? im : s->set->image, row->owner_uid, LEASE_ACTIVE);
    if (!l)
        return NULL;
    l->pool = slot_pool(s);
    l->slot = s;
    s->lease = l;
    s->lease_id = row->id;
    label_set_id(&l->label, l->core, row->id);
    label_set_name(&l->label, l->core, row->name);
    l->hold = row->hold;
    l->paused = row->paused;
    l->created_ms = row->created_ms;
    l->expires_ms = row->expires_ms;
    l->meta = row->meta ? json_loads(row->meta, 0, NULL) : NULL;
    deadline_start(l);
    return l;
}

/* ---- rows ---- */

static void row_fill(const struct lease *l, struct rows *r, struct lease_row *row)
{
    size_t len;
    row->id = l->label.id;
    row->slot = l->slot->id;
    format_fits(row->image, sizeof row->image, "%s", l->image->row.name);
    row->owner_uid = l->owner->uid;
    format_fits(row->name, sizeof row->name, "%s", l->label.name);
    row->created_ms = l->created_ms;
    row->expires_ms = l->expires_ms;
    row->hold = l->hold;
    row->paused = l->paused;
    row->meta = l->meta ? message_encode(l->meta, &len) : NULL;
    if (l->meta && !row->meta)
        rows_spoil(r);
    row->trace = l->story.trace ? strdup(l->story.trace) : NULL; /* no memory: it stays as it was */
}

void lease_put(const struct lease *l, struct rows *r)
{
    struct db_op *op = rows_add(r, DB_LEASE_PUT);
    if (op)
        row_fill(l, r, &op->lease);
}

static void lease_put_ended(const struct lease *l, struct rows *r, const char *reason)
{
    struct db_op *op = rows_add(r, DB_LEASE_PUT);
    if (!op)
        return;
    row_fill(l, r, &op->lease);
    op->lease.ended_ms = core_wall_ms(l->core);
    format_fits(op->lease.end_reason, sizeof op->lease.end_reason, "%s", reason);
}

void lease_row_lost(struct core *core, const struct lease_row *lost)
{
    struct rows *r = rows_new(core);
    struct db_op *op = rows_add(r, DB_LEASE_PUT);
    if (op) {
        struct lease_row *row = &op->lease;
        *row = *lost;
        row->slot = 0;
        row->meta = row->trace = NULL; /* the row that exists keeps its own */
        row->ended_ms = core_wall_ms(core);
        format_fits(row->end_reason, sizeof row->end_reason, "its slot's row was lost");
    }
    rows_commit(core, r, NULL, NULL);
}

void leases_put_traces(struct core *core)
{
    size_t due = 0;
    struct list *node;
    list_each (at, &core->traces)
        due++;
    struct rows *r = due ? rows_new_sized(core, due) : NULL;
    if (!r)
        return;
    while ((node = list_pop(&core->traces))) {
        struct lease *l = container_of(node, struct lease, in_traces);
        story_record(&l->story, l->slot);
        lease_put(l, r);
    }
    rows_commit(core, r, NULL, NULL);
}

/* ---- showing ---- */

json_t *lease_to_json(const struct lease *l)
{
    const struct slot *s = l->slot;
    return json_pack("{s:o, s:s, s:o, s:I, s:o, s:s, s:o, s:I, s:I, s:o, s:b, s:b, s:o, s:o}",
                     "lease", show_id('l', l->label.id), "image", l->image->row.name, "slot",
                     show_id('s', s->id), "domid", (json_int_t)s->domid, "uuid",
                     show_uuid(&s->uuid), "name", l->label.name, "macs", macs_to_json(&s->macs),
                     "owner_uid", (json_int_t)l->owner->uid, "created_ms",
                     (json_int_t)l->created_ms, "expires_ms",
                     l->expires_ms ? json_integer(l->expires_ms) : json_null(), "hold",
                     (int)l->hold, "paused", (int)l->paused, "meta",
                     l->meta ? json_incref(l->meta) : json_object(), "fault", show_text(s->fault));
}
