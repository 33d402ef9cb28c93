/*
 * A slot, as its helper process sees it: one domain, from nothing to warm to
 * running. The engine does the memory and the vCPUs; everything else is here.
 */
#ifndef RESTORE_WARM_H
#define RESTORE_WARM_H

#include "base/task.h"
#include "restore/engine/trace.h"
#include "restore/formats/domconf.h"
#include "restore/warm/prefetch.h"
#include "restore/xen/disk.h"
#include "restore/xen/domain.h"
#include "restore/xen/domtree.h"
#include "restore/xen/userdata.h"
#include "restore/xen/xen.h"
#include "store/image.h"

#include <stdbool.h>

struct engine;

struct slot_request {
    const char *slot, *uuid, *name, *image_path, *engine, *tag, *cow_dir;
    uint64_t memory_reserve_kib;
};

struct slot {
    struct xen xen;
    struct image *base;
    struct domconf conf;
    uint32_t domid; /* DOMID_INVALID until the domain exists */
    char uuid[UUID_TEXT_SIZE], name[64], tag[64];
    uint32_t store_port, console_port;
    uint64_t store_gfn, console_gfn; /* known when the engine says so */
    struct disk *disks;
    size_t n_disks;
    const struct engine *engine;
    void *engine_state;
    struct expected expected;
    struct errand errand; /* what xenstored is asked meanwhile: nodes, name, console */
    struct trace trace;
    const char *step; /* what is being done, or failed: the name of its stage */
    bool untouched;   /* a completion that failed has changed nothing of the domain */
};

/*
 * Builds a slot up to warm: back ends in InitWait, base pages in memory, nothing running.
 * created is called as soon as the domain exists. Blocking, seconds. On failure the slot is
 * left as it is, to be disposed; the domain, if any, is for the daemon to destroy.
 * ANSWER_NO_HOST_MEMORY, ANSWER_IMAGE_REFUSED, ANSWER_XEN_UNAVAILABLE, or negative.
 */
int slot_build(struct slot *s, const struct slot_request *r,
               int (*created)(struct slot *s, void *data), void *data, struct error *e);

struct slot_outcome {
    uint64_t delta_pages;
};

/*
 * Between a slot's being warm and its request: opens, checks and maps some of what slot_expect has
 * been told, or lets go of some of what is expected no more. Blocking, for as long as a request may
 * wait. False: nothing is left to do.
 */
bool slot_prepare(struct slot *s);
/* paths replace those of the call before: images derived from the base, the likeliest first. None
 * of them is touched yet. -ENOMEM: not all of them are expected. */
int slot_expect(struct slot *s, const char *const *paths, size_t n, struct error *e);

/*
 * Completes a warm slot into the image: delta, vCPUs, name, introduction, unpause.
 * After a failure the slot is tainted and must be destroyed; but if s->untouched, it is as warm as
 * it was: the image was refused, or could not be read.
 */
int slot_complete(struct slot *s, const char *image_path, const char *name, bool paused,
                  struct slot_outcome *outcome, struct error *e);

/*
 * Waits for what slot_complete has left under way: its domain's console goes to xenconsoled.
 * Blocking: one request to xenstored.
 */
int slot_leave(struct slot *s, struct error *e);

/*
 * Makes a warm slot hold another version of its base, by writing the pages that differ. Blocking:
 * reads both images. ANSWER_IMAGE_REFUSED when they share no lineage: then the slot is as before.
 */
int slot_turn(struct slot *s, const char *image_path, struct error *e);

/* Frees what the process holds; the domain stays. May be called twice. */
void slot_dispose(struct slot *s);

#endif
