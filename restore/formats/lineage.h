/*
 * Lineage: whether a saved state can be stored as a delta over a base, and which parts are never
 * stored in a delta.
 *
 * A slot is made from the base's configuration, its populated pages and its static records (p2m
 * layout, CPU policy). Only contents and types of pages, vCPUs and platform state come with the
 * image. So the former must all be equal, or the domain would not be the saved one. The kernel must
 * be the same too: over another kernel nearly every page would differ.
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

/* The steps, in the order in which an import reaches them. Each: ANSWER_IMAGE_REFUSED with the
 * difference. */
int lineage_check_config(const struct lineage *l, const struct domconf *conf, struct error *e);
/* Every record of the stream, ORIGIN included. */
int lineage_check_record(struct lineage *l, uint32_t type, const uint8_t *body, uint32_t length,
                         struct error *e);
/*
 * Once the stream has ended. max_pfn: the image's. guest: what its records say, with the rings
 * known. same: whether the page at a pfn equals the base's.
 */
int lineage_finish(const struct lineage *l, uint64_t max_pfn, const struct guest_check *guest,
                   bool (*same)(const void *data, uint64_t pfn), const void *data, struct error *e);

/* All steps for a base that exists: whether a slot of one base can be made to hold the other. */
int lineage_check_image(struct lineage *l, const struct image *other, struct error *e);

/*
 * True for a page that always differs and never matters, because the toolstack writes it or it is
 * written anew at each resume: frames of the p2m, the xenstore ring and the console ring.
 */
bool lineage_leaves_out(const struct lineage *l, uint64_t pfn);

#endif
