/*
 * The domain itself: created, given its vCPUs, memory limit and event
 * channels, as libxl does it for the same configuration. Destroying: host.h.
 */
#ifndef RESTORE_DOMAIN_H
#define RESTORE_DOMAIN_H

#include "base/uuid.h"
#include "restore/formats/domconf.h"
#include "restore/xen/xen.h"

/*
 * Creates a paused, empty domain for the configuration, with vCPU structures, a memory limit for
 * `pages` populated pages, PVH's paging pool, its place (placement.h) and the offset of its clock.
 * *domid is the domain's (domid.h); after a failure before the domain exists it is DOMID_INVALID. A
 * domid that a domain has just had may have to be waited for, some milliseconds.
 * ANSWER_NO_HOST_MEMORY: Xen has no memory for it. ANSWER_IMAGE_REFUSED: this host lacks what the
 * configuration wants, like its cpupool. -EEXIST: the domid is somebody else's.
 */
int domain_create(struct xen *x, const struct domconf *c, const struct uuid *uuid, uint64_t pages,
                  uint32_t *domid, struct error *e);

/* What the hypervisor says of the domain with this domid and, if it is not NULL, this uuid. One
 * hypercall. ANSWER_NO_SUCH_DOMAIN: there is none, not even a dying one. */
int domain_find(struct xen *x, uint32_t domid, const struct uuid *uuid, xc_domaininfo_t *out,
                struct error *e);

/*
 * Creates a paused domain of that kind which never gets memory and never runs: vCPU structures, and
 * for PVH the paging pool that they need. For what is tried before it is done to a domain that
 * counts. *domid and errors as of domain_create. domain_discard ends it.
 */
int domain_create_bare(struct xen *x, const struct domconf *c, const struct uuid *uuid,
                       uint32_t *domid, struct error *e);
/* Destroys a domain that has no memory and no device, and waits until it is gone: some
 * milliseconds. Its nodes stay. -ETIMEDOUT: after two seconds it is still there. */
int domain_discard(struct xen *x, uint32_t domid, struct error *e);

/* What Xen sets aside for the domain's paging structures: 0 for PV. */
uint64_t domain_paging_pool_kib(const struct domconf *c);

/* A port of the domain that dom0's xenstored or xenconsoled will bind to. */
int domain_event_channel(struct xen *x, uint32_t domid, uint32_t *port, struct error *e);

/* ANSWER_NO_HOST_MEMORY when less than need_kib + reserve_kib is free, scrubbing included. */
int domain_memory_check(struct xen *x, uint64_t need_kib, uint64_t reserve_kib, struct error *e);

/* Whether the domain still waits as it was made: it is there, under this uuid, and paused. One
 * hypercall. ANSWER_DOMAIN_STATE, saying what somebody has done to it. A domain that was unpaused
 * and paused again has not run: its vCPUs have no context before it is completed. */
int domain_check_waits(struct xen *x, uint32_t domid, const struct uuid *uuid, struct error *e);

#endif
