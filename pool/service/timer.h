/*
 * Timers of the core: a heap by due time over the world's single alarm. Starting one never fails
 * and takes no memory, which a deadline must not; it takes a number of steps that grows with the
 * logarithm of the number of timers. Timers that are due at the same time fire in the order in
 * which they were started.
 */
#ifndef POOL_TIMER_H
#define POOL_TIMER_H

#include "pool/service/world.h"

#include <stdbool.h>
#include <stdint.h>

struct timer {
    struct timer *parent, *left, *right;
    unsigned rank; /* 0: not armed; see timer.c */
    uint64_t due_us, number;
    void (*fire)(struct timer *t);
};

struct timers {
    struct timer top; /* no timer: its left child is the heap's root */
    uint64_t started; /* timers so far */
    struct world *world;
};

/* ts does not move from here on. */
void timers_init(struct timers *ts, struct world *world);
/* Fires what is due, each once; what a timer starts with no delay fires in the next call. */
void timers_run(struct timers *ts);

void timer_init(struct timer *t);
bool timer_armed(const struct timer *t);
/* Starts or restarts. */
void timer_start(struct timers *ts, struct timer *t, uint64_t delay_ms,
                 void (*fire)(struct timer *t));
/* Harmless when it is not armed. */
void timer_stop(struct timer *t);

#endif
