/* Methods about images that exist, answered by a helper: export, verify, diff. */
#ifndef POOL_QUERY_CALL_H
#define POOL_QUERY_CALL_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

/* Each answers or defers the call. */
const struct answered *export_call(struct core *core, struct call *call, const char *image,
                                   const char *path);
const struct answered *verify_call(struct core *core, struct call *call, const char *image);
const struct answered *diff_call(struct core *core, struct call *call, const char *a,
                                 const char *b);

#endif
