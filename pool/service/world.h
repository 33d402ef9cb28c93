/*
 * The world as the core sees it: clocks, helper processes, the host and the disk, behind one
 * table of functions. world_host.c is the real one (libuv, threads, Xen); tests/sim/world_sim.c
 * a simulated one with a clock of its own and faults on request. The core above this line calls no
 * libuv, starts no thread, and never blocks.
 *
 * Everything that takes time is a job embedded in its owner: started by a call, finished by its
 * `done`, never from inside that call. An owner stays until `done` has been called.
 */
#ifndef POOL_WORLD_H
#define POOL_WORLD_H

#include "base/error.h"
#include "base/list.h"
#include "base/uuid.h"
#include "pool/service/domain_list.h"
#include "restore/xen/host.h"
#include "store/db.h"
#include "store/image.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct world;

/* ---- helper processes ---- */

enum helper_kind { HELPER_SLOT, HELPER_IMAGE };

struct helper;

/* How a helper speaks to its owner. `ended` is the last call; the helper is freed after it. */
struct helper_events {
    /* A message; borrowed. NULL: what came was no message. */
    void (*message)(struct helper *h, void *owner, const json_t *message);
    /* how: "exited with status 1", "was killed by signal 9 (Killed)" */
    void (*ended)(struct helper *h, void *owner, const char *how);
};

/* ---- jobs on the host: blocking calls of restore/xen/host.h, done elsewhere ---- */

enum host_job_kind {
    HOST_JOB_LIST,
    HOST_JOB_DESTROY,
    HOST_JOB_MEMORY,
    HOST_JOB_LAYERS,
    HOST_JOB_SWEEP
};

struct host_job {
    struct list node; /* the world's */
    enum host_job_kind kind;
    void (*done)(struct host_job *job);

    /* in */
    uint32_t domid;          /* DESTROY */
    struct uuid uuid;        /* DESTROY */
    unsigned timeout_ms;     /* DESTROY */
    const char *dir;         /* MEMORY: whose file system is measured as well */
    const char *tag;         /* SWEEP, LAYERS */
    const struct uuid *keep; /* SWEEP: domains whose disks stay; borrowed */
    size_t n_keep;

    /* out */
    int rc;
    struct error error;
    struct domain_list domains; /* LIST: for the owner to dispose of */
    struct host_memory memory;
    struct host_disk disk;     /* MEMORY: all 0 if it could not be measured */
    struct host_layer *layers; /* LAYERS: malloc'd, for the owner to free */
    size_t n_layers;
    unsigned removed; /* SWEEP */
};

/* ---- writes to the database: in the order in which they were started ---- */

struct db_write {
    struct list node; /* the world's */
    void (*done)(struct db_write *w);
    struct db_op *ops;
    size_t n;
    int rc; /* of db_apply */
    struct error error;
};

/* What is known of an image file. config: caller owns a reference. */
struct image_facts {
    struct image_info info;
    json_t *config;
};

struct world_ops {
    uint64_t (*mono_us)(struct world *w);
    int64_t (*wall_ms)(struct world *w);
    /* n random bytes, fit for identities. Never fails. */
    void (*random)(struct world *w, void *out, size_t n);
    /* world.alarm is called once at this time (mono_us), or soon after; replaces the one before. */
    void (*alarm_at)(struct world *w, uint64_t at_us);
    void (*alarm_off)(struct world *w);

    /* Starts a process. Fails at once, or `ended` will tell. input: a descriptor that it gets as
     * HELPER_INPUT_FD, and the caller keeps; -1: none. */
    int (*helper_start)(struct world *w, enum helper_kind kind, int input,
                        const struct helper_events *events, void *owner, struct helper **out,
                        struct error *e);
    /* Never blocks. A message that cannot be sent shows as the helper's end. */
    void (*helper_send)(struct helper *h, const json_t *message);
    /* Asks it to take back what it does, and to end (SIGTERM). */
    void (*helper_stop)(struct helper *h);
    void (*helper_kill)(struct helper *h);

    void (*host_start)(struct world *w, struct host_job *job);
    void (*write_start)(struct world *w, struct db_write *write);

    /* Blocking; only while the daemon starts. Maps nothing: a sector that the disk does not give is
     * an error, not a signal. */
    int (*image_read)(struct world *w, const char *path, struct image_facts *out, struct error *e);
    /* Names of the files in dir, one call of found each. Blocking; only while the daemon starts. */
    void (*images_list)(struct world *w, const char *dir,
                        void (*found)(struct world *w, const char *name));
    /* Removes an image file and what an interrupted writer left beside it, some time after the
     * call; what could not be removed is found by the next start. Does not block. */
    void (*image_discard)(struct world *w, const char *path);
};

struct world {
    const struct world_ops *ops;
    void *owner;
    void (*alarm)(struct world *w);
    void (*domains_changed)(struct world *w);
};

#endif
