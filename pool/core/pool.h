/*
 * The pool of an image: the slots made of it, those who wait for one, and its account of failed
 * builds. A broken image backs off by itself and does not hold up the others. A derived image has
 * none of this: it is served by the pool of its base (entry.pool).
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/core/slot.h"

struct pool {
    struct core *core;
    struct slot_set set;
    struct pool_settings settings;
    struct list waiting;      /* struct lease.in_pool, in the order of their arrival */
    struct failures failures; /* builds in a row */
    uint64_t tried_kib;  /* of the host's memory were free when the last build began, or later */
    struct timer linger; /* armed while there are more slots than wanted */
    bool shrink;         /* what is too many goes now */
    bool turn_refused;   /* slots of another version cannot be turned into the present one */
    uint64_t hits, misses;
    json_t *prefetched; /* what its warm slots have been told to open ahead: prefetch.c. NULL:
                           nothing, null: not known */
};

/* Of a slot that has a set. */
static inline struct pool *slot_pool(const struct slot *s)
{
    return container_of(s->set, struct pool, set);
}

/* Of a node of core->images. */
static inline struct pool *pool_at(struct list *in_core)
{
    return entry_at(in_core)->own;
}

/* Adds an image and its pool, and links all images anew. facts' config becomes the entry's. state:
 * see entry_new. NULL: no memory. */
struct entry *image_publish(struct core *core, const struct image_row *row,
                            struct image_facts *facts, enum entry_state state);
/* The other way; its slots are gone. Files stay. */
void image_forget(struct entry *im);
/* As the interface's type Image. New reference; NULL: no memory. */
json_t *image_to_json(const struct entry *im);

/* Takes the settings of an image and of its pool from the configuration anew. */
void image_configure(struct entry *im);
/* A new version of its image is on record: none of its slots is current. */
void pool_image_replaced(struct pool *p);

/* A build came to an end. A success forgets earlier failures. */
void pool_built(struct pool *p);
void pool_build_failed(struct pool *p, int answer, const char *text);
/* A warm slot cannot be used any more, through no fault of its build. The next build waits for the
 * shortest pause; slots that are lost until it is over count as one failure. */
void pool_slot_lost(struct pool *p, int answer, const char *why);
/* A disk of its image has changed: its warm slots of the version `holds` go. */
void pool_disk_changed(struct pool *p, const struct uuid *holds, const char *why);
/* A domain is gone: pools that lacked host memory may try again. */
void pools_memory_freed(struct core *core);
/* The host has been measured. Pools that lacked memory try again at once if more is free than at
 * their last try, and as much as a slot needs. True: some pool lacks memory still. */
bool pools_measured(struct core *core);
/* Whether its last build failed for want of host memory. */
bool pool_lacks_memory(const struct pool *p);
/* 0, or the reason why its slots cannot be built, for who can wait: that of entry_check, or of
 * failed builds in a row (ANSWER_IMAGE_BROKEN, or the host's trouble by its name). Want of host
 * memory may end any time, and after the pause builds are tried again, so these are no reasons. */
int pool_hopeless(const struct pool *p, struct error *e);
/* Why a request that found no slot is refused: the most telling answer. */
int pool_refusal(const struct pool *p, struct error *e);

/* Warm slots that can be given to a lease: of the image's present version. */
unsigned pool_warm(const struct pool *p);
/* The oldest of these, or NULL. */
struct slot *pool_oldest_warm(const struct pool *p);
/* Slots that are being built, or turned into another version. */
unsigned pool_building(const struct pool *p);
/* Slots that leases own, the saved and the kept ones included. */
unsigned pool_leased(const struct pool *p);

/* Whether it lacks slots, and nothing but the limit for builds is against building one. */
bool pool_may_build(const struct pool *p);
/* Slots beyond what is wanted or allowed go: first those that are not even built. */
void pool_shrink(struct pool *p);
/* Starts builds, for the neediest first, until `parallel` of the configuration run. */
void pools_build(struct core *core);
/* Whether one more may be built or turned. */
bool pools_have_room(const struct core *core);

/* As the interface's type Pool. New reference; NULL: no memory. */
json_t *pool_to_json(const struct pool *p);
/* Parameters of a reply: the pool that serves the image of this name, or ("") all. */
json_t *pools_to_json(const struct core *core, const char *image);

#endif
