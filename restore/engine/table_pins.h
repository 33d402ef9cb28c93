/*
 * Pins and unpins page tables of a PV domain, in batches. struct frames says what may be pinned,
 * and at which level. The hypervisor stops at the first operation that it refuses and names it only
 * in its debug log. A domain is unusable after a failed batch.
 */
#ifndef RESTORE_TABLE_PINS_H
#define RESTORE_TABLE_PINS_H

#include "restore/engine/frames.h"
#include "restore/xen/xen.h"

#define TABLE_PINS_BATCH 512u

struct table_pins {
    struct xen *xen;
    struct frames *frames; /* borrowed */
    uint32_t domid;
    unsigned n;
    uint64_t pfns[TABLE_PINS_BATCH];
    struct mmuext_op ops[TABLE_PINS_BATCH];
};

void table_pins_init(struct table_pins *t, struct xen *x, uint32_t domid, struct frames *frames);
/* Both may send a batch. The order of the calls is kept. */
int table_pin(struct table_pins *t, uint64_t pfn, struct error *e);
int table_unpin(struct table_pins *t, uint64_t pfn, struct error *e);
/* Returns when all queued operations are done. */
int table_pins_flush(struct table_pins *t, struct error *e);

#endif
