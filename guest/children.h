/*
 * The programs that the test guest starts: work-tree, whose processes live on and are asked in each
 * check, and free-pages. Every call here may wait; none is made from the thread that ticks.
 */
#ifndef GUEST_CHILDREN_H
#define GUEST_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Starts a tree of so many processes, whose pages follow from seed; true once all of them have
 * answered for the first time, which adds them to those that are asked. One thread at a time. */
bool tree_start(unsigned long processes, uint64_t seed);

/* Processes of all trees. */
size_t trees_size(void);

/* Asks all processes to verify their pages. One thread at a time. */
void trees_ask(void);

/* How many of them answered that all is right, of the count that trees_size() gave before
 * trees_ask(). Waits for those that have not answered, up to a limit. */
size_t trees_wait(void);

/* Runs free-pages with one argument (NULL: none); the MiB that it filled, or -1. */
long free_pages_run(const char *arg);

#endif
