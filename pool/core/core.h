/*
 * The core: pools, slots and leases, and what moves them. One thread, no blocking call, no libuv:
 * everything outside is a struct world.
 *
 * Where to read on, in the order of a request: api.c (calls) -> lease.c (who waits, who gets what)
 * -> slot.c (states of one domain, its helper, its end) -> pool.c (refill, one image's account) ->
 * reconcile.c (what a restart finds) -> rows.c (every change becomes a row). What a request took:
 * lease_trace.c.
 */
#ifndef POOL_CORE_H
#define POOL_CORE_H

#include "base/list.h"
#include "pool/service/config.h"
#include "pool/service/timer.h"
#include "pool/service/world.h"

#include <stdbool.h>
#include <stdint.h>

/* Figures are kept over this many of the last allocations. */
#define SAMPLES 128

/* The core's own life. */
enum core_state {
    CORE_STARTING, /* reconciling; no requests yet */
    CORE_RUNNING,
    CORE_STOPPING /* unused domains are being destroyed; every request is refused */
};

struct figures {
    uint64_t allocations, failures;
    uint64_t samples[SAMPLES]; /* microseconds, a ring */
    unsigned n_samples, last;
};

struct core {
    struct world *world;
    struct config *config;
    enum core_state state;
    char tag[DB_TAG_SIZE];
    char images_dir[300], cow_dir[300];
    uint64_t next_slot, next_lease;
    uint64_t started_us;

    struct timers timers;
    struct list pools;      /* struct pool.in_core, by name */
    struct list slots;      /* struct slot.in_core, oldest first */
    struct list leases;     /* struct lease.in_core, oldest first */
    struct list waits;      /* struct pool_wait.node */
    struct list image_jobs; /* struct image_job.node */
    struct list reaps;      /* struct slot.in_reaps: to be destroyed when nobody is kept waiting */

    struct timer kick; /* background work is due: core_kick */
    struct timer look; /* the next listing of domains that nothing asked for */

    /* what the host was like when it was last asked */
    struct host_job list_job, memory_job;
    bool list_running, list_again, memory_running;
    uint64_t lists_started; /* number of the newest listing */
    struct host_domain *domains;
    size_t n_domains;
    uint8_t (*gone)[16]; /* uuids of domains that went while a listing ran, which may name them */
    size_t n_gone, gone_size;
    struct host_memory memory;
    bool xen_ok;
    struct error xen_error;

    /* the database: rows.c */
    bool db_failing;
    struct error db_error;
    bool repairing;
    struct timer repair;

    unsigned completing;     /* requests that a helper is working for at this moment */
    uint64_t aside_until_us; /* background work waits till then while there are such */

    struct figures figures;

    /* start and stop: reconcile.c */
    struct host_job sweep_job;
    uint8_t (*kept)[16];  /* what the sweep is to leave alone */
    unsigned first_reaps; /* leftovers whose first destruction has not come back */
    void (*on_started)(struct core *core, int rc, const struct error *e);
    void (*on_stopped)(struct core *core);
    struct timer stop_timer;
    void *owner;

    /* Tests look at every move of a slot. May be NULL. */
    void (*on_move)(struct core *core, const void *slot, int from, int to);
};

/* config becomes the core's. The world's alarm and domains_changed become the core's. */
void core_init(struct core *core, struct world *world, struct config *config);
/* Frees everything; nothing may be running any more (helpers, jobs, writes). */
void core_dispose(struct core *core);

/* Background work (refill, destruction, waiting callers) is looked at soon, not from here. */
void core_kick(struct core *core);

/* Domains may have come or gone: lists them, ends the leases of those that are no more. */
void core_look(struct core *core);
/* A domain is known to be gone: its name is free from now on, whatever a listing says that runs. */
void core_domain_gone(struct core *core, const uint8_t uuid[16]);
/* Refreshes core->memory. */
void core_measure(struct core *core);

/* A newer configuration, which becomes the core's. */
void core_reconfigure(struct core *core, struct config *config);

/* 0, ANSWER_STOPPING, or -EIO while the database fails: may anything be changed now? */
int core_ready(const struct core *core, struct error *e);

/* True while an allocation is under way that background work would slow down. */
bool core_aside(const struct core *core);

/* True when a domain of that name exists, as far as the last listing knows. */
bool core_domain_named(const struct core *core, const char *name);

static inline uint64_t core_now_us(const struct core *core)
{
    return core->world->ops->mono_us(core->world);
}

static inline int64_t core_wall_ms(const struct core *core)
{
    return core->world->ops->wall_ms(core->world);
}

/* ---- reconcile.c ---- */

/* Takes over what the rows and the host's list hold; on_started is called when the socket
 * may open, or with an error. rows are borrowed for the call. */
void core_start(struct core *core, const struct db_rows *rows);
/* Refuses requests, destroys what is not leased, then calls on_stopped; at the latest after
 * stop_timeout. */
void core_stop(struct core *core);

/* ---- rows.c ---- */

/* Operations that are to be committed together, ROWS_MAX at most. NULL: out of memory; every
 * call below takes that. */
#define ROWS_MAX 8
struct rows;
struct rows *rows_new(struct core *core);
struct slot;
struct lease;
void rows_slot(struct rows *r, const struct slot *s);
void rows_slot_gone(struct rows *r, const struct slot *s);
void rows_lease(struct rows *r, const struct lease *l);
void rows_lease_ended(struct rows *r, const struct lease *l, const char *reason);
/* Writes the traces that are due; of more leases than one in one transaction. No memory: later. */
void rows_traces(struct core *core);
/* Reads a lease's row; see DB_LEASE_FIND. *lookup must stay until the commit's end. */
void rows_lease_lookup(struct rows *r, struct lease_lookup *lookup);
/* Commits the end of a lease of which only the row is left. */
void rows_lease_lost(struct core *core, const struct lease_row *row);
void rows_image(struct rows *r, const struct image_row *image);
void rows_image_gone(struct rows *r, const struct image_row *image);
void rows_setting(struct rows *r, const char *image, const char *key, const char *value);
/* Commits and frees r; then(owner, rc, text), which may be NULL, comes later. False: it could not
 * even be started (r may be NULL), the database counts as failing and then is not called. */
bool rows_commit(struct core *core, struct rows *r,
                 void (*then)(void *owner, int rc, const struct error *e), void *owner);

/* ---- of the parts, for one another ---- */

/* Destroys the domains with our tag that no slot knows (reconcile.c). False: out of memory. */
bool core_adopt_orphans(struct core *core, const struct host_domain *domains, size_t n);
/* A leftover's first destruction has come back (reconcile.c). */
void core_leftover_done(struct core *core);
/* A slot is gone or has been leased: a core that stops may be done (reconcile.c). */
void core_stop_check(struct core *core);

#endif
