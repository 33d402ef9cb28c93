/*
 * The frames of one domain, as whoever fills it must see them. For each pfn: its machine frame, the
 * page type of its present content, and whether Xen holds it as a page table.
 *
 * Xen refuses most mistakes with page tables, but not all. It accepts a table that is pinned at the
 * wrong level, and spoils it. It does not notice a page that is left out. Therefore every step asks
 * here first; the conditions are:
 *
 *   begin     (to write) no pin or unpin is queued, and the domain is not live
 *   write     writes have begun; the page is populated, not pinned, not kept
 *   pin       the page's content is a table and has been written; the page is not pinned
 *   unpin     we pinned the page
 *   go live   nothing is queued
 *
 * Callers queue writes and pins and send them to Xen in batches. Here the two kinds exclude one
 * another until a batch has gone through. Threads that write together each ask about their own
 * pages; that they write was announced once, before.
 *
 * Callers name no level: it follows from the type with which the content came (an image's PAGES
 * table). A refusal is a fault of this program, not of an image. It ends the slot.
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
    bool writing;  /* begun, and not yet known to be in the domain */
    bool live;     /* a vCPU has been set: Xen holds every table that it reaches */
    uint64_t *mfn;
    uint8_t *type;  /* of the content, with PAGE_TYPE_PINNED where the image asks for a pin */
    uint8_t *level; /* at which it is pinned; 0: not pinned */
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

/* Type of the content last written; FRAME_EMPTY: nothing was. */
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

/* Returns the refusal of frames_write: -EINVAL, and why pfn may not be written. */
int frames_write_refused(const struct frames *f, uint64_t pfn, struct error *e);

/* To be asked before the first write; may be asked again at any time. Until the writes are done,
 * nothing is pinned or unpinned. -EINVAL: pins are queued, or vCPUs have been set. */
int frames_writes_begin(struct frames *f, struct error *e);
/* To be asked before the content of pfn changes; from then on pfn is a page of this type. -EINVAL:
 * it may not change. Inline, since it is asked for each page of a delta. Several threads may ask at
 * a time, about different pages. */
static inline int frames_write(struct frames *f, uint64_t pfn, unsigned type, struct error *e)
{
    if (!f->writing || frames_mfn(f, pfn) == FRAME_NONE || f->level[pfn] || f->kept[pfn])
        return frames_write_refused(f, pfn, e);
    f->type[pfn] = (uint8_t)type;
    return 0;
}

/* All writes asked for so far are in the domain. */
void frames_writes_done(struct frames *f);
/* Keeps the page as it is: further writes are refused. */
int frames_keep(struct frames *f, uint64_t pfn, struct error *e);

/* To be asked before Xen pins: *level is the level to pin pfn at. -EINVAL: it may not be pinned. */
int frames_pin(struct frames *f, uint64_t pfn, unsigned *level, struct error *e);
int frames_unpin(struct frames *f, uint64_t pfn, struct error *e);
/* Xen has done all queued pins and unpins. */
void frames_pins_done(struct frames *f);

/* To be asked before the first vCPU is set. From then on contents cannot change; pins can. */
int frames_go_live(struct frames *f, struct error *e);

#endif
