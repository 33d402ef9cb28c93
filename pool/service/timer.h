/*
 * Timers of the core: a list sorted by due time over the world's single alarm. Starting one
 * never fails and takes no memory, which a deadline must not.
 */
#ifndef POOL_TIMER_H
#define POOL_TIMER_H

#include "base/list.h"
#include "pool/service/world.h"

#include <stdbool.h>
#include <stdint.h>

struct timer {
    struct list node;
    uint64_t due_us;
    void (*fire)(struct timer *t);
};

struct timers {
    struct list queue;
    struct world *world;
};

void timers_init(struct timers *ts, struct world *world);
/* Fires what is due, each once; what a timer starts with no delay fires in the next call. */
void timers_run(struct timers *ts);

void timer_init(struct timer *t);
bool timer_armed(const struct timer *t);
/* Starts or restarts. */
void timer_start(struct timers *ts, struct timer *t, uint64_t delay_ms,
                 void (*fire)(struct timer *t));
void timer_stop(struct timer *t);

#endif
