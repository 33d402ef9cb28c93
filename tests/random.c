/* See random.h. */
#include "tests/random.h"

static uint64_t state;

void random_seed(uint64_t seed)
{
    state = seed;
}

uint64_t random_next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

unsigned below(unsigned n)
{
    return (unsigned)(random_next() % n);
}
