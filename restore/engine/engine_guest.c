/*
 * Engine `guest`: libxenguest restores, from a stream that we write.
 *
 * A thread of this process runs xc_domain_restore() on a pipe. The stream that we put in is
 * an ordinary libxc migration stream, and what makes a slot warm is that it stalls:
 *
 *   build      headers, static records, PAGE_DATA of the base ... and no more. libxenguest
 *              has written every page and waits in read(2) for the next record.
 *   complete   PAGE_DATA of the delta, the image's vCPU and platform records, END.
 *              libxenguest writes the delta, sets the vCPUs, pins page tables, returns.
 *
 * libxenguest does the same between two rounds of a live migration, so this is within what the
 * library supports. An optional record follows the last base page; readers ignore it by
 * specification. Once the pipe is empty, libxenguest has read that record, so it has finished the
 * batch before.
 *
 * vCPU records of the base are never sent: an optional record that the image lacks would stay in
 * force.
 *
 * The stream's pieces are written by restore/formats/stream_write.h.
 */
#include "restore/engine/engine.h"

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "restore/formats/stream_write.h"
#include "restore/xen/cpu_policy.h"
#include "restore/xen/xen_versions.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The largest size that an unprivileged pipe may have. Compared with the default of 64 KiB, it
 * saves a quarter of the time of a completion with 1,000 pages. */
#define PIPE_BYTES (1 << 20)

#define RECORD_SENTINEL 0x800000ffu

struct guest_engine {
    int feed, drain; /* the pipe: ours, libxenguest's */
    pthread_t thread;
    bool started;
    atomic_bool done;
    int rc, errnum; /* of xc_domain_restore */
    unsigned long store_gfn, console_gfn;
    struct restore_callbacks callbacks;
};

/* ---- the side that libxenguest runs on ---- */

/* Streams of version 2 carry no CPU policy; the toolstack has to supply one, as libxl does. */
static int static_data_done(unsigned int missing, void *data)
{
    struct target *t = data;
    return missing ? cpu_policy_default(&t->xen, t->domid, &t->conf) : 0;
}

static void *restore_thread(void *data)
{
    struct target *t = data;
    struct guest_engine *g = t->engine_state;
    g->rc = xen_domain_restore(t->xen.xch, g->drain, t->domid, t->store_port, &g->store_gfn,
                               t->console_port, &g->console_gfn, &g->callbacks);
    g->errnum = errno;
    atomic_store(&g->done, true);
    fd_close(&g->drain); /* a writer on our side gets EPIPE instead of waiting for ever */
    return NULL;
}

/* ---- the side that feeds it ---- */

/* The reason of a failure: libxenguest's if it has given up, else ours. */
static int feed_failed(struct target *t, int rc, const char *what, struct error *e)
{
    struct guest_engine *g = t->engine_state;
    if (rc == -EPIPE || atomic_load(&g->done)) {
        pthread_join(g->thread, NULL);
        g->started = false;
        errno = g->errnum;
        return xen_error(&t->xen, e, "domain %u: libxenguest gave up while %s", t->domid, what);
    }
    return error_errno(e, -rc, "domain %u: feed libxenguest while %s", t->domid, what);
}

/* ---- build ---- */

static int accepts(const struct image *base, struct error *e)
{
    (void)base;
    (void)e;
    return 0; /* whatever the importer lets through, libxenguest restores */
}

static int start(struct target *t, struct error *e)
{
    struct guest_engine *g = calloc(1, sizeof *g);
    if (!g)
        return error_set(e, -ENOMEM, "out of memory for the engine");
    t->engine_state = g;
    g->feed = g->drain = -1;
    g->callbacks.static_data_done = static_data_done;
    g->callbacks.data = t;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return error_errno(e, errno, "make a pipe to libxenguest");
    g->drain = fds[0];
    g->feed = fds[1];
    if (fcntl(g->feed, F_SETPIPE_SZ, PIPE_BYTES) < 0)
        log_debug("pipe to libxenguest stays at its default size");
    xen_log_clear(&t->xen);
    int rc = thread_start(&g->thread, restore_thread, t);
    if (rc)
        return error_errno(e, rc, "start the restore thread");
    g->started = true;
    return 0;
}

/* Returns once libxenguest has taken everything out of the pipe. */
static int wait_drained(struct guest_engine *g)
{
    for (;;) {
        int left;
        if (atomic_load(&g->done))
            return -EPIPE;
        if (ioctl(g->feed, FIONREAD, &left))
            return -errno;
        if (!left)
            return 0;
        usleep(500);
    }
}

static int build(struct target *t, struct error *e)
{
    int rc = start(t, e);
    if (rc)
        return rc;
    struct guest_engine *g = t->engine_state;
    trace_pages(&t->trace, image_info(t->base)->entries);
    rc = stream_write_headers(g->feed, t->base);
    if (!rc)
        rc = stream_write_static(g->feed, t->base);
    if (!rc)
        rc = stream_write_table(g->feed, t->base);
    if (!rc)
        rc = stream_write_record(g->feed, RECORD_SENTINEL, NULL, 0);
    if (!rc)
        rc = wait_drained(g);
    return rc ? feed_failed(t, rc, "writing the base's pages", e) : 0;
}

/* ---- turn ---- */

/* libxenguest takes pages again and again, as in the rounds of a live migration. */
static int turn(struct target *t, const struct image *to, struct error *e)
{
    struct guest_engine *g = t->engine_state;
    const struct image_memory from_memory = {t->base, NULL}, to_memory = {to, NULL};
    int rc = stream_write_changes(g->feed, &from_memory, &to_memory);
    if (!rc)
        rc = stream_write_record(g->feed, RECORD_SENTINEL, NULL, 0);
    if (!rc)
        rc = wait_drained(g);
    return rc ? feed_failed(t, rc, "writing what a new version changes", e) : 0;
}

/* ---- complete ---- */

static int write_delta(struct target *t, const struct image *im, uint64_t *delta_pages,
                       struct error *e)
{
    struct guest_engine *g = t->engine_state;
    t->untouched = false;
    *delta_pages = im == t->base ? 0 : image_info(im)->entries;
    trace_pages(&t->trace, *delta_pages);
    int rc = im == t->base ? 0 : stream_write_table(g->feed, im);
    return rc ? feed_failed(t, rc, "writing the delta", e) : 0;
}

static int feed_state(struct target *t, const struct image *im, struct error *e)
{
    struct guest_engine *g = t->engine_state;
    int rc = stream_write_state(g->feed, im);
    if (!rc)
        rc = stream_write_record(g->feed, RECORD_END, NULL, 0);
    return rc ? feed_failed(t, rc, "writing the vCPUs", e) : 0;
}

static int finish(struct target *t, const struct image *im, struct error *e)
{
    struct guest_engine *g = t->engine_state;
    int rc = feed_state(t, im, e);
    if (rc)
        return rc;
    trace_stage_end(&t->trace, "feed");
    pthread_join(g->thread, NULL);
    g->started = false;
    if (g->rc) {
        errno = g->errnum;
        return xen_error(&t->xen, e, "domain %u: libxenguest could not complete it", t->domid);
    }
    trace_stage_end(&t->trace, "restore");
    t->store_gfn = g->store_gfn;
    t->console_gfn = g->console_gfn;
    return 0;
}

static void dispose(struct target *t)
{
    struct guest_engine *g = t->engine_state;
    if (!g)
        return;
    fd_close(&g->feed); /* a stalled restore ends with an error */
    if (g->started)
        pthread_join(g->thread, NULL);
    fd_close(&g->drain);
    free(g);
    t->engine_state = NULL;
}

const struct engine engine_guest = {
    .name = "guest",
    .accepts = accepts,
    .build = build,
    .turn = turn,
    .write = write_delta,
    .finish = finish,
    .dispose = dispose,
};
