/*
 * What a listing of domains says of each slot: it has lost its domain, the domain has shut down,
 * goes by another name, or was saved. And of each domain: it is ours, but no slot knows it. All
 * slots are looked at, some in each turn of the loop, as background work.
 */
#ifndef POOL_SURVEY_H
#define POOL_SURVEY_H

#include "pool/core/ground.h"

/* core->listing has news. The end is domains_looked_at. */
void survey_begin(struct core *core);
/* A turn of it, if one is under way; true: there is more to do, soon. */
bool survey_turn(struct core *core);

#endif
