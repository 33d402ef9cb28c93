/*
 * Copies pages of our memory into frames of a paused domain, without mapping any of them.
 *
 * The toolstack puts entries for the target frames into the domain's own grant table, whose first
 * frame it can map, and has the hypervisor copy from our memory to these grants, 16 pages a
 * hypercall. That costs about half of mapping, copying and unmapping, where a PV dom0 traps into
 * the hypervisor for each page that it unmaps. Only the first frame of the table is used, behind
 * the entries that are reserved, so the table does not grow; entries are cleared with each copy.
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

/* Maps the table's first frame. Every entry that a lane uses has to be free. An I/O error; then
 * grant_copy_close is due as well. */
int grant_copy_open(struct grant_copy *g, uint32_t domid, struct error *e);
/* Of all zeros, and twice, it is fine. */
void grant_copy_close(struct grant_copy *g);

struct grant_lane {
    const struct grant_copy *copy;
    uint32_t first_ref;
    uint8_t *arena; /* as many pages as it has room for, in memory from the start; for any use */
    size_t n;       /* pages that have been added */
    uint32_t frames[GRANT_ENTRIES];
    xengnttab_grant_copy_segment_t segments[GRANT_ENTRIES];
};

/* A lane of `room` entries; the first `before` that are not reserved are left to other lanes. g is
 * borrowed. -ENOMEM. */
int grant_lane_open(struct grant_lane *l, const struct grant_copy *g, size_t before, size_t room,
                    struct error *e);
/* Of all zeros, and twice, it is fine. */
void grant_lane_close(struct grant_lane *l);

/* A page at `from`, 4 KiB, which is to stay until the copy, goes to this machine frame of the
 * domain. There has to be room for it. */
static inline void grant_lane_add(struct grant_lane *l, const void *from, uint32_t frame)
{
    l->segments[l->n].source.virt = (void *)(uintptr_t)from;
    l->segments[l->n].status = GNTST_general_error;
    l->frames[l->n++] = frame;
}

/*
 * Copies what was added; the lane keeps it. Blocking: one hypercall for 16 pages. -errno when the
 * call failed, and *bad is n. -EIO when the hypervisor refused a page: *bad is the first of them,
 * its segment's status the hypervisor's own code, GNTST_...: -1 is a frame that may not be written,
 * say a table.
 */
int grant_lane_copy(struct grant_lane *l, size_t *bad);

#endif
