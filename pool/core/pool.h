/*
 * An image and its pool: the slots built from it, those who wait for one, and its account of
 * failures. A broken image backs off by itself and does not hold up the others.
 *
 * A derived image has no slots of its own: those of its base become any image derived from it. So
 * wherever slots are meant, it is pool_of(image).
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/core/core.h"
#include "pool/service/varlink.h"

/* Failures in a row from which callers are told that the image is broken instead of waiting. */
#define BROKEN_AFTER 3

/* of enum slot_state, which needs this header: checked in slot.c */
#define POOL_STATES 10

struct pool {
    struct core *core;
    struct list in_core;
    struct pool *base; /* NULL: the image is stored whole, or its base is missing (damage) */
    struct image_row row;
    struct image_facts facts;
    struct pool_settings settings;
    struct list slots;           /* struct slot.in_pool */
    struct list warm;            /* struct slot.in_warm, oldest first */
    struct list waiting;         /* struct lease.in_pool, in the order of their arrival */
    unsigned count[POOL_STATES]; /* slots by state */
    unsigned total;              /* all of them */

    char damage[DB_REASON_SIZE];     /* its file cannot be used, and why; "": fine */
    bool unverified, checking;       /* its file's digests: image_query.c */
    unsigned failures;               /* builds failed in a row */
    int last_answer;                 /* of the last failure */
    char last_error[DB_REASON_SIZE]; /* "" after a success */
    struct timer backoff;
    struct timer linger; /* armed while there are more slots than wanted */
    bool shrink;         /* what is too many goes now */

    uint64_t hits, misses;
    uint64_t used_us; /* when it was allocated last, 0: not since the daemon started */
    json_t *expected; /* what its warm slots have been told to expect; NULL: nothing, null: not
                         known. expect.c */
    bool expect_due;
    struct list removals; /* callers of ImageRemove */
    struct list old;      /* files of versions that were replaced: pool_replace.c */
    bool turn_refused;    /* slots of another version cannot be turned into the present one */
    bool row_pending;     /* a change of its row is being committed */
};

/* Adds a pool; facts' config becomes the pool's. NULL: no memory. */
struct pool *pool_new(struct core *core, const struct image_row *row, struct image_facts *facts);
void pool_free(struct pool *p);
struct pool *pool_find(const struct core *core, const char *image);
/* Of the image whose slots serve p: its base, or itself. */
struct pool *pool_of(struct pool *p);
/* Whether its row names a base, be it there or not. */
bool pool_is_derived(const struct pool *p);
/* Finds the base of every derived image; after images came or went. */
void pools_link(struct core *core);
/* Whether images are derived from p, or are just being recorded; their names into text, for a
 * message. */
bool pool_has_derived(const struct pool *p, char *text, size_t size);
/* Path of the image's file. */
void pool_path(const struct pool *p, char *buf, size_t size);

/* Takes the settings from the configuration anew. */
void pool_configure(struct pool *p);

/* A build came to an end. A success forgets earlier failures. */
void pool_built(struct pool *p);
void pool_build_failed(struct pool *p, int answer, const char *text);
/* Its file cannot be used, for good. */
void pool_damaged(struct pool *p, const char *text);
/* A domain is gone: pools that lacked host memory may try again. */
void pool_memory_freed(struct core *core);
/* Milliseconds until the next try, 0: none to wait for. */
uint64_t pool_backoff_ms(const struct pool *p);
/* ANSWER_IMAGE_BROKEN with the reason when its slots cannot be built, else 0. */
int pool_check(const struct pool *p, struct error *e);
/* Why a request that found no slot is refused: the most telling answer. */
int pool_refusal(const struct pool *p, struct error *e);

/* Whether it lacks slots, and nothing but the limit for builds is against building one. */
bool pool_may_build(const struct pool *p);
/* Background work: starts builds, removes surplus, finishes removals. */
void pools_refill(struct core *core);

/* Warm slots that can be given to a lease: of the image's present version. */
unsigned pool_warm(const struct pool *p);
/* Slots that leases own, the saved ones included. */
unsigned pool_leased(const struct pool *p);

/* ---- pool_wait.c: callers of PoolWait ---- */

/* Replies or defers. name NULL: every pool. */
const struct answered *pool_wait_start(struct core *core, struct call *call, const char *name,
                                       uint64_t timeout_ms);
/* Answers those whose pools are full or cannot be filled, and all when the core stops. */
void pool_waits_check(struct core *core);

/* ---- pool_replace.c: a new version under an old name ---- */

/* ANSWER_IMAGE_IN_USE when images are derived from it. */
int pool_replaceable(const struct pool *p, struct error *e);
/* To remember the file of the version before. NULL: no memory. free() it if it is not needed. */
struct old_file;
struct old_file *pool_old_new(void);
/* The new version is on record. facts' config and old become the pool's. Leases go on as they are.
 */
void pool_replace(struct pool *p, const struct image_row *row, struct image_facts *facts,
                  struct old_file *old);
/* Background work: turns slots of older versions, a few at a time, and removes old files. */
void pool_replace_check(struct pool *p, bool may_turn);
void pool_old_free(struct pool *p);

/* ---- pool_remove.c: callers of ImageRemove ---- */

/* Answers or defers: the pool's slots go, then its row and file, then the reply comes. */
const struct answered *pool_remove(struct pool *p, struct call *call);
/* Background work: a pool that is being removed and has no more slots. */
void pool_remove_check(struct pool *p);
/* All that wait are refused. */
void pool_removals_refuse(struct pool *p, int answer, const char *text);

#endif
