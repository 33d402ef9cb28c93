/* vCPU records of a PV guest: see vcpus.h. */
#include "restore/engine/vcpus.h"

#include "restore/formats/records.h"

#include <errno.h>
#include <string.h>

static struct vcpu_bytes *bytes_for(struct vcpu_records *v, uint32_t type)
{
    switch (type) {
    case RECORD_X86_PV_VCPU_BASIC:
        return &v->basic;
    case RECORD_X86_PV_VCPU_EXTENDED:
        return &v->extended;
    case RECORD_X86_PV_VCPU_XSAVE:
        return &v->xsave;
    case RECORD_X86_PV_VCPU_MSRS:
        return &v->msrs;
    default:
        return NULL;
    }
}

void vcpu_records_find(const struct image *im, struct vcpu_records v[STREAM_VCPUS_MAX])
{
    struct image_record r;
    struct vcpu_records none;
    size_t cursor = 0;
    memset(v, 0, STREAM_VCPUS_MAX * sizeof *v);
    while (image_next_record(im, &cursor, &r)) {
        const uint8_t *body = r.body;
        if (!bytes_for(&none, r.type) || r.length <= VCPU_HEADER_BYTES ||
            get_u32(body) >= STREAM_VCPUS_MAX)
            continue;
        *bytes_for(&v[get_u32(body)], r.type) =
            (struct vcpu_bytes){body + VCPU_HEADER_BYTES, r.length - VCPU_HEADER_BYTES};
    }
}

static int set_extended(struct xen *x, uint32_t domid, uint32_t id, const struct vcpu_bytes *b,
                        struct error *e)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_set_ext_vcpucontext, .domain = (domid_t)domid};
    size_t size = sizeof domctl.u.ext_vcpucontext;
    memcpy(&domctl.u.ext_vcpucontext, b->bytes, b->length < size ? b->length : size);
    domctl.u.ext_vcpucontext.vcpu = id;
    if (xc_domctl(x->xch, &domctl))
        return xen_error(x, e, "domain %u: set the callbacks of vCPU %u", domid, id);
    return 0;
}

static int set_xsave(struct xen *x, uint32_t domid, uint32_t id, const struct vcpu_bytes *b,
                     struct error *e)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_setvcpuextstate, .domain = (domid_t)domid};
    DECLARE_HYPERCALL_BUFFER(void, buffer);
    buffer = xc_hypercall_buffer_alloc(x->xch, buffer, b->length);
    if (!buffer)
        return error_set(e, -ENOMEM, "out of memory for the xsave state of vCPU %u", id);
    memcpy(buffer, b->bytes, b->length);
    domctl.u.vcpuextstate.vcpu = id;
    domctl.u.vcpuextstate.size = b->length;
    set_xen_guest_handle(domctl.u.vcpuextstate.buffer, buffer);
    int rc = xc_domctl(x->xch, &domctl);
    if (rc)
        rc = xen_error(x, e, "domain %u: set the xsave state of vCPU %u", domid, id);
    xc_hypercall_buffer_free(x->xch, buffer);
    return rc;
}

static int set_msrs(struct xen *x, uint32_t domid, uint32_t id, const struct vcpu_bytes *b,
                    struct error *e)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_set_vcpu_msrs, .domain = (domid_t)domid};
    DECLARE_HYPERCALL_BUFFER(xen_domctl_vcpu_msr_t, buffer);
    buffer = xc_hypercall_buffer_alloc(x->xch, buffer, b->length);
    if (!buffer)
        return error_set(e, -ENOMEM, "out of memory for the MSRs of vCPU %u", id);
    memcpy(buffer, b->bytes, b->length);
    domctl.u.vcpu_msrs.vcpu = id;
    domctl.u.vcpu_msrs.msr_count = b->length / (uint32_t)sizeof(xen_domctl_vcpu_msr_t);
    set_xen_guest_handle(domctl.u.vcpu_msrs.msrs, buffer);
    int rc = xc_domctl(x->xch, &domctl);
    if (rc)
        rc = xen_error(x, e, "domain %u: set the MSRs of vCPU %u", domid, id);
    xc_hypercall_buffer_free(x->xch, buffer);
    return rc;
}

int vcpu_set_state(struct xen *x, uint32_t domid, uint32_t id, const struct vcpu_records *v,
                   struct error *e)
{
    int rc = v->extended.bytes ? set_extended(x, domid, id, &v->extended, e) : 0;
    if (!rc && v->xsave.bytes)
        rc = set_xsave(x, domid, id, &v->xsave, e);
    if (!rc && v->msrs.bytes)
        rc = set_msrs(x, domid, id, &v->msrs, e);
    return rc;
}
