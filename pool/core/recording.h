/*
 * How an image comes to be: a helper writes its file, from a save file (import_call.c) or from a
 * running domain (capture_call.c), new or in place of the one that has the name. Then its row is
 * recorded, and it is there.
 *
 * The row is written only when the file is whole and durable. Whatever ends it early (the helper,
 * the client, the daemon's stop) leaves no file: the helper is dead before it is looked for.
 */
#ifndef POOL_RECORDING_H
#define POOL_RECORDING_H

#include "base/uuid.h"
#include "pool/core/catalog.h"
#include "pool/core/image_job.h"

enum recording_file {
    RECORDING_FILE_OURS,     /* made for this, and goes with it */
    RECORDING_FILE_FOUND,    /* was there before: it stays, whatever happens */
    RECORDING_FILE_PUBLISHED /* is an image's, which looks after it */
};

struct recording {
    struct image_job job;
    char file[64], path[IMAGE_PATH_SIZE];
    bool replace, stop;
    enum recording_file whose;
    struct uuid domain; /* of a captured lease: its uuid */
    struct image_row row;
    struct image_facts facts;
    json_t *warnings;     /* of the helper's; NULL: none */
    struct old_file *old; /* for version_take; got before the commit, which cannot be undone */
};

struct recording_request {
    const char *name, *base; /* base NULL: stored whole */
    bool replace;
};

/* Checks the names. base_path: the base's file, or "". NULL: refused, for the reason in e. */
struct recording *recording_new(struct core *core, const struct recording_request *rq,
                                char base_path[IMAGE_PATH_SIZE], struct error *e);
/* Starts the helper with the request, whose reference it takes (NULL: no memory). what: for the
 * log. Answers or defers the call; rec is freed when it is over. */
const struct answered *recording_run(struct recording *rec, struct core *core,
                                     const struct image_job_kind *kind, struct call *call,
                                     json_t *request);
/* Of a struct image_job_kind. */
void recording_result(struct image_job *job, const json_t *result);
void recording_end(struct image_job *job);

#endif
