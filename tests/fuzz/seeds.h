/* Seeds that are texts, for the targets that a whole daemon is behind. See make_corpus.c. */
#ifndef TESTS_FUZZ_SEEDS_H
#define TESTS_FUZZ_SEEDS_H

#include <stddef.h>

struct seed {
    const char *target, *name, *bytes;
    size_t n;
};

extern const struct seed seeds[];
extern const size_t n_seeds;

#endif
