/* The core: see core.h. */
#include "pool/core/core.h"

#include "base/log.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 30000 /* events tell of domains that end; this is for those that were lost */
#define LOOK_SUSPENDED_MS 1000
#define LOOK_RETRY_MS 1000 /* after a listing that failed */
#define LOOK_BUSY_MS 100   /* a lease's domain ended while the lease was being committed */

static void world_alarm(struct world *w)
{
    struct core *core = w->owner;
    timers_run(&core->timers);
}

static void look_again(struct timer *t)
{
    core_look(container_of(t, struct core, look));
}

/* Introducing a domain is such an event: the listing that it causes waits until nobody is kept
 * waiting by its questions to xenstored. */
static void world_domains_changed(struct world *w)
{
    struct core *core = w->owner;
    uint64_t now = core_now_us(core);
    if (core->completing && now < core->aside_until_us && !core->list_running)
        timer_start(&core->timers, &core->look, (core->aside_until_us - now) / 1000 + 1,
                    look_again);
    else
        core_look(core);
}

void core_init(struct core *core, struct world *world, struct config *config)
{
    *core = (struct core){.world = world, .config = config, .xen_ok = true};
    world->owner = core;
    world->alarm = world_alarm;
    world->domains_changed = world_domains_changed;
    timers_init(&core->timers, world);
    list_init(&core->pools);
    list_init(&core->slots);
    list_init(&core->leases);
    list_init(&core->waits);
    list_init(&core->image_jobs);
    list_init(&core->reaps);
    timer_init(&core->kick);
    timer_init(&core->look);
    timer_init(&core->repair);
    timer_init(&core->stop_timer);
    list_init(&core->list_job.node);
    list_init(&core->memory_job.node);
    list_init(&core->sweep_job.node);
    const char *state_dir = config_text(config, KEY_STATE_DIR);
    format_fits(core->images_dir, sizeof core->images_dir, "%s/images", state_dir);
    format_fits(core->cow_dir, sizeof core->cow_dir, "%s/cow", state_dir);
    core->started_us = core_now_us(core);
}

void core_dispose(struct core *core)
{
    struct list *node;
    image_jobs_free(core);
    list_each (at, &core->leases)
        lease_free(container_of(at, struct lease, in_core));
    list_each (at, &core->slots)
        slot_free(container_of(at, struct slot, in_core));
    while ((node = core->pools.next) != &core->pools)
        pool_free(container_of(node, struct pool, in_core));
    core->world->ops->alarm_off(core->world);
    free(core->domains);
    core->domains = NULL;
    free(core->gone);
    core->gone = NULL;
    free(core->kept);
    core->kept = NULL;
    config_free(core->config);
    core->config = NULL;
}

int core_ready(const struct core *core, struct error *e)
{
    if (core->state == CORE_STOPPING)
        return error_set(e, ANSWER_STOPPING, "the daemon is shutting down");
    if (core->db_failing)
        return error_set(e, -EIO, "%.600s", core->db_error.text);
    return 0;
}

/* ---- background work ---- */

bool core_aside(const struct core *core)
{
    return core->completing && core_now_us(core) < core->aside_until_us;
}

/* Refill and destruction would slow a request that is being served: they wait for its end, but
 * not for long: a helper that hangs must not hold them up. */
static void work(struct timer *t)
{
    struct core *core = container_of(t, struct core, kick);
    list_each (node, &core->pools)
        leases_serve(container_of(node, struct pool, in_core));
    if (core_aside(core)) {
        uint64_t left_us = core->aside_until_us - core_now_us(core);
        timer_start(&core->timers, &core->kick, left_us / 1000 + 1, work);
    } else {
        rows_traces(core);
        slots_reap_queued(core);
        pools_refill(core);
    }
    pool_waits_check(core);
    core_stop_check(core);
}

void core_kick(struct core *core)
{
    timer_start(&core->timers, &core->kick, 0, work);
}

void core_reconfigure(struct core *core, struct config *config)
{
    struct config *old = core->config;
    config_move_set(config, old);
    core->config = config;
    list_each (node, &core->pools)
        pool_configure(container_of(node, struct pool, in_core));
    config_free(old);
    core_kick(core);
}

/* ---- which domains there are ---- */

static const struct host_domain *domain_find(const struct core *core, const struct slot *s)
{
    return slot_find_domain(s, core->domains, core->n_domains);
}

bool core_domain_named(const struct core *core, const char *name)
{
    for (size_t i = 0; i < core->n_domains; i++)
        if (!strcmp(core->domains[i].name, name))
            return true;
    return false;
}

static void domain_forget(struct core *core, const uint8_t uuid[16])
{
    size_t kept = 0;
    for (size_t i = 0; i < core->n_domains; i++)
        if (memcmp(core->domains[i].uuid, uuid, sizeof core->domains[i].uuid) != 0)
            core->domains[kept++] = core->domains[i];
    core->n_domains = kept;
}

static bool gone_add(struct core *core, const uint8_t uuid[16])
{
    if (core->n_gone == core->gone_size) {
        size_t size = core->gone_size ? 2 * core->gone_size : 16;
        void *bigger = realloc(core->gone, size * sizeof *core->gone);
        if (!bigger)
            return false;
        core->gone = bigger;
        core->gone_size = size;
    }
    memcpy(core->gone[core->n_gone++], uuid, sizeof *core->gone);
    return true;
}

void core_domain_gone(struct core *core, const uint8_t uuid[16])
{
    domain_forget(core, uuid);
    if (core->list_running && !gone_add(core, uuid))
        core->list_again = true;
}

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

static void slot_compare(struct slot *s)
{
    const struct host_domain *d = domain_find(s->core, s);
    if (s->state == SLOT_WARM && (!d || d->state != HOST_DOMAIN_ALIVE)) {
        pool_build_failed(s->pool, ANSWER_INTERNAL, "its domain was destroyed while it was warm");
        slot_break(s, "its domain was destroyed while it was warm");
    } else if (slot_is_leased(s) && s->lease) {
        const char *why = lease_end_reason(s, d);
        if (why && s->lease->state == LEASE_ACTIVE)
            lease_end(s->lease, why, NULL, NULL);
        else if (why)
            s->core->list_again = true;
    }
}

static void domains_take(struct core *core, struct host_job *job)
{
    free(core->domains);
    core->domains = job->domains;
    core->n_domains = job->n_domains;
    job->domains = NULL;
    for (size_t i = 0; i < core->n_gone; i++)
        domain_forget(core, core->gone[i]);
    list_each (node, &core->slots) {
        struct slot *s = container_of(node, struct slot, in_core);
        /* A domain that was made after the listing began may be missing from it. */
        if (s->known_since_list >= core->lists_started)
            continue;
        if (s->reap == REAP_LOOKUP)
            slot_looked_up(s, domain_find(core, s));
        else
            slot_compare(s);
    }
    core_adopt_orphans(core, core->domains, core->n_domains); /* no memory: the next listing */
}

static void xen_said(struct core *core, int rc, const struct error *e)
{
    if (rc && core->xen_ok)
        log_error("%s; leased domains are not touched", e->text);
    else if (!rc && !core->xen_ok)
        log_info("the host answers again");
    core->xen_ok = !rc;
    if (rc)
        core->xen_error = *e;
}

/* That a domain goes on after xl save -c is no event. Until it is seen, its end would be taken for
 * a finished save. */
static uint64_t look_pause(const struct core *core)
{
    list_each (node, &core->slots)
        if (container_of(node, struct slot, in_core)->suspended)
            return LOOK_SUSPENDED_MS;
    return LOOK_MS;
}

static void list_done(struct host_job *job)
{
    struct core *core = container_of(job, struct core, list_job);
    bool again = core->list_again;
    core->list_running = core->list_again = false;
    xen_said(core, job->rc, &job->error);
    if (!job->rc)
        domains_take(core, job);
    uint64_t delay = job->rc ? LOOK_RETRY_MS : core->list_again ? LOOK_BUSY_MS : look_pause(core);
    core->list_again = false;
    if (again && !job->rc)
        core_look(core);
    else
        timer_start(&core->timers, &core->look, delay, look_again);
    core_kick(core);
}

void core_look(struct core *core)
{
    if (core->list_running) {
        core->list_again = true;
        return;
    }
    timer_stop(&core->look);
    core->list_running = true;
    core->n_gone = 0;
    core->lists_started++;
    core->list_job.kind = HOST_JOB_LIST;
    core->list_job.done = list_done;
    core->world->ops->host_start(core->world, &core->list_job);
    core_measure(core);
}

static void memory_done(struct host_job *job)
{
    struct core *core = container_of(job, struct core, memory_job);
    core->memory_running = false;
    if (!job->rc)
        core->memory = job->memory;
    if (core->state == CORE_STOPPING)
        core_kick(core);
}

void core_measure(struct core *core)
{
    if (core->memory_running)
        return;
    core->memory_running = true;
    core->memory_job.kind = HOST_JOB_MEMORY;
    core->memory_job.done = memory_done;
    core->world->ops->host_start(core->world, &core->memory_job);
}
