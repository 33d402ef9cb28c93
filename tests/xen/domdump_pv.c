/*
 * domdump's view of a paravirtualised domain.
 *
 * Which frames are the domain's: those that the guest's own list names, if the hypervisor says of
 * each that it is the domain's, and if they are as many as the hypervisor counts; then none is
 * missing. (To ask about every frame of the machine would need no list, but the hypervisor logs
 * each one that is another's.) Which pfn each of them is: the machine-to-physical table, which the
 * list must agree with. So neither a list that the toolstack made nor one that the guest keeps is
 * believed.
 */
#include "tests/xen/domdump_pv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xen/memory.h>
#include <xencall.h>

#define M2P_CHUNK_BYTES (2u << 20) /* XENMEM_machphys_mfn_list: one extent for each 2 MiB */
#define PFN_LIMIT (UINT64_C(1) << 28)

#define PTE_PRESENT UINT64_C(1)
#define PTE_FRAME UINT64_C(0x000ffffffffff000)
#define PTE_IGNORED (UINT64_C(1) << 10) /* the processor leaves it to software */

/* Slots of an L4 that Xen fills in: HYPERVISOR_VIRT_START to HYPERVISOR_VIRT_END. */
enum { L4_XEN_FIRST = 256, L4_XEN_END = 272 };

/* What Linux keeps in its p2m list beside frames: two flags at the top, or all ones. */
#define P2M_FLAGS (UINT64_C(3) << 62)

/* Bits that no frame number has, to mark what has been translated. */
#define TRANSLATED (UINT64_C(1) << 60)
#define SHARED_INFO (UINT64_C(1) << 61)

enum page_class { CLASS_RAM, CLASS_TABLE, CLASS_P2M, CLASS_START_INFO, CLASS_STORE, CLASS_CONSOLE };
static const char *const class_names[] = {"ram", "table", "p2m", "start_info", "store", "console"};

struct frame {
    uint64_t pfn;
    uint64_t mfn;
    uint8_t type;
    enum page_class class;
    uint64_t p2m_index; /* p2m: pfn that its first entry is about; UINT64_MAX: of more than one */
};

struct pv {
    struct dump *d;
    const uint64_t *m2p;
    uint64_t mfns;          /* frames of the machine */
    uint32_t *frame_by_mfn; /* index in frames plus one, 0: not the domain's */
    struct frame *frames;   /* ascending by pfn */
    size_t count;
    vcpu_guest_context_any_t *vcpu0; /* as the hypervisor gives it */
    struct shared_info shared;       /* likewise */
    uint64_t max_pfn;                /* entries of the guest's p2m list, as it says */
    uint64_t p2m_pages;
    uint64_t *p2m_mfns; /* of the pages that hold the list */
    uint64_t *p2m;
};

static void m2p_map(struct pv *pv)
{
    unsigned long end; /* for all its name, the first frame behind the last */
    if (xc_maximum_ram_page(pv->d->xch, &end))
        die("ask for the machine's highest frame");
    pv->mfns = end;
    uint64_t chunks = (pv->mfns * 8 + M2P_CHUNK_BYTES - 1) / M2P_CHUNK_BYTES;
    uint64_t per_chunk = M2P_CHUNK_BYTES / PAGE_BYTES;
    xen_pfn_t *extents = allocate(chunks, sizeof *extents);
    xen_pfn_t *all = allocate(chunks * per_chunk, sizeof *all);
    if (xc_machphys_mfn_list(pv->d->xch, chunks, extents))
        die("ask where the machine-to-physical table is");
    for (uint64_t i = 0; i < chunks * per_chunk; i++)
        all[i] = extents[i / per_chunk] + i % per_chunk;
    pv->m2p =
        xenforeignmemory_map(pv->d->memory, DOMID_XEN, PROT_READ, chunks * per_chunk, all, NULL);
    if (!pv->m2p)
        die("map the machine-to-physical table");
    free(all);
    free(extents);
}

static int frame_order(const void *a, const void *b)
{
    const struct frame *x = a, *y = b;
    return x->pfn < y->pfn ? -1 : x->pfn > y->pfn;
}

/* ---- the guest's own list, and the domain's frames ---- */

/* The L1 table that maps va in the address space of vCPU 0; false when there is none. */
static bool walk_to_l1(struct pv *pv, uint64_t va, uint64_t table[PAGE_WORDS])
{
    uint64_t mfn = pv->vcpu0->c.ctrlreg[3] >> 12;
    for (unsigned level = 4;; level--) {
        if (mfn >= pv->mfns || !frame_copy(pv->d, mfn, table))
            return false;
        if (level == 1)
            return true;
        uint64_t entry = table[va >> (12 + 9 * (level - 1)) & (PAGE_WORDS - 1)];
        if (!(entry & PTE_PRESENT))
            return false;
        mfn = (entry & PTE_FRAME) >> 12;
    }
}

/* The list is at p2m_vaddr, in virtually contiguous pages (public xen.h). */
static void p2m_read(struct pv *pv)
{
    uint64_t table[PAGE_WORDS];
    bool mapped = false;
    pv->p2m_pages = (pv->max_pfn + PAGE_WORDS - 1) / PAGE_WORDS;
    pv->p2m_mfns = allocate(pv->p2m_pages + 1, sizeof *pv->p2m_mfns);
    pv->p2m = allocate(pv->p2m_pages + 1, PAGE_BYTES);
    for (uint64_t i = 0; i < pv->p2m_pages; i++) {
        uint64_t va = pv->shared.arch.p2m_vaddr + i * PAGE_BYTES;
        unsigned slot = va >> 12 & (PAGE_WORDS - 1);
        if (!i || !slot)
            mapped = walk_to_l1(pv, va, table);
        uint64_t entry = mapped ? table[slot] : 0;
        pv->p2m_mfns[i] = (entry & PTE_FRAME) >> 12;
        if (!(entry & PTE_PRESENT) || !frame_copy(pv->d, pv->p2m_mfns[i], pv->p2m + i * PAGE_WORDS))
            print_line(pv->d, "p2m", "-", i, "p2m", "no page of the domain is mapped there");
    }
}

static void frames_add(struct pv *pv, const uint64_t *mfns, unsigned n)
{
    uint8_t types[TYPE_BATCH];
    frame_types(pv->d, mfns, n, types);
    for (unsigned i = 0; i < n; i++) {
        if (types[i] == TYPE_NONE) {
            print_line(pv->d, "p2m", "-", pv->m2p[mfns[i]], "p2m",
                       "an entry names a frame that is not the domain's");
            continue;
        }
        pv->frames[pv->count++] =
            (struct frame){.pfn = pv->m2p[mfns[i]],
                           .mfn = mfns[i],
                           .type = types[i],
                           .class = types[i] == TYPE_NOTAB ? CLASS_RAM : CLASS_TABLE};
    }
}

static void frames_find(struct pv *pv)
{
    uint64_t mfns[TYPE_BATCH];
    unsigned n = 0;
    pv->frames = allocate(pv->max_pfn + 1, sizeof *pv->frames);
    pv->frame_by_mfn = allocate(pv->mfns, sizeof *pv->frame_by_mfn);
    for (uint64_t pfn = 0; pfn < pv->max_pfn; pfn++) {
        uint64_t mfn = pv->p2m[pfn];
        if (mfn >= pv->mfns || pv->frame_by_mfn[mfn])
            continue;
        pv->frame_by_mfn[mfn] = 1; /* for now: seen */
        mfns[n++] = mfn;
        if (n == TYPE_BATCH) {
            frames_add(pv, mfns, n);
            n = 0;
        }
    }
    frames_add(pv, mfns, n);
    qsort(pv->frames, pv->count, sizeof *pv->frames, frame_order);
    memset(pv->frame_by_mfn, 0, pv->mfns * sizeof *pv->frame_by_mfn);
    for (size_t i = 0; i < pv->count; i++)
        pv->frame_by_mfn[pv->frames[i].mfn] = (uint32_t)i + 1;
}

static struct frame *frame_of(const struct pv *pv, uint64_t mfn)
{
    uint32_t index = mfn < pv->mfns ? pv->frame_by_mfn[mfn] : 0;
    return index ? &pv->frames[index - 1] : NULL;
}

/* A machine frame number as a canonical dump has it; of others than the domain's it stays. */
static uint64_t canonical_frame(const struct pv *pv, uint64_t mfn)
{
    const struct frame *f = frame_of(pv, mfn);
    if (f)
        return f->pfn | TRANSLATED;
    return mfn == pv->d->info.shared_info_frame ? SHARED_INFO : mfn;
}

static uint64_t grant_to_pfn(const void *data, uint64_t mfn)
{
    return canonical_frame(data, mfn);
}

/* ---- special pages ---- */

static void find_p2m(struct pv *pv)
{
    for (uint64_t i = 0; i < pv->p2m_pages; i++) {
        struct frame *f = frame_of(pv, pv->p2m_mfns[i]);
        if (!f)
            continue;
        f->p2m_index = f->class == CLASS_P2M ? UINT64_MAX : i * PAGE_WORDS;
        f->class = CLASS_P2M;
    }
}

static void class_set(struct pv *pv, uint64_t mfn, enum page_class class)
{
    struct frame *f = frame_of(pv, mfn);
    if (f)
        f->class = class;
}

/* vCPU 0 has the start_info page in rdx when it comes back from the suspend call, which a restored
 * domain has not done yet. One that has is told apart by what rdx names. */
static struct frame *find_start_info(struct pv *pv, start_info_t *start)
{
    uint8_t page[PAGE_BYTES];
    struct frame *f = frame_of(pv, pv->vcpu0->c.user_regs.rdx);
    if (!f || !frame_copy(pv->d, f->mfn, page))
        return NULL;
    memcpy(start, page, sizeof *start);
    return strncmp(start->magic, "xen-3.0-x86_64", sizeof start->magic) ? NULL : f;
}

static void find_classes(struct pv *pv)
{
    start_info_t start;
    find_p2m(pv);
    struct frame *f = find_start_info(pv, &start);
    if (!f)
        return;
    f->class = CLASS_START_INFO;
    class_set(pv, start.store_mfn, CLASS_STORE);
    class_set(pv, start.console.domU.mfn, CLASS_CONSOLE);
}

/* ---- canonical contents ---- */

static const char *canonical_table(const struct pv *pv, const struct frame *f, uint64_t *entries)
{
    const char *complaint = NULL;
    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        if ((f->type & 7) == TYPE_L4 && i >= L4_XEN_FIRST && i < L4_XEN_END) {
            entries[i] = 0;
            continue;
        }
        if (!(entries[i] & PTE_PRESENT))
            continue;
        uint64_t mfn = (entries[i] & PTE_FRAME) >> 12;
        const struct frame *to = frame_of(pv, mfn);
        if (to)
            entries[i] = (entries[i] & ~PTE_FRAME) | to->pfn << 12;
        else if (mfn == pv->d->info.shared_info_frame)
            entries[i] |= PTE_FRAME;
        else
            complaint = "an entry names a frame that is not the domain's";
    }
    return complaint;
}

/* What is behind the last entry is not translated, since a restore does not write it. */
static const char *canonical_p2m(const struct pv *pv, const struct frame *f, uint64_t *entries)
{
    const char *complaint = NULL;
    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        const struct frame *to = frame_of(pv, entries[i]);
        bool one = f->p2m_index != UINT64_MAX;
        if (!to || entries[i] & P2M_FLAGS || (one && f->p2m_index + i >= pv->max_pfn))
            continue;
        if (one && to->pfn != f->p2m_index + i)
            complaint = "an entry names another page's frame";
        entries[i] = to->pfn | TRANSLATED;
    }
    return complaint;
}

static const char *canonical_start_info(const struct pv *pv, void *page)
{
    start_info_t s;
    memcpy(&s, page, sizeof s);
    s.store_mfn = canonical_frame(pv, s.store_mfn);
    s.console.domU.mfn = canonical_frame(pv, s.console.domU.mfn);
    s.shared_info = canonical_frame(pv, s.shared_info >> 12);
    const char *complaint = NULL;
    if (s.shared_info != SHARED_INFO)
        complaint = "shared_info is not where it should be";
    if (!(s.store_mfn & TRANSLATED) || !(s.console.domU.mfn & TRANSLATED))
        complaint = "a ring is not in the domain";
    s.store_evtchn = s.console.domU.evtchn = 0;
    memcpy(page, &s, sizeof s);
    return complaint;
}

static const char *canonical(const struct pv *pv, const struct frame *f, void *page)
{
    switch (f->class) {
    case CLASS_TABLE:
        return canonical_table(pv, f, page);
    case CLASS_P2M:
        return canonical_p2m(pv, f, page);
    case CLASS_START_INFO:
        return canonical_start_info(pv, page);
    default:
        return NULL;
    }
}

static void dump_frame(const struct pv *pv, const struct frame *f, const void *content)
{
    uint64_t page[PAGE_WORDS];
    const char *complaint;
    if (!content) {
        print_page(pv->d, f->pfn, f->type, 0, class_names[f->class], "cannot be mapped");
        return;
    }
    memcpy(page, content, sizeof page);
    complaint = canonical(pv, f, page);
    if (f->pfn >= PFN_LIMIT)
        complaint = "the frame has no pfn";
    else if (f > pv->frames && f[-1].pfn == f->pfn)
        complaint = "two frames have this pfn";
    print_page(pv->d, f->pfn, f->type, hash_bytes(page, sizeof page), class_names[f->class],
               complaint);
}

static void dump_frames(const struct pv *pv)
{
    xen_pfn_t mfns[BATCH];
    int err[BATCH];
    for (size_t at = 0; at < pv->count; at += BATCH) {
        size_t left = pv->count - at;
        unsigned n = left < BATCH ? (unsigned)left : BATCH;
        for (unsigned i = 0; i < n; i++)
            mfns[i] = pv->frames[at + i].mfn;
        uint8_t *pages = frames_map(pv->d, PROT_READ, mfns, n, err);
        for (unsigned i = 0; i < n; i++)
            dump_frame(pv, &pv->frames[at + i], err[i] ? NULL : pages + i * PAGE_BYTES);
        frames_unmap(pv->d, pages, n);
    }
    print_line(pv->d, "pages", "-", pv->count, "domain",
               pv->count == pv->d->info.tot_pages ? NULL : "the hypervisor counts another number");
}

static void dump_shared_info(const struct pv *pv)
{
    const struct shared_info *shared = &pv->shared;
    struct shared_info s;
    memset(&s, 0, sizeof s);
    for (unsigned i = 0; i < XEN_LEGACY_MAX_VCPUS; i++) {
        s.vcpu_info[i].evtchn_upcall_pending = shared->vcpu_info[i].evtchn_upcall_pending;
        s.vcpu_info[i].evtchn_upcall_mask = shared->vcpu_info[i].evtchn_upcall_mask;
        s.vcpu_info[i].arch.cr2 = shared->vcpu_info[i].arch.cr2;
    }
    memcpy(s.evtchn_mask, shared->evtchn_mask, sizeof s.evtchn_mask);
    s.arch = shared->arch;
    s.arch.pfn_to_mfn_frame_list_list = canonical_frame(pv, s.arch.pfn_to_mfn_frame_list_list);
    print_line(pv->d, "shared_info", "-", hash_bytes(&s, sizeof s), "shared_info", NULL);
}

/* ---- vCPUs ---- */

static void part(const struct pv *pv, uint32_t vcpu, const char *name, const void *bytes,
                 size_t size)
{
    char key[48];
    snprintf(key, sizeof key, "vcpu%u.%s", vcpu, name);
    print_line(pv->d, key, "-", hash_bytes(bytes, size), "vcpu", NULL);
}

static void canonical_vcpu(const struct pv *pv, uint32_t vcpu, vcpu_guest_context_x86_64_t *c)
{
    const struct frame *f = frame_of(pv, c->user_regs.rdx);
    if (vcpu == 0 && f && f->class == CLASS_START_INFO)
        c->user_regs.rdx = f->pfn | TRANSLATED;
    /* Of the frames, only those in use count; Xen leaves the others as they were. */
    unsigned used = (unsigned)(c->gdt_ents + 511) / 512;
    for (unsigned i = 0; i < sizeof c->gdt_frames / sizeof c->gdt_frames[0]; i++)
        c->gdt_frames[i] = i < used ? canonical_frame(pv, c->gdt_frames[i]) : 0;
    c->ctrlreg[3] = canonical_frame(pv, c->ctrlreg[3] >> 12);
    if (c->ctrlreg[1])
        c->ctrlreg[1] = canonical_frame(pv, c->ctrlreg[1] >> 12);
}

static void dump_ext(const struct pv *pv, uint32_t vcpu)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_get_ext_vcpucontext,
                                .domain = (domid_t)pv->d->domid};
    domctl.u.ext_vcpucontext.vcpu = vcpu;
    if (xc_domctl(pv->d->xch, &domctl))
        die("ask for the extended context of vCPU %u", vcpu);
    part(pv, vcpu, "ext", &domctl.u.ext_vcpucontext, sizeof domctl.u.ext_vcpucontext);
}

static void dump_xsave(const struct pv *pv, uint32_t vcpu)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_getvcpuextstate, .domain = (domid_t)pv->d->domid};
    DECLARE_HYPERCALL_BUFFER(void, buffer);
    domctl.u.vcpuextstate.vcpu = vcpu;
    if (xc_domctl(pv->d->xch, &domctl))
        die("ask for the xsave state's size of vCPU %u", vcpu);
    size_t size = domctl.u.vcpuextstate.size;
    if (!size)
        return; /* the processor has none */
    buffer = xc_hypercall_buffer_alloc(pv->d->xch, buffer, size);
    if (!buffer)
        die("allocate a hypercall buffer");
    set_xen_guest_handle(domctl.u.vcpuextstate.buffer, buffer);
    if (xc_domctl(pv->d->xch, &domctl))
        die("ask for the xsave state of vCPU %u", vcpu);
    /* It has set the size to what there is. */
    part(pv, vcpu, "xsave", buffer, domctl.u.vcpuextstate.size);
    xc_hypercall_buffer_free(pv->d->xch, buffer);
}

static void dump_msrs(const struct pv *pv, uint32_t vcpu)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_get_vcpu_msrs, .domain = (domid_t)pv->d->domid};
    DECLARE_HYPERCALL_BUFFER(xen_domctl_vcpu_msr_t, buffer);
    domctl.u.vcpu_msrs.vcpu = vcpu;
    if (xc_domctl(pv->d->xch, &domctl))
        die("ask for the number of MSRs of vCPU %u", vcpu);
    size_t n = domctl.u.vcpu_msrs.msr_count;
    if (!n)
        return;
    buffer = xc_hypercall_buffer_alloc(pv->d->xch, buffer, n * sizeof *buffer);
    if (!buffer)
        die("memory for MSRs");
    set_xen_guest_handle(domctl.u.vcpu_msrs.msrs, buffer);
    if (xc_domctl(pv->d->xch, &domctl))
        die("ask for the MSRs of vCPU %u", vcpu);
    part(pv, vcpu, "msrs", buffer, domctl.u.vcpu_msrs.msr_count * sizeof *buffer);
    xc_hypercall_buffer_free(pv->d->xch, buffer);
}

static void dump_vcpu(const struct pv *pv, uint32_t vcpu)
{
    vcpu_guest_context_any_t any;
    vcpu_guest_context_x86_64_t *c = &any.x64;
    memset(&any, 0, sizeof any);
    if (xc_vcpu_getcontext(pv->d->xch, pv->d->domid, vcpu, &any)) {
        char key[32];
        snprintf(key, sizeof key, "vcpu%u", vcpu);
        print_line(pv->d, key, "-", (uint64_t)errno, "vcpu",
                   errno == ENODATA ? NULL : "has no context"); /* ENODATA: was offline */
        return;
    }
    canonical_vcpu(pv, vcpu, c);
    part(pv, vcpu, "regs", &c->user_regs, sizeof c->user_regs);
    part(pv, vcpu, "fpu", &c->fpu_ctxt, sizeof c->fpu_ctxt);
    part(pv, vcpu, "flags", &c->flags, sizeof c->flags);
    part(pv, vcpu, "traps", c->trap_ctxt, sizeof c->trap_ctxt);
    part(pv, vcpu, "ldt", &c->ldt_base, 2 * sizeof c->ldt_base);
    part(pv, vcpu, "gdt", c->gdt_frames, sizeof c->gdt_frames + sizeof c->gdt_ents);
    part(pv, vcpu, "stack", &c->kernel_ss, 2 * sizeof c->kernel_ss);
    part(pv, vcpu, "control", c->ctrlreg, sizeof c->ctrlreg);
    part(pv, vcpu, "debug", c->debugreg, sizeof c->debugreg);
    part(pv, vcpu, "callbacks", &c->event_callback_eip, 4 * sizeof c->event_callback_eip);
    part(pv, vcpu, "bases", &c->fs_base, 3 * sizeof c->fs_base);
    dump_ext(pv, vcpu);
    dump_xsave(pv, vcpu);
    dump_msrs(pv, vcpu);
}

/* ---- whole ---- */

static void pv_open(struct pv *pv, struct dump *d)
{
    uint8_t page[PAGE_BYTES];
    *pv = (struct pv){.d = d, .vcpu0 = allocate(1, sizeof *pv->vcpu0)};
    if (xc_vcpu_getcontext(d->xch, d->domid, 0, pv->vcpu0))
        die("ask for the context of vCPU 0");
    if (!frame_copy(d, d->info.shared_info_frame, page))
        die("map the shared_info page");
    memcpy(&pv->shared, page, sizeof pv->shared);
    pv->max_pfn = pv->shared.arch.max_pfn;
    if (pv->max_pfn > PFN_LIMIT) {
        print_line(d, "max_pfn", "-", pv->max_pfn, "domain", "is not possible");
        pv->max_pfn = 0;
    }
    m2p_map(pv);
    p2m_read(pv);
    frames_find(pv);
}

void dump_pv(struct dump *d)
{
    struct pv pv;
    pv_open(&pv, d);
    find_classes(&pv);
    dump_frames(&pv);
    dump_shared_info(&pv);
    dump_grants(d, grant_to_pfn, &pv);
    for (uint32_t vcpu = 0; vcpu <= d->info.max_vcpu_id; vcpu++)
        dump_vcpu(&pv, vcpu);
}

/* ---- pokes ---- */

static const struct frame *frame_at(struct pv *pv, struct dump *d, uint64_t pfn)
{
    pv_open(pv, d);
    for (size_t i = 0; i < pv->count; i++)
        if (pv->frames[i].pfn == pfn)
            return &pv->frames[i];
    errno = ENOENT;
    die("pfn 0x%" PRIx64, pfn);
}

uint64_t pv_frame_of(struct dump *d, uint64_t pfn)
{
    struct pv pv;
    return frame_at(&pv, d, pfn)->mfn;
}

/* Nobody may write to a page that is in use as a table; the hypervisor does it on request. */
static void entry_update(struct dump *d, uint64_t mfn, unsigned slot, uint64_t entry)
{
    xencall_handle *call = xencall_open(NULL, 0);
    struct mmu_update *update = call ? xencall_alloc_buffer(call, sizeof *update) : NULL;
    if (!update)
        die("open the hypercall interface");
    *update = (struct mmu_update){.ptr = mfn << 12 | slot * 8 | MMU_NORMAL_PT_UPDATE, .val = entry};
    /* Upper half: the domain whose tables they are, plus one; lower half: whose frames they name.
     */
    uint64_t foreign = (uint64_t)(d->domid + 1) << 16 | d->domid;
    if (xencall4(call, __HYPERVISOR_mmu_update, (uintptr_t)update, 1, 0, foreign))
        die("update entry %u of frame 0x%" PRIx64, slot, mfn);
    xencall_free_buffer(call, update);
    xencall_close(call);
}

/* The first present entry of a table; PAGE_WORDS when there is none. */
static unsigned present_slot(struct dump *d, uint64_t mfn, uint64_t *entry)
{
    uint64_t entries[PAGE_WORDS];
    unsigned slot = 0;
    if (!frame_copy(d, mfn, entries))
        die("map frame 0x%" PRIx64, mfn);
    while (slot < PAGE_WORDS && !(entries[slot] & PTE_PRESENT))
        slot++;
    *entry = slot < PAGE_WORDS ? entries[slot] : 0;
    return slot;
}

void pv_poke_entry(struct dump *d, uint64_t pfn)
{
    struct pv pv;
    pv_open(&pv, d);
    for (size_t i = 0; i < pv.count; i++) {
        const struct frame *f = &pv.frames[i];
        uint64_t entry;
        if (f->pfn < pfn || (f->type & ~TYPE_PINNED) != TYPE_L1)
            continue;
        unsigned slot = present_slot(d, f->mfn, &entry);
        if (slot == PAGE_WORDS)
            continue;
        entry_update(d, f->mfn, slot, entry ^ PTE_IGNORED);
        fprintf(d->out, "%09" PRIx64 "\n", f->pfn);
        return;
    }
    errno = ENOENT;
    die("an L1 table with a present entry from pfn 0x%" PRIx64, pfn);
}

void pv_poke_register(struct dump *d, uint32_t vcpu)
{
    vcpu_guest_context_any_t *c = allocate(1, sizeof *c);
    if (xc_vcpu_getcontext(d->xch, d->domid, vcpu, c))
        die("ask for the context of vCPU %u", vcpu);
    c->x64.user_regs.r15 ^= 1;
    if (xc_vcpu_setcontext(d->xch, d->domid, vcpu, c))
        die("set the context of vCPU %u", vcpu);
    free(c);
}
