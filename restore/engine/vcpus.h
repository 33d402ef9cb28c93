/*
 * The vCPU records of a PV guest's image, and the domctls that take them. Their bodies are those of
 * Xen's docs/specs/libxc-migration-stream: the vCPU's number, then what the domctl of that name
 * saved.
 */
#ifndef RESTORE_VCPUS_H
#define RESTORE_VCPUS_H

#include "restore/formats/stream.h"
#include "restore/xen/xen.h"
#include "store/image.h"

#define VCPU_HEADER_BYTES 8u /* number of the vCPU, 4 bytes of 0 */

struct vcpu_bytes {
    const uint8_t *bytes; /* of the image's file; NULL: it has none */
    uint32_t length;
};

struct vcpu_records {
    struct vcpu_bytes basic, extended, xsave, msrs;
};

/* What the image has for each vCPU. */
void vcpu_records_find(const struct image *im, struct vcpu_records v[STREAM_VCPUS_MAX]);

/* Sets what there is besides `basic`: call-backs, xsave state, MSRs. The context, if it is set at
 * all, comes before. Blocks for a few hypercalls. 0, -ENOMEM, or the hypervisor's error. */
int vcpu_set_state(struct xen *x, uint32_t domid, uint32_t id, const struct vcpu_records *v,
                   struct error *e);

#endif
