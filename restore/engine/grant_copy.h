/*
 * Copies pages of our memory into frames of a paused domain, without mapping any of them.
 *
 * The domain's own grant table has a first frame that the toolstack can map. We put entries for the
 * target frames there, and have the hypervisor copy from our memory to these grants, 16 pages a
 * hypercall. This costs about half of mapping, copying and unmapping: a PV dom0 traps into the
 * hypervisor for each page that it unmaps. Only the first frame of the table is used, after the
 * reserved entries, so the table does not grow. Entries are cleared after each copy.
 *
 * Each thread has a lane: entries of the table and memory that no other thread uses.
 */
#ifndef RESTORE_GRANT_COPY_H
#define RESTORE_GRANT_COPY_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <xenctrl.h>

#include <xen/grant_table.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>

/* Entries for all lanes together. */
#define GRANT_ENTRIES (4096u / sizeof(grant_entry_v1_t) - GNTTAB_NR_RESERVED_ENTRIES)

struct grant_copy {
    uint32_t domid;
    xengnttab_handle *gnttab;
    xenforeignmemory_handle *memory;
    xenforeignmemory_resource_handle *resource;
    grant_entry_v1_t *entries; /* the table's first frame */
};

/* Maps the table's first frame. Every entry that a lane uses must be free. After an error, too,
 * grant_copy_close must be called. */
int grant_copy_open(struct grant_copy *g, uint32_t domid, struct error *e);
/* Of all zeros, and twice, it is fine. */
void grant_copy_close(struct grant_copy *g);

struct grant_lane {
    const struct grant_copy *copy;
    uint32_t first_ref;
    uint8_t *arena; /* memory for as many pages as the lane has room; for any use */
    size_t n;       /* pages that have been added */
    uint32_t frames[GRANT_ENTRIES];
    xengnttab_grant_copy_segment_t segments[GRANT_ENTRIES];
};

/* Makes a lane of `room` entries. It leaves the first `before` unreserved entries to other lanes. g
 * is borrowed. -ENOMEM. */
int grant_lane_open(struct grant_lane *l, const struct grant_copy *g, size_t before, size_t room,
                    struct error *e);
/* Of all zeros, and twice, it is fine. */
void grant_lane_close(struct grant_lane *l);

/* Adds a page: the 4 KiB at `from`, which must stay until the copy, go to this machine frame of the
 * domain. The lane must have room for it. */
static inline void grant_lane_add(struct grant_lane *l, const void *from, uint32_t frame)
{
    l->segments[l->n].source.virt = (void *)(uintptr_t)from;
    l->segments[l->n].status = GNTST_general_error;
    l->frames[l->n++] = frame;
}

/*
 * Copies the pages that were added, which the lane keeps. Blocking: one hypercall for 16 pages.
 * -errno: the call failed, and *bad is n. -EIO: the hypervisor refused a page. Then *bad is the
 * first such page, and its segment's status is the hypervisor's code GNTST_...; -1 is a frame that
 * may not be written, such as a page table.
 */
int grant_lane_copy(struct grant_lane *l, size_t *bad);

#endif
