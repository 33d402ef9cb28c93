/* An import: a helper process that writes an image file, and the call that waits for it. */
#ifndef POOL_IMPORT_H
#define POOL_IMPORT_H

#include "pool/core.h"
#include "pool/varlink.h"

/* Answers or defers the call. disks may be NULL. */
const struct answered *import_start(struct core *core, struct call *call, const char *name,
                                    const char *path, const json_t *disks);
/* Kills all that run; each refuses its caller. */
void imports_stop(struct core *core);
/* For core_dispose alone. */
void imports_free(struct core *core);

#endif
