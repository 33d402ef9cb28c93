/*
 * The method PoolSet: settings of one image's pool, which override the configuration file. They
 * apply when they are on record; what cannot be recorded has changed nothing.
 */
#ifndef POOL_SET_CALL_H
#define POOL_SET_CALL_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

/* Answers or defers the call. settings: an object of strings. */
const struct answered *set_call(struct core *core, struct call *call, const char *image,
                                const json_t *settings);
/* For core_dispose alone. */
void sets_dispose(struct core *core);

#endif
