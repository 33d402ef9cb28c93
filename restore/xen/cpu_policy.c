/* CPU policy: see cpu_policy.h. */
#include "restore/xen/cpu_policy.h"

#include "restore/formats/records.h"

#include <xenguest.h>

int cpu_policy_default(struct xen *x, uint32_t domid, const struct domconf *c)
{
    bool itsc = c->nomigrate || c->tsc_mode == 1; /* always emulated: invariant */
    return xc_cpuid_apply_policy(x->xch, domid, true, NULL, 0, true, itsc, c->nested_hvm, NULL,
                                 NULL);
}

int cpu_policy_apply(struct xen *x, uint32_t domid, const struct domconf *c, const struct image *im,
                     struct error *e)
{
    struct image_record cpuid, msrs;
    uint32_t leaf = UINT32_MAX, subleaf = UINT32_MAX, msr = UINT32_MAX;
    image_find_record(im, RECORD_X86_CPUID_POLICY, 0, &cpuid);
    image_find_record(im, RECORD_X86_MSR_POLICY, 0, &msrs);
    xen_log_clear(x);
    if ((cpuid.length || msrs.length) &&
        xc_set_domain_cpu_policy(x->xch, domid, (uint32_t)(cpuid.length / sizeof(xen_cpuid_leaf_t)),
                                 (xen_cpuid_leaf_t *)(uintptr_t)cpuid.body,
                                 (uint32_t)(msrs.length / sizeof(xen_msr_entry_t)),
                                 (xen_msr_entry_t *)(uintptr_t)msrs.body, &leaf, &subleaf, &msr))
        return xen_error(x, e, "domain %u: set its CPU policy (leaf %#x, subleaf %#x, msr %#x)",
                         domid, leaf, subleaf, msr);
    if ((!cpuid.length || !msrs.length) && cpu_policy_default(x, domid, c))
        return xen_error(x, e, "domain %u: set the default CPU policy", domid);
    return 0;
}
