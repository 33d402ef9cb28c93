/* Writing pages by grant copy: see page_writer.h. */
#include "restore/page_writer.h"

#include "restore/pte.h"
#include "restore/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>

#define TABLE_ENTRIES (PAGE_BYTES / sizeof(grant_entry_v1_t))
/* Pages that one thread copies at a time. Larger windows were no faster, and this one's pages stay
 * in a processor's cache between being read and being copied. */
#define WINDOW ((TABLE_ENTRIES - GNTTAB_NR_RESERVED_ENTRIES) / CREW_MAX)
/* Waking the crew costs what forty pages cost, and its end half a window's time, so a queue is many
 * windows; the crew begins with the second, and a queue of fewer is nobody's but the caller's. */
#define QUEUE_WINDOWS 32u
#define QUEUE_PAGES (QUEUE_WINDOWS * WINDOW)
#define CREW_WINDOWS 2u
#define OWN_PAGES 16u
#define CLEARS 512u

/* A page on its way. Its content is at source; NULL: it is a payload of the image's file. */
struct queued {
    uint64_t pfn;
    const void *source;
    const struct image *image;
    uint64_t payload;
    bool is_table; /* of a PV guest, to be localised */
};

/* What one thread works with: its entries of the grant table and its memory. */
struct lane {
    uint32_t first_ref;
    uint8_t *arena; /* WINDOW pages, in memory from the start */
    xengnttab_grant_copy_segment_t segments[WINDOW];
};

struct page_writer {
    struct xen *xen;
    uint32_t domid;
    enum image_guest guest;
    struct frames *frames;
    struct crew *crew; /* NULL: nobody helps */
    bool failed;       /* nobody knows what has been written */
    bool clears_work;  /* the hypervisor clears pages for us; it does so for PV on PV alone */
    xengnttab_handle *gnttab;
    xenforeignmemory_handle *memory;
    xenforeignmemory_resource_handle *resource;
    grant_entry_v1_t *grants; /* the table's first frame */
    size_t n, n_own, n_clears;
    unsigned windows;            /* of the queue, that the crew has been given */
    size_t sizes[QUEUE_WINDOWS]; /* pages of each of these */
    struct lane lanes[CREW_MAX]; /* by worker; those without a thread have no arena */
    struct queued queue[QUEUE_PAGES];
    struct mmuext_op clears[CLEARS];
    uint64_t cleared[CLEARS];                                /* their pfns */
    _Alignas(PAGE_BYTES) uint8_t own[OWN_PAGES][PAGE_BYTES]; /* contents that were handed over */
};

static const size_t arena_bytes = WINDOW * PAGE_BYTES;
static const _Alignas(PAGE_BYTES) uint8_t zeros[PAGE_BYTES];

/* ---- open, close ---- */

static int map_grants(struct page_writer *w, struct error *e)
{
    void *at = NULL;
    w->resource = xenforeignmemory_map_resource(
        w->memory, (domid_t)w->domid, XENMEM_resource_grant_table,
        XENMEM_resource_grant_table_id_shared, 0, 1, &at, PROT_READ | PROT_WRITE, 0);
    if (!w->resource)
        return xen_error(w->xen, e, "domain %u: map its grant table", w->domid);
    w->grants = at;
    return 0;
}

static int lane_open(struct page_writer *w, unsigned worker, struct error *e)
{
    struct lane *l = &w->lanes[worker];
    l->first_ref = GNTTAB_NR_RESERVED_ENTRIES + worker * (uint32_t)WINDOW;
    l->arena = aligned_alloc(PAGE_BYTES, arena_bytes);
    if (!l->arena)
        return error_set(e, -ENOMEM, "out of memory for pages on their way");
    memset(l->arena, 0, arena_bytes); /* no page fault later */
    memset(l->segments, 0, sizeof l->segments);
    return 0;
}

static int open_handles(struct page_writer *w, struct error *e)
{
    w->gnttab = xengnttab_open(NULL, 0);
    if (!w->gnttab)
        return xen_error(w->xen, e, "open /dev/xen/gntdev");
    w->memory = xenforeignmemory_open(NULL, 0);
    if (!w->memory)
        return xen_error(w->xen, e, "open /dev/xen/privcmd for foreign memory");
    int rc = map_grants(w, e);
    return rc ? rc : lane_open(w, 0, e);
}

int page_writer_open(struct xen *x, uint32_t domid, enum image_guest guest, struct frames *frames,
                     struct page_writer **out, struct error *e)
{
    struct page_writer *w = aligned_alloc(PAGE_BYTES, sizeof *w);
    *out = w;
    if (!w)
        return error_set(e, -ENOMEM, "out of memory for a writer of pages");
    memset(w, 0, sizeof *w);
    w->xen = x;
    w->domid = domid;
    w->guest = guest;
    w->frames = frames;
    w->clears_work = guest == IMAGE_GUEST_PV;
    int rc = open_handles(w, e);
    if (rc) {
        page_writer_close(w);
        *out = NULL;
    }
    return rc;
}

int page_writer_helped(struct page_writer *w, struct crew *crew, struct error *e)
{
    int rc = 0;
    for (unsigned i = 1; i < crew_size(crew) && !rc; i++)
        rc = lane_open(w, i, e);
    if (!rc)
        w->crew = crew;
    return rc;
}

/* Returns rc. After a failure no thread uses what was queued any more, and no flush succeeds. */
static int settle(struct page_writer *w, int rc)
{
    struct error of_crew;
    if (rc && w->windows)
        (void)crew_end(w->crew, &of_crew);
    if (rc) {
        w->windows = 0;
        w->n = w->n_own = 0;
        w->failed = true;
    }
    return rc;
}

void page_writer_close(struct page_writer *w)
{
    if (!w)
        return;
    settle(w, -ECANCELED);
    if (w->resource)
        xenforeignmemory_unmap_resource(w->memory, w->resource);
    if (w->memory)
        xenforeignmemory_close(w->memory);
    if (w->gnttab)
        xengnttab_close(w->gnttab);
    for (unsigned i = 0; i < CREW_MAX; i++)
        free(w->lanes[i].arena);
    free(w);
}

/* ---- page tables ---- */

int page_table_localise(const struct frames *f, uint64_t pfn, void *page, struct error *e)
{
    uint64_t *entries = page;
    for (unsigned i = 0; i < PTES_PER_TABLE; i++) {
        if (!(entries[i] & PTE_PRESENT))
            continue;
        uint64_t mfn = frames_mfn(f, PTE_FRAME(entries[i]));
        if (mfn == FRAME_NONE || mfn > PTE_FRAME_MASK >> 12)
            return error_set(e, -EINVAL,
                             "page table at pfn %#" PRIx64 ": entry %u (%#" PRIx64
                             ") names a page that the guest has not",
                             pfn, i, entries[i]);
        entries[i] = (entries[i] & ~PTE_FRAME_MASK) | mfn << 12;
    }
    return 0;
}

/* ---- windows: fetched, localised and copied, each by one thread ---- */

static uint8_t *arena_page(const struct lane *l, size_t i)
{
    return l->arena + i * PAGE_BYTES;
}

/* How many pages from q on are one piece of one file. */
static size_t run_length(const struct queued *q, size_t most)
{
    size_t n = 1;
    while (n < most && !q[n].source && q[n].image == q->image && q[n].payload == q->payload + n)
        n++;
    return n;
}

/* The page before it has the same content, and nobody changes either. */
static bool same_as_before(const struct queued *q)
{
    return !q[-1].source && q->image == q[-1].image && q->payload == q[-1].payload &&
           !q->is_table && !q[-1].is_table;
}

/* Content that is in memory is copied from there; a table is changed on its way, in the arena. */
static void content_take(struct lane *l, const struct queued *q, size_t i)
{
    if (q->is_table)
        memcpy(arena_page(l, i), q->source, PAGE_BYTES);
    else
        l->segments[i].source.virt = (void *)(uintptr_t)q->source;
}

static int fetch(struct lane *l, const struct queued *q, size_t n, struct error *e)
{
    int rc = 0;
    size_t run;
    for (size_t i = 0; i < n; i++)
        l->segments[i].source.virt = arena_page(l, i);
    for (size_t i = 0; i < n && !rc; i += run) {
        run = 1;
        if (q[i].source) {
            content_take(l, &q[i], i);
        } else if (i && same_as_before(&q[i])) {
            l->segments[i].source.virt = l->segments[i - 1].source.virt;
        } else {
            run = run_length(&q[i], n - i);
            rc = image_read_payloads(q[i].image, q[i].payload, run, arena_page(l, i), e);
        }
    }
    return rc;
}

static int localise(const struct page_writer *w, const struct lane *l, const struct queued *q,
                    size_t n, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        if (q[i].is_table)
            rc = page_table_localise(w->frames, q[i].pfn, arena_page(l, i), e);
    return rc;
}

/* An entry of the grant table is complete but for its flags, without which it is none, before they
 * are set. */
static void grant(const struct page_writer *w, struct lane *l, const struct queued *q, size_t n)
{
    grant_entry_v1_t *entries = w->grants + l->first_ref;
    for (size_t i = 0; i < n; i++) {
        entries[i].domid = 0;
        entries[i].frame = (uint32_t)frames_mfn(w->frames, q[i].pfn);
        l->segments[i].dest.foreign.ref = l->first_ref + (uint32_t)i;
        l->segments[i].dest.foreign.offset = 0;
        l->segments[i].dest.foreign.domid = (uint16_t)w->domid;
        l->segments[i].len = PAGE_BYTES;
        l->segments[i].flags = GNTCOPY_dest_gref;
        l->segments[i].status = GNTST_general_error;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (size_t i = 0; i < n; i++)
        entries[i].flags = GTF_permit_access;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static int copy(const struct page_writer *w, struct lane *l, const struct queued *q, size_t n,
                struct error *e)
{
    grant(w, l, q, n);
    int failed = xengnttab_grant_copy(w->gnttab, (uint32_t)n, l->segments) ? errno : 0;
    memset(w->grants + l->first_ref, 0, n * sizeof *w->grants);
    if (failed) /* not xen_error: what the library logs is one text for all threads */
        return error_errno(e, failed, "domain %u: copy %zu pages, the first to pfn %#" PRIx64,
                           w->domid, n, q->pfn);
    for (size_t i = 0; i < n; i++)
        /* the hypervisor's own codes, GNTST_...: -1 is a frame that may not be written, say a table
         */
        if (l->segments[i].status != GNTST_okay)
            return error_set(e, -EIO, "domain %u: copy to pfn %#" PRIx64 ": grant status %d",
                             w->domid, q[i].pfn, l->segments[i].status);
    return 0;
}

static int window_write(struct page_writer *w, struct lane *l, const struct queued *q, size_t n,
                        struct error *e)
{
    int rc = fetch(l, q, n, e);
    if (!rc)
        rc = localise(w, l, q, n, e);
    return rc ? rc : copy(w, l, q, n, e);
}

/* A part of a crew's work. The queue's end moves on meanwhile, so it does not ask for that. */
static int crew_window(void *data, unsigned part, unsigned worker, struct error *e)
{
    struct page_writer *w = data;
    return window_write(w, &w->lanes[worker], w->queue + part * WINDOW, w->sizes[part], e);
}

static void crew_give(struct page_writer *w, size_t pages)
{
    if (!w->windows)
        crew_begin(w->crew, crew_window, w);
    unsigned given = w->windows;
    for (size_t from = given * WINDOW; from < pages; from += WINDOW)
        w->sizes[w->windows++] = pages - from < WINDOW ? pages - from : WINDOW;
    crew_add(w->crew, w->windows - given);
}

static int queue_write(struct page_writer *w, struct error *e)
{
    int rc = 0;
    if (w->windows) {
        crew_give(w, w->n);
        rc = crew_end(w->crew, e);
    } else {
        for (size_t from = 0, n; from < w->n && !rc; from += n) {
            n = w->n - from < WINDOW ? w->n - from : WINDOW;
            rc = window_write(w, &w->lanes[0], w->queue + from, n, e);
        }
    }
    w->windows = 0;
    w->n = w->n_own = 0;
    return rc;
}

/* A window that is full is the crew's at once. */
static int queue(struct page_writer *w, struct queued q, struct error *e)
{
    uint64_t mfn = frames_mfn(w->frames, q.pfn);
    if (mfn > UINT32_MAX)
        return error_set(e, -EINVAL, "pfn %#" PRIx64 ": frame %#" PRIx64 " fits no grant", q.pfn,
                         mfn);
    w->queue[w->n++] = q;
    if (w->n == QUEUE_PAGES)
        return queue_write(w, e);
    if (w->crew && w->n % WINDOW == 0 && w->n >= CREW_WINDOWS * WINDOW)
        crew_give(w, w->n);
    return 0;
}

/* ---- pages of zeros ---- */

static int zeros_queue(struct page_writer *w, uint64_t pfn, struct error *e)
{
    return queue(w, (struct queued){.pfn = pfn, .source = zeros}, e);
}

/* A dom0 that is no PV domain itself may not ask for this; then zeros are copied. */
static int clears_refused(struct page_writer *w, struct error *e)
{
    size_t n = w->n_clears;
    int rc = 0;
    w->clears_work = false;
    w->n_clears = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = zeros_queue(w, w->cleared[i], e);
    return rc;
}

static int clear_batch(struct page_writer *w, struct error *e)
{
    if (xc_mmuext_op(w->xen->xch, w->clears, (unsigned)w->n_clears, w->domid)) {
        if (errno == EOPNOTSUPP)
            return clears_refused(w, e);
        return xen_error(w->xen, e, "domain %u: clear %zu pages, the first at pfn %#" PRIx64,
                         w->domid, w->n_clears, w->cleared[0]);
    }
    w->n_clears = 0;
    return 0;
}

static int clear_queue(struct page_writer *w, uint64_t pfn, struct error *e)
{
    w->cleared[w->n_clears] = pfn;
    w->clears[w->n_clears++] = (struct mmuext_op){
        .cmd = MMUEXT_CLEAR_PAGE,
        .arg1.mfn = frames_mfn(w->frames, pfn),
    };
    return w->n_clears == CLEARS ? clear_batch(w, e) : 0;
}

/* ---- what callers add ---- */

static bool is_table(const struct page_writer *w, unsigned type)
{
    return w->guest == IMAGE_GUEST_PV && page_type_is_table(type);
}

static int zeros_add(struct page_writer *w, uint64_t pfn, struct error *e)
{
    return w->clears_work ? clear_queue(w, pfn, e) : zeros_queue(w, pfn, e);
}

static int add_content(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                       struct error *e)
{
    int rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    if (!content)
        return zeros_add(w, pfn, e);
    if (w->n_own == OWN_PAGES)
        rc = queue_write(w, e);
    if (rc)
        return rc;
    uint8_t *own = w->own[w->n_own++];
    memcpy(own, content, PAGE_BYTES);
    return queue(w, (struct queued){.pfn = pfn, .source = own, .is_table = is_table(w, type)}, e);
}

static int add_payload(struct page_writer *w, uint64_t pfn, unsigned type, const struct image *im,
                       uint64_t payload, struct error *e)
{
    int rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    if (payload == IMAGE_PAGE_ZERO)
        return zeros_add(w, pfn, e);
    return queue(w,
                 (struct queued){.pfn = pfn,
                                 .source = image_payload_near(im, payload),
                                 .image = im,
                                 .payload = payload,
                                 .is_table = is_table(w, type)},
                 e);
}

int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e)
{
    return settle(w, add_content(w, pfn, type, content, e));
}

int page_writer_add_payload(struct page_writer *w, uint64_t pfn, unsigned type,
                            const struct image *im, uint64_t payload, struct error *e)
{
    return settle(w, add_payload(w, pfn, type, im, payload, e));
}

static int flush(struct page_writer *w, struct error *e)
{
    if (w->failed)
        return error_set(e, -EINVAL, "domain %u: a write before this one has failed", w->domid);
    int rc = w->n_clears ? clear_batch(w, e) : 0;
    return !rc && w->n ? queue_write(w, e) : rc;
}

int page_writer_flush(struct page_writer *w, struct error *e)
{
    int rc = settle(w, flush(w, e));
    if (!rc)
        frames_writes_done(w->frames);
    return rc;
}
