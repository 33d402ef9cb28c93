/*
 * restore/formats/stream.h: the reader takes valid streams and refuses, with record and
 * offset, everything that differs from them in one point.
 */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/page.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <xen/hvm/save.h>

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH

static void accepted(struct stream_build *b)
{
    struct error e = {0};
    if (stream_build_read(b, &e))
        fail_msg("refused: %s", e.text);
    stream_build_dispose(b);
}

/* The file is refused, and the message has both parts. */
static void refused(struct stream_build *b, const char *record, const char *why)
{
    struct error e = {0};
    assert_refused(stream_build_read(b, &e), &e, why);
    assert_says(e.text, record);
    stream_build_dispose(b);
}

/* A valid guest in *b, and its first record of a type. */
static struct build_record *start(struct stream_build *b, enum image_guest guest, uint32_t type)
{
    stream_build_init(b, guest);
    return stream_build_find(b, type, 0);
}

static void valid_streams(void **state)
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

/* Version 2 has no STATIC_DATA_END; libxenguest takes one there as well. */
static void version_2(void **state)
{
    (void)state;
    struct stream_build b;
    for (int guest = PV; guest <= (int)PVH; guest++) {
        struct build_record *r = start(&b, (enum image_guest)guest, RECORD_STATIC_DATA_END);
        b.version = 2;
        stream_build_remove(&b, r);
        accepted(&b);
    }
    stream_build_init(&b, PV);
    b.version = 2;
    accepted(&b);
}

static void headers(void **state)
{
    (void)state;
    struct stream_build b;
    start(&b, PV, RECORD_END);
    b.version = 1;
    refused(&b, "libxc stream version 1", "at byte");
    start(&b, PV, RECORD_END);
    b.version = 4;
    refused(&b, "libxc stream version 4", "reads 2 and 3");
    start(&b, PV, RECORD_END);
    b.page_shift = 21;
    refused(&b, "page shift 21", "expected 12");
    start(&b, PV, RECORD_END);
    b.dhdr_type = 2;
    refused(&b, "guest type 2", "PV guest");
    start(&b, PVH, RECORD_END);
    b.dhdr_type = 1;
    refused(&b, "guest type 1", "PVH guest");
}

static void header_bytes(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *why;
    } cases[] = {{0, "no libxc stream"}, {7, "no libxc stream"}, {8, "no libxc stream"},
                 {14, "version"},        {17, "big-endian"},     {24, "guest type"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stream_build b;
        struct built f;
        struct error e = {0};
        stream_build_init(&b, PV);
        stream_build_bytes(&b, &f);
        f.bytes[f.libxc_at + cases[i].at] ^= 1;
        assert_refused(built_read(&f, &e), &e, cases[i].why);
        built_dispose(&f);
        stream_build_dispose(&b);
    }
}

/* Cut at each byte up to the first page, then at bytes spread over the file. */
static void each_truncation(void **state)
{
    (void)state;
    for (int guest = PV; guest <= (int)PVH; guest++) {
        struct stream_build b;
        struct built f;
        stream_build_init(&b, (enum image_guest)guest);
        stream_build_bytes(&b, &f);
        size_t whole = f.size;
        for (f.size = 0; f.size < whole; f.size += f.size < 2500 || whole - f.size < 300 ? 1 : 37) {
            struct error e = {0};
            char where[64];
            snprintf(where, sizeof where, "at byte %zu (truncated?)", f.size);
            assert_refused(built_read(&f, &e), &e, where);
        }
        built_dispose(&f);
        stream_build_dispose(&b);
    }
}

/* Each kind of record that must be there, missing. */
static void missing_records(void **state)
{
    (void)state;
    static const struct {
        enum image_guest guest;
        uint32_t type;
        const char *first; /* the record that misses it */
    } cases[] = {
        {PV, RECORD_X86_PV_INFO, "STATIC_DATA_END"},
        {PV, RECORD_STATIC_DATA_END, "X86_PV_P2M_FRAMES"},
        {PVH, RECORD_STATIC_DATA_END, "PAGE_DATA"},
        {PV, RECORD_X86_PV_P2M_FRAMES, "PAGE_DATA"},
        {PV, RECORD_PAGE_DATA, "X86_PV_VCPU_BASIC"},
        {PVH, RECORD_PAGE_DATA, "HVM_PARAMS"},
        {PV, RECORD_X86_TSC_INFO, "END"},
        {PV, RECORD_SHARED_INFO, "END"},
        {PVH, RECORD_X86_TSC_INFO, "END"},
        {PVH, RECORD_HVM_CONTEXT, "END"},
        {PVH, RECORD_HVM_PARAMS, "END"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stream_build b;
        char why[64], who[64];
        stream_build_remove(&b, start(&b, cases[i].guest, cases[i].type));
        snprintf(who, sizeof who, "%s record at byte", cases[i].first);
        snprintf(why, sizeof why, "no %s record before it", record_name(cases[i].type));
        refused(&b, who, why);
    }
}

static void records_twice(void **state)
{
    (void)state;
    static const struct {
        enum image_guest guest;
        uint32_t type;
    } cases[] = {
        {PV, RECORD_X86_PV_INFO},      {PV, RECORD_STATIC_DATA_END}, {PV, RECORD_X86_PV_P2M_FRAMES},
        {PV, RECORD_X86_CPUID_POLICY}, {PV, RECORD_X86_MSR_POLICY},  {PV, RECORD_X86_TSC_INFO},
        {PV, RECORD_SHARED_INFO},      {PVH, RECORD_HVM_CONTEXT},    {PVH, RECORD_HVM_PARAMS}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stream_build b;
        struct build_record *r = start(&b, cases[i].guest, cases[i].type);
        stream_build_insert(&b, stream_build_index(&b, r) + 1, r->type, r->body, r->length);
        struct error e = {0};
        assert_refused(stream_build_read(&b, &e), &e, record_name(cases[i].type));
        stream_build_dispose(&b);
    }
}

/* Moves the first record of a type in front of another one. */
static void moved(enum image_guest guest, uint32_t type, uint32_t before, const char *why)
{
    struct stream_build b;
    struct build_record copy, *r = start(&b, guest, type);
    copy = *r;
    copy.body = malloc(r->length + 1u);
    memcpy(copy.body, r->body, r->length);
    stream_build_remove(&b, r);
    stream_build_insert(&b, stream_build_index(&b, stream_build_find(&b, before, 0)), type,
                        copy.body, copy.length);
    free(copy.body);
    if (why)
        refused(&b, "at byte", why);
    else
        accepted(&b);
}

static void order(void **state)
{
    (void)state;
    moved(PV, RECORD_X86_PV_P2M_FRAMES, RECORD_STATIC_DATA_END, "no STATIC_DATA_END");
    moved(PV, RECORD_X86_PV_P2M_FRAMES, RECORD_X86_TSC_INFO, "no X86_PV_P2M_FRAMES");
    moved(PV, RECORD_X86_PV_VCPU_BASIC, RECORD_PAGE_DATA, "no PAGE_DATA");
    moved(PV, RECORD_PAGE_DATA, RECORD_X86_PV_VCPU_EXTENDED, "no PAGE_DATA");
    moved(PVH, RECORD_PAGE_DATA, RECORD_END, "no PAGE_DATA");
    moved(PV, RECORD_X86_CPUID_POLICY, RECORD_PAGE_DATA, "comes after X86_PV_P2M_FRAMES");
    moved(PVH, RECORD_X86_MSR_POLICY, RECORD_PAGE_DATA, "comes after STATIC_DATA_END");
    moved(PV, RECORD_SHARED_INFO, RECORD_X86_PV_INFO, "no X86_PV_INFO");
    /* what depends on nothing may stand anywhere */
    moved(PV, RECORD_X86_TSC_INFO, RECORD_X86_PV_INFO, NULL);
    moved(PV, RECORD_SHARED_INFO, RECORD_PAGE_DATA, NULL);
    moved(PVH, RECORD_HVM_PARAMS, RECORD_HVM_CONTEXT, NULL); /* the order of the specification */
    moved(PV, RECORD_X86_PV_VCPU_EXTENDED, RECORD_X86_PV_VCPU_BASIC, NULL);
}

static void pages_after_vcpus(void **state)
{
    (void)state;
    struct stream_build b;
    struct build_record *r = start(&b, PV, RECORD_PAGE_DATA);
    stream_build_insert(&b, b.n - 1, RECORD_PAGE_DATA, r->body, r->length);
    refused(&b, "PAGE_DATA", "comes after X86_PV_VCPU_BASIC");
    r = start(&b, PVH, RECORD_PAGE_DATA);
    stream_build_insert(&b, b.n - 1, RECORD_PAGE_DATA, r->body, r->length);
    refused(&b, "PAGE_DATA", "comes after HVM_PARAMS");
}

static void wrong_guest(void **state)
{
    (void)state;
    static const uint8_t body[PAGE_BYTES];
    static const uint32_t of_pv[] = {RECORD_X86_PV_INFO, RECORD_X86_PV_P2M_FRAMES,
                                     RECORD_SHARED_INFO, RECORD_X86_PV_VCPU_BASIC};
    struct stream_build b;
    for (size_t i = 0; i < ARRAY_SIZE(of_pv); i++) {
        stream_build_init(&b, PVH);
        stream_build_insert(&b, b.n - 1, of_pv[i], body, sizeof body);
        refused(&b, record_name(of_pv[i]), "is not of a PVH guest");
    }
    stream_build_init(&b, PV);
    stream_build_insert(&b, b.n - 1, RECORD_HVM_PARAMS, body, 8);
    refused(&b, "HVM_PARAMS", "is not of a PV guest");
}

static void refused_records(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *why;
    } cases[] = {{RECORD_TOOLSTACK, "obsolete"},
                 {RECORD_VERIFY, "debugging"},
                 {RECORD_CHECKPOINT, "checkpointed"},
                 {RECORD_CHECKPOINT_DIRTY_PFN_LIST, "checkpointed"},
                 {0x13, "mandatory"},
                 {0x7fffffff, "mandatory"}};
    struct stream_build b;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        stream_build_init(&b, PV);
        stream_build_insert(&b, b.n - 1, cases[i].type, NULL, 0);
        refused(&b, "at byte", cases[i].why);
    }
    stream_build_init(&b, PV); /* optional: skipped, whatever is in it */
    stream_build_insert(&b, 3, 0x80000001, "12345", 5);
    stream_build_insert(&b, b.n - 1, IMAGE_RECORD_ORIGIN, "12345", 5);
    accepted(&b);
}

/* Each fixed-size record one byte longer and shorter, and beyond every limit. */
static void lengths(void **state)
{
    (void)state;
    static const struct {
        enum image_guest guest;
        uint32_t type;
    } cases[] = {{PV, RECORD_X86_PV_INFO},
                 {PV, RECORD_STATIC_DATA_END},
                 {PV, RECORD_X86_PV_P2M_FRAMES},
                 {PV, RECORD_X86_CPUID_POLICY},
                 {PV, RECORD_X86_MSR_POLICY},
                 {PV, RECORD_PAGE_DATA},
                 {PV, RECORD_X86_TSC_INFO},
                 {PV, RECORD_SHARED_INFO},
                 {PV, RECORD_X86_PV_VCPU_BASIC},
                 {PV, RECORD_X86_PV_VCPU_MSRS},
                 {PVH, RECORD_HVM_CONTEXT},
                 {PVH, RECORD_HVM_PARAMS},
                 {PV, RECORD_END}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int change = -1; change <= 1; change += 2) {
            struct stream_build b;
            struct build_record *r = start(&b, cases[i].guest, cases[i].type);
            if (!r->length && change < 0) {
                stream_build_dispose(&b);
                continue;
            }
            r->length = (uint32_t)((int)r->length + change);
            refused(&b, record_name(cases[i].type), "");
        }
        struct stream_build b;
        struct built f;
        struct error e = {0};
        struct build_record *r = start(&b, cases[i].guest, cases[i].type);
        stream_build_bytes(&b, &f); /* only the length field: the file is not 128 MiB long */
        put_u32(f.bytes + r->offset + 4, RECORD_BYTES_MAX + 1);
        assert_refused(built_read(&f, &e), &e, "more than any record may have");
        built_dispose(&f);
        stream_build_dispose(&b);
    }
}

static void pv_info(void **state)
{
    (void)state;
    struct stream_build b;
    put_u32(start(&b, PV, RECORD_X86_PV_INFO)->body, 3 << 8 | 4);
    refused(&b, "X86_PV_INFO", "32-bit PV guests are not supported");
    put_u32(start(&b, PV, RECORD_X86_PV_INFO)->body, 5 << 8 | 8);
    refused(&b, "X86_PV_INFO", "8 with 5 page-table levels");
}

static void p2m_frames(void **state)
{
    (void)state;
    struct stream_build b;
    put_u32(start(&b, PV, RECORD_X86_PV_P2M_FRAMES)->body, 1);
    refused(&b, "X86_PV_P2M_FRAMES", "starts at pfn 0x1");
    put_u32(start(&b, PV, RECORD_X86_PV_P2M_FRAMES)->body + 4, 512);
    refused(&b, "X86_PV_P2M_FRAMES", "expected 24");
    put_u32(start(&b, PV, RECORD_X86_PV_P2M_FRAMES)->body + 4, UINT32_MAX);
    refused(&b, "X86_PV_P2M_FRAMES", "beyond what the configured memory allows");
}

static void page_entries(void **state)
{
    (void)state;
    struct stream_build b;
    for (unsigned type = 5; type <= 8; type++) {
        stream_build_init(&b, PV);
        put_u64(stream_build_entry(&b, BUILD_PFN_DATA),
                BUILD_PFN_DATA | (uint64_t)type << IMAGE_TYPE_SHIFT);
        refused(&b, "PAGE_DATA", "unknown type");
    }
    stream_build_init(&b, PV);
    put_u64(stream_build_entry(&b, 0), (uint64_t)PAGE_XALLOC << IMAGE_TYPE_SHIFT);
    refused(&b, "PAGE_DATA", "XALLOC");
    stream_build_init(&b, PV);
    put_u64(stream_build_entry(&b, BUILD_PFN_DATA), BUILD_PV_MAX_PFN + 1);
    refused(&b, "PAGE_DATA", "pfn 0x15 (entry 10) is not below 0x15");
    stream_build_init(&b, PVH);
    put_u64(stream_build_entry(&b, BUILD_PVH_DATA), 1ull << 40);
    refused(&b, "PAGE_DATA", "is not below");
    stream_build_init(&b, PVH);
    put_u64(stream_build_entry(&b, BUILD_PVH_DATA), (uint64_t)PAGE_L1TAB << IMAGE_TYPE_SHIFT);
    refused(&b, "PAGE_DATA", "only PV guests have");
    stream_build_init(&b, PV); /* a type with content in place of one without */
    put_u64(stream_build_entry(&b, 0), 0);
    refused(&b, "PAGE_DATA", "page contents");
    stream_build_init(&b, PV); /* bits 59 to 52 are reserved and ignored */
    put_u64(stream_build_entry(&b, BUILD_PFN_DATA), 0xffull << 52 | BUILD_PFN_DATA);
    accepted(&b);
}

static void page_counts(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 20, 22, 1000000, 0x1fffffff, 0x20000000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        struct stream_build b;
        put_u32(start(&b, PV, RECORD_PAGE_DATA)->body, counts[i]);
        refused(&b, "PAGE_DATA", "at byte");
    }
}

static void vcpu_ids(void **state)
{
    (void)state;
    static const uint32_t types[] = {RECORD_X86_PV_VCPU_BASIC, RECORD_X86_PV_VCPU_EXTENDED,
                                     RECORD_X86_PV_VCPU_XSAVE, RECORD_X86_PV_VCPU_MSRS};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct stream_build b;
        struct build_record *r = start(&b, PV, types[i]);
        put_u32(r->body, 2);
        refused(&b, record_name(types[i]), "vCPU 2, but the configuration has 2");
        r = start(&b, PV, types[i]);
        put_u32(r->body, 1);
        refused(&b, record_name(types[i]),
                types[i] == RECORD_X86_PV_VCPU_EXTENDED ? "of another vCPU" : "vCPU 1 comes twice");
        r = start(&b, PV, types[i]);
        put_u32(r->body, UINT32_MAX);
        refused(&b, record_name(types[i]), "the configuration has 2");
    }
}

static void vcpu_contents(void **state)
{
    (void)state;
    struct stream_build b;
    stream_build_remove(&b, start(&b, PV, RECORD_X86_PV_VCPU_BASIC));
    refused(&b, "END", "vCPU 0's registers did not come");
    stream_build_init(&b, PV);
    stream_build_remove(&b, stream_build_find(&b, RECORD_X86_PV_VCPU_BASIC, 1));
    refused(&b, "END", "vCPU 1 has no X86_PV_VCPU_BASIC");
    put_u32(start(&b, PV, RECORD_X86_PV_VCPU_EXTENDED)->body + 8, 1);
    refused(&b, "X86_PV_VCPU_EXTENDED", "of another vCPU");
    put_u32(start(&b, PV, RECORD_X86_PV_VCPU_EXTENDED)->body + 12, 128);
    refused(&b, "X86_PV_VCPU_EXTENDED", "or size");
    start(&b, PV, RECORD_X86_PV_VCPU_EXTENDED)->length = 8 + 129;
    refused(&b, "X86_PV_VCPU_EXTENDED", "expected 8 to 136");
    start(&b, PV, RECORD_X86_PV_VCPU_XSAVE)->length = 8 + 15;
    refused(&b, "X86_PV_VCPU_XSAVE", "at least 16");
    start(&b, PV, RECORD_X86_PV_VCPU_MSRS)->length = 8 + 24;
    refused(&b, "X86_PV_VCPU_MSRS", "no multiple");
    /* erratum 1: empty ones are ignored */
    start(&b, PV, RECORD_X86_PV_VCPU_XSAVE)->length = 8;
    accepted(&b);
    /* a vCPU that is offline has no records */
    stream_build_init(&b, PV);
    for (unsigned i = 0; i < 4; i++)
        stream_build_remove(&b, &b.records[b.n - 2]);
    accepted(&b);
}

static void tsc(void **state)
{
    (void)state;
    struct stream_build b;
    put_u32(start(&b, PV, RECORD_X86_TSC_INFO)->body, 4);
    refused(&b, "X86_TSC_INFO", "TSC mode 4");
}

static void hvm_context(void **state)
{
    (void)state;
    struct stream_build b;
    struct build_record *r = start(&b, PVH, RECORD_HVM_CONTEXT);
    uint32_t cpu_at = 8 + sizeof(struct hvm_save_header), length = r->length;
    r->body[0] = 2;
    refused(&b, "HVM_CONTEXT", "does not start with");
    start(&b, PVH, RECORD_HVM_CONTEXT)->body[8] ^= 1; /* magic */
    refused(&b, "HVM_CONTEXT", "does not start with");
    start(&b, PVH, RECORD_HVM_CONTEXT)->body[12] ^= 1; /* version */
    refused(&b, "HVM_CONTEXT", "does not start with");
    start(&b, PVH, RECORD_HVM_CONTEXT)->length = 16;
    refused(&b, "HVM_CONTEXT", "does not start with");
    start(&b, PVH, RECORD_HVM_CONTEXT)->length = length - 8;
    refused(&b, "HVM_CONTEXT", "ends inside");
    start(&b, PVH, RECORD_HVM_CONTEXT)->length = length + 8;
    refused(&b, "HVM_CONTEXT", "after its end");
    put_u32(start(&b, PVH, RECORD_HVM_CONTEXT)->body + cpu_at + 4, UINT32_MAX);
    refused(&b, "HVM_CONTEXT", "do not fit");
    start(&b, PVH, RECORD_HVM_CONTEXT)->body[cpu_at + 2] = 2; /* instance */
    refused(&b, "HVM_CONTEXT", "state of vCPU 2");
    start(&b, PVH, RECORD_HVM_CONTEXT)->body[cpu_at] = 3; /* not a CPU any more */
    refused(&b, "END", "vCPU 0's registers");
}

static void hvm_params(void **state)
{
    (void)state;
    struct stream_build b;
    put_u32(start(&b, PVH, RECORD_HVM_PARAMS)->body, 3);
    refused(&b, "HVM_PARAMS", "expected 56 for 3");
    put_u32(start(&b, PVH, RECORD_HVM_PARAMS)->body, 0x10000002); /* times 16: 32 more than 2^32 */
    refused(&b, "HVM_PARAMS", "expected");
    start(&b, PVH, RECORD_HVM_PARAMS)->length = 4;
    refused(&b, "HVM_PARAMS", "expected 8");
}

#define TEST(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(valid_streams), TEST(version_2),       TEST(headers),
        TEST(header_bytes),  TEST(each_truncation), TEST(missing_records),
        TEST(records_twice), TEST(order),           TEST(pages_after_vcpus),
        TEST(wrong_guest),   TEST(refused_records), TEST(lengths),
        TEST(pv_info),       TEST(p2m_frames),      TEST(page_entries),
        TEST(page_counts),   TEST(vcpu_ids),        TEST(vcpu_contents),
        TEST(tsc),           TEST(hvm_context),     TEST(hvm_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
