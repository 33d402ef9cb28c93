/* Copying by grant: see grant_copy.h. */
#include "restore/engine/grant_copy.h"

#include "base/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/memory.h>

int grant_copy_open(struct grant_copy *g, uint32_t domid, struct error *e)
{
    void *at = NULL;
    *g = (struct grant_copy){.domid = domid};
    g->gnttab = xengnttab_open(NULL, 0);
    if (!g->gnttab)
        return error_errno(e, errno, "open /dev/xen/gntdev");
    g->memory = xenforeignmemory_open(NULL, 0);
    if (!g->memory)
        return error_errno(e, errno, "open /dev/xen/privcmd for foreign memory");
    g->resource = xenforeignmemory_map_resource(
        g->memory, (domid_t)domid, XENMEM_resource_grant_table,
        XENMEM_resource_grant_table_id_shared, 0, 1, &at, PROT_READ | PROT_WRITE, 0);
    if (!g->resource)
        return error_errno(e, errno, "domain %u: map its grant table", domid);
    g->entries = at;
    return 0;
}

void grant_copy_close(struct grant_copy *g)
{
    if (g->resource)
        xenforeignmemory_unmap_resource(g->memory, g->resource);
    if (g->memory)
        xenforeignmemory_close(g->memory);
    if (g->gnttab)
        xengnttab_close(g->gnttab);
    *g = (struct grant_copy){0};
}

int grant_lane_open(struct grant_lane *l, const struct grant_copy *g, size_t before, size_t room,
                    struct error *e)
{
    size_t bytes = room * PAGE_BYTES;
    l->copy = g;
    l->n = 0;
    l->first_ref = GNTTAB_NR_RESERVED_ENTRIES + (uint32_t)before;
    l->arena = aligned_alloc(PAGE_BYTES, bytes);
    if (!l->arena)
        return error_set(e, -ENOMEM, "out of memory for pages on their way");
    memset(l->arena, 0, bytes); /* no page fault later */
    for (uint32_t i = 0; i < room; i++)
        l->segments[i] = (xengnttab_grant_copy_segment_t){
            .dest.foreign = {.ref = l->first_ref + i, .domid = (uint16_t)g->domid},
            .len = PAGE_BYTES,
            .flags = GNTCOPY_dest_gref,
        };
    return 0;
}

void grant_lane_close(struct grant_lane *l)
{
    free(l->arena);
    l->arena = NULL;
    l->n = 0;
}

/* Sets the flags last: an entry without flags is none, whatever else it holds. */
static void grant(const struct grant_lane *l, grant_entry_v1_t *entries)
{
    for (size_t i = 0; i < l->n; i++)
        entries[i].frame = l->frames[i];
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (size_t i = 0; i < l->n; i++)
        entries[i].flags = GTF_permit_access; /* to domain 0: the entries were all zeros */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

int grant_lane_copy(struct grant_lane *l, size_t *bad)
{
    grant_entry_v1_t *entries = l->copy->entries + l->first_ref;
    grant(l, entries);
    int failed = xengnttab_grant_copy(l->copy->gnttab, (uint32_t)l->n, l->segments) ? errno : 0;
    memset(entries, 0, l->n * sizeof *entries);
    *bad = l->n;
    if (failed)
        return -failed;
    for (size_t i = 0; i < l->n; i++)
        if (l->segments[i].status != GNTST_okay) {
            *bad = i;
            return -EIO;
        }
    return 0;
}
