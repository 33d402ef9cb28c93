/*
 * A domain's number, and its name before there is the domain. A domain that is listed has its name
 * then: `xl list` calls one without "(null)".
 *
 * Xen gives out domids by a counter that passes over those in use, so that one is used again after
 * all others. A domid that it is asked for does not move the counter (Xen's xen/common/domctl.c,
 * XEN_DOMCTL_createdomain; later xen/common/domid.c). Near the counter, such a domid would be
 * somebody else's as soon as it is free. So ours are those of the upper half, where the counter
 * comes after 16,383 other domains. Each slot has its own place there, by its number: ours come
 * again after 16,368 slots.
 */
#ifndef RESTORE_DOMID_H
#define RESTORE_DOMID_H

#include "restore/xen/xen.h"

/* Below /libxl/DOMID: the daemon's tag, while the domain has nothing but its name. Not the tag's
 * own node, since a listing takes a domain with that for ours. Gone when the domain gets its
 * nodes. */
#define DOMID_CLAIM_NODE "dompool/claim"

/*
 * Chooses the domid for a slot's domain: a free one without nodes, at the slot's place or behind
 * it. Changes nothing. tag: the daemon's; its slots begin at another place than another daemon's.
 * Blocking: a hypercall and two requests to xenstored, for each that is taken as well. -ENOSPC, or
 * an I/O error.
 */
int domid_choose(struct xen *x, const char *tag, uint64_t slot, uint32_t *domid, struct error *e);

/*
 * Writes the name of the domain that is about to be made with this domid, and that it is ours: then
 * host_destroy and host_sweep (host.h) find the nodes, whatever becomes of the caller. -EEXIST: the
 * domid has nodes by now.
 */
int domid_claim(struct xen *x, uint32_t domid, const char *tag, const char *name, struct error *e);

#endif
