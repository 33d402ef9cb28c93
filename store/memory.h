/*
 * The memory of a guest as its images describe it: a base alone, or a derived
 * image over its base. Walked in the order of pfns, without a copy of anything.
 *
 * What a derived image does not list is as in its base; it can change pages, but
 * neither add nor remove any (restore/formats/lineage.h), so apply and diff are inverse:
 * the walk over (base, delta) gives exactly the memory that delta was made from.
 */
#ifndef STORE_MEMORY_H
#define STORE_MEMORY_H

#include "store/image.h"

/* Borrowed: both stay open as long as the memory is used. */
struct image_memory {
    const struct image *base;
    const struct image *delta; /* NULL: the base alone */
};

struct memory_page {
    uint64_t pfn;
    unsigned type;
    const struct image *image; /* the one that holds it */
    uint64_t payload;          /* of that image; may be IMAGE_PAGE_ZERO */
};

struct memory_walk {
    struct image_memory memory;
    uint64_t at_base, at_delta; /* next entries of their tables */
};

/*
 * 0 when base is not derived itself and delta, if there is one, is over this base: its base id is
 * base's id, both are of the same kind of guest, with as many vCPUs and populated pages and the
 * same highest pfn, and delta lists no page that base has not. Else ANSWER_IMAGE_REFUSED. Reads
 * the tables, no contents. Whatever the answer, all below stays inside the images' mappings.
 */
int memory_check(const struct image_memory *m, struct error *e);

void memory_walk_start(struct memory_walk *w, const struct image_memory *m);
/* The next populated page, or false after the last. */
bool memory_walk_next(struct memory_walk *w, struct memory_page *out);
/* The page at pfn; false when it is not populated. */
bool memory_find(const struct image_memory *m, uint64_t pfn, struct memory_page *out);
/* Its 4 KiB, inside the image's mapping. */
const void *memory_content(const struct memory_page *p);

/* Same type and same bytes. Looks at bytes only where they are stored in two places. */
bool memory_page_equal(const struct memory_page *a, const struct memory_page *b);

enum memory_change { MEMORY_ADDED, MEMORY_REMOVED, MEMORY_CHANGED, MEMORY_SAME };

struct memory_diff {
    struct memory_walk from_walk, to_walk;
    struct memory_page from, to;
    bool from_left, to_left;
};

struct memory_difference {
    enum memory_change change;
    struct memory_page from, to; /* `from` is not set for ADDED, `to` not for REMOVED */
};

void memory_diff_start(struct memory_diff *d, const struct image_memory *from,
                       const struct image_memory *to);
/* The next page of either, or false after the last. Reads both memories. */
bool memory_diff_step(struct memory_diff *d, struct memory_difference *out);
/* The next page in which they differ, or false after the last. */
bool memory_diff_next(struct memory_diff *d, struct memory_difference *out);

#endif
