/*
 * What an allocate did, stage by stage.
 *
 * While somebody waits, nothing happens here but that a few clock readings and the helper's own
 * stages are kept in the lease. The text for the row is made behind the reply, with the other
 * background work (core.c): at once, or when no other request is being completed. From then on a
 * trace is there for as long as the row is: while the lease lives, and until DB_LEASE_HISTORY
 * younger leases have been given. A daemon that is killed in between loses it, and nothing else.
 *
 * As JSON it has the keys of the interface's method Trace that do not come from the row: slot,
 * domid, engine, from, retries, delta_pages, total_us, stages. The stages follow one another
 * without a gap; together they are total_us.
 *
 *   pick | wait    until a slot was chosen; wait: none was warm. Failed slots, too, are in this
 *   handover       the message to the helper, until it begins
 *   ...            the helper's: restore/slot.c and the engines
 *   return         its answer: the domain runs since the stage before
 *   commit         the rows, until the reply
 */
#ifndef POOL_LEASE_TRACE_H
#define POOL_LEASE_TRACE_H

#include "pool/core/lease.h"

/*
 * The daemon's own stages as USDT probes of provider `dompool`, each a no-op in the code while
 * nobody watches: `stage`, with the arguments that restore/trace.h gives it, operation "allocate".
 * Called when picked_us, completed_us and replied_us have been set; handover can be told from
 * return only at completed_us, so both end there.
 */
void lease_probe_picked(const struct lease *l);
void lease_probe_completed(const struct lease *l);
void lease_probe_replied(const struct lease *l);

/* The stages of a lease that is being answered at replied_us. New reference; NULL: no memory. */
json_t *lease_stages(const struct lease *l, uint64_t replied_us);

/* Makes l->trace, if that is due. Without memory, or when its helper sent stages that are none, the
 * lease has no trace. Does not block. */
void lease_trace_record(struct lease *l);

/* 0, or -EUCLEAN: *trace, from a row, is not what was written there. */
int lease_trace_check(const json_t *trace, struct error *e);

/* Answers or defers the call. what: a lease id, domain name or domid; for a lease that has ended
 * its id, or the name that its domain had. */
const struct answered *lease_trace_show(struct core *core, struct call *call, const char *what);

#endif
