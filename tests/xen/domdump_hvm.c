/*
 * domdump's view of a PVH domain: frames are named by the guest's own numbers, so nothing has to be
 * translated, and vCPUs are records of the HVM context (public arch-x86/hvm/save.h).
 */
#include "tests/xen/domdump_hvm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xen/hvm/params.h>
#include <xen/hvm/save.h>

struct param {
    uint32_t index;
    const char *name;
    const char *page_class; /* its value is the gfn of such a page; NULL: something else */
};

/* Those that a save file has, but for event channels, which the toolstack chooses. */
static const struct param params[] = {
    {HVM_PARAM_STORE_PFN, "store_pfn", "store"},
    {HVM_PARAM_CONSOLE_PFN, "console_pfn", "console"},
    {HVM_PARAM_IOREQ_PFN, "ioreq_pfn", "special"},
    {HVM_PARAM_BUFIOREQ_PFN, "bufioreq_pfn", "special"},
    {HVM_PARAM_PAGING_RING_PFN, "paging_ring_pfn", "special"},
    {HVM_PARAM_MONITOR_RING_PFN, "monitor_ring_pfn", "special"},
    {HVM_PARAM_SHARING_RING_PFN, "sharing_ring_pfn", "special"},
    {HVM_PARAM_VM86_TSS_SIZED, "vm86_tss", NULL},
    {HVM_PARAM_ACPI_IOPORTS_LOCATION, "acpi_ioports", NULL},
    {HVM_PARAM_IDENT_PT, "ident_pt", NULL},
    {HVM_PARAM_VM_GENERATION_ID_ADDR, "generation_id", NULL},
    {HVM_PARAM_CALLBACK_IRQ, "callback_irq", NULL},
    {HVM_PARAM_X87_FIP_WIDTH, "x87_fip_width", NULL},
    {HVM_PARAM_MCA_CAP, "mca_cap", NULL},
};
enum { PARAMS = sizeof params / sizeof params[0] };

struct hvm {
    struct dump *d;
    uint64_t values[PARAMS];
    uint64_t pages;
};

static void dump_params(struct hvm *hvm)
{
    for (unsigned i = 0; i < PARAMS; i++) {
        char key[48];
        if (xc_hvm_param_get(hvm->d->xch, hvm->d->domid, params[i].index, &hvm->values[i]))
            die("ask for HVM parameter %s", params[i].name);
        snprintf(key, sizeof key, "param.%s", params[i].name);
        print_line(hvm->d, key, "-", hvm->values[i], "hvm", NULL);
    }
}

static const char *class_of(const struct hvm *hvm, uint64_t gfn)
{
    for (unsigned i = 0; i < PARAMS; i++)
        if (params[i].page_class && hvm->values[i] == gfn && gfn)
            return params[i].page_class;
    return "ram";
}

/* Dumps n (at most BATCH) pages of these types. */
static void dump_pages(struct hvm *hvm, const xen_pfn_t *gfns, const uint8_t *types, unsigned n)
{
    int err[BATCH];
    uint8_t *pages = frames_map(hvm->d, PROT_READ, gfns, n, err);
    for (unsigned i = 0; i < n; i++)
        print_page(hvm->d, gfns[i], types[i],
                   err[i] ? 0 : hash_bytes(pages + i * PAGE_BYTES, PAGE_BYTES),
                   class_of(hvm, gfns[i]), err[i] ? "cannot be mapped" : NULL);
    frames_unmap(hvm->d, pages, n);
    hvm->pages += n;
}

/* Dumps those of n (at most TYPE_BATCH) frames from first that are populated. */
static void dump_range(struct hvm *hvm, uint64_t first, unsigned n)
{
    xen_pfn_t gfns[TYPE_BATCH];
    uint64_t asked[TYPE_BATCH] = {0};
    uint8_t types[TYPE_BATCH];
    unsigned found = 0;
    for (unsigned i = 0; i < n; i++)
        asked[i] = first + i;
    frame_types(hvm->d, asked, n, types);
    for (unsigned i = 0; i < n; i++) {
        if (types[i] == TYPE_NONE)
            continue;
        gfns[found] = asked[i];
        types[found++] = types[i];
    }
    for (unsigned at = 0; at < found; at += BATCH)
        dump_pages(hvm, gfns + at, types + at, found - at < BATCH ? found - at : BATCH);
}

static void dump_memory(struct hvm *hvm)
{
    xen_pfn_t last;
    if (xc_domain_maximum_gpfn(hvm->d->xch, hvm->d->domid, &last))
        die("ask for the domain's highest frame");
    for (uint64_t gfn = 0; gfn <= last; gfn += TYPE_BATCH)
        dump_range(hvm, gfn, last - gfn < TYPE_BATCH ? (unsigned)(last - gfn) + 1 : TYPE_BATCH);
    print_line(hvm->d, "pages", "-", hvm->pages, "domain",
               hvm->pages == hvm->d->info.tot_pages ? NULL
                                                    : "the hypervisor counts another number");
}

/* ---- context ---- */

struct context {
    uint8_t *bytes;
    uint32_t size, at;
};

static void context_get(struct dump *d, struct context *c)
{
    int size = xc_domain_hvm_getcontext(d->xch, d->domid, NULL, 0);
    if (size <= 0)
        die("ask for the size of the HVM context");
    *c = (struct context){.bytes = allocate(1, (size_t)size)};
    size = xc_domain_hvm_getcontext(d->xch, d->domid, c->bytes, (uint32_t)size);
    if (size <= 0)
        die("ask for the HVM context");
    c->size = (uint32_t)size;
}

/* The next record, whose body is returned; NULL after the last. */
static uint8_t *context_next(struct context *c, struct hvm_save_descriptor *out)
{
    if (c->size - c->at < sizeof *out)
        return NULL;
    memcpy(out, c->bytes + c->at, sizeof *out);
    c->at += (uint32_t)sizeof *out;
    if (out->typecode == HVM_SAVE_CODE(END) || out->length > c->size - c->at)
        return NULL;
    uint8_t *body = c->bytes + c->at;
    c->at += out->length;
    return body;
}

/* The time-stamp counter is read when the context is; it runs in a paused domain too. */
static void context_canonical(const struct hvm_save_descriptor *r, uint8_t *body)
{
    struct hvm_hw_cpu cpu;
    if (r->typecode != HVM_SAVE_CODE(CPU) || r->length < sizeof cpu)
        return;
    memcpy(&cpu, body, sizeof cpu);
    cpu.tsc = 0;
    memcpy(body, &cpu, sizeof cpu);
}

static void dump_context(struct hvm *hvm)
{
    struct context c;
    struct hvm_save_descriptor r;
    uint8_t *body;
    context_get(hvm->d, &c);
    while ((body = context_next(&c, &r))) {
        char key[48];
        context_canonical(&r, body);
        snprintf(key, sizeof key, "context.%u.%u", r.typecode, r.instance);
        print_line(hvm->d, key, "-", hash_bytes(body, r.length), "hvm", NULL);
    }
    free(c.bytes);
}

static uint64_t same(const void *data, uint64_t gfn)
{
    (void)data;
    return gfn;
}

void dump_hvm(struct dump *d)
{
    struct hvm hvm = {.d = d};
    dump_params(&hvm);
    dump_memory(&hvm);
    dump_grants(d, same, NULL);
    dump_context(&hvm);
}

void hvm_poke_register(struct dump *d, uint32_t vcpu)
{
    struct context c;
    struct hvm_save_descriptor r;
    struct hvm_hw_cpu cpu;
    uint8_t *body;
    context_get(d, &c);
    while ((body = context_next(&c, &r))) {
        if (r.typecode != HVM_SAVE_CODE(CPU) || r.instance != vcpu || r.length < sizeof cpu)
            continue;
        memcpy(&cpu, body, sizeof cpu);
        cpu.r15 ^= 1;
        memcpy(body, &cpu, sizeof cpu);
        if (xc_domain_hvm_setcontext(d->xch, d->domid, c.bytes, c.size))
            die("set the HVM context");
        free(c.bytes);
        return;
    }
    errno = ENOENT;
    die("a record of vCPU %u", vcpu);
}
