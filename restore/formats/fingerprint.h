/*
 * Fingerprints of disks: whether a disk is still what it was when a state was saved. Size and, for
 * files, time of change; the digest of its content on request, because it reads the whole disk.
 *
 * phy disks are shared and written by design, so of them only the size counts.
 */
#ifndef RESTORE_FINGERPRINT_H
#define RESTORE_FINGERPRINT_H

#include "restore/formats/domconf.h"

/* Fills in every disk's `was`. A disk that cannot be looked at gets none: an
 * image may be imported before its disks are in place. -ECANCELED when progress says so. */
int fingerprints_take(struct domconf *c, bool digests,
                      int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                      struct error *e);

/* Size and time of one disk, which cost nothing. ANSWER_IMAGE_BROKEN when they differ. */
int fingerprint_check(const struct disk_conf *d, struct error *e);

/* The same for all disks of an image, and their digests where there are some. Blocking. */
int fingerprints_verify(const struct image *im, struct error *e);

#endif
