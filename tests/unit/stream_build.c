/*
 * Save files for tests: see stream_build.h. The layout comes from Xen's
 * documents (libxc-migration-stream, libxl-migration-stream), written down here
 * once more and independently of the reader, so that a mistake in one shows.
 */
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/page.h"
#include "restore/formats/domconf.h"
#include "restore/formats/records.h"
#include "restore/formats/savefile.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/hvm/params.h>
#include <xen/hvm/save.h>
#include <xen/xen.h>

struct growing {
    uint8_t *bytes;
    size_t used, size;
};

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

static void append(struct growing *g, const void *bytes, size_t n)
{
    if (g->used + n > g->size) {
        g->size = (g->used + n) * 2;
        g->bytes = must(realloc(g->bytes, g->size));
    }
    if (n)
        memcpy(g->bytes + g->used, bytes, n);
    g->used += n;
}

static void append_u32(struct growing *g, uint32_t v)
{
    uint8_t p[4];
    put_u32(p, v);
    append(g, p, sizeof p);
}

static void append_be32(struct growing *g, uint32_t v)
{
    append_u32(g, __builtin_bswap32(v));
}

static void append_u64(struct growing *g, uint64_t v)
{
    uint8_t p[8];
    put_u64(p, v);
    append(g, p, sizeof p);
}

/* ---- the list ---- */

unsigned stream_build_index(const struct stream_build *b, const struct build_record *r)
{
    return (unsigned)(r - b->records);
}

struct build_record *stream_build_insert(struct stream_build *b, unsigned at, uint32_t type,
                                         const void *body, uint32_t length)
{
    if (b->n == BUILD_RECORDS_MAX)
        abort();
    struct build_record *r = &b->records[at];
    memmove(r + 1, r, (b->n - at) * sizeof *r);
    b->n++;
    *r = (struct build_record){
        .type = type, .length = length, .have = length, .body = must(calloc(1, length + 1))};
    if (length)
        memcpy(r->body, body, length);
    return r;
}

static void add(struct stream_build *b, uint32_t type, const void *body, size_t length)
{
    stream_build_insert(b, b->n, type, body, (uint32_t)length);
}

static void add_growing(struct stream_build *b, uint32_t type, struct growing *g)
{
    add(b, type, g->bytes, g->used);
    free(g->bytes);
}

void stream_build_remove(struct stream_build *b, struct build_record *r)
{
    free(r->body);
    b->n--;
    memmove(r, r + 1, (b->n - stream_build_index(b, r)) * sizeof *r);
}

struct build_record *stream_build_find(struct stream_build *b, uint32_t type, unsigned n)
{
    for (unsigned i = 0; i < b->n; i++)
        if (b->records[i].type == type && n-- == 0)
            return &b->records[i];
    abort();
}

void stream_build_config(struct stream_build *b, const char *json)
{
    free(b->config);
    b->config = must(strdup(json));
}

void stream_build_dispose(struct stream_build *b)
{
    while (b->n)
        stream_build_remove(b, &b->records[b->n - 1]);
    free(b->config);
    b->config = NULL;
}

/* ---- memory ---- */

static bool has_content(uint64_t entry)
{
    return entry >> IMAGE_TYPE_SHIFT < PAGE_BROKEN;
}

static void add_page_data(struct stream_build *b, const uint64_t *entries, uint32_t n)
{
    struct growing g = {0};
    uint8_t page[PAGE_BYTES];
    append_u32(&g, n);
    append_u32(&g, 0);
    for (uint32_t i = 0; i < n; i++)
        append_u64(&g, entries[i]);
    for (uint32_t i = 0; i < n; i++) {
        memset(page, 0, sizeof page);
        if (has_content(entries[i]))
            append(&g, page, sizeof page);
    }
    add_growing(b, RECORD_PAGE_DATA, &g);
}

uint8_t *stream_build_entry(struct stream_build *b, uint64_t pfn)
{
    uint8_t *body = stream_build_find(b, RECORD_PAGE_DATA, 0)->body;
    for (uint32_t i = 0; i < get_u32(body); i++)
        if ((get_u64(body + 8 + (size_t)i * 8) & IMAGE_PFN_MASK) == pfn)
            return body + 8 + (size_t)i * 8;
    abort();
}

uint8_t *stream_build_page(struct stream_build *b, uint64_t pfn)
{
    uint8_t *body = stream_build_find(b, RECORD_PAGE_DATA, 0)->body;
    uint32_t n = get_u32(body);
    uint8_t *page = body + 8 + (size_t)n * 8;
    for (uint8_t *entry = body + 8; entry != stream_build_entry(b, pfn); entry += 8)
        page += has_content(get_u64(entry)) ? PAGE_BYTES : 0;
    return page;
}

static uint64_t entry(uint64_t pfn, unsigned type)
{
    return pfn | (uint64_t)type << IMAGE_TYPE_SHIFT;
}

/* ---- PV ---- */

static const char config_pv[] =
    "{\n  \"c_info\": {\n    \"type\": \"pv\",\n    \"name\": \"test\",\n"
    "    \"uuid\": \"11112222-3333-4444-5555-666677778888\",\n"
    "    \"run_hotplug_scripts\": \"True\"\n  },\n  \"b_info\": {\n    \"max_vcpus\": 2,\n"
    "    \"avail_vcpus\": [0, 1],\n    \"max_memkb\": 4096,\n    \"target_memkb\": 4096,\n"
    "    \"sched_params\": {},\n    \"claim_mode\": \"True\",\n    \"type.pv\": {},\n"
    "    \"arch_arm\": {}\n  },\n  \"disks\": [\n    {\n      \"pdev_path\": \"/dev/vg/disk\",\n"
    "      \"vdev\": \"xvda\",\n      \"backend\": \"phy\",\n      \"format\": \"raw\",\n"
    "      \"readwrite\": 1\n    }\n  ],\n  \"on_reboot\": \"restart\"\n}\n";

static void add_vcpu(struct stream_build *b, unsigned id, bool tiny)
{
    struct vcpu_guest_context ctx;
    uint8_t blob[8 + sizeof ctx];
    memset(&ctx, 0, sizeof ctx);
    memset(blob, 0, sizeof blob);
    put_u32(blob, id);
    ctx.gdt_ents = tiny ? 0 : 16;
    ctx.gdt_frames[0] = BUILD_PFN_GDT;
    ctx.ctrlreg[3] = (tiny ? 2ul : BUILD_PFN_L4) << 12;
    ctx.ctrlreg[1] = tiny ? 0 : 1 | (unsigned long)BUILD_PFN_L4 << 12;
    ctx.user_regs.rdx = id ? 0x1234567 : BUILD_PFN_START_INFO;
    memcpy(blob + 8, &ctx, sizeof ctx);
    add(b, RECORD_X86_PV_VCPU_BASIC, blob, sizeof blob);
    if (tiny)
        return;
    memset(blob, 0, sizeof blob);
    put_u32(blob, id);
    put_u32(blob + 8, id); /* xen_domctl_ext_vcpucontext: vcpu, size */
    put_u32(blob + 12, 48);
    add(b, RECORD_X86_PV_VCPU_EXTENDED, blob, 8 + 48);
    put_u64(blob + 8, BUILD_COMPONENTS);
    put_u64(blob + 16, BUILD_COMPONENTS);
    add(b, RECORD_X86_PV_VCPU_XSAVE, blob, 8 + 832);
    add(b, RECORD_X86_PV_VCPU_MSRS, blob, 8 + 32);
}

static void add_p2m_frames(struct stream_build *b, uint32_t last, uint64_t frame)
{
    uint8_t body[16];
    put_u32(body, 0);
    put_u32(body + 4, last);
    put_u64(body + 8, frame);
    add(b, RECORD_X86_PV_P2M_FRAMES, body, sizeof body);
}

static void add_tsc(struct stream_build *b)
{
    uint8_t body[24] = {0};
    put_u32(body + 4, 2000000);
    put_u64(body + 8, 123456789);
    put_u32(body + 16, 1);
    add(b, RECORD_X86_TSC_INFO, body, sizeof body);
}

static void add_static_data(struct stream_build *b, bool tiny)
{
    static const uint8_t pv_info[8] = {8, 4}, zeros[96];
    if (b->guest == IMAGE_GUEST_PV)
        add(b, RECORD_X86_PV_INFO, pv_info, sizeof pv_info);
    if (!tiny) {
        uint8_t leaves[4 * 24] = {0};
        put_u32(leaves, 7); /* leaf 7, subleaf 0: ebx */
        put_u32(leaves + 12, BUILD_FEATURES_7B);
        put_u32(leaves + 24, 0x80000001); /* what AMD says twice: edx */
        put_u32(leaves + 28, UINT32_MAX);
        put_u32(leaves + 44, BUILD_FEATURES_E1D);
        add(b, RECORD_X86_CPUID_POLICY, leaves, sizeof leaves);
        add(b, RECORD_X86_MSR_POLICY, zeros, 3 * 16);
    }
    add(b, RECORD_STATIC_DATA_END, NULL, 0);
}

static void fill_pv_memory(struct stream_build *b)
{
    uint8_t *start = stream_build_page(b, BUILD_PFN_START_INFO);
    put_u64(start + offsetof(struct start_info, store_mfn), BUILD_PFN_STORE);
    put_u64(start + offsetof(struct start_info, console.domU.mfn), BUILD_PFN_CONSOLE);
    put_u64(stream_build_page(b, BUILD_PFN_L4), (uint64_t)BUILD_PFN_L3 << 12 | 7);
    put_u64(stream_build_page(b, BUILD_PFN_L3) + 8, (uint64_t)BUILD_PFN_L2 << 12 | 7);
    put_u64(stream_build_page(b, BUILD_PFN_L2) + 16, (uint64_t)BUILD_PFN_L1 << 12 | 7);
    for (uint64_t pfn = 1; pfn <= BUILD_PFN_ZERO; pfn++)
        put_u64(stream_build_page(b, BUILD_PFN_L1) + pfn * 8, pfn << 12 | 1);
    memset(stream_build_page(b, BUILD_PFN_DATA), 0xda, PAGE_BYTES);
}

static void build_pv(struct stream_build *b)
{
    uint64_t entries[BUILD_PV_MAX_PFN + 1];
    for (uint64_t pfn = 0; pfn <= BUILD_PV_MAX_PFN; pfn++)
        entries[pfn] = entry(pfn, pfn && pfn <= BUILD_PFN_ZERO ? PAGE_NOTAB : PAGE_XTAB);
    entries[BUILD_PFN_L4] = entry(BUILD_PFN_L4, PAGE_L4TAB | PAGE_TYPE_PINNED);
    entries[BUILD_PFN_L3] = entry(BUILD_PFN_L3, PAGE_L3TAB);
    entries[BUILD_PFN_L2] = entry(BUILD_PFN_L2, PAGE_L2TAB);
    entries[BUILD_PFN_L1] = entry(BUILD_PFN_L1, PAGE_L1TAB);
    entries[BUILD_PFN_BROKEN] = entry(BUILD_PFN_BROKEN, PAGE_BROKEN);
    add_page_data(b, entries, ARRAY_SIZE(entries));
    fill_pv_memory(b);
}

/* Two pages: start info, which is its own rings and p2m frame, and an empty L4 table. */
static void build_pv_tiny(struct stream_build *b)
{
    const uint64_t entries[] = {entry(1, PAGE_NOTAB), entry(2, PAGE_L4TAB | PAGE_TYPE_PINNED)};
    add_page_data(b, entries, ARRAY_SIZE(entries));
    uint8_t *start = stream_build_page(b, 1);
    put_u64(start + offsetof(struct start_info, store_mfn), 1);
    put_u64(start + offsetof(struct start_info, console.domU.mfn), 1);
}

static void init_pv(struct stream_build *b, bool tiny)
{
    static const uint8_t shared_info[PAGE_BYTES];
    stream_build_config(b, tiny ? "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64}}"
                                : config_pv);
    add_static_data(b, tiny);
    add_p2m_frames(b, tiny ? 2 : BUILD_PV_MAX_PFN, tiny ? 1 : BUILD_PFN_P2M);
    (tiny ? build_pv_tiny : build_pv)(b);
    add_tsc(b);
    add(b, RECORD_SHARED_INFO, shared_info, sizeof shared_info);
    add_vcpu(b, 0, tiny);
    if (!tiny)
        add_vcpu(b, 1, false);
}

/* ---- PVH ---- */

static void append_hvm_entry(struct growing *g, unsigned type, unsigned instance, const void *body,
                             size_t length)
{
    append_u32(g, type | instance << 16);
    append_u32(g, (uint32_t)length);
    append(g, body, length);
}

static void add_hvm_context(struct stream_build *b, unsigned vcpus)
{
    struct growing g = {0};
    uint8_t header[sizeof(struct hvm_save_header)] = {0};
    struct hvm_hw_cpu cpu;
    struct hvm_hw_cpu_xsave xsave;
    memset(&cpu, 0, sizeof cpu);
    memset(&xsave, 0, sizeof xsave);
    xsave.xcr0 = xsave.xcr0_accum = BUILD_COMPONENTS;
    put_u32(header, HVM_FILE_MAGIC);
    put_u32(header + 4, HVM_FILE_VERSION);
    append_hvm_entry(&g, HVM_SAVE_CODE(HEADER), 0, header, sizeof header);
    for (unsigned id = 0; id < vcpus; id++)
        append_hvm_entry(&g, HVM_SAVE_CODE(CPU), id, &cpu, sizeof cpu);
    for (unsigned id = 0; id < vcpus; id++)
        append_hvm_entry(&g, CPU_XSAVE_CODE, id, &xsave, sizeof xsave);
    append_hvm_entry(&g, HVM_SAVE_CODE(END), 0, NULL, 0);
    add_growing(b, RECORD_HVM_CONTEXT, &g);
}

static void add_hvm_params(struct stream_build *b, uint64_t store, uint64_t console)
{
    struct growing g = {0};
    append_u32(&g, 2);
    append_u32(&g, 0);
    append_u64(&g, HVM_PARAM_STORE_PFN);
    append_u64(&g, store);
    append_u64(&g, HVM_PARAM_CONSOLE_PFN);
    append_u64(&g, console);
    add_growing(b, RECORD_HVM_PARAMS, &g);
}

static void init_pvh(struct stream_build *b, bool tiny)
{
    const uint64_t entries[] = {
        entry(BUILD_PVH_DATA, PAGE_NOTAB), entry(BUILD_PVH_ZERO, PAGE_NOTAB), entry(2, PAGE_XTAB),
        entry(BUILD_PVH_STORE, PAGE_NOTAB), entry(BUILD_PVH_CONSOLE, PAGE_NOTAB)};
    stream_build_config(
        b, tiny ? "{\"c_info\":{\"type\":\"pvh\"},\"b_info\":{\"max_memkb\":64}}"
                : "{\"c_info\":{\"type\":\"pvh\",\"name\":\"p\"},\"b_info\":{\"max_vcpus\":2,"
                  "\"avail_vcpus\":[0,1],\"max_memkb\":4096,\"shadow_memkb\":3072,"
                  "\"type.pvh\":{}}}");
    add_static_data(b, tiny);
    add_page_data(b, entries, tiny ? 1 : ARRAY_SIZE(entries));
    memset(stream_build_page(b, BUILD_PVH_DATA), 0xda, PAGE_BYTES);
    add_tsc(b);
    add_hvm_context(b, tiny ? 1 : 2);
    add_hvm_params(b, tiny ? BUILD_PVH_DATA : BUILD_PVH_STORE,
                   tiny ? BUILD_PVH_DATA : BUILD_PVH_CONSOLE);
}

/* ---- a whole file ---- */

static void init(struct stream_build *b, enum image_guest guest, bool tiny)
{
    *b = (struct stream_build){.guest = guest,
                               .version = 3,
                               .page_shift = 12,
                               .dhdr_type = guest == IMAGE_GUEST_PV ? 1 : 2};
    (guest == IMAGE_GUEST_PV ? init_pv : init_pvh)(b, tiny);
    add(b, RECORD_END, NULL, 0);
}

void stream_build_init(struct stream_build *b, enum image_guest guest)
{
    init(b, guest, false);
}

void stream_build_init_tiny(struct stream_build *b, enum image_guest guest)
{
    init(b, guest, true);
}

static void append_xl(struct growing *g, const char *config)
{
    uint32_t len = (uint32_t)strlen(config) + 1;
    append(g, "Xen saved domain, xl format\n \0 \r", 32);
    append_u32(g, 0x01020304);
    append_u32(g, 3);
    append_u32(g, 0);
    append_u32(g, len + 4);
    append_u32(g, len);
    append(g, config, len);
}

static void append_libxc_headers(struct growing *g, const struct stream_build *b)
{
    append_u64(g, UINT64_MAX);
    append_be32(g, 0x58454e46);
    append_be32(g, b->version);
    append_u64(g, 0);
    append_u32(g, b->dhdr_type);
    append_u32(g, b->page_shift);
    append_u32(g, 4);
    append_u32(g, 17);
}

void stream_build_bytes(struct stream_build *b, struct built *out)
{
    struct growing g = {0};
    append_xl(&g, b->config);
    out->libxl_at = g.used;
    append(&g, "LibxlFmt", 8);
    append_be32(&g, 2);
    append_be32(&g, 0);
    append_u32(&g, 1);
    append_u32(&g, 0);
    out->libxc_at = g.used;
    append_libxc_headers(&g, b);
    for (unsigned i = 0; i < b->n; i++) {
        struct build_record *r = &b->records[i];
        r->offset = g.used;
        append_u32(&g, r->type);
        append_u32(&g, r->length);
        append(&g, r->body, r->have < r->length ? r->have : r->length);
        while (g.used < r->offset + 8 + r->length || g.used % 8 != r->offset % 8)
            append(&g, "", 1);
    }
    append_u64(&g, 0); /* libxl's END */
    out->bytes = g.bytes;
    out->size = g.used;
}

void built_dispose(struct built *f)
{
    free(f->bytes);
    *f = (struct built){0};
}

/* ---- reading it ---- */

static int ignore_header(void *data, const struct stream_header *h, struct error *e)
{
    (void)data, (void)h, (void)e;
    return 0;
}

static int ignore_record(void *data, uint32_t type, const void *body, uint32_t length,
                         struct error *e)
{
    (void)data, (void)type, (void)body, (void)length, (void)e;
    return 0;
}

static int ignore_page(void *data, uint64_t pfn, unsigned type, const void *content,
                       struct error *e)
{
    (void)data, (void)pfn, (void)type, (void)content, (void)e;
    return 0;
}

static int config_read(struct source *src, struct domconf *conf, struct error *e)
{
    char *json;
    size_t len;
    int rc = savefile_read_config(src, &json, &len, e);
    if (rc)
        return rc;
    rc = domconf_from_xl(json, len, conf, e);
    free(json);
    return rc;
}

int built_read(const struct built *f, struct error *e)
{
    static const struct stream_handlers ignore = {
        .header = ignore_header, .record = ignore_record, .page = ignore_page};
    struct source src;
    struct domconf conf;
    uint64_t max_pfn;
    source_init_memory(&src, f->bytes, f->size);
    domconf_init(&conf);
    int rc = config_read(&src, &conf, e);
    struct stream_limits limits = {
        .guest = conf.guest, .vcpus = conf.max_vcpus, .pfn_limit = 1u << 20};
    if (!rc)
        rc = savefile_read_stream(&src, &limits, &ignore, &max_pfn, e);
    domconf_dispose(&conf);
    source_dispose(&src);
    return rc;
}

int stream_build_read(struct stream_build *b, struct error *e)
{
    struct built f;
    stream_build_bytes(b, &f);
    int rc = built_read(&f, e);
    built_dispose(&f);
    return rc;
}

int stream_build_derive(struct stream_build *b, const char *base_path, const char *image_path,
                        struct image_info *info, struct error *e)
{
    struct built f;
    struct source src;
    struct import_options o = {.image_path = image_path, .base_path = base_path, .trusted = true};
    stream_build_bytes(b, &f);
    source_init_memory(&src, f.bytes, f.size);
    int rc = import_source(&src, &o, info, e);
    source_dispose(&src);
    built_dispose(&f);
    return rc;
}

int stream_build_import(struct stream_build *b, const char *image_path, struct image_info *info,
                        struct error *e)
{
    return stream_build_derive(b, NULL, image_path, info, e);
}
