/*
 * Prefetching: warm slots are told which images they will probably be completed with, so that their
 * helpers open, check and map these before anybody asks.
 *
 * The images derived from the slots' base: the one that was allocated last first, then those that
 * never were, newest first; as many as fit into expect_max of the base's pool. A prefetched image
 * costs each slot some page tables, and no memory for its content: that is the host's cache of the
 * file. An image that is not prefetched is completed all the same.
 */
#ifndef POOL_PREFETCH_H
#define POOL_PREFETCH_H

#include "pool/core/pool.h"

/* Background work: makes p's list anew when that is due; warm slots are told when other images are
 * in it. */
void prefetch_check(struct pool *p);
/* Tells a slot that has just become warm. */
void prefetch_tell(struct slot *s);

#endif
