/*
 * Workers: threads that each do a share of a check. The checker starts a round, each worker does
 * its share and marks the round as done. A worker that does not come back in time is late: the
 * round is reported without it, and it is left out of further rounds until it has finished.
 */
#ifndef GUEST_WORKERS_H
#define GUEST_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORKERS_MAX = 128 };

/* Embedded in what the work is about. */
struct guest_worker {
    bool (*work)(struct guest_worker *w, uint64_t round); /* true: all is as it must be */
    uint64_t round_asked; /* from here on of workers.c, behind its lock */
    uint64_t round_done;
    bool ok;
};

struct workers {
    struct guest_worker *members[WORKERS_MAX];
    size_t count;
};

/* Of a round: how many did their share in time, and how many of these found all well. */
struct tally {
    size_t done, good;
};

/* Before there are threads. */
void workers_init(void);

/* What a worker's thread does, for ever. */
_Noreturn void guest_worker_run(struct guest_worker *w);

/* The following are for the checker's thread alone. */

bool workers_idle(const struct workers *all);
/* Starts a round for those that are idle. */
void workers_ask(const struct workers *all, uint64_t round);
/* Waits until all are idle or the limit is over. It waits in slices: if the domain is paused, one
 * slice is lost and no more. */
struct tally workers_wait(const struct workers *all, uint64_t round, unsigned long limit_ms);

#endif
