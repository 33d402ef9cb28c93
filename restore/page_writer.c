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
#define WINDOW (TABLE_ENTRIES - GNTTAB_NR_RESERVED_ENTRIES)
#define CLEARS 512u
/* Fewer pages than this are copied sooner than another thread wakes up; and so many batches one
 * after the other as fast by one thread as by two, where both want the same memory. */
#define PART_PAGES 128u
#define BATCHES_ALONE 8u

/* A page on its way: what is known besides its segment of the copy. */
struct queued {
    uint64_t pfn;
    const struct image *image; /* whose file has its content; NULL: the segment's source has it */
    uint64_t payload;
    bool is_table; /* of a PV guest, to be localised */
};

struct page_writer {
    struct xen *xen;
    uint32_t domid;
    enum image_guest guest;
    struct frames *frames;
    struct crew *crew; /* NULL: nobody helps */
    bool clears_work;  /* the hypervisor clears pages for us; it does so for PV on PV alone */
    xengnttab_handle *gnttab;
    xenforeignmemory_handle *memory;
    xenforeignmemory_resource_handle *resource;
    grant_entry_v1_t *grants; /* the table's first frame */
    uint8_t *arena;           /* a page for each queued one, in memory from the start */
    size_t n, n_clears;
    size_t batches; /* since the last flush */
    size_t parts;   /* of the batch that is being copied */
    struct queued queued[WINDOW];
    xengnttab_grant_copy_segment_t segments[WINDOW];
    struct mmuext_op clears[CLEARS];
    uint64_t cleared[CLEARS]; /* their pfns */
};

static const size_t arena_bytes = (size_t)WINDOW * PAGE_BYTES;
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

static int open_handles(struct page_writer *w, struct error *e)
{
    w->arena = aligned_alloc(PAGE_BYTES, arena_bytes);
    if (!w->arena)
        return error_set(e, -ENOMEM, "out of memory for pages on their way");
    memset(w->arena, 0, arena_bytes); /* no page fault later */
    w->gnttab = xengnttab_open(NULL, 0);
    if (!w->gnttab)
        return xen_error(w->xen, e, "open /dev/xen/gntdev");
    w->memory = xenforeignmemory_open(NULL, 0);
    if (!w->memory)
        return xen_error(w->xen, e, "open /dev/xen/privcmd for foreign memory");
    return map_grants(w, e);
}

int page_writer_open(struct xen *x, uint32_t domid, enum image_guest guest, struct frames *frames,
                     struct page_writer **out, struct error *e)
{
    struct page_writer *w = calloc(1, sizeof *w);
    *out = w;
    if (!w)
        return error_set(e, -ENOMEM, "out of memory for a writer of pages");
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

void page_writer_helped(struct page_writer *w, struct crew *crew)
{
    w->crew = crew;
}

void page_writer_close(struct page_writer *w)
{
    if (!w)
        return;
    if (w->resource)
        xenforeignmemory_unmap_resource(w->memory, w->resource);
    if (w->memory)
        xenforeignmemory_close(w->memory);
    if (w->gnttab)
        xengnttab_close(w->gnttab);
    free(w->arena);
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

/* ---- batches: fetched, localised and copied in parts, by a crew ---- */

static uint8_t *arena_page(const struct page_writer *w, size_t i)
{
    return w->arena + i * PAGE_BYTES;
}

/* How many pages from i on are one piece of one file. */
static size_t run_length(const struct page_writer *w, size_t i, size_t end)
{
    const struct queued *first = &w->queued[i];
    size_t n = 1;
    while (i + n < end && w->queued[i + n].image == first->image &&
           w->queued[i + n].payload == first->payload + n)
        n++;
    return n;
}

/* The page before it has the same content, and nobody changes either. */
static bool same_as_before(const struct page_writer *w, size_t i)
{
    const struct queued *q = &w->queued[i];
    return q->image == q[-1].image && q->payload == q[-1].payload && !q->is_table &&
           !q[-1].is_table;
}

static int fetch(struct page_writer *w, size_t from, size_t end, struct error *e)
{
    int rc = 0;
    size_t n;
    for (size_t i = from; i < end && !rc; i += n) {
        const struct queued *q = &w->queued[i];
        n = 1;
        if (!q->image)
            continue;
        if (i > from && same_as_before(w, i)) {
            w->segments[i].source.virt = w->segments[i - 1].source.virt;
            continue;
        }
        n = run_length(w, i, end);
        rc = image_read_payloads(q->image, q->payload, n, arena_page(w, i), e);
    }
    return rc;
}

static int localise(const struct page_writer *w, size_t from, size_t end, struct error *e)
{
    int rc = 0;
    for (size_t i = from; i < end && !rc; i++)
        if (w->queued[i].is_table)
            rc = page_table_localise(w->frames, w->queued[i].pfn, arena_page(w, i), e);
    return rc;
}

static int copy(struct page_writer *w, size_t from, size_t end, struct error *e)
{
    /* not xen_error: what the library logs is one text for all threads */
    if (xengnttab_grant_copy(w->gnttab, (uint32_t)(end - from), w->segments + from))
        return error_errno(e, errno, "domain %u: copy %zu pages, the first to pfn %#" PRIx64,
                           w->domid, end - from, w->queued[from].pfn);
    for (size_t i = from; i < end; i++)
        /* the hypervisor's own codes, GNTST_...: -1 is a frame that may not be written, say a table
         */
        if (w->segments[i].status != GNTST_okay)
            return error_set(e, -EIO, "domain %u: copy to pfn %#" PRIx64 ": grant status %d",
                             w->domid, w->queued[i].pfn, w->segments[i].status);
    return 0;
}

static int batch_part(void *data, unsigned part, struct error *e)
{
    struct page_writer *w = data;
    size_t from = w->n * part / w->parts, end = w->n * (part + 1) / w->parts;
    int rc = fetch(w, from, end, e);
    if (!rc)
        rc = localise(w, from, end, e);
    return rc ? rc : copy(w, from, end, e);
}

/* Of the batch that is next. */
static unsigned parts_count(struct page_writer *w)
{
    if (!w->crew || w->batches++ < BATCHES_ALONE)
        return 1;
    unsigned most = (unsigned)(w->n / PART_PAGES), size = crew_size(w->crew);
    return most < 1 ? 1 : most < size ? most : size;
}

static int copy_batch(struct page_writer *w, struct error *e)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* frames before flags: see grant */
    for (size_t i = 0; i < w->n; i++)
        w->grants[GNTTAB_NR_RESERVED_ENTRIES + i].flags = GTF_permit_access;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    w->parts = parts_count(w);
    int rc = w->parts == 1 ? batch_part(w, 0, e)
                           : crew_run(w->crew, (unsigned)w->parts, batch_part, w, e);
    memset(w->grants + GNTTAB_NR_RESERVED_ENTRIES, 0, w->n * sizeof *w->grants);
    w->n = 0;
    return rc;
}

/* The entry of the grant table is complete but for its flags, without which it is none. */
static int grant(struct page_writer *w, uint64_t pfn, struct error *e)
{
    uint64_t mfn = frames_mfn(w->frames, pfn);
    if (mfn > UINT32_MAX)
        return error_set(e, -EINVAL, "pfn %#" PRIx64 ": frame %#" PRIx64 " fits no grant", pfn,
                         mfn);
    uint32_t ref = GNTTAB_NR_RESERVED_ENTRIES + (uint32_t)w->n;
    w->grants[ref].domid = 0;
    w->grants[ref].frame = (uint32_t)mfn;
    w->segments[w->n] = (xengnttab_grant_copy_segment_t){
        .source.virt = arena_page(w, w->n),
        .dest.foreign = {.ref = ref, .offset = 0, .domid = (uint16_t)w->domid},
        .len = PAGE_BYTES,
        .flags = GNTCOPY_dest_gref,
        .status = GNTST_general_error,
    };
    return 0;
}

/* source: NULL for the page's place in the arena. */
static int queue(struct page_writer *w, const struct queued *q, const void *source, struct error *e)
{
    int rc = grant(w, q->pfn, e);
    if (rc)
        return rc;
    if (source)
        w->segments[w->n].source.virt = (void *)(uintptr_t)source;
    w->queued[w->n++] = *q;
    return w->n == WINDOW ? copy_batch(w, e) : 0;
}

static int zeros_queue(struct page_writer *w, uint64_t pfn, struct error *e)
{
    const struct queued q = {.pfn = pfn};
    return queue(w, &q, zeros, e);
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

int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e)
{
    const struct queued q = {.pfn = pfn, .is_table = is_table(w, type)};
    int rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    if (!content)
        return zeros_add(w, pfn, e);
    memcpy(arena_page(w, w->n), content, PAGE_BYTES);
    return queue(w, &q, NULL, e);
}

int page_writer_add_payload(struct page_writer *w, uint64_t pfn, unsigned type,
                            const struct image *im, uint64_t payload, struct error *e)
{
    const struct queued q = {
        .pfn = pfn, .image = im, .payload = payload, .is_table = is_table(w, type)};
    int rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    if (payload == IMAGE_PAGE_ZERO)
        return zeros_add(w, pfn, e);
    const void *near = q.is_table ? NULL : image_payload_near(im, payload);
    if (near) /* nothing to fetch */
        return queue(w, &(struct queued){.pfn = pfn}, near, e);
    return queue(w, &q, NULL, e);
}

int page_writer_flush(struct page_writer *w, struct error *e)
{
    int rc = w->n_clears ? clear_batch(w, e) : 0;
    if (!rc && w->n)
        rc = copy_batch(w, e);
    w->batches = 0;
    if (!rc)
        frames_writes_done(w->frames);
    return rc;
}
