/*
 * A slot: one domain of a pool, from before it is created until it is gone. Its states are in
 * slot_state.h; its helper process is driven by slot_helper.c, its end by slot_reap.c.
 *
 * slot_move is the only way from one state to another. It keeps the account of the slot's set,
 * writes the row (see there) and traces.
 */
#ifndef POOL_SLOT_H
#define POOL_SLOT_H

#include "base/uuid.h"
#include "pool/core/catalog.h"
#include "pool/core/slot_state.h"

#include <jansson.h>

struct lease;
struct rows;

/* The slots made of one image: the part of its pool that a slot's moves keep right. */
struct slot_set {
    struct entry *image;
    const char *engine; /* for new slots, as configured ("auto" is one); the
                                         configuration's */
    uint64_t cow_max;   /* likewise; 0: none */
    enum mac_rule mac;  /* likewise, and the two below: for its interfaces */
    bool vif_isolation, vif_filter;
    const char *vif_script;           /* the configuration's; "": none */
    struct list slots;                /* struct slot.in_set, oldest first: those that no lease has
                                         for good; the others may be many */
    struct list warm;                 /* struct slot.in_warm: of the image's present version,
                                         oldest first */
    unsigned count[SLOT_STATE_COUNT]; /* slots by state */
    unsigned total;                   /* all of them */
};

void slot_set_init(struct slot_set *set, struct entry *image);

/* How far the end of a slot has come; the arrows are in slot_reap.c. */
enum reap_state {
    REAP_NONE,    /* not begun */
    REAP_HELPER,  /* its helper is killed and waited for */
    REAP_ROW,     /* its first row is still being committed */
    REAP_QUEUED,  /* waits for its turn */
    REAP_LOOKUP,  /* its domid is not known: waits for a listing */
    REAP_DESTROY, /* the host destroys the domain */
    REAP_PAUSE,   /* that failed; tried again when the timer fires */
    REAP_DONE,    /* the domain is gone */
    REAP_STATE_COUNT
};

/* What is known of a slot's domain while its domid is not. */
enum slot_domain {
    DOMAIN_NONE,    /* no helper has run */
    DOMAIN_NOT_YET, /* nor will one before the slot's row is committed, which is under way */
    DOMAIN_MAYBE    /* a helper has run: there may be a domain */
};

/* Somebody who is told when the slot is gone, or cannot be destroyed for now. */
struct slot_watch {
    struct list node;
    void (*gone)(struct slot_watch *w, int rc, const char *failure); /* rc 0: it is gone */
};

struct slot {
    struct core *core;
    struct slot_set *set; /* NULL: a domain of ours that no row knew */
    struct list in_core, in_set, in_warm, in_reaps, in_leftovers;
    struct hash_node by_id, by_uuid, by_domid, by_mac_key; /* in core->tables */
    uint64_t id;
    struct uuid uuid;
    enum slot_state state, before; /* before: the state that it came from */
    char engine[16];
    int64_t domid; /* DB_NO_DOMID: not known. Set by slot_set_domid */
    enum slot_domain domain;
    char name[DB_NAME_SIZE];
    struct macs macs;   /* of its interfaces, once it is warm */
    struct mac own_mac; /* of the first one, while a lease has chosen another: slot_mac.h */
    int64_t since_ms;
    struct uuid holds; /* id of the base whose pages it has: row.id of a version of its image */
    char reason[DB_REASON_SIZE];
    char fault[DB_REASON_SIZE]; /* leased: its guest cannot write to a disk, and why; "": it
                                   can. Set by slot_set_fault */
    uint64_t known_since_list;  /* only a newer listing can prove the domain's absence */
    bool suspended; /* its domain is being saved or restored by xl: gone then means saved */

    struct helper *helper;
    struct lease *lease; /* whom it works for, or who has it; NULL: nobody */
    uint64_t lease_id;   /* of that one */
    struct timer timer; /* build or complete timeout, helper's exit, or pause before the next try */
    struct host_job job;
    enum reap_state reap;
    unsigned reap_tries;
    struct list watches;
};

static inline struct slot *slot_at(struct list *in_core)
{
    return container_of(in_core, struct slot, in_core);
}

/* A new slot in core and set (NULL: none), in the given state, without a row. NULL: no memory. */
struct slot *slot_new(struct core *core, struct slot_set *set, uint64_t id, const struct uuid *uuid,
                      enum slot_state state);
/* For core_dispose and slot_reap.c: everything else moves a slot to gone. Those who watch it are
 * told that the daemon stopped. */
void slot_free(struct slot *s);

/* Moves; the row goes into r, or (NULL) is committed by itself, but for a slot that is being
 * completed: its row waits for the end of that. reason may be NULL. */
void slot_move(struct slot *s, enum slot_state to, struct rows *r, const char *reason);
/* Puts its row into r, which may be NULL: out of memory. */
void slot_put(const struct slot *s, struct rows *r);
/* The name that its domain has until a lease gives it another. */
void slot_choose_name(struct slot *s);

/* True while a lease owns the slot for good: leased, saved or kept. */
bool slot_is_leased(const struct slot *s);
/* Whether it holds the present version of its image. Others are never given to a lease. */
bool slot_is_current(const struct slot *s);
/* On its way out: releasing or broken. */
bool slot_is_leaving(const struct slot *s);

void slot_set_domid(struct slot *s, int64_t domid);
/* Once, of one that is leased. */
void slot_set_fault(struct slot *s, const char *why);

/* NULL: none has this id. */
struct slot *slot_of_id(const struct core *core, uint64_t id);
/* The first slot of this uuid, and the next one; NULL: no more. There may be several while a domain
 * of somebody else's has the uuid of one of ours. */
struct slot *slot_of_uuid(const struct core *core, const struct uuid *uuid);
struct slot *slot_next_of_uuid(const struct slot *s);
/* Whether a slot's UUID gives MAC addresses with this key: see base/mac.h. */
bool slot_has_mac_key(const struct core *core, uint32_t key);
/* The slot that a lease has for good and whose domain has this domid, or NULL. That of a saved
 * domain is no more. */
struct slot *slot_leased_as(const struct core *core, uint64_t domid);

/* The slot's domain in the last listing, a living one before one that is dying; or NULL. */
const struct host_domain *slot_find_domain(const struct slot *s);
/* A leased slot's domain is back under a new domid: xl saved and restored it. */
void slot_restored(struct slot *s, const struct host_domain *d);

/* The guest of a leased slot has ended, for this reason, and the domain stays. Harmless when that
 * is known. */
void slot_keep(struct slot *s, const char *why);

void slot_watch(struct slot *s, struct slot_watch *w,
                void (*gone)(struct slot_watch *w, int rc, const char *failure));
/* rc 0: the slot is gone. Each is told once and is then no watch any more. */
void slot_watches_tell(struct slot *s, int rc, const char *failure);

/* As the interface's type Slot. inside: with the lease that it works for, or did, and its domain.
 * New reference; NULL: no memory. */
json_t *slot_to_json(const struct slot *s, bool inside);

#endif
