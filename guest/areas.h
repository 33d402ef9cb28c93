/*
 * Memory whose content can be verified, in areas of two kinds: the pattern, which checks rewrite
 * little by little, and the work set, which stays as it is. Areas are only ever added.
 */
#ifndef GUEST_AREAS_H
#define GUEST_AREAS_H

#include "guest/pattern.h"

enum { PAGES_PER_MIB = 1024 * 1024 / PAGE_BYTES };

enum area_kind { AREA_PATTERN, AREA_WORK, AREA_KINDS };

/* Adds and fills mib of memory; false if the guest has not that much to spare (taking it would
 * have the kernel kill us). salt: of a work set, what makes it another one. One thread at a time.
 */
bool areas_grow(enum area_kind kind, unsigned long mib, uint64_t salt);

/* Pages of all areas of one kind. */
size_t areas_pages(enum area_kind kind);
/* Pages of each kind; returns how many areas they are in. */
size_t areas_count(size_t pages[AREA_KINDS]);

/* One of several workers that check the memory in a round. */
struct share {
    size_t number, of; /* this one, of so many */
    size_t areas;      /* in this round */
};

/* Verifies the share's pages and, of the pattern, rewrites some. Within a round no two threads may
 * have the same share. right: whether all pages of that kind held what they must. */
void areas_check(const struct share *share, uint64_t round, bool right[AREA_KINDS]);

#endif
