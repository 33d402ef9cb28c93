/*
 * The method PoolWait: callers who are answered when a pool, or every pool, holds its minimum, or
 * when it turns out that it will not.
 */
#ifndef POOL_WAIT_CALL_H
#define POOL_WAIT_CALL_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

/* Answers or defers the call. image NULL: every pool. */
const struct answered *wait_call(struct core *core, struct call *call, const char *image,
                                 uint64_t timeout_ms);
/* Background work: answers those whose pools are full or cannot be filled, and all when the core
 * stops. */
void waits_check(struct core *core);

#endif
