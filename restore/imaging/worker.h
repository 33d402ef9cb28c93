/*
 * Work on foreign bytes, in a process without rights (base/confine.h):
 *
 *   this process, with its rights              the worker, a child without them
 *     opens files, creates the new one
 *     fork ------------------------------------> confine
 *     progress, "stop"          <-------------   reads, checks, computes, writes
 *     looks at a disk           <------------>   (worker_eyes)
 *     follows a path            <------------>   (worker_consent)
 *     syncs and names the file  <-------------   its result, or why not
 *
 * What comes from a worker is not trusted: it is checked as a client's message is. The worst that
 * one can say is that an image is good which is not; and it can learn how large and how old a file
 * is, and whether one is below disk_dirs. Which files of the host an image may have is checked
 * again when it is done (made.h).
 */
#ifndef RESTORE_WORKER_H
#define RESTORE_WORKER_H

#include "base/confine.h"
#include "restore/formats/consent.h"
#include "restore/formats/fingerprint.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_KEEP_MAX 8u

struct worker {
    const struct confine_user *user;
    int (*run)(void *data, json_t **result, struct error *e); /* in the worker */
    void *data;                                               /* as it is at the fork */
    int keep[WORKER_KEEP_MAX]; /* descriptors that the worker keeps besides standard error; some
                                  may be -1 */
    size_t n_keep;
    int *theirs;         /* one of these that only the worker keeps, closed here; may be NULL */
    uint64_t heap_bytes; /* see confine */
    const struct consent *consent; /* answers worker_consent; NULL: it allows nothing */
    /* Gets what run left as *result when it failed, an object that nobody has checked: a new
     * reference, or NULL. May be NULL. */
    json_t **failed;
    /* In this process. progress as in struct import_options; stopped is asked all the time. */
    int (*progress)(uint64_t done, uint64_t total, void *data);
    void *progress_data;
    bool (*stopped)(void);
};

/*
 * Runs it to its end. Blocking; forks, so this process has no other thread yet. 0 and *result, a
 * new reference that nobody has checked; the answer of the worker's error, its negative codes as
 * -EIO;
 * -ECANCELED; or what the worker died of.
 */
int worker_run(const struct worker *w, json_t **result, struct error *e);

/* ---- in the worker ---- */

/* Tells the other process, at once the first time, then now and then. data is ignored. Not 0:
 * nobody listens any more. */
int worker_progress(uint64_t done, uint64_t total, void *data);
/* The other process looks at disks. */
extern const struct disk_eyes worker_eyes;
/* The other process answers consent_path. */
bool worker_consent(const char *path);

#endif
