/*
 * Capture: see capture.h.
 *
 * Two threads. The caller's runs the importer, or waits for the process that does (options.import).
 * The saver runs xc_domain_save() and has all of Xen's
 * handles to itself until it is joined. The threads share only two flags and the pipe:
 *
 *   stop    set by the importer's side: a request that the guest has not answered is taken back.
 *           The pipe is closed at the same time, so a running save ends with EPIPE.
 *   failed  set by the saver before it closes its end of the pipe. The importer then complains of a
 *           stream that ends too early, but the saver knows why.
 *
 * The saver starts at the importer's first read. By then the importer has accepted the
 * configuration and has its files open, so what can be refused is refused before the guest is
 * disturbed.
 */
#include "restore/imaging/capture.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/page.h"
#include "base/thread.h"
#include "restore/formats/source.h"
#include "restore/imaging/guard.h"
#include "restore/imaging/running_conf.h"
#include "restore/imaging/suspend.h"
#include "restore/xen/domain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenguest.h>

#define PIPE_BYTES (1 << 20) /* the most that an unprivileged pipe may hold */

struct capture {
    const struct capture_options *o;
    struct xen xen; /* the saver's while it runs */
    struct guard guard;
    char *config;
    size_t config_len;
    uint64_t memory_bytes;
    int feed, drain; /* the pipe: libxenguest's end, the importer's */
    pthread_t saver;
    bool saver_started;
    atomic_bool stop, failed;
    /* ---- the saver's until it is joined ---- */
    struct error error;
    bool suspended; /* and not resumed */
    uint64_t suspended_us, still_us;
};

/* ---- before ---- */

static int state_check(uint32_t domid, const xc_domaininfo_t *info, struct error *e)
{
    const char *why = NULL;
    if (info->flags & XEN_DOMINF_dying)
        why = "is being destroyed";
    else if (suspend_is_suspended(info))
        why = "is suspended already";
    else if (info->flags & XEN_DOMINF_shutdown)
        why = "has shut down";
    else if (info->flags & XEN_DOMINF_paused)
        why = "is paused, so it cannot help; unpause it first";
    return why ? error_set(e, ANSWER_DOMAIN_STATE, "domain %u %s", domid, why) : 0;
}

static int domain_check(struct capture *c, struct error *e)
{
    if (!c->o->domid)
        return error_set(e, ANSWER_BAD_VALUE, "domain 0 is the host itself");
    xc_domaininfo_t info;
    int rc = domain_find(&c->xen, c->o->domid, c->o->uuid, &info, e);
    if (rc)
        return rc;
    c->memory_bytes = (uint64_t)info.tot_pages * PAGE_BYTES;
    return state_check(c->o->domid, &info, e);
}

/* ---- the saver ---- */

/* Also notes how long the domain stood still. */
static int domain_resume(struct capture *c, struct error *e)
{
    int rc = suspend_undo(&c->xen, c->o->domid, c->o->uuid, NULL, e);
    if (!rc)
        c->suspended = false;
    c->still_us = clock_mono_us() - c->suspended_us;
    log_debug("domain %u: stood still for %" PRIu64 " us", c->o->domid, c->still_us);
    return rc;
}

/* libxenguest's callbacks: 1 means success for this one. */
static int saver_suspend(void *data)
{
    struct capture *c = data;
    struct suspend_options o = {
        .domid = c->o->domid,
        .uuid = c->o->uuid,
        .timeout_ms = c->o->suspend_timeout_ms,
        .stop = &c->stop,
    };
    guard_arm(&c->guard);
    if (suspend_domain(&c->xen, &o, &c->error))
        return 0;
    c->suspended = true;
    c->suspended_us = clock_mono_us();
    log_debug("domain %u is suspended", c->o->domid);
    return 1;
}

/* Called for PVH guests too, though they have no device model whose writes would have to be
 * logged. */
static int saver_log_dirty(uint32_t domid, unsigned enable, void *data)
{
    (void)domid, (void)enable, (void)data;
    return 0;
}

/* Checks that the domain stood still until its memory was read. Somebody else may have let it go
 * on: the guard of an earlier capture that was killed, or an administrator. Then memory may have
 * changed while it was read. */
static int stillness_check(struct capture *c, struct error *e)
{
    xc_domaininfo_t info;
    int rc = domain_find(&c->xen, c->o->domid, c->o->uuid, &info, e);
    if (rc || suspend_is_suspended(&info))
        return rc;
    return error_set(e, ANSWER_DOMAIN_STATE,
                     "domain %u went on while its memory was read: somebody else let it go on. The "
                     "image is not kept; try again",
                     c->o->domid);
}

static void *saver_run(void *data)
{
    struct capture *c = data;
    struct save_callbacks callbacks = {
        .suspend = saver_suspend, .switch_qemu_logdirty = saver_log_dirty, .data = c};
    xen_log_clear(&c->xen);
    int rc = xc_domain_save(c->xen.xch, c->feed, c->o->domid, 0, &callbacks, XC_STREAM_PLAIN, -1);
    if (rc && !c->error.code)
        xen_error(&c->xen, &c->error, "libxenguest could not read it");
    if (!rc)
        rc = stillness_check(c, &c->error);
    if (rc) {
        atomic_store(&c->failed, true);
    } else if (!c->o->stop) {
        struct error again; /* capture_finish tries again, and reports */
        domain_resume(c, &again);
    }
    fd_close(&c->feed);
    return NULL;
}

/* A signal for the saver would not interrupt the importer's read, and SIGPIPE would end the
 * process.
 */
static int saver_start(struct capture *c)
{
    int rc = thread_start(&c->saver, saver_run, c);
    c->saver_started = !rc;
    return rc ? error_errno(&c->error, rc, "start the saving thread") : 0;
}

/* ---- the importer's side ---- */

/* Called before each read of the pipe. */
static int capture_progress(uint64_t done, uint64_t total, void *data)
{
    struct capture *c = data;
    (void)total;
    if (c->o->progress && c->o->progress(done, c->memory_bytes, c->o->progress_data))
        return -ECANCELED;
    return c->saver_started ? 0 : saver_start(c);
}

static int import_here(struct capture *c, const struct import_options *o, struct image_info *info,
                       struct error *e)
{
    struct source src;
    int rc = source_init_fd(&src, c->drain, e);
    src.progress = capture_progress;
    src.progress_data = c;
    if (!rc)
        rc = import_stream(c->config, c->config_len, &src, o, info, e);
    source_dispose(&src);
    return rc;
}

static int capture_import(struct capture *c, struct image_info *info, struct error *e)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return error_errno(e, errno, "make a pipe from libxenguest");
    c->drain = fds[0];
    c->feed = fds[1];
    if (fcntl(c->feed, F_SETPIPE_SZ, PIPE_BYTES) < 0)
        log_debug("pipe from libxenguest stays at its default size");
    struct import_options o = {
        .image_path = c->o->image_path,
        .base_path = c->o->base_path,
        .disks = c->o->disks,
        .n_disks = c->o->n_disks,
        .disk_digests = c->o->disk_digests,
        .trusted = true, /* its disks are attached already; xl wrote its configuration, or we did */
        .progress = capture_progress,
        .progress_data = c,
    };
    return c->o->import
               ? c->o->import(c->config, c->config_len, &c->drain, &o, info, c->o->import_data, e)
               : import_here(c, &o, info, e);
}

/* ---- after ---- */

/* The saver ends soon: by itself, or because nobody listens. */
static void saver_join(struct capture *c)
{
    atomic_store(&c->stop, true);
    fd_close(&c->drain);
    if (c->saver_started)
        pthread_join(c->saver, NULL);
    c->saver_started = false;
}

static void image_discard(const char *path)
{
    if (unlink(path) && errno != ENOENT)
        log_warning("remove %s: %s", path, strerror(errno));
}

/* The domain goes on, unless it is to stay as it is. */
static int capture_resume(struct capture *c, int rc, struct error *why)
{
    struct error stuck = {0};
    if (!c->suspended || (!rc && c->o->stop) || !domain_resume(c, &stuck))
        return rc;
    if (rc)
        error_prefix(&stuck, "%s; and ", why->text);
    *why = stuck;
    return stuck.code;
}

/*
 * rc is the importer's, and why its reason. The side that failed first knows the reason. This is
 * the saver if it had failed by the time the importer ended, or was never started.
 */
static int capture_finish(struct capture *c, int rc, struct error *why)
{
    bool saver_first =
        c->saver_started ? rc != -ECANCELED && atomic_load(&c->failed) : c->error.code != 0;
    saver_join(c);
    saver_first |= !rc && c->error.code; /* after the importer had everything that it needs */
    int failed = saver_first ? c->error.code : rc;
    if (saver_first)
        *why = c->error;
    failed = capture_resume(c, failed, why);
    if (!rc && failed)
        image_discard(c->o->image_path);
    return failed;
}

static int capture_run(struct capture *c, struct image_info *info, struct error *e)
{
    if (!access(c->o->image_path, F_OK)) /* the importer would say so at its very end */
        return error_set(e, -EEXIST, "image file %s exists already", c->o->image_path);
    int rc = domain_check(c, e);
    if (!rc)
        rc = running_conf_read(&c->xen, c->o->domid, c->o->uuid, &c->config, &c->config_len, e);
    if (rc)
        return rc;
    rc = guard_start(&c->guard, c->o->domid, c->o->uuid, e);
    if (rc)
        return rc;
    rc = capture_import(c, info, e);
    rc = capture_finish(c, rc, e);
    guard_dismiss(&c->guard);
    return rc;
}

static void capture_dispose(struct capture *c)
{
    fd_close(&c->feed);
    fd_close(&c->drain);
    free(c->config);
    xen_close(&c->xen);
}

int capture_domain(const struct capture_options *o, struct image_info *info, struct error *e)
{
    struct capture c = {.o = o, .feed = -1, .drain = -1};
    struct error why = {0};
    int rc = xen_open(&c.xen, &why);
    if (!rc)
        rc = capture_run(&c, info, &why);
    if (!rc && o->still_us)
        *o->still_us = c.still_us;
    capture_dispose(&c);
    if (!rc)
        return 0;
    error_prefix(&why, "capture of domain %u: ", o->domid);
    if (e)
        *e = why;
    return rc;
}
