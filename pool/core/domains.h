/*
 * Which domains the host has, as far as its last listing knows, and how much memory. The host is
 * asked when it says that domains came or went, when somebody here wants to know, and now and then
 * in case an event was lost.
 */
#ifndef POOL_DOMAINS_H
#define POOL_DOMAINS_H

#include "base/uuid.h"
#include "pool/core/ground.h"

/* The world's domains_changed becomes the core's. */
void domains_init(struct core *core);
void domains_dispose(struct core *core);

/* Domains may have come or gone: lists them soon. The end is upcalls.listed. */
void domains_list(struct core *core);
/* What upcalls.listed gave has been looked at. The next one comes in delay_ms milliseconds, unless
 * something asks for it before, or has done so meanwhile. */
void domains_looked_at(struct core *core, uint64_t delay_ms);
/* Refreshes core->measurement; the end is upcalls.measured. A measurement that is under
 * way counts for this one, too: it takes well under a millisecond. */
void domains_measure(struct core *core);

/* 0, or ANSWER_NO_HOST_DISK: by the last measurement no slot may be built, and no lease given,
 * since their guests could not write to their private disks. e may be NULL. */
int domains_disk_check(const struct core *core, struct error *e);

/* A domain is known to be gone: its name is free from now on, whatever a listing says that runs. */
void domains_gone(struct core *core, const struct uuid *uuid);

#endif
