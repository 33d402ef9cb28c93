/*
 * A set of xenstore nodes, collected first and written in one transaction:
 * back ends then see a device whole or not at all, and two creators that
 * meet under the same parent node are retried instead of mixed.
 */
#ifndef RESTORE_XSTREE_H
#define RESTORE_XSTREE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

/* Who may do what with a node; children written later inherit it. */
enum xs_access {
    XS_INHERIT,          /* what the parent says */
    XS_DOM0,             /* nobody but dom0 */
    XS_GUEST_READS,      /* dom0's, readable for the guest */
    XS_GUEST_OWNS,       /* the guest's (dom0 may do everything anyway) */
    XS_GUEST_OWNS_SHARED /* the guest's, readable for dom0: front ends */
};

struct xstree_node {
    char *path, *value; /* value NULL: a directory */
    enum xs_access access;
    bool change;        /* see xstree_change */
    const char *unless; /* borrowed */
};

struct xstree {
    struct xstree_node *nodes;
    size_t n, size;
    char **removals; /* removed first, in the same transaction */
    size_t n_removals, removals_size;
    char base[256]; /* prepended to the paths given below */
    int failed;     /* -ENOMEM once anything could not be kept; reported by xstree_write */
};

void xstree_init(struct xstree *t);
void xstree_dispose(struct xstree *t);

/* Paths of the calls that follow are relative to this one. */
void xstree_base(struct xstree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void xstree_dir(struct xstree *t, const char *path, enum xs_access access);
void xstree_put(struct xstree *t, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A node that others write as well: it is written only if it is there and its value is not unless
 * (borrowed; NULL: whatever it is), as the transaction that writes it sees it. */
void xstree_change(struct xstree *t, const char *path, const char *value, const char *unless);
void xstree_remove(struct xstree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes everything, in order, for the given guest; blocking, retried while transactions conflict.
 */
int xstree_write(struct xstree *t, struct xs_handle *xs, uint32_t domid, struct error *e);

/* ---- single nodes ---- */

/* malloc'd value or NULL (errno). */
char *xs_get(struct xs_handle *xs, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int xs_put(struct xs_handle *xs, const char *value, struct error *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
