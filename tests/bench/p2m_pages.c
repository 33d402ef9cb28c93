/*
 * p2m_pages: how many pages Xen needs for a PVH domain's p2m, its map from guest frames to machine
 * frames. The more of it are superpages, the fewer pages it takes: one for each 2 MiB that are
 * mapped page by page, and a few above them.
 *
 *   p2m_pages DOMID
 *
 * Xen does not say this number, but what it has set aside for p2m, used or not, can be given back
 * as far as it is not used. So the domain is paused, all that is unused is taken away, what is left
 * is read, and all is given back. What is left includes a constant of a few pages for each domain
 * and vCPU, so numbers compare between domains of the same shape. Prints the number; exit status 1
 * when something fails, and then the domain is fit for nothing but to be destroyed.
 *
 * Source: Xen 4.17, xen/arch/x86/mm/hap/hap.c, hap_set_allocation.
 */
#include "base/page.h"
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xenctrl.h>

/* Asking for nothing at all fails once all that is unused is gone: that is expected. */
static int used_pages(xc_interface *xch, uint32_t domid, uint64_t *pages)
{
    uint64_t before, left;
    if (xc_get_paging_mempool_size(xch, domid, &before))
        return -1;
    if (!xc_set_paging_mempool_size(xch, domid, 0) || errno != ENOMEM)
        return -1;
    if (xc_get_paging_mempool_size(xch, domid, &left) ||
        xc_set_paging_mempool_size(xch, domid, before))
        return -1;
    *pages = left / PAGE_BYTES;
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t domid, pages = 0;
    if (argc != 2 || number_parse(argv[1], 1, UINT16_MAX, &domid)) {
        fprintf(stderr, "usage: p2m_pages DOMID\n");
        return 64;
    }
    xc_interface *xch = xc_interface_open(NULL, NULL, 0);
    if (!xch || xc_domain_pause(xch, (uint32_t)domid)) {
        fprintf(stderr, "p2m_pages: pause domain %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    int rc = used_pages(xch, (uint32_t)domid, &pages);
    if (rc)
        fprintf(stderr, "p2m_pages: domain %s: paging pool: %s\n", argv[1], strerror(errno));
    if (xc_domain_unpause(xch, (uint32_t)domid))
        rc = -1;
    if (!rc)
        printf("%" PRIu64 "\n", pages);
    xc_interface_close(xch);
    return rc ? 1 : 0;
}
