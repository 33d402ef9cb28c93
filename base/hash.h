/*
 * A hash table whose links are embedded in its members, so that putting something into it cannot
 * fail: without memory for more buckets the chains grow longer, and nothing else happens. It knows
 * hashes alone; what a key is, and whether two are equal, is its user's. Where others choose the
 * keys, the hash must be one that they cannot foresee.
 *
 * Members of one hash are met in the order in which they were put in, whatever the number of
 * buckets. A table does not move: its first buckets are inside it.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/list.h"

#include <stdint.h>

#define HASH_FEW                                                                                   \
    8 /* buckets of a table that never had memory; a power of two, as every number is */

struct hash_node {
    struct list in_bucket;
    uint64_t hash;
};

struct hash {
    struct list *buckets; /* few, or malloc'd */
    size_t n_buckets, n;
    struct list few[HASH_FEW];
};

void hash_init(struct hash *h);
/* Frees the buckets. Its members are members no more. */
void hash_dispose(struct hash *h);

void hash_node_init(struct hash_node *node);
/* node must be in no table. Takes constant time, but for the one member in as many as there are
 * that doubles the buckets. */
void hash_put(struct hash *h, struct hash_node *node, uint64_t hash);
/* Takes it out of h; harmless when it is in none. */
void hash_remove(struct hash *h, struct hash_node *node);

/* The first member of this hash, and the next one of the same; NULL: no more. Others may be put in
 * or taken out between two calls, but not the one that the next call is given. */
struct hash_node *hash_first(const struct hash *h, uint64_t hash);
struct hash_node *hash_next(const struct hash *h, const struct hash_node *node);

#endif
