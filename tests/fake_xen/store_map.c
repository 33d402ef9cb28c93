/* The ordered map below the xenstored of tests: see store_map.h. */
#include "tests/fake_xen/store_map.h"

#include "tests/fake_xen/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- paths ---- */

bool store_path_parent(const char *path, char *out, size_t size)
{
    size_t n = (size_t)(strrchr(path, '/') - path);
    if (!path[1])
        return false;
    n += !n; /* "/" itself */
    if (n >= size)
        abort();
    memmove(out, path, n);
    out[n] = '\0';
    return true;
}

bool store_path_is_at(const char *path, const char *top)
{
    size_t n = strlen(top);
    if (!strcmp(top, "/"))
        return path[0] == '/';
    return !strncmp(path, top, n) && (!path[n] || path[n] == '/');
}

/* ---- looking ---- */

/* The first node that does not come before path. */
static size_t lower_bound(const struct store_map *m, const char *path)
{
    size_t from = 0, to = m->n;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (strcmp(m->nodes[middle].path, path) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct store_node *store_map_find(const struct store_map *m, const char *path)
{
    size_t i = lower_bound(m, path);
    return i < m->n && !strcmp(m->nodes[i].path, path) ? &m->nodes[i] : NULL;
}

uint64_t store_map_generation(const struct store_map *m, const char *path)
{
    const struct store_node *node = store_map_find(m, path);
    return node ? node->generation : 0;
}

void store_map_below(const struct store_map *m, const char *path, size_t *first, size_t *n)
{
    /* All paths that begin with "path/" are neighbours; '0' is the byte after '/'. */
    char *from = fake_format("%s/", path[1] ? path : ""), *to = fake_format("%s", from);
    to[strlen(to) - 1] = '0';
    *first = lower_bound(m, from);
    *n = lower_bound(m, to) - *first;
    if (!path[1]) { /* "/" is no child of itself */
        ++*first;
        --*n;
    }
    free(from);
    free(to);
}

const char *store_map_child_name(const char *path, const struct store_node *node)
{
    const char *name = node->path + (path[1] ? strlen(path) : 0) + 1;
    return strchr(name, '/') ? NULL : name;
}

/* ---- changing ---- */

static void node_dispose(struct store_node *node)
{
    free(node->path);
    free(node->value);
}

static struct store_node *node_insert(struct store_map *m, const char *path)
{
    size_t at = lower_bound(m, path);
    if (m->n == m->size) {
        m->size = m->size ? 2 * m->size : 64;
        m->nodes = fake_checked(realloc(m->nodes, m->size * sizeof *m->nodes));
    }
    memmove(&m->nodes[at + 1], &m->nodes[at], (m->n - at) * sizeof *m->nodes);
    m->n++;
    m->nodes[at] =
        (struct store_node){.path = fake_format("%s", path), .value = fake_format("%s", "")};
    return &m->nodes[at];
}

void store_map_init(struct store_map *m)
{
    *m = (struct store_map){.generation = 1};
    struct store_node *root = node_insert(m, "/");
    root->permissions[0] = (struct xs_permissions){.id = 0, .perms = XS_PERM_NONE};
    root->n_permissions = 1;
    root->generation = m->generation;
}

void store_map_dispose(struct store_map *m)
{
    for (size_t i = 0; i < m->n; i++)
        node_dispose(&m->nodes[i]);
    free(m->nodes);
    *m = (struct store_map){0};
}

void store_map_copy(struct store_map *to, const struct store_map *from)
{
    *to = (struct store_map){.n = from->n, .size = from->n, .generation = from->generation};
    to->nodes = fake_checked(calloc(from->n + 1, sizeof *to->nodes));
    for (size_t i = 0; i < from->n; i++) {
        const struct store_node *node = &from->nodes[i];
        to->nodes[i] = *node;
        to->nodes[i].path = fake_format("%s", node->path);
        to->nodes[i].value = fake_checked(malloc(node->len + 1));
        memcpy(to->nodes[i].value, node->value, node->len + 1);
    }
}

bool store_map_make(struct store_map *m, const char *path)
{
    if (store_map_find(m, path))
        return false;
    char parent[XENSTORE_ABS_PATH_MAX + 1];
    store_path_parent(path, parent, sizeof parent);
    (void)store_map_make(m, parent);
    struct store_node *node = node_insert(m, path), *above = store_map_find(m, parent);
    memcpy(node->permissions, above->permissions, sizeof node->permissions);
    node->n_permissions = above->n_permissions;
    node->generation = above->generation = ++m->generation;
    return true;
}

void store_map_write(struct store_map *m, const char *path, const void *value, unsigned len)
{
    (void)store_map_make(m, path);
    struct store_node *node = store_map_find(m, path);
    free(node->value);
    node->value = fake_checked(calloc(1, len + 1));
    memcpy(node->value, value, len);
    node->len = len;
    node->generation = ++m->generation;
}

bool store_map_remove(struct store_map *m, const char *path)
{
    char parent[XENSTORE_ABS_PATH_MAX + 1];
    struct store_node *node = store_map_find(m, path);
    if (!node || !store_path_parent(path, parent, sizeof parent))
        return false;
    size_t first, n;
    store_map_below(m, path, &first, &n);
    for (size_t i = 0; i < n; i++)
        node_dispose(&m->nodes[first + i]);
    memmove(&m->nodes[first], &m->nodes[first + n], (m->n - first - n) * sizeof *m->nodes);
    m->n -= n;
    size_t at = lower_bound(m, path); /* before what was below, so it has not moved */
    node_dispose(&m->nodes[at]);
    memmove(&m->nodes[at], &m->nodes[at + 1], (m->n - at - 1) * sizeof *m->nodes);
    m->n--;
    store_map_find(m, parent)->generation = ++m->generation;
    return true;
}

bool store_map_permit(struct store_map *m, const char *path, const struct xs_permissions *p,
                      unsigned n)
{
    struct store_node *node = store_map_find(m, path);
    if (!node)
        return false;
    if (!n || n > STORE_PERMISSIONS_MAX)
        abort();
    memcpy(node->permissions, p, n * sizeof *p);
    node->n_permissions = n;
    node->generation = ++m->generation;
    return true;
}
