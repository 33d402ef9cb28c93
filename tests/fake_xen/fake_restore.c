/*
 * The real libxenguest on the hypervisor of tests: the calls that xc_domain_restore makes besides
 * those of the engine. Functions of this program come before those of the Xen libraries, for these
 * libraries too.
 */
#include "tests/fake_xen/fake_xen.h"

#include "base/array.h"
#include "restore/xen/xen_versions.h"
#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xentoollog.h>

/* ---- the domain ---- */

#if XEN_DOMCTL_INTERFACE_VERSION < 0x16 /* Xen 4.18 */
int xc_domain_getinfo(xc_interface *xch, uint32_t first_domid, unsigned int max_doms,
                      xc_dominfo_t *info)
{
    FAKE_CALL();
    (void)xch;
    if (fake_xen_refuses(__func__, first_domid) || !max_doms)
        return -1;
    *info = (xc_dominfo_t){.domid = first_domid,
                           .hvm = fake_xen->hvm,
                           .max_vcpu_id = FAKE_VCPUS - 1,
                           .shared_info_frame = FAKE_SHARED_INFO_MFN};
    return 1;
}
#else
int xc_domain_getinfo_single(xc_interface *xch, uint32_t domid, xc_domaininfo_t *info)
{
    FAKE_CALL();
    (void)xch;
    if (fake_xen_refuses(__func__, domid))
        return -1;
    *info = (xc_domaininfo_t){.domain = (domid_t)domid,
                              .flags = fake_xen->hvm ? XEN_DOMINF_hvm_guest : 0,
                              .max_vcpu_id = FAKE_VCPUS - 1,
                              .shared_info_frame = FAKE_SHARED_INFO_MFN};
    return 0;
}
#endif

int xc_domain_nr_gpfns(xc_interface *xch, uint32_t domid, xen_pfn_t *gpfns)
{
    FAKE_CALL();
    (void)xch;
    if (fake_xen_refuses(__func__, domid))
        return -1;
    *gpfns = ARRAY_SIZE(fake_xen->mfns);
    return 0;
}

int xc_domain_get_guest_width(xc_interface *xch, uint32_t domid, unsigned int *guest_width)
{
    FAKE_CALL();
    (void)xch;
    if (fake_xen_refuses(__func__, domid))
        return -1;
    *guest_width = 8;
    return 0;
}

/* ---- Xen's table of the pfns of all frames, for PV: xenforeignmemory_map has it ---- */

int xc_maximum_ram_page(xc_interface *xch, unsigned long *max_mfn)
{
    FAKE_CALL();
    (void)xch;
    if (!fake_xen)
        return -1;
    *max_mfn = fake_xen->n_frames - 1;
    return 0;
}

int xc_machphys_mfn_list(xc_interface *xch, unsigned long max_extents, xen_pfn_t *extent_start)
{
    FAKE_CALL();
    (void)xch;
    memset(extent_start, 0, max_extents * sizeof *extent_start);
    return 0;
}

/* ---- a save file ---- */

/* Where the libxc stream begins in it: 8 bytes of 0xff and "XENF" in the order of the network. */
static off_t libxc_stream(int fd)
{
    static const uint8_t header[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 'X',  'E',  'N',  'F'};
    struct stat st;
    off_t offset = -1;
    if (fstat(fd, &st))
        return -1;
    const uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return -1;
    const uint8_t *found = memmem(file, (size_t)st.st_size, header, sizeof header);
    if (found)
        offset = found - file;
    munmap((void *)(uintptr_t)file, (size_t)st.st_size);
    return offset;
}

static int restore_fd(xc_interface *xch, int fd, uint32_t store_port, uint32_t console_port)
{
    struct restore_callbacks callbacks = {0};
    unsigned long store_gfn, console_gfn;
    off_t at = libxc_stream(fd);
    if (at < 0 || lseek(fd, at, SEEK_SET) != at)
        return -1;
    return xen_domain_restore(xch, fd, 1, store_port, &store_gfn, console_port, &console_gfn,
                              &callbacks);
}

int fake_xen_restore(struct fake_xen *x, const char *save_path, uint32_t store_port,
                     uint32_t console_port)
{
    xentoollog_logger *log =
        (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    int fd = open(save_path, O_RDONLY | O_CLOEXEC), rc = -1;
    fake_xen = x;
    xc_interface *xch = xc_interface_open(log, log, 0);
    if (xch && fd >= 0)
        rc = restore_fd(xch, fd, store_port, console_port);
    if (xch)
        xc_interface_close(xch);
    if (fd >= 0)
        close(fd);
    xtl_logger_destroy(log);
    return rc;
}
