/*
 * Disks: a worker for each one reads the header that it wrote at boot, and writes and reads a
 * block, past the page cache. The first half of a disk belongs to whoever runs the test. Header and
 * block are the first two pages of the second half.
 */
#ifndef GUEST_DISKS_H
#define GUEST_DISKS_H

#include "guest/workers.h"

/* Waits for the disks that the options ask for, and starts their workers. */
void disks_start(void);
size_t disks_count(void);

void disks_ask(uint64_t round);
struct tally disks_wait(uint64_t round);

#endif
