/*
 * confdump: what the hypervisor says that a domain was given, a line each, so that the domain of
 * one toolstack can be compared with that of another. Like domdump it is a witness: it uses nothing
 * of the project.
 *
 *   confdump DOMID
 *
 * Lines are "KEY = VALUE":
 *
 *   domain.*     of XEN_DOMCTL_getdomaininfo, without what runs on: time, frames, states of vCPUs
 *   vcpu.N.*     affinity, one bit for a processor
 *   node         NUMA nodes
 *   sched.*      of the cpupool's scheduler: credit and credit2
 *   pool         of memory for paging, in KiB
 *   tsc.*        mode, frequency, incarnation
 *   clock        how far the wall clock in shared_info is from that of dom0, in seconds; "none"
 *                for a PVH guest that has not mapped it (yet)
 *   grant.*      the limit of its grant table, and the version that is in use
 *   hvm.N        HVM parameters (PVH)
 *   cpuid.*, msr.*   the CPU policy
 *
 * The exit status is 0, or 1 if something could not be asked for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenctrl.h>
#include <xenforeignmemory.h>
#include <xenguest.h>

#include <xen/hvm/params.h>

#define PAGE_BYTES 4096u

static xc_interface *xch;
static uint32_t domid;
static xc_domaininfo_t info;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "confdump: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p)
        die("allocate memory");
    return p;
}

static bool is_hvm(void)
{
    return info.flags & XEN_DOMINF_hvm_guest;
}

static void find_domain(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    domid = (uint32_t)number;
    xch = xc_interface_open(NULL, NULL, 0);
    if (!xch)
        die("open the interface to Xen");
    if (*end || xc_domain_getinfolist(xch, domid, 1, &info) != 1 || info.domain != domid) {
        errno = ESRCH;
        die(text);
    }
}

static void dump_info(void)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } flags[] = {{"hvm", XEN_DOMINF_hvm_guest},     {"hap", XEN_DOMINF_hap},
                 {"dying", XEN_DOMINF_dying},       {"shutdown", XEN_DOMINF_shutdown},
                 {"debugged", XEN_DOMINF_debugged}, {"xs_domain", XEN_DOMINF_xs_domain}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        printf("domain.%s = %d\n", flags[i].name, !!(info.flags & flags[i].flag));
    printf("domain.tot_pages = %" PRIu64 "\n", (uint64_t)info.tot_pages);
    printf("domain.max_pages = %" PRIu64 "\n", (uint64_t)info.max_pages);
    printf("domain.outstanding_pages = %" PRIu64 "\n", (uint64_t)info.outstanding_pages);
    printf("domain.shr_pages = %" PRIu64 "\n", (uint64_t)info.shr_pages);
    printf("domain.paged_pages = %" PRIu64 "\n", (uint64_t)info.paged_pages);
    printf("domain.nr_online_vcpus = %u\n", info.nr_online_vcpus);
    printf("domain.max_vcpu_id = %u\n", info.max_vcpu_id);
    printf("domain.ssidref = %u\n", info.ssidref);
    printf("domain.cpupool = %u\n", info.cpupool);
    printf("domain.gpaddr_bits = %u\n", info.gpaddr_bits);
    printf("domain.emulation_flags = %#x\n", info.arch_config.emulation_flags);
    printf("domain.misc_flags = %#x\n", info.arch_config.misc_flags);
}

static void print_map(const uint8_t *map, int n)
{
    for (int i = n - 1; i >= 0; i--)
        putchar(map[i / 8] >> i % 8 & 1 ? '1' : '0');
    putchar('\n');
}

static void dump_affinity(void)
{
    int cpus = xc_get_max_cpus(xch), nodes = xc_get_max_nodes(xch);
    if (cpus <= 0 || nodes <= 0)
        die("ask for processors and nodes");
    uint8_t *hard = allocate((size_t)cpus / 8 + 1, 1), *soft = allocate((size_t)cpus / 8 + 1, 1);
    for (unsigned v = 0; v <= info.max_vcpu_id; v++) {
        if (xc_vcpu_getaffinity(xch, domid, (int)v, hard, soft,
                                XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT))
            die("ask for affinity");
        printf("vcpu.%u.hard = ", v);
        print_map(hard, cpus);
        printf("vcpu.%u.soft = ", v);
        print_map(soft, cpus);
    }
    uint8_t *map = allocate((size_t)nodes / 8 + 1, 1);
    if (xc_domain_node_getaffinity(xch, domid, map))
        die("ask for NUMA nodes");
    printf("node = ");
    print_map(map, nodes);
    free(map);
    free(hard);
    free(soft);
}

static void dump_scheduler(void)
{
    struct xen_domctl_sched_credit credit;
    struct xen_domctl_sched_credit2 credit2;
    xc_cpupoolinfo_t *pool = xc_cpupool_getinfo(xch, info.cpupool);
    if (!pool)
        die("ask for the cpupool");
    printf("sched.id = %u\n", pool->sched_id);
    if (pool->sched_id == XEN_SCHEDULER_CREDIT) {
        if (xc_sched_credit_domain_get(xch, domid, &credit))
            die("ask the scheduler");
        printf("sched.weight = %u\nsched.cap = %u\n", credit.weight, credit.cap);
    }
    if (pool->sched_id == XEN_SCHEDULER_CREDIT2) {
        if (xc_sched_credit2_domain_get(xch, domid, &credit2))
            die("ask the scheduler");
        printf("sched.weight = %u\nsched.cap = %u\n", credit2.weight, credit2.cap);
    }
    xc_cpupool_infofree(xch, pool);
}

static void dump_memory(void)
{
    uint64_t bytes = 0;
    if (is_hvm() && xc_get_paging_mempool_size(xch, domid, &bytes))
        die("ask for the paging pool");
    printf("pool = %" PRIu64 "\n", bytes / 1024);
    struct gnttab_query_size size = {.dom = (domid_t)domid};
    if (xc_gnttab_query_size(xch, &size) || size.status)
        die("ask for the grant table's size");
    printf("grant.max_frames = %u\n", size.max_nr_frames);
    printf("grant.version = %d\n", xc_gnttab_get_version(xch, domid));
}

/* ---- time ---- */

/* The wall clock at the hypervisor's start, as the domain sees it. False: it has none. */
static bool wall_clock(uint32_t of, uint64_t frame, int64_t *seconds)
{
    xenforeignmemory_handle *memory = xenforeignmemory_open(NULL, 0);
    if (!memory)
        die("open foreign memory");
    xen_pfn_t pfn = frame;
    int failed = 0;
    const shared_info_t *s = xenforeignmemory_map(memory, of, PROT_READ, 1, &pfn, &failed);
    bool mapped = s && !failed;
    if (mapped)
        *seconds = (int64_t)((uint64_t)s->wc_sec_hi << 32 | s->wc_sec);
    if (s)
        xenforeignmemory_unmap(memory, (void *)(uintptr_t)s, 1);
    xenforeignmemory_close(memory);
    return mapped;
}

static void dump_time(void)
{
    uint32_t mode, khz, incarnation;
    uint64_t age_ns;
    if (xc_domain_get_tsc_info(xch, domid, &mode, &age_ns, &khz, &incarnation))
        die("ask for the TSC's settings");
    printf("tsc.mode = %u\ntsc.khz = %u\ntsc.incarnation = %u\n", mode, khz, incarnation);
    xc_domaininfo_t dom0;
    int64_t its, ours;
    if (xc_domain_getinfolist(xch, 0, 1, &dom0) != 1)
        die("ask for dom0");
    if (wall_clock(domid, info.shared_info_frame, &its) &&
        wall_clock(0, dom0.shared_info_frame, &ours))
        printf("clock = %" PRId64 "\n", its - ours);
    else
        printf("clock = none\n");
}

/* ---- PVH, and the processor ---- */

static void dump_hvm(void)
{
    for (uint32_t i = 0; i < HVM_NR_PARAMS; i++) {
        uint64_t value;
        if (!xc_hvm_param_get(xch, domid, i, &value) && value)
            printf("hvm.%u = %#" PRIx64 "\n", i, value);
    }
}

static void dump_policy(void)
{
    uint32_t n_leaves, n_msrs;
    xc_cpu_policy_t *policy = xc_cpu_policy_init();
    if (!policy || xc_cpu_policy_get_size(xch, &n_leaves, &n_msrs) ||
        xc_cpu_policy_get_domain(xch, domid, policy))
        die("ask for the CPU policy");
    xen_cpuid_leaf_t *leaves = allocate(n_leaves, sizeof *leaves);
    xen_msr_entry_t *msrs = allocate(n_msrs, sizeof *msrs);
    if (xc_cpu_policy_serialise(xch, policy, leaves, &n_leaves, msrs, &n_msrs))
        die("read the CPU policy");
    for (uint32_t i = 0; i < n_leaves; i++)
        printf("cpuid.%08x.%08x = %08x %08x %08x %08x\n", leaves[i].leaf, leaves[i].subleaf,
               leaves[i].a, leaves[i].b, leaves[i].c, leaves[i].d);
    for (uint32_t i = 0; i < n_msrs; i++)
        printf("msr.%08x = %016" PRIx64 "\n", msrs[i].idx, (uint64_t)msrs[i].val);
    free(leaves);
    free(msrs);
    xc_cpu_policy_destroy(policy);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: confdump DOMID\n");
        return 64;
    }
    find_domain(argv[1]);
    dump_info();
    dump_affinity();
    dump_scheduler();
    dump_memory();
    dump_time();
    if (is_hvm())
        dump_hvm();
    dump_policy();
    xc_interface_close(xch);
    if (ferror(stdout) || fflush(stdout))
        die("write");
    return 0;
}
