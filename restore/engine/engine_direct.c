/*
 * Engine `direct`: our own writer of a guest's memory, so that a completion costs what the delta
 * costs and nothing else.
 *
 * build: everything that does not depend on the image that will be requested.
 *
 *   1. CPU policy; Xen takes it only before the domain runs.
 *   2. Frames for every page, in large extents where possible. From here on the frame of each
 *      pfn is known, and with it all that follows from frames.
 *   3. The toolstack's own pages are written now and kept. For PV this is the p2m list, which says
 *      where the frames are; for PVH the rings, which a resuming guest finds empty.
 *   4. The base's pages; page tables go from pfns to frames.
 *   5. PV: every L1 table is pinned. This is nearly all of the validation that Xen does (512
 *      entries a table). Tables of higher levels are not pinned: one changed L1 would undo that.
 *   6. Whatever names pages that no image changes: grants for the two rings, HVM parameters, the
 *      mapping of shared_info. The grants come before the domain is introduced, because xenstored
 *      maps its ring by its grant.
 *   7. The parts of the base that a completion reads are touched, and its threads are started: a
 *      page fault or a new thread costs as much as dozens of hypercalls.
 *
 * write, PV: the first half of a completion.
 *
 *   1. list     the image's changes that concern page tables.
 *   2. unpin    L1 tables that the image changes: Xen lets nobody write a page that is a table.
 *   3. delta    the image's pages, and the start info with this domain's frames and ports. A page
 *               that becomes a table is mapped read-only in the image. If an L1 table maps it
 *               writable in the base, the image changes that table too, and step 2 unpinned it.
 *
 * finish, PV: the second half.
 *
 *   4. pin      L1 tables among the image's pages, while that is cheap. Setting a vCPU validates
 *               the remaining ones with the hypervisor's domctl lock held.
 *   5. state    shared_info, then TSC. shared_info comes before vCPU 0: setting vCPU 0 makes Xen
 *               write the wall clock into it.
 *   6. vcpus    from here on Xen holds all tables that the vCPUs reach.
 *   7. tables   only the pins that the image declares remain: other L1 tables are unpinned, so that
 *               the guest can free them.
 *
 * PVH: write writes the delta. finish sets the HVM parameters that differ, TSC and context. Pages
 * have no types.
 *
 * No guest page is mapped at any time (restore/engine/page_writer.h). One place asserts what may be
 * written, pinned or unpinned at a time (restore/engine/frames.h).
 */
#include "restore/engine/direct.h"

#include "base/log.h"
#include "base/page.h"
#include "restore/engine/engine.h"
#include "restore/engine/populate.h"
#include "restore/formats/records.h"
#include "restore/xen/cpu_policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenguest.h>

#define GNTDEV "/dev/xen/gntdev"

static bool is_pv(const struct direct *d)
{
    return image_info(d->base.base)->guest == IMAGE_GUEST_PV;
}

static int set_tsc(struct direct *d, const struct image *im, struct error *e)
{
    struct {
        uint32_t mode, khz;
        uint64_t nsec;
        uint32_t incarnation, reserved;
    } tsc;
    struct image_record r;
    if (!image_find_record(im, RECORD_X86_TSC_INFO, 0, &r) || r.length != sizeof tsc)
        return error_set(e, -EINVAL, "the image's TSC record has %u bytes", r.length);
    memcpy(&tsc, r.body, sizeof tsc);
    if (xc_domain_set_tsc_info(d->target->xen.xch, d->target->domid, tsc.mode, tsc.nsec, tsc.khz,
                               tsc.incarnation))
        return xen_error(&d->target->xen, e, "domain %u: set its TSC (mode %u, %u kHz)",
                         d->target->domid, tsc.mode, tsc.khz);
    return 0;
}

/* ---- accepts ---- */

/* Pages that are broken or never had content are left to libxenguest. */
static int accepts_page(const struct image_page *p, struct error *e)
{
    unsigned type = image_page_type(p);
    if (type == PAGE_NOTAB || page_type_is_table(type))
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "engine direct takes no page of type %#x (pfn %#" PRIx64 ")", type,
                     image_page_pfn(p));
}

static int accepts_pages(const struct image *im, struct error *e)
{
    const struct image_page *pages = image_pages(im);
    int rc = 0;
    for (uint64_t i = 0; i < image_info(im)->entries && !rc; i++)
        rc = accepts_page(&pages[i], e);
    return rc;
}

static int accepts(const struct image *base, struct error *e)
{
    int rc = accepts_pages(base, e);
    if (rc)
        return rc;
    if (access(GNTDEV, R_OK | W_OK))
        return error_set(e, ANSWER_IMAGE_REFUSED, "engine direct needs " GNTDEV ": %s",
                         strerror(errno));
    return 0;
}

/* ---- pages, from an image into the domain ---- */

static int write_base(struct direct *d, struct error *e)
{
    const struct image *im = d->base.base;
    struct page_range all = {im, image_pages(im), image_info(im)->entries, FRAME_NONE};
    return page_writer_write(d->writer, &all, e);
}

static int typed_reserve(struct direct *d, size_t room, struct error *e)
{
    uint64_t *bigger = realloc(d->typed, room * sizeof *bigger);
    if (!bigger)
        return error_set(e, -ENOMEM, "out of memory for a list of %zu page tables", room);
    d->typed = bigger;
    d->typed_room = room;
    return 0;
}

static int typed_add(struct direct *d, struct changes *c, uint64_t pfn, struct error *e)
{
    int rc = c->n_typed == d->typed_room ? typed_reserve(d, d->typed_room * 2 + 64, e) : 0;
    if (!rc)
        d->typed[c->n_typed++] = pfn;
    return rc;
}

/* Looks at each change once: does the engine take it, and does it concern pins? */
static int changes_look(struct direct *d, struct changes *c, struct error *e)
{
    const struct page_range *r = &c->range;
    int rc = 0;
    if (frames_pin_level(&d->frames, r->besides))
        rc = typed_add(d, c, r->besides, e);
    for (uint64_t i = 0; i < r->n && !rc; i++) {
        uint64_t pfn = image_page_pfn(&r->pages[i]);
        rc = accepts_page(&r->pages[i], e);
        if (rc ||
            (image_page_type(&r->pages[i]) == PAGE_NOTAB && !frames_pin_level(&d->frames, pfn)))
            continue;
        if (!page_range_passes_over(r, &d->frames, pfn))
            rc = typed_add(d, c, pfn, e);
    }
    c->typed = d->typed;
    return rc;
}

static int unpin_changed(struct direct *d, const struct changes *c, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < c->n_typed && !rc; i++)
        if (frames_pin_level(&d->frames, c->typed[i]))
            rc = table_unpin(&d->pins, c->typed[i], e);
    return rc ? rc : table_pins_flush(&d->pins, e);
}

static int write_changed(struct direct *d, const struct changes *c, struct error *e)
{
    int rc = 0;
    if (c->range.besides != FRAME_NONE)
        rc = page_writer_add(d->writer, c->range.besides, PAGE_NOTAB, d->start_info, e);
    return rc ? rc : page_writer_write(d->writer, &c->range, e);
}

static bool is_l1(const struct direct *d, uint64_t pfn)
{
    unsigned type = frames_type(&d->frames, pfn);
    return is_pv(d) && type != FRAME_EMPTY && page_type_is_table(type) &&
           (type & PAGE_TYPE_LEVEL_MASK) == PAGE_L1TAB;
}

static int pin_changed(struct direct *d, const struct changes *c, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < c->n_typed && !rc; i++)
        if (is_l1(d, c->typed[i]))
            rc = table_pin(&d->pins, c->typed[i], e);
    return rc ? rc : table_pins_flush(&d->pins, e);
}

/* The image's own table: an allocation makes no copy of it. */
static int changes_of_image(struct direct *d, const struct image *im, struct changes *c,
                            struct error *e)
{
    uint64_t n = im == d->base.base ? 0 : image_info(im)->entries;
    *c = (struct changes){.range = {im, image_pages(im), n, FRAME_NONE}};
    int rc = is_pv(d) ? direct_pv_start_info(d, im, &c->range.besides, e) : 0;
    return rc ? rc : changes_look(d, c, e);
}

/* ---- tables ---- */

static int tables_list(struct direct *d, const struct image *im, struct error *e)
{
    const struct image_page *p = image_pages(im);
    size_t n = 0;
    for (uint64_t i = 0; i < image_info(im)->entries; i++)
        n += page_type_is_table(image_page_type(&p[i]));
    free(d->tables);
    d->n_tables = 0;
    d->tables = calloc(n + 1, sizeof *d->tables);
    if (!d->tables)
        return error_set(e, -ENOMEM, "out of memory for a list of %zu page tables", n);
    for (uint64_t i = 0; i < image_info(im)->entries; i++)
        if (page_type_is_table(image_page_type(&p[i])))
            d->tables[d->n_tables++] = image_page_pfn(&p[i]);
    return 0;
}

static int pin_base(struct direct *d, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < d->n_tables && !rc; i++)
        if (is_l1(d, d->tables[i]))
            rc = table_pin(&d->pins, d->tables[i], e);
    return rc ? rc : table_pins_flush(&d->pins, e);
}

static bool is_declared(const struct direct *d, uint64_t pfn)
{
    unsigned type = frames_type(&d->frames, pfn);
    return type != FRAME_EMPTY && page_type_is_table(type) && type & PAGE_TYPE_PINNED;
}

static int pin_as_declared(struct direct *d, uint64_t pfn, bool pin, struct error *e)
{
    bool pinned = frames_pin_level(&d->frames, pfn) != 0, declared = is_declared(d, pfn);
    if (pin && declared && !pinned)
        return table_pin(&d->pins, pfn, e);
    if (!pin && pinned && !declared)
        return table_unpin(&d->pins, pfn, e);
    return 0;
}

/* Pins the declared tables, then unpins the others. Every table is in the base's list or among the
 * changes. */
static int pins_as_declared(struct direct *d, const struct changes *c, struct error *e)
{
    int rc = 0;
    for (int pin = 1; pin >= 0; pin--) {
        for (size_t i = 0; i < d->n_tables && !rc; i++)
            rc = pin_as_declared(d, d->tables[i], pin, e);
        for (size_t i = 0; i < c->n_typed && !rc; i++)
            rc = pin_as_declared(d, c->typed[i], pin, e);
    }
    return rc ? rc : table_pins_flush(&d->pins, e);
}

/* ---- build ---- */

static int open_direct(struct target *t, struct direct **out, struct error *e)
{
    struct direct *d =
        aligned_alloc(PAGE_BYTES, (sizeof *d + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ul));
    if (!d)
        return error_set(e, -ENOMEM, "out of memory for the engine");
    memset(d, 0, sizeof *d);
    t->engine_state = d;
    *out = d;
    d->target = t;
    int rc = lineage_init(&d->base, t->base, e);
    if (!rc)
        rc = frames_init(&d->frames, image_info(t->base)->max_pfn + 1, e);
    table_pins_init(&d->pins, &t->xen, t->domid, &d->frames);
    return rc;
}

static int seed_grants(struct direct *d, struct error *e)
{
    struct target *t = d->target;
    xen_log_clear(&t->xen);
    if (xc_dom_gnttab_seed(t->xen.xch, t->domid, !is_pv(d), t->console_gfn, t->store_gfn, 0, 0))
        return xen_error(&t->xen, e, "domain %u: put its rings into its grant table", t->domid);
    return 0;
}

static int open_writer(struct direct *d, struct error *e)
{
    struct target *t = d->target;
    return page_writer_open(&t->xen, t->domid, image_info(t->base)->guest, &d->frames, &t->trace,
                            &d->writer, e);
}

/* One thread fills a slot, since nobody waits for it; only a completion uses more. Without memory
 * for more threads, one does all. */
static void crew_start(struct direct *d)
{
    struct error e;
    if (crew_new(crew_size_best(), &d->crew, &e) || page_writer_helped(d->writer, d->crew, &e))
        log_warning("domain %u: large deltas will be written by one thread: %s", d->target->domid,
                    e.text);
}

/* Touches what a completion reads of the base, so that it is in memory before a request. */
static int prefault(struct direct *d, struct error *e)
{
    uint64_t pfn;
    image_prefault_records(d->base.base);
    crew_start(d);
    int rc = typed_reserve(d, 2 * d->n_tables + 64, e);
    if (!rc)
        memset(d->typed, 0, d->typed_room * sizeof *d->typed);
    return !rc && is_pv(d) ? direct_pv_start_info(d, d->base.base, &pfn, e) : rc;
}

static int build_tables(struct direct *d, struct error *e)
{
    int rc = tables_list(d, d->base.base, e);
    return rc ? rc : pin_base(d, e);
}

static int build(struct target *t, struct error *e)
{
    struct trace *trace = &t->trace;
    struct direct *d = NULL;
    int rc = open_direct(t, &d, e);
    if (rc)
        return rc;
    bool pv = is_pv(d);
    TRACE_STEP(trace, "policy", cpu_policy_apply(&t->xen, t->domid, &t->conf, t->base, e));
    TRACE_STEP(trace, "populate", populate(&t->xen, t->domid, t->base, &d->frames, e));
    TRACE_STEP(trace, "writer", open_writer(d, e));
    TRACE_STEP(trace, "own", pv ? direct_pv_write_p2m(d, e) : direct_pvh_clear_rings(d, e));
    TRACE_STEP(trace, "pages", write_base(d, e));
    if (pv)
        TRACE_STEP(trace, "pin", build_tables(d, e));
    TRACE_STEP(trace, "prepare",
               pv ? direct_pv_prepare(d, &t->store_gfn, &t->console_gfn, e)
                  : direct_pvh_prepare(d, &t->store_gfn, &t->console_gfn, e));
    TRACE_STEP(trace, "grants", seed_grants(d, e));
    TRACE_STEP(trace, "prefault", prefault(d, e));
    return 0;
}

/* ---- turn ---- */

static int changes_between(const struct direct *d, const struct image *to, struct changes *c,
                           struct error *e)
{
    const struct image_memory from_memory = {d->base.base, NULL}, to_memory = {to, NULL};
    struct memory_diff walk;
    struct memory_difference diff;
    *c = (struct changes){.own = calloc(image_info(to)->entries + 1, sizeof *c->own)};
    c->range = (struct page_range){to, c->own, 0, FRAME_NONE};
    if (!c->own)
        return error_set(e, -ENOMEM, "out of memory for a list of pages");
    memory_diff_start(&walk, &from_memory, &to_memory);
    while (memory_diff_next(&walk, &diff)) {
        if (diff.change != MEMORY_CHANGED)
            return error_set(e, -EINVAL,
                             "the new version populates other pages than the present one");
        c->own[c->range.n++] = (struct image_page){
            diff.to.pfn | (uint64_t)diff.to.type << IMAGE_TYPE_SHIFT, diff.to.payload};
    }
    return 0;
}

static int write_changes(struct direct *d, const struct changes *c, struct error *e)
{
    int rc = unpin_changed(d, c, e);
    if (!rc)
        rc = write_changed(d, c, e);
    return rc ? rc : pin_changed(d, c, e);
}

/* The slot keeps its frames and its kept pages: two versions of one lineage agree about both. */
static int turn(struct target *t, const struct image *to, struct error *e)
{
    struct direct *d = t->engine_state;
    struct lineage base;
    struct changes c;
    int rc = lineage_init(&base, to, e);
    if (!rc)
        rc = accepts_pages(to, e);
    if (rc) {
        lineage_dispose(&base);
        return rc;
    }
    rc = changes_between(d, to, &c, e);
    if (!rc)
        rc = changes_look(d, &c, e);
    if (!rc)
        rc = write_changes(d, &c, e);
    free(c.own);
    if (!rc && is_pv(d))
        rc = tables_list(d, to, e);
    lineage_dispose(&d->base);
    d->base = base;
    return rc;
}

/* ---- complete ---- */

static int write_delta(struct target *t, const struct image *im, uint64_t *delta_pages,
                       struct error *e)
{
    struct trace *trace = &t->trace;
    struct direct *d = t->engine_state;
    struct changes *c = &d->changes;
    *delta_pages = im == t->base ? 0 : image_info(im)->entries;
    TRACE_STEP(trace, "list", changes_of_image(d, im, c, e));
    t->untouched = false;
    if (is_pv(d))
        TRACE_STEP(trace, "unpin", unpin_changed(d, c, e));
    TRACE_STEP(trace, "delta", write_changed(d, c, e));
    return 0;
}

static int finish_pv(struct direct *d, const struct image *im, struct error *e)
{
    struct trace *trace = &d->target->trace;
    TRACE_STEP(trace, "pin", pin_changed(d, &d->changes, e));
    TRACE_STEP(trace, "shared-info", direct_pv_write_shared_info(d, im, e));
    TRACE_STEP(trace, "tsc", set_tsc(d, im, e));
    TRACE_STEP(trace, "vcpus", direct_pv_set_vcpus(d, im, e));
    TRACE_STEP(trace, "tables", pins_as_declared(d, &d->changes, e));
    return 0;
}

static int finish_pvh(struct direct *d, const struct image *im, struct error *e)
{
    struct trace *trace = &d->target->trace;
    TRACE_STEP(trace, "params", direct_pvh_set_params(d, im, e));
    TRACE_STEP(trace, "tsc", set_tsc(d, im, e));
    TRACE_STEP(trace, "vcpus", direct_pvh_set_context(d, im, e));
    return 0;
}

static int finish(struct target *t, const struct image *im, struct error *e)
{
    struct direct *d = t->engine_state;
    return is_pv(d) ? finish_pv(d, im, e) : finish_pvh(d, im, e);
}

static void dispose(struct target *t)
{
    struct direct *d = t->engine_state;
    if (!d)
        return;
    page_writer_close(d->writer);
    crew_free(d->crew);
    if (d->shared_info)
        xenforeignmemory_unmap(d->memory, d->shared_info, 1);
    if (d->memory)
        xenforeignmemory_close(d->memory);
    frames_dispose(&d->frames);
    lineage_dispose(&d->base);
    free(d->tables);
    free(d->typed);
    free(d);
    t->engine_state = NULL;
}

const struct engine engine_direct = {
    .name = "direct",
    .introduces_early = true,
    .accepts = accepts,
    .build = build,
    .turn = turn,
    .write = write_delta,
    .finish = finish,
    .dispose = dispose,
};
