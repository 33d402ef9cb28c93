/* The ordered map below the xenstored of tests (store.h): nodes by path, each with its generation.
 */
#ifndef TESTS_STORE_MAP_H
#define TESTS_STORE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

#define STORE_PERMISSIONS_MAX 4u

struct store_node {
    char *path;
    char *value; /* len bytes and a NUL */
    unsigned len;
    struct xs_permissions permissions[STORE_PERMISSIONS_MAX];
    unsigned n_permissions;
    uint64_t generation; /* of the last change of value, permissions, or names of its children */
};

/* Sorted by path in bytes. All zero: without any node. */
struct store_map {
    struct store_node *nodes;
    size_t n, size;
    uint64_t generation; /* the last one that was given */
};

/* With the node "/", dom0's. */
void store_map_init(struct store_map *m);
void store_map_dispose(struct store_map *m);
void store_map_copy(struct store_map *to, const struct store_map *from);

/* NULL: there is none. Valid until the map changes. */
struct store_node *store_map_find(const struct store_map *m, const char *path);
/* 0: there is no such node. */
uint64_t store_map_generation(const struct store_map *m, const char *path);
/* The nodes below path are those from *first on, *n of them, in any depth. */
void store_map_below(const struct store_map *m, const char *path, size_t *first, size_t *n);
/* What is behind path in the name of a child of it; NULL when `node` is no child, but deeper. */
const char *store_map_child_name(const char *path, const struct store_node *node);

/* The node is made if it is missing, and so are its parents, each with its parent's permissions. */
void store_map_write(struct store_map *m, const char *path, const void *value, unsigned len);
/* Makes it without a value if it is missing; false: it was there. */
bool store_map_make(struct store_map *m, const char *path);
/* With all that is below. False: it was not there. */
bool store_map_remove(struct store_map *m, const char *path);
/* False: there is no such node. */
bool store_map_permit(struct store_map *m, const char *path, const struct xs_permissions *p,
                      unsigned n);

/* The parent's path into out, which may be path itself; false for "/". */
bool store_path_parent(const char *path, char *out, size_t size);
/* Whether `path` is `top` or below it. */
bool store_path_is_at(const char *path, const char *top);

#endif
