/*
 * The frames of one domain, as whoever fills it must see them: which machine frame each pfn has,
 * which type of page its present content is, and whether Xen holds it as a page table.
 *
 * Xen refuses most mistakes with page tables, but not all: a table that is pinned at the wrong
 * level is accepted and spoilt, and a page that is left out is silent. So every step asks here
 * first, and what must hold before it stands in one place:
 *
 *   write     writes have begun; populated, not pinned, not kept
 *   begin     to write: no pin or unpin queued, and not live
 *   pin       its content is a table and in place, not pinned; the level is that of the content
 *   unpin     pinned by us
 *   go live   nothing queued
 *
 * Writes and pins are queued by their callers and go to Xen in batches, so the two kinds exclude
 * one another here until a batch has gone through. Threads that write together ask about each page
 * on their own; that they write has been said once, before.
 *
 * Nobody says a level: it follows from the type with which the content came (an image's PAGES
 * table). A refusal is a fault of this program, not of an image; it ends the slot.
 *
 * No call here speaks to Xen. Page types are those of enum page_type (restore/formats/records.h).
 */
#ifndef RESTORE_FRAMES_H
#define RESTORE_FRAMES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAME_NONE UINT64_MAX /* no machine frame: not populated */
#define FRAME_EMPTY 0xffu     /* type of a frame that nothing was written to */

struct frames {
    uint64_t count;     /* pfns 0 to count - 1 */
    uint64_t populated; /* those that have a frame */
    uint64_t pinned;
    uint64_t pins; /* queued */
    bool writing;  /* begun, and not known to be done */
    bool live;     /* a vCPU has been set: Xen holds every table that it reaches */
    uint64_t *mfn;
    uint8_t *type;  /* of the content, with PAGE_TYPE_PINNED where the image asks for a pin */
    uint8_t *level; /* at which it is pinned, 0: is not */
    uint8_t *kept;  /* not 0: written once, when the slot was built */
};

/* -ENOMEM. The caller disposes in any case. */
int frames_init(struct frames *f, uint64_t count, struct error *e);
void frames_dispose(struct frames *f);

/* The machine frame of a populated pfn, FRAME_NONE for any other number. */
static inline uint64_t frames_mfn(const struct frames *f, uint64_t pfn)
{
    return pfn < f->count ? f->mfn[pfn] : FRAME_NONE;
}

/* Type of what was written last, FRAME_EMPTY when nothing was. */
static inline unsigned frames_type(const struct frames *f, uint64_t pfn)
{
    return pfn < f->count ? f->type[pfn] : FRAME_EMPTY;
}

static inline bool frames_is_kept(const struct frames *f, uint64_t pfn)
{
    return pfn < f->count && f->kept[pfn];
}

/* 1 to 4, or 0: not pinned. */
static inline unsigned frames_pin_level(const struct frames *f, uint64_t pfn)
{
    return pfn < f->count ? f->level[pfn] : 0;
}

/* Xen has given pfn this frame. -EINVAL: it has one already, or there is no such pfn. */
int frames_place(struct frames *f, uint64_t pfn, uint64_t mfn, struct error *e);

/* The answer of frames_write when pfn may not be written: -EINVAL, and why. */
int frames_write_refused(const struct frames *f, uint64_t pfn, struct error *e);

/* Asked before the first write, and again at will: until they are done nothing is pinned or
 * unpinned. -EINVAL: pins are under way, or vCPUs have been set. */
int frames_writes_begin(struct frames *f, struct error *e);
/* Asked before the content of pfn changes; from here on it is a page of this type. -EINVAL when it
 * may not change. Asked for each page of a delta, so the answer "it may" is given in place; and by
 * several threads at a time, about different pages. */
static inline int frames_write(struct frames *f, uint64_t pfn, unsigned type, struct error *e)
{
    if (!f->writing || frames_mfn(f, pfn) == FRAME_NONE || f->level[pfn] || f->kept[pfn])
        return frames_write_refused(f, pfn, e);
    f->type[pfn] = (uint8_t)type;
    return 0;
}

/* All writes asked for so far are in the domain. */
void frames_writes_done(struct frames *f);
/* What is in it stays: further writes are refused. */
int frames_keep(struct frames *f, uint64_t pfn, struct error *e);

/* Asked before Xen is: *level is what to pin it as. -EINVAL when it may not be pinned. */
int frames_pin(struct frames *f, uint64_t pfn, unsigned *level, struct error *e);
int frames_unpin(struct frames *f, uint64_t pfn, struct error *e);
/* Xen has done all of them. */
void frames_pins_done(struct frames *f);

/* Asked before the first vCPU is set. Contents are what they are from here on; pins may change. */
int frames_go_live(struct frames *f, struct error *e);

#endif
