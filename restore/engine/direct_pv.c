/*
 * What a PV domain needs besides its pages: the p2m list, start info, shared_info, vCPUs. Values
 * are those that libxenguest writes (Xen 4.17, tools/libs/guest/xg_sr_restore_x86_pv.c); layouts
 * are in Xen's public headers.
 */
#include "restore/engine/direct.h"

#include "base/page.h"
#include "restore/engine/vcpus.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>

#define P2M_PER_FRAME (PAGE_BYTES / 8)

/* ---- the p2m list ---- */

/* Fills frame number `index` of the list. Entries for pfns beyond the guest's memory stay as they
 * are. */
static void p2m_frame_fill(const struct direct *d, uint64_t index, uint64_t *entries)
{
    for (unsigned i = 0; i < P2M_PER_FRAME; i++) {
        uint64_t pfn = index * P2M_PER_FRAME + i;
        if (pfn < d->frames.count)
            entries[i] = frames_mfn(&d->frames, pfn); /* FRAME_NONE is what a guest expects, too */
    }
}

static int p2m_frame_write(struct direct *d, uint64_t index, uint64_t pfn, struct error *e)
{
    uint64_t entries[P2M_PER_FRAME];
    const struct image_page *page = image_find(d->base.base, pfn);
    if (!page)
        return error_set(e, -EINVAL, "frame %" PRIu64 " of the p2m (pfn %#" PRIx64 ") is missing",
                         index, pfn);
    memcpy(entries, image_payload(d->base.base, page->payload), sizeof entries);
    p2m_frame_fill(d, index, entries);
    return page_writer_add(d->writer, pfn, PAGE_NOTAB, entries, e);
}

int direct_pv_write_p2m(struct direct *d, struct error *e)
{
    const struct guest_check *g = &d->base.guest;
    int rc = 0;
    for (uint64_t i = 0; i < g->n_p2m_frames && !rc; i++)
        rc = p2m_frame_write(d, i, g->p2m_frames[i], e);
    if (!rc)
        rc = page_writer_flush(d->writer, e);
    for (uint64_t i = 0; i < g->n_p2m_frames && !rc; i++)
        rc = frames_keep(&d->frames, g->p2m_frames[i], e);
    return rc;
}

/* ---- what stays mapped or kept ---- */

static int map_shared_info(struct direct *d, struct error *e)
{
    struct target *t = d->target;
    xc_domaininfo_t info;
    int err = 0;
    if (xc_domain_getinfolist(t->xen.xch, t->domid, 1, &info) != 1 || info.domain != t->domid)
        return xen_error(&t->xen, e, "domain %u: ask for its shared_info", t->domid);
    d->shared_info_frame = info.shared_info_frame;
    d->memory = xenforeignmemory_open(NULL, 0);
    if (!d->memory)
        return xen_error(&t->xen, e, "open /dev/xen/privcmd for foreign memory");
    xen_pfn_t frame = d->shared_info_frame;
    d->shared_info =
        xenforeignmemory_map(d->memory, t->domid, PROT_READ | PROT_WRITE, 1, &frame, &err);
    if (d->shared_info && !err)
        return 0;
    errno = err ? -err : errno;
    return xen_error(&t->xen, e, "domain %u: map its shared_info", t->domid);
}

int direct_pv_prepare(struct direct *d, uint64_t *store, uint64_t *console, struct error *e)
{
    const struct guest_check *g = &d->base.guest;
    int rc = frames_keep(&d->frames, g->store_pfn, e);
    if (!rc)
        rc = frames_keep(&d->frames, g->console_pfn, e);
    *store = frames_mfn(&d->frames, g->store_pfn);
    *console = frames_mfn(&d->frames, g->console_pfn);
    return rc ? rc : map_shared_info(d, e);
}

/* ---- start info, shared_info ---- */

static int find_start_info(const struct image *im, uint64_t *pfn, struct error *e)
{
    struct image_record r;
    size_t cursor = 0;
    vcpu_guest_context_x86_64_t c;
    while (image_next_record(im, &cursor, &r)) {
        const uint8_t *body = r.body;
        if (r.type != RECORD_X86_PV_VCPU_BASIC || r.length != VCPU_HEADER_BYTES + sizeof c ||
            get_u32(body))
            continue;
        memcpy(&c, body + VCPU_HEADER_BYTES, sizeof c);
        *pfn = c.user_regs.rdx;
        return 0;
    }
    return error_set(e, -EINVAL, "the image has no vCPU 0");
}

/* The rings are where the base has them: they were given out when the slot was built. */
static int start_info_fill(const struct direct *d, start_info_t *si, struct error *e)
{
    const struct guest_check *g = &d->base.guest;
    if (si->store_mfn != g->store_pfn || si->console.domU.mfn != g->console_pfn)
        return error_set(e, -EINVAL,
                         "the image's xenstore or console ring is at another pfn than the base's");
    si->store_mfn = frames_mfn(&d->frames, g->store_pfn);
    si->store_evtchn = d->target->store_port;
    si->console.domU.mfn = frames_mfn(&d->frames, g->console_pfn);
    si->console.domU.evtchn = d->target->console_port;
    si->nr_pages = d->frames.count;
    si->shared_info = d->shared_info_frame << 12;
    si->flags = 0;
    return 0;
}

int direct_pv_start_info(struct direct *d, const struct image *im, uint64_t *pfn, struct error *e)
{
    struct image_memory m = {d->base.base, im == d->base.base ? NULL : im};
    struct memory_page page;
    start_info_t si;
    int rc = find_start_info(im, pfn, e);
    if (rc)
        return rc;
    if (!memory_find(&m, *pfn, &page) || page.type != PAGE_NOTAB)
        return error_set(e, -EINVAL, "the start info at pfn %#" PRIx64 " is not a page of data",
                         *pfn);
    memcpy(d->start_info, memory_content(&page), sizeof d->start_info);
    memcpy(&si, d->start_info, sizeof si);
    rc = start_info_fill(d, &si, e);
    memcpy(d->start_info, &si, sizeof si);
    return rc;
}

int direct_pv_write_shared_info(struct direct *d, const struct image *im, struct error *e)
{
    struct shared_info *to = d->shared_info;
    struct image_record r;
    if (d->frames.live)
        return error_set(e, -EINVAL, "shared_info cannot be written: vCPUs have been set");
    if (!image_find_record(im, RECORD_SHARED_INFO, 0, &r) || r.length != PAGE_BYTES)
        return error_set(e, -EINVAL, "the image's SHARED_INFO record has %u bytes", r.length);
    const struct shared_info *from = r.body;
    memcpy(to->vcpu_info, from->vcpu_info, sizeof to->vcpu_info);
    memcpy(&to->arch, &from->arch, sizeof to->arch);
    to->arch.pfn_to_mfn_frame_list_list = 0;
    memset(to->evtchn_pending, 0, sizeof to->evtchn_pending);
    for (unsigned i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
        to->vcpu_info[i].evtchn_pending_sel = 0;
    memset(to->evtchn_mask, 0xff, sizeof to->evtchn_mask);
    return 0;
}

/* ---- vCPUs ---- */

static int frame_of(const struct direct *d, uint64_t pfn, bool table, const char *what,
                    uint64_t *mfn, struct error *e)
{
    unsigned type = frames_type(&d->frames, pfn);
    bool right = table ? type != FRAME_EMPTY && page_type_is_table(type) &&
                             (type & PAGE_TYPE_LEVEL_MASK) == PAGE_L4TAB
                       : type == PAGE_NOTAB;
    *mfn = frames_mfn(&d->frames, pfn);
    if (right && *mfn != FRAME_NONE)
        return 0;
    return error_set(e, -EINVAL, "%s at pfn %#" PRIx64 " is %s", what, pfn,
                     table ? "not an L4 page table" : "not a page of data");
}

/* pfns to frames, in what libxenguest translates. */
static int context_localise(const struct direct *d, uint32_t id, vcpu_guest_context_x86_64_t *c,
                            struct error *e)
{
    uint64_t mfn, frames = (c->gdt_ents + 511) / 512;
    int rc = 0;
    if (c->gdt_ents > FIRST_RESERVED_GDT_ENTRY)
        return error_set(e, -EINVAL, "a GDT of %" PRIu64 " entries", (uint64_t)c->gdt_ents);
    for (uint64_t i = 0; i < frames && !rc; i++) {
        rc = frame_of(d, c->gdt_frames[i], false, "a GDT frame", &mfn, e);
        c->gdt_frames[i] = mfn;
    }
    if (!rc && id == 0) {
        rc = frame_of(d, c->user_regs.rdx, false, "the start info", &mfn, e);
        c->user_regs.rdx = mfn;
    }
    if (!rc) {
        rc = frame_of(d, c->ctrlreg[3] >> 12, true, "cr3", &mfn, e);
        c->ctrlreg[3] = mfn << 12;
    }
    if (!rc && c->ctrlreg[1] & 1) {
        rc = frame_of(d, c->ctrlreg[1] >> 12, true, "cr1 (user page table)", &mfn, e);
        c->ctrlreg[1] = mfn << 12;
    }
    c->flags |= VGCF_online;
    return rc;
}

static int set_basic(struct direct *d, uint32_t id, const struct vcpu_bytes *b, struct error *e)
{
    struct target *t = d->target;
    vcpu_guest_context_any_t context;
    if (b->length != sizeof context.x64)
        return error_set(e, -EINVAL, "vCPU %u: a context of %u bytes", id, b->length);
    memset(&context, 0, sizeof context);
    memcpy(&context.x64, b->bytes, b->length);
    int rc = context_localise(d, id, &context.x64, e);
    if (rc) {
        error_prefix(e, "vCPU %u: ", id);
        return rc;
    }
    if (xc_vcpu_setcontext(t->xen.xch, t->domid, id, &context))
        return xen_error(&t->xen, e, "domain %u: set vCPU %u", t->domid, id);
    return 0;
}

static int set_vcpu(struct direct *d, uint32_t id, const struct vcpu_records *v, struct error *e)
{
    struct target *t = d->target;
    int rc = v->basic.bytes ? set_basic(d, id, &v->basic, e) : 0;
    return rc ? rc : vcpu_set_state(&t->xen, t->domid, id, v, e);
}

int direct_pv_set_vcpus(struct direct *d, const struct image *im, struct error *e)
{
    struct vcpu_records v[STREAM_VCPUS_MAX];
    vcpu_records_find(im, v);
    if (!v[0].basic.bytes)
        return error_set(e, -EINVAL, "the image has no vCPU 0");
    int rc = frames_go_live(&d->frames, e);
    for (uint32_t id = 0; id < STREAM_VCPUS_MAX && !rc; id++)
        rc = set_vcpu(d, id, &v[id], e);
    return rc;
}
