/*
 * The parts of engine `direct` and what they share. The order in which they are called, and why, is
 * at the top of engine_direct.c.
 */
#ifndef RESTORE_DIRECT_H
#define RESTORE_DIRECT_H

#include "base/page.h"
#include "restore/engine/engine.h"
#include "restore/engine/frames.h"
#include "restore/engine/page_writer.h"
#include "restore/engine/table_pins.h"
#include "restore/formats/lineage.h"
#include "store/memory.h"

#include <xenforeignmemory.h>

#define DIRECT_PARAMS 64u /* HVM parameters, by index; more than Xen has */

/*
 * What a derived image, or a new version of the base, changes in a domain: pages of one image's
 * file, and for PV the start info with this domain's values. The pages are the image's own table,
 * or a list made for the purpose. Kept pages are skipped, and so is the table's start info. Borrows
 * the image's pages, and the list `typed` from struct direct: so only one struct changes is in use
 * at a time.
 *
 * An allocation walks all changes twice: to look at their types, and to write them. Few of them
 * concern pins.
 */
struct changes {
    struct page_range range; /* besides: the start info, whose content is in struct direct */
    struct image_page *own;  /* range.pages, if it is a list made for this; else NULL */
    const uint64_t *typed;   /* pfns of those that will be tables, or are pinned now */
    size_t n_typed;
};

struct direct {
    _Alignas(PAGE_BYTES) uint8_t start_info[PAGE_BYTES]; /* PV; to be written to the domain */
    struct target *target;
    struct lineage base; /* what the base's records say */
    struct frames frames;
    struct crew *crew;
    struct page_writer *writer;
    struct table_pins pins;
    /* PV */
    uint64_t *tables; /* pfns of page tables of the base */
    size_t n_tables;
    uint64_t *typed; /* room for changes.typed */
    size_t typed_room;
    struct changes changes; /* of the image that is being completed */
    void *shared_info;      /* mapped when built */
    xenforeignmemory_handle *memory;
    uint64_t shared_info_frame;
    /* PVH: what has been set */
    uint64_t params[DIRECT_PARAMS];
    uint64_t params_set; /* bit n */
};

/* ---- PV: direct_pv.c ---- */

/* Before the base's pages are written: writes the frames of the guest's p2m list, and keeps
 * them. */
int direct_pv_write_p2m(struct direct *d, struct error *e);
/* After the base's pages are written: maps shared_info and keeps the ring pages. *store and
 * *console are the rings' frames. */
int direct_pv_prepare(struct direct *d, uint64_t *store, uint64_t *console, struct error *e);
/* Fills d->start_info with im's start info, changed to this domain's frames and ports. *pfn is the
 * page that it belongs to. */
int direct_pv_start_info(struct direct *d, const struct image *im, uint64_t *pfn, struct error *e);
/* -EINVAL once a vCPU has been set. */
int direct_pv_write_shared_info(struct direct *d, const struct image *im, struct error *e);
/* Sets all vCPUs of the image. No write or pin may be queued, and nothing may be written
 * afterwards. */
int direct_pv_set_vcpus(struct direct *d, const struct image *im, struct error *e);

/* ---- PVH: direct_pvh.c ---- */

/* Before the base's pages are written: clears the ring pages, and keeps them. */
int direct_pvh_clear_rings(struct direct *d, struct error *e);
/* Sets the parameters of the event channels and those of the base. *store and *console are the
 * rings' frames. */
int direct_pvh_prepare(struct direct *d, uint64_t *store, uint64_t *console, struct error *e);
/* Sets those of im's parameters that are not set yet. */
int direct_pvh_set_params(struct direct *d, const struct image *im, struct error *e);
int direct_pvh_set_context(struct direct *d, const struct image *im, struct error *e);

#endif
