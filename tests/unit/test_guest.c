/* restore/formats/guest_check.h, through whole imports: records that contradict memory. */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "restore/formats/guest_check.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <xen/hvm/params.h>
#include <xen/xen.h>

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH
#define CTX(field) (8 + offsetof(struct vcpu_guest_context, field))

static void refused(struct stream_build *b, const char *record, const char *why)
{
    struct error e = {0};
    struct image_info info;
    int rc = stream_build_import(b, scratch_path(&dir, "x.img"), &info, &e);
    assert_refused(rc, &e, why);
    assert_says(e.text, record);
    assert_int_equal(scratch_files(&dir, false), 0);
    stream_build_dispose(b);
}

static void accepted(struct stream_build *b)
{
    struct error e = {0};
    struct image_info info;
    if (stream_build_import(b, scratch_path(&dir, "x.img"), &info, &e))
        fail_msg("refused: %s", e.text);
    assert_int_equal(scratch_files(&dir, true), 1);
    stream_build_dispose(b);
}

/* vCPU 0's registers in a new PV guest. */
static uint8_t *registers(struct stream_build *b)
{
    stream_build_init(b, PV);
    return stream_build_find(b, RECORD_X86_PV_VCPU_BASIC, 0)->body;
}

static void cr3(void **state)
{
    (void)state;
    static const uint64_t pfns[] = {
        0,          BUILD_PFN_L3,    BUILD_PFN_DATA, BUILD_PFN_BROKEN, BUILD_PV_MAX_PFN + 1,
        1ull << 40, (1ull << 52) - 1};
    struct stream_build b;
    for (size_t i = 0; i < ARRAY_SIZE(pfns); i++) {
        put_u64(registers(&b) + CTX(ctrlreg[3]), pfns[i] << 12);
        refused(&b, "X86_PV_VCPU_BASIC of vCPU 0", "cr3 names pfn");
        put_u64(registers(&b) + CTX(ctrlreg[1]), pfns[i] << 12 | 1);
        refused(&b, "X86_PV_VCPU_BASIC of vCPU 0", "user page table");
    }
    put_u64(registers(&b) + CTX(ctrlreg[1]), 0); /* no user page table */
    accepted(&b);
    stream_build_init(&b, PV);
    put_u64(stream_build_find(&b, RECORD_X86_PV_VCPU_BASIC, 1)->body + CTX(ctrlreg[3]), 0);
    refused(&b, "X86_PV_VCPU_BASIC of vCPU 1", "cr3");
}

static void gdt(void **state)
{
    (void)state;
    struct stream_build b;
    put_u64(registers(&b) + CTX(gdt_ents), FIRST_RESERVED_GDT_ENTRY + 1);
    refused(&b, "X86_PV_VCPU_BASIC of vCPU 0", "GDT of 7169 entries");
    put_u64(registers(&b) + CTX(gdt_ents), UINT64_MAX);
    refused(&b, "X86_PV_VCPU_BASIC of vCPU 0", "GDT of");
    put_u64(registers(&b) + CTX(gdt_ents), 513); /* now there is a second frame, pfn 0 */
    refused(&b, "X86_PV_VCPU_BASIC", "GDT frame 1 is at pfn 0, which is not populated");
    put_u64(registers(&b) + CTX(gdt_frames[0]), BUILD_PFN_L1);
    refused(&b, "X86_PV_VCPU_BASIC", "which is a page table");
    put_u64(registers(&b) + CTX(gdt_frames[0]), UINT64_MAX);
    refused(&b, "X86_PV_VCPU_BASIC", "GDT frame 0");
}

static void start_info(void **state)
{
    (void)state;
    struct stream_build b;
    put_u64(registers(&b) + CTX(user_regs.rdx), BUILD_PFN_L4);
    refused(&b, "X86_PV_VCPU_BASIC", "start info");
    put_u64(registers(&b) + CTX(user_regs.rdx), UINT64_MAX);
    refused(&b, "X86_PV_VCPU_BASIC", "start info");
    stream_build_init(&b, PV);
    put_u64(stream_build_page(&b, BUILD_PFN_START_INFO) + offsetof(struct start_info, store_mfn),
            BUILD_PFN_BROKEN);
    refused(&b, "start info", "xenstore ring");
    stream_build_init(&b, PV);
    put_u64(stream_build_page(&b, BUILD_PFN_START_INFO) +
                offsetof(struct start_info, console.domU.mfn),
            1ull << 50);
    refused(&b, "start info", "console ring");
}

static void p2m(void **state)
{
    (void)state;
    static const uint64_t pfns[] = {0, BUILD_PFN_L2, BUILD_PV_MAX_PFN + 1, UINT64_MAX};
    struct stream_build b;
    for (size_t i = 0; i < ARRAY_SIZE(pfns); i++) {
        stream_build_init(&b, PV);
        put_u64(stream_build_find(&b, RECORD_X86_PV_P2M_FRAMES, 0)->body + 8, pfns[i]);
        refused(&b, "X86_PV_P2M_FRAMES", "frame 0 is at pfn");
    }
}

static void entry_put(struct stream_build *b, uint64_t table, unsigned index, uint64_t pte)
{
    stream_build_init(b, PV);
    put_u64(stream_build_page(b, table) + index * 8u, pte);
}

static void page_tables(void **state)
{
    (void)state;
    struct stream_build b;
    entry_put(&b, BUILD_PFN_L1, 511, 1);
    refused(&b, "PAGE_DATA", "entry 511 of the L1 page table at pfn 0x9");
    entry_put(&b, BUILD_PFN_L1, 0, (uint64_t)BUILD_PFN_BROKEN << 12 | 1);
    refused(&b, "PAGE_DATA", "entry 0 of the L1");
    entry_put(&b, BUILD_PFN_L1, 0, (uint64_t)(BUILD_PV_MAX_PFN + 1) << 12 | 1);
    refused(&b, "PAGE_DATA", "entry 0 of the L1");
    entry_put(&b, BUILD_PFN_L1, 0, 0x000ffffffffff001ull);
    refused(&b, "PAGE_DATA", "entry 0 of the L1");
    entry_put(&b, BUILD_PFN_L2, 0, (uint64_t)BUILD_PFN_L1 << 12 | 0x81);
    refused(&b, "PAGE_DATA", "superpage");
    entry_put(&b, BUILD_PFN_L2, 0, (uint64_t)BUILD_PFN_DATA << 12 | 1);
    refused(&b, "PAGE_DATA", "entry 0 of the L2");
    entry_put(&b, BUILD_PFN_L4, 0, (uint64_t)BUILD_PFN_L1 << 12 | 1);
    refused(&b, "PAGE_DATA", "entry 0 of the L4");
    entry_put(&b, BUILD_PFN_L4, 9, (uint64_t)BUILD_PFN_L4 << 12 | 1); /* linear page table */
    accepted(&b);
    entry_put(&b, BUILD_PFN_L1, 9, ~1ull); /* not present: any content */
    accepted(&b);
    entry_put(&b, BUILD_PFN_L1, 9, 0xfff0000000000181ull | BUILD_PFN_DATA << 12); /* PAT, NX, ... */
    accepted(&b);
}

static void params(void **state)
{
    (void)state;
    struct stream_build b;
    static const uint64_t indices[] = {
        HVM_PARAM_CALLBACK_IRQ,          13, HVM_PARAM_ALTP2M, 64, UINT64_MAX,
        1ull << 32 | HVM_PARAM_STORE_PFN};
    for (size_t i = 0; i < ARRAY_SIZE(indices); i++) {
        stream_build_init(&b, PVH);
        put_u64(stream_build_find(&b, RECORD_HVM_PARAMS, 0)->body + 8, indices[i]);
        refused(&b, "HVM_PARAMS", "is not one that a save holds");
    }
    stream_build_init(&b, PVH);
    put_u64(stream_build_find(&b, RECORD_HVM_PARAMS, 0)->body + 24, HVM_PARAM_STORE_PFN);
    refused(&b, "HVM_PARAMS", "comes twice");
    stream_build_init(&b, PVH);
    put_u64(stream_build_find(&b, RECORD_HVM_PARAMS, 0)->body + 24, HVM_PARAM_IDENT_PT);
    refused(&b, "HVM_PARAMS", "no parameter for the xenstore or console ring");
    for (unsigned i = 0; i < 2; i++) {
        stream_build_init(&b, PVH);
        put_u64(stream_build_find(&b, RECORD_HVM_PARAMS, 0)->body + 16 + i * 16, 2);
        refused(&b, "HVM_PARAMS", "which is not populated");
        stream_build_init(&b, PVH);
        put_u64(stream_build_find(&b, RECORD_HVM_PARAMS, 0)->body + 16 + i * 16, UINT64_MAX);
        refused(&b, "HVM_PARAMS", "which is not populated");
    }
}

/* Records of an image's file, whose lengths nobody has checked before. */
static void unchecked_records(void **state)
{
    static uint8_t body[8 + sizeof(struct vcpu_guest_context) + 1];
    static const struct {
        uint32_t type, length, first, times;
    } records[] = {
        {RECORD_X86_PV_VCPU_BASIC, 0, 0, 1},
        {RECORD_X86_PV_VCPU_BASIC, sizeof body - 2, 0, 1},
        {RECORD_X86_PV_VCPU_BASIC, sizeof body, 0, 1},
        {RECORD_X86_PV_VCPU_BASIC, sizeof body - 1, STREAM_VCPUS_MAX, 1},
        {RECORD_X86_PV_VCPU_BASIC, sizeof body - 1, UINT32_MAX, 1},
        {RECORD_X86_PV_VCPU_BASIC, sizeof body - 1, 0, 2},
        {RECORD_X86_PV_P2M_FRAMES, 0, 0, 1},
        {RECORD_X86_PV_P2M_FRAMES, 7, 0, 1},
        {RECORD_X86_PV_P2M_FRAMES, 8, 0, 1},
        {RECORD_X86_PV_P2M_FRAMES, 20, 0, 1},
        {RECORD_X86_PV_P2M_FRAMES, 16, 0, 2},
        {RECORD_HVM_PARAMS, 0, 0, 1},
        {RECORD_HVM_PARAMS, 7, 0, 1},
        {RECORD_HVM_PARAMS, 8, 1, 1},
        {RECORD_HVM_PARAMS, 24, 0, 1},
        {RECORD_HVM_PARAMS, 24, 1u << 28, 1},
        {RECORD_HVM_PARAMS, 24, UINT32_MAX, 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        struct guest_check g;
        struct error e = {0};
        int rc = 0;
        guest_check_init(&g, records[i].type == RECORD_HVM_PARAMS ? PVH : PV);
        memset(body, 0, sizeof body);
        memcpy(body, &records[i].first, sizeof records[i].first);
        for (unsigned n = 0; n < records[i].times; n++) {
            assert_int_equal(rc, 0);
            /* Out of memory of its own, so that a read beyond the end is seen. */
            uint8_t *copy = malloc(records[i].length + 1);
            memcpy(copy, body, records[i].length);
            rc = guest_check_record(&g, records[i].type, copy, records[i].length, &e);
            free(copy);
        }
        assert_refused(rc, &e, "malformed or comes twice");
        assert_says(e.text, record_name(records[i].type));
        guest_check_dispose(&g);
    }
}

static void valid_guests(void **state)
{
    (void)state;
    struct stream_build b;
    stream_build_init(&b, PV);
    accepted(&b);
    stream_build_init(&b, PVH);
    accepted(&b);
    stream_build_init_tiny(&b, PV);
    accepted(&b);
    stream_build_init_tiny(&b, PVH);
    accepted(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_guests), cmocka_unit_test(cr3),
        cmocka_unit_test(gdt),          cmocka_unit_test(start_info),
        cmocka_unit_test(p2m),          cmocka_unit_test(page_tables),
        cmocka_unit_test(params),       cmocka_unit_test(unchecked_records),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
