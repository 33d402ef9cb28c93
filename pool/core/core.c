/* The roof: see core.h. */
#include "pool/core/core.h"

#include "pool/core/domains.h"
#include "pool/core/image_check.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"
#include "pool/core/lost.h"
#include "pool/core/prefetch.h"
#include "pool/core/reconcile.h"
#include "pool/core/remove_call.h"
#include "pool/core/rows.h"
#include "pool/core/set_call.h"
#include "pool/core/slot_helper.h"
#include "pool/core/slot_reap.h"
#include "pool/core/survey.h"
#include "pool/core/versions.h"
#include "pool/core/wait_call.h"

#include <stdlib.h>

#define LIST_RETRY_MS 1000    /* after a listing that failed, and after the first one */
#define MEASURE_MS 5000       /* a guest that fills a disk is no event */
#define MEASURE_SHORT_MS 1000 /* nor is memory that a balloon gives back */

/* ---- background work, in its order ---- */

/* Slots that are too many go before others are built in their place. */
static void refill(struct core *core)
{
    if (core->state != CORE_RUNNING)
        return;
    list_each (node, &core->images) {
        struct entry *im = entry_at(node);
        pool_shrink(im->own);
        removal_check(im);
    }
    list_each (node, &core->images)
        prefetch_check(pool_at(node));
    images_check(core);
    list_each (node, &core->images)
        versions_check(entry_at(node));
    pools_build(core);
}

/* Refill and destruction would slow a request that is being served: they wait for its end, but
 * not for long: a helper that hangs must not hold them up. */
static void work(struct core *core)
{
    list_each (node, &core->images) {
        leases_refuse_hopeless(pool_at(node));
        leases_serve(pool_at(node));
    }
    uint64_t aside_ms = core_aside_ms(core);
    if (aside_ms) {
        core_kick_later(core, aside_ms);
    } else {
        leases_put_traces(core);
        if (survey_turn(core))
            core_kick(core);
        slots_reap_queued(core);
        refill(core);
    }
    waits_check(core);
    core_stop_check(core);
}

/* ---- a listing ---- */

static void listed(struct core *core, int rc, const struct error *e)
{
    if (core->startup.phase == START_LISTING) {
        if (core->state == CORE_STARTING) /* else a signal came first */
            start_listed(core, rc, e);
        domains_looked_at(core, LIST_RETRY_MS);
    } else if (rc) {
        domains_looked_at(core, LIST_RETRY_MS);
    } else {
        survey_begin(core);
    }
}

/* ---- what a slot's news mean; who waits is served first ---- */

static void slot_warm(struct slot *s)
{
    struct pool *p = slot_pool(s);
    pool_built(p);
    leases_serve(p);
    prefetch_tell(s);
    core_kick(s->core);
    domains_measure(s->core);
}

static void slot_completed(struct slot *s, const struct completion *c)
{
    lease_completed(s->lease, c);
}

static void slot_refused(struct slot *s, int answer, const char *why)
{
    struct lease *l = s->lease;
    lease_let_go(l);
    lease_slot_refused(l, answer, why);
    leases_serve(slot_pool(s));
    prefetch_tell(s); /* as for a new slot: waiting leases first */
}

/* Its lease is served by another one, which must not have the same fault. */
static void slot_unusable(struct slot *s, int answer, const char *why)
{
    struct lease *l = s->lease;
    struct pool *p = slot_pool(s);
    struct uuid holds = s->holds;
    lease_let_go(l);
    pool_slot_lost(p, answer, why);
    slot_break(s, why);
    if (answer == ANSWER_IMAGE_BROKEN)
        pool_disk_changed(p, &holds, why);
    lease_slot_unusable(l, answer, why);
}

/* It was being built, or turned, or stood by. */
static void unused_failed(struct slot *s, int answer, const char *why)
{
    if (s->state == SLOT_TURNING && answer == ANSWER_IMAGE_REFUSED)
        version_turn_refused(s); /* no failure: it is built anew instead */
    else
        pool_build_failed(slot_pool(s), answer, why);
    slot_break(s, why);
}

static void completion_failed(struct slot *s, int answer, const char *why)
{
    struct lease *l = s->lease;
    if (l)
        lease_let_go(l);
    slot_break(s, why);
    if (!l)
        return;
    if (uuid_equal(&l->version, &l->image->row.id)) /* it has not been replaced meanwhile */
        entry_completion_failed(l->image, answer, why);
    lease_slot_failed(l, why);
}

/* Once it is leased or on its way out, that is no news. */
static void slot_failed(struct slot *s, int answer, const char *why)
{
    if (s->state == SLOT_COMPLETING)
        completion_failed(s, answer, why);
    else if (s->state == SLOT_BUILDING || s->state == SLOT_TURNING || s->state == SLOT_WARM)
        unused_failed(s, answer, why);
}

static void slot_gone(struct core *core, bool memory)
{
    if (memory)
        pools_memory_freed(core);
}

/* Those who wait are served when a slot is built; those who do not have waited for this. */
static uint64_t measured(struct core *core)
{
    bool lacks = pools_measured(core);
    if (domains_disk_check(core, NULL))
        lacks = true;
    list_each (node, &core->images) {
        leases_serve(pool_at(node));
        leases_measured(pool_at(node));
    }
    core_kick(core);
    return lacks ? MEASURE_SHORT_MS : MEASURE_MS;
}

/* What a repair of the database writes. */
static struct rows *live_rows(struct core *core)
{
    size_t size = 1;
    list_each (node, &core->slots)
        size++;
    list_each (node, &core->leases)
        size++;
    struct rows *r = rows_new_sized(core, size);
    rows_add(r, DB_LIVE_CLEAR);
    list_each (node, &core->slots)
        slot_put(slot_at(node), r);
    list_each (node, &core->leases)
        if (lease_at(node)->state == LEASE_ACTIVE)
            lease_put(lease_at(node), r);
    return r;
}

static const struct upcalls upcalls = {
    .work = work,
    .listed = listed,
    .live_rows = live_rows,
    .slot_warm = slot_warm,
    .slot_completed = slot_completed,
    .slot_refused = slot_refused,
    .slot_unusable = slot_unusable,
    .slot_failed = slot_failed,
    .slot_tried = start_tried,
    .slot_gone = slot_gone,
    .measured = measured,
};

/* ---- life ---- */

void core_init(struct core *core, struct world *world, struct config *config)
{
    ground_init(core, world, config);
    domains_init(core);
    core->up = &upcalls;
}

void core_dispose(struct core *core)
{
    image_jobs_free(core);
    sets_dispose(core);
    list_each (node, &core->leases)
        lease_free(lease_at(node));
    list_each (node, &core->slots)
        slot_free(slot_at(node));
    while (!list_empty(&core->images)) {
        struct entry *im = entry_at(core->images.next);
        entry_discard_old(im);
        image_forget(im);
    }
    lost_dispose(core);
    core->world->ops->alarm_off(core->world);
    domains_dispose(core);
    ground_dispose(core);
    free(core->startup.kept);
    core->startup.kept = NULL;
    config_free(core->config);
    core->config = NULL;
}

void core_reconfigure(struct core *core, struct config *config)
{
    struct config *old = core->config;
    config_move_set(config, old);
    core->config = config;
    list_each (node, &core->images)
        image_configure(entry_at(node));
    if (config_number(config, KEY_LOG_LEVEL) != config_number(old, KEY_LOG_LEVEL))
        slots_set_log_level(core);
    config_free(old);
    core_kick(core);
}
