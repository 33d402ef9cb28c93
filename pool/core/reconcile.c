/*
 * Start and stop: what a restart finds, and what a stop leaves.
 *
 * Three truths are compared at the start: the rows, the hypervisor's list of domains (matched by
 * UUID and domid: both are reused), and what lies on the disk.
 *
 *   row          domain       then
 *   leased       runs         the lease goes on, unless a connection held it
 *   leased       is gone      the lease ends
 *   any other    exists       destroyed: what is in it can't be proved any more
 *   any other    is gone      the row goes
 *   none         has our tag  destroyed
 *
 * Destruction is the ordinary end of a slot (slot_reap), so a domain that will not die is tried
 * again and again, and does not keep the daemon from starting: the socket opens when each
 * leftover has been tried once and the sweep is over.
 */
#include "base/log.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- images ---- */

static bool start_image(struct core *core, const struct image_row *row)
{
    struct image_facts facts = {0};
    struct error e = {0};
    char path[400];
    format_fits(path, sizeof path, "%s/%s", core->images_dir, row->file);
    int rc = core->world->ops->image_read(core->world, path, &facts, &e);
    if (!rc && memcmp(facts.info.id, row->id, sizeof row->id) != 0)
        rc = error_set(&e, ANSWER_IMAGE_REFUSED, "%s holds another image than the one imported",
                       path);
    struct pool *p = pool_new(core, row, &facts);
    json_decref(facts.config);
    if (!p)
        return false;
    p->unverified = !rc;
    if (rc) {
        format_fits(p->damage, sizeof p->damage, "%s", e.text);
        log_error("image %s cannot be used: %s", row->name, e.text);
    }
    return true;
}

/* Its row names a base that is not there: no slot can become it. */
static void check_bases(struct core *core)
{
    list_each (node, &core->pools) {
        struct pool *p = container_of(node, struct pool, in_core);
        if (pool_is_derived(p) && !p->base && !p->damage[0])
            pool_damaged(p, "the image that it is derived from is missing");
    }
}

static bool file_known(const struct core *core, const char *file)
{
    list_each (node, &core->pools)
        if (!strcmp(container_of(node, struct pool, in_core)->row.file, file))
            return true;
    return false;
}

/* Files without a row: imports that never came to their end. Other files are not ours. */
static void discard_unknown_files(struct core *core)
{
    DIR *dir = opendir(core->images_dir);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[600];
        const char *dot = strstr(entry->d_name, ".img");
        if (!dot || (dot[4] && !strstr(entry->d_name, ".tmp")) || file_known(core, entry->d_name))
            continue;
        format_fits(path, sizeof path, "%s/%s", core->images_dir, entry->d_name);
        log_info("%s belongs to no image and is removed", path);
        core->world->ops->image_discard(core->world, path);
    }
    if (dir)
        closedir(dir);
}

/* ---- slots and leases ---- */

static const struct lease_row *lease_row_of(const struct db_rows *rows, uint64_t slot)
{
    for (size_t i = 0; i < rows->n_leases; i++)
        if (rows->leases[i].slot == slot)
            return &rows->leases[i];
    return NULL;
}

static bool start_slot(struct core *core, const struct slot_row *row, const struct db_rows *rows)
{
    struct pool *p = row->image[0] ? pool_find(core, row->image) : NULL;
    enum slot_state state = slot_state_parse(row->state);
    if (state >= SLOT_GONE || (!p && (state == SLOT_LEASED || state == SLOT_SAVED)))
        state = SLOT_BROKEN;
    struct slot *s = slot_new(core, p, row->id, state);
    if (!s)
        return false;
    memcpy(s->uuid, row->uuid, sizeof s->uuid);
    format_fits(s->engine, sizeof s->engine, "%s", row->engine);
    format_fits(s->name, sizeof s->name, "%s", row->name);
    format_fits(s->reason, sizeof s->reason, "%s", row->reason);
    s->domid = row->domid;
    s->since_ms = row->since_ms;
    s->may_exist = true;
    const struct lease_row *lease = lease_row_of(rows, row->id);
    return !slot_is_leased(s) || !lease || lease_adopt(s, lease);
}

/* Leases whose slot's row is gone: nothing is left of them but to say so. */
static void end_lost_leases(struct core *core, const struct db_rows *rows)
{
    for (size_t i = 0; i < rows->n_leases; i++) {
        char what[24];
        format_fits(what, sizeof what, "l%" PRIu64, rows->leases[i].id);
        if (!lease_find(core, what))
            rows_lease_lost(core, &rows->leases[i]);
    }
}

static bool start_rows(struct core *core, const struct db_rows *rows)
{
    bool ok = true;
    core->next_slot = rows->next_slot;
    core->next_lease = rows->next_lease;
    format_fits(core->tag, sizeof core->tag, "%s", rows->tag);
    for (size_t i = 0; ok && i < rows->n_settings; i++) {
        const struct setting_row *row = &rows->settings[i];
        const struct config_change change = {row->key, row->value};
        struct error e;
        if (config_set(core->config, row->image, &change, 1, &e))
            log_warning("setting %s of image %s is ignored: %s", row->key, row->image, e.text);
    }
    for (size_t i = 0; ok && i < rows->n_images; i++)
        ok = start_image(core, &rows->images[i]);
    check_bases(core);
    for (size_t i = 0; ok && i < rows->n_slots; i++)
        ok = start_slot(core, &rows->slots[i], rows);
    if (ok)
        end_lost_leases(core, rows);
    return ok;
}

/* ---- comparing with the host ---- */

static const struct host_domain *domain_of(const struct host_job *list, const struct slot *s)
{
    return slot_find_domain(s, list->domains, list->n_domains);
}

/* While the daemon starts a leftover counts until its destruction has come back once. */
static void leftover(struct slot *s, const char *why)
{
    s->first_reap = s->core->state == CORE_STARTING;
    s->core->first_reaps += s->first_reap;
    if (slot_move_legal(s->state, SLOT_RELEASING))
        slot_move(s, SLOT_RELEASING, NULL, why);
    else if (s->state != SLOT_RELEASING && s->state != SLOT_BROKEN)
        slot_move(s, SLOT_BROKEN, NULL, why);
    slot_reap(s);
}

static void compare_lease(struct slot *s, const struct host_domain *d)
{
    const char *why = NULL;
    if (s->state == SLOT_SAVED && !s->lease->hold) {
        if (d && d->state == HOST_DOMAIN_ALIVE)
            slot_restored(s, d);
        return;
    }
    if (!d || d->state == HOST_DOMAIN_DYING)
        why = "its domain ended while the daemon was down";
    else if (d->state == HOST_DOMAIN_SHUTDOWN &&
             strcmp(host_shutdown_reason_name(d->shutdown_reason), "suspend") != 0)
        why = host_shutdown_reason_name(d->shutdown_reason);
    else if (s->lease->hold)
        why = "the client that held it is gone";
    if (!why)
        return;
    s->first_reap = true;
    s->core->first_reaps++;
    lease_end(s->lease, why, NULL, NULL);
}

static void compare_slot(struct slot *s, const struct host_domain *d)
{
    if (d && s->state != SLOT_SAVED)
        s->domid = d->domid;
    else if (s->domid == DB_NO_DOMID)
        s->may_exist = false; /* never came into being */
    if (s->lease)
        compare_lease(s, d);
    else
        leftover(s, "left by an earlier run of the daemon");
}

/* A domain with our tag that no slot knows: its row was lost with a failing database, or a helper
 * of a killed daemon was too late to notice its end. */
static bool adopt_orphan(struct core *core, const struct host_domain *d)
{
    list_each (node, &core->slots)
        if (slot_has_domain(container_of(node, struct slot, in_core), d))
            return true;
    struct slot *s = slot_new(core, NULL, core->next_slot, SLOT_BUILDING);
    if (!s)
        return false;
    core->next_slot++;
    memcpy(s->uuid, d->uuid, sizeof s->uuid);
    s->domid = d->domid;
    format_fits(s->name, sizeof s->name, "%s", d->name);
    log_warning("domain %u (%s) is ours but no row knows it: it is destroyed", d->domid, d->name);
    leftover(s, "no row knew this domain");
    return true;
}

bool core_adopt_orphans(struct core *core, const struct host_domain *domains, size_t n)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        if (!strcmp(domains[i].tag, core->tag) && domains[i].state != HOST_DOMAIN_DYING)
            ok = adopt_orphan(core, &domains[i]);
    return ok;
}

static void start_failed(struct core *core, int rc, const struct error *e)
{
    core->on_started(core, rc, e);
}

static void start_compare(struct host_job *job)
{
    struct core *core = container_of(job, struct core, list_job);
    core->list_running = false;
    if (core->state == CORE_STOPPING) { /* a signal came first */
        free(job->domains);
        job->domains = NULL;
        core_kick(core);
        return;
    }
    if (job->rc) {
        start_failed(core, job->rc, &job->error);
        return;
    }
    core->first_reaps = 1; /* this function */
    bool ok = core_adopt_orphans(core, job->domains, job->n_domains);
    list_each (node, &core->slots) {
        struct slot *s = container_of(node, struct slot, in_core);
        if (!s->first_reap)
            compare_slot(s, domain_of(job, s));
    }
    free(core->domains);
    core->domains = job->domains;
    core->n_domains = job->n_domains;
    job->domains = NULL;
    if (!ok)
        log_error("out of memory: a leftover domain was not destroyed");
    core_leftover_done(core);
    if (core->list_again)
        core_look(core);
}

/* ---- sweeping, and the end of the start ---- */

static void start_swept(struct host_job *job)
{
    struct core *core = container_of(job, struct core, sweep_job);
    if (job->rc)
        log_error("sweeping up after an earlier run: %s", job->error.text);
    else if (job->removed)
        log_info("%u things left by an earlier run were removed", job->removed);
    if (core->state == CORE_STOPPING)
        return; /* a signal came first */
    core->state = CORE_RUNNING;
    core->on_started(core, 0, NULL);
    core_look(core);
    core_kick(core);
}

/* The disks of leases whose domain is in a file stay. Without memory for the list nothing is swept.
 */
static bool sweep_keep(struct core *core)
{
    size_t n = 0;
    list_each (node, &core->slots)
        n += container_of(node, struct slot, in_core)->state == SLOT_SAVED;
    free(core->kept);
    core->kept = calloc(n + 1, sizeof *core->kept);
    if (!core->kept)
        return false;
    n = 0;
    list_each (node, &core->slots) {
        const struct slot *s = container_of(node, struct slot, in_core);
        if (s->state == SLOT_SAVED)
            memcpy(core->kept[n++], s->uuid, sizeof *core->kept);
    }
    core->sweep_job.keep = (const uint8_t(*)[16])core->kept;
    core->sweep_job.n_keep = n;
    return true;
}

void core_leftover_done(struct core *core)
{
    if (--core->first_reaps || core->state != CORE_STARTING)
        return;
    core->sweep_job.kind = HOST_JOB_SWEEP;
    core->sweep_job.done = start_swept;
    core->sweep_job.tag = core->tag;
    if (!sweep_keep(core)) {
        core->sweep_job.rc = error_set(&core->sweep_job.error, -ENOMEM, "out of memory");
        start_swept(&core->sweep_job);
        return;
    }
    core->world->ops->host_start(core->world, &core->sweep_job);
}

void core_start(struct core *core, const struct db_rows *rows)
{
    if (!start_rows(core, rows)) {
        struct error e;
        error_set(&e, -ENOMEM, "out of memory for the rows of the database");
        start_failed(core, -ENOMEM, &e);
        return;
    }
    discard_unknown_files(core);
    core->list_running = true;
    core->lists_started++;
    core->list_job.kind = HOST_JOB_LIST;
    core->list_job.done = start_compare;
    core->world->ops->host_start(core->world, &core->list_job);
}

/* ---- stopping ---- */

static void stopped(struct core *core)
{
    timer_stop(&core->stop_timer);
    void (*on_stopped)(struct core *) = core->on_stopped;
    core->on_stopped = NULL;
    on_stopped(core);
}

static void stop_timed_out(struct timer *t)
{
    struct core *core = container_of(t, struct core, stop_timer);
    if (!core->on_stopped)
        return;
    log_warning("unused domains are left behind: the next start destroys them");
    stopped(core);
}

void core_stop_check(struct core *core)
{
    if (core->state != CORE_STOPPING || !core->on_stopped || !list_empty(&core->image_jobs))
        return;
    if (core->list_running || core->memory_running)
        return; /* a call to the host cannot be taken back, and is short */
    list_each (node, &core->slots) {
        const struct slot *s = container_of(node, struct slot, in_core);
        if (!slot_is_leased(s) || s->row_pending || s->helper)
            return;
    }
    stopped(core);
}

/* Requests that are being committed come to their end; all others are refused. A lease that a
 * connection holds ends with the daemon, which is the other end of that connection. */
static void stop_lease(struct lease *l)
{
    struct slot *s = l->slot;
    struct call *call = l->call;
    if (l->state == LEASE_ACTIVE && l->hold) {
        lease_end(l, "the daemon that kept its connection is shutting down", NULL, NULL);
        return;
    }
    if (l->state != LEASE_WAITING && l->state != LEASE_COMPLETING)
        return;
    lease_free(l);
    if (s)
        slot_break(s, "the daemon is shutting down");
    if (call)
        call_refuse(call, ANSWER_STOPPING, "the daemon is shutting down");
}

void core_stop(struct core *core)
{
    core->state = CORE_STOPPING;
    rows_traces(core);
    image_jobs_stop(core);
    list_each (node, &core->leases)
        stop_lease(container_of(node, struct lease, in_core));
    list_each (node, &core->pools)
        pool_removals_refuse(container_of(node, struct pool, in_core), ANSWER_STOPPING,
                             "the daemon is shutting down; the removal goes on when it is back");
    list_each (node, &core->slots) {
        struct slot *s = container_of(node, struct slot, in_core);
        if (slot_move_legal(s->state, SLOT_RELEASING) && !slot_is_leased(s))
            slot_release(s, "the daemon is shutting down");
    }
    timer_start(&core->timers, &core->stop_timer, config_number(core->config, KEY_STOP_TIMEOUT),
                stop_timed_out);
    core_kick(core);
}
