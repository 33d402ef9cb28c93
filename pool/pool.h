/*
 * A pool: one image, the slots built from it, those who wait for one, and its account of
 * failures. A broken image backs off by itself and does not hold up the others.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/core.h"
#include "pool/varlink.h"

/* Failures in a row from which callers are told that the image is broken instead of waiting. */
#define BROKEN_AFTER 3

/* of enum slot_state, which needs this header: checked in slot.c */
#define POOL_STATES 10

struct pool {
    struct core *core;
    struct list in_core;
    struct image_row row;
    struct image_facts facts;
    struct pool_settings settings;
    struct list slots;           /* struct slot.in_pool */
    struct list warm;            /* struct slot.in_warm, oldest first */
    struct list waiting;         /* struct lease.in_pool, in the order of their arrival */
    unsigned count[POOL_STATES]; /* slots by state */
    unsigned total;              /* all of them */

    char damage[DB_REASON_SIZE];     /* its file cannot be used, and why; "": fine */
    unsigned failures;               /* builds failed in a row */
    int last_answer;                 /* of the last failure */
    char last_error[DB_REASON_SIZE]; /* "" after a success */
    struct timer backoff;
    struct timer linger; /* armed while there are more slots than wanted */
    bool shrink;         /* what is too many goes now */

    uint64_t hits, misses;
    struct list removals; /* callers of ImageRemove */
    bool row_pending;     /* a change of its row is being committed */
};

/* Adds a pool; facts' config becomes the pool's. NULL: no memory. */
struct pool *pool_new(struct core *core, const struct image_row *row, struct image_facts *facts);
void pool_free(struct pool *p);
struct pool *pool_find(const struct core *core, const char *image);
/* Path of the image's file. */
void pool_path(const struct pool *p, char *buf, size_t size);

/* Takes the settings from the configuration anew. */
void pool_configure(struct pool *p);

/* A build came to an end. A success forgets earlier failures. */
void pool_built(struct pool *p);
void pool_build_failed(struct pool *p, int answer, const char *text);
/* A domain is gone: pools that lacked host memory may try again. */
void pool_memory_freed(struct core *core);
/* Milliseconds until the next try, 0: none to wait for. */
uint64_t pool_backoff_ms(const struct pool *p);
/* ANSWER_IMAGE_BROKEN with the reason when its slots cannot be built, else 0. */
int pool_check(const struct pool *p, struct error *e);
/* Why a request that found no slot is refused: the most telling answer. */
int pool_refusal(const struct pool *p, struct error *e);

/* Background work: starts builds, removes surplus, finishes removals. */
void pools_refill(struct core *core);

/* Leases that have a slot or wait for one. */
/* Slots that leases own, the saved ones included. */
unsigned pool_leased(const struct pool *p);
unsigned pool_leases(const struct pool *p);

/* ---- pool_wait.c: callers of PoolWait ---- */

/* Replies or defers. name NULL: every pool. */
const struct answered *pool_wait_start(struct core *core, struct call *call, const char *name,
                                       uint64_t timeout_ms);
/* Answers those whose pools are full or cannot be filled, and all when the core stops. */
void pool_waits_check(struct core *core);

/* ---- pool_remove.c: callers of ImageRemove ---- */

/* Answers or defers: the pool's slots go, then its row and file, then the reply comes. */
const struct answered *pool_remove(struct pool *p, struct call *call);
/* Background work: a pool that is being removed and has no more slots. */
void pool_remove_check(struct pool *p);
/* All that wait are refused. */
void pool_removals_refuse(struct pool *p, int answer, const char *text);

#endif
