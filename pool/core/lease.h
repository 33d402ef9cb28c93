/*
 * A lease, from the request for it until its end.
 *
 *   waiting -> completing -> committing -> active -> ended
 *      \  ^-------/
 *       \--> ended (refused)
 *
 * waiting      no slot yet, in its pool's queue, first come first served
 * completing   a slot's helper works for it; when that fails, it goes back to the front
 * committing   the domain runs; its rows are being committed
 * active       the caller has been answered: it ends by release, by its deadline, with the
 *              connection that holds it, or with its domain
 * ended        about to be freed; any state may come to that
 *
 * The call is answered once: when the lease becomes active, or is refused. A caller that dies
 * before takes the lease with it.
 */
#ifndef POOL_LEASE_H
#define POOL_LEASE_H

#include "base/uuid.h"
#include "pool/core/label.h"
#include "pool/core/owner.h"
#include "pool/core/pool.h"
#include "pool/core/story.h"
#include "pool/service/pending.h"

enum lease_state {
    LEASE_WAITING,
    LEASE_COMPLETING,
    LEASE_COMMITTING,
    LEASE_ACTIVE,
    LEASE_ENDED,
    LEASE_STATE_COUNT
};

struct lease {
    struct core *core;
    struct entry *image;          /* asked for */
    struct pool *pool;            /* whose slots serve it: image->pool when it was looked at last */
    struct list in_core, in_pool; /* in_pool: the queue of those waiting */
    struct list in_traces;        /* while story.trace_due */
    enum lease_state state;
    struct slot *slot;
    struct uuid version; /* of the image that the slot becomes: its row.id then */
    struct label label;  /* id 0 until there is a slot */
    struct owner *owner;
    bool hold, paused;
    bool asks; /* waiting for a measurement of the host, not to be refused by an old one */
    int64_t created_ms, expires_ms; /* expires 0: no deadline */
    uint64_t ttl_ms;
    json_t *meta;   /* NULL: none */
    struct mac mac; /* of its first interface, if it is a wish */
    bool wants_mac;

    struct pending pending;  /* the call of Allocate */
    struct conn_watch watch; /* while active and hold */
    struct list end_waits;   /* callers to be told of its end: end_wait.h */
    struct timer timer;      /* end of waiting, then deadline */
    struct story story;
};

static inline struct lease *lease_at(struct list *in_core)
{
    return container_of(in_core, struct lease, in_core);
}

struct lease_request {
    const char *image, *name; /* name NULL: chosen by us */
    bool ttl_given;           /* else the image's */
    int64_t ttl_ms;           /* 0: no deadline */
    int64_t wait_ms;
    bool hold, paused;
    const json_t *meta;    /* NULL: none */
    const struct mac *mac; /* of the first interface; NULL: its slot's */
};

/* The method Allocate. Answers or defers the call. */
const struct answered *lease_request(struct core *core, struct call *call,
                                     const struct lease_request *rq);

/* Gives warm slots to those who wait, in order. */
void leases_serve(struct pool *p);
/* The host has been measured: refuses those in p's queue that waited for that alone. */
void leases_measured(struct pool *p);
/* Refuses those in p's queue whose image, or whose slots, cannot be made. */
void leases_refuse_hopeless(struct pool *p);
/* After an image got another base: those who wait for it wait for a slot of that base. */
void leases_rehome(struct core *core);

/* Of the slot that works for it: it is completed, or failed, or refused to become the image (then
 * the slot has not been touched and is warm again). The lease lets go of a slot that failed. */
void lease_completed(struct lease *l, const struct completion *c);
void lease_slot_failed(struct lease *l, const char *why);
void lease_slot_refused(struct lease *l, int answer, const char *why);
/* The slot could not be used any more: another one is taken, or waited for, and `retries` does not
 * count it. */
void lease_slot_unusable(struct lease *l, int answer, const char *why);
/* Parts a lease from its slot; returns the slot, or NULL. */
struct slot *lease_let_go(struct lease *l);

/* Ends an active lease: its slot is released, l is freed. then: see rows_commit, whose result
 * this returns; may be NULL. */
bool lease_end(struct lease *l, const char *reason,
               void (*then)(void *owner, int rc, const struct error *e), void *owner);
/* What its domain is called: by `xl rename`, that may have become another name. It is taken as far
 * as ours go. No name: it is not there yet, or not any more. True when it has another one now. */
bool lease_take_name(struct lease *l, const char *given);
/* For a core that stops: ends it, or refuses its caller, unless it is being committed, or active
 * and held by no connection. */
void lease_stop(struct lease *l);
/* For core_dispose alone. */
void lease_free(struct lease *l);
/* At start: takes an active lease over from its row. NULL: no memory. */
struct lease *lease_adopt(struct slot *s, const struct lease_row *row);
/* At start: commits the end of a lease of which only the row is left. */
void lease_row_lost(struct core *core, const struct lease_row *row);

/* Puts its row into r, which may be NULL: out of memory. */
void lease_put(const struct lease *l, struct rows *r);
/* Writes the traces that are due; of more leases than one in one transaction. No memory: later. */
void leases_put_traces(struct core *core);

/* Leases of this image or on its own slots, the waiting ones included. */
unsigned leases_on_image(const struct entry *im);

/* As the interface's type Lease. New reference; NULL: no memory. */
json_t *lease_to_json(const struct lease *l);

#endif
