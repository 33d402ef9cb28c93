/*
 * The domain itself: see domain.h.
 *
 * The steps and their values are those of libxl for a restore (Xen 4.17,
 * tools/libs/light: libxl__domain_make, libxl__build_pre,
 * libxl__arch_domain_create), so that a domain of ours has the limits its saved
 * self had.
 */
#include "restore/xen/domain.h"

#include "base/page.h"
#include "restore/xen/placement.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xen/hvm/params.h>

/* libxl's LIBXL_MAXMEM_CONSTANT: room beyond the target for what Xen accounts to a domain
 * besides its pages. */
#define MAXMEM_SLACK_KIB 1024u

/* How long a domain without memory may take to go, and its domid to be free: a grace period of RCU,
 * and much more. */
#define DISCARD_MS 2000u

/* A domain without memory: what Xen demands of any (xen/arch/x86/mm/hap/hap.c, hap_enable: 256
 * pages), and a monitor table for each vCPU with room to spare. */
#define BARE_POOL_KIB 1024u
#define BARE_POOL_VCPU_KIB 16u

/* libxl__get_required_paging_memory, with HAP: 1 MiB for each vCPU, and for each MiB of memory a
 * page of the p2m. */
uint64_t domain_paging_pool_kib(const struct domconf *c)
{
    if (c->guest == IMAGE_GUEST_PV)
        return 0;
    if (c->shadow_mem_kib)
        return c->shadow_mem_kib;
    return 4 * (256 * (uint64_t)c->max_vcpus + c->max_mem_kib / 1024);
}

/* What the host must have for the configuration, besides memory. *grants: the version of grant
 * tables; the newest that this hypervisor was built with is what libxl picks. */
static int host_check(struct xen *x, const struct domconf *c, uint32_t *grants, struct error *e)
{
    xc_physinfo_t info = {.capabilities = UINT32_MAX}; /* if it does not say, creating does */
    (void)xc_physinfo(x->xch, &info);
    uint32_t newest = info.capabilities & XEN_SYSCTL_PHYSCAP_gnttab_v2 ? 2 : 1;
    *grants = c->max_grant_version ? c->max_grant_version : newest;
    if (*grants > newest)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image's domain has grant tables of version %u, and this hypervisor "
                         "only those of version %u (its option gnttab=max-ver)",
                         *grants, newest);
    if (c->vpmu && !(info.capabilities & XEN_SYSCTL_PHYSCAP_vpmu))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image's domain has performance counters, and this hypervisor gives "
                         "none (its option vpmu)");
    return 0;
}

static struct xen_domctl_createdomain
create_request(const struct domconf *c, const struct uuid *uuid, uint32_t grants, uint32_t pool)
{
    struct xen_domctl_createdomain create = {
        .max_vcpus = c->max_vcpus,
        .max_evtchn_port = c->max_event_channels,
        .max_grant_frames = (int32_t)c->max_grant_frames, /* UINT32_MAX reads as -1: default */
        .max_maptrack_frames = (int32_t)c->max_maptrack_frames,
        .grant_opts = XEN_DOMCTL_GRANT_version(grants),
        .cpupool_id = pool,
        .flags = c->vpmu ? XEN_DOMCTL_CDF_vpmu : 0,
        .arch.misc_flags = c->msr_relaxed ? XEN_X86_MSR_RELAXED : 0,
    };
    static_assert(sizeof create.handle == sizeof *uuid, "Xen keeps the same bytes");
    memcpy(create.handle, uuid, sizeof create.handle);
    if (c->guest == IMAGE_GUEST_PVH) {
        create.flags |= XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap | XEN_DOMCTL_CDF_oos_off;
        if (c->nested_hvm)
            create.flags |= XEN_DOMCTL_CDF_nested_virt;
        create.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    }
    return create;
}

/* A domain that is not listed any more may still have its domid. 0, or an errno. */
static int create_when_free(struct xen *x, uint32_t domid, struct xen_domctl_createdomain *create)
{
    xc_domaininfo_t info;
    for (unsigned ms = 0;; ms++) {
        uint32_t id = domid;
        xen_log_clear(x);
        if (!xc_domain_create(x->xch, &id, create))
            return 0;
        int why = errno;
        if (why != EEXIST || ms == DISCARD_MS ||
            domain_find(x, domid, NULL, &info, NULL) != ANSWER_NO_SUCH_DOMAIN)
            return why;
        usleep(1000);
    }
}

/* errno says why. */
static int not_created(struct xen *x, const struct domconf *c, uint32_t domid, uint32_t pool,
                       struct error *e)
{
    if (errno == EEXIST)
        return error_set(e, -EEXIST, "create a domain: domid %u is taken by somebody else", domid);
    if (errno == ENOMEM)
        return error_set(e, ANSWER_NO_HOST_MEMORY,
                         "create a domain: the hypervisor is out of "
                         "memory; release leases or lower the pools");
    if (pool && (errno == ESRCH || errno == ENODEV)) /* cpupool_add_domain of Xen */
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image's domain is to run in cpupool %u, and %s", pool,
                         errno == ESRCH ? "this host has none of that number; make it with xl "
                                          "cpupool-create"
                                        : "that has no processor");
    return xen_error(x, e, "create a %s domain with %u vCPUs",
                     c->guest == IMAGE_GUEST_PV ? "PV" : "PVH", c->max_vcpus);
}

static int create_empty(struct xen *x, const struct domconf *c, const struct uuid *uuid,
                        uint32_t *domid, uint32_t *pool, struct error *e)
{
    uint32_t id = *domid, grants;
    *domid = DOMID_INVALID;
    int rc = placement_pool(x, c, pool, e);
    if (!rc)
        rc = host_check(x, c, &grants, e);
    if (rc)
        return rc;
    struct xen_domctl_createdomain create = create_request(c, uuid, grants, *pool);
    errno = create_when_free(x, id, &create);
    if (errno)
        return not_created(x, c, id, *pool, e);
    *domid = id;
    return 0;
}

static int set_paging_pool(struct xen *x, uint32_t domid, uint64_t kib, struct error *e)
{
    uint64_t bytes = (kib * 1024 + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (xc_set_paging_mempool_size(x->xch, domid, bytes))
        return xen_error(x, e, "domain %u: set the paging pool to %" PRIu64 " KiB", domid, kib);
    return 0;
}

static int set_guest_kind(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e)
{
    if (c->guest == IMAGE_GUEST_PV) {
        uint64_t limit_kib = c->max_mem_kib + c->slack_mem_kib;
        if (xc_domain_set_memmap_limit(x->xch, domid, limit_kib))
            return xen_error(x, e, "domain %u: set the memory map's limit to %" PRIu64 " KiB",
                             domid, limit_kib);
        return 0;
    }
    int rc = set_paging_pool(x, domid, domain_paging_pool_kib(c), e);
    if (rc)
        return rc;
    if (xc_hvm_param_set(x->xch, domid, HVM_PARAM_TIMER_MODE, c->timer_mode))
        return xen_error(x, e, "domain %u: set its timer mode", domid);
    return 0;
}

/* The offset is not in the stream: the guest's wall clock is the configuration's, from the moment
 * in which its vCPU 0 gets its context. */
static int set_time(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e)
{
    uint32_t offset = (uint32_t)c->time_offset_s;
    if (c->localtime) {
        time_t now = time(NULL);
        struct tm local;
        if (!localtime_r(&now, &local))
            return error_errno(e, errno, "domain %u: find the host's time zone", domid);
        offset += (uint32_t)local.tm_gmtoff;
    }
    if (offset && xc_domain_set_time_offset(x->xch, domid, (int32_t)offset))
        return xen_error(x, e, "domain %u: set its clock to UTC and %d s", domid, (int32_t)offset);
    return 0;
}

static int create_with_vcpus(struct xen *x, const struct domconf *c, const struct uuid *uuid,
                             uint32_t *domid, uint32_t *pool, struct error *e)
{
    int rc = create_empty(x, c, uuid, domid, pool, e);
    if (rc)
        return rc;
    if (xc_domain_max_vcpus(x->xch, *domid, c->max_vcpus))
        return xen_error(x, e, "domain %u: make %u vCPUs", *domid, c->max_vcpus);
    return 0;
}

int domain_create_bare(struct xen *x, const struct domconf *c, const struct uuid *uuid,
                       uint32_t *domid, struct error *e)
{
    uint32_t pool;
    int rc = create_with_vcpus(x, c, uuid, domid, &pool, e);
    return !rc && c->guest == IMAGE_GUEST_PVH
               ? set_paging_pool(x, *domid, BARE_POOL_KIB + BARE_POOL_VCPU_KIB * c->max_vcpus, e)
               : rc;
}

int domain_create(struct xen *x, const struct domconf *c, const struct uuid *uuid, uint64_t pages,
                  uint32_t *domid, struct error *e)
{
    uint32_t pool;
    int rc = create_with_vcpus(x, c, uuid, domid, &pool, e);
    if (!rc)
        rc = placement_set(x, c, *domid, e);
    if (rc)
        return rc;
    uint64_t kib = pages * (PAGE_BYTES / 1024);
    if (kib <= c->target_mem_kib + MAXMEM_SLACK_KIB)
        kib = c->target_mem_kib; /* a PVH guest has special pages beyond it */
    kib += MAXMEM_SLACK_KIB;
    if (xc_domain_setmaxmem(x->xch, *domid, kib))
        return xen_error(x, e, "domain %u: set the memory limit to %" PRIu64 " KiB", *domid, kib);
    if (xc_domain_set_tsc_info(x->xch, *domid, c->tsc_mode, 0, 0, 0))
        return xen_error(x, e, "domain %u: set TSC mode %u", *domid, c->tsc_mode);
    rc = set_time(x, c, *domid, e);
    if (!rc)
        rc = set_guest_kind(x, c, *domid, e);
    return rc ? rc : placement_share(x, c, *domid, pool, e);
}

int domain_find(struct xen *x, uint32_t domid, const struct uuid *uuid, xc_domaininfo_t *out,
                struct error *e)
{
    xen_log_clear(x);
    int n = xc_domain_getinfolist(x->xch, domid, 1, out); /* the first from domid on */
    if (n < 0)
        return xen_error(x, e, "look at domain %u", domid);
    if (n != 1 || out->domain != domid || (uuid && memcmp(out->handle, uuid, sizeof *uuid) != 0))
        return error_set(e, ANSWER_NO_SUCH_DOMAIN, "domain %u has gone", domid);
    return 0;
}

int domain_discard(struct xen *x, uint32_t domid, struct error *e)
{
    xc_domaininfo_t info;
    xen_log_clear(x);
    if (xc_domain_destroy(x->xch, domid))
        return xen_error(x, e, "domain %u: destroy it after a trial", domid);
    for (unsigned ms = 0; ms < DISCARD_MS; ms++) {
        int rc = domain_find(x, domid, NULL, &info, e);
        if (rc == ANSWER_NO_SUCH_DOMAIN) {
            error_clear(e);
            return 0;
        }
        if (rc)
            return rc;
        usleep(1000);
    }
    return error_set(e, -ETIMEDOUT, "domain %u: it is still there %u ms after it was destroyed",
                     domid, DISCARD_MS);
}

int domain_event_channel(struct xen *x, uint32_t domid, uint32_t *port, struct error *e)
{
    int rc = xc_evtchn_alloc_unbound(x->xch, domid, 0);
    if (rc < 0)
        return xen_error(x, e, "domain %u: allocate an event channel for dom0", domid);
    *port = (uint32_t)rc;
    return 0;
}

int domain_memory_check(struct xen *x, uint64_t need_kib, uint64_t reserve_kib, struct error *e)
{
    xc_physinfo_t info;
    xen_log_clear(x);
    if (xc_physinfo(x->xch, &info))
        return xen_error(x, e, "ask the hypervisor for its free memory");
    uint64_t free_kib = (info.free_pages + info.scrub_pages) * (PAGE_BYTES / 1024);
    if (free_kib < need_kib || free_kib - need_kib < reserve_kib)
        return error_set(e, ANSWER_NO_HOST_MEMORY,
                         "a domain of %" PRIu64 " MiB does not fit: %" PRIu64
                         " MiB are free and %" PRIu64 " MiB are to stay free (memory_reserve); "
                         "release leases or lower the pools",
                         need_kib / 1024, free_kib / 1024, reserve_kib / 1024);
    return 0;
}

static int not_waiting(uint32_t domid, const char *what, struct error *e)
{
    return error_set(
        e, ANSWER_DOMAIN_STATE,
        "domain %u was %s by somebody while it was warm; leave the domains of slots to "
        "dompool",
        domid, what);
}

int domain_check_waits(struct xen *x, uint32_t domid, const struct uuid *uuid, struct error *e)
{
    xc_domaininfo_t info;
    int rc = domain_find(x, domid, uuid, &info, e);
    if (rc < 0)
        return rc;
    if (rc || info.flags & XEN_DOMINF_dying)
        return not_waiting(domid, "destroyed", e);
    if (info.flags & XEN_DOMINF_shutdown)
        return not_waiting(domid, "shut down", e);
    return info.flags & XEN_DOMINF_paused ? 0 : not_waiting(domid, "unpaused", e);
}
