/* What host.c, destroy.c and sweep.c share; of no use to anybody else. */
#ifndef RESTORE_HOST_PRIVATE_H
#define RESTORE_HOST_PRIVATE_H

#include "restore/xen/host.h"
#include "restore/xen/xen.h"

#define HOST_BATCH 128u

struct host {
    struct xen xen;
    int wake; /* eventfd */
    bool watching;
};

/* The hypervisor's list without dom0, a batch at a time: *first begins at 1; *got is 0 at the end.
 * Domains that have gone meanwhile may be missing, none comes twice. An I/O error. */
int host_next_batch(struct host *h, uint32_t *first, xc_domaininfo_t batch[HOST_BATCH], int *got,
                    struct error *e);

#endif
