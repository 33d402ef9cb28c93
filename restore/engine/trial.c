/* An image's vCPUs on trial: see trial.h. */
#include "restore/engine/trial.h"

#include "base/array.h"
#include "base/log.h"
#include "restore/engine/vcpus.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "restore/xen/cpu_policy.h"
#include "restore/xen/domain.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xen/hvm/save.h>
#include <xenguest.h>

/* ---- state components: the bits of XCR0 ---- */

/* Intel SDM volume 1, 13.1; AMD APM volume 2, 11.5. */
static const char *const components[] = {
    [0] = "x87",    [1] = "SSE",      [2] = "AVX",       [3] = "BNDREGS",
    [4] = "BNDCSR", [5] = "opmask",   [6] = "ZMM_Hi256", [7] = "Hi16_ZMM",
    [9] = "PKRU",   [17] = "TILECFG", [18] = "TILEDATA", [62] = "LWP",
};

/* "AVX, PKRU" */
static void components_name(uint64_t mask, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < 64 && used < size; i++) {
        const char *name = i < ARRAY_SIZE(components) ? components[i] : NULL;
        if (!(mask >> i & 1))
            continue;
        int n = name ? snprintf(buf + used, size - used, "%s%s", used ? ", " : "", name)
                     : snprintf(buf + used, size - used, "%sbit %u", used ? ", " : "", i);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* The components that this host's vCPUs can have. */
static int host_components(struct xen *x, uint32_t domid, uint64_t *mask, struct error *e)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_getvcpuextstate, .domain = (domid_t)domid};
    xen_log_clear(x);
    if (xc_domctl(x->xch, &domctl)) /* no buffer and no size: it only tells the mask */
        return xen_error(x, e, "domain %u: ask for the xsave state of vCPU 0", domid);
    *mask = domctl.u.vcpuextstate.xfeature_mask;
    return 0;
}

/* PV, the head of an xsave record behind its header: XCR0, then all bits that were ever set in
 * it (xen/arch/x86/domctl.c, XEN_DOMCTL_getvcpuextstate). */
static uint64_t components_pv(const struct vcpu_records *v)
{
    return v->xsave.length >= 16 ? get_u64(v->xsave.bytes + 8) : 0;
}

/* PVH: of all vCPUs, from the records CPU_XSAVE of the HVM context. */
static uint64_t components_pvh(const struct image_record *context)
{
    const uint8_t *p = context->body, *end = p + context->length;
    const size_t at = offsetof(struct hvm_hw_cpu_xsave, xcr0_accum);
    uint64_t mask = 0;
    struct hvm_save_descriptor d;
    while ((size_t)(end - p) >= sizeof d) {
        memcpy(&d, p, sizeof d);
        p += sizeof d;
        if (d.length > (size_t)(end - p))
            break;
        if (d.typecode == CPU_XSAVE_CODE && d.length >= at + 8)
            mask |= get_u64(p + at);
        p += d.length;
    }
    return mask;
}

static int components_check(uint64_t of_image, uint64_t of_host, struct error *e)
{
    char missing[200];
    if (!(of_image & ~of_host))
        return 0;
    components_name(of_image & ~of_host, missing, sizeof missing);
    return error_set(
        e, ANSWER_IMAGE_REFUSED,
        "this host's processor lacks state that the image's vCPUs have: %s (XCR0 %#" PRIx64
        " there, %#" PRIx64 " here); use the image on such a processor, or save the "
        "guest again with these features taken away by cpuid= in its xl configuration",
        missing, of_image, of_host);
}

/* ---- features: the bits of CPUID ---- */

enum cpuid_register { EAX, EBX, ECX, EDX };

/* The words of a featureset (xen/include/public/arch-x86/cpufeatureset.h), in its order. */
static const struct {
    uint32_t leaf, subleaf;
    enum cpuid_register reg;
} words[] = {
    {0x1, 0, EDX},        {0x1, 0, ECX}, {0x80000001, 0, EDX}, {0x80000001, 0, ECX},
    {0xd, 1, EAX},        {0x7, 0, EBX}, {0x7, 0, ECX},        {0x80000007, 0, EDX},
    {0x80000008, 0, EBX}, {0x7, 0, EDX}, {0x7, 1, EAX},        {0x80000021, 0, EAX},
    {0x7, 1, EBX},        {0x7, 2, EDX}, {0x7, 1, ECX},        {0x7, 1, EDX},
};

/* CPUID 1, ECX: it mirrors CR4 and says nothing of the processor. */
#define OSXSAVE (1u << 27)
/* CPUID 0x80000001, EDX: what AMD repeats there of CPUID 1, EDX, and no featureset has twice
 * (xen/include/xen/lib/x86/cpuid-autogen.h: CPUID_COMMON_1D_FEATURES). */
#define COMMON_1D 0x0183f3ffu

static uint32_t word_of(const xen_cpuid_leaf_t *l, enum cpuid_register reg)
{
    return reg == EAX ? l->a : reg == EBX ? l->b : reg == ECX ? l->c : l->d;
}

/* What the image's policy has in this word. */
static uint32_t image_word(const struct image_record *cpuid, size_t i)
{
    const uint8_t *p = cpuid->body;
    for (uint32_t n = cpuid->length / (uint32_t)sizeof(xen_cpuid_leaf_t); n; n--) {
        xen_cpuid_leaf_t l;
        memcpy(&l, p, sizeof l);
        p += sizeof l;
        bool any = l.subleaf == XEN_CPUID_NO_SUBLEAF && !words[i].subleaf;
        if (l.leaf == words[i].leaf && (any || l.subleaf == words[i].subleaf))
            return word_of(&l, words[i].reg);
    }
    return 0;
}

/* Bits of a word that say nothing of their own. */
static uint32_t word_echoes(size_t i)
{
    if (words[i].leaf == 0x1 && words[i].reg == ECX)
        return OSXSAVE;
    return words[i].leaf == 0x80000001 && words[i].reg == EDX ? COMMON_1D : 0;
}

/* The hypervisor takes such a policy, and hides what is missing from the guest, which goes on using
 * it (recalculate_cpuid_policy). xl restore says nothing of it either. */
static void features_compare(struct xen *x, const struct domconf *c, const struct image *im)
{
    static const char *const names[] = {"eax", "ebx", "ecx", "edx"};
    uint32_t host[64], n = ARRAY_SIZE(host);
    struct image_record cpuid;
    if (!image_find_record(im, RECORD_X86_CPUID_POLICY, 0, &cpuid))
        return;
    if (xc_get_cpu_featureset(x->xch,
                              c->guest == IMAGE_GUEST_PV ? XEN_SYSCTL_cpu_featureset_pv_max
                                                         : XEN_SYSCTL_cpu_featureset_hvm_max,
                              &n, host)) {
        log_debug("the host's CPU features cannot be asked for: %s", strerror(errno));
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(words) && i < n; i++) {
        uint32_t missing = image_word(&cpuid, i) & ~host[i] & ~word_echoes(i);
        if (missing)
            log_warning("the image's guest was told of CPU features that this host lacks: CPUID "
                        "leaf %#x, subleaf %u, %s, bits %#x",
                        words[i].leaf, words[i].subleaf, names[words[i].reg], missing);
    }
}

/* ---- the trial ---- */

static int try_pv(struct xen *x, uint32_t domid, const struct image *im, uint64_t host,
                  struct error *e)
{
    struct vcpu_records v[STREAM_VCPUS_MAX];
    int rc = 0;
    vcpu_records_find(im, v);
    for (uint32_t id = 0; id < STREAM_VCPUS_MAX && !rc; id++) {
        rc = components_check(components_pv(&v[id]), host, e);
        if (!rc)
            rc = vcpu_set_state(x, domid, id, &v[id], e);
    }
    return rc;
}

static int try_pvh(struct xen *x, uint32_t domid, const struct image *im, uint64_t host,
                   struct error *e)
{
    struct image_record r;
    if (!image_find_record(im, RECORD_HVM_CONTEXT, 0, &r))
        return error_set(e, ANSWER_IMAGE_REFUSED, "the image has no HVM context");
    int rc = components_check(components_pvh(&r), host, e);
    xen_log_clear(x);
    if (!rc && xc_domain_hvm_setcontext(x->xch, domid, (uint8_t *)(uintptr_t)r.body, r.length))
        rc = xen_error(x, e, "domain %u: set its HVM context", domid);
    return rc;
}

static int try_on(struct xen *x, const struct domconf *c, uint32_t domid, const struct image *im,
                  struct error *e)
{
    uint64_t host = 0;
    int rc = cpu_policy_apply(x, domid, c, im, e);
    if (!rc)
        rc = host_components(x, domid, &host, e);
    if (rc)
        return rc;
    return c->guest == IMAGE_GUEST_PV ? try_pv(x, domid, im, host, e)
                                      : try_pvh(x, domid, im, host, e);
}

/* What Xen says to a value that it does not like, not to the time or the place. */
static bool is_refusal(int rc)
{
    return rc == -EINVAL || rc == -EOPNOTSUPP || rc == -E2BIG || rc == -ENXIO || rc == -ENODEV ||
           rc == -EPERM || rc == -ERANGE;
}

int trial_run(struct xen *x, const struct domconf *c, const struct uuid *uuid, uint32_t domid,
              const struct image *im, struct error *e)
{
    struct error why = {0}, of_end;
    int rc = domain_create_bare(x, c, uuid, &domid, &why);
    if (!rc)
        rc = try_on(x, c, domid, im, &why);
    if (!rc)
        features_compare(x, c, im);
    if (domid != DOMID_INVALID && domain_discard(x, domid, &of_end) && !rc) {
        rc = of_end.code;
        why = of_end;
    }
    if (is_refusal(rc))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the hypervisor does not take the image's vCPUs on this host: %s",
                         why.text);
    if (rc && e)
        *e = why;
    return rc;
}
