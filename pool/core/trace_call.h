/* The method Trace: the trace of a lease, alive or ended, from its row. */
#ifndef POOL_TRACE_CALL_H
#define POOL_TRACE_CALL_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

/* Answers or defers the call. what: a lease id, domain name or domid; for a lease that has ended
 * its id, or the name that its domain had. */
const struct answered *trace_call(struct core *core, struct call *call, const char *what);

#endif
