/* What is done with images that exist: export, verify, diff, and the check of all when the daemon
 * starts. */
#ifndef POOL_IMAGE_QUERY_H
#define POOL_IMAGE_QUERY_H

#include "pool/core/core.h"
#include "pool/service/varlink.h"

/* Each answers or defers the call. */
const struct answered *export_start(struct core *core, struct call *call, const char *image,
                                    const char *path);
const struct answered *verify_start(struct core *core, struct call *call, const char *image);
const struct answered *diff_start(struct core *core, struct call *call, const char *a,
                                  const char *b);

/*
 * Background work: checks the digests of images that were there when the daemon started, one after
 * the other, derived ones first. No slot is built of a base before all that could become of it is
 * checked. A damaged image is marked so. A check that fails for another reason (its helper dies) is
 * tried again, and counts like a failed build.
 */
void images_verify(struct core *core);

#endif
