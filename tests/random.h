/*
 * Numbers that look random and are the same each time: a test that draws its cases from them names
 * the seed of the case that failed, and the seed alone makes that case again. One sequence in a
 * program; not for threads.
 */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

/* The sequence starts anew. */
void random_seed(uint64_t seed);
/* The next 64 bits of it (SplitMix64). */
uint64_t random_next(void);
/* A number from 0 to n - 1; n is not 0. */
unsigned below(unsigned n);

#endif
