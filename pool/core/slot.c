/* Slots: see slot.h. The callbacks of a slot's life stand in the order in which they come. */
#include "pool/core/slot.h"

#include "base/log.h"
#include "base/util.h"
#include "pool/core/expect.h"
#include "pool/core/lease.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HELPER_EXIT_MS 5000        /* a helper that may leave has nothing left to do */
#define REAP_PAUSE_MS 1000ull      /* doubled with each failure ... */
#define REAP_PAUSE_MAX_MS 60000ull /* ... up to this */
#define DESTROY_AGAIN_MS 1000u /* destroy_timeout of every further try: others want the thread */

_Static_assert(POOL_STATES == SLOT_STATE_COUNT, "struct pool counts every state");

static const char *const state_names[] = {
#define SLOT_NAME(sym, name) [SLOT_##sym] = (name),
    SLOT_STATES(SLOT_NAME)
#undef SLOT_NAME
};

/* The diagram of slot.h. */
#define TO(sym) (1u << SLOT_##sym)
static const unsigned successors[] = {
    [SLOT_BUILDING] = TO(WARM) | TO(RELEASING) | TO(BROKEN),
    [SLOT_WARM] = TO(BUILDING) | TO(COMPLETING) | TO(RELEASING) | TO(BROKEN),
    [SLOT_COMPLETING] = TO(LEASED) | TO(SETTLING) | TO(WARM) | TO(BROKEN),
    [SLOT_SETTLING] = TO(READY) | TO(BROKEN),
    [SLOT_READY] = TO(LEASED) | TO(RELEASING) | TO(BROKEN),
    [SLOT_LEASED] = TO(SAVED) | TO(RELEASING) | TO(BROKEN),
    [SLOT_SAVED] = TO(LEASED) | TO(RELEASING) | TO(BROKEN),
    [SLOT_RELEASING] = TO(GONE) | TO(BROKEN),
    [SLOT_BROKEN] = TO(GONE),
    [SLOT_GONE] = 0,
};
#undef TO

const char *slot_state_name(enum slot_state state)
{
    return state_names[state];
}

enum slot_state slot_state_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(state_names); i++)
        if (!strcmp(state_names[i], name))
            return (enum slot_state)i;
    return SLOT_STATE_COUNT;
}

bool slot_is_leased(const struct slot *s)
{
    return s->state == SLOT_LEASED || s->state == SLOT_SAVED;
}

bool slot_move_legal(enum slot_state from, enum slot_state to)
{
    return successors[from] >> to & 1;
}

struct slot *slot_new(struct core *core, struct pool *pool, uint64_t id, enum slot_state state)
{
    struct slot *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->core = core;
    s->pool = pool;
    s->id = id;
    s->state = state;
    s->domid = DB_NO_DOMID;
    s->since_ms = core_wall_ms(core);
    list_init(&s->in_core);
    list_init(&s->in_pool);
    list_init(&s->in_warm);
    list_init(&s->in_reaps);
    list_init(&s->job.node);
    list_init(&s->watches);
    timer_init(&s->timer);
    list_append(&core->slots, &s->in_core);
    if (pool) {
        list_append(&pool->slots, &s->in_pool);
        pool->count[state]++;
        pool->total++;
    }
    return s;
}

static void watches_tell(struct slot *s, int rc, const char *failure)
{
    struct list *node;
    while ((node = list_pop(&s->watches))) {
        struct slot_watch *w = container_of(node, struct slot_watch, node);
        w->gone(w, rc, failure);
    }
}

void slot_free(struct slot *s)
{
    watches_tell(s, -ECANCELED, "the daemon stopped first");
    timer_stop(&s->timer);
    list_remove(&s->in_core);
    list_remove(&s->in_pool);
    list_remove(&s->in_warm);
    list_remove(&s->in_reaps);
    if (s->pool) {
        s->pool->count[s->state]--;
        s->pool->total--;
    }
    free(s);
}

static void slot_trace(const struct slot *s, enum slot_state from)
{
    log_debug("slot s%" PRIu64 " (%s): %s -> %s%s%s", s->id, s->pool ? s->pool->row.name : "?",
              slot_state_name(from), slot_state_name(s->state), s->reason[0] ? ": " : "",
              s->reason);
    if (s->core->on_move)
        s->core->on_move(s->core, s, (int)from, (int)s->state);
}

/* That a slot is being completed is written when it has come to its end, as leased or as broken:
 * a restart destroys it as it does a warm one, and a transaction of its own would take a processor
 * from the pages that are being written. */
static void slot_write(const struct slot *s, struct rows *r)
{
    if (s->state == SLOT_COMPLETING)
        return;
    struct rows *own = r ? r : rows_new(s->core);
    if (s->state == SLOT_GONE)
        rows_slot_gone(own, s);
    else
        rows_slot(own, s);
    if (!r)
        rows_commit(s->core, own, NULL, NULL);
}

void slot_move(struct slot *s, enum slot_state to, struct rows *r, const char *reason)
{
    enum slot_state from = s->state;
    if (!slot_move_legal(from, to)) { /* a fault in this program: a restart sorts it out */
        log_error("slot s%" PRIu64 ": illegal move %s -> %s", s->id, slot_state_name(from),
                  slot_state_name(to));
        abort();
    }
    s->state = to;
    s->since_ms = core_wall_ms(s->core);
    format_fits(s->reason, sizeof s->reason, "%s", reason ? reason : "");
    list_remove(&s->in_warm);
    if (s->pool) {
        s->pool->count[from]--;
        s->pool->count[to]++;
        if (to == SLOT_WARM && slot_is_current(s))
            list_append(&s->pool->warm, &s->in_warm);
    }
    slot_write(s, r);
    slot_trace(s, from);
}

bool slot_is_current(const struct slot *s)
{
    return s->pool && !memcmp(s->holds, s->pool->row.id, sizeof s->holds);
}

void slot_watch(struct slot *s, struct slot_watch *w,
                void (*gone)(struct slot_watch *w, int rc, const char *failure))
{
    w->gone = gone;
    list_append(&s->watches, &w->node);
}

/* ---- building ---- */

/* What a slot was doing has failed. Once it is leased or on its way out, that is no news. */
static void slot_fail(struct slot *s, int answer, const char *why)
{
    struct lease *l = s->lease;
    switch (s->state) {
    case SLOT_BUILDING:
    case SLOT_WARM:
        if (s->turning && answer == ANSWER_IMAGE_REFUSED)
            s->pool->turn_refused = true; /* no failure: it is built anew instead */
        else
            pool_build_failed(s->pool, answer, why);
        slot_break(s, why);
        break;
    case SLOT_COMPLETING:
        slot_break(s, why);
        if (l)
            lease_slot_failed(l, why);
        break;
    default:
        break;
    }
}

static void slot_timed_out(struct timer *t)
{
    struct slot *s = container_of(t, struct slot, timer);
    if (s->state == SLOT_LEASED) {
        log_warning("slot s%" PRIu64 ": its helper did not exit and is killed", s->id);
        s->core->world->ops->helper_kill(s->helper);
        return;
    }
    enum config_key key = s->state == SLOT_BUILDING ? KEY_BUILD_TIMEOUT : KEY_COMPLETE_TIMEOUT;
    char why[128];
    format_fits(why, sizeof why, "not %s within %s = %s",
                key == KEY_BUILD_TIMEOUT ? "built" : "completed", config_keys[key].name,
                config_text(s->core->config, key));
    slot_fail(s, ANSWER_TIMED_OUT, why);
}

static bool read_domid(const json_t *message, int64_t *domid)
{
    const json_t *v = json_object_get(message, "domid");
    *domid = json_integer_value(v);
    return json_is_integer(v) && *domid > 0 && *domid < 0x7ff0; /* DOMID_FIRST_RESERVED */
}

static bool helper_created(struct slot *s, const json_t *message)
{
    if (s->state != SLOT_BUILDING || s->domid != DB_NO_DOMID || !read_domid(message, &s->domid))
        return false;
    s->known_since_list = s->core->lists_started;
    struct rows *r = rows_new(s->core);
    rows_slot(r, s);
    rows_commit(s->core, r, NULL, NULL);
    return true;
}

static bool helper_warm(struct slot *s, const json_t *message)
{
    int64_t domid;
    const char *engine = json_string_value(json_object_get(message, "engine"));
    if (s->state != SLOT_BUILDING || !read_domid(message, &domid) ||
        (s->domid != DB_NO_DOMID && s->domid != domid))
        return false;
    if (s->domid == DB_NO_DOMID)
        s->known_since_list = s->core->lists_started;
    s->domid = domid;
    format_fits(s->engine, sizeof s->engine, "%s", engine ? engine : "");
    s->turning = false;
    timer_stop(&s->timer);
    slot_move(s, SLOT_WARM, NULL, NULL);
    pool_built(s->pool);
    leases_serve(s->pool);
    slot_expect(s);
    core_kick(s->core);
    core_measure(s->core);
    return true;
}

/* 0 for what is no number above that. */
static uint64_t number_in(const json_t *message, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(message, key));
    return n > 0 ? (uint64_t)n : 0;
}

static bool helper_completed(struct slot *s, const json_t *message)
{
    if (s->state != SLOT_COMPLETING)
        return false;
    const json_t *delta = json_object_get(message, "delta_pages");
    json_t *stages = json_object_get(message, "stages");
    timer_stop(&s->timer);
    lease_completed(s->lease, json_integer_value(delta), number_in(message, "start_us"),
                    number_in(message, "total_us"), json_is_array(stages) ? stages : NULL);
    return true;
}

/* What a helper says of its failure. Returns the answer. */
static int read_failure(const json_t *message, char why[DB_REASON_SIZE])
{
    const char *answer = json_string_value(json_object_get(message, "answer"));
    const char *text = json_string_value(json_object_get(message, "error"));
    const char *stage = json_string_value(json_object_get(message, "stage"));
    format_fits(why, DB_REASON_SIZE, "%s%s%s", stage ? stage : "", stage ? ": " : "",
                text ? text : "its helper failed and did not say why");
    return answer ? answer_by_name(answer) : ANSWER_INTERNAL;
}

static bool helper_failed(struct slot *s, const json_t *message)
{
    char why[DB_REASON_SIZE];
    int answer = read_failure(message, why);
    slot_fail(s, answer, why);
    return true;
}

static void choose_name(struct slot *s)
{
    format_fits(s->name, sizeof s->name, "%s-s%" PRIu64, s->core->tag, s->id);
}

static bool helper_refused(struct slot *s, const json_t *message)
{
    char why[DB_REASON_SIZE];
    struct lease *l = s->lease;
    if (s->state != SLOT_COMPLETING)
        return false;
    int answer = read_failure(message, why);
    timer_stop(&s->timer);
    s->lease = NULL;
    l->slot = NULL;
    choose_name(s); /* it still has that */
    slot_move(s, SLOT_WARM, NULL, NULL);
    lease_refused_by_slot(l, answer, why);
    leases_serve(s->pool);
    slot_expect(s); /* as of a new one: behind who waits for it, and if nobody does */
    return true;
}

static const struct {
    const char *name;
    bool (*take)(struct slot *s, const json_t *message);
} helper_messages[] = {
    {"created", helper_created}, {"warm", helper_warm},     {"completed", helper_completed},
    {"refused", helper_refused}, {"failed", helper_failed},
};

/* Once a slot is on its way out its helper is about to be killed and nobody listens. */
static void helper_message(struct helper *h, void *owner, const json_t *message)
{
    struct slot *s = owner;
    (void)h;
    if (s->state == SLOT_RELEASING || s->state == SLOT_BROKEN) {
        int64_t domid;
        if (s->domid == DB_NO_DOMID && read_domid(message, &domid))
            s->domid = domid; /* "created" crossed our decision: it saves a lookup */
        return;
    }
    const char *event = json_string_value(json_object_get(message, "event"));
    for (size_t i = 0; event && i < ARRAY_SIZE(helper_messages); i++)
        if (!strcmp(event, helper_messages[i].name) && helper_messages[i].take(s, message))
            return;
    char why[128];
    format_fits(why, sizeof why, "its helper sent %.40s while the slot was %s",
                event ? event : "no message", slot_state_name(s->state));
    slot_fail(s, ANSWER_INTERNAL, why);
}

static void helper_ended(struct helper *h, void *owner, const char *how)
{
    struct slot *s = owner;
    char why[160];
    (void)h;
    s->helper = NULL;
    format_fits(why, sizeof why, "its helper %s", how);
    if (s->state == SLOT_RELEASING || s->state == SLOT_BROKEN)
        slot_reap(s);
    else if (s->state == SLOT_LEASED)
        timer_stop(&s->timer);
    else
        slot_fail(s, ANSWER_INTERNAL, why);
}

static const struct helper_events slot_helper_events = {helper_message, helper_ended};

static json_t *build_message(struct slot *s)
{
    char id[24], uuid[UUID_TEXT_SIZE], path[400];
    format_fits(id, sizeof id, "s%" PRIu64, s->id);
    uuid_format(s->uuid, uuid);
    pool_path(s->pool, path, sizeof path);
    uint64_t reserve_kib = config_number(s->core->config, KEY_MEMORY_RESERVE) / 1024;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "op", "build", "slot", id,
                     "uuid", uuid, "name", s->name, "image", path, "engine",
                     s->pool->settings.engine, "tag", s->core->tag, "cow_dir", s->core->cow_dir,
                     "memory_reserve_kib", (json_int_t)reserve_kib);
}

/* The row is committed: whatever is built now will be found again. */
static void build_recorded(void *owner, int rc, const struct error *e)
{
    struct slot *s = owner;
    struct world *w = s->core->world;
    struct error why;
    s->row_pending = false;
    if (s->state != SLOT_BUILDING) {
        slot_reap(s);
        return;
    }
    if (rc) { /* not the image's fault, and nothing has been made */
        slot_break(s, e->text);
        return;
    }
    if (w->ops->helper_start(w, HELPER_SLOT, &slot_helper_events, s, &s->helper, &why)) {
        slot_fail(s, ANSWER_INTERNAL, why.text);
        return;
    }
    s->may_exist = true;
    memcpy(s->holds, s->pool->row.id, sizeof s->holds); /* replaced meanwhile? */
    json_t *message = build_message(s);
    if (message)
        w->ops->helper_send(s->helper, message);
    else
        slot_fail(s, ANSWER_INTERNAL, "out of memory");
    json_decref(message);
    if (s->state == SLOT_BUILDING)
        timer_start(&s->core->timers, &s->timer, config_number(s->core->config, KEY_BUILD_TIMEOUT),
                    slot_timed_out);
}

bool slot_build(struct pool *p)
{
    struct core *core = p->core;
    struct rows *r = rows_new(core);
    struct slot *s = slot_new(core, p, core->next_slot, SLOT_BUILDING);
    if (!r || !s) {
        rows_commit(core, r, NULL, NULL); /* NULL: noted; empty: harmless */
        if (s)
            slot_free(s);
        return false;
    }
    core->next_slot++;
    uuid_random(s->uuid);
    memcpy(s->holds, p->row.id, sizeof s->holds);
    choose_name(s);
    rows_slot(r, s);
    s->row_pending = rows_commit(core, r, build_recorded, s);
    if (core->on_move)
        core->on_move(core, s, SLOT_BUILDING, SLOT_BUILDING);
    return true;
}

void slot_turn(struct slot *s)
{
    char path[400];
    pool_path(s->pool, path, sizeof path);
    json_t *message = json_pack("{s:s, s:s}", "op", "turn", "image", path);
    memcpy(s->holds, s->pool->row.id, sizeof s->holds);
    s->turning = true;
    slot_move(s, SLOT_BUILDING, NULL, "turned into the image's new version");
    timer_start(&s->core->timers, &s->timer, config_number(s->core->config, KEY_BUILD_TIMEOUT),
                slot_timed_out);
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    else
        slot_fail(s, ANSWER_INTERNAL, "out of memory");
    json_decref(message);
}

/* ---- completing ---- */

void slot_complete(struct slot *s)
{
    char path[400];
    pool_path(s->lease->image, path, sizeof path);
    json_t *message = json_pack("{s:s, s:s, s:s, s:b}", "op", "complete", "image", path, "name",
                                s->lease->name, "paused", (int)s->lease->paused);
    uint64_t timeout_ms = message ? config_number(s->core->config, KEY_COMPLETE_TIMEOUT) : 0;
    if (message)
        s->core->world->ops->helper_send(s->helper, message); /* first: the caller waits for this */
    json_decref(message);
    format_fits(s->name, sizeof s->name, "%s", s->lease->name);
    slot_move(s, SLOT_COMPLETING, NULL, NULL);
    timer_start(&s->core->timers, &s->timer, timeout_ms, slot_timed_out);
}

void slot_dismiss(struct slot *s)
{
    if (!s->helper)
        return;
    json_t *message = json_pack("{s:s}", "op", "leave");
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    json_decref(message);
    timer_start(&s->core->timers, &s->timer, HELPER_EXIT_MS, slot_timed_out);
}

/* ---- saved and restored by xl ---- */

bool slot_has_domain(const struct slot *s, const struct host_domain *d)
{
    if (memcmp(d->uuid, s->uuid, sizeof d->uuid) != 0)
        return false;
    return s->domid == DB_NO_DOMID || slot_is_leased(s) || s->domid == (int64_t)d->domid;
}

const struct host_domain *slot_find_domain(const struct slot *s, const struct host_domain *list,
                                           size_t n)
{
    const struct host_domain *found = NULL;
    for (size_t i = 0; i < n; i++)
        if (slot_has_domain(s, &list[i]) && (!found || list[i].state != HOST_DOMAIN_DYING))
            found = &list[i];
    return found;
}

void slot_restored(struct slot *s, const struct host_domain *d)
{
    log_info("slot s%" PRIu64 ": its saved domain is back as domain %u", s->id, d->domid);
    s->domid = d->domid;
    s->suspended = true; /* until it has run: see lease_end_reason */
    if (s->state == SLOT_SAVED) {
        slot_move(s, SLOT_LEASED, NULL, NULL);
        return;
    }
    struct rows *r = rows_new(s->core);
    rows_slot(r, s);
    rows_commit(s->core, r, NULL, NULL);
}

/* ---- the end ---- */

static void slot_gone(struct slot *s)
{
    struct core *core = s->core;
    bool first = s->first_reap;
    /* Not one that failed: its own lack of memory must not end the backoff for it. */
    bool freed = (s->state == SLOT_RELEASING || s->released) && s->domid != DB_NO_DOMID;
    slot_move(s, SLOT_GONE, NULL, NULL);
    core_domain_gone(core, s->uuid);
    watches_tell(s, 0, NULL);
    if (freed)
        pool_memory_freed(core);
    slot_free(s);
    if (first)
        core_leftover_done(core);
    core_kick(core);
    core_measure(core);
}

static void reap_again(struct timer *t)
{
    struct slot *s = container_of(t, struct slot, timer);
    s->reap = REAP_NONE;
    slot_reap(s);
}

static void destroy_failed(struct slot *s, int rc, const char *text)
{
    uint64_t pause = s->reap_tries < 6 ? REAP_PAUSE_MS << s->reap_tries : REAP_PAUSE_MAX_MS;
    if (!s->reap_tries++)
        log_warning("slot s%" PRIu64 ": domain %" PRId64 " is not gone, trying on: %s", s->id,
                    s->domid, text);
    if (s->state == SLOT_RELEASING) {
        s->released = true;
        slot_move(s, SLOT_BROKEN, NULL, text);
    }
    s->reap = REAP_PAUSE;
    timer_start(&s->core->timers, &s->timer, pause, reap_again);
    watches_tell(s, rc, text);
    if (s->first_reap) {
        s->first_reap = false;
        core_leftover_done(s->core);
    }
}

static void destroy_done(struct host_job *job)
{
    struct slot *s = container_of(job, struct slot, job);
    if (job->rc)
        destroy_failed(s, job->rc, job->error.text);
    else
        slot_gone(s);
}

static void destroy_start(struct slot *s)
{
    s->reap = REAP_DESTROY;
    s->job.kind = HOST_JOB_DESTROY;
    s->job.done = destroy_done;
    s->job.domid = (uint32_t)s->domid;
    memcpy(s->job.uuid, s->uuid, sizeof s->job.uuid);
    s->job.timeout_ms = (unsigned)config_number(s->core->config, KEY_DESTROY_TIMEOUT);
    if (s->reap_tries && s->job.timeout_ms > DESTROY_AGAIN_MS)
        s->job.timeout_ms = DESTROY_AGAIN_MS;
    s->core->world->ops->host_start(s->core->world, &s->job);
}

void slot_looked_up(struct slot *s, const struct host_domain *domain)
{
    if (!domain) {
        slot_gone(s);
        return;
    }
    s->domid = domain->domid;
    destroy_start(s);
}

void slots_reap_queued(struct core *core)
{
    struct list *node;
    while ((node = list_pop(&core->reaps))) {
        struct slot *s = container_of(node, struct slot, in_reaps);
        if (s->domid != DB_NO_DOMID) {
            destroy_start(s);
            continue;
        }
        s->reap = REAP_LOOKUP;
        s->known_since_list = core->lists_started;
        core_look(core);
    }
}

void slot_reap(struct slot *s)
{
    assert(s->state == SLOT_RELEASING || s->state == SLOT_BROKEN);
    if (s->reap != REAP_NONE)
        return;
    timer_stop(&s->timer);
    if (s->helper) {
        s->core->world->ops->helper_kill(s->helper);
        return; /* helper_ended goes on: a domain whose pages are mapped would not die */
    }
    if (s->row_pending)
        return; /* build_recorded goes on */
    if (s->domid == DB_NO_DOMID && !s->may_exist) {
        slot_gone(s);
        return;
    }
    s->reap = REAP_QUEUED;
    list_append(&s->core->reaps, &s->in_reaps);
    core_kick(s->core);
}

void slot_release(struct slot *s, const char *reason)
{
    if (s->state == SLOT_RELEASING || s->state == SLOT_BROKEN)
        return;
    slot_move(s, SLOT_RELEASING, NULL, reason);
    slot_reap(s);
}

void slot_break(struct slot *s, const char *reason)
{
    if (s->state == SLOT_BROKEN)
        return;
    log_warning("slot s%" PRIu64 " (%s), %s: %s", s->id, s->pool ? s->pool->row.name : "?",
                slot_state_name(s->state), reason);
    if (s->lease)
        s->lease->slot = NULL;
    s->lease = NULL;
    slot_move(s, SLOT_BROKEN, NULL, reason);
    slot_reap(s);
}
