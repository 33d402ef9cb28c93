/*
 * What warm slots are told to expect: images that they will probably be completed with, so that
 * their helpers open, check and map them before anybody asks ("expect" of restore/slot_protocol.h).
 *
 * Those derived from the slots' base, the one that was allocated last first and those that never
 * were by their age, newest first; as many as fit into expect_max of their base's pool. An image
 * that is expected costs its slots some page tables, and no memory for its content: that is the
 * host's cache of the file. One that is not is completed all the same.
 */
#ifndef POOL_EXPECT_H
#define POOL_EXPECT_H

#include "pool/core/pool.h"

struct slot;

/* What slots of p, or of its base, should expect may have changed. Does nothing at once. */
void pool_expect_due(struct pool *p);
/* The image is being allocated. */
void pool_expect_used(struct pool *image);
/* Background work: makes p's list anew when that is due; warm slots are told when
 * there are other images in it. */
void pool_expect_check(struct pool *p);
/* Tells a slot that has just become warm. */
void slot_expect(struct slot *s);

#endif
