/*
 * The pieces of work of dompool-image, one for each request of restore/protocol/image_protocol.h.
 * All of them block, and leave nothing behind when they fail.
 */
#ifndef RESTORE_WORKS_H
#define RESTORE_WORKS_H

#include "restore/imaging/confined.h"
#include "restore/imaging/stopped.h"

/* What a piece of work needs, and leaves besides its result. */
struct works {
    struct confined by; /* whom foreign bytes are read by */
    int (*progress)(uint64_t done, uint64_t total,
                    void *data);   /* see import_options; data is NULL */
    struct import_remarks remarks; /* of an import, for its answer */
    struct stopped stopped;        /* of a capture that stops its domain, once it has succeeded */
};

struct work {
    const char *op;
    const char *makes; /* the request's key with the path of the file that it writes; NULL: none */
    /* *result is a new reference on success: what the protocol has as the result of "done". Errors
     * are those of the work; -EPROTO: the request is malformed. */
    int (*run)(struct works *w, json_t *request, json_t **result, struct error *e);
};

/* By the request's "op". NULL: there is none. */
const struct work *work_find(const json_t *request);

#endif
