/*
 * Whether the hypervisor and this host's processor take an image's CPU policy and vCPUs: tried on a
 * domain without memory, which is gone afterwards. So an image of another processor fails while
 * slots are built, once, and not when somebody waits for a domain.
 *
 * Why not on the slot itself: what is set on a vCPU stays in force where the image that it becomes
 * has nothing to put in its place (MSRs). What cannot be tried: a PV vCPU's context, which names
 * page tables.
 */
#ifndef RESTORE_TRIAL_H
#define RESTORE_TRIAL_H

#include "base/uuid.h"
#include "restore/formats/domconf.h"
#include "restore/xen/xen.h"
#include "store/image.h"

/*
 * uuid and domid: of the slot that is to be built, whose name is in xenstore already. If this
 * process dies on the way, whoever cleans up after the slot finds the domain by them. Blocks for
 * some dozen hypercalls. What the image's guest was told of the processor and this host lacks is
 * logged as a warning, as the hypervisor lets it pass.
 *
 * 0; ANSWER_IMAGE_REFUSED with what differs: the host does not take the image; or the error of a
 * call that failed for another reason.
 */
int trial_run(struct xen *x, const struct domconf *c, const struct uuid *uuid, uint32_t domid,
              const struct image *im, struct error *e);

#endif
