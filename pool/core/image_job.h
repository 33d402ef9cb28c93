/*
 * One piece of work on image files, done by a helper process (dompool-image) for a call: import,
 * capture, export, verify, diff. What is the same for all is here: the process, its progress, its
 * failure, a client that goes away, the daemon's stop.
 */
#ifndef POOL_IMAGE_JOB_H
#define POOL_IMAGE_JOB_H

#include "pool/core/core.h"
#include "pool/service/varlink.h"

struct image_job;

struct image_job_kind {
    const char *what; /* "import of image", for the log */
    /* The helper has done it. Answers the call (image_job_reply), or sets busy and does so later.
     */
    void (*result)(struct image_job *job, const json_t *result);
    /* Neither helper nor anything else needs the job any more: frees its owner. */
    void (*end)(struct image_job *job);
    /* It failed, and there is no call: somebody else wants to know. NULL: nobody. */
    void (*failed)(struct image_job *job, int code, const char *text);
};

struct image_job {
    struct list node; /* core->image_jobs */
    struct core *core;
    const struct image_job_kind *kind;
    char name[DB_NAME_SIZE]; /* of the image */
    struct call *call;       /* NULL: answered, gone, or there never was one */
    struct helper *helper;   /* NULL: has ended */
    json_t *request;         /* what the helper was asked: names the files that it reads */
    struct timer exit_timer; /* the helper should have ended by then */
    bool busy;               /* result goes on without the helper */
    bool settled;            /* a result or a failure was told, or nobody wants one any more */
    uint64_t told_us;
};

/*
 * Starts the helper with the request, whose reference it takes (NULL: no memory). call may be NULL;
 * else image_job_defer is what the caller returns. When it cannot, job is not in any list and the
 * caller frees its owner and refuses.
 */
int image_job_start(struct image_job *job, struct core *core, const struct image_job_kind *kind,
                    struct call *call, json_t *request, struct error *e);
/* Adds a text to a request, unless it is "". Gives the request back; NULL, and the request is
 * dropped: no memory. (json_pack leaves an optional text out when it has no memory for it.) */
json_t *image_job_with(json_t *request, const char *key, const char *text);
const struct answered *image_job_defer(struct image_job *job);

/* Answers the call, if it is still there. */
void image_job_reply(struct image_job *job, json_t *reply);
void image_job_refuse(struct image_job *job, int code, const char *text);
/* Asks the helper, if there still is one, to take back what it has done. */
void image_job_stop(struct image_job *job);
/* What `result` set busy for is over: ends the job if its helper is gone. */
void image_job_settled(struct image_job *job);

/* Whether a helper reads the file at path, or is about to. */
bool image_jobs_read(const struct core *core, const char *path);
/* Stops all that run; each refuses its caller. */
void image_jobs_stop(struct core *core);
/* For core_dispose alone. */
void image_jobs_free(struct core *core);

#endif
