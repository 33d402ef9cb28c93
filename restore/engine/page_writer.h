/*
 * Writes whole pages of a paused domain without mapping any of them.
 *
 * Content goes by grant copy (grant_copy.h). Pages of zeros of a PV domain are cleared by the
 * hypervisor, with no copy at all.
 *
 * Content that has been mapped in ahead of time is copied from where it is (image_near). Else it is
 * read from the image's file into memory of our own, a window of pages at a time: for a page that
 * is needed once that costs less than having it mapped (image_read_payloads).
 *
 * Pages go out in windows. Where there is a crew of threads, a range is cut into parts of at most a
 * window, and each thread takes one part after the other and does all that there is to do about its
 * pages, with entries of the grant table and memory of its own: so waking it is paid for once a
 * range, and nothing is done for each page that the other threads would wait for. Two threads are
 * nearly twice as fast as one, where two that share each window are hardly faster
 * (docs/bench/findings.md). Pages of zeros are cleared by the caller's thread meanwhile.
 *
 * Page tables of a PV domain go from pfns to machine frames on the way.
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

/* frames is borrowed; it tells what may be written; its frames have to be populated
 * before they are added. trace is borrowed; what is written is counted for the stage that is
 * running. Maps the grant table's first frame, takes half a MiB for pages on their way. *out:
 * page_writer_close. */
int page_writer_open(struct xen *x, uint32_t domid, enum image_guest guest, struct frames *frames,
                     struct trace *trace, struct page_writer **out, struct error *e);
/* From now on crew helps with much; borrowed. Takes half a MiB for each thread. -ENOMEM: it does
 * not, and all else goes on. */
int page_writer_helped(struct page_writer *w, struct crew *crew, struct error *e);
/* Drops the mapping, and what has not been flushed. NULL is fine. */
void page_writer_close(struct page_writer *w);

/*
 * The page at pfn becomes one of this type with this content, 4 KiB, which is copied at once; NULL:
 * zeros. It may be written at once or with the flush, so no page is added twice between two
 * flushes. A table whose present entries name a pfn that is not populated is -EINVAL, from this
 * call or a later one.
 */
int page_writer_add(struct page_writer *w, uint64_t pfn, unsigned type, const void *content,
                    struct error *e);
/* Returns when all are in the domain. After a failure, of any call here, nobody knows what is, and
 * nothing of what was added is used any more. */
int page_writer_flush(struct page_writer *w, struct error *e);

/* Pages of one image: entries of its table, or of a list like it, each pfn once. */
struct page_range {
    const struct image *image;
    const struct image_page *pages;
    uint64_t n;
    uint64_t besides; /* a pfn that is passed over, as those that are kept are; FRAME_NONE: none */
};

/* Whether the page at pfn stays as it is. */
static inline bool page_range_passes_over(const struct page_range *r, const struct frames *f,
                                          uint64_t pfn)
{
    return pfn == r->besides || frames_is_kept(f, pfn);
}

/* Writes a range, and what was added before. Blocking: all is in the domain when it returns. */
int page_writer_write(struct page_writer *w, const struct page_range *range, struct error *e);

/* Turns a table's present entries from pfns to machine frames. -EINVAL: see page_writer_add. */
int page_table_localise(const struct frames *f, uint64_t pfn, void *page, struct error *e);

#endif
