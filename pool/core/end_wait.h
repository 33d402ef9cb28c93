/*
 * Callers who wait for the end of a lease: the method LeaseWait. A call stays open until the lease
 * ends, so there are at most as many of them as connections.
 */
#ifndef POOL_END_WAIT_H
#define POOL_END_WAIT_H

#include "base/list.h"
#include "pool/service/varlink.h"

/* Defers the call until one of the two below, and puts it into waits. */
const struct answered *end_wait_begin(struct list *waits, struct call *call);
/* Answers all of waits: the lease, by its id, has ended, and why. */
void end_waits_answer(struct list *waits, uint64_t lease, const char *reason);
/* Refuses all of waits. */
void end_waits_refuse(struct list *waits, int code, const char *text);

#endif
