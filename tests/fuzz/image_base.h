/* The base over which fuzz_image lays derived images; make_corpus makes seeds that fit it. */
#ifndef TESTS_FUZZ_IMAGE_BASE_H
#define TESTS_FUZZ_IMAGE_BASE_H

#include "base/page.h"
#include "store/image.h"

enum { IMAGE_BASE_PAGES = 6, IMAGE_BASE_MAX_PFN = 12 };

/* Page i stands at pfn 2 * i and has type i; each third one is zeros, others hold their pfn as a
 * byte in front. */
static inline uint64_t image_base_pfn(unsigned i)
{
    return 2 * (uint64_t)i;
}

static inline void image_base_page(unsigned i, uint8_t page[PAGE_BYTES])
{
    for (size_t at = 0; at < PAGE_BYTES; at++)
        page[at] = 0;
    if (i % 3)
        page[0] = (uint8_t)image_base_pfn(i);
}

static const struct image_info image_base_info = {
    .guest = IMAGE_GUEST_PV,
    .vcpus = 2,
    .max_pfn = IMAGE_BASE_MAX_PFN,
};

#endif
