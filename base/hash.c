/* Hash tables: see hash.h. */
#include "base/hash.h"

#include <stdlib.h>

static struct list *bucket_of(const struct hash *h, uint64_t hash)
{
    return &h->buckets[hash & (h->n_buckets - 1)];
}

static void buckets_init(struct list *buckets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        list_init(&buckets[i]);
}

void hash_init(struct hash *h)
{
    h->buckets = h->few;
    h->n_buckets = HASH_FEW;
    h->n = 0;
    buckets_init(h->few, HASH_FEW);
}

void hash_dispose(struct hash *h)
{
    for (size_t i = 0; i < h->n_buckets; i++)
        while (list_pop(&h->buckets[i]))
            ;
    if (h->buckets != h->few)
        free(h->buckets);
    hash_init(h);
}

void hash_node_init(struct hash_node *node)
{
    list_init(&node->in_bucket);
    node->hash = 0;
}

/* In the order of each old bucket: two of the same hash come from the same one. */
static void grow(struct hash *h)
{
    const size_t n_old = h->n_buckets;
    struct list *old = h->buckets, *node;
    struct list *buckets = calloc(2 * n_old, sizeof *buckets);
    if (!buckets)
        return;
    h->buckets = buckets;
    h->n_buckets = 2 * n_old;
    buckets_init(buckets, h->n_buckets);
    for (size_t i = 0; i < n_old; i++)
        while ((node = list_pop(&old[i])))
            list_append(bucket_of(h, container_of(node, struct hash_node, in_bucket)->hash), node);
    if (old != h->few)
        free(old);
}

void hash_put(struct hash *h, struct hash_node *node, uint64_t hash)
{
    if (h->n >= h->n_buckets)
        grow(h);
    node->hash = hash;
    list_append(bucket_of(h, hash), &node->in_bucket);
    h->n++;
}

void hash_remove(struct hash *h, struct hash_node *node)
{
    if (list_empty(&node->in_bucket))
        return;
    list_remove(&node->in_bucket);
    h->n--;
}

/* The first one of this hash behind at. */
static struct hash_node *search(const struct hash *h, const struct list *at, uint64_t hash)
{
    const struct list *head = bucket_of(h, hash);
    for (struct list *next = at->next; next != head; next = next->next) {
        struct hash_node *node = container_of(next, struct hash_node, in_bucket);
        if (node->hash == hash)
            return node;
    }
    return NULL;
}

struct hash_node *hash_first(const struct hash *h, uint64_t hash)
{
    return search(h, bucket_of(h, hash), hash);
}

struct hash_node *hash_next(const struct hash *h, const struct hash_node *node)
{
    return search(h, &node->in_bucket, node->hash);
}
