/*
 * A lease, from the request for it until its end.
 *
 *   waiting -> completing -> committing -> active -> (freed)
 *      \  ^-------/
 *       \--> (freed: refused)
 *
 * waiting      no slot yet, in its pool's queue, first come first served
 * completing   a slot's helper works for it; when that fails, it goes back to the front
 * committing   the domain runs; its rows are being committed
 * active       the caller has been answered: it ends by release, by its deadline, with the
 *              connection that holds it, or with its domain
 *
 * The call is answered once: when the lease becomes active, or is refused. A caller that dies
 * before takes the lease with it.
 */
#ifndef POOL_LEASE_H
#define POOL_LEASE_H

#include "pool/core/slot.h"

enum lease_state { LEASE_WAITING, LEASE_COMPLETING, LEASE_COMMITTING, LEASE_ACTIVE };

struct lease {
    struct core *core;
    struct pool *image;           /* asked for */
    struct pool *pool;            /* whose slots serve it: pool_of(image) */
    struct list in_core, in_pool; /* in_pool: the queue of those waiting */
    enum lease_state state;
    struct slot *slot;
    uint8_t version[16]; /* of the image that the slot becomes: its row.id then */
    uint64_t id;         /* 0 until there is a slot */
    uint32_t owner_uid;
    char name[DB_NAME_SIZE];
    bool named; /* by the caller */
    bool hold, paused;
    int64_t created_ms, expires_ms; /* expires 0: no deadline */
    uint64_t ttl_ms;
    json_t *meta; /* NULL: none */

    struct call *call;       /* to be answered; NULL: has been, or is gone */
    struct conn_watch watch; /* while active and hold */
    struct timer timer;      /* end of waiting, then deadline */

    /* the story of the request, for its reply */
    bool cold; /* it had to wait for a slot */
    unsigned tries;
    char last_failure[DB_REASON_SIZE];
    uint64_t received_us, picked_us, completed_us, replied_us;
    uint64_t helper_start_us, helper_us; /* of the span between picked and completed, as the helper
                                            says; start 0: it says nothing */
    int64_t delta_pages;
    json_t *stages; /* the helper's, as it sent them; NULL: none, or in the trace already */

    bool trace_due; /* it has been answered, and its trace is not made */
    char *trace;    /* lease_trace.h; NULL: not yet, or only in the row, or none */
};

struct lease_request {
    const char *image, *name; /* name NULL: chosen by us */
    bool ttl_given;           /* else the pool's */
    int64_t ttl_ms;           /* 0: no deadline */
    int64_t wait_ms;
    bool hold, paused;
    const json_t *meta; /* NULL: none */
};

/* Answers or defers the call. */
const struct answered *lease_request(struct core *core, struct call *call,
                                     const struct lease_request *rq);

/* Gives warm slots to those who wait, in order. */
void leases_serve(struct pool *p);
/* After an image got another base: those who wait for it wait for a slot of that base. */
void leases_rehome(struct core *core);
/* Refuses all who wait for this image, or for one derived from it. */
void leases_refuse_waiting(struct pool *p, int answer, const char *text);

/* From the slot: its helper is done, or has failed. stages: an array, borrowed; NULL: none. */
void lease_completed(struct lease *l, int64_t delta_pages, uint64_t helper_start_us,
                     uint64_t helper_us, json_t *stages);
void lease_slot_failed(struct lease *l, const char *why);
/* The slot has not been touched. A derived image that was refused is one that cannot be used. */
void lease_refused_by_slot(struct lease *l, int answer, const char *why);

/* Ends an active lease: its slot is released, l is freed. then: see rows_commit, whose result
 * this returns; may be NULL. */
bool lease_end(struct lease *l, const char *reason,
               void (*then)(void *owner, int rc, const struct error *e), void *owner);
/* For core_dispose alone. */
void lease_free(struct lease *l);
/* At start: takes an active lease over from its row. NULL: no memory. */
struct lease *lease_adopt(struct slot *s, const struct lease_row *row);

/* By lease id ("l7"), domain name or domid. Active ones only. NULL: none. */
struct lease *lease_find(const struct core *core, const char *what);
/* Leases of this image, those that wait for a slot included. */
unsigned leases_of_image(const struct pool *image);
/* Leases of this image or on its slots, the waiting ones included. */
unsigned leases_of_pool(const struct pool *p);
/* True when a lease, live or about to be, has this name. */
bool lease_named(const struct core *core, const char *name);

struct release_request {
    const json_t *leases; /* array of strings, or NULL */
    bool all, wait;
};

/* Answers or defers the call. */
const struct answered *lease_release(struct core *core, struct call *call,
                                     const struct release_request *rq);

#endif
