/*
 * Gives a domain the frames that an image populates: in large extents where pfns are contiguous and
 * aligned, as a domain gets them when it is created (a PVH guest keeps its superpages, and in a PV
 * guest the hypervisor's records of the frames lie side by side), and page by page for the rest.
 */
#ifndef RESTORE_POPULATE_H
#define RESTORE_POPULATE_H

#include "restore/engine/frames.h"
#include "restore/xen/xen.h"
#include "store/image.h"

/* Places every populated pfn of im in frames; of a PVH domain the "frame" is the gfn, which is the
 * pfn. What is in the frames is anything: the hypervisor does not clear what a running domain has
 * given back. ANSWER_NO_HOST_MEMORY when Xen has not enough. Blocking. */
int populate(struct xen *x, uint32_t domid, const struct image *im, struct frames *frames,
             struct error *e);

#endif
