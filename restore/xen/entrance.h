/*
 * What the host lets in from a guest's network interface, and as what: rules of the kernel's
 * traffic control at the port's entrance, which is before the bridge. They go with the interface.
 */
#ifndef RESTORE_ENTRANCE_H
#define RESTORE_ENTRANCE_H

#include "base/error.h"
#include "base/mac.h"
#include "restore/formats/nic_address.h"

struct entrance {
    struct mac mac;                      /* every frame gets it as its source */
    const struct nic_address *addresses; /* that frames may come from; borrowed */
    unsigned n_addresses;                /* 0: any, and any kind of frame */
};

/*
 * Makes the rules, in place of earlier ones. With addresses these alone pass: IPv4 and ARP from one
 * of them, IPv6 from one of them or from a link-local address, and what a guest sends that has none
 * yet (a request to a DHCP server, probes for duplicates). Meanwhile, everything passes or nothing
 * does: the port must be down, or without carrier.
 *
 * index: of the interface that is called device. -EOPNOTSUPP: the kernel has no such rules; they
 * need its modules sch_ingress, cls_matchall and act_skbmod, and cls_flower for addresses. Blocks
 * as rtnetlink.h says.
 */
int entrance_make(const char *device, unsigned index, const struct entrance *en, struct error *e);

#endif
