/*
 * What a PVH domain needs besides its pages: HVM parameters and context. What is set and cleared is
 * what libxenguest sets and clears (Xen 4.17, tools/libs/guest/xg_sr_restore_x86_hvm.c).
 */
#include "restore/engine/direct.h"

#include "restore/formats/records.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xen/hvm/params.h>

#define PARAMS_HEADER_BYTES 8u
#define PARAM_BYTES 16u
/* Obsolete; libxenguest drops it. The public header shows it to Xen alone. */
#define PARAM_PAE_ENABLED 4

/* Walks the image's HVM_PARAMS record: *cursor starts at 0. */
static bool next_param(const struct image *im, uint32_t *cursor, uint64_t *index, uint64_t *value)
{
    struct image_record r;
    image_find_record(im, RECORD_HVM_PARAMS, 0, &r);
    const uint8_t *body = r.body;
    uint64_t at = PARAMS_HEADER_BYTES + (uint64_t)*cursor * PARAM_BYTES;
    if (r.length < PARAMS_HEADER_BYTES || *cursor >= get_u32(body) || at + PARAM_BYTES > r.length)
        return false;
    *index = get_u64(body + at);
    *value = get_u64(body + at + 8);
    ++*cursor;
    return true;
}

static bool names_ring(uint64_t index)
{
    return index == HVM_PARAM_STORE_PFN || index == HVM_PARAM_CONSOLE_PFN ||
           index == HVM_PARAM_IOREQ_PFN || index == HVM_PARAM_BUFIOREQ_PFN;
}

int direct_pvh_clear_rings(struct direct *d, struct error *e)
{
    uint32_t cursor = 0;
    uint64_t index, pfn;
    int rc = 0;
    while (!rc && next_param(d->base.base, &cursor, &index, &pfn))
        if (names_ring(index) && frames_mfn(&d->frames, pfn) != FRAME_NONE &&
            !frames_is_kept(&d->frames, pfn)) {
            rc = page_writer_add(d->writer, pfn, PAGE_NOTAB, NULL, e);
            if (!rc)
                rc = frames_keep(&d->frames, pfn, e);
        }
    return rc ? rc : page_writer_flush(d->writer, e);
}

static int set_param(struct direct *d, uint64_t index, uint64_t value, struct error *e)
{
    struct target *t = d->target;
    if (index >= DIRECT_PARAMS)
        return error_set(e, -EINVAL, "there is no HVM parameter %" PRIu64, index);
    if (d->params_set >> index & 1 && d->params[index] == value)
        return 0;
    if (xc_hvm_param_set(t->xen.xch, t->domid, (uint32_t)index, value))
        return xen_error(&t->xen, e, "domain %u: set HVM parameter %" PRIu64 " to %#" PRIx64,
                         t->domid, index, value);
    d->params_set |= 1ull << index;
    d->params[index] = value;
    return 0;
}

int direct_pvh_set_params(struct direct *d, const struct image *im, struct error *e)
{
    uint32_t cursor = 0;
    uint64_t index, value;
    int rc = 0;
    while (!rc && next_param(im, &cursor, &index, &value))
        if (index != PARAM_PAE_ENABLED)
            rc = set_param(d, index, value, e);
    return rc;
}

int direct_pvh_prepare(struct direct *d, uint64_t *store, uint64_t *console, struct error *e)
{
    *store = d->base.guest.store_pfn;
    *console = d->base.guest.console_pfn;
    int rc = direct_pvh_set_params(d, d->base.base, e);
    if (!rc)
        rc = set_param(d, HVM_PARAM_STORE_EVTCHN, d->target->store_port, e);
    if (!rc)
        rc = set_param(d, HVM_PARAM_CONSOLE_EVTCHN, d->target->console_port, e);
    return rc;
}

int direct_pvh_set_context(struct direct *d, const struct image *im, struct error *e)
{
    struct target *t = d->target;
    struct image_record r;
    if (!image_find_record(im, RECORD_HVM_CONTEXT, 0, &r))
        return error_set(e, -EINVAL, "the image has no HVM context");
    int rc = frames_go_live(&d->frames, e);
    if (!rc &&
        xc_domain_hvm_setcontext(t->xen.xch, t->domid, (uint8_t *)(uintptr_t)r.body, r.length))
        return xen_error(&t->xen, e, "domain %u: set its HVM context", t->domid);
    return rc;
}
