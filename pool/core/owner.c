/* Users who have leases: see owner.h. */
#include "pool/core/owner.h"

#include <stdlib.h>

static struct owner *owner_find(const struct core *core, uid_t uid)
{
    const struct hash *table = &core->tables.owners;
    struct hash_node *node = hash_first(table, key_of_number(core, uid));
    for (; node; node = hash_next(table, node)) {
        struct owner *owner = container_of(node, struct owner, by_uid);
        if (owner->uid == uid)
            return owner;
    }
    return NULL;
}

struct owner *owner_take(struct core *core, uid_t uid)
{
    struct owner *owner = owner_find(core, uid);
    if (!owner) {
        owner = calloc(1, sizeof *owner);
        if (!owner)
            return NULL;
        owner->uid = uid;
        hash_node_init(&owner->by_uid);
        hash_put(&core->tables.owners, &owner->by_uid, key_of_number(core, uid));
    }
    owner->leases++;
    return owner;
}

void owner_drop(struct core *core, struct owner *owner)
{
    if (--owner->leases)
        return;
    hash_remove(&core->tables.owners, &owner->by_uid);
    free(owner);
}

unsigned owner_leases(const struct core *core, uid_t uid)
{
    const struct owner *owner = owner_find(core, uid);
    return owner ? owner->leases : 0;
}

unsigned owner_waiting(const struct core *core, uid_t uid)
{
    const struct owner *owner = owner_find(core, uid);
    return owner ? owner->waiting : 0;
}
