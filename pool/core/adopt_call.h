/* The method ImageAdopt: an image file without a row (lost.h) becomes an image again. */
#ifndef POOL_ADOPT_CALL_H
#define POOL_ADOPT_CALL_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

/* A helper reads the file and checks its digests first; if it is derived, its base must be there.
 * On failure the file stays as it is. Answers or defers the call. */
const struct answered *adopt_call(struct core *core, struct call *call, const char *file,
                                  const char *name);

#endif
