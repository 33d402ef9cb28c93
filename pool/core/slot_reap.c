/* The end of a slot: see slot_reap.h. In the order in which it comes. */
#include "pool/core/slot_reap.h"

#include "base/log.h"
#include "pool/core/domains.h"

#include <assert.h>
#include <inttypes.h>

#define REAP_PAUSE_MS 1000ull      /* doubled with each failure ... */
#define REAP_PAUSE_MAX_MS 60000ull /* ... up to this */
#define DESTROY_AGAIN_MS 1000u     /* timeout of every further try: others want the thread */

static const char *const names[] = {"none",   "helper",  "row",   "queued",
                                    "lookup", "destroy", "pause", "done"};

/*
 *   none -> helper -> row -> queued -> lookup -> destroy -> done
 *                                           \------------> done    (no domain)
 *   destroy -> pause -> queued                                     (tried again)
 *
 * helper, row and lookup are passed over where there is nothing to wait for.
 */
#define TO(sym) (1u << REAP_##sym)
static const unsigned successors[] = {
    [REAP_NONE] = TO(HELPER) | TO(ROW) | TO(QUEUED) | TO(DONE),
    [REAP_HELPER] = TO(ROW) | TO(QUEUED) | TO(DONE),
    [REAP_ROW] = TO(QUEUED) | TO(DONE),
    [REAP_QUEUED] = TO(LOOKUP) | TO(DESTROY),
    [REAP_LOOKUP] = TO(DESTROY) | TO(DONE),
    [REAP_DESTROY] = TO(PAUSE) | TO(DONE),
    [REAP_PAUSE] = TO(QUEUED),
    [REAP_DONE] = 0,
};
#undef TO
static const struct machine reap_machine = {"end of slot", names, successors, REAP_STATE_COUNT};

static void reap_move(struct slot *s, enum reap_state to)
{
    s->reap = (enum reap_state)machine_step(&reap_machine, s->reap, to, s->id);
}

/* ---- beginning ---- */

void slot_release(struct slot *s, const char *reason)
{
    if (slot_is_leaving(s))
        return;
    slot_move(s, SLOT_RELEASING, NULL, reason);
    slot_reap(s);
}

void slot_break(struct slot *s, const char *reason)
{
    if (s->state == SLOT_BROKEN)
        return;
    assert(!s->lease);
    log_warning("slot s%" PRIu64 " (%s), %s: %s", s->id, s->set ? s->set->image->row.name : "?",
                slot_state_name(s->state), reason);
    slot_move(s, SLOT_BROKEN, NULL, reason);
    slot_reap(s);
}

/* ---- gone ---- */

static void gone(struct slot *s)
{
    struct core *core = s->core;
    /* Not one that failed: its own lack of memory must not end the pause for it. */
    bool released = s->state == SLOT_RELEASING || s->before == SLOT_RELEASING;
    bool memory = released && s->domid != DB_NO_DOMID;
    reap_move(s, REAP_DONE);
    slot_move(s, SLOT_GONE, NULL, NULL);
    domains_gone(core, &s->uuid);
    slot_watches_tell(s, 0, NULL);
    core->up->slot_tried(s);
    slot_free(s);
    core->up->slot_gone(core, memory);
    core_kick(core);
    domains_measure(core);
}

/* ---- destroying ---- */

static void queue(struct slot *s)
{
    reap_move(s, REAP_QUEUED);
    list_append(&s->core->reaps, &s->in_reaps);
    core_kick(s->core);
}

static void pause_over(struct timer *t)
{
    queue(container_of(t, struct slot, timer));
}

static void destroy_failed(struct slot *s, int rc, const char *text)
{
    uint64_t pause = s->reap_tries < 6 ? REAP_PAUSE_MS << s->reap_tries : REAP_PAUSE_MAX_MS;
    if (!s->reap_tries++)
        log_warning("slot s%" PRIu64 ": domain %" PRId64 " is not gone, trying on: %s", s->id,
                    s->domid, text);
    if (s->state == SLOT_RELEASING)
        slot_move(s, SLOT_BROKEN, NULL, text);
    reap_move(s, REAP_PAUSE);
    timer_start(&s->core->timers, &s->timer, pause, pause_over);
    slot_watches_tell(s, rc, text);
    s->core->up->slot_tried(s);
}

static void destroy_done(struct host_job *job)
{
    struct slot *s = container_of(job, struct slot, job);
    if (job->rc)
        destroy_failed(s, job->rc, job->error.text);
    else
        gone(s);
}

static void destroy_start(struct slot *s)
{
    reap_move(s, REAP_DESTROY);
    s->job.kind = HOST_JOB_DESTROY;
    s->job.done = destroy_done;
    s->job.domid = (uint32_t)s->domid;
    s->job.uuid = s->uuid;
    s->job.timeout_ms = (unsigned)config_number(s->core->config, KEY_DESTROY_TIMEOUT);
    if (s->reap_tries && s->job.timeout_ms > DESTROY_AGAIN_MS)
        s->job.timeout_ms = DESTROY_AGAIN_MS;
    s->core->world->ops->host_start(s->core->world, &s->job);
}

void slot_looked_up(struct slot *s, const struct host_domain *domain)
{
    if (!domain) {
        gone(s);
        return;
    }
    slot_set_domid(s, domain->domid);
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
        reap_move(s, REAP_LOOKUP);
        s->known_since_list = core->listing.started;
        domains_list(core);
    }
}

/* ---- waiting for what must end first ---- */

void slot_reap(struct slot *s)
{
    assert(slot_is_leaving(s));
    if (s->reap > REAP_ROW)
        return;
    timer_stop(&s->timer);
    if (s->helper) { /* a domain whose pages are mapped would not die */
        if (s->reap == REAP_NONE)
            reap_move(s, REAP_HELPER);
        s->core->world->ops->helper_kill(s->helper);
    } else if (s->domain == DOMAIN_NOT_YET) {
        if (s->reap != REAP_ROW)
            reap_move(s, REAP_ROW);
    } else if (s->domid == DB_NO_DOMID && s->domain == DOMAIN_NONE) {
        gone(s);
    } else {
        queue(s);
    }
}
