/* Writing pages by grant copy: see page_writer.h. */
#include "restore/engine/page_writer.h"

#include "base/page.h"
#include "restore/engine/grant_copy.h"
#include "restore/formats/pte.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Pages that one thread copies at a time. Larger windows were no faster, and the pages of this one
 * stay in a processor's cache from reading to copying. */
#define WINDOW (GRANT_ENTRIES / CREW_MAX)
/* Waking the crew costs what forty pages cost. */
#define CREW_PAGES (2 * WINDOW)
#define OWN_PAGES 16u
#define CLEARS 512u

/* A page on its way. Its content is at source; NULL: it is a payload of the image's file. */
struct queued {
    uint64_t pfn;
    const void *source;
    uint64_t payload;
    bool is_table; /* of a PV guest, to be localised */
};

/* What one thread works with: its window. */
struct lane {
    struct grant_lane grants;
    bool as_it_is;               /* no page of the window is to be read or changed on its way */
    struct queued queue[WINDOW]; /* the same pages as those of grants */
    uint64_t written;            /* pages of the range */
};

/* A range of pages that is being written, the same for all threads. */
struct range {
    struct page_range of;
    const uint8_t *payloads; /* of the image's file, where they are mapped in: */
    uint64_t n_near;         /* so many, the first ones */
    bool zeros_too;          /* pages of zeros are copied like others */
    unsigned parts;
};

struct page_writer {
    struct xen *xen;
    uint32_t domid;
    enum image_guest guest;
    struct frames *frames;
    struct trace *trace;
    struct crew *crew; /* NULL: nobody helps */
    bool failed;       /* nobody knows what has been written */
    bool clears_work;  /* the hypervisor clears pages for us; it does so for PV on PV alone */
    struct grant_copy copy;
    struct range range;
    struct lane lanes[CREW_MAX]; /* by worker; those without a thread have no arena */
    size_t n_own, n_clears;
    struct mmuext_op clears[CLEARS];
    uint64_t cleared[CLEARS];                                /* their pfns */
    _Alignas(PAGE_BYTES) uint8_t own[OWN_PAGES][PAGE_BYTES]; /* contents that were handed over */
};

static const _Alignas(PAGE_BYTES) uint8_t zeros[PAGE_BYTES];

/* ---- open, close ---- */

static void window_clear(struct lane *l)
{
    l->grants.n = 0;
    l->as_it_is = true;
}

static int lane_open(struct page_writer *w, unsigned worker, struct error *e)
{
    struct lane *l = &w->lanes[worker];
    window_clear(l);
    return grant_lane_open(&l->grants, &w->copy, worker * WINDOW, WINDOW, e);
}

int page_writer_open(struct xen *x, uint32_t domid, enum image_guest guest, struct frames *frames,
                     struct trace *trace, struct page_writer **out, struct error *e)
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
    w->trace = trace;
    w->clears_work = guest == IMAGE_GUEST_PV;
    int rc = grant_copy_open(&w->copy, domid, e);
    if (!rc)
        rc = lane_open(w, 0, e);
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

/* Returns rc. After a failure nothing that was added is used any more, and no flush succeeds. */
static int stop_if_failed(struct page_writer *w, int rc)
{
    if (rc) {
        for (unsigned i = 0; i < CREW_MAX; i++)
            window_clear(&w->lanes[i]);
        w->n_own = w->n_clears = 0;
        w->failed = true;
    }
    return rc;
}

void page_writer_close(struct page_writer *w)
{
    if (!w)
        return;
    for (unsigned i = 0; i < CREW_MAX; i++)
        grant_lane_close(&w->lanes[i].grants);
    grant_copy_close(&w->copy);
    free(w);
}

/* ---- page tables ---- */

/* Turns a table's present entries from pfns to machine frames. -EINVAL: see page_writer_add. */
static int page_table_localise(const struct frames *f, uint64_t pfn, void *page, struct error *e)
{
    uint64_t *entries = page;
    for (unsigned i = 0; i < PTES_PER_TABLE; i++) {
        if (!(entries[i] & PTE_PRESENT))
            continue;
        uint64_t mfn = frames_mfn(f, PTE_FRAME(entries[i]));
        if (mfn == FRAME_NONE || mfn > PTE_FRAME_MASK >> 12)
            return error_set(e, -EINVAL,
                             "page table at pfn %#" PRIx64 ": entry %u (%#" PRIx64
                             ") names a page that the guest does not have",
                             pfn, i, entries[i]);
        entries[i] = (entries[i] & ~PTE_FRAME_MASK) | mfn << 12;
    }
    return 0;
}

/* ---- windows: gathered, fetched, localised and copied, each by one thread ---- */

static uint8_t *arena_page(const struct lane *l, size_t i)
{
    return l->grants.arena + i * PAGE_BYTES;
}

/* How many pages from q on are one piece of the image's file. */
static size_t run_length(const struct queued *q, size_t most)
{
    size_t n = 1;
    while (n < most && !q[n].source && q[n].payload == q->payload + n)
        n++;
    return n;
}

/* The page before it has the same content, and nobody changes either. */
static bool same_as_before(const struct queued *q)
{
    return !q[-1].source && q->payload == q[-1].payload && !q->is_table && !q[-1].is_table;
}

/* Content that is in memory is copied from there. A table is changed in the arena before it is
 * copied. */
static void content_take(const struct lane *l, size_t i)
{
    if (l->queue[i].is_table)
        memcpy(arena_page(l, i), l->queue[i].source, PAGE_BYTES);
}

static int fetch(struct lane *l, const struct image *im, struct error *e)
{
    const struct queued *q = l->queue;
    int rc = 0;
    for (size_t i = 0, run; i < l->grants.n && !rc; i += run) {
        run = 1;
        if (q[i].source) {
            content_take(l, i);
        } else if (i && same_as_before(&q[i])) {
            l->grants.segments[i].source.virt = l->grants.segments[i - 1].source.virt;
        } else {
            run = run_length(&q[i], l->grants.n - i);
            rc = image_read_payloads(im, q[i].payload, run, arena_page(l, i), e);
        }
    }
    return rc;
}

static int localise(const struct page_writer *w, const struct lane *l, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < l->grants.n && !rc; i++)
        if (l->queue[i].is_table)
            rc = page_table_localise(w->frames, l->queue[i].pfn, arena_page(l, i), e);
    return rc;
}

static int copy(const struct page_writer *w, struct lane *l, struct error *e)
{
    struct grant_lane *g = &l->grants;
    size_t bad;
    int rc = grant_lane_copy(g, &bad);
    if (rc && bad == g->n) /* not xen_error: what the library logs is one text for all threads */
        return error_errno(e, -rc, "domain %u: copy %zu pages, the first to pfn %#" PRIx64,
                           w->domid, g->n, l->queue->pfn);
    if (rc)
        return error_set(e, rc, "domain %u: copy to pfn %#" PRIx64 ": grant status %d", w->domid,
                         l->queue[bad].pfn, g->segments[bad].status);
    return 0;
}

/* im: the image of payloads that are not in memory; NULL: there are none. */
static int window_write(const struct page_writer *w, struct lane *l, const struct image *im,
                        struct error *e)
{
    int rc = l->as_it_is ? 0 : fetch(l, im, e);
    if (!rc && !l->as_it_is)
        rc = localise(w, l, e);
    if (!rc && l->grants.n)
        rc = copy(w, l, e);
    window_clear(l);
    return rc;
}

/* There is room for it. */
static inline int window_add(const struct page_writer *w, struct lane *l, struct queued q,
                             struct error *e)
{
    uint64_t mfn = frames_mfn(w->frames, q.pfn);
    if (mfn > UINT32_MAX)
        return error_set(e, -EINVAL, "pfn %#" PRIx64 ": frame %#" PRIx64 " fits no grant", q.pfn,
                         mfn);
    bool as_it_is = q.source && !q.is_table;
    l->as_it_is &= as_it_is;
    l->queue[l->grants.n] = q;
    grant_lane_add(&l->grants, as_it_is ? q.source : arena_page(l, l->grants.n), (uint32_t)mfn);
    return 0;
}

/* ---- pages of zeros, by the caller's thread ---- */

static int zeros_copy(struct page_writer *w, uint64_t pfn, struct error *e)
{
    struct lane *l = &w->lanes[0];
    int rc = window_add(w, l, (struct queued){.pfn = pfn, .source = zeros}, e);
    return !rc && l->grants.n == WINDOW ? window_write(w, l, NULL, e) : rc;
}

/* A dom0 that is not a PV domain may not ask for this. Then zeros are copied. */
static int clears_refused(struct page_writer *w, struct error *e)
{
    size_t n = w->n_clears;
    int rc = 0;
    w->clears_work = false;
    w->n_clears = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = zeros_copy(w, w->cleared[i], e);
    return rc;
}

static int clear_batch(struct page_writer *w, struct error *e)
{
    if (!w->n_clears)
        return 0;
    if (xc_mmuext_op(w->xen->xch, w->clears, (unsigned)w->n_clears, w->domid)) {
        if (errno == EOPNOTSUPP)
            return clears_refused(w, e);
        return xen_error(w->xen, e, "domain %u: clear %zu pages, the first at pfn %#" PRIx64,
                         w->domid, w->n_clears, w->cleared[0]);
    }
    w->n_clears = 0;
    return 0;
}

static int zeros_add(struct page_writer *w, uint64_t pfn, struct error *e)
{
    if (!w->clears_work)
        return zeros_copy(w, pfn, e);
    w->cleared[w->n_clears] = pfn;
    w->clears[w->n_clears++] = (struct mmuext_op){
        .cmd = MMUEXT_CLEAR_PAGE,
        .arg1.mfn = frames_mfn(w->frames, pfn),
    };
    return w->n_clears == CLEARS ? clear_batch(w, e) : 0;
}

/* ---- pages whose content the caller has ---- */

static bool is_table(const struct page_writer *w, unsigned type)
{
    return w->guest == IMAGE_GUEST_PV && page_type_is_table(type);
}

static int own_write(struct page_writer *w, struct error *e)
{
    w->n_own = 0;
    return window_write(w, &w->lanes[0], NULL, e);
}

static int add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
               struct error *e)
{
    int rc = frames_writes_begin(w->frames, e);
    if (!rc)
        rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    if (!content)
        return zeros_add(w, pfn, e);
    uint8_t *own = w->own[w->n_own++];
    memcpy(own, content, PAGE_BYTES);
    rc = window_add(w, &w->lanes[0],
                    (struct queued){.pfn = pfn, .source = own, .is_table = is_table(w, type)}, e);
    return !rc && (w->n_own == OWN_PAGES || w->lanes[0].grants.n == WINDOW) ? own_write(w, e) : rc;
}

int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e)
{
    trace_pages(w->trace, 1);
    return stop_if_failed(w, add(w, pfn, type, content, e));
}

static int failed_before(const struct page_writer *w, struct error *e)
{
    return w->failed
               ? error_set(e, -EINVAL, "domain %u: a write before this one has failed", w->domid)
               : 0;
}

static int flush(struct page_writer *w, struct error *e)
{
    int rc = failed_before(w, e);
    if (!rc)
        rc = clear_batch(w, e);
    return rc ? rc : own_write(w, e);
}

int page_writer_flush(struct page_writer *w, struct error *e)
{
    int rc = stop_if_failed(w, flush(w, e));
    if (!rc)
        frames_writes_done(w->frames);
    return rc;
}

/* ---- ranges of an image's pages ---- */

static inline int range_page(const struct page_writer *w, struct lane *l,
                             const struct image_page *p, struct error *e)
{
    const struct range *r = &w->range;
    uint64_t pfn = image_page_pfn(p);
    bool is_zeros = p->payload == IMAGE_PAGE_ZERO;
    if (page_range_passes_over(&r->of, w->frames, pfn) || (is_zeros && !r->zeros_too))
        return 0;
    unsigned type = image_page_type(p);
    int rc = frames_write(w->frames, pfn, type, e);
    if (rc)
        return rc;
    struct queued q = {.pfn = pfn, .payload = p->payload, .is_table = is_table(w, type)};
    if (is_zeros)
        q.source = zeros;
    else if (p->payload < r->n_near)
        q.source = r->payloads + p->payload * PAGE_BYTES;
    l->written++;
    return window_add(w, l, q, e);
}

/* A part of a crew's work; or all of it, when there is no crew. */
static int range_part(void *data, unsigned part, unsigned worker, struct error *e)
{
    struct page_writer *w = data;
    const struct range *r = &w->range;
    struct lane *l = &w->lanes[worker];
    uint64_t end = r->of.n * (part + 1) / r->parts;
    int rc = 0;
    for (uint64_t i = r->of.n * part / r->parts; i < end && !rc; i++) {
        rc = range_page(w, l, &r->of.pages[i], e);
        if (!rc && l->grants.n == WINDOW)
            rc = window_write(w, l, r->of.image, e);
    }
    return rc ? rc : window_write(w, l, r->of.image, e);
}

/* Pages of zeros, unless they are copied like others. */
static int range_zeros(struct page_writer *w, struct error *e)
{
    const struct page_range *r = &w->range.of;
    int rc = 0;
    for (uint64_t i = 0; i < r->n && !rc && !w->range.zeros_too; i++) {
        uint64_t pfn = image_page_pfn(&r->pages[i]);
        if (r->pages[i].payload != IMAGE_PAGE_ZERO || page_range_passes_over(r, w->frames, pfn))
            continue;
        rc = frames_write(w->frames, pfn, image_page_type(&r->pages[i]), e);
        w->lanes[0].written++;
        if (!rc)
            rc = zeros_add(w, pfn, e);
    }
    return rc ? rc : clear_batch(w, e);
}

/* An equal number of pages for each thread, at most a window. */
static unsigned range_parts(const struct page_writer *w, uint64_t n)
{
    uint64_t threads = crew_size(w->crew), windows = (n + WINDOW - 1) / WINDOW;
    return (unsigned)((windows + threads - 1) / threads * threads);
}

static int range_by_crew(struct page_writer *w, struct error *e)
{
    struct error of_crew;
    w->range.parts = range_parts(w, w->range.of.n);
    crew_begin(w->crew, w->range.parts, range_part, w);
    int rc = range_zeros(w, e), crew_rc = crew_end(w->crew, &of_crew);
    if (!rc && crew_rc)
        *e = of_crew;
    return rc ? rc : crew_rc;
}

static int range_alone(struct page_writer *w, struct error *e)
{
    w->range.parts = 1;
    int rc = range_zeros(w, e);
    return rc ? rc : range_part(w, 0, 0, e);
}

/* Pages that were added before go with the first window of the caller's thread. */
static int range_write(struct page_writer *w, struct error *e)
{
    int rc = failed_before(w, e);
    if (!rc)
        rc = frames_writes_begin(w->frames, e);
    if (!rc)
        rc = w->crew && w->range.of.n >= CREW_PAGES ? range_by_crew(w, e) : range_alone(w, e);
    return rc ? rc : flush(w, e);
}

int page_writer_write(struct page_writer *w, const struct page_range *range, struct error *e)
{
    w->range = (struct range){
        .of = *range,
        .payloads = image_payload(range->image, 0),
        .n_near = image_near(range->image),
        .zeros_too = !w->clears_work,
    };
    for (unsigned i = 0; i < CREW_MAX; i++)
        w->lanes[i].written = 0;
    int rc = stop_if_failed(w, range_write(w, e));
    if (!rc)
        frames_writes_done(w->frames);
    for (unsigned i = 0; i < CREW_MAX; i++)
        trace_pages(w->trace, w->lanes[i].written);
    return rc;
}
