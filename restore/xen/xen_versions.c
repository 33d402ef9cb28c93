/* The hypervisor's release: see xen_versions.h. */
#include "restore/xen/xen_versions.h"

#include <errno.h>
#include <xen/version.h>

int xen_check_version(xc_interface *xch, struct error *e)
{
    const int wanted = XEN_BUILT_FOR, is = xc_version(xch, XENVER_version, NULL);
    if (is < 0)
        return error_errno(e, errno, "ask the hypervisor for its version");
    if (is == wanted)
        return 0;
    return error_set(
        e, ANSWER_XEN_UNAVAILABLE,
        "built for Xen %d.%d, and this host runs Xen %d.%d: boot the host into %d.%d, or "
        "install the dompool that was built for %d.%d",
        wanted >> 16, wanted & 0xffff, is >> 16, is & 0xffff, wanted >> 16, wanted & 0xffff,
        is >> 16, is & 0xffff);
}
