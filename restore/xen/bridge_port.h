/*
 * Network interfaces of the host as ports of a bridge, by rtnetlink: no script, no process. What
 * Xen's script vif-bridge does with `ip` and `brctl`, and things that it does not do: ports that
 * cannot reach one another, ports that take frames of one MAC address alone, and ports that see to
 * it that all frames have that.
 *
 * Calls block for as long as the kernel takes: some ten microseconds, or until another program lets
 * go of the kernel's lock on network interfaces.
 */
#ifndef RESTORE_BRIDGE_PORT_H
#define RESTORE_BRIDGE_PORT_H

#include "base/error.h"
#include "base/mac.h"
#include "restore/xen/entrance.h"

#include <stdbool.h>

struct bridge {
    unsigned index; /* of the interface */
    unsigned mtu;
};

/* -ENODEV: there is no such bridge; what there is instead is said. Needs no rights. */
int bridge_find(const char *name, struct bridge *out, struct error *e);

struct bridge_port {
    const char *device; /* its name now */
    const char *name;   /* the one it gets; NULL: it keeps its own */
    struct bridge bridge;
    unsigned mtu;
    struct mac mac; /* of the guest behind it */
    bool isolated;  /* no other isolated port can be reached */
    bool filtered;  /* frames from another MAC address than `mac` are dropped */
    bool closed;    /* a filtered port takes no frame at all, until bridge_port_set_mac */
    const struct entrance
        *entrance; /* what comes in, before the bridge looks at it; NULL: as it is */
};

/*
 * Makes an interface a port of a bridge, and brings it up, in one batch. If it is isolated or
 * filtered, the kernel is asked whether it has understood that: one before 5.18 knows no filter,
 * and would pass everything in silence. -EEXIST: another interface has the name; -EOPNOTSUPP: the
 * kernel does not know what is wanted; -ENODEV: no such device. The device then stays as the batch
 * left it; it goes with its back end.
 */
int bridge_port_make(const struct bridge_port *p, struct error *e);

/* A filtered port takes frames of `to` instead of `from`, another one; each may be NULL: of none.
 * It is no failure when it took none of `from`. entrance: its rules from now on; NULL: they stay.
 * An address is at one port of a bridge only: it leaves any other one. While this goes on, the port
 * must be without carrier. */
int bridge_port_set_mac(const char *device, const struct mac *from, const struct mac *to,
                        const struct entrance *entrance, struct error *e);

#endif
