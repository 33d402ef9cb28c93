/*
 * Users who have leases, or wait for one: how many. One struct for each, which goes with its last
 * lease.
 */
#ifndef POOL_OWNER_H
#define POOL_OWNER_H

#include "pool/core/ground.h"

#include <sys/types.h>

struct owner {
    struct hash_node by_uid;
    uid_t uid;
    unsigned leases;
    unsigned waiting; /* of these: for a slot; their leases keep it */
};

/* One lease more; NULL: no memory. */
struct owner *owner_take(struct core *core, uid_t uid);
/* One less. owner may be gone then. */
void owner_drop(struct core *core, struct owner *owner);
/* Those that a user has, and those of them that wait for a slot. */
unsigned owner_leases(const struct core *core, uid_t uid);
unsigned owner_waiting(const struct core *core, uid_t uid);

#endif
