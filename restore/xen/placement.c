/* Where a domain runs, and its share: see placement.h. */
#include "restore/xen/placement.h"

#include "restore/xen/nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the cpupool ---- */

/* Whether the cpupool of this directory in xenstore has the name. 1 or 0, or an error. */
static int pool_is(struct xen *x, const char *directory, const char *wanted, struct error *e)
{
    char *name = node_get(x->xs, "/local/pool/%s/name", directory);
    if (!name && errno != ENOENT)
        return error_errno(e, errno, "read the name of cpupool %s in xenstore", directory);
    bool is = name && !strcmp(name, wanted);
    free(name);
    return is;
}

static int pool_find(struct xen *x, const char *wanted, char *const *pools, unsigned n,
                     uint32_t *id, struct error *e)
{
    for (unsigned i = 0; i < n; i++) {
        int rc = pool_is(x, pools[i], wanted, e);
        if (rc < 0)
            return rc;
        if (rc) {
            *id = (uint32_t)strtoul(pools[i], NULL, 10);
            return 0;
        }
    }
    return error_set(
        e, ANSWER_IMAGE_REFUSED,
        "the image's domain is to run in cpupool \"%s\", and this host has none of that "
        "name; make one with xl cpupool-create",
        wanted);
}

/* xl keeps the names of cpupools in xenstore; Xen itself knows numbers alone. */
int placement_pool(struct xen *x, const struct domconf *c, uint32_t *id, struct error *e)
{
    *id = c->cpupool_id;
    if (!c->cpupool[0])
        return 0;
    unsigned n = 0;
    char **pools = xs_directory(x->xs, XBT_NULL, "/local/pool", &n);
    if (!pools && errno != ENOENT)
        return error_errno(e, errno, "list the cpupools in xenstore");
    int rc = pool_find(x, c->cpupool, pools, n, id, e);
    free(pools);
    return rc;
}

/* ---- affinity ---- */

/* What of the set there is on a host with n; malloc'd, as large as libxc wants it. */
static uint8_t *map_new(const struct cpu_set *s, unsigned n)
{
    uint8_t *map = calloc(n / 8 + 1, 1);
    for (unsigned i = 0; map && i < n; i++)
        if (cpu_set_has(s, i))
            map[i / 8] |= (uint8_t)(1u << i % 8);
    return map;
}

static int no_memory(struct error *e)
{
    return error_set(e, -ENOMEM, "out of memory for a set of processors");
}

static bool names_any(const struct cpu_set *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (cpu_set_has(s, i))
            return true;
    return false;
}

/* libxl goes on, too, when the host has none of the nodes. */
static int set_nodes(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e)
{
    if (cpu_set_is_empty(&c->node_affinity))
        return 0;
    int n = xc_get_max_nodes(x->xch);
    if (n <= 0)
        return xen_error(x, e, "ask how many NUMA nodes the host has");
    if (!names_any(&c->node_affinity, (unsigned)n))
        return 0;
    uint8_t *map = map_new(&c->node_affinity, (unsigned)n);
    if (!map)
        return no_memory(e);
    int rc = xc_domain_node_setaffinity(x->xch, domid, map);
    if (rc)
        rc = xen_error(x, e, "domain %u: set the NUMA nodes of its memory", domid);
    free(map);
    return rc;
}

static int vcpu_refused(struct xen *x, uint32_t domid, unsigned vcpu, const struct cpu_set *hard,
                        struct error *e)
{
    int errnum = errno;
    char *text = hard && errnum == EINVAL ? cpu_set_format(hard) : NULL;
    int rc =
        text ? error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image's vCPU %u may run only on processors %.100s, and its cpupool "
                         "on this host has none of them",
                         vcpu, text)
             : 0;
    free(text);
    errno = errnum;
    return rc ? rc : xen_error(x, e, "domain %u: set the affinity of vCPU %u", domid, vcpu);
}

/* hard or soft NULL: none is given. */
static int set_vcpu(struct xen *x, uint32_t domid, unsigned vcpu, const struct cpu_set *hard,
                    const struct cpu_set *soft, unsigned cpus, struct error *e)
{
    uint8_t *hard_map = hard ? map_new(hard, cpus) : NULL;
    uint8_t *soft_map = soft ? map_new(soft, cpus) : NULL;
    uint32_t flags = (hard ? XEN_VCPUAFFINITY_HARD : 0) | (soft ? XEN_VCPUAFFINITY_SOFT : 0);
    int rc = 0;
    if ((hard && !hard_map) || (soft && !soft_map))
        rc = no_memory(e);
    else if (xc_vcpu_setaffinity(x->xch, domid, (int)vcpu, hard_map, soft_map, flags))
        rc = vcpu_refused(x, domid, vcpu, hard, e);
    free(hard_map);
    free(soft_map);
    return rc;
}

static const struct cpu_set *set_of(const struct cpu_sets *s, unsigned vcpu)
{
    return vcpu < s->n ? &s->sets[vcpu] : NULL;
}

int placement_set(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e)
{
    const struct cpu_sets *hard = &c->hard_affinity, *soft = &c->soft_affinity;
    unsigned n = hard->n > soft->n ? hard->n : soft->n;
    xen_log_clear(x);
    int rc = set_nodes(x, c, domid, e), cpus = rc || !n ? 0 : xc_get_max_cpus(x->xch);
    if (rc || !n)
        return rc;
    if (cpus <= 0)
        return xen_error(x, e, "ask how many processors the host has");
    for (unsigned v = 0; v < n && !rc; v++)
        rc = set_vcpu(x, domid, v, set_of(hard, v), set_of(soft, v), (unsigned)cpus, e);
    return rc;
}

/* ---- weight and cap ---- */

static int share_failed(struct xen *x, uint32_t domid, struct error *e)
{
    return xen_error(x, e, "domain %u: set its scheduler's weight and cap", domid);
}

static int share_credit(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e)
{
    struct xen_domctl_sched_credit share;
    if (xc_sched_credit_domain_get(x->xch, domid, &share))
        return share_failed(x, domid, e);
    if (c->weight)
        share.weight = (uint16_t)c->weight;
    share.cap = (uint16_t)c->cap;
    return xc_sched_credit_domain_set(x->xch, domid, &share) ? share_failed(x, domid, e) : 0;
}

static int share_credit2(struct xen *x, const struct domconf *c, uint32_t domid, struct error *e)
{
    struct xen_domctl_sched_credit2 share;
    if (xc_sched_credit2_domain_get(x->xch, domid, &share))
        return share_failed(x, domid, e);
    if (c->weight)
        share.weight = (uint16_t)c->weight;
    share.cap = (uint16_t)c->cap;
    return xc_sched_credit2_domain_set(x->xch, domid, &share) ? share_failed(x, domid, e) : 0;
}

int placement_share(struct xen *x, const struct domconf *c, uint32_t domid, uint32_t pool,
                    struct error *e)
{
    if (!c->weight && !c->cap) /* what the domain has anyway */
        return 0;
    xen_log_clear(x);
    xc_cpupoolinfo_t *info = xc_cpupool_getinfo(x->xch, pool);
    if (!info)
        return xen_error(x, e, "ask for the scheduler of cpupool %u", pool);
    uint32_t scheduler = info->sched_id;
    xc_cpupool_infofree(x->xch, info);
    if (scheduler == XEN_SCHEDULER_CREDIT)
        return share_credit(x, c, domid, e);
    return scheduler == XEN_SCHEDULER_CREDIT2 ? share_credit2(x, c, domid, e) : 0;
}
