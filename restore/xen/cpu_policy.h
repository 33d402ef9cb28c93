/*
 * What a domain's CPUID and MSRs say. Streams of version 3 carry it; for older ones the toolstack
 * makes one up, as libxl does.
 */
#ifndef RESTORE_CPU_POLICY_H
#define RESTORE_CPU_POLICY_H

#include "restore/formats/domconf.h"
#include "restore/xen/xen.h"
#include "store/image.h"

/* The policy that libxl gives a domain whose stream has none. 0, or -1 with errno. */
int cpu_policy_default(struct xen *x, uint32_t domid, const struct domconf *c);

/* What the image's static records say, and the default policy if any of it is missing; in this
 * order, as libxenguest does it. Before the domain runs for the first time. */
int cpu_policy_apply(struct xen *x, uint32_t domid, const struct domconf *c, const struct image *im,
                     struct error *e);

#endif
