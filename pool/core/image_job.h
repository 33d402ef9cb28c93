/*
 * One piece of work on image files, done by a helper process (dompool-image): import, capture,
 * export, verify, diff, adopt. What is the same for all is here: the process, its progress, its
 * failure, a client that goes away, the daemon's stop.
 *
 *   working -> recording -> over      its result was good, and goes on without the helper
 *   working -> over                   it was answered or refused, or nobody wants it any more
 *
 * A job that is over only waits for its helper's end.
 */
#ifndef POOL_IMAGE_JOB_H
#define POOL_IMAGE_JOB_H

#include "pool/core/ground.h"
#include "pool/service/pending.h"

enum job_state { JOB_WORKING, JOB_RECORDING, JOB_OVER, JOB_STATE_COUNT };

struct image_job;

struct image_job_kind {
    const char *what; /* "import of image", for the log */
    bool makes_image; /* of the job's name, over the job's base */
    /* The helper has done it. Answers the call (image_job_reply), or calls image_job_record and
     * does so later. */
    void (*result)(struct image_job *job, const json_t *result);
    /* Neither helper nor anything else needs the job any more: frees its owner. */
    void (*end)(struct image_job *job);
    /* It failed, and there is no call: somebody else wants to know. NULL: nobody. */
    void (*failed)(struct image_job *job, int code, const char *text);
};

struct image_job {
    struct list node; /* core->jobs */
    struct core *core;
    const struct image_job_kind *kind;
    enum job_state state;
    char name[DB_NAME_SIZE]; /* of the image */
    char base[DB_NAME_SIZE]; /* of the base of an image that is made; "": none */
    struct pending pending;
    struct helper *helper;   /* NULL: has ended */
    int input;               /* a descriptor for it, set and kept by who starts the job; 0: none */
    json_t *request;         /* what the helper was asked: names the files that it reads */
    struct timer exit_timer; /* the helper should have ended by then */
    uint64_t told_us;
};

/*
 * Starts the helper with a request of restore/protocol/image_protocol.h, whose reference it takes
 * (NULL: no memory). call may be NULL;
 * else image_job_defer is what the caller returns. When it cannot, job is not in any list and the
 * caller frees its owner and refuses. -ENOMEM, or what starting a process fails with.
 */
int image_job_start(struct image_job *job, struct core *core, const struct image_job_kind *kind,
                    json_t *request, struct error *e);
/* The job was started for this call. */
const struct answered *image_job_defer(struct image_job *job, struct call *call);

/* Answers the call, if it is still there. */
void image_job_reply(struct image_job *job, json_t *reply);
void image_job_refuse(struct image_job *job, int code, const char *text);
/* Asks the helper, if there still is one, to take back what it has done. */
void image_job_stop(struct image_job *job);
/* Tells the helper, if there still is one, that what it has made is on record. */
void image_job_tell_recorded(const struct image_job *job);
/* From `result`: what was made is being recorded; image_job_recorded will end it. */
void image_job_record(struct image_job *job);
/* That is over, well or badly: ends the job, at once if its helper is gone. */
void image_job_recorded(struct image_job *job);

/* Whether a helper reads the file at path, or is about to. */
bool image_jobs_read(const struct core *core, const char *path);
/* Whether an image of that name is being recorded at this moment: in a moment it will be there, in
 * place of the one that has the name. */
bool image_jobs_record(const struct core *core, const char *name);
/* The name of an image derived from base that is being recorded at this moment, or NULL. */
const char *image_jobs_record_derived(const struct core *core, const char *base);
/* Whether an image of that name is being made. */
bool image_jobs_make(const struct core *core, const char *name);

/* Stops all that run; each refuses its caller. */
void image_jobs_stop(struct core *core);
/* For core_dispose alone. */
void image_jobs_free(struct core *core);

#endif
