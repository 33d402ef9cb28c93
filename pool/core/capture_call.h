/* The method ImageCapture: an image of a running domain. */
#ifndef POOL_CAPTURE_CALL_H
#define POOL_CAPTURE_CALL_H

#include "pool/core/recording.h"

struct capture_request {
    struct recording_request image;
    const char *domain;  /* lease id, domain name or domid */
    const json_t *disks; /* NULL: those of the lease, or as xl has them */
    bool disk_digests, stop;
    int64_t timeout_ms; /* for the guest to suspend */
};

/* Answers or defers the call. */
const struct answered *capture_call(struct core *core, struct call *call,
                                    const struct capture_request *rq);

#endif
