/*
 * The end of a slot, the same for all: its helper is killed and waited for, the domain is looked up
 * by UUID if its domid is not known, destroyed, and tried again, ever less often, until it is gone.
 * Only then does the slot go.
 */
#ifndef POOL_SLOT_REAP_H
#define POOL_SLOT_REAP_H

#include "pool/core/slot.h"

/* Not needed any more: moves to releasing and reaps. Does nothing when it is on its way out. */
void slot_release(struct slot *s, const char *reason);
/* Failed: moves to broken and reaps. It belongs to no lease any more. */
void slot_break(struct slot *s, const char *reason);

/* Goes on with the end of a slot that is releasing or broken, whatever it waits for. */
void slot_reap(struct slot *s);
/* After a listing: the slot waited to learn its domid. NULL: it has no domain. */
void slot_looked_up(struct slot *s, const struct host_domain *domain);
/* Background work: starts what was queued for destruction. */
void slots_reap_queued(struct core *core);

#endif
