/*
 * A new version of an image under its old name. Leases go on with what they have. Warm slots of the
 * base are turned in place: their helper writes the pages that differ between the two versions,
 * one slot after the other, within the limit for builds. When the versions share no lineage the
 * first attempt says so, and the slots are replaced instead, one for one.
 *
 * The old file stays until no slot is made of it and nobody is about to read it. A restart
 * finds it without a row and removes it (reconcile.c).
 */
#ifndef POOL_VERSIONS_H
#define POOL_VERSIONS_H

#include "pool/core/slot.h"

/* 0, or ANSWER_IMAGE_IN_USE when images are derived from it. */
int version_allowed(const struct entry *im, struct error *e);
/* The new version is on record. row, facts' config and old become the entry's. */
void version_take(struct entry *im, const struct image_row *row, struct image_facts *facts,
                  struct old_file *old);
/* A slot that was being turned could not be, since the versions have no lineage in common. */
void version_turn_refused(struct slot *s);
/* Background work: turns slots of older versions, a few at a time, and removes old files. */
void versions_check(struct entry *im);

#endif
