/*
 * How images come to be: imported from a save file or captured from a running domain, new or in
 * place of the one that has the name.
 */
#ifndef POOL_IMPORT_H
#define POOL_IMPORT_H

#include "pool/core.h"
#include "pool/varlink.h"

struct import_request {
    const char *name, *base; /* base NULL: stored whole */
    const json_t *disks;     /* NULL: as configured */
    bool replace;
    /* import */
    const char *path;
    bool disk_digests;
    /* capture */
    const char *domain; /* lease id, domain name or domid */
    bool stop;
    int64_t timeout_ms; /* for the guest to suspend */
};

/* Each answers or defers the call. */
const struct answered *import_start(struct core *core, struct call *call,
                                    const struct import_request *rq);
const struct answered *capture_start(struct core *core, struct call *call,
                                     const struct import_request *rq);

#endif
