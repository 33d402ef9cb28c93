/* See derive_guest.h. */
#include "tests/unit/derive_guest.h"

#include "base/page.h"
#include "base/text.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"

#include <xen/hvm/params.h>
#include <xen/xen.h>

#include <xen/hvm/save.h> /* needs xen.h's types */

void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d: %s", rc, e->text);
}

struct image_info import_over(struct stream_build *b, const char *base, const char *path)
{
    struct error e = {0};
    struct image_info info;
    must(stream_build_derive(b, base, path, &info, &e), &e);
    return info;
}

struct image *open_image(const char *path)
{
    struct error e = {0};
    struct image *im = NULL;
    must(image_open(path, &im, &e), &e);
    return im;
}

/* ---- more and fewer entries in the first PAGE_DATA record ---- */

uint64_t entry_of(uint64_t pfn, unsigned type)
{
    return pfn | (uint64_t)type << IMAGE_TYPE_SHIFT;
}

static bool has_content(uint64_t entry)
{
    return entry >> IMAGE_TYPE_SHIFT < PAGE_BROKEN;
}

void entry_add(struct stream_build *b, uint64_t entry)
{
    struct build_record *r = stream_build_find(b, RECORD_PAGE_DATA, 0);
    uint32_t n = get_u32(r->body), entries = 8 + n * 8;
    uint32_t more = 8 + (has_content(entry) ? PAGE_BYTES : 0);
    uint8_t *body = calloc(1, r->length + more);
    assert_non_null(body);
    memcpy(body, r->body, entries);
    memcpy(body + entries + 8, r->body + entries, r->length - entries);
    put_u32(body, n + 1);
    put_u64(body + entries, entry);
    free(r->body);
    r->body = body;
    r->length = r->have = r->length + more;
}

static void cut(struct build_record *r, uint8_t *at, uint32_t n)
{
    memmove(at, at + n, (size_t)(r->body + r->length - (at + n)));
    r->length = r->have = r->length - n;
}

void entry_remove(struct stream_build *b, uint64_t pfn)
{
    struct build_record *r = stream_build_find(b, RECORD_PAGE_DATA, 0);
    uint8_t *entry = stream_build_entry(b, pfn);
    if (has_content(get_u64(entry)))
        cut(r, stream_build_page(b, pfn), PAGE_BYTES);
    cut(r, entry, 8);
    put_u32(r->body, get_u32(r->body) - 1);
}

void retype(struct stream_build *b, uint64_t pfn, unsigned type)
{
    put_u64(stream_build_entry(b, pfn), entry_of(pfn, type));
}

void fill_word(uint8_t *page, uint64_t word)
{
    for (size_t i = 0; i < PAGE_BYTES; i += sizeof word)
        put_u64(page + i, word);
}

/* ---- a guest with a kernel: six pages of code around its instruction pointer ---- */

#define CODE_PFN_PVH 512u /* a 2 MiB page, most of it not populated */

static const char config[] =
    "{\"c_info\":{\"type\":\"%s\",\"name\":\"d\"},"
    "\"b_info\":{\"max_vcpus\":2,\"avail_vcpus\":[0,1],\"max_memkb\":4096,\"target_memkb\":4096},"
    "\"disks\":[{\"vdev\":\"xvda\",\"pdev_path\":\"%s/disk\",\"readwrite\":1},"
    "{\"vdev\":\"xvdb\",\"pdev_path\":\"%s/data\",\"readwrite\":1}]}";

uint8_t *ip_of(struct stream_build *b)
{
    if (b->guest == PV)
        return stream_build_find(b, RECORD_X86_PV_VCPU_BASIC, 0)->body + 8 +
               offsetof(struct vcpu_guest_context, user_regs.rip);
    return stream_build_find(b, RECORD_HVM_CONTEXT, 0)->body +
           2 * sizeof(struct hvm_save_descriptor) + HVM_SAVE_LENGTH(HEADER) +
           offsetof(struct hvm_hw_cpu, rip);
}

uint64_t code_pfn(const struct stream_build *b)
{
    return b->guest == PV ? CODE_PFN_PV : CODE_PFN_PVH;
}

static void code_add(struct stream_build *b)
{
    for (uint64_t pfn = code_pfn(b); pfn < code_pfn(b) + CODE_PAGES; pfn++) {
        entry_add(b, pfn);
        memset(stream_build_page(b, pfn), (int)pfn, PAGE_BYTES);
    }
    put_u64(ip_of(b), IP);
}

/* Only code is mapped: that other pages change tells nothing about the kernel. */
static void code_map_pv(struct stream_build *b)
{
    uint8_t *l1 = stream_build_page(b, BUILD_PFN_L1);
    memset(l1, 0, PAGE_BYTES);
    for (uint64_t pfn = CODE_PFN_PV; pfn < CODE_PFN_PV + CODE_PAGES; pfn++)
        put_u64(l1 + pfn * 8, pfn << 12 | 1);
}

static void code_map_pvh(struct stream_build *b)
{
    enum { L4 = 3, L3, L2 };
    for (uint64_t pfn = L4; pfn <= L2; pfn++)
        entry_add(b, pfn);
    put_u64(stream_build_page(b, L4), L3 << 12 | 1);
    put_u64(stream_build_page(b, L3) + 8, L2 << 12 | 1);
    put_u64(stream_build_page(b, L2) + 16, CODE_PFN_PVH << 12 | 0x81);
    put_u64(ip_of(b) - offsetof(struct hvm_hw_cpu, rip) + offsetof(struct hvm_hw_cpu, cr3),
            L4 << 12);
}

static void disk_make(const char *name)
{
    if (access(scratch_path(&dir, name), F_OK))
        scratch_write(&dir, name, name, strlen(name));
}

void guest_init(struct stream_build *b, enum image_guest guest)
{
    char json[1024];
    disk_make("disk");
    disk_make("data");
    stream_build_init(b, guest);
    assert_true(
        format_fits(json, sizeof json, config, guest == PV ? "pv" : "pvh", dir.dir, dir.dir));
    stream_build_config(b, json);
    if (guest == PVH)
        entry_remove(b, 2);
    for (uint64_t pfn = CODE_PFN_PV; guest == PV && pfn <= BUILD_PV_MAX_PFN; pfn++)
        entry_remove(b, pfn);
    code_add(b);
    (guest == PV ? code_map_pv : code_map_pvh)(b);
}

void base_init(struct stream_build *b, enum image_guest guest)
{
    guest_init(b, guest);
    import_over(b, NULL, BASE);
}

void config_replace(struct stream_build *b, const char *from, const char *to)
{
    char json[1024];
    const char *at = strstr(b->config, from);
    assert_non_null(at);
    assert_true(format_fits(json, sizeof json, "%.*s%s%s", (int)(at - b->config), b->config, to,
                            at + strlen(from)));
    stream_build_config(b, json);
}
