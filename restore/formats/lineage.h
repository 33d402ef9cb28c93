/*
 * Lineage: whether a saved state can be stored as a delta over a base, and what of
 * it never is.
 *
 * A slot is made from the base's configuration, its populated pages, its static
 * records (p2m layout, CPU policy); only contents and types of pages, vCPUs and
 * platform state come with the image. So all of the former must be equal, or the
 * domain would not be what was saved. And the kernel must be the same one, because a
 * delta over another kernel is no delta: nearly everything would differ.
 */
#ifndef RESTORE_LINEAGE_H
#define RESTORE_LINEAGE_H

#include "restore/formats/domconf.h"
#include "restore/formats/guest_check.h"
#include "store/image.h"

struct lineage {
    const struct image *base; /* borrowed */
    struct domconf conf;      /* the base's */
    struct guest_check guest; /* what the base's records say */
    uint64_t code_pointer;    /* instruction pointer of vCPU 0, 0: not seen yet */
    unsigned static_records;  /* seen so far */
};

/* ANSWER_IMAGE_REFUSED when base is a derived image itself. The caller disposes in any case. */
int lineage_init(struct lineage *l, const struct image *base, struct error *e);
void lineage_dispose(struct lineage *l);

/* The steps, as an import meets them. Each ANSWER_IMAGE_REFUSED with what differs. */
int lineage_check_config(const struct lineage *l, const struct domconf *conf, struct error *e);
/* Every record of the stream, ORIGIN included. */
int lineage_check_record(struct lineage *l, uint32_t type, const uint8_t *body, uint32_t length,
                         struct error *e);
/*
 * Once the stream has ended. max_pfn: the image's; guest: what its records say, rings known;
 * same: whether the page at a pfn is the base's.
 */
int lineage_finish(const struct lineage *l, uint64_t max_pfn, const struct guest_check *guest,
                   bool (*same)(const void *data, uint64_t pfn), const void *data, struct error *e);

/* All of it for a base that is there: whether a slot of one can be made to hold the other. */
int lineage_check_image(struct lineage *l, const struct image *other, struct error *e);

/*
 * True for a page whose content is the toolstack's or is written anew at each resume, so that it
 * always differs and never matters: frames of the p2m, the xenstore ring and the console ring.
 */
bool lineage_leaves_out(const struct lineage *l, uint64_t pfn);

#endif
