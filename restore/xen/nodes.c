/* Xenstore nodes in one transaction: see nodes.h. */
#include "restore/xen/nodes.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A transaction that conflicts is tried again after 1 to 16 ms; 200 tries are some
 * seconds, far beyond what two creators can cause each other. */
#define TRANSACTION_TRIES 200

void nodes_init(struct nodes *t)
{
    *t = (struct nodes){0};
}

static void paths_dispose(struct node_paths *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->paths[i]);
    free(p->paths);
}

void nodes_dispose(struct nodes *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->nodes[i].path);
        free(t->nodes[i].value);
    }
    paths_dispose(&t->absent);
    paths_dispose(&t->removals);
    free(t->nodes);
    nodes_init(t);
}

void nodes_base(struct nodes *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->base, sizeof t->base, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof t->base)
        t->failed = -ENAMETOOLONG;
}

/* NULL: there was no memory for it. */
static struct node *node_add(struct nodes *t, const char *path, char *value,
                             enum node_access access)
{
    if (t->n == t->size) {
        size_t size = t->size ? 2 * t->size : 64;
        struct node *bigger = realloc(t->nodes, size * sizeof *bigger);
        if (!bigger) {
            t->failed = -ENOMEM;
            free(value);
            return NULL;
        }
        t->nodes = bigger;
        t->size = size;
    }
    char *full = format_new("%s%s%s", t->base, *path ? "/" : "", path);
    if (!full)
        t->failed = -ENOMEM;
    t->nodes[t->n] = (struct node){.path = full, .value = value, .access = access};
    return &t->nodes[t->n++];
}

void nodes_dir(struct nodes *t, const char *path, enum node_access access)
{
    node_add(t, path, NULL, access);
}

void nodes_put(struct nodes *t, const char *path, const char *fmt, ...)
{
    char *value;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&value, fmt, ap);
    va_end(ap);
    if (n < 0) {
        t->failed = -ENOMEM;
        return;
    }
    node_add(t, path, value, NODE_INHERIT);
}

void nodes_change(struct nodes *t, const char *path, const char *value, const char *unless)
{
    char *copy = strdup(value);
    struct node *node = copy ? node_add(t, path, copy, NODE_INHERIT) : NULL;
    if (!node) {
        t->failed = -ENOMEM;
        return;
    }
    node->change = true;
    node->unless = unless;
}

/* 0 or -ENOMEM. */
static int paths_add(struct node_paths *p, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static int paths_add(struct node_paths *p, const char *fmt, va_list ap)
{
    if (p->n == p->size) {
        size_t size = p->size ? 2 * p->size : 16;
        char **bigger = realloc(p->paths, size * sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        p->paths = bigger;
        p->size = size;
    }
    if (vasprintf(&p->paths[p->n], fmt, ap) < 0)
        return -ENOMEM;
    p->n++;
    return 0;
}

void nodes_remove(struct nodes *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (paths_add(&t->removals, fmt, ap))
        t->failed = -ENOMEM;
    va_end(ap);
}

void nodes_need_absent(struct nodes *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (paths_add(&t->absent, fmt, ap))
        t->failed = -ENOMEM;
    va_end(ap);
}

static bool set_access(struct xs_handle *xs, xs_transaction_t tx, const char *path,
                       enum node_access access, uint32_t domid)
{
    struct xs_permissions dom0 = {.id = 0, .perms = XS_PERM_NONE};
    struct xs_permissions guest = {.id = domid, .perms = XS_PERM_NONE};
    struct xs_permissions reads = {.perms = XS_PERM_READ};
    struct xs_permissions perms[2];
    unsigned n = 2;
    switch (access) {
    case NODE_INHERIT:
        return true;
    case NODE_DOM0:
        perms[0] = dom0;
        n = 1;
        break;
    case NODE_GUEST_READS:
        perms[0] = dom0;
        perms[1] = reads;
        perms[1].id = domid;
        break;
    case NODE_GUEST_OWNS:
        perms[0] = guest;
        n = 1;
        break;
    case NODE_GUEST_OWNS_SHARED:
        perms[0] = guest;
        perms[1] = reads;
        perms[1].id = 0;
        break;
    }
    return xs_set_permissions(xs, tx, path, perms, n);
}

/* False with errno 0: it is to be left as it is. */
static bool node_to_change(struct xs_handle *xs, xs_transaction_t tx, const struct node *node)
{
    unsigned len;
    char *now = xs_read(xs, tx, node->path, &len);
    bool change = now && (!node->unless || strcmp(now, node->unless) != 0);
    if (now || errno == ENOENT)
        errno = 0;
    free(now);
    return change;
}

static bool node_write(struct xs_handle *xs, xs_transaction_t tx, const struct node *node,
                       uint32_t domid)
{
    if (node->change && !node_to_change(xs, tx, node))
        return errno == 0;
    bool ok = node->value ? xs_write(xs, tx, node->path, node->value, (unsigned)strlen(node->value))
                          : xs_mkdir(xs, tx, node->path);
    return ok && set_access(xs, tx, node->path, node->access, domid);
}

static int absent_check(const struct node_paths *p, struct xs_handle *xs, xs_transaction_t tx,
                        struct error *e)
{
    for (size_t i = 0; i < p->n; i++) {
        unsigned len;
        char *value = xs_read(xs, tx, p->paths[i], &len);
        if (!value && errno != ENOENT)
            return error_errno(e, errno, "read xenstore node %s", p->paths[i]);
        free(value);
        if (value)
            return error_set(e, -EEXIST, "xenstore node %s exists already", p->paths[i]);
    }
    return 0;
}

static int write_all(struct nodes *t, struct xs_handle *xs, xs_transaction_t tx, uint32_t domid,
                     struct error *e)
{
    for (size_t i = 0; i < t->removals.n; i++)
        if (!xs_rm(xs, tx, t->removals.paths[i]) && errno != ENOENT)
            return error_errno(e, errno, "remove xenstore node %s", t->removals.paths[i]);
    for (size_t i = 0; i < t->n; i++)
        if (!node_write(xs, tx, &t->nodes[i], domid))
            return error_errno(e, errno, "write xenstore node %s", t->nodes[i].path);
    return 0;
}

/* One try. 0, -EAGAIN when it conflicted, or an error. */
static int nodes_try(struct nodes *t, struct xs_handle *xs, uint32_t domid, struct error *e)
{
    xs_transaction_t tx = xs_transaction_start(xs);
    if (tx == XBT_NULL)
        return error_errno(e, errno, "start a xenstore transaction");
    int rc = absent_check(&t->absent, xs, tx, e);
    if (!rc)
        rc = write_all(t, xs, tx, domid, e);
    if (rc) {
        xs_transaction_end(xs, tx, true);
        return rc;
    }
    if (!xs_transaction_end(xs, tx, false))
        return error_errno(e, errno, "commit a xenstore transaction");
    return 0;
}

int nodes_write(struct nodes *t, struct xs_handle *xs, uint32_t domid, struct error *e)
{
    if (t->failed)
        return error_errno(e, -t->failed, "domain %u: collect xenstore nodes", domid);
    int rc = -EAGAIN;
    for (int i = 0; i < TRANSACTION_TRIES && rc == -EAGAIN; i++) {
        if (i)
            usleep((useconds_t)(1000 + (clock_mono_us() * 7919) % 15000)); /* jitter */
        rc = nodes_try(t, xs, domid, e);
    }
    return rc;
}

char *node_get(struct xs_handle *xs, const char *fmt, ...)
{
    char path[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    unsigned len;
    return xs_read(xs, XBT_NULL, path, &len);
}

int node_put(struct xs_handle *xs, const char *value, struct error *e, const char *fmt, ...)
{
    char path[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof path)
        return error_set(e, -ENAMETOOLONG, "xenstore path too long");
    if (!xs_write(xs, XBT_NULL, path, value, (unsigned)strlen(value)))
        return error_errno(e, errno, "write xenstore node %s", path);
    return 0;
}
