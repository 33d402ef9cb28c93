/*
 * Gives a domain the frames for the pages that an image populates. Where pfns are contiguous and
 * aligned, it uses large extents, as when a domain is created; the rest goes page by page. Thus a
 * PVH guest keeps its superpages, and the hypervisor's records of a PV guest's frames are
 * contiguous.
 */
#ifndef RESTORE_POPULATE_H
#define RESTORE_POPULATE_H

#include "restore/engine/frames.h"
#include "restore/xen/xen.h"
#include "store/image.h"

/* Places every populated pfn of im in frames; for PVH the "frame" is the gfn, which equals the pfn.
 * The frames hold old data: the hypervisor does not clear what a running domain has given back.
 * ANSWER_NO_HOST_MEMORY: Xen has too little memory. Blocking. */
int populate(struct xen *x, uint32_t domid, const struct image *im, struct frames *frames,
             struct error *e);

#endif
