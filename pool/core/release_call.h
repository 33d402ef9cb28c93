/*
 * The method Release: ends leases, and answers when their domains are gone, or (without waiting)
 * when their ends are on record.
 */
#ifndef POOL_RELEASE_CALL_H
#define POOL_RELEASE_CALL_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

struct release_request {
    const json_t *leases; /* array of strings, or NULL */
    bool all, wait;
};

/* Answers or defers the call. */
const struct answered *release_call(struct core *core, struct call *call,
                                    const struct release_request *rq);

#endif
