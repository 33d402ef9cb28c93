/*
 * How images come to be: imported from a save file or captured from a running domain, new or in
 * place of the one that has the name.
 */
#ifndef POOL_IMPORT_H
#define POOL_IMPORT_H

#include "pool/core/core.h"
#include "pool/service/varlink.h"

struct import_request {
    const char *name, *base; /* base NULL: stored whole */
    const json_t *disks;     /* NULL: as configured */
    bool disk_digests, replace;
    /* import */
    const char *path;
    /* capture */
    const char *domain; /* lease id, domain name or domid */
    bool stop;
    int64_t timeout_ms; /* for the guest to suspend */
};

/* Whether an image of that name is being recorded at this moment: in a moment it will be there, in
 * place of the one that has the name. */
bool import_commits(const struct core *core, const char *name);
/* The name of an image derived from base that is being recorded at this moment, or NULL. */
const char *import_commits_derived(const struct core *core, const char *base);

/* Each answers or defers the call. */
const struct answered *import_start(struct core *core, struct call *call,
                                    const struct import_request *rq);
const struct answered *capture_start(struct core *core, struct call *call,
                                     const struct import_request *rq);

#endif
