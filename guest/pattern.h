/*
 * How the test guest's programs fill a page so that its content can be recomputed, and so verified,
 * from one 64-bit seed.
 */
#ifndef GUEST_PATTERN_H
#define GUEST_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_BYTES = 4096, PAGE_WORDS = PAGE_BYTES / 8 };

static inline uint64_t mix(uint64_t x)
{
    /* splitmix64's finaliser: neighbouring inputs give unrelated words. */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t next_word(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ (x << 17);
}

/* seed is made odd: next_word() never leaves zero. */
static inline void page_fill(uint64_t *page, uint64_t seed)
{
    uint64_t x = seed | 1;

    for (size_t i = 0; i < PAGE_WORDS; i++) {
        page[i] = x;
        x = next_word(x);
    }
}

static inline bool page_holds(const uint64_t *page, uint64_t seed)
{
    uint64_t x = seed | 1;
    uint64_t wrong = 0;

    for (size_t i = 0; i < PAGE_WORDS; i++) {
        wrong |= page[i] ^ x;
        x = next_word(x);
    }
    return wrong == 0;
}

#endif
