/* What a listing says of each slot: see survey.h. */
#include "pool/core/survey.h"

#include "pool/core/domains.h"
#include "pool/core/ending.h"
#include "pool/core/lease.h"
#include "pool/core/reconcile.h"
#include "pool/core/slot_reap.h"

#include <string.h>

#define LIST_MS 30000 /* events tell of domains that end; this is for those that were lost */
#define LIST_SUSPENDED_MS 1000
#define LIST_BUSY_MS 100 /* a lease's domain ended while the lease was being committed */

/* Steps of a turn: less than a tenth of a millisecond. */
#define TURN_STEPS 128
#define TURN_STEPS_NEWS 16 /* what ends, or has another name, costs as much as so many others */

/* ---- a slot ---- */

/*
 * A leased domain that has shut down for "suspend" is being saved by xl save: it is left alone,
 * and either runs on or is destroyed by xl. Then it is in a file, and the lease keeps its disks for
 * the domain of the same UUID that xl restore makes of it. Returns why the lease ends, or NULL.
 */
static const char *lease_end_reason(struct slot *s, const struct host_domain *d)
{
    if (!d || d->state == HOST_DOMAIN_DYING) {
        if (s->state == SLOT_SAVED)
            return NULL;
        if (!s->suspended)
            return "the domain was destroyed";
        if (!d)
            slot_move(s, SLOT_SAVED, NULL, "its domain was saved; its disks are kept for it");
        return NULL;
    }
    if (s->state == SLOT_SAVED || s->domid != (int64_t)d->domid)
        slot_restored(s, d);
    if (d->state != HOST_DOMAIN_SHUTDOWN) {
        s->suspended &= d->paused; /* one that xl restore is still making may fail */
        return NULL;
    }
    const char *why = host_shutdown_reason_name(d->shutdown_reason);
    s->suspended = !strcmp(why, "suspend");
    return s->suspended ? NULL : why;
}

/* What somebody has done to the domain of a warm slot, or NULL. The slot's helper looks at the same
 * when it completes the slot (restore/warm/). */
static const char *lost_reason(const struct host_domain *d)
{
    if (!d || d->state == HOST_DOMAIN_DYING)
        return "its domain was destroyed by somebody while it was warm";
    if (d->state == HOST_DOMAIN_SHUTDOWN)
        return "its domain was shut down by somebody while it was warm";
    if (!d->paused)
        return "its domain was unpaused by somebody while it was warm";
    return d->asked ? "its domain was asked by somebody to shut down or suspend while it was warm"
                    : NULL;
}

/* Whether there was news of it. */
static bool warm_compare(struct slot *s, const struct host_domain *d)
{
    const char *lost = lost_reason(d);
    if (!lost)
        return false;
    pool_slot_lost(slot_pool(s), ANSWER_DOMAIN_STATE, lost);
    slot_break(s, lost);
    return true;
}

static void list_within(struct survey *v, uint64_t ms)
{
    if (v->pause_ms > ms)
        v->pause_ms = ms;
}

/* That a domain goes on after xl save -c is no event. Until it is seen, its end would be taken for
 * a finished save. */
static void watch_closely(struct survey *v, const struct slot *s)
{
    if (s->suspended)
        list_within(v, LIST_SUSPENDED_MS);
}

/* Whether the domain of an ended guest stays. Somebody may have made that go on, or saved it. */
static bool lease_keep(struct slot *s, const struct host_domain *d, const char *why)
{
    bool ended = d && d->state == HOST_DOMAIN_SHUTDOWN && why;
    if (ended && ending_keeps(s->lease, why)) {
        slot_keep(s, why);
        return true;
    }
    if (d && !why && s->state == SLOT_KEPT)
        slot_move(s, SLOT_LEASED, NULL, NULL);
    return false;
}

/* Likewise. */
static bool lease_compare(struct survey *v, struct slot *s, const struct host_domain *d)
{
    enum slot_state before = s->state;
    const char *why = lease_end_reason(s, d);
    if (why && s->lease->state != LEASE_ACTIVE) {
        list_within(v, LIST_BUSY_MS); /* the next listing ends it */
        return false;
    }
    watch_closely(v, s);
    if (!lease_keep(s, d, why) && why) {
        lease_end(s->lease, why, NULL, NULL);
        return true;
    }
    bool named =
        d && (s->state == SLOT_KEPT || (s->state == SLOT_LEASED && d->state == HOST_DOMAIN_ALIVE));
    bool renamed = named && lease_take_name(s->lease, d->name);
    return renamed || s->state != before;
}

/* Likewise. */
static bool slot_compare(struct survey *v, struct slot *s)
{
    /* A domain that was made after the listing began may be missing from it. */
    if (s->known_since_list >= s->core->listing.started) {
        watch_closely(v, s);
        return false;
    }
    const struct host_domain *d = slot_find_domain(s);
    if (s->reap == REAP_LOOKUP) {
        slot_looked_up(s, d);
        return true;
    }
    if (s->state == SLOT_WARM)
        return warm_compare(s, d);
    return slot_is_leased(s) && s->lease && lease_compare(v, s, d);
}

/* ---- all of them ---- */

void survey_begin(struct core *core)
{
    core->survey =
        (struct survey){.under_way = true, .next = core->slots.next, .pause_ms = LIST_MS};
    core_kick(core);
}

static void survey_end(struct core *core)
{
    core->survey.under_way = false;
    core->survey.next = NULL;
    domains_looked_at(core, core->survey.pause_ms);
}

/* Up to so many steps; what is left of them. */
static int slots_compare(struct core *core, int steps)
{
    struct survey *v = &core->survey;
    while (steps > 0 && v->next != &core->slots) {
        struct slot *s = slot_at(v->next);
        v->next = v->next->next; /* slot_free moves it on if that is freed */
        steps -= slot_compare(v, s) ? TURN_STEPS_NEWS : 1;
    }
    return steps;
}

static int domains_compare(struct core *core, int steps)
{
    struct survey *v = &core->survey;
    while (steps > 0 && v->next_domain < core->listing.domains.n) {
        const struct host_domain *d = domain_list_at(&core->listing.domains, v->next_domain++);
        steps -= d && orphan_adopt(core, d) ? TURN_STEPS_NEWS : 1;
    }
    return steps;
}

bool survey_turn(struct core *core)
{
    if (!core->survey.under_way)
        return false;
    if (domains_compare(core, slots_compare(core, TURN_STEPS)) <= 0)
        return true;
    survey_end(core);
    return false;
}
