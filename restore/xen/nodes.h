/*
 * A set of xenstore nodes, collected first and written in one transaction. So back ends see a
 * device whole or not at all. Two creators that meet under the same parent node are retried instead
 * of mixed.
 */
#ifndef RESTORE_NODES_H
#define RESTORE_NODES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

/* Who may do what with a node; children written later inherit it. */
enum node_access {
    NODE_INHERIT,          /* what the parent says */
    NODE_DOM0,             /* nobody but dom0 */
    NODE_GUEST_READS,      /* dom0's, readable for the guest */
    NODE_GUEST_OWNS,       /* the guest's (dom0 may do everything anyway) */
    NODE_GUEST_OWNS_SHARED /* the guest's, readable for dom0: front ends */
};

struct node {
    char *path, *value; /* value NULL: a directory */
    enum node_access access;
    bool change;        /* see nodes_change */
    const char *unless; /* borrowed */
};

struct node_paths {
    char **paths;
    size_t n, size;
};

struct nodes {
    struct node *nodes;
    size_t n, size;
    struct node_paths absent;   /* must not exist: see nodes_need_absent */
    struct node_paths removals; /* removed first, in the same transaction */
    char base[256];             /* prepended to the paths given below */
    int failed; /* -ENOMEM: there was no memory for a node; nodes_write reports it */
};

void nodes_init(struct nodes *t);
void nodes_dispose(struct nodes *t);

/* Paths of the calls that follow are relative to this one. */
void nodes_base(struct nodes *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void nodes_dir(struct nodes *t, const char *path, enum node_access access);
void nodes_put(struct nodes *t, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Changes a node that others write as well, as the transaction sees it: only if the node exists and
 * its value is not `unless` (borrowed; NULL: any value). */
void nodes_change(struct nodes *t, const char *path, const char *value, const char *unless);
void nodes_remove(struct nodes *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* If the node exists, as the transaction sees it, nodes_write changes nothing and gives -EEXIST. */
void nodes_need_absent(struct nodes *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes everything, in order, for the given guest; blocking, retried while transactions conflict.
 */
int nodes_write(struct nodes *t, struct xs_handle *xs, uint32_t domid, struct error *e);

/* ---- single nodes ---- */

/* malloc'd value or NULL (errno). */
char *node_get(struct xs_handle *xs, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int node_put(struct xs_handle *xs, const char *value, struct error *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
