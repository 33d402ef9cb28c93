/* Where the hypervisor's domains run, for tests: see domains.h. */
#include "tests/fake_xen/domains.h"
#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <stdlib.h>

/* The domain that a call is about, alive; NULL when the call fails. */
static struct fake_domain *called(const char *call, uint32_t domid)
{
    if (fault_hits(FAULT_HYPERVISOR, call))
        return NULL;
    struct fake_domain *d = fake_domain_find(domid);
    if (d && !d->dying)
        return d;
    errno = ESRCH;
    return NULL;
}

static const struct fake_pool *pool_of(const struct fake_domain *d)
{
    return &fake_hypervisor.pools[d->created_as.cpupool_id];
}

int xc_get_max_cpus(xc_interface *xch)
{
    FAKE_CALL();
    (void)xch;
    return FAULT(FAULT_HYPERVISOR) ? -1 : (int)FAKE_CPUS;
}

int xc_get_max_nodes(xc_interface *xch)
{
    FAKE_CALL();
    (void)xch;
    return FAULT(FAULT_HYPERVISOR) ? -1 : (int)FAKE_CPUS;
}

int xc_domain_node_setaffinity(xc_interface *xch, uint32_t domid, xc_nodemap_t nodemap)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    errno = EINVAL;
    if (!nodemap[0])
        return -1;
    d->nodes = nodemap[0];
    return 0;
}

/* As vcpu_affinity_domctl of Xen: hard affinity with no processor of the cpupool is refused, soft
 * affinity may name any. Both maps come back as they work out. */
int xc_vcpu_setaffinity(xc_interface *xch, uint32_t domid, int vcpu, xc_cpumap_t cpumap_hard_inout,
                        xc_cpumap_t cpumap_soft_inout, uint32_t flags)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    errno = EINVAL;
    bool hard = flags & XEN_VCPUAFFINITY_HARD, soft = flags & XEN_VCPUAFFINITY_SOFT;
    if (vcpu < 0 || (unsigned)vcpu >= d->vcpus || (!hard && !soft) || hard != !!cpumap_hard_inout ||
        soft != !!cpumap_soft_inout)
        return -1;
    if (hard && !(cpumap_hard_inout[0] & pool_of(d)->cpus))
        return -1;
    if (hard)
        d->hard[vcpu] = cpumap_hard_inout[0];
    if (soft)
        d->soft[vcpu] = cpumap_soft_inout[0];
    if (hard)
        cpumap_hard_inout[0] &= pool_of(d)->cpus;
    if (soft)
        cpumap_soft_inout[0] &= pool_of(d)->cpus & d->hard[vcpu];
    d->affinities++;
    return 0;
}

xc_cpupoolinfo_t *xc_cpupool_getinfo(xc_interface *xch, uint32_t poolid)
{
    FAKE_CALL();
    (void)xch;
    if (FAULT(FAULT_HYPERVISOR))
        return NULL;
    errno = ENOENT;
    if (poolid >= FAKE_POOLS || !fake_hypervisor.pools[poolid].there)
        return NULL;
    xc_cpupoolinfo_t *info = fake_checked(calloc(1, sizeof *info));
    info->cpupool_id = poolid;
    info->sched_id = fake_hypervisor.pools[poolid].scheduler;
    fake_xen_held.buffers++;
    return info;
}

void xc_cpupool_infofree(xc_interface *xch, xc_cpupoolinfo_t *info)
{
    FAKE_CALL();
    (void)xch;
    free(info);
    fake_xen_held.buffers--;
}

/* The domain, if its cpupool has this scheduler. */
static struct fake_domain *scheduled(const char *call, uint32_t domid, uint32_t scheduler)
{
    struct fake_domain *d = called(call, domid);
    if (!d || pool_of(d)->scheduler == scheduler)
        return d;
    errno = EINVAL;
    return NULL;
}

static int share_set(struct fake_domain *d, unsigned weight, unsigned cap)
{
    if (!d)
        return -1;
    d->weight = weight;
    d->cap = cap;
    return 0;
}

int xc_sched_credit_domain_get(xc_interface *xch, uint32_t domid,
                               struct xen_domctl_sched_credit *sdom)
{
    FAKE_CALL();
    (void)xch;
    const struct fake_domain *d = scheduled(__func__, domid, XEN_SCHEDULER_CREDIT);
    if (!d)
        return -1;
    sdom->weight = (uint16_t)d->weight;
    sdom->cap = (uint16_t)d->cap;
    return 0;
}

int xc_sched_credit_domain_set(xc_interface *xch, uint32_t domid,
                               struct xen_domctl_sched_credit *sdom)
{
    FAKE_CALL();
    (void)xch;
    return share_set(scheduled(__func__, domid, XEN_SCHEDULER_CREDIT), sdom->weight, sdom->cap);
}

int xc_sched_credit2_domain_get(xc_interface *xch, uint32_t domid,
                                struct xen_domctl_sched_credit2 *sdom)
{
    FAKE_CALL();
    (void)xch;
    const struct fake_domain *d = scheduled(__func__, domid, XEN_SCHEDULER_CREDIT2);
    if (!d)
        return -1;
    sdom->weight = (uint16_t)d->weight;
    sdom->cap = (uint16_t)d->cap;
    return 0;
}

int xc_sched_credit2_domain_set(xc_interface *xch, uint32_t domid,
                                struct xen_domctl_sched_credit2 *sdom)
{
    FAKE_CALL();
    (void)xch;
    return share_set(scheduled(__func__, domid, XEN_SCHEDULER_CREDIT2), sdom->weight, sdom->cap);
}

int xc_domain_set_time_offset(xc_interface *xch, uint32_t domid, int32_t time_offset_seconds)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    d->time_offset_s = time_offset_seconds;
    return 0;
}
