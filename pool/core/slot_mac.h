/*
 * MAC addresses of slots: no two domains of the pool have the same one on a bridge. Slots have
 * their own from the start, but for those of images whose setting "mac" is "saved", and for leases
 * whose caller has chosen one. Warm slots send nothing, so several of them may have the same one.
 */
#ifndef POOL_SLOT_MAC_H
#define POOL_SLOT_MAC_H

#include "pool/core/slot.h"

#include <sys/types.h>

/* Whether uid may choose an address (NULL: does not). ANSWER_NOT_PERMITTED. */
int slot_mac_may_choose(uid_t uid, const struct mac *mac, struct error *e);
/* Whether a lease may have mac; NULL: the addresses of s (NULL: there is no slot yet, so nothing is
 * known). ANSWER_MAC_IN_USE. */
int slot_mac_check(const struct core *core, const struct slot *s, const struct mac *mac,
                   struct error *e);

/* The slot's first interface gets another address, unless mac is NULL. */
void slot_mac_take(struct slot *s, const struct mac *mac);
/* Its helper has refused that: it still has its own. */
void slot_mac_give_back(struct slot *s);

#endif
