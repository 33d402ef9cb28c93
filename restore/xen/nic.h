/*
 * A slot's network interfaces: their nodes in xenstore, and the host's end of each as a port of its
 * bridge. No script, no process. A domain that does not run has no carrier: its ports send nothing,
 * and nothing reaches them.
 */
#ifndef RESTORE_NIC_H
#define RESTORE_NIC_H

#include "base/uuid.h"
#include "restore/formats/nic_conf.h"
#include "restore/xen/backend.h"
#include "restore/xen/bridge_port.h"
#include "restore/xen/nodes.h"

/* What all interfaces of a slot have in common. */
struct nic_rules {
    enum mac_rule mac;
    bool isolated, filtered; /* see bridge_port.h */
    const char *script; /* makes the ports instead of dompool (hotplug.h); NULL: none. Borrowed */
};

struct nic {
    const struct nic_conf *conf;
    struct nic_rules rules;
    uint32_t domid;
    struct mac mac;
    struct bridge bridge;
    unsigned mtu;
    char device[NIC_NAME_SIZE];                      /* what netback calls it: vif7.0 */
    struct nic_address addresses[NIC_ADDRESSES_MAX]; /* that the guest may send from */
    unsigned n_addresses;                            /* 0: any */
};

/* Looks for its bridge and chooses its MAC. The domain need not exist yet. -ENODEV, or an error of
 * rtnetlink. */
int nic_open(struct nic *n, const struct nic_conf *conf, const struct uuid *uuid,
             const struct nic_rules *rules, struct error *e);

/* Adds front end, back end and libxl's mirror to the tree, for the domain. Its back end may connect
 * as soon as the guest does. */
void nic_nodes(struct nic *n, uint32_t domid, struct nodes *t);
/* What is to be waited for before nic_settle: backends_wait. Borrows from n. */
void nic_backend(const struct nic *n, struct backend *out);
/* Makes its end a port of its bridge, or has the script do that, and has the guest use one queue.
 * Errors of bridge_port_make and hotplug_online. */
int nic_settle(const struct nic *n, struct xs_handle *xs, struct error *e);

/*
 * Before the guest's first instruction: gives it another address, unless mac is NULL. It is read
 * when the guest's front end connects. Three nodes, and the filter of the port. With MAC_SAVED the
 * filter takes the address only now: before, it was maybe another domain's, and a bridge has an
 * address at one port only. Nothing is done for an interface that keeps an address of its own.
 */
int nic_start(struct nic *n, struct xs_handle *xs, const struct mac *mac, struct error *e);
/* Undoes nic_start, which may have failed on its way, with the same mac: the interface has its own
 * address again, and with MAC_SAVED its port takes none. */
int nic_start_undo(struct nic *n, struct xs_handle *xs, const struct mac *mac,
                   const struct mac *own, struct error *e);

/*
 * After a domain's end, while its nodes are there: what a script has made, it takes away. That may
 * be one of ours, or of xl's, for an interface that xl has attached or restored. A failure is
 * logged. Blocking, for as long as scripts take.
 */
void nics_end(struct xs_handle *xs, uint32_t domid);

#endif
