/* The hypervisor's list of domains, for tests: see domains.h. */
#include "tests/fake_xen/domains.h"

#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xen/grant_table.h>
#include <xen/hvm/params.h>
#include <xen/version.h>
#include <xenguest.h>

#define MEMORY_PFNS 64u
#define FIRST_PORT 3u

struct fake_hypervisor fake_hypervisor;
static struct fake_domain *domains; /* by domid */

/* ---- the list ---- */

struct fake_domain *fake_domain_find(uint32_t domid)
{
    struct fake_domain *d = domains;
    while (d && d->domid != domid)
        d = d->next;
    return d;
}

static struct fake_domain *domain_new(uint32_t domid, const struct uuid *uuid, bool hvm)
{
    struct fake_domain *d = fake_checked(calloc(1, sizeof *d)), **at = &domains;
    d->domid = domid;
    d->uuid = *uuid;
    d->weight = 256;
    d->nodes = (1u << FAKE_CPUS) - 1;
    memset(d->hard, (1 << FAKE_CPUS) - 1, sizeof d->hard);
    memset(d->soft, (1 << FAKE_CPUS) - 1, sizeof d->soft);
    fake_xen_init_mappable(&d->memory, MEMORY_PFNS);
    d->memory.hvm = hvm;
    d->memory.free_pages = &fake_hypervisor.free_pages;
    while (*at && (*at)->domid < domid)
        at = &(*at)->next;
    d->next = *at;
    *at = d;
    return d;
}

static void domain_free(struct fake_domain *d)
{
    struct fake_domain **at = &domains;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    fake_hypervisor.free_pages += d->memory.pages;
    if (fake_xen == &d->memory)
        fake_xen = NULL;
    fake_xen_dispose(&d->memory);
    free(d);
}

/* A dying one goes once nobody maps any of it. */
static void domain_try_end(uint64_t domid)
{
    struct fake_domain *d = fake_domain_find((uint32_t)domid);
    if (!d || !d->dying)
        return;
    if (d->held || fake_xen_held.mappings || fake_xen_mapped(&d->memory)) {
        fake_clock_in(1000, domain_try_end, domid);
        return;
    }
    domain_free(d);
    fake_store_domain_exception((uint32_t)domid, true);
}

/* Alive; else NULL and ESRCH. */
static struct fake_domain *domain_alive(uint32_t domid)
{
    struct fake_domain *d = fake_domain_find(domid);
    if (d && !d->dying)
        return d;
    errno = ESRCH;
    return NULL;
}

static struct fake_xen *memory_of(uint32_t domid)
{
    struct fake_domain *d = domain_alive(domid);
    return d ? &d->memory : NULL;
}

static void describe(const struct fake_domain *d, xc_domaininfo_t *info)
{
    *info = (xc_domaininfo_t){.domain = (domid_t)d->domid,
                              .tot_pages = d->memory.pages,
                              .max_vcpu_id = d->vcpus ? d->vcpus - 1 : 0,
                              .shared_info_frame = FAKE_SHARED_INFO_MFN};
    memcpy(info->handle, &d->uuid, sizeof info->handle);
    info->flags = (d->memory.hvm ? XEN_DOMINF_hvm_guest : 0) | (d->dying ? XEN_DOMINF_dying : 0) |
                  (d->pauses ? XEN_DOMINF_paused : XEN_DOMINF_running);
    if (d->shutdown)
        info->flags |= XEN_DOMINF_shutdown | d->shutdown_reason << XEN_DOMINF_shutdownshift;
}

/* dom0 is there as well. */
static int list(uint32_t first, unsigned max, xc_domaininfo_t *out)
{
    static const struct fake_domain dom0 = {.vcpus = 1};
    unsigned n = 0;
    if (first == 0 && n < max)
        describe(&dom0, &out[n++]);
    for (struct fake_domain *d = domains; d && n < max; d = d->next)
        if (d->domid >= first)
            describe(d, &out[n++]);
    return (int)n;
}

void fake_domains_init(void)
{
    FAKE_CALL();
    fake_hypervisor = (struct fake_hypervisor){
        .version = XEN_BUILT_FOR,
        .total_pages = 262144,
        .free_pages = 200000,
        .next_domid = 7,
        .death_ms = 5,
        .vpmu = true,
        .pools = {{true, XEN_SCHEDULER_CREDIT2, 0xf}, {true, XEN_SCHEDULER_CREDIT, 0xe}}};
    memset(&fake_xen_held, 0, sizeof fake_xen_held);
    fake_xen_of = memory_of;
    fake_xen_list = list;
}

void fake_domains_dispose(void)
{
    FAKE_CALL();
    while (domains)
        domain_free(domains);
    fake_xen_of = NULL;
    fake_xen_list = NULL;
}

/* ---- libxenctrl ---- */

/* The domain that a call is about, or NULL when the call fails. */
static struct fake_domain *called(const char *call, uint32_t domid)
{
    return fault_hits(FAULT_HYPERVISOR, call) ? NULL : domain_alive(domid);
}

/* As Xen does: those in use are passed over, and behind the last comes 1. */
static uint32_t domid_free(void)
{
    uint32_t *next = &fake_hypervisor.next_domid, domid;
    do {
        domid = *next < DOMID_FIRST_RESERVED ? *next : 1;
        *next = domid + 1;
    } while (fake_domain_find(domid));
    return domid;
}

static bool lingers(void)
{
    bool yes = fake_hypervisor.lingers > 0;
    fake_hypervisor.lingers -= yes;
    return yes;
}

/* What xl list would call it now. */
static void look_for_name(uint32_t domid)
{
    char path[64];
    snprintf(path, sizeof path, "/local/domain/%u/name", domid);
    fake_hypervisor.nameless += !fake_store_get(path);
}

int xc_domain_create(xc_interface *xch, uint32_t *pdomid, struct xen_domctl_createdomain *config)
{
    FAKE_CALL();
    (void)xch;
    if (FAULT(FAULT_HYPERVISOR))
        return -1;
    errno = EINVAL;
    if (!config->max_vcpus ||
        (fake_hypervisor.old_grants && (config->grant_opts & XEN_DOMCTL_GRANT_version_mask) > 1))
        return -1;
    errno = ESRCH;
    if (config->cpupool_id >= FAKE_POOLS || !fake_hypervisor.pools[config->cpupool_id].there)
        return -1;
    errno = ENODEV;
    if (!fake_hypervisor.pools[config->cpupool_id].cpus)
        return -1;
    errno = EEXIST;
    if (*pdomid && (fake_domain_find(*pdomid) || lingers()))
        return -1;
    if (!*pdomid)
        *pdomid = domid_free();
    look_for_name(*pdomid);
    struct uuid uuid;
    memcpy(&uuid, config->handle, sizeof uuid);
    struct fake_domain *d = domain_new(*pdomid, &uuid, config->flags & XEN_DOMCTL_CDF_hvm);
    d->created_as = *config;
    d->pauses = 1;
    d->memory.max_pages = 1; /* until there is a limit */
    return 0;
}

int xc_domain_max_vcpus(xc_interface *xch, uint32_t domid, unsigned int max)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    errno = EINVAL;
    if (max > d->created_as.max_vcpus || d->vcpus)
        return -1;
    d->vcpus = max;
    return 0;
}

int xc_domain_setmaxmem(xc_interface *xch, uint32_t domid, uint64_t max_memkb)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    d->max_mem_kib = max_memkb;
    d->memory.max_pages = max_memkb / (PAGE_BYTES / 1024);
    return 0;
}

int xc_domain_set_memmap_limit(xc_interface *xch, uint32_t domid, unsigned long map_limitkb)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    d->map_limit_kib = map_limitkb;
    return 0;
}

int xc_set_paging_mempool_size(xc_interface *xch, uint32_t domid, uint64_t size)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    errno = EINVAL;
    if (!d->memory.hvm || size % PAGE_BYTES)
        return -1;
    d->paging_pool_bytes = size;
    return 0;
}

int xc_set_domain_cpu_policy(xc_interface *xch, uint32_t domid, uint32_t nr_leaves,
                             xen_cpuid_leaf_t *leaves, uint32_t nr_msrs, xen_msr_entry_t *msrs,
                             uint32_t *err_leaf_p, uint32_t *err_subleaf_p, uint32_t *err_msr_p)
{
    FAKE_CALL();
    (void)xch, (void)nr_leaves, (void)leaves, (void)nr_msrs, (void)msrs;
    (void)err_leaf_p, (void)err_subleaf_p, (void)err_msr_p;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    d->policies++;
    return 0;
}

xc_evtchn_port_or_error_t xc_evtchn_alloc_unbound(xc_interface *xch, uint32_t dom,
                                                  uint32_t remote_dom)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, dom);
    errno = d ? ENOSPC : errno;
    if (!d || remote_dom || d->n_ports == FAKE_PORTS_MAX)
        return -1;
    d->ports[d->n_ports] = FIRST_PORT + d->n_ports;
    return (int)d->ports[d->n_ports++];
}

int xc_physinfo(xc_interface *xch, xc_physinfo_t *info)
{
    FAKE_CALL();
    (void)xch;
    if (FAULT(FAULT_HYPERVISOR))
        return -1;
    *info = (xc_physinfo_t){
        .total_pages = fake_hypervisor.total_pages,
        .free_pages = fake_hypervisor.free_pages,
        .scrub_pages = fake_hypervisor.scrub_pages,
        .capabilities = (fake_hypervisor.old_grants ? 0u : XEN_SYSCTL_PHYSCAP_gnttab_v2) |
                        (fake_hypervisor.vpmu ? XEN_SYSCTL_PHYSCAP_vpmu : 0u),
    };
    return 0;
}

int xc_version(xc_interface *xch, int cmd, void *arg)
{
    FAKE_CALL();
    (void)xch;
    (void)arg;
    if (FAULT(FAULT_HYPERVISOR))
        return -1;
    if (cmd != XENVER_version)
        abort();
    return fake_hypervisor.version;
}

int xc_domain_pause(xc_interface *xch, uint32_t domid)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    d->pauses++;
    return 0;
}

int xc_domain_unpause(xc_interface *xch, uint32_t domid)
{
    FAKE_CALL();
    (void)xch;
    struct fake_domain *d = called(__func__, domid);
    if (!d)
        return -1;
    errno = EINVAL;
    if (!d->pauses)
        return -1;
    d->pauses--;
    return 0;
}

/* A second time is fine, for one that is still dying. */
int xc_domain_destroy(xc_interface *xch, uint32_t domid)
{
    FAKE_CALL();
    (void)xch;
    if (FAULT(FAULT_HYPERVISOR))
        return -1;
    struct fake_domain *d = fake_domain_find(domid);
    errno = ESRCH;
    if (!d)
        return -1;
    if (!d->dying)
        fake_clock_in(fake_hypervisor.death_ms * 1000ull, domain_try_end, domid);
    d->dying = true;
    return 0;
}

/* ---- what the test does ---- */

struct fake_domain *fake_domain_add(uint32_t domid, const struct uuid *uuid)
{
    FAKE_CALL();
    struct uuid any;
    memset(&any, 0x77, sizeof any);
    struct fake_domain *d = domain_new(domid, uuid ? uuid : &any, false);
    d->vcpus = 1;
    return d;
}

void fake_domain_shutdown(uint32_t domid, unsigned reason)
{
    FAKE_CALL();
    struct fake_domain *d = fake_domain_find(domid);
    d->shutdown = true;
    d->shutdown_reason = reason;
    fake_store_domain_exception(domid, false);
}

void fake_domain_end(uint32_t domid)
{
    FAKE_CALL();
    struct fake_domain *d = fake_domain_find(domid);
    if (!d)
        return;
    domain_free(d);
    fake_store_domain_exception(domid, true);
}

bool fake_domain_introduce(uint32_t domid, uint64_t gfn, uint32_t port)
{
    const struct fake_domain *d = domain_alive(domid);
    errno = EINVAL;
    if (!d)
        return false;
    const grant_entry_v1_t *g =
        &((const grant_entry_v1_t *)d->memory.grants)[GNTTAB_RESERVED_XENSTORE];
    bool bound = false;
    for (unsigned i = 0; i < d->n_ports; i++)
        bound |= d->ports[i] == port;
    return bound && g->flags & GTF_permit_access && !g->domid && g->frame == gfn;
}

void fake_domains_print(FILE *out)
{
    FAKE_CALL();
    for (const struct fake_domain *d = domains; d; d = d->next)
        fprintf(out, "domain %u%s, %u pages mapped\n", d->domid, d->dying ? ", dying" : "",
                (unsigned)fake_xen_mapped(&d->memory));
    if (fake_xen_held.handles)
        fprintf(out, "%d handles of the Xen libraries\n", fake_xen_held.handles);
    if (fake_xen_held.mappings)
        fprintf(out, "%d mappings of grant tables\n", fake_xen_held.mappings);
    if (fake_xen_held.buffers)
        fprintf(out, "%d hypercall buffers\n", fake_xen_held.buffers);
}
