/*
 * domdump: what a domain is made of, in a form in which two domains can be compared. It is there to
 * check the restore code, so it uses none of it: all it knows, it asks the hypervisor.
 *
 *   domdump DOMID [FILE]                 the dump, to standard output or a file
 *   domdump --poke DOMID PFN             flips one bit of a page
 *   domdump --poke-entry DOMID PFN       PV: flips an ignored bit of the first present entry of the
 *                                        first L1 table from PFN on that has one; prints its pfn
 *   domdump --poke-register DOMID VCPU   flips a bit of r15
 *
 * The pokes are there so that a comparison can be seen to fail. Exit status of a dump: 0; 2 if a
 * line has a complaint (see below); 1 if it could not be made.
 *
 * The domain should be paused. Each line is
 *
 *   KEY TYPE VALUE CLASS [!COMPLAINT]
 *
 * where KEY is a pfn in hexadecimal or a name, TYPE is notab, l1 to l4 (p behind it: pinned) or -,
 * and VALUE is a 64-bit hash of the content in canonical form: whatever names a machine frame names
 * the pfn of that frame instead. Two restores of one image then agree in all classes but those that
 * say otherwise:
 *
 * - ram: a page of data, as it is
 * - table: a page table (PV), entries with pfns; the sixteen entries of an L4 that are Xen's own
 *   are left out
 * - p2m: a page of the guest's list of its frames (PV), with pfns, so it can be compared too; found
 *   by walking the guest's page tables at the address that it gave Xen
 * - start_info: the page that a restore tells the guest its frames and event channels in (PV), with
 *   pfns and without the port numbers, which the toolstack chooses
 * - store: the xenstore ring; may differ: what was under way is answered in its own time
 * - console: the console ring; may differ: xenconsoled empties it when it comes around to it
 * - special: the other pages that HVM parameters name (PVH)
 * - shared_info: the page shared with Xen (PV), without clocks, which run, and pending events,
 *   which come when back ends connect
 * - grant: an entry of the grant table that is in use, without the bits that say who has it mapped
 * - vcpu: a part of a vCPU's context (PV)
 * - hvm: a record of the HVM context, or a parameter (PVH)
 * - setting: what Xen was told when the domain was made: CPU policy, TSC, limits
 * - domain: counts
 *
 * A complaint is something that a sound domain does not have: a page-table entry that names a frame
 * outside the domain, a p2m entry that names another page's frame, frames that are missing from the
 * count.
 */
#include "tests/xen/domdump_hvm.h"
#include "tests/xen/domdump_parts.h"
#include "tests/xen/domdump_pv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xen/grant_table.h>
#include <xenguest.h>

static void open_domain(struct dump *d, const char *text)
{
    char *end;
    unsigned long domid = strtoul(text, &end, 10);
    if (end == text || *end || domid >= DOMID_FIRST_RESERVED) {
        errno = EINVAL;
        die("domain id '%s'", text);
    }
    d->domid = (uint32_t)domid;
    d->xch = xc_interface_open(NULL, NULL, 0);
    d->memory = xenforeignmemory_open(NULL, 0);
    if (!d->xch || !d->memory)
        die("open the interfaces to Xen");
    if (xc_domain_getinfolist(d->xch, d->domid, 1, &d->info) != 1 || d->info.domain != d->domid) {
        errno = ESRCH;
        die("domain %u", d->domid);
    }
    d->hvm = d->info.flags & XEN_DOMINF_hvm_guest;
}

/* ---- what a domain was made with ---- */

static void setting(struct dump *d, const char *key, const void *bytes, size_t size)
{
    print_line(d, key, "-", hash_bytes(bytes, size), "setting", NULL);
}

/* nsec is the domain's age. */
static void dump_tsc(struct dump *d)
{
    struct {
        uint32_t mode, khz, incarnation;
    } tsc;
    uint64_t nsec;
    if (xc_domain_get_tsc_info(d->xch, d->domid, &tsc.mode, &nsec, &tsc.khz, &tsc.incarnation))
        die("ask for the TSC's settings");
    setting(d, "tsc.mode", &tsc.mode, sizeof tsc.mode);
    setting(d, "tsc.khz", &tsc.khz, sizeof tsc.khz);
    setting(d, "tsc.incarnation", &tsc.incarnation, sizeof tsc.incarnation);
}

static void dump_grant_size(struct dump *d)
{
    struct gnttab_query_size size = {.dom = (domid_t)d->domid};
    if (xc_gnttab_query_size(d->xch, &size) || size.status != GNTST_okay)
        die("ask for the grant table's size");
    print_line(d, "grant.frames", "-", size.nr_frames, "setting", NULL);
    print_line(d, "grant.max_frames", "-", size.max_nr_frames, "setting", NULL);
}

static void dump_policy(struct dump *d)
{
    uint32_t n_leaves, n_msrs;
    xc_cpu_policy_t *policy = xc_cpu_policy_init();
    if (!policy || xc_cpu_policy_get_size(d->xch, &n_leaves, &n_msrs) ||
        xc_cpu_policy_get_domain(d->xch, d->domid, policy))
        die("ask for the CPU policy");
    xen_cpuid_leaf_t *leaves = allocate(n_leaves, sizeof *leaves);
    xen_msr_entry_t *msrs = allocate(n_msrs, sizeof *msrs);
    if (xc_cpu_policy_serialise(d->xch, policy, leaves, &n_leaves, msrs, &n_msrs))
        die("read the CPU policy");
    setting(d, "policy.cpuid", leaves, n_leaves * sizeof *leaves);
    setting(d, "policy.msrs", msrs, n_msrs * sizeof *msrs);
    free(leaves);
    free(msrs);
    xc_cpu_policy_destroy(policy);
}

static void dump(struct dump *d)
{
    print_line(d, d->hvm ? "pvh" : "pv", "-", d->info.max_vcpu_id + 1, "domain",
               d->info.flags & XEN_DOMINF_paused ? NULL : "the domain is not paused");
    dump_tsc(d);
    dump_grant_size(d);
    dump_policy(d);
    if (d->hvm)
        dump_hvm(d);
    else
        dump_pv(d);
    if (ferror(d->out) || fflush(d->out))
        die("write the dump");
}

static void poke(struct dump *d, const char *option, uint64_t what)
{
    if (!strcmp(option, "--poke"))
        poke_frame(d, d->hvm ? what : pv_frame_of(d, what));
    else if (!strcmp(option, "--poke-entry") && !d->hvm)
        pv_poke_entry(d, what);
    else if (!strcmp(option, "--poke-register") && d->hvm)
        hvm_poke_register(d, (uint32_t)what);
    else if (!strcmp(option, "--poke-register"))
        pv_poke_register(d, (uint32_t)what);
    else {
        errno = EINVAL;
        die("%s for this kind of domain", option);
    }
}

int main(int argc, char **argv)
{
    struct dump d = {.out = stdout};
    bool is_poke = argc > 1 && !strncmp(argv[1], "--poke", 6);
    if (is_poke ? argc != 4 : argc != 2 && argc != 3) {
        fprintf(stderr, "usage: domdump DOMID [FILE]\n"
                        "       domdump --poke|--poke-entry DOMID PFN\n"
                        "       domdump --poke-register DOMID VCPU\n");
        return 64;
    }
    open_domain(&d, argv[is_poke ? 2 : 1]);
    if (is_poke) {
        poke(&d, argv[1], strtoull(argv[3], NULL, 16));
        return EXIT_SUCCESS;
    }
    if (argc == 3 && !(d.out = fopen(argv[2], "we")))
        die("open %s", argv[2]);
    dump(&d);
    return d.errors ? 2 : EXIT_SUCCESS;
}
