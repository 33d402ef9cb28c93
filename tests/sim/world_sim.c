/* The simulated world: see world_sim.h. */
#include "tests/sim/world_sim.h"

#include "base/io.h"
#include "base/text.h"
#include "pool/core/core.h"
#include "pool/core/reconcile.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- clocks ---- */

static struct sim *sim_of(struct world *w)
{
    return container_of(w, struct sim, world);
}

static uint64_t ops_mono_us(struct world *w)
{
    return sim_of(w)->now_us;
}

/* Not of the sequence that draws faults: what the core asks for must not change these. */
static void ops_random(struct world *w, void *out, size_t n)
{
    struct sim *s = container_of(w, struct sim, world);
    unsigned char *at = out;
    for (size_t i = 0; i < n; i++) {
        s->identities = s->identities * 6364136223846793005ull + 1442695040888963407ull;
        at[i] = (unsigned char)(s->identities >> 56);
    }
}

static int64_t ops_wall_ms(struct world *w)
{
    return (int64_t)(1700000000000ull + sim_of(w)->now_us / 1000);
}

static void ops_alarm_at(struct world *w, uint64_t at_us)
{
    sim_of(w)->alarm_us = at_us;
}

static void ops_alarm_off(struct world *w)
{
    sim_of(w)->alarm_us = UINT64_MAX;
}

/* ---- the host's jobs ---- */

static void job_finish(struct sim *s, void *arg)
{
    struct host_job *job = arg;
    (void)s;
    sim_memory_restore(false);
    job->done(job);
    sim_memory_spare();
}

static void job_drop(void *arg)
{
    struct host_job *job = arg;
    domain_list_dispose(&job->domains);
    free(job->layers);
}

static void list_now(struct sim *s, struct host_job *job)
{
    size_t n = 0;
    list_each (node, &s->domains)
        n++;
    struct host_domain *all = sim_alloc((n + 1) * sizeof *all), *at = all;
    list_each (node, &s->domains)
        *at++ = container_of(node, struct sim_domain, node)->d;
    job->rc = domain_list_make(&job->domains, all, n, &job->error);
    /* The answer takes its time: by then it may be old. */
    sim_at(s, s->list_us, job_finish, job);
}

static void layers_now(struct sim *s, struct host_job *job)
{
    size_t n = 0;
    list_each (node, &s->domains)
        n++;
    job->layers = sim_alloc((n + 1) * sizeof *job->layers);
    list_each (node, &s->domains) {
        const struct sim_domain *d = container_of(node, struct sim_domain, node);
        if (!d->failed || strcmp(d->d.tag, job->tag) != 0)
            continue;
        struct host_layer *layer = &job->layers[job->n_layers++];
        *layer = (struct host_layer){.uuid = d->d.uuid, .state = "Invalid"};
        format_fits(layer->vdev, sizeof layer->vdev, "%s", d->failed);
    }
    sim_at(s, s->list_us, job_finish, job);
}

static void destroy_now(struct sim *s, void *arg)
{
    struct host_job *job = arg;
    /* As host_destroy: by uuid, under whatever domid. */
    struct sim_domain *found = NULL;
    list_each (node, &s->domains) {
        struct sim_domain *d = container_of(node, struct sim_domain, node);
        if (uuid_equal(&d->d.uuid, &job->uuid))
            found = d;
    }
    /* Without our tag only one that xl has restored, and that under a new domid. */
    MUST(!found || !strcmp(found->d.tag, s->core.tag) || found->d.domid != job->domid ||
         s->restored);
    if (found)
        sim_domain_destroy(s, found->d.domid);
    job_finish(s, job);
}

static void destroy_start(struct sim *s, struct host_job *job)
{
    uint64_t delay = s->destroy_ms * 1000ull;
    if (sim_unlucky(s, &s->faults.destroy_hangs)) {
        job->rc = error_set(&job->error, -ETIMEDOUT, "domain %u does not go", job->domid);
        sim_at(s, job->timeout_ms * 1000ull, job_finish, job);
    } else if (sim_unlucky(s, &s->faults.destroy_fails)) {
        job->rc = error_set(&job->error, -EIO, "destroying domain %u failed", job->domid);
        sim_at(s, delay, job_finish, job);
    } else {
        sim_at(s, delay, destroy_now, job);
    }
}

static void ops_host_start(struct world *w, struct host_job *job)
{
    struct sim *s = sim_of(w);
    if (s->dead)
        return;
    bool before = sim_memory_spare();
    job->rc = 0;
    error_clear(&job->error);
    job->domains = (struct domain_list){0};
    job->layers = NULL;
    job->n_layers = 0;
    job->removed = 0;
    if (job->kind == HOST_JOB_DESTROY) {
        destroy_start(s, job);
    } else if (job->kind == HOST_JOB_LIST && sim_unlucky(s, &s->faults.list_fails)) {
        job->rc = error_set(&job->error, -EIO, "listing domains failed");
        sim_at(s, s->list_us, job_finish, job);
    } else if (job->kind == HOST_JOB_LIST) {
        list_now(s, job);
    } else if (job->kind == HOST_JOB_LAYERS) {
        layers_now(s, job);
    } else {
        job->memory = (struct host_memory){1u << 20, s->free_kib};
        job->disk = (struct host_disk){s->disk_total, s->disk_free};
        sim_at(s, 100, job_finish, job);
    }
    sim_memory_restore(before);
}

/* ---- writes ---- */

static void write_finish(struct sim *s, void *arg)
{
    struct db_write *w = arg;
    list_remove(&w->node);
    if (s->faults.writes_fail || sim_unlucky(s, &s->faults.write_fails))
        w->rc = error_set(&w->error, -ENOSPC, "database: disk full");
    else
        w->rc = db_apply(s->db, w->ops, w->n, &w->error);
    if (!w->rc)
        db_tend(s->db, list_empty(&s->writes) ? DB_QUIET : DB_BUSY);
    /* After a write that was lost a later one may contradict what is there. */
    if (w->rc && w->rc != -ENOSPC && s->core.database.state == DATABASE_WORKS && !s->damaged)
        sim_violated(s, __FILE__, __LINE__, w->error.text);
    sim_memory_restore(false);
    w->done(w);
    sim_memory_spare();
}

/* struct rows begins with its db_write: a daemon that is dead leaves it to us. */
static void write_drop(struct db_write *w)
{
    for (size_t i = 0; i < w->n; i++)
        db_op_dispose(&w->ops[i]);
    free(w);
}

static void ops_write_start(struct world *w, struct db_write *write)
{
    struct sim *s = sim_of(w);
    bool before = sim_memory_spare();
    list_init(&write->node);
    if (s->dead) {
        write_drop(write);
    } else {
        list_append(&s->writes, &write->node);
        sim_at(s, s->write_us, write_finish, write);
    }
    sim_memory_restore(before);
}

static const struct world_ops ops = {
    .mono_us = ops_mono_us,
    .wall_ms = ops_wall_ms,
    .random = ops_random,
    .images_list = sim_images_list,
    .alarm_at = ops_alarm_at,
    .alarm_off = ops_alarm_off,
    .helper_start = sim_helper_start,
    .helper_send = sim_helper_send,
    .helper_stop = sim_helper_stop,
    .helper_kill = sim_helper_kill,
    .host_start = ops_host_start,
    .write_start = ops_write_start,
    .image_read = sim_image_read,
    .image_discard = sim_image_discard,
};

/* ---- life ---- */

static void core_started(struct core *core, int rc, const struct error *e)
{
    struct sim *s = core->owner;
    s->start_rc = rc;
    s->started = !rc;
    if (rc)
        s->start_error = *e;
}

static void core_stopped(struct core *core)
{
    struct sim *s = core->owner;
    s->stopped = true;
    s->stopped_idle = core->listing.state == LISTING_IDLE && !core->measurement.under_way &&
                      !core->layers.looking;
}

/* FNV-1a. */
static void digest_add(struct sim *s, const void *data, size_t n)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < n; i++)
        s->digest = (s->digest ^ at[i]) * 0x100000001b3ull;
}

static void core_moved(struct core *core, const struct slot *slot, int from, int to)
{
    struct sim *s = core->owner;
    s->moves++;
    digest_add(s, &s->now_us, sizeof s->now_us);
    digest_add(s, &slot->uuid, sizeof slot->uuid);
    digest_add(s, &slot->domid, sizeof slot->domid);
    digest_add(s, &from, sizeof from);
    digest_add(s, &to, sizeof to);
}

static struct config *make_config(struct sim *s, const char *text)
{
    char path[100];
    struct mistakes m = {0};
    format_fits(path, sizeof path, "%s/conf", s->dir);
    FILE *f = fopen(path, "w");
    MUST(f);
    fprintf(f, "[daemon]\nstate_dir = %s\n%s", s->dir, text ? text : "");
    fclose(f);
    const struct config_sources sources = {.path = path};
    struct config *config = config_load(&sources, &m);
    for (size_t i = 0; i < m.n; i++)
        fprintf(stderr, "%s\n", m.lines[i]);
    MUST(config);
    return config;
}

/* False: it cannot be read, start_error says why, and there is no daemon. */
static bool database_begin(struct sim *s, struct db_rows *rows)
{
    char path[100];
    format_fits(path, sizeof path, "%s/db", s->dir);
    s->start_rc = db_open(path, s->boot, &s->db, &s->start_error);
    if (s->start_rc) {
        s->db = NULL;
        return false;
    }
    s->start_rc = db_load(s->db, rows, &s->start_error);
    if (!s->start_rc)
        return true;
    db_rows_dispose(rows);
    db_close(s->db);
    s->db = NULL;
    return false;
}

/* start_rc says whether there is one. */
static void daemon_begin(struct sim *s, const char *config_text)
{
    struct db_rows rows;
    bool before = sim_memory_spare();
    s->started = s->stopped = false;
    s->alarm_us = UINT64_MAX;
    s->dead = !database_begin(s, &rows);
    if (s->dead) {
        sim_memory_restore(before);
        return;
    }
    core_init(&s->core, &s->world, make_config(s, config_text));
    s->core.owner = s;
    s->core.startup.on_started = core_started;
    s->core.startup.on_stopped = core_stopped;
    s->core.on_move = core_moved;
    api_init(&s->service, &s->core);
    sim_memory_restore(before);
    core_start(&s->core, &rows);
    db_rows_dispose(&rows);
    for (unsigned i = 0; s->start_only && !s->started && i < 60000; i++)
        sim_run(s, 1);
    if (!s->start_only)
        sim_run(s, 60000);
}

static void must_have_started(const struct sim *s)
{
    if (!s->started)
        sim_violated(s, __FILE__, __LINE__, s->start_error.text);
}

void sim_start(struct sim *s, const char *config)
{
    char path[100];
    bool before = sim_memory_spare();
    *s = (struct sim){.build_ms = 500,
                      .turn_ms = 50,
                      .complete_us = 800,
                      .write_us = 80,
                      .list_us = 300,
                      .destroy_ms = 100,
                      .next_domid = 1,
                      .free_kib = 1u << 19,
                      .disk_free = 1u << 30,
                      .disk_total = 1u << 31,
                      .now_us = 1000000};
    s->world.ops = &ops;
    list_init(&s->events);
    list_init(&s->domains);
    list_init(&s->helpers);
    list_init(&s->writes);
    list_init(&s->clients);
    format_fits(s->boot, sizeof s->boot, "boot-one");
    /* In memory if possible: a thousand databases are made, and each is synced. */
    format_fits(s->dir, sizeof s->dir, "%s/dompool-sim.XXXXXX",
                access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    MUST(mkdtemp(s->dir));
    format_fits(path, sizeof path, "%s/images", s->dir);
    MUST(!make_dirs(path, 0700, NULL));
    sim_memory_restore(before);
    daemon_begin(s, config);
    must_have_started(s);
}

/* A call of Release waits for the end of a lease to be on record, and is freed by the news
 * alone. */
static bool ends_a_lease(const struct db_write *w)
{
    return w->n && w->ops[0].kind == DB_LEASE_PUT && w->ops[0].lease.ended_ms;
}

static void write_end(struct db_write *w)
{
    if (!ends_a_lease(w)) {
        write_drop(w);
        return;
    }
    w->rc = error_set(&w->error, -ECANCELED, "the simulated process has ended");
    w->done(w);
}

/* Frees what was on its way when the daemon's process ended; its clients are gone already. */
static void drop_pending(struct sim *s)
{
    struct list *node;
    sim_events_drop(s, job_finish, job_drop);
    while ((node = list_pop(&s->writes)))
        write_end(container_of(node, struct db_write, node));
    sim_helpers_drop(s);
}

/* Questions that nobody has answered yet are answered: what waits for them is freed by that
 * alone. */
static void finish_questions(struct sim *s)
{
    list_each (node, &s->writes) {
        struct db_write *w = container_of(node, struct db_write, node);
        if (w->n != 1 || w->ops[0].kind != DB_LEASE_FIND)
            continue;
        sim_cancel(s, w);
        write_finish(s, w);
    }
}

/* Helper structures go last: slots still point to them while connections are closed. */
static void daemon_end(struct sim *s)
{
    bool before = sim_memory_spare();
    finish_questions(s);
    s->dead = true;
    while (!list_empty(&s->clients))
        sim_disconnect(container_of(s->clients.next, struct sim_client, node));
    drop_pending(s);
    core_dispose(&s->core);
    db_close(s->db);
    s->db = NULL;
    s->alarm_us = UINT64_MAX;
    sim_memory_restore(before);
}

void sim_crash(struct sim *s)
{
    daemon_end(s);
}

void sim_restart(struct sim *s, const char *config, const char *boot)
{
    if (boot)
        format_fits(s->boot, sizeof s->boot, "%s", boot);
    daemon_begin(s, config);
    must_have_started(s);
}

bool sim_try_restart(struct sim *s, const char *config)
{
    daemon_begin(s, config);
    if (!s->started && !s->dead)
        daemon_end(s);
    return s->started;
}

void sim_stop(struct sim *s)
{
    core_stop(&s->core);
    sim_run(s, 20000);
    MUST(s->stopped);
    daemon_end(s);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void sim_end(struct sim *s)
{
    bool before = sim_memory_spare();
    if (!s->dead)
        daemon_end(s);
    drop_pending(s);
    json_decref(s->asked);
    json_decref(s->missing);
    json_decref(s->warnings);
    json_decref(s->stages);
    struct list *node;
    while ((node = list_pop(&s->domains)))
        free(container_of(node, struct sim_domain, node));
    MUST(!nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS));
    sim_memory_restore(before);
}

void sim_image(struct sim *s, const char *name)
{
    sim_derive(s, name, NULL);
}

void sim_derive(struct sim *s, const char *name, const char *base)
{
    struct sim_client *c = sim_connect(s, 0);
    sim_expect(c, "ImageImport",
               json_pack("{s:s, s:s, s:s*}", "name", name, "path", "/save", "base", base), 5000,
               NULL);
    sim_disconnect(c);
}

struct pool *sim_pool(struct sim *s, const char *name)
{
    return sim_entry(s, name)->own;
}

struct entry *sim_entry(struct sim *s, const char *name)
{
    struct entry *im = entry_find(&s->core, name);
    MUST(im);
    return im;
}
