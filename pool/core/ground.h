/*
 * The ground that all of the core stands on: its one struct, its timers, its background work. One
 * thread, no blocking call, no libuv: everything outside is a struct world.
 *
 * Floors, from here up; each file includes and calls only those below it:
 *
 *   ground                         the struct; core_kick; keys of the tables
 *   failures, show, slot_state     failures in a row; pieces of replies; names of states
 *   name_prefix, user_limits       how the names of a user's domains begin; what a user may ask for
 *   rows, domains                  changes become rows; what the host's last listing said
 *   owner, label                   who has leases; what leases are called
 *   image_job                      work on image files, by a helper process
 *   catalog, lost                  images: files, facts, versions, verification; files without one
 *   slot, slot_reap, slot_helper   one domain: its states, its end, its helper
 *   pool                           the slots of one base: refill, failures
 *   prefetch, image_check          what warm slots open ahead; digests when the daemon starts
 *   story, end_wait, lease         what a request took; who is told of the end; who gets what
 *   ending                         what the end of a guest means to its lease
 *   layers                         private disks that take no writes any more
 *   versions, recording, *_call    replacing images; methods whose answer takes time
 *   api                            the methods' table
 *   reconcile, survey              start and stop; what a listing says of each slot
 *   core                           the roof: order of background work, what news means to whom
 *
 * A request goes api.c -> lease.c -> slot_helper.c, and back up through struct upcalls.
 */
#ifndef POOL_GROUND_H
#define POOL_GROUND_H

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/uuid.h"
#include "pool/service/config.h"
#include "pool/service/timer.h"
#include "pool/service/world.h"

#include <stdbool.h>
#include <stdint.h>

struct core;
struct rows;
struct slot;
struct completion;

/* The core's own life. */
enum core_state {
    CORE_STARTING, /* reconciling; no requests yet */
    CORE_RUNNING,
    CORE_STOPPING /* unused domains are being destroyed; every request is refused */
};

/*
 * What the floors below tell the roof, core.c, which alone knows who else cares and in which order.
 * Set once by core_init.
 */
struct upcalls {
    /* Background work is due. */
    void (*work)(struct core *core);
    /* A listing of domains came back: the new one is in core->listing unless rc. Whoever is through
     * with it calls domains_looked_at. */
    void (*listed)(struct core *core, int rc, const struct error *e);
    /* Every live row, for a repair of the database. NULL: no memory. */
    struct rows *(*live_rows)(struct core *core);

    void (*slot_warm)(struct slot *s);
    void (*slot_completed)(struct slot *s, const struct completion *c);
    /* Its helper would not make it the image asked for; nothing was changed, and it is warm. */
    void (*slot_refused)(struct slot *s, int answer, const char *why);
    /* It cannot become any image: its domain (ANSWER_DOMAIN_STATE) or a disk of its image
     * (ANSWER_IMAGE_BROKEN) is no longer what was built; to be broken. */
    void (*slot_unusable)(struct slot *s, int answer, const char *why);
    /* What it was doing (its state says what) has failed; to be broken. */
    void (*slot_failed)(struct slot *s, int answer, const char *why);
    /* Its first destruction has come back, whether or not it is gone. */
    void (*slot_tried)(struct slot *s);
    /* It has been freed. memory: its domain had some, and had not failed itself. */
    void (*slot_gone)(struct core *core, bool memory);
    /* The host has been measured: core->measurement is new, unless it could not be. Returns the
     * milliseconds until the next measurement that nothing else asks for; 0: none. */
    uint64_t (*measured)(struct core *core);
};

/* Background work, which gives way to requests. */
struct background {
    struct timer kick;
    unsigned in_flight;      /* requests between a slot and their reply */
    uint64_t aside_until_us; /* it waits till then while there are such */
};

enum listing_state {
    LISTING_IDLE,
    LISTING_RUNNING, /* the host is asked, or its answer is being looked at */
    LISTING_AGAIN    /* likewise, and something changed meanwhile */
};

/* What the host was like when it was last asked: domains.c. */
struct listing {
    enum listing_state state;
    struct host_job job;
    struct timer next;
    uint64_t started; /* number of the newest listing */
    struct domain_list domains;
    struct uuid *gone; /* uuids of domains that went while a listing ran, which may name them */
    size_t n_gone, gone_size;
    bool xen_ok;
};

/* What the host has of memory and disk space: domains.c. */
struct measurement {
    bool under_way;
    struct host_job job;
    struct timer next;
    struct host_memory memory;
    struct host_disk disk; /* of copy-on-write files */
    bool disk_full;        /* it has less free than is to stay free */
};

/* The look for private disks that take no writes any more: layers.c. */
struct layers {
    bool looking;
    struct host_job job;
    struct timer next;
};

enum database_state { DATABASE_WORKS, DATABASE_FAILING, DATABASE_REPAIRING };

/* Whether changes reach the disk: rows.c. */
struct database {
    enum database_state state;
    struct error error; /* unless it works */
    struct timer repair;
};

/* What is found by a key, and not by walking past all there are. */
struct tables {
    unsigned char secret[16];  /* of the keys' hashes: clients choose names */
    struct hash lease_ids;     /* struct label.by_id */
    struct hash lease_names;   /* struct label.by_name */
    struct hash slot_ids;      /* struct slot.by_id */
    struct hash slot_uuids;    /* struct slot.by_uuid */
    struct hash slot_domids;   /* struct slot.by_domid, of those whose domid is known */
    struct hash slot_mac_keys; /* struct slot.by_mac_key */
    struct hash owners;        /* struct owner.by_uid */
};

/* How far slots and domains have been compared with the last listing: survey.c. */
struct survey {
    bool under_way;
    struct list *next;  /* struct slot.in_core; the list's head: all slots have been looked at */
    size_t next_domain; /* place in the listing */
    uint64_t pause_ms;  /* until the next listing: some slot may want it soon */
};

/* Figures are kept over this many of the last allocations. */
#define SAMPLES 128

struct figures {
    uint64_t allocations, failures;
    uint64_t samples[SAMPLES]; /* microseconds, a ring */
    unsigned n_samples, last;
};

enum start_phase { START_LISTING, START_COMPARING, START_REAPING, START_SWEEPING };

/* Start and stop: reconcile.c. */
struct startup {
    enum start_phase phase;
    struct list leftovers;      /* struct slot.in_leftovers: first destruction has not come back */
    const struct db_rows *rows; /* inside core_start */
    struct host_job sweep_job;
    struct uuid *kept; /* what the sweep is to leave alone */
    void (*on_started)(struct core *core, int rc, const struct error *e);
    void (*on_stopped)(struct core *core);
    struct timer stop_timer;
};

struct core {
    struct world *world;
    struct config *config;
    const struct upcalls *up;
    enum core_state state;
    char tag[DB_TAG_SIZE];
    char images_dir[300], cow_dir[300];
    uint64_t next_slot, next_lease;
    uint64_t started_us;

    struct timers timers;
    struct list images; /* struct entry.in_core, by name */
    struct list lost;   /* struct lost_file.node, see lost.h */
    struct list slots;  /* struct slot.in_core, oldest first */
    struct list leases; /* struct lease.in_core, oldest first */
    struct list traces; /* struct lease.in_traces: those whose trace is due */
    unsigned active;    /* leases in LEASE_ACTIVE */
    unsigned faulty;    /* leased slots whose guest cannot write to a disk */
    struct tables tables;
    struct list waits; /* struct wait_call.node */
    struct list sets;  /* struct pool_set.node */
    struct list jobs;  /* struct image_job.node */
    struct list reaps; /* struct slot.in_reaps: to be destroyed when nobody is kept waiting */

    struct background background;
    struct listing listing;
    struct measurement measurement;
    struct survey survey;
    struct layers layers;
    struct database database;
    struct figures figures;
    struct log_limit user_lines; /* about leases of users other than root */
    struct startup startup;
    void *owner;

    /* Tests look at every move of a slot. May be NULL. */
    void (*on_move)(struct core *core, const struct slot *slot, int from, int to);
};

/* Empty lists and idle timers. config becomes the core's. */
void ground_init(struct core *core, struct world *world, struct config *config);
/* Frees what ground_init may have made, when all members are gone. */
void ground_dispose(struct core *core);

/* Hashes of keys, for core->tables; nobody outside can foresee them (SipHash under a random
 * key). */
uint64_t key_of_number(const struct core *core, uint64_t number);
uint64_t key_of_text(const struct core *core, const char *text);
uint64_t key_of_uuid(const struct core *core, const struct uuid *uuid);

/* Background work (refill, destruction, waiting callers) is looked at soon, not from here. */
void core_kick(struct core *core);
/* Likewise, in delay_ms milliseconds. */
void core_kick_later(struct core *core, uint64_t delay_ms);

/* 0, ANSWER_STOPPING, or -EIO while the database fails: may anything be changed now? */
int core_ready(const struct core *core, struct error *e);
/* 0, or ANSWER_STOPPING with its text. */
int core_running(const struct core *core, struct error *e);

/* Milliseconds for which background work gives way to an allocation under way; 0: to none. */
uint64_t core_aside_ms(const struct core *core);

/* A UUID that nobody has. */
void core_new_uuid(struct core *core, struct uuid *uuid);

static inline uint64_t core_now_us(const struct core *core)
{
    return core->world->ops->mono_us(core->world);
}

static inline int64_t core_wall_ms(const struct core *core)
{
    return core->world->ops->wall_ms(core->world);
}

#endif
