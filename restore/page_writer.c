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
/* Pages that are kept here until the flush: tables with machine frames. */
#define ARENA_PAGES 64u

struct page_writer {
    struct xen *xen;
    uint32_t domid;
    enum image_guest guest;
    struct frames *frames;
    bool clears_work; /* the hypervisor clears pages for us; it does so for PV on PV alone */
    xengnttab_handle *gnttab;
    xenforeignmemory_handle *memory;
    xenforeignmemory_resource_handle *resource;
    grant_entry_v1_t *grants; /* the table's first frame */
    size_t n, n_clears, n_arena;
    uint8_t *arena;
    uint64_t pfns[WINDOW];
    xengnttab_grant_copy_segment_t segments[WINDOW];
    struct mmuext_op clears[CLEARS];
    uint64_t cleared[CLEARS]; /* their pfns */
};

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
    w->arena = aligned_alloc(PAGE_BYTES, ARENA_PAGES * PAGE_BYTES);
    if (!w->arena)
        return error_set(e, -ENOMEM, "out of memory for page tables on their way");
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

/* ---- batches ---- */

static int copy_failed(struct page_writer *w, size_t i, struct error *e)
{
    /* the hypervisor's own codes, GNTST_...: -1 is a frame that may not be written, say a table */
    return error_set(e, -EIO, "domain %u: copy to pfn %#" PRIx64 ": grant status %d", w->domid,
                     w->pfns[i], w->segments[i].status);
}

static int copy_batch(struct page_writer *w, struct error *e)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* frames before flags: see copy_queue */
    for (size_t i = 0; i < w->n; i++)
        w->grants[GNTTAB_NR_RESERVED_ENTRIES + i].flags = GTF_permit_access;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    int rc = xengnttab_grant_copy(w->gnttab, (uint32_t)w->n, w->segments);
    if (rc)
        rc = xen_error(w->xen, e, "domain %u: copy %zu pages", w->domid, w->n);
    for (size_t i = 0; i < w->n && !rc; i++)
        if (w->segments[i].status != GNTST_okay)
            rc = copy_failed(w, i, e);
    memset(w->grants + GNTTAB_NR_RESERVED_ENTRIES, 0, w->n * sizeof *w->grants);
    w->n = w->n_arena = 0;
    return rc;
}

/* The entry of the grant table is complete but for its flags, without which it is none. */
static int copy_queue(struct page_writer *w, uint64_t pfn, const void *content, struct error *e)
{
    uint64_t mfn = frames_mfn(w->frames, pfn);
    if (mfn > UINT32_MAX)
        return error_set(e, -EINVAL, "pfn %#" PRIx64 ": frame %#" PRIx64 " fits no grant", pfn,
                         mfn);
    uint32_t ref = GNTTAB_NR_RESERVED_ENTRIES + (uint32_t)w->n;
    w->grants[ref].domid = 0;
    w->grants[ref].frame = (uint32_t)mfn;
    w->pfns[w->n] = pfn;
    w->segments[w->n++] = (xengnttab_grant_copy_segment_t){
        .source.virt = (void *)(uintptr_t)content,
        .dest.foreign = {.ref = ref, .offset = 0, .domid = (uint16_t)w->domid},
        .len = PAGE_BYTES,
        .flags = GNTCOPY_dest_gref,
        .status = GNTST_general_error,
    };
    return w->n == WINDOW ? copy_batch(w, e) : 0;
}

/* A dom0 that is no PV domain itself may not ask for this; then zeros are copied. */
static int clears_refused(struct page_writer *w, struct error *e)
{
    size_t n = w->n_clears;
    int rc = 0;
    w->clears_work = false;
    w->n_clears = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = copy_queue(w, w->cleared[i], zeros, e);
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

static int arena_page(struct page_writer *w, const void *content, uint8_t **page, struct error *e)
{
    int rc = w->n_arena == ARENA_PAGES ? copy_batch(w, e) : 0;
    if (rc)
        return rc;
    *page = w->arena + w->n_arena++ * PAGE_BYTES;
    memcpy(*page, content, PAGE_BYTES);
    return 0;
}

static int table_add(struct page_writer *w, uint64_t pfn, const void *content, struct error *e)
{
    uint8_t *page;
    int rc = arena_page(w, content, &page, e);
    if (!rc)
        rc = page_table_localise(w->frames, pfn, page, e);
    return rc ? rc : copy_queue(w, pfn, page, e);
}

int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e)
{
    int rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    if (!content && w->clears_work)
        return clear_queue(w, pfn, e);
    if (!content)
        return copy_queue(w, pfn, zeros, e);
    if (w->guest == IMAGE_GUEST_PV && page_type_is_table(type))
        return table_add(w, pfn, content, e);
    return copy_queue(w, pfn, content, e);
}

int page_writer_add_copy(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                         struct error *e)
{
    uint8_t *page;
    int rc = arena_page(w, content, &page, e);
    return rc ? rc : page_writer_add(w, pfn, type, page, e);
}

int page_writer_flush(struct page_writer *w, struct error *e)
{
    int rc = w->n_clears ? clear_batch(w, e) : 0;
    if (!rc && w->n)
        rc = copy_batch(w, e);
    if (!rc)
        frames_writes_done(w->frames);
    return rc;
}
