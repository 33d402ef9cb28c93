/*
 * Private copy-on-write views of a disk: device-mapper snapshots, by libdevmapper, that live as
 * long as their domain. The library keeps global state, so every call here takes one lock. Calls
 * may come from any thread.
 *
 * A snapshot is called dompool-<uuid of the domain>-<vdev>. Its device-mapper UUID is
 * DOMPOOL-<tag>-<uuid of the domain>-<vdev>, by which a daemon knows its own.
 */
#ifndef RESTORE_SNAPSHOT_H
#define RESTORE_SNAPSHOT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SNAPSHOT_NAME_SIZE 128

struct snapshot_id {
    const char *tag;  /* the daemon's, [A-Za-z0-9.-]+ */
    const char *uuid; /* text of the domain's UUID */
    const char *vdev;
};

/* Makes the snapshot over origin with its changes in cow, both block devices. dev and the name
 * under /dev/mapper are returned. Blocking. */
int snapshot_create(const struct snapshot_id *id, dev_t origin, dev_t cow, uint64_t sectors,
                    dev_t *dev, char name[SNAPSHOT_NAME_SIZE], struct error *e);

/* The same for a disk that starts empty: the device behind it gets a name that lasts until
 * snapshot_remove, whoever opens and closes it. */
int snapshot_create_scratch(const struct snapshot_id *id, dev_t device, uint64_t sectors,
                            dev_t *dev, char name[SNAPSHOT_NAME_SIZE], struct error *e);

/* Whether anything was ever written to the snapshot that the domain of this UUID has as vdev. */
int snapshot_written(const char *uuid, const char *vdev, bool *written, struct error *e);

/* One of our snapshots, as found on the host. */
struct snapshot_found {
    char name[SNAPSHOT_NAME_SIZE], tag[64], uuid[40];
    bool in_use;
};
/* Lists all of ours, every daemon's, or those of the domain with this uuid (text). *out is
 * malloc'd; the caller frees it, also after an error. A host without device-mapper has none.
 * Blocking. Negative: the kernel cannot say which there are, so one may be missing. */
int snapshot_list(const char *uuid, struct snapshot_found **out, size_t *n, struct error *e);

/* One of ours that takes no writes any more, for good. */
struct snapshot_failed {
    char uuid[40], vdev[16];
    char state[24]; /* the kernel's word: "Invalid", "Overflow" */
};
/* Lists this daemon's. *out is malloc'd; the caller frees it, also after an error. One request to
 * device-mapper, whatever there is, and some more for each one that has failed. Blocking. */
int snapshot_list_failed(const char *tag, struct snapshot_failed **out, size_t *n, struct error *e);

/* Removes it; if it is open, the kernel removes it at its last close. A missing one is success.
 * Blocking. Negative: it is still there, or that is unknown. */
int snapshot_remove(const char *name, struct error *e);

#endif
