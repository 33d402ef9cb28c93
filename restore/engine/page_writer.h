/*
 * Writes whole pages of a paused domain without mapping any of them.
 *
 * Content goes by grant copy (grant_copy.h). The hypervisor clears pages of zeros of a PV domain,
 * without a copy.
 *
 * Content that was mapped in ahead of time is copied from there (image_near). Other content is read
 * from the image's file into our own memory, a window of pages at a time. For a page that is needed
 * once, this costs less than mapping it (image_read_payloads).
 *
 * Pages are written in windows. If there is a crew of threads, a range is cut into parts of at most
 * a window. Each thread takes one part after the other and does everything for its pages, with its
 * own grant entries and memory. So the crew is woken once a range, and no thread waits for another
 * at each page. Two threads are nearly twice as fast as one; two that share each window are hardly
 * faster (docs/bench/findings.md). Meanwhile the caller's thread clears pages of zeros.
 *
 * In page tables of a PV domain, pfns become machine frames before they are written.
 */
#ifndef RESTORE_PAGE_WRITER_H
#define RESTORE_PAGE_WRITER_H

#include "base/crew.h"
#include "restore/engine/frames.h"
#include "restore/engine/trace.h"
#include "restore/xen/xen.h"
#include "store/image.h"

#include <stddef.h>

struct page_writer;

/* frames is borrowed. It says what may be written; pages must be populated before they are added.
 * trace is borrowed; written pages are counted for its running stage. Maps the grant table's first
 * frame and takes half a MiB of memory. *out: page_writer_close. */
int page_writer_open(struct xen *x, uint32_t domid, enum image_guest guest, struct frames *frames,
                     struct trace *trace, struct page_writer **out, struct error *e);
/* From now on crew, which is borrowed, helps with large ranges. Takes half a MiB for each thread.
 * -ENOMEM: it does not help, and everything else works. */
int page_writer_helped(struct page_writer *w, struct crew *crew, struct error *e);
/* Drops the mapping, and pages that have not been flushed. NULL is fine. */
void page_writer_close(struct page_writer *w);

/*
 * Makes the page at pfn one of this type with this content (4 KiB, copied at once; NULL: zeros). It
 * is written now or by the flush, so no page may be added twice between two flushes. A table whose
 * present entries name a pfn that is not populated is -EINVAL, from this call or a later one.
 */
int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e);
/* Returns when all added pages are in the domain. After a failure of any call here, it is unknown
 * which pages were written, and nothing that was added is used any more. */
int page_writer_flush(struct page_writer *w, struct error *e);

/* Pages of one image: entries of its table, or of a list like it, each pfn once. */
struct page_range {
    const struct image *image;
    const struct image_page *pages;
    uint64_t n;
    uint64_t besides; /* a pfn that is skipped like kept ones; FRAME_NONE: none */
};

/* Whether the page at pfn stays as it is. */
static inline bool page_range_passes_over(const struct page_range *r, const struct frames *f,
                                          uint64_t pfn)
{
    return pfn == r->besides || frames_is_kept(f, pfn);
}

/* Writes a range, and the pages that were added before. Blocking: all are in the domain when it
 * returns. */
int page_writer_write(struct page_writer *w, const struct page_range *range, struct error *e);

#endif
