/* vCPUs: to each one a worker is pinned, which checks a share of the memory on it. */
#ifndef GUEST_CPUS_H
#define GUEST_CPUS_H

#include "guest/areas.h"
#include "guest/workers.h"

void cpus_start(void);
size_t cpus_count(void);

/* Starts a round over so many areas of memory. Pages are shared out among all vCPUs' workers. If a
 * worker is late from the round before, two workers could meet at one page. Therefore such a round
 * verifies nothing and is bad as a whole. */
void cpus_ask(uint64_t round, size_t areas);
/* memory_ok: whether all of that kind was verified and right. good: workers that ran where they
 * must. */
struct tally cpus_wait(uint64_t round, bool memory_ok[AREA_KINDS]);

#endif
