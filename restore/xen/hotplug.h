/*
 * Scripts that make the host's end of a network interface, for setups that dompool does not know:
 * the interface of Xen's own scripts (docs/misc/vif-scripts, tools/hotplug/Linux), so that those
 * can be used as they are. They run when a slot is built and when its domain has ended, never in
 * between.
 */
#ifndef RESTORE_HOTPLUG_H
#define RESTORE_HOTPLUG_H

#include "base/error.h"

#include <stdint.h>
#include <xenstore.h>

struct hotplug {
    const char *script; /* absolute path */
    uint32_t domid, devid;
};

/*
 * Runs "SCRIPT online type_if=vif", and waits until it has exited and has written hotplug-status,
 * as Xen's scripts do when they have done their work. The script gets a process group and an empty
 * environment of its own, but for what Xen's scripts expect. Blocking. -EIO: it failed, or did not
 * write "connected"; its own word in hotplug-error is quoted. -ETIMEDOUT: it is killed.
 */
int hotplug_online(struct xs_handle *xs, const struct hotplug *h, unsigned timeout_ms,
                   struct error *e);
/* Runs "SCRIPT offline type_if=vif" and waits until it has exited. The nodes of the interface must
 * still be there. Errors as above. */
int hotplug_offline(const struct hotplug *h, unsigned timeout_ms, struct error *e);

#endif
