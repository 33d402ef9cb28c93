/*
 * A slot's helper process, dompool-slot: what it is told and what it says (restore/protocol/). It
 * builds the domain, holds it while it is warm, writes new versions of the image over it, completes
 * it for a lease, and leaves. What it says becomes a move of the slot and an upcall.
 */
#ifndef POOL_SLOT_HELPER_H
#define POOL_SLOT_HELPER_H

#include "pool/core/slot.h"

/* What a helper says of a slot that it has completed. */
struct completion {
    int64_t delta_pages;
    uint64_t start_us; /* when it began, by the monotonic clock; 0: it does not say */
    uint64_t total_us; /* how long it took */
    json_t *stages;    /* an array as it sent it, borrowed; NULL: none */
};

/* Starts to build a slot. False: no memory; it could not even be started. */
bool slot_build(struct slot_set *set);
/* Sends a warm slot's helper to write what the present version of its image changes. */
void slot_turn(struct slot *s);
/* What a lease wants of its domain. */
struct slot_wish {
    const char *name;
    const struct mac *mac; /* of its first interface; NULL: the slot's */
    bool paused;
};
/* Sends a warm slot's helper to make it the image at path, for its lease (s->lease). */
void slot_complete(struct slot *s, const char *path, const struct slot_wish *wish);
/* Tells a warm slot's helper which images (paths) it should open ahead. False: no memory. */
bool slot_prefetch(struct slot *s, json_t *paths);
/* Lets the helper of a leased slot go, now that the lease's owner has been told. */
void slot_dismiss(struct slot *s);
/* After a reload: helpers that run log at the level that the configuration now has. Without memory
 * some keep theirs. */
void slots_set_log_level(struct core *core);

#endif
