/*
 * Signs of life: ticks, a counter that only goes up, and checks, which prove that all of the
 * guest's state is still there. Each has a thread of its own; ticks wait for nothing.
 */
#ifndef GUEST_CHECKS_H
#define GUEST_CHECKS_H

#include <stdbool.h>

/* Starts ticks and checks; the first check is due at once. */
void checks_start(void);
/* One more check, beside those that come by themselves. */
void check_ask(void);
/* Whether ticks are printed; they are counted all the same. */
void ticks_print(bool loud);

#endif
