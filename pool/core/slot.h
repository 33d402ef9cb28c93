/*
 * A slot: one domain of a pool, from before it is created until it is gone.
 *
 *   building -> warm -> completing -> leased -> releasing -> gone
 *       \        \  \-> completing -> settling -> ready -> leased
 *        \        \------------------------------------> releasing     (not needed any more)
 *   leased -> saved -> leased | releasing       (saved by xl save; back by xl restore)
 *   warm -> building -> warm                    (turned into a new version of its image)
 *   completing -> warm                          (the image was refused; nothing was changed)
 *   any state -> broken -> gone                 (failed: see reason)
 *
 * slot_move is the only way from one state to another. It asserts that the move is in the
 * table, keeps the pool's account, writes the row (see there) and traces.
 *
 * The end of a slot ("reaping") is the same for all: its helper is killed and waited for, the
 * domain is looked up by UUID if its domid is not known, destroyed, and tried again, ever less
 * often, until it is gone. Only then does the slot go.
 */
#ifndef POOL_SLOT_H
#define POOL_SLOT_H

#include "pool/core/core.h"
#include "pool/core/pool.h"

/* X(symbol, name) */
#define SLOT_STATES(X)                                                                             \
    X(BUILDING, "building")                                                                        \
    X(WARM, "warm")                                                                                \
    X(COMPLETING, "completing")                                                                    \
    X(SETTLING, "settling") /* for slots made ready ahead: not used yet */                         \
    X(READY, "ready")       /* likewise */                                                         \
    X(LEASED, "leased")                                                                            \
    X(SAVED, "saved") /* leased; its domain is in a file, its disks are kept */                    \
    X(RELEASING, "releasing")                                                                      \
    X(BROKEN, "broken")                                                                            \
    X(GONE, "gone")

enum slot_state {
#define SLOT_ENUM(sym, name) SLOT_##sym,
    SLOT_STATES(SLOT_ENUM)
#undef SLOT_ENUM
        SLOT_STATE_COUNT
};

/* How far the end of a slot has come. */
enum reap_step {
    REAP_NONE,
    REAP_QUEUED, /* waits for its turn, its row or its helper's end */
    REAP_LOOKUP, /* its domid is not known: waits for a listing */
    REAP_DESTROY,
    REAP_PAUSE /* failed; tried again when the timer fires */
};

/* Somebody who is told when the slot is gone, or cannot be destroyed for now. */
struct slot_watch {
    struct list node;
    void (*gone)(struct slot_watch *w, int rc, const char *failure); /* rc 0: it is gone */
};

struct slot {
    struct core *core;
    struct pool *pool; /* NULL: a domain of ours that no row knew */
    struct list in_core, in_pool, in_warm, in_reaps;
    uint64_t id;
    uint8_t uuid[16];
    enum slot_state state;
    char engine[16];
    int64_t domid; /* DB_NO_DOMID: not known */
    char name[DB_NAME_SIZE];
    int64_t since_ms;
    uint8_t holds[16]; /* id of the base whose pages it has: row.id of a version of its image */
    bool turning;      /* building means: being turned into another version */
    char reason[DB_REASON_SIZE];
    uint64_t
        known_since_list; /* only a listing newer than this one can prove the domain's absence */
    bool suspended;       /* its domain is being saved or restored: gone then means saved */

    struct helper *helper;
    struct lease *lease;
    bool row_pending;   /* a commit whose continuation needs this slot is under way */
    bool may_exist;     /* a helper has run: there may be a domain though no domid is known */
    bool first_reap;    /* core->first_reaps includes it */
    struct timer timer; /* build or complete timeout, helper's exit, or pause before the next try */
    struct host_job job;
    enum reap_step reap;
    unsigned reap_tries;
    bool released; /* RELEASING before its destruction failed */
    struct list watches;
};

const char *slot_state_name(enum slot_state state);
/* True while a lease owns the slot for good: leased or saved. */
bool slot_is_leased(const struct slot *s);
/* SLOT_STATE_COUNT when the name is not known. */
enum slot_state slot_state_parse(const char *name);
bool slot_move_legal(enum slot_state from, enum slot_state to);

/* A new slot in core and pool (NULL: none), in the given state, without a row. NULL: no memory. */
struct slot *slot_new(struct core *core, struct pool *pool, uint64_t id, enum slot_state state);
/* For core_dispose alone: everything else moves a slot to gone. */
void slot_free(struct slot *s);

/* Moves; the row goes into r, or (NULL) is committed by itself, but for a slot that is being
 * completed: its row waits for the end of that. reason may be NULL. */
void slot_move(struct slot *s, enum slot_state to, struct rows *r, const char *reason);

/* Starts to build a slot for the pool. False: it could not even be started. */
bool slot_build(struct pool *p);
/* Whether it holds the present version of its pool's image. Others are never given to a lease. */
bool slot_is_current(const struct slot *s);
/* Sends a warm slot's helper to write what the present version changes. */
void slot_turn(struct slot *s);
/* Sends a warm slot's helper to work for its lease (s->lease). */
void slot_complete(struct slot *s);

/* Lets the helper of a leased slot go, now that the lease's owner has been told. */
void slot_dismiss(struct slot *s);

/* Not needed any more: moves to releasing and reaps. No-op when it is on its way out. */
void slot_release(struct slot *s, const char *reason);
/* Failed: moves to broken and reaps. Its lease, if any, is told first by the caller. */
void slot_break(struct slot *s, const char *reason);

/* True when d is the slot's domain: same UUID, and same domid unless xl may have given it a new
 * one. */
bool slot_has_domain(const struct slot *s, const struct host_domain *d);
/* The slot's domain among these, a living one before one that is dying; or NULL. */
const struct host_domain *slot_find_domain(const struct slot *s, const struct host_domain *list,
                                           size_t n);
/* A leased slot's domain is back under a new domid: xl saved and restored it. */
void slot_restored(struct slot *s, const struct host_domain *d);

/* Goes on with the end of a slot, whatever it waits for. */
void slot_reap(struct slot *s);
/* After a listing: the slot waited to learn its domid. NULL: it has no domain. */
void slot_looked_up(struct slot *s, const struct host_domain *domain);

void slot_watch(struct slot *s, struct slot_watch *w,
                void (*gone)(struct slot_watch *w, int rc, const char *failure));
/* Starts what was queued for destruction. */
void slots_reap_queued(struct core *core);

#endif
