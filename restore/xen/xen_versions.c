/* The hypervisor's release: see xen_versions.h. */
#include "restore/xen/xen_versions.h"

#include <errno.h>
#include <stdio.h>
#include <xen/version.h>

/* XEN_BUILT_FOR is the version of libxenctrl by pkg-config, as 4.17.0; of which 4.17 counts. */
static void built_for(int *major, int *minor)
{
    if (sscanf(XEN_BUILT_FOR, "%d.%d", major, minor) != 2)
        *major = *minor = 0;
}

int xen_check_version(xc_interface *xch, struct error *e)
{
    int major, minor, version = xc_version(xch, XENVER_version, NULL);
    built_for(&major, &minor);
    if (version < 0)
        return error_errno(e, errno, "ask the hypervisor for its version");
    if (version >> 16 == major && (version & 0xffff) == minor)
        return 0;
    return error_set(
        e, ANSWER_XEN_UNAVAILABLE,
        "built for Xen %d.%d, and this host runs Xen %d.%d: boot the host into %d.%d, or "
        "install the dompool that was built for %d.%d",
        major, minor, version >> 16, version & 0xffff, major, minor, version >> 16,
        version & 0xffff);
}
