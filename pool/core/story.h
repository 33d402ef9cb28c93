/*
 * The story of a request: what an allocate did, stage by stage.
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
 *   ...            the helper's: restore/warm/ and the engines
 *   return         its answer: the domain runs since the stage before
 *   commit         the rows, until the reply
 */
#ifndef POOL_STORY_H
#define POOL_STORY_H

#include "pool/core/slot_helper.h"

struct story {
    bool cold;         /* it had to wait for a slot */
    unsigned tries;    /* slots that did not become its domain */
    unsigned unusable; /* of these: had been spoilt by somebody while they were warm */
    char last_failure[DB_REASON_SIZE];
    uint64_t received_us, picked_us, completed_us, replied_us;
    uint64_t helper_start_us, helper_us; /* of the span between picked and completed, as the helper
                                            says; start 0: it says nothing */
    int64_t delta_pages;
    json_t *stages; /* the helper's, as it sent them; NULL: none, or in the trace already */
    bool trace_due; /* it has been answered, and its trace is not made */
    char *trace;    /* NULL: not yet, or only in the row, or none */
};

void story_dispose(struct story *st);

/*
 * The daemon's own stages as USDT probes of provider `dompool`, each a no-op in the code while
 * nobody watches: `stage`, with the arguments that restore/engine/trace.h gives it, operation
 * "allocate". Called when picked_us, completed_us and replied_us have been set; handover can be
 * told from return only at completed_us, so both end there.
 */
void story_probe_picked(const struct story *st, const struct slot *s);
void story_probe_completed(const struct story *st, const struct slot *s);
void story_probe_replied(const struct story *st, const struct slot *s);

/* Takes over what the helper says, at completed_us. */
void story_completed(struct story *st, const struct completion *c, uint64_t now_us);

/* The stages of a lease that is being answered at replied_us. New reference; NULL: no memory. */
json_t *story_stages(const struct story *st, uint64_t replied_us);

/* Makes st->trace, if that is due. Without memory, or when its helper sent stages that are none,
 * the lease has no trace. Does not block. */
void story_record(struct story *st, const struct slot *s);

/* 0, or -EUCLEAN: *trace, from a row, is not what was written there. */
int story_check(const json_t *trace, struct error *e);

#endif
