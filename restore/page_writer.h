/*
 * Writes whole pages of a paused domain without mapping any of them.
 *
 * Content goes by grant copy: the toolstack puts entries for the target frames into the domain's
 * own grant table, whose first frame it can map, and has the hypervisor copy from our memory to
 * these grants, 16 pages a hypercall. That costs about half of mapping, copying and unmapping,
 * where a PV dom0 traps into the hypervisor for each page that it unmaps. Only the first frame of
 * the table is used, behind the entries that are reserved, so the table does not grow; entries are
 * cleared with each batch. Pages of zeros of a PV domain are cleared by the hypervisor, with no
 * copy at all.
 *
 * Page tables of a PV domain go from pfns to machine frames on the way.
 */
#ifndef RESTORE_PAGE_WRITER_H
#define RESTORE_PAGE_WRITER_H

#include "restore/frames.h"
#include "restore/xen.h"
#include "store/image.h"

#include <stddef.h>

struct page_writer;

/* frames is borrowed and tells what may be written; its frames have to be populated before they are
 * added. Maps the grant table's first frame. *out: page_writer_close. */
int page_writer_open(struct xen *x, uint32_t domid, enum image_guest guest, struct frames *frames,
                     struct page_writer **out, struct error *e);
/* Drops the mapping. NULL is fine. */
void page_writer_close(struct page_writer *w);

/*
 * The page at pfn becomes one of this type with this content: 4 KiB, aligned to a page, unchanged
 * until the next flush; NULL: zeros. It may be written at once or with the flush. A table whose
 * present entries name a pfn that is not populated is -EINVAL.
 */
int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e);
/* The same, but the content may change after the call. */
int page_writer_add_copy(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                         struct error *e);
/* Returns when all are in the domain. After a failure nobody knows which are. */
int page_writer_flush(struct page_writer *w, struct error *e);

/* Turns a table's present entries from pfns to machine frames. -EINVAL: see page_writer_add. */
int page_table_localise(const struct frames *f, uint64_t pfn, void *page, struct error *e);

#endif
