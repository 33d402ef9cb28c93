/*
 * A mark of what a slot's disk lies on, taken when the slot is built, and looked at once more when
 * it is given to a lease. A saved kernel must not meet a disk that has changed since its memory was
 * saved, and nothing tells of such a change while a slot stands by.
 *
 * What is compared, at one or two system calls for each disk:
 *
 *   a file           that the path still names it (device and inode), its size, and its time of
 *                    change: against the image's fingerprint where there is one, as a build does
 *                    (restore/formats/fingerprint.h), else against the mark. Not its ctime, which a
 *                    new link or owner changes as well
 *   a block device   that the path still names it, and the sectors that have been written to it and
 *                    discarded, as the kernel counts them (Documentation/block/stat.rst). Its size
 *                    is for the build. Writes past this device node (to the whole disk behind a
 *                    partition, from another host) are not counted; a device whose queue has
 *                    iostats off counts nothing
 *   the slot's own   likewise the counts of its private device: nothing but its guest, which has
 *                    not run yet, may write to it
 *
 * phy disks are shared and written by design: only that the path names them, and a file's size.
 */
#ifndef RESTORE_DISK_MARK_H
#define RESTORE_DISK_MARK_H

#include "restore/formats/disk_conf.h"

#include <sys/types.h>

/* Sectors written to and discarded from a block device since the host started. */
struct disk_writes {
    int fd; /* of the kernel's counts; -1: not looked at */
    uint64_t sectors;
};

struct disk_mark {
    dev_t fs, device; /* of a file, and of a block device; 0: it is not one */
    ino_t inode;
    uint64_t bytes;
    int64_t mtime_ns;
    struct disk_writes origin, own;
};

/* For disk_mark_dispose. */
void disk_mark_init(struct disk_mark *m);
/* Takes the mark of a disk that is open. own: its private device, 0: it has none. Blocking. */
int disk_mark_take(struct disk_mark *m, const struct disk_conf *conf, dev_t own, struct error *e);
/* Looks again. ANSWER_IMAGE_BROKEN: what the path names has changed, so no slot on it is right.
 * ANSWER_DOMAIN_STATE: the private device of this slot has. */
int disk_mark_check(const struct disk_mark *m, const struct disk_conf *conf, struct error *e);
/* May be called twice. */
void disk_mark_dispose(struct disk_mark *m);

#endif
