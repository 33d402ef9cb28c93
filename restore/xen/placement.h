/*
 * Where a domain runs, and its share: cpupool, NUMA nodes, affinity of its vCPUs, weight and cap.
 * All as libxl does it for a restore (Xen's tools/libs/light: libxl__build_pre, libxl__build_post,
 * libxl_sched.c), while the domain is made. Nothing of it is done to a domain that is allocated.
 */
#ifndef RESTORE_PLACEMENT_H
#define RESTORE_PLACEMENT_H

#include "restore/formats/domconf.h"
#include "restore/xen/xen.h"

/* The number of the configuration's cpupool. ANSWER_IMAGE_REFUSED: this host has none of that name;
 * or an I/O error of xenstore. */
int placement_pool(struct xen *x, const struct domconf *c, uint32_t *id, struct error *e);

/* Sets the NUMA nodes that the domain's memory is to come from, and the affinity of its vCPUs.
 * Before it has memory. ANSWER_IMAGE_REFUSED: a vCPU may run on none of the processors of its
 * cpupool. */
int placement_set(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e);

/* Sets weight and cap, if the scheduler of the domain's cpupool has them; pool: its number. */
int placement_share(struct xen *x, const struct domconf *c, uint32_t domid, uint32_t pool,
                    struct error *e);

#endif
