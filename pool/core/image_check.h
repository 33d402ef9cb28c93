/*
 * The check of all images when the daemon starts: digests of the files that were there, one after
 * the other, derived ones first. No slot is built of a base before all that could become of it is
 * checked. A damaged image is marked so. A check that fails for another reason (its helper dies) is
 * tried again, ever less often.
 */
#ifndef POOL_IMAGE_CHECK_H
#define POOL_IMAGE_CHECK_H

#include "pool/core/ground.h"

/* Background work: starts the next check, if none runs. */
void images_check(struct core *core);

#endif
