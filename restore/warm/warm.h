/*
 * Room warm: one slot in its helper process, dompool-slot. It takes a domain from nothing to warm
 * to running. The engine does the domain's memory and vCPUs; this room does everything else.
 *
 * For others: this header, for slot_main.c and for tests. prefetcher.h is a part of it.
 * hypercalls.c is linked into dompool-slot alone.
 *
 * May include: engine, xen, formats, protocol, store, base.
 */
#ifndef RESTORE_WARM_H
#define RESTORE_WARM_H

#include "base/task.h"
#include "base/uuid.h"
#include "restore/engine/engine.h"
#include "restore/warm/prefetcher.h"
#include "restore/xen/asked.h"
#include "restore/xen/disk.h"
#include "restore/xen/nic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct warm_request {
    const char *slot, *uuid, *name, *image_path, *engine, *tag, *cow_dir;
    uint64_t cow_max; /* bytes of each copy-on-write layer; 0: as large as its disk */
    uint64_t memory_reserve_kib;
    struct nic_rules nics;
};

struct warm {
    struct target target; /* the domain */
    uint32_t domid;       /* that it has, or will have */
    char uuid[UUID_TEXT_SIZE], name[64], tag[64];
    uint64_t number; /* the slot's */
    struct uuid id;  /* the same as uuid */
    bool unusable;   /* see warm_complete */
    struct disk *disks;
    size_t n_disks;
    struct nic nics[NIC_INDEX_MAX + 1];
    size_t n_nics;
    char vif_script[256]; /* "": none */
    struct asked asked;
    const struct engine *engine;
    struct prefetcher prefetcher;
    struct task task; /* what xenstored is asked meanwhile: nodes, name, console */
};

/*
 * Builds a slot up to warm: back ends in InitWait, base pages in memory, nothing running. numbered
 * is called when w->domid is chosen, before anything is written or made. Blocking, for seconds.
 * After a failure the slot is left as it is: the caller disposes it, and the daemon destroys the
 * domain, if there is one. ANSWER_NO_HOST_MEMORY, ANSWER_IMAGE_REFUSED, ANSWER_XEN_UNAVAILABLE, or
 * negative.
 */
int warm_build(struct warm *w, const struct warm_request *r,
               int (*numbered)(struct warm *w, void *data), void *data, struct error *e);

struct warm_outcome {
    uint64_t delta_pages;
};

/*
 * To be called between warm and a request: opens, checks and maps some of the images of
 * warm_prefetch, or releases some that are no longer expected. Blocking, for as long as a request
 * may wait. False: nothing is left to do.
 */
bool warm_prepare(struct warm *w);
/* The images at paths are expected, instead of those of the last call. They are derived from the
 * base, the likeliest first. None of them is touched yet. -ENOMEM: not all of them are expected. */
int warm_prefetch(struct warm *w, const char *const *paths, size_t n, struct error *e);

struct warm_wish {
    const char *image_path, *name;
    const struct mac *mac; /* of the first interface; NULL: the one that it has */
    bool paused;
};

/*
 * Completes a warm slot into the image: delta, vCPUs, name, introduction, unpause. After a failure
 * the slot is tainted and must be destroyed. But if w->target.untouched, it is as warm as before:
 * the image was refused, or could not be read.
 *
 * If w->unusable, it is not the image's fault: the domain or its disks are no longer what was
 * built. Somebody has unpaused, destroyed, shut down or saved the domain, or asked for that
 * (ANSWER_DOMAIN_STATE), or a disk of the image has changed (ANSWER_IMAGE_BROKEN). That is looked
 * at here, since only now does it count: by one hypercall at the start, and by one or two system
 * calls for each disk beside the writing of pages. xenstored has told by itself.
 */
int warm_complete(struct warm *w, const struct warm_wish *wish, struct warm_outcome *outcome,
                  struct error *e);

/*
 * Waits for the task that warm_complete has left running: it gives the domain's console to
 * xenconsoled, and keeps the MAC that was wished for xl save. Blocking: one request to xenstored.
 */
int warm_leave(struct warm *w, struct error *e);

/*
 * Makes a warm slot hold another version of its base, by writing the pages that differ. Blocking:
 * reads both images. ANSWER_IMAGE_REFUSED when they share no lineage: then the slot is as before.
 */
int warm_turn(struct warm *w, const char *image_path, struct error *e);

/* Frees what the process holds; the domain stays. May be called twice. */
void warm_dispose(struct warm *w);

#endif
