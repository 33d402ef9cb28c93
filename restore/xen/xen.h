/*
 * Room xen: one domain and its devices, one host; by calls of Xen's libraries, xenstore, device
 * mapper and loop devices. All of it blocks.
 *
 * For the daemon: host.h alone. For the helpers besides:
 *   domid.h         chooses a domain's number, and names it before there is the domain
 *   domain.h        creates a domain; placement.h: where it runs
 *   domain_nodes.h  its nodes in xenstore, by nodes.h: a set of nodes in one transaction
 *   disk.h          its disks, by loop.h, snapshot.h and disk_mark.h
 *   nic.h           its network interfaces; bridge_port.h: as ports of a bridge, with what
 *                   entrance.h lets in from them; hotplug.h: by a script
 *   backend.h       back ends of its devices, until they are ready or closed
 *   asked.h         whether somebody has asked it to shut down or to suspend
 *   cpu_policy.h    CPUID and MSRs
 *   userdata.h      the configuration that xl keeps of it
 *   xen_versions.h  what differs between releases of Xen
 * Inner: host_private.h; rtnetlink.h of bridge_port.c and entrance.c.
 *
 * May include: formats, store, base.
 *
 * All of them need this header. It has the handles of libxenctrl and xenstore, through which
 * everything here speaks to Xen. It also has a logger that keeps the libraries' complaint, so that
 * our error can end with their reason. A process or thread opens its own.
 */
#ifndef RESTORE_XEN_H
#define RESTORE_XEN_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <xenctrl.h>
#include <xenstore.h>

struct xen_log;

struct xen {
    xc_interface *xch;
    struct xs_handle *xs;
    struct xen_log *log;
};

/* Opens all handles. ANSWER_XEN_UNAVAILABLE with the reason (not a Xen host, no rights,
 * xenstored not running). Blocking. xen_close may be called twice. */
int xen_open(struct xen *x, struct error *e);
void xen_close(struct xen *x);

/* Like error_errno with the present errno, and the libraries' first complaint since the last
 * xen_log_clear appended. */
int xen_error(struct xen *x, struct error *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Forgets older complaints; called before a call whose failure will be reported. */
void xen_log_clear(struct xen *x);

/* Hypercalls that this process has made through libxencall, if they are counted
 * (restore/warm/hypercalls.c is linked in); else 0. */
uint64_t xen_hypercalls(void) __attribute__((weak));

#endif
