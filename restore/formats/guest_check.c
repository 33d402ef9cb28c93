/*
 * Cross-checks of a stream: see guest_check.h.
 *
 * PV: registers, the p2m list and page tables hold pfns that will be translated to machine frames.
 * A pfn beyond the p2m would end libxenguest in an assertion. A pfn that is not populated would
 * make it allocate a frame that the image does not have. Xen would find a cr3 that is not an L4
 * table only after the memory was filled.
 *
 * PVH: the toolstack sets HVM parameters with its own privileges, so only parameters that a saver
 * writes are let through.
 *
 * Offsets are those of Xen's public headers (xen/arch-x86/xen.h, xen/hvm/params.h).
 */
#include "restore/formats/guest_check.h"

#include "base/array.h"
#include "base/page.h"
#include "restore/formats/pte.h"
#include "restore/formats/records.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xen/hvm/params.h>
#include <xen/xen.h>

#include <xen/hvm/save.h> /* needs xen.h's types */

#define VCPU_HEADER_BYTES 8u
#define P2M_FRAMES_HEADER_BYTES 8u
#define HVM_PARAMS_HEADER_BYTES 8u
#define HVM_PARAM_BYTES 16u
#define GDT_ENTRIES_PER_FRAME 512u

/* Obsolete; libxenguest drops it. The public header shows it to Xen alone. */
#define PARAM_PAE_ENABLED 4

static_assert(FIRST_RESERVED_GDT_PAGE == GUEST_CHECK_GDT_FRAMES, "Xen's limit");
static_assert(sizeof(struct vcpu_guest_context) == 5168, "the x86-64 layout");

void guest_check_init(struct guest_check *g, enum image_guest guest)
{
    *g = (struct guest_check){.guest = guest};
}

void guest_check_dispose(struct guest_check *g)
{
    free(g->p2m_frames);
    guest_check_init(g, g->guest);
}

/* ---- taking notes ---- */

/* stream_read refuses such a record and says what is wrong with it. An image's file may still hold
 * it. */
static int malformed(uint32_t type, uint32_t length, struct error *e)
{
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "record %s of %" PRIu32 " bytes is malformed or comes twice",
                     record_name(type), length);
}

static int vcpu_note(struct guest_check *g, const uint8_t *body, uint32_t length, struct error *e)
{
    struct vcpu_guest_context ctx;
    uint32_t id = length == VCPU_HEADER_BYTES + sizeof ctx ? get_u32(body) : STREAM_VCPUS_MAX;
    if (id >= STREAM_VCPUS_MAX || g->vcpus[id].seen)
        return malformed(RECORD_X86_PV_VCPU_BASIC, length, e);
    struct guest_vcpu *v = &g->vcpus[id];
    memcpy(&ctx, body + VCPU_HEADER_BYTES, sizeof ctx);
    if (ctx.gdt_ents > FIRST_RESERVED_GDT_ENTRY)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: X86_PV_VCPU_BASIC of vCPU %u: GDT of %lu entries, at most %d",
                         id, ctx.gdt_ents, FIRST_RESERVED_GDT_ENTRY);
    v->seen = true;
    v->ip = ctx.user_regs.rip;
    v->gdt_frames = (unsigned)((ctx.gdt_ents + GDT_ENTRIES_PER_FRAME - 1) / GDT_ENTRIES_PER_FRAME);
    for (unsigned i = 0; i < v->gdt_frames; i++)
        v->gdt[i] = ctx.gdt_frames[i];
    v->cr3_pfn = ctx.ctrlreg[3] >> 12;
    v->cr1_pfn = ctx.ctrlreg[1] & 1 ? ctx.ctrlreg[1] >> 12 : UINT64_MAX;
    v->start_info_pfn = ctx.user_regs.rdx;
    return 0;
}

static int p2m_note(struct guest_check *g, const uint8_t *body, uint32_t length, struct error *e)
{
    if (length <= P2M_FRAMES_HEADER_BYTES || length % 8 || g->p2m_frames)
        return malformed(RECORD_X86_PV_P2M_FRAMES, length, e);
    uint32_t bytes = length - P2M_FRAMES_HEADER_BYTES;
    g->p2m_frames = malloc(bytes);
    if (!g->p2m_frames)
        return error_set(e, -ENOMEM, "out of memory for the p2m's frame list");
    memcpy(g->p2m_frames, body + P2M_FRAMES_HEADER_BYTES, bytes);
    g->n_p2m_frames = bytes / 8;
    return 0;
}

/* Reads vCPU 0's registers from a PVH guest's context: {descriptor, body} over and over. A
 * malformed context yields none; Xen judges it. */
static void context_note(struct guest_check *g, const uint8_t *body, uint32_t length)
{
    struct hvm_save_descriptor d;
    for (uint32_t at = 0; length - at >= sizeof d; at += d.length) {
        memcpy(&d, body + at, sizeof d);
        at += (uint32_t)sizeof d;
        if (d.length > length - at)
            return;
        if (d.typecode != HVM_SAVE_CODE(CPU) || d.instance ||
            d.length < offsetof(struct hvm_hw_cpu, cr4))
            continue;
        g->vcpus[0].ip = get_u64(body + at + offsetof(struct hvm_hw_cpu, rip));
        g->vcpus[0].cr3_pfn = PTE_FRAME(get_u64(body + at + offsetof(struct hvm_hw_cpu, cr3)));
    }
}

/* What savers of Xen 4.6 to 4.21 write. */
static bool param_is_saved(uint64_t index)
{
    static const uint8_t saved[] = {
        HVM_PARAM_STORE_PFN,        HVM_PARAM_IOREQ_PFN,
        HVM_PARAM_BUFIOREQ_PFN,     HVM_PARAM_PAGING_RING_PFN,
        HVM_PARAM_MONITOR_RING_PFN, HVM_PARAM_SHARING_RING_PFN,
        HVM_PARAM_VM86_TSS,         HVM_PARAM_VM86_TSS_SIZED,
        HVM_PARAM_CONSOLE_PFN,      HVM_PARAM_ACPI_IOPORTS_LOCATION,
        HVM_PARAM_VIRIDIAN,         HVM_PARAM_IDENT_PT,
        PARAM_PAE_ENABLED,          HVM_PARAM_VM_GENERATION_ID_ADDR,
        HVM_PARAM_IOREQ_SERVER_PFN, HVM_PARAM_NR_IOREQ_SERVER_PAGES,
        HVM_PARAM_X87_FIP_WIDTH,    HVM_PARAM_MCA_CAP,
    };
    for (size_t i = 0; i < ARRAY_SIZE(saved); i++)
        if (saved[i] == index)
            return true;
    return false;
}

static int params_note(struct guest_check *g, const uint8_t *body, uint32_t length, struct error *e)
{
    uint32_t n = length >= HVM_PARAMS_HEADER_BYTES ? get_u32(body) : 0;
    if (length != HVM_PARAMS_HEADER_BYTES + n * (uint64_t)HVM_PARAM_BYTES)
        return malformed(RECORD_HVM_PARAMS, length, e);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *entry = body + HVM_PARAMS_HEADER_BYTES + (size_t)i * HVM_PARAM_BYTES;
        uint64_t index = get_u64(entry), value = get_u64(entry + 8);
        if (!param_is_saved(index) || g->params_seen >> index & 1)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "save file: HVM_PARAMS: parameter %" PRIu64 " (entry %u) %s", index, i,
                             param_is_saved(index) ? "comes twice"
                                                   : "is not one that a save holds");
        g->params_seen |= 1ull << index;
        if (index == HVM_PARAM_STORE_PFN)
            g->store_pfn = value;
        if (index == HVM_PARAM_CONSOLE_PFN)
            g->console_pfn = value;
    }
    return 0;
}

int guest_check_record(struct guest_check *g, uint32_t type, const uint8_t *body, uint32_t length,
                       struct error *e)
{
    switch (type) {
    case RECORD_X86_PV_VCPU_BASIC:
        return vcpu_note(g, body, length, e);
    case RECORD_X86_PV_P2M_FRAMES:
        return p2m_note(g, body, length, e);
    case RECORD_HVM_PARAMS:
        return params_note(g, body, length, e);
    case RECORD_HVM_CONTEXT:
        context_note(g, body, length);
        return 0;
    default:
        return 0;
    }
}

/* ---- the cross-checks ---- */

static unsigned type_of(const struct guest_memory *m, uint64_t pfn)
{
    return pfn <= m->max_pfn ? m->types[pfn] : GUEST_NOT_POPULATED;
}

/* A page that the toolstack will write or that holds a GDT: ordinary memory. */
static int plain_check(const struct guest_memory *m, uint64_t pfn, const char *record,
                       const char *what, uint64_t number, struct error *e)
{
    unsigned type = type_of(m, pfn);
    if (type == PAGE_NOTAB)
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "save file: %s: %s %" PRIu64 " is at pfn %#" PRIx64 ", which is %s", record,
                     what, number, pfn,
                     type == GUEST_NOT_POPULATED ? "not populated" : "a page table");
}

static int root_check(const struct guest_memory *m, unsigned id, const char *name, uint64_t pfn,
                      struct error *e)
{
    unsigned type = type_of(m, pfn);
    if ((type & ~PAGE_TYPE_PINNED) == PAGE_L4TAB)
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "save file: X86_PV_VCPU_BASIC of vCPU %u: %s names pfn %#" PRIx64
                     ", which is not an L4 page table",
                     id, name, pfn);
}

static int vcpu_check(const struct guest_memory *m, unsigned id, const struct guest_vcpu *v,
                      struct error *e)
{
    int rc = root_check(m, id, "cr3", v->cr3_pfn, e);
    if (!rc && v->cr1_pfn != UINT64_MAX)
        rc = root_check(m, id, "cr1 (user page table)", v->cr1_pfn, e);
    for (unsigned i = 0; i < v->gdt_frames && !rc; i++)
        rc = plain_check(m, v->gdt[i], "X86_PV_VCPU_BASIC", "GDT frame", i, e);
    return rc;
}

int guest_check_rings(struct guest_check *g, const struct guest_memory *m, struct error *e)
{
    if (g->guest != IMAGE_GUEST_PV)
        return 0; /* params_note has */
    uint8_t page[PAGE_BYTES];
    int rc = m->read_page(m->data, g->vcpus[0].start_info_pfn, page, e);
    if (rc)
        return rc;
    g->store_pfn = get_u64(page + offsetof(struct start_info, store_mfn));
    g->console_pfn = get_u64(page + offsetof(struct start_info, console.domU.mfn));
    return 0;
}

/* The suspend record, and the two rings that it names. */
static int start_info_check(struct guest_check *g, const struct guest_memory *m, struct error *e)
{
    int rc =
        plain_check(m, g->vcpus[0].start_info_pfn, "X86_PV_VCPU_BASIC", "start info of vCPU", 0, e);
    if (!rc)
        rc = guest_check_rings(g, m, e);
    if (!rc)
        rc = plain_check(m, g->store_pfn, "start info", "xenstore ring", 0, e);
    if (!rc)
        rc = plain_check(m, g->console_pfn, "start info", "console ring", 0, e);
    return rc;
}

static int pte_check(const struct guest_memory *m, unsigned level, uint64_t pte)
{
    unsigned type = type_of(m, PTE_FRAME(pte));
    if (type == GUEST_NOT_POPULATED || (level > PAGE_L1TAB && pte & PTE_LARGE))
        return -1;
    /* Xen lets a table name one of its own level read-only (linear page tables). */
    unsigned below = page_type_is_table(type) ? type & PAGE_TYPE_LEVEL_MASK : 0;
    return level > PAGE_L1TAB && below != level - 1 && below != level ? -1 : 0;
}

static int table_check(const struct guest_memory *m, uint64_t pfn, struct error *e)
{
    unsigned level = m->types[pfn] & PAGE_TYPE_LEVEL_MASK;
    uint8_t page[PAGE_BYTES];
    int rc = m->read_page(m->data, pfn, page, e);
    for (unsigned i = 0; i < PTES_PER_TABLE && !rc; i++) {
        uint64_t pte = get_u64(page + (size_t)i * 8);
        if (pte & PTE_PRESENT && pte_check(m, level, pte))
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "save file: PAGE_DATA: entry %u of the L%u page table at pfn %#" PRIx64
                             " (%#" PRIx64 ") is a superpage, or its pfn is not populated or not "
                             "of the level below",
                             i, level, pfn, pte);
    }
    return rc;
}

static int tables_check(const struct guest_memory *m, struct error *e)
{
    int rc = 0;
    for (uint64_t pfn = 0; pfn <= m->max_pfn && !rc; pfn++)
        if (m->types[pfn] != GUEST_NOT_POPULATED && page_type_is_table(m->types[pfn]))
            rc = table_check(m, pfn, e);
    return rc;
}

static int pv_finish(struct guest_check *g, const struct guest_memory *m, struct error *e)
{
    int rc = 0;
    for (uint64_t i = 0; i < g->n_p2m_frames && !rc; i++)
        rc = plain_check(m, g->p2m_frames[i], "X86_PV_P2M_FRAMES", "frame", i, e);
    for (unsigned id = 0; id < STREAM_VCPUS_MAX && !rc; id++)
        if (g->vcpus[id].seen)
            rc = vcpu_check(m, id, &g->vcpus[id], e);
    if (!rc)
        rc = start_info_check(g, m, e);
    return rc ? rc : tables_check(m, e);
}

static int pvh_finish(const struct guest_check *g, const struct guest_memory *m, struct error *e)
{
    const uint64_t both = 1ull << HVM_PARAM_STORE_PFN | 1ull << HVM_PARAM_CONSOLE_PFN;
    if ((g->params_seen & both) != both)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: HVM_PARAMS: no parameter for the xenstore or console ring");
    int rc = plain_check(m, g->store_pfn, "HVM_PARAMS", "parameter", HVM_PARAM_STORE_PFN, e);
    return rc ? rc
              : plain_check(m, g->console_pfn, "HVM_PARAMS", "parameter", HVM_PARAM_CONSOLE_PFN, e);
}

int guest_check_finish(struct guest_check *g, const struct guest_memory *m, struct error *e)
{
    return g->guest == IMAGE_GUEST_PV ? pv_finish(g, m, e) : pvh_finish(g, m, e);
}
