/*
 * The roof of the core: the order of its background work, and what the news of the floors below
 * mean to the others. Nothing in the core calls it; the daemon does.
 */
#ifndef POOL_CORE_H
#define POOL_CORE_H

#include "pool/core/ground.h"

/* config becomes the core's. The world's alarm and domains_changed become the core's. */
void core_init(struct core *core, struct world *world, struct config *config);
/* Frees everything; nothing may be running any more (helpers, jobs, writes). */
void core_dispose(struct core *core);

/* A newer configuration, which becomes the core's. */
void core_reconfigure(struct core *core, struct config *config);

#endif
