/* Which domains there are: see domains.h. */
#include "pool/core/domains.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>

static void list_again(struct timer *t)
{
    domains_list(container_of(t, struct core, listing.next));
}

/* Introducing a domain is such an event: the listing that it causes waits until nobody is kept
 * waiting by its questions to xenstored. */
static void world_domains_changed(struct world *w)
{
    struct core *core = w->owner;
    uint64_t aside_ms = core_aside_ms(core);
    if (aside_ms && core->listing.state == LISTING_IDLE)
        timer_start(&core->timers, &core->listing.next, aside_ms, list_again);
    else
        domains_list(core);
}

void domains_init(struct core *core)
{
    core->world->domains_changed = world_domains_changed;
}

void domains_dispose(struct core *core)
{
    domain_list_dispose(&core->listing.domains);
    free(core->listing.gone);
    core->listing.gone = NULL;
}

static bool gone_add(struct listing *l, const struct uuid *uuid)
{
    if (l->n_gone == l->gone_size) {
        size_t size = l->gone_size ? 2 * l->gone_size : 16;
        void *bigger = realloc(l->gone, size * sizeof *l->gone);
        if (!bigger)
            return false;
        l->gone = bigger;
        l->gone_size = size;
    }
    l->gone[l->n_gone++] = *uuid;
    return true;
}

void domains_gone(struct core *core, const struct uuid *uuid)
{
    struct listing *l = &core->listing;
    domain_list_forget(&l->domains, uuid);
    if (l->state != LISTING_IDLE && !gone_add(l, uuid))
        l->state = LISTING_AGAIN;
}

static void take(struct listing *l)
{
    domain_list_dispose(&l->domains);
    l->domains = l->job.domains;
    l->job.domains = (struct domain_list){0};
    for (size_t i = 0; i < l->n_gone; i++)
        domain_list_forget(&l->domains, &l->gone[i]);
}

static void xen_said(struct listing *l)
{
    int rc = l->job.rc;
    if (rc && l->xen_ok)
        log_error("%s; leased domains are not touched", l->job.error.text);
    else if (!rc && !l->xen_ok)
        log_info("the host answers again");
    l->xen_ok = !rc;
}

static void list_done(struct host_job *job)
{
    struct core *core = container_of(job, struct core, listing.job);
    struct listing *l = &core->listing;
    xen_said(l);
    if (!job->rc)
        take(l);
    core->up->listed(core, job->rc, &job->error);
}

void domains_looked_at(struct core *core, uint64_t delay_ms)
{
    struct listing *l = &core->listing;
    bool again = l->state == LISTING_AGAIN;
    l->state = LISTING_IDLE;
    if (again && !l->job.rc)
        domains_list(core);
    else
        timer_start(&core->timers, &l->next, delay_ms, list_again);
    core_kick(core);
}

void domains_list(struct core *core)
{
    struct listing *l = &core->listing;
    if (l->state != LISTING_IDLE) {
        l->state = LISTING_AGAIN;
        return;
    }
    timer_stop(&l->next);
    l->state = LISTING_RUNNING;
    l->n_gone = 0;
    l->started++;
    l->job.kind = HOST_JOB_LIST;
    l->job.done = list_done;
    core->world->ops->host_start(core->world, &l->job);
    domains_measure(core);
}

int domains_disk_check(const struct core *core, struct error *e)
{
    const struct host_disk *disk = &core->measurement.disk;
    uint64_t reserve = config_number(core->config, KEY_DISK_RESERVE);
    if (!disk->total_bytes || disk->free_bytes >= reserve)
        return 0;
    return error_set(e, ANSWER_NO_HOST_DISK,
                     "%" PRIu64 " MiB are free in the file system of %s, and %" PRIu64
                     " MiB are to stay free (disk_reserve) for what guests write; release leases, "
                     "or make room",
                     disk->free_bytes >> 20, core->cow_dir, reserve >> 20);
}

static void disk_said(struct core *core)
{
    struct error e;
    bool full = domains_disk_check(core, &e) != 0;
    if (full && !core->measurement.disk_full)
        log_warning("no slot is built and no lease is given: %s", e.text);
    else if (!full && core->measurement.disk_full)
        log_info("%s has room again", core->cow_dir);
    core->measurement.disk_full = full;
}

static void measure_again(struct timer *t)
{
    domains_measure(container_of(t, struct core, measurement.next));
}

static void memory_done(struct host_job *job)
{
    struct core *core = container_of(job, struct core, measurement.job);
    struct measurement *m = &core->measurement;
    m->under_way = false;
    if (!job->rc)
        m->memory = job->memory;
    m->disk = job->disk;
    disk_said(core);
    uint64_t delay_ms = core->up->measured(core);
    if (core->state == CORE_STOPPING)
        core_kick(core);
    else if (delay_ms && !m->under_way)
        timer_start(&core->timers, &m->next, delay_ms, measure_again);
}

void domains_measure(struct core *core)
{
    struct measurement *m = &core->measurement;
    if (m->under_way)
        return;
    m->under_way = true;
    timer_stop(&m->next);
    m->job.kind = HOST_JOB_MEMORY;
    m->job.dir = core->cow_dir;
    m->job.done = memory_done;
    core->world->ops->host_start(core->world, &m->job);
}
