/*
 * The real world: see world_host.h.
 *
 * Threads: one for the database (order matters, SQLite blocks), one that removes files, one that
 * starts helpers, one for short calls to the host and two for destroying (a domain that takes its
 * time to die must not hold up the listing), one that sleeps in host_wait. Each has its own struct
 * host, opened when it is first needed and again after an error, so that a restarted xenstored is
 * found again.
 *
 * No image file is ever mapped in this process: a sector that cannot be read would end it by
 * SIGBUS, at every start. While the daemon starts, it reads the header and the configuration of
 * each image, a few KiB, where an unreadable sector is an error of that image. All the rest of a
 * file is for helpers to read; the first of them checks its digests (pool/core/image_check.h).
 */
#include "pool/service/world_host.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/uuid.h"
#include "pool/service/process.h"
#include "pool/service/work.h"
#include "store/image_name.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DESTROY_THREADS 2
#define WATCH_WAIT_MS 5000
#define WATCH_RETRY_NS 1000000000ull

struct world_host {
    struct world world;
    uv_loop_t *loop;
    struct db *db;
    char libexec[300];
    struct helper_settings helper_settings;
    uv_timer_t alarm;
    struct list helpers;
    struct work_queue writes, discards, quick, destroys, starts;

    uv_thread_t watch_thread;
    uv_async_t watch_async;
    uv_mutex_t watch_mutex;
    uv_cond_t watch_cond;
    struct host *watch_host; /* under watch_mutex */
    bool watching, watch_stop;
    bool writes_stopped, discards_stopped;
};

static struct world_host *host_of(struct world *w)
{
    return container_of(w, struct world_host, world);
}

/* ---- clocks ---- */

static uint64_t ops_mono_us(struct world *w)
{
    (void)w;
    return clock_mono_us();
}

static int64_t ops_wall_ms(struct world *w)
{
    (void)w;
    return clock_wall_ms();
}

static void ops_random(struct world *w, void *out, size_t n)
{
    (void)w;
    random_bytes(out, n);
}

static void alarm_fired(uv_timer_t *timer)
{
    struct world_host *wh = container_of(timer, struct world_host, alarm);
    wh->world.alarm(&wh->world);
}

static void ops_alarm_at(struct world *w, uint64_t at_us)
{
    struct world_host *wh = host_of(w);
    uint64_t now = clock_mono_us();
    uint64_t delay_ms = at_us > now ? (at_us - now + 999) / 1000 : 0;
    uv_update_time(wh->loop);
    uv_timer_start(&wh->alarm, alarm_fired, delay_ms, 0);
}

static void ops_alarm_off(struct world *w)
{
    uv_timer_stop(&host_of(w)->alarm);
}

/* ---- helpers ---- */

static int ops_helper_start(struct world *w, enum helper_kind kind, int input,
                            const struct helper_events *events, void *owner, struct helper **out,
                            struct error *e)
{
    static const char *const names[] = {
        [HELPER_SLOT] = "dompool-slot", [HELPER_IMAGE] = "dompool-image"};
    struct world_host *wh = host_of(w);
    char path[400];
    format_fits(path, sizeof path, "%s/%s", wh->libexec, names[kind]);
    return helper_spawn(&wh->starts, wh->loop, path, &wh->helper_settings, input, events, owner,
                        &wh->helpers, out, e);
}

/* ---- the host's jobs, on threads ---- */

/* Freeing a domain's memory keeps a processor busy, which an allocation may want. */
static int job_destroy(struct host_job *job, struct host *host)
{
    background_thread(true);
    int rc = host_destroy(host, job->domid, &job->uuid, job->timeout_ms, &job->error);
    background_thread(false);
    return rc;
}

static int job_list(struct host_job *job, struct host *host)
{
    struct host_domain *all;
    size_t n;
    int rc = host_list(host, &all, &n, &job->error);
    return rc ? rc : domain_list_make(&job->domains, all, n, &job->error);
}

/* A file system that cannot be asked keeps nobody from being served. */
static int job_measure(struct host_job *job, struct host *host)
{
    struct error e;
    if (host_disk(job->dir, &job->disk, &e))
        log_debug("%s", e.text);
    return host_memory(host, &job->memory, &job->error);
}

static int job_run(struct host_job *job, struct host *host)
{
    switch (job->kind) {
    case HOST_JOB_LIST:
        return job_list(job, host);
    case HOST_JOB_DESTROY:
        return job_destroy(job, host);
    case HOST_JOB_MEMORY:
        return job_measure(job, host);
    case HOST_JOB_LAYERS:
        return host_layers(host, job->tag, &job->layers, &job->n_layers, &job->error);
    case HOST_JOB_SWEEP:
        return host_sweep(host, job->tag, job->keep, job->n_keep, &job->removed, &job->error);
    }
    return -EINVAL;
}

static void host_run(struct work_queue *q, struct list *item, void **local)
{
    struct host_job *job = container_of(item, struct host_job, node);
    struct host *host = *local;
    (void)q;
    error_clear(&job->error);
    job->domains = (struct domain_list){0};
    job->layers = NULL;
    job->n_layers = 0;
    job->removed = 0;
    job->rc = host ? 0 : host_open(&host, &job->error);
    if (!job->rc)
        job->rc = job_run(job, host);
    if (job->rc && job->rc != -ETIMEDOUT && host) {
        host_close(host); /* a handle that failed may never work again */
        host = NULL;
    }
    *local = host;
}

static void host_run_done(struct work_queue *q, struct list *item)
{
    struct host_job *job = container_of(item, struct host_job, node);
    (void)q;
    job->done(job);
}

static void host_thread_end(struct work_queue *q, void **local)
{
    (void)q;
    if (*local)
        host_close(*local);
}

static const struct work_ops host_ops = {
    .run = host_run, .done = host_run_done, .end = host_thread_end};

static void ops_host_start(struct world *w, struct host_job *job)
{
    struct world_host *wh = host_of(w);
    list_init(&job->node);
    work_start(job->kind == HOST_JOB_DESTROY ? &wh->destroys : &wh->quick, &job->node);
}

/* ---- the database, on its thread ---- */

static void write_run(struct work_queue *q, struct list *item, void **local)
{
    struct world_host *wh = q->owner;
    struct db_write *write = container_of(item, struct db_write, node);
    (void)local;
    error_clear(&write->error);
    write->rc = db_apply(wh->db, write->ops, write->n, &write->error);
}

static void write_done(struct work_queue *q, struct list *item)
{
    struct db_write *write = container_of(item, struct db_write, node);
    (void)q;
    write->done(write);
}

static void write_after(struct work_queue *q, bool others, void **local)
{
    struct world_host *wh = q->owner;
    (void)local;
    db_tend(wh->db, others ? DB_BUSY : DB_QUIET);
}

static void write_idle(struct work_queue *q, void **local)
{
    struct world_host *wh = q->owner;
    (void)local;
    db_tend(wh->db, DB_REST);
}

static const struct work_ops write_ops = {
    .run = write_run, .done = write_done, .after = write_after, .idle = write_idle};

static void ops_write_start(struct world *w, struct db_write *write)
{
    struct world_host *wh = host_of(w);
    list_init(&write->node);
    if (!wh->writes_stopped) {
        work_start(&wh->writes, &write->node);
        return;
    }
    /* A continuation of the last writes, while the daemon ends: nobody waits for it. */
    write->rc = error_set(&write->error, -ECANCELED, "the daemon has stopped");
    write->done(write);
}

/* ---- images ---- */

static int ops_image_read(struct world *w, const char *path, struct image_facts *out,
                          struct error *e)
{
    char *config;
    (void)w;
    int rc = image_read_facts(path, &out->info, &config, e);
    if (rc)
        return rc;
    json_error_t why;
    out->config = json_loads(config, JSON_REJECT_DUPLICATES, &why);
    free(config);
    if (!out->config)
        return error_set(e, ANSWER_IMAGE_REFUSED, "%s: its configuration is malformed: %s", path,
                         why.text);
    return 0;
}

static void ops_images_list(struct world *w, const char *path,
                            void (*found)(struct world *w, const char *name))
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        found(w, entry->d_name);
    if (dir)
        closedir(dir);
}

struct discard {
    struct list node;
    char path[];
};

/* The file, and the writer's temporary ones of that name. */
static void discard_files(const char *path)
{
    const char *slash = strrchr(path, '/');
    char name[400];
    if (!slash || !format_fits(name, sizeof name, "%.*s", (int)(slash - path), path))
        return;
    DIR *dir = opendir(name);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if ((!strcmp(entry->d_name, slash + 1) || image_name_belongs(entry->d_name, slash + 1)) &&
            unlinkat(dirfd(dir), entry->d_name, 0) && errno != ENOENT)
            log_warning("remove %s/%s: %s", name, entry->d_name, strerror(errno));
    if (dir)
        closedir(dir);
}

static void discard_run(struct work_queue *q, struct list *item, void **local)
{
    (void)q;
    (void)local;
    discard_files(container_of(item, struct discard, node)->path);
}

static void discard_done(struct work_queue *q, struct list *item)
{
    (void)q;
    free(container_of(item, struct discard, node));
}

static const struct work_ops discard_ops = {.run = discard_run, .done = discard_done};

static void ops_image_discard(struct world *w, const char *path)
{
    struct world_host *wh = host_of(w);
    struct discard *d = malloc(sizeof *d + strlen(path) + 1);
    if (!d) {
        log_warning("remove %s: out of memory; the next start removes it", path);
        return;
    }
    list_init(&d->node);
    strcpy(d->path, path);
    if (!wh->discards_stopped) {
        work_start(&wh->discards, &d->node);
        return;
    }
    discard_files(d->path); /* the daemon ends, and nobody waits for its loop any more */
    free(d);
}

static const struct world_ops ops = {
    .mono_us = ops_mono_us,
    .wall_ms = ops_wall_ms,
    .random = ops_random,
    .alarm_at = ops_alarm_at,
    .alarm_off = ops_alarm_off,
    .helper_start = ops_helper_start,
    .helper_send = helper_send,
    .helper_stop = helper_stop,
    .helper_kill = helper_kill,
    .host_start = ops_host_start,
    .write_start = ops_write_start,
    .image_read = ops_image_read,
    .images_list = ops_images_list,
    .image_discard = ops_image_discard,
};

/* ---- the thread that waits for the host's events ---- */

static void watch_changed(uv_async_t *async)
{
    struct world_host *wh = container_of(async, struct world_host, watch_async);
    wh->world.domains_changed(&wh->world);
}

/* Opens the watcher's host; false when it is to stop. Takes and leaves the mutex held. */
static bool watch_open(struct world_host *wh)
{
    while (!wh->watch_stop && !wh->watch_host) {
        struct host *host = NULL;
        struct error e;
        uv_mutex_unlock(&wh->watch_mutex);
        int rc = host_open(&host, &e);
        uv_mutex_lock(&wh->watch_mutex);
        if (!rc)
            wh->watch_host = host;
        else if (!wh->watch_stop)
            uv_cond_timedwait(&wh->watch_cond, &wh->watch_mutex, WATCH_RETRY_NS);
    }
    return !wh->watch_stop;
}

static void watch_close(struct world_host *wh)
{
    if (wh->watch_host)
        host_close(wh->watch_host);
    wh->watch_host = NULL;
}

static void watch_main(void *arg)
{
    struct world_host *wh = arg;
    uv_mutex_lock(&wh->watch_mutex);
    while (watch_open(wh)) {
        struct host *host = wh->watch_host;
        struct error e;
        uv_mutex_unlock(&wh->watch_mutex);
        int rc = host_wait(host, WATCH_WAIT_MS, &e);
        if (rc <= 0)
            uv_async_send(&wh->watch_async);
        uv_mutex_lock(&wh->watch_mutex);
        if (rc < 0) {
            log_warning("waiting for domain events: %s", e.text);
            watch_close(wh);
            if (!wh->watch_stop)
                uv_cond_timedwait(&wh->watch_cond, &wh->watch_mutex, WATCH_RETRY_NS);
        }
    }
    watch_close(wh);
    uv_mutex_unlock(&wh->watch_mutex);
}

int world_host_watch(struct world_host *wh, struct error *e)
{
    int rc = uv_thread_create(&wh->watch_thread, watch_main, wh);
    wh->watching = !rc;
    return rc ? error_set(e, rc, "start the watching thread: %s", uv_strerror(rc)) : 0;
}

static void watch_end(struct world_host *wh)
{
    if (!wh->watching)
        return;
    uv_mutex_lock(&wh->watch_mutex);
    wh->watch_stop = true;
    if (wh->watch_host)
        host_wake(wh->watch_host);
    uv_cond_signal(&wh->watch_cond);
    uv_mutex_unlock(&wh->watch_mutex);
    uv_thread_join(&wh->watch_thread);
    wh->watching = false;
}

/* ---- life ---- */

int world_host_new(uv_loop_t *loop, struct db *db, struct world_host **out, struct error *e)
{
    struct world_host *wh = calloc(1, sizeof *wh);
    if (!wh)
        return error_set(e, -ENOMEM, "out of memory");
    signal(SIGCHLD, SIG_DFL); /* who ignores it, as our parent may, is told no helper's status */
    wh->world.ops = &ops;
    wh->loop = loop;
    wh->db = db;
    list_init(&wh->helpers);
    uv_timer_init(loop, &wh->alarm);
    uv_mutex_init(&wh->watch_mutex);
    uv_cond_init(&wh->watch_cond);
    int rc = uv_async_init(loop, &wh->watch_async, watch_changed);
    if (rc)
        error_set(e, rc, "start the event loop: %s", uv_strerror(rc));
    if (!rc)
        rc = work_queue_init(&wh->writes, loop, &write_ops, wh, 1, e);
    if (!rc)
        rc = work_queue_init(&wh->discards, loop, &discard_ops, wh, 1, e);
    if (!rc)
        rc = work_queue_init(&wh->quick, loop, &host_ops, wh, 1, e);
    if (!rc)
        rc = work_queue_init(&wh->destroys, loop, &host_ops, wh, DESTROY_THREADS, e);
    if (!rc)
        rc = work_queue_init(&wh->starts, loop, &helper_start_ops, wh, 1, e);
    *out = wh; /* on failure the process ends: nothing is undone */
    return rc;
}

struct world *world_host_world(struct world_host *wh)
{
    return &wh->world;
}

/* Where the helpers lie beside this program: an installation may stand anywhere (DESTDIR, another
 * prefix), and sbin and libexec move together. */
static bool libexec_beside_us(char *out, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    char helper[PATH_MAX + 64];
    return format_fits(out, size, "%s/../libexec/dompool", dirname(self)) &&
           format_fits(helper, sizeof helper, "%s/dompool-slot", out) && !access(helper, X_OK);
}

void world_host_set_libexec(struct world_host *wh, const char *dir)
{
    if (strcmp(dir, DOMPOOL_LIBEXEC_DIR) != 0 ||
        !libexec_beside_us(wh->libexec, sizeof wh->libexec))
        format_fits(wh->libexec, sizeof wh->libexec, "%s", dir);
}

void world_host_set_helpers(struct world_host *wh, const char *log_level, const char *user)
{
    struct helper_settings *s = &wh->helper_settings;
    format_fits(s->log_level, sizeof s->log_level, "%s", log_level);
    format_fits(s->user, sizeof s->user, "%s", user);
}

bool world_host_idle(struct world_host *wh)
{
    return work_idle(&wh->quick) && work_idle(&wh->destroys);
}

void world_host_stop_writes(struct world_host *wh)
{
    if (wh->writes_stopped)
        return;
    work_queue_stop(&wh->writes);
    wh->writes_stopped = true;
}

void world_host_stop(struct world_host *wh)
{
    watch_end(wh);
    list_each (node, &wh->helpers)
        helper_abandon(node);
    world_host_stop_writes(wh);
    work_queue_stop(&wh->discards);
    wh->discards_stopped = true;
    work_queue_stop(&wh->quick);
    work_queue_stop(&wh->destroys);
    work_queue_stop(&wh->starts);
    uv_close((uv_handle_t *)&wh->alarm, NULL);
    uv_close((uv_handle_t *)&wh->watch_async, NULL);
    uv_run(wh->loop, UV_RUN_DEFAULT); /* the handles' and helpers' last callbacks */
}

void world_host_free(struct world_host *wh)
{
    uv_cond_destroy(&wh->watch_cond);
    uv_mutex_destroy(&wh->watch_mutex);
    free(wh);
}
