/*
 * A slot's disks: the block device behind each one (loop device, snapshot,
 * or the path itself) and its nodes in xenstore. No script, no process.
 */
#ifndef RESTORE_DISK_H
#define RESTORE_DISK_H

#include "restore/formats/disk_conf.h"
#include "restore/xen/backend.h"
#include "restore/xen/disk_mark.h"
#include "restore/xen/loop.h"
#include "restore/xen/nodes.h"
#include "store/image.h"

struct disk {
    const struct disk_conf *conf;
    struct loop file, cow; /* fd -1 where there is none */
    dev_t dev;             /* what blkback opens */
    char path[4096];       /* what xenstore and xl show for it */
    bool writable;
    /* If the device takes no discards, blkback is told so. Otherwise it would write to xenstore
     * that it offers none, and be told of its own write: two requests to xenstored while the guest
     * waits. */
    bool discards;
    struct disk_mark mark; /* of what it lies on, when it was opened */
};

struct disk_place {
    const char *cow_dir; /* where copy-on-write files live; must exist, on a local file system */
    const char *tag;     /* the daemon's */
    const char *uuid;    /* text of the domain's UUID */
    uint64_t cow_max;    /* bytes of a copy-on-write layer; 0: as large as its disk */
};

/* Prepares the block device behind a disk. On failure nothing stays. Blocking. */
int disk_open(struct disk *d, const struct disk_conf *conf, const struct disk_place *place,
              struct error *e);
/* Closes our descriptors of its devices. Devices that a back end has opened stay until it closes
 * them; a snapshot stays until snapshot_remove. */
void disk_close(struct disk *d);
/* Whether it is as it was when it was opened: disk_mark_check. Its devices may be closed. */
int disk_check(const struct disk *d, struct error *e);
/* Closes all descriptors. May be called twice. */
void disk_dispose(struct disk *d);

/* Adds front end, back end and libxl's mirror of the vbd to the tree. */
void disk_nodes(const struct disk *d, uint32_t domid, enum image_guest guest, struct nodes *t);

/* What is to be waited for before the slot is warm: backends_wait. Borrows from d. */
void disk_backend(const struct disk *d, uint32_t domid, struct backend *out);

#endif
