/*
 * What differs between Xen 4.17 and 4.22 in the calls that are made here. One source is built for
 * each of them, against the headers of that release; no other file asks for a version. And the
 * question whether what was built meets its own hypervisor.
 */
#ifndef RESTORE_XEN_VERSIONS_H
#define RESTORE_XEN_VERSIONS_H

#include "base/error.h"

#include <xenctrl.h>
#include <xenguest.h>

/* 4.22 has named it; since 4.17 every hypervisor searches a free domid when it is asked for a
 * reserved one, and the 4.22 one no longer when it is asked for 0. */
#ifndef DOMID_ANY
#define DOMID_ANY 0x7FF5u
#endif

/* xc_domain_restore, plain stream: 4.22 has one parameter more, flags for memory (0: none). Returns
 * what that returns. */
static inline int xen_domain_restore(xc_interface *xch, int fd, uint32_t domid,
                                     unsigned int store_port, unsigned long *store_gfn,
                                     unsigned int console_port, unsigned long *console_gfn,
                                     struct restore_callbacks *callbacks)
{
#if XEN_DOMCTL_INTERFACE_VERSION >= 0x18
    return xc_domain_restore(xch, fd, domid, store_port, store_gfn, 0, console_port, console_gfn, 0,
                             XC_STREAM_PLAIN, callbacks, -1, 0);
#else
    return xc_domain_restore(xch, fd, domid, store_port, store_gfn, 0, console_port, console_gfn, 0,
                             XC_STREAM_PLAIN, callbacks, -1);
#endif
}

/*
 * Whether the hypervisor is of the release that this was built for; its interface for toolstacks is
 * another one in each, and every call would be refused by itself. ANSWER_XEN_UNAVAILABLE.
 */
int xen_check_version(xc_interface *xch, struct error *e);

#endif
