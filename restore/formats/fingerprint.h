/*
 * Fingerprints of disks, which tell whether a disk has changed since a state was saved: the size
 * and, for files, the time of the last change. A digest of the content is taken on request, because
 * it reads the whole disk.
 *
 * phy disks are shared and written by design, so only their size counts.
 */
#ifndef RESTORE_FINGERPRINT_H
#define RESTORE_FINGERPRINT_H

#include "restore/formats/domconf.h"

struct stat;

/* What the disk is now, into *f, all zeros after an error. digest: of its content, too; progress
 * may be NULL, not 0 from it: -ECANCELED. Blocking. Negative for I/O. */
int fingerprint_look(const struct disk_conf *d, bool digest,
                     int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                     struct disk_fingerprint *f, struct error *e);

/* Somebody who does that for a process that may open nothing. */
struct disk_eyes {
    int (*look)(const struct disk_conf *d, bool digest, void *data, struct disk_fingerprint *f,
                struct error *e);
    void *data;
};

/* Fills in every disk's `was`. A disk that cannot be inspected gets none: an image may be imported
 * before its disks are in place. -ECANCELED when progress asks for it. */
int fingerprints_take(struct domconf *c, bool digests,
                      int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                      struct error *e);
int fingerprints_take_by(struct domconf *c, bool digests, const struct disk_eyes *eyes,
                         struct error *e);

/* Compares the size and time of one disk, which cost nothing. ANSWER_IMAGE_BROKEN: they differ. */
int fingerprint_check(const struct disk_conf *d, struct error *e);

/* The same for all disks of an image, and their digests if there are any. Blocking. */
int fingerprints_verify(const struct image *im, struct error *e);
int fingerprints_verify_by(const struct image *im, const struct disk_eyes *eyes, struct error *e);

/* A file's time of change as a fingerprint has it. */
int64_t fingerprint_mtime_ns(const struct stat *st);

#endif
