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
 * That is what it does in a live migration between two rounds, so nothing here is
 * beyond what the library supports. To know that the last base page is in, an
 * optional record (which readers ignore by specification) follows it: once the
 * pipe is empty, libxenguest has read that record, so it has finished the batch before.
 *
 * vCPU records of the base are never sent: an optional one that the image lacks would
 * stay in force.
 *
 * Source of the format: Xen's docs/specs/libxc-migration-stream.
 */
#include "restore/engine.h"

#include "base/log.h"
#include "base/util.h"
#include "restore/import.h"
#include "restore/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xenguest.h>

/* The most that an unprivileged pipe may hold. Against the default of 64 KiB it takes a quarter off
 * a completion with 1,000 pages. */
#define PIPE_BYTES (1 << 20)

#define BATCH_PAGES 1024u /* what libxenguest itself sends in one record */
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
    struct slot *s = data;
    if (!missing)
        return 0;
    bool itsc = s->conf.nomigrate || s->conf.tsc_mode == 1; /* always emulated: invariant */
    return xc_cpuid_apply_policy(s->xen.xch, s->domid, true, NULL, 0, true, itsc,
                                 s->conf.nested_hvm, NULL, NULL);
}

static void *restore_thread(void *data)
{
    struct slot *s = data;
    struct guest_engine *g = s->engine_state;
    g->rc =
        xc_domain_restore(s->xen.xch, g->drain, s->domid, s->store_port, &g->store_gfn, 0,
                          s->console_port, &g->console_gfn, 0, XC_STREAM_PLAIN, &g->callbacks, -1);
    g->errnum = errno;
    atomic_store(&g->done, true);
    fd_close(&g->drain); /* a writer on our side gets EPIPE instead of waiting for ever */
    return NULL;
}

/* ---- the side that feeds it ---- */

/* Writes all of iov, which is changed on the way. */
static int feed_iov(struct guest_engine *g, struct iovec *iov, size_t n)
{
    while (n) {
        ssize_t done = writev(g->feed, iov, n < IOV_MAX ? (int)n : IOV_MAX);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        while (n && (size_t)done >= iov->iov_len) {
            done -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return 0;
}

static int feed_record(struct guest_engine *g, uint32_t type, const void *body, uint32_t length)
{
    static const char padding[8];
    uint32_t header[2] = {type, length};
    struct iovec iov[] = {{header, sizeof header},
                          {(void *)(uintptr_t)body, length},
                          {(void *)(uintptr_t)padding, -length % 8}};
    return feed_iov(g, iov, ARRAY_SIZE(iov));
}

/* Only these carry 4 KiB in a stream; the others have been left out by the importer, save
 * for XALLOC, which is memory without content. */
static bool page_has_content(unsigned type)
{
    return type == PAGE_NOTAB || page_type_is_table(type);
}

struct page_batch {
    struct {
        uint32_t type, length, count, reserved;
        uint64_t pfns[BATCH_PAGES];
    } head;
    struct iovec iov[1 + BATCH_PAGES];
    size_t n_iov, n_data;
};

static void batch_start(struct page_batch *b)
{
    b->head.count = 0;
    b->n_iov = 1;
    b->n_data = 0;
}

static void batch_add(struct page_batch *b, const struct image *im, const struct image_page *page)
{
    b->head.pfns[b->head.count++] = page->pfn_type;
    if (!page_has_content(image_page_type(page)))
        return;
    b->n_data++;
    char *content = (char *)(uintptr_t)image_payload(im, page->payload);
    struct iovec *last = &b->iov[b->n_iov - 1];
    if (b->n_iov > 1 && (char *)last->iov_base + last->iov_len == content)
        last->iov_len += PAGE_BYTES;
    else
        b->iov[b->n_iov++] = (struct iovec){content, PAGE_BYTES};
}

static int batch_send(struct guest_engine *g, struct page_batch *b)
{
    size_t table = b->head.count * sizeof b->head.pfns[0];
    b->head.type = RECORD_PAGE_DATA;
    b->head.length = (uint32_t)(8 + table + b->n_data * PAGE_BYTES);
    b->head.reserved = 0;
    b->iov[0] = (struct iovec){&b->head, 16 + table};
    int rc = b->head.count ? feed_iov(g, b->iov, b->n_iov) : 0;
    batch_start(b);
    return rc;
}

/* All pages of the image's own table. */
static int feed_pages(struct guest_engine *g, const struct image *im)
{
    struct page_batch *b = malloc(sizeof *b);
    if (!b)
        return -ENOMEM;
    batch_start(b);
    int rc = 0;
    const struct image_page *pages = image_pages(im);
    uint64_t n = image_info(im)->pages;
    for (uint64_t i = 0; i < n && !rc; i++) {
        batch_add(b, im, &pages[i]);
        if (b->head.count == BATCH_PAGES)
            rc = batch_send(g, b);
    }
    if (!rc)
        rc = batch_send(g, b);
    free(b);
    return rc;
}

/* Records that come before memory, or those that come after it; our own ones never. */
static int feed_records(struct guest_engine *g, const struct image *im, bool before_pages)
{
    struct image_record r;
    size_t cursor = 0;
    while (image_next_record(im, &cursor, &r)) {
        if (r.type == IMAGE_RECORD_ORIGIN || r.type == IMAGE_RECORD_XL_CONFIG ||
            record_is_static(r.type) != before_pages)
            continue;
        int rc = feed_record(g, r.type, r.body, r.length);
        if (rc)
            return rc;
    }
    return 0;
}

/* Which Xen wrote the stream, and in which version. The importer always notes it. */
static struct image_record_origin origin_of(const struct image *im)
{
    struct image_record_origin origin = {.stream_version = 3, .xen_major = 4, .xen_minor = 17};
    struct image_record r;
    size_t cursor = 0;
    while (image_next_record(im, &cursor, &r))
        if (r.type == IMAGE_RECORD_ORIGIN && r.length >= sizeof origin)
            memcpy(&origin, r.body, sizeof origin);
    return origin;
}

static int feed_headers(struct guest_engine *g, const struct image *im)
{
    struct image_record_origin origin = origin_of(im);
    struct {
        uint64_t marker;
        uint32_t id, version; /* big endian, as the options */
        uint16_t options, reserved16;
        uint32_t reserved32;
        uint32_t type;
        uint16_t page_shift, reserved;
        uint32_t xen_major, xen_minor;
    } head = {
        .marker = UINT64_MAX,
        .id = htonl(0x58454e46), /* "XENF" */
        .version = htonl(origin.stream_version),
        .type = image_info(im)->guest == IMAGE_GUEST_PV ? 1 : 2,
        .page_shift = 12,
        .xen_major = origin.xen_major,
        .xen_minor = origin.xen_minor,
    };
    struct iovec iov = {&head, 40};
    _Static_assert(sizeof head == 40, "two headers of the stream, 24 and 16 bytes");
    return feed_iov(g, &iov, 1);
}

/* What went wrong: libxenguest's reason if it has given up, else ours. */
static int feed_failed(struct slot *s, int rc, const char *what, struct error *e)
{
    struct guest_engine *g = s->engine_state;
    if (rc == -EPIPE || atomic_load(&g->done)) {
        pthread_join(g->thread, NULL);
        g->started = false;
        errno = g->errnum;
        return xen_error(&s->xen, e, "domain %u: libxenguest gave up while %s", s->domid, what);
    }
    return error_errno(e, -rc, "domain %u: feed libxenguest while %s", s->domid, what);
}

/* ---- build ---- */

static int accepts(const struct image *base, struct error *e)
{
    (void)base;
    (void)e;
    return 0; /* whatever the importer lets through, libxenguest restores */
}

static int start(struct slot *s, struct error *e)
{
    struct guest_engine *g = calloc(1, sizeof *g);
    if (!g)
        return error_set(e, -ENOMEM, "out of memory for the engine");
    s->engine_state = g;
    g->feed = g->drain = -1;
    g->callbacks.static_data_done = static_data_done;
    g->callbacks.data = s;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return error_errno(e, errno, "make a pipe to libxenguest");
    g->drain = fds[0];
    g->feed = fds[1];
    if (fcntl(g->feed, F_SETPIPE_SZ, PIPE_BYTES) < 0)
        log_debug("pipe to libxenguest stays at its default size");
    xen_log_clear(&s->xen);
    int rc = pthread_create(&g->thread, NULL, restore_thread, s);
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

static int build(struct slot *s, struct error *e)
{
    int rc = start(s, e);
    if (rc)
        return rc;
    struct guest_engine *g = s->engine_state;
    rc = feed_headers(g, s->base);
    if (!rc)
        rc = feed_records(g, s->base, true);
    if (!rc)
        rc = feed_pages(g, s->base);
    if (!rc)
        rc = feed_record(g, RECORD_SENTINEL, NULL, 0);
    if (!rc)
        rc = wait_drained(g);
    return rc ? feed_failed(s, rc, "writing the base's pages", e) : 0;
}

/* ---- complete ---- */

static int feed_completion(struct slot *s, const struct image *im, uint64_t *delta_pages)
{
    struct guest_engine *g = s->engine_state;
    *delta_pages = im == s->base ? 0 : image_info(im)->pages;
    int rc = im == s->base ? 0 : feed_pages(g, im);
    if (!rc)
        rc = feed_records(g, im, false);
    if (!rc)
        rc = feed_record(g, RECORD_END, NULL, 0);
    return rc;
}

static int complete(struct slot *s, const struct image *im, uint64_t *delta_pages, struct error *e)
{
    struct guest_engine *g = s->engine_state;
    int rc = feed_completion(s, im, delta_pages);
    if (rc)
        return feed_failed(s, rc, "writing the delta", e);
    trace_stage_end(&s->trace, "feed");
    pthread_join(g->thread, NULL);
    g->started = false;
    if (g->rc) {
        errno = g->errnum;
        return xen_error(&s->xen, e, "domain %u: libxenguest could not complete it", s->domid);
    }
    trace_stage_end(&s->trace, "restore");
    s->store_gfn = g->store_gfn;
    s->console_gfn = g->console_gfn;
    return 0;
}

static void dispose(struct slot *s)
{
    struct guest_engine *g = s->engine_state;
    if (!g)
        return;
    fd_close(&g->feed); /* a stalled restore ends with an error */
    if (g->started)
        pthread_join(g->thread, NULL);
    fd_close(&g->drain);
    free(g);
    s->engine_state = NULL;
}

const struct engine engine_guest = {
    .name = "guest",
    .accepts = accepts,
    .build = build,
    .complete = complete,
    .dispose = dispose,
};
