/*
 * What guest and work-tree share: one mapping of a memfd. guest raises round_asked and wakes the
 * waiting processes. Each process of the tree verifies its pages and writes its answer into its own
 * entry. A restore brings back memory and waiting processes alike, so nothing is lost on the way. A
 * byte in a pipe might be lost.
 */
#ifndef GUEST_TREE_H
#define GUEST_TREE_H

#include <stdint.h>

enum {
    TREE_FD = 3, /* where work-tree finds the memfd */
    TREE_PROCESSES_MAX = 500,
};

struct tree_answer {
    uint32_t round; /* the last round that was answered; 0: not up yet */
    uint32_t ok;    /* written before round */
};

struct tree_share {
    uint64_t seed;        /* of the pages of all processes */
    uint32_t processes;   /* wanted, at most TREE_PROCESSES_MAX */
    uint32_t round_asked; /* a futex */
    struct tree_answer answers[TREE_PROCESSES_MAX];
};

#endif
