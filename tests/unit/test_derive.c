/*
 * import --base: over which base a state is stored as a delta, what is in the delta, and that both
 * together are what the whole import of the same save file holds. Cases of `property` are made at
 * random from a seed; a failure prints it, and test_derive SEED repeats that case alone.
 */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "base/text.h"
#include "restore/formats/lineage.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_import.h"
#include "store/memory.h"
#include "tests/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <xen/hvm/params.h>
#include <xen/xen.h>

#include <xen/hvm/save.h> /* needs xen.h's types */

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH
#define BOTH (PV | PVH)

#define BASE scratch_path(&dir, "base.img")
#define DELTA scratch_path(&dir, "delta.img")
#define WHOLE scratch_path(&dir, "whole.img")
#define DISK scratch_path(&dir, "disk")

/* ---- steps ---- */

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d: %s", rc, e->text);
}

static struct image_info import_over(struct stream_build *b, const char *base, const char *path)
{
    struct error e = {0};
    struct image_info info;
    must(stream_build_derive(b, base, path, &info, &e), &e);
    return info;
}

static struct image *open_image(const char *path)
{
    struct error e = {0};
    struct image *im = NULL;
    must(image_open(path, &im, &e), &e);
    return im;
}

/* ---- more and fewer entries in the first PAGE_DATA record ---- */

static uint64_t entry_of(uint64_t pfn, unsigned type)
{
    return pfn | (uint64_t)type << IMAGE_TYPE_SHIFT;
}

static bool has_content(uint64_t entry)
{
    return entry >> IMAGE_TYPE_SHIFT < PAGE_BROKEN;
}

/* Behind the others, with a page of zeros where its type has content. */
static void entry_add(struct stream_build *b, uint64_t entry)
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

static void entry_remove(struct stream_build *b, uint64_t pfn)
{
    struct build_record *r = stream_build_find(b, RECORD_PAGE_DATA, 0);
    uint8_t *entry = stream_build_entry(b, pfn);
    if (has_content(get_u64(entry)))
        cut(r, stream_build_page(b, pfn), PAGE_BYTES);
    cut(r, entry, 8);
    put_u32(r->body, get_u32(r->body) - 1);
}

static void retype(struct stream_build *b, uint64_t pfn, unsigned type)
{
    put_u64(stream_build_entry(b, pfn), entry_of(pfn, type));
}

static void fill_word(uint8_t *page, uint64_t word)
{
    for (size_t i = 0; i < PAGE_BYTES; i += sizeof word)
        put_u64(page + i, word);
}

/* ---- a guest with a kernel: six pages of code around its instruction pointer ---- */

#define CODE_PAGES 6u
#define CODE_PFN_PV 13u
#define CODE_PFN_PVH 512u /* a 2 MiB page, most of it not populated */
#define IP 0x4040d123ull  /* L3 entry 1, L2 entry 2, of a PV guest L1 entry 13 */

static const char config[] =
    "{\"c_info\":{\"type\":\"%s\",\"name\":\"d\"},"
    "\"b_info\":{\"max_vcpus\":2,\"avail_vcpus\":[0,1],\"max_memkb\":4096,\"target_memkb\":4096},"
    "\"disks\":[{\"vdev\":\"xvda\",\"pdev_path\":\"%s/disk\",\"readwrite\":1},"
    "{\"vdev\":\"xvdb\",\"pdev_path\":\"%s/data\",\"readwrite\":1}]}";

static uint8_t *ip_of(struct stream_build *b)
{
    if (b->guest == PV)
        return stream_build_find(b, RECORD_X86_PV_VCPU_BASIC, 0)->body + 8 +
               offsetof(struct vcpu_guest_context, user_regs.rip);
    return stream_build_find(b, RECORD_HVM_CONTEXT, 0)->body +
           2 * sizeof(struct hvm_save_descriptor) + HVM_SAVE_LENGTH(HEADER) +
           offsetof(struct hvm_hw_cpu, rip);
}

static uint64_t code_pfn(const struct stream_build *b)
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

static void guest_init(struct stream_build *b, enum image_guest guest)
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

/* With its image at BASE. */
static void base_init(struct stream_build *b, enum image_guest guest)
{
    guest_init(b, guest);
    import_over(b, NULL, BASE);
}

/* ---- refusals ---- */

/* One respect in which a guest differs from its base: a change of its own, or text of its
 * configuration that becomes another. */
struct difference {
    const char *what;
    unsigned guests;
    const char *says; /* NULL: no refusal */
    void (*change)(struct stream_build *b);
    const char *from, *to;
};

static void replace(struct stream_build *b, const char *from, const char *to)
{
    char json[1024];
    const char *at = strstr(b->config, from);
    assert_non_null(at);
    assert_true(format_fits(json, sizeof json, "%.*s%s%s", (int)(at - b->config), b->config, to,
                            at + strlen(from)));
    stream_build_config(b, json);
}

static void other_guest(struct stream_build *b)
{
    enum image_guest other = b->guest == PV ? PVH : PV;
    stream_build_dispose(b);
    guest_init(b, other);
}

static void disk_touch(bool grow, int64_t seconds)
{
    struct stat st;
    int fd = open(DISK, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    if (grow)
        assert_int_equal(write_full(fd, "!", 1), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    times[1].tv_sec += seconds;
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void disk_grown(struct stream_build *b)
{
    (void)b;
    disk_touch(true, 0);
}

static void disk_written(struct stream_build *b)
{
    (void)b;
    disk_touch(false, 1);
}

static void version_2(struct stream_build *b)
{
    b->version = 2;
    stream_build_remove(b, stream_build_find(b, RECORD_STATIC_DATA_END, 0));
    stream_build_remove(b, stream_build_find(b, RECORD_X86_CPUID_POLICY, 0));
    stream_build_remove(b, stream_build_find(b, RECORD_X86_MSR_POLICY, 0));
}

static void cpuid_other(struct stream_build *b)
{
    stream_build_find(b, RECORD_X86_CPUID_POLICY, 0)->body[95] ^= 1;
}

static void cpuid_shorter(struct stream_build *b)
{
    struct build_record *r = stream_build_find(b, RECORD_X86_CPUID_POLICY, 0);
    r->length = r->have = r->length - 24;
}

static void msr_other(struct stream_build *b)
{
    stream_build_find(b, RECORD_X86_MSR_POLICY, 0)->body[8] ^= 1;
}

static void msr_gone(struct stream_build *b)
{
    stream_build_remove(b, stream_build_find(b, RECORD_X86_MSR_POLICY, 0));
}

static void p2m_elsewhere(struct stream_build *b)
{
    put_u64(stream_build_find(b, RECORD_X86_PV_P2M_FRAMES, 0)->body + 8, BUILD_PFN_DATA);
}

static void p2m_longer(struct stream_build *b)
{
    put_u32(stream_build_find(b, RECORD_X86_PV_P2M_FRAMES, 0)->body + 4, BUILD_PV_MAX_PFN + 1);
}

static void max_pfn_higher(struct stream_build *b)
{
    entry_add(b, entry_of(BUILD_PVH_CONSOLE + 1, PAGE_XTAB));
}

static void page_fewer(struct stream_build *b)
{
    entry_remove(b, b->guest == PV ? BUILD_PFN_ZERO : BUILD_PVH_ZERO);
}

static void page_more(struct stream_build *b)
{
    entry_add(b, b->guest == PV ? BUILD_PV_MAX_PFN : 2);
}

static void page_moved(struct stream_build *b)
{
    page_fewer(b);
    page_more(b);
}

static void last_page_fewer(struct stream_build *b)
{
    put_u64(stream_build_page(b, BUILD_PFN_L1) + (CODE_PFN_PV + CODE_PAGES - 1) * 8, 0);
    entry_remove(b, CODE_PFN_PV + CODE_PAGES - 1);
}

static uint8_t *ring_of(struct stream_build *b, bool console)
{
    if (b->guest == PV)
        return stream_build_page(b, BUILD_PFN_START_INFO) +
               (console ? offsetof(struct start_info, console.domU.mfn)
                        : offsetof(struct start_info, store_mfn));
    return stream_build_find(b, RECORD_HVM_PARAMS, 0)->body + 8 + (console ? 16 : 0) + 8;
}

static void store_elsewhere(struct stream_build *b)
{
    put_u64(ring_of(b, false), b->guest == PV ? BUILD_PFN_DATA : BUILD_PVH_ZERO);
}

static void console_elsewhere(struct stream_build *b)
{
    put_u64(ring_of(b, true), b->guest == PV ? BUILD_PFN_DATA : BUILD_PVH_ZERO);
}

static void ip_elsewhere(struct stream_build *b)
{
    put_u64(ip_of(b), IP + 16);
}

static void code_change(struct stream_build *b, unsigned pages)
{
    for (uint64_t pfn = code_pfn(b); pfn < code_pfn(b) + pages; pfn++)
        stream_build_page(b, pfn)[100] ^= 1;
}

static void half_the_code(struct stream_build *b)
{
    code_change(b, CODE_PAGES / 2);
}

static void more_than_half(struct stream_build *b)
{
    code_change(b, CODE_PAGES / 2 + 1);
}

static void secondary_elsewhere(struct stream_build *b)
{
    uint8_t *ctx = stream_build_find(b, RECORD_X86_PV_VCPU_BASIC, 1)->body + 8;
    put_u64(ctx + offsetof(struct vcpu_guest_context, user_regs.rip), 0x1234);
}

static void state_other(struct stream_build *b)
{
    put_u64(stream_build_find(b, RECORD_X86_TSC_INFO, 0)->body + 8, 987654321);
}

#define MAX_VCPUS "\"max_vcpus\":2"
#define XVDB ",{\"vdev\":\"xvdb\",\"pdev_path\":\"%s/data\",\"readwrite\":1}"

static void disk_fewer(struct stream_build *b)
{
    char text[256];
    assert_true(format_fits(text, sizeof text, XVDB, dir.dir));
    replace(b, text, "");
}

static const struct difference differences[] = {
    {"nothing", BOTH, .says = NULL},
    {"name", BOTH, NULL, .from = "\"name\":\"d\"", .to = "\"name\":\"e\""},
    {"half of the code", BOTH, NULL, .change = half_the_code},
    {"another vCPU elsewhere", PV, NULL, .change = secondary_elsewhere},
    {"state", BOTH, NULL, .change = state_other},
    {"kind of guest", BOTH, "the kind of guest (1 PV, 2 PVH) is", .change = other_guest},
    {"vCPUs", BOTH, "the number of vCPUs is 3, the base's is 2", .from = MAX_VCPUS,
     .to = "\"max_vcpus\":3"},
    {"online vCPUs", BOTH, "other vCPUs are online", .from = "[0,1]", .to = "[0]"},
    {"max_memkb", BOTH, "max_memkb is 8192, the base's is 4096", .from = "\"max_memkb\":4096",
     .to = "\"max_memkb\":8192"},
    {"target_memkb", BOTH, "target_memkb is 4000, the base's is 4096",
     .from = "\"target_memkb\":4096", .to = "\"target_memkb\":4000"},
    {"shadow_memkb", PVH, "the paging pool", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"shadow_memkb\":3072"},
    {"tsc_mode", BOTH, "tsc_mode is 2, the base's is 0", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"tsc_mode\":\"native\""},
    {"nested_hvm", PVH, "nested_hvm is 1, the base's is 0", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"nested_hvm\":\"True\""},
    {"disable_migrate", BOTH, "nomigrate is 1, the base's is 0", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"disable_migrate\":\"True\""},
    {"max_grant_frames", BOTH, "max_grant_frames is 32, the base's is", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"max_grant_frames\":32"},
    {"max_maptrack_frames", BOTH, "max_maptrack_frames is 32, the base's is", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"max_maptrack_frames\":32"},
    {"event_channels", BOTH, "event_channels is 127, the base's is 1023", .from = MAX_VCPUS,
     .to = MAX_VCPUS ",\"event_channels\":127"},
    {"disk path", BOTH, "/data, the base's is cow:/", .from = "/disk\"", .to = "/data\""},
    {"disk kind", BOTH, "disk xvda is ro:/", .from = "\"readwrite\":1", .to = "\"readwrite\":0"},
    {"disk name", BOTH, "the base has no disk xvdc", .from = "xvdb", .to = "xvdc"},
    {"one disk fewer", BOTH, "the number of disks is 1, the base's is 2", .change = disk_fewer},
    {"size of a disk", BOTH, "has changed since the base was imported", .change = disk_grown},
    {"time of a disk", BOTH, "has changed since the base was imported", .change = disk_written},
    {"stream version", BOTH, "the version of the stream is 2, the base's is 3",
     .change = version_2},
    {"CPUID", BOTH, "X86_CPUID_POLICY differs (saved with other CPU features)",
     .change = cpuid_other},
    {"one CPUID leaf fewer", BOTH, "X86_CPUID_POLICY differs (saved with", .change = cpuid_shorter},
    {"MSRs", BOTH, "X86_MSR_POLICY differs (saved with other CPU features)", .change = msr_other},
    {"no MSR record", PV, "the number of static records is 4, the base's is 5", .change = msr_gone},
    {"no MSR record", PVH, "the number of static records is 2, the base's is 3",
     .change = msr_gone},
    {"p2m frame", PV, "X86_PV_P2M_FRAMES differs (another p2m layout)", .change = p2m_elsewhere},
    {"length of the p2m", PV, "X86_PV_P2M_FRAMES differs (another p2m layout)",
     .change = p2m_longer},
    {"highest pfn", PVH, "the highest pfn is 1044474, the base's is 1044473",
     .change = max_pfn_higher},
    {"one page fewer", PV, "other pages are populated, first at pfn 0xb", .change = page_fewer},
    {"one page fewer", PVH, "other pages are populated, first at pfn 0x1 ", .change = page_fewer},
    {"one page fewer at the end", PV, "16 pages are populated, in the base 17",
     .change = last_page_fewer},
    {"one page more", PV, "18 pages are populated, in the base 17", .change = page_more},
    {"one page more", PVH, "other pages are populated, first at pfn 0x2", .change = page_more},
    {"one page elsewhere", PV, "other pages are populated, first at pfn 0xb", .change = page_moved},
    {"one page elsewhere", PVH, "other pages are populated, first at pfn 0x1 ",
     .change = page_moved},
    {"xenstore ring", BOTH, "xenstore or console ring are elsewhere", .change = store_elsewhere},
    {"console ring", BOTH, "xenstore or console ring are elsewhere", .change = console_elsewhere},
    {"instruction pointer", BOTH, "another kernel, or another boot of it", .change = ip_elsewhere},
    {"more than half of the code", BOTH,
     "of 6 pages of code around the kernel's instruction pointer only 2 are",
     .change = more_than_half},
};

/* Stored whole, the changed guest is fine: the base alone is why it is refused. */
static void check_difference(const struct difference *d, enum image_guest guest)
{
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    base_init(&b, guest);
    if (d->change)
        d->change(&b);
    if (d->from)
        replace(&b, d->from, d->to);
    import_over(&b, NULL, WHOLE);
    int rc = stream_build_derive(&b, BASE, DELTA, &info, &e);
    if (!rc != !d->says)
        fail_msg("%s: returned %d (%s)", d->what, rc, e.text);
    if (d->says)
        assert_refused(rc, &e, d->says);
    assert_int_equal(access(DELTA, F_OK), d->says ? -1 : 0);
    assert_int_equal(scratch_files(&dir, true), d->says ? 4 : 5); /* disks, BASE, WHOLE */
    stream_build_dispose(&b);
}

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(differences); i++)
        for (enum image_guest guest = PV; guest <= PVH; guest++)
            if (differences[i].guests & guest)
                check_difference(&differences[i], guest);
}

/* A delta over what nobody has would be right nowhere else. */
static void base_is_damaged(void **state)
{
    (void)state;
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    uint8_t byte;
    base_init(&b, PV);
    int fd = open(BASE, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread_full(fd, &byte, 1, PAGE_BYTES + 100), 0); /* of the first payload */
    byte ^= 1;
    assert_int_equal(pwrite_full(fd, &byte, 1, PAGE_BYTES + 100), 0);
    assert_refused(stream_build_derive(&b, BASE, DELTA, &info, &e), &e, "PAYLOAD is damaged");
    byte ^= 1;
    assert_int_equal(pwrite_full(fd, &byte, 1, PAGE_BYTES + 100), 0);
    fd_close(&fd);
    import_over(&b, BASE, DELTA);
    stream_build_dispose(&b);
}

static void base_is_derived(void **state)
{
    (void)state;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        struct stream_build b;
        struct image_info info;
        struct error e = {0};
        base_init(&b, guest);
        import_over(&b, BASE, DELTA);
        assert_refused(stream_build_derive(&b, DELTA, WHOLE, &info, &e), &e,
                       "derived image itself: derive from its base");
        assert_int_equal(scratch_files(&dir, true), 4);
        stream_build_dispose(&b);
    }
}

/* A base that is not there, or no image, is no reason to leave a file. */
static void no_base(void **state)
{
    (void)state;
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    base_init(&b, PV);
    assert_int_equal(stream_build_derive(&b, WHOLE, DELTA, &info, &e), -ENOENT);
    assert_refused(stream_build_derive(&b, DISK, DELTA, &info, &e), &e, "disk");
    assert_int_equal(scratch_files(&dir, false), 3);
    stream_build_dispose(&b);
}

/* ---- what is in a delta ---- */

static const uint64_t left_out_pv[] = {BUILD_PFN_STORE, BUILD_PFN_CONSOLE, BUILD_PFN_P2M};
static const uint64_t left_out_pvh[] = {BUILD_PVH_STORE, BUILD_PVH_CONSOLE};

static const uint64_t *left_out_pfns(enum image_guest guest, size_t *n)
{
    *n = guest == PV ? ARRAY_SIZE(left_out_pv) : ARRAY_SIZE(left_out_pvh);
    return guest == PV ? left_out_pv : left_out_pvh;
}

static bool is_left_out(enum image_guest guest, uint64_t pfn)
{
    size_t n;
    const uint64_t *pfns = left_out_pfns(guest, &n);
    while (n && pfns[n - 1] != pfn)
        n--;
    return n > 0;
}

static uint64_t data_pfn(enum image_guest guest)
{
    return guest == PV ? BUILD_PFN_DATA : BUILD_PVH_DATA;
}

static void copy_state(struct image_writer *w, const struct image *im)
{
    struct image_record r;
    struct error e = {0};
    size_t cursor = 0;
    while (image_next_record(im, &cursor, &r))
        must(image_writer_record(w, r.type, r.body, r.length, &e), &e);
    must(image_writer_config(w, image_config(im), &e), &e);
}

/* BASE again, with a page of another type: no importer makes a ring one. */
static void base_retype(uint64_t pfn, unsigned type)
{
    struct error e = {0};
    struct image_writer *w;
    struct image_page pages[64];
    struct image *im = open_image(BASE);
    struct image_info info = *image_info(im);
    assert_true(info.entries <= ARRAY_SIZE(pages));
    unlink(BASE);
    must(image_writer_new(BASE, &w, &e), &e);
    for (uint64_t i = 0; i < info.entries; i++) {
        const struct image_page *p = &image_pages(im)[i];
        uint64_t now = image_page_pfn(p) == pfn ? entry_of(pfn, type) : p->pfn_type;
        pages[i].pfn_type = now;
        must(image_writer_payload(w, image_payload(im, p->payload), &pages[i].payload, &e), &e);
    }
    must(image_writer_pages(w, pages, info.entries, &e), &e);
    copy_state(w, im);
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
    image_close(im);
}

/* The delta of b over BASE holds just this page; content NULL: of zeros. */
static void expect_one_page(struct stream_build *b, uint64_t pfn, unsigned type,
                            const uint8_t *content)
{
    assert_int_equal(import_over(b, BASE, DELTA).entries, 1);
    struct image *delta = open_image(DELTA);
    const struct image_page *p = image_pages(delta);
    assert_int_equal(p->pfn_type, entry_of(pfn, type));
    if (content)
        assert_memory_equal(image_payload(delta, p->payload), content, PAGE_BYTES);
    else
        assert_true(p->payload == IMAGE_PAGE_ZERO);
    image_close(delta);
    unlink(DELTA);
}

static void expect_no_page(struct stream_build *b)
{
    assert_int_equal(import_over(b, BASE, DELTA).entries, 0);
    unlink(DELTA);
}

static void left_out_of(enum image_guest guest)
{
    struct stream_build b;
    size_t n;
    const uint64_t *pfns = left_out_pfns(guest, &n);
    base_init(&b, guest);
    for (size_t i = 0; i < n; i++)
        memset(stream_build_page(&b, pfns[i]), 0x77 + (int)i, PAGE_BYTES);
    expect_no_page(&b);
    for (size_t i = 0; i < n; i++) {
        base_retype(pfns[i], PAGE_L1TAB);
        expect_one_page(&b, pfns[i], PAGE_NOTAB, stream_build_page(&b, pfns[i]));
        base_retype(pfns[i], PAGE_NOTAB);
    }
    uint8_t *data = stream_build_page(&b, data_pfn(guest));
    data[PAGE_BYTES - 1] ^= 1;
    expect_one_page(&b, data_pfn(guest), PAGE_NOTAB, data);
    stream_build_dispose(&b);
    scratch_files(&dir, true);
}

static void left_out(void **state)
{
    (void)state;
    left_out_of(PV);
    left_out_of(PVH);
}

static void types_count(void **state)
{
    (void)state;
    static const struct {
        uint64_t pfn;
        unsigned was, type;
    } pages[] = {
        {BUILD_PFN_DATA, PAGE_NOTAB, PAGE_L1TAB},
        {BUILD_PFN_ZERO, PAGE_NOTAB, PAGE_L2TAB | PAGE_TYPE_PINNED},
        {BUILD_PFN_L1, PAGE_L1TAB, PAGE_L1TAB | PAGE_TYPE_PINNED},
        {BUILD_PFN_L4, PAGE_L4TAB | PAGE_TYPE_PINNED, PAGE_L4TAB},
    };
    struct stream_build b;
    base_init(&b, PV);
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        retype(&b, pages[i].pfn, pages[i].type);
        expect_one_page(&b, pages[i].pfn, pages[i].type, stream_build_page(&b, pages[i].pfn));
        retype(&b, pages[i].pfn, pages[i].was);
        expect_no_page(&b);
    }
    stream_build_dispose(&b);
}

static void free_over_content(enum image_guest guest)
{
    struct stream_build b;
    base_init(&b, guest);
    uint8_t *data = stream_build_page(&b, data_pfn(guest));
    fill_word(data, IMAGE_FREE_WORD);
    assert_int_equal(import_over(&b, BASE, DELTA).free_pages, 1);
    unlink(DELTA);
    expect_no_page(&b);
    data[PAGE_BYTES - 1] ^= 1; /* used after all */
    expect_one_page(&b, data_pfn(guest), PAGE_NOTAB, data);
    stream_build_dispose(&b);
    scratch_files(&dir, true);
}

static void content_over_free(enum image_guest guest)
{
    struct stream_build b;
    guest_init(&b, guest);
    uint8_t *data = stream_build_page(&b, data_pfn(guest));
    fill_word(data, IMAGE_FREE_WORD);
    assert_int_equal(import_over(&b, NULL, BASE).free_pages, 1);
    struct image *base = open_image(BASE);
    assert_true(image_find(base, data_pfn(guest))->payload == IMAGE_PAGE_ZERO);
    image_close(base);
    expect_no_page(&b);
    memset(data, 0, PAGE_BYTES); /* what the base has */
    expect_no_page(&b);
    memset(data, 0x11, PAGE_BYTES);
    expect_one_page(&b, data_pfn(guest), PAGE_NOTAB, data);
    stream_build_dispose(&b);
    scratch_files(&dir, true);
}

static void free_pages(void **state)
{
    (void)state;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        free_over_content(guest);
        content_over_free(guest);
    }
    struct stream_build b;
    guest_init(&b, PV);
    retype(&b, BUILD_PFN_DATA, PAGE_L1TAB);
    import_over(&b, NULL, BASE);
    retype(&b, BUILD_PFN_DATA, PAGE_NOTAB);
    fill_word(stream_build_page(&b, BUILD_PFN_DATA), IMAGE_FREE_WORD);
    expect_one_page(&b, BUILD_PFN_DATA, PAGE_NOTAB, NULL);
    uint8_t *table = stream_build_page(&b, BUILD_PFN_DATA); /* of entries that are not present */
    retype(&b, BUILD_PFN_DATA, PAGE_L1TAB);
    expect_one_page(&b, BUILD_PFN_DATA, PAGE_L1TAB, table);
    stream_build_dispose(&b);
}

/* ---- property: base and delta are the whole ---- */

#define CASES 700u /* of each kind of guest */
#define CELLS 14u
#define CONTENTS 12u /* few, so that equal pages are frequent */
#define CONTENT_ZERO 0u
#define CONTENT_FREE 1u

static uint64_t seed, first_seed = 1, last_seed = CASES;

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": %s", seed, #condition);                                    \
    } while (0)

/* Pages that change; PV: the first four have to be ordinary memory. */
static const uint64_t cells_pv[CELLS] = {BUILD_PFN_STORE,
                                         BUILD_PFN_CONSOLE,
                                         BUILD_PFN_P2M,
                                         BUILD_PFN_GDT,
                                         BUILD_PFN_DATA,
                                         BUILD_PFN_ZERO,
                                         13,
                                         14,
                                         15,
                                         16,
                                         17,
                                         18,
                                         19,
                                         20};
static const uint64_t cells_pvh[CELLS] = {BUILD_PVH_STORE,
                                          BUILD_PVH_CONSOLE,
                                          BUILD_PVH_DATA,
                                          BUILD_PVH_ZERO,
                                          3,
                                          4,
                                          5,
                                          6,
                                          7,
                                          8,
                                          9,
                                          10,
                                          11,
                                          12};
#define PLAIN_CELLS 4u

struct cell {
    unsigned type, content;
};

struct model {
    enum image_guest guest;
    struct cell cell[CELLS];
};

static uint64_t cell_pfn(const struct model *m, size_t i)
{
    return m->guest == PV ? cells_pv[i] : cells_pvh[i];
}

/* Zeros, words over and over, and pages that differ from one of those in one byte. Bit 0 of every
 * word is clear, so that each is a valid page table. */
static void content_fill(unsigned content, uint8_t page[PAGE_BYTES])
{
    static const uint64_t words[] = {0, IMAGE_FREE_WORD, 2, 0x5454545454545454ull};
    static const unsigned odd[] = {0, 1, 7, 8, 9, 2048, 4087, 4095};
    fill_word(page, words[content < ARRAY_SIZE(words) ? content : ARRAY_SIZE(words) - 1]);
    if (content >= ARRAY_SIZE(words))
        page[odd[content - ARRAY_SIZE(words)]] = 0x56;
}

static unsigned random_type(const struct model *m, size_t i)
{
    static const unsigned types[] = {PAGE_NOTAB, PAGE_NOTAB,
                                     PAGE_L1TAB, PAGE_L1TAB | PAGE_TYPE_PINNED,
                                     PAGE_L2TAB, PAGE_L3TAB | PAGE_TYPE_PINNED,
                                     PAGE_L4TAB};
    return m->guest == PVH || i < PLAIN_CELLS ? PAGE_NOTAB : types[below(ARRAY_SIZE(types))];
}

/* Contents and types change at rates of their own. */
static void model_change(struct model *m, unsigned types, unsigned contents)
{
    for (size_t i = 0; i < CELLS; i++) {
        if (below(100) < types)
            m->cell[i].type = random_type(m, i);
        if (below(100) < contents)
            m->cell[i].content = below(CONTENTS);
    }
}

static void model_change_some(struct model *m)
{
    static const unsigned rates[] = {0, 10, 25, 100};
    model_change(m, rates[below(ARRAY_SIZE(rates))], rates[below(ARRAY_SIZE(rates))]);
}

static void model_stream(const struct model *m, struct stream_build *b)
{
    for (size_t i = 0; i < CELLS; i++) {
        retype(b, cell_pfn(m, i), m->cell[i].type);
        content_fill(m->cell[i].content, stream_build_page(b, cell_pfn(m, i)));
    }
}

/* As a live migration does: other pages in the first round, these in a second one. */
static void model_stream_twice(const struct model *m, struct stream_build *b)
{
    uint8_t body[8 + CELLS * (8 + PAGE_BYTES)];
    struct model before = *m;
    put_u64(body, CELLS);
    for (size_t i = 0; i < CELLS; i++) {
        put_u64(body + 8 + i * 8, entry_of(cell_pfn(m, i), m->cell[i].type));
        content_fill(m->cell[i].content, body + 8 + CELLS * 8 + i * PAGE_BYTES);
    }
    model_change_some(&before);
    model_stream(&before, b);
    struct build_record *first = stream_build_find(b, RECORD_PAGE_DATA, 0);
    stream_build_insert(b, stream_build_index(b, first) + 1, RECORD_PAGE_DATA, body, sizeof body);
}

static void small_guest_init(struct stream_build *b, enum image_guest guest)
{
    stream_build_init(b, guest);
    if (guest == PV)
        replace(b, "\"disks\"", "\"on_crash\""); /* passed over: no disk to look at */
    for (uint64_t pfn = 13; guest == PV && pfn <= BUILD_PV_MAX_PFN; pfn++)
        entry_remove(b, pfn);
    for (size_t i = guest == PV ? 6 : 4; i < CELLS; i++)
        entry_add(b, guest == PV ? cells_pv[i] : cells_pvh[i]);
}

static struct image *import_model(const struct model *m, const char *base, const char *path)
{
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    small_guest_init(&b, m->guest);
    if (below(4))
        model_stream(m, &b);
    else
        model_stream_twice(m, &b);
    if (stream_build_derive(&b, base, path, &info, &e))
        fail_msg("seed %" PRIu64 ": %s", seed, e.text);
    stream_build_dispose(&b);
    return open_image(path);
}

/* A page table of such words is none. */
static bool cell_free(const struct cell *c)
{
    return c->content == CONTENT_FREE && !page_type_is_table(c->type);
}

static unsigned stored(const struct cell *c)
{
    return cell_free(c) ? CONTENT_ZERO : c->content;
}

/* Whether x's page is in the delta: it differs from the base's, and that matters. */
static bool cell_differs(const struct model *base, const struct model *x, size_t i)
{
    const struct cell *was = &base->cell[i], *is = &x->cell[i];
    return was->type != is->type ||
           (!cell_free(is) && !is_left_out(x->guest, cell_pfn(x, i)) && stored(was) != is->content);
}

/* Every page of x in the memory of base and delta, and nothing else in the delta. */
static void check_cells(const struct model *base, const struct model *x,
                        const struct image_memory *both)
{
    uint64_t in_delta = 0, n_free = 0;
    for (size_t i = 0; i < CELLS; i++) {
        bool differs = cell_differs(base, x, i);
        struct memory_page p;
        uint8_t page[PAGE_BYTES];
        content_fill(stored(differs ? &x->cell[i] : &base->cell[i]), page);
        HOLDS(memory_find(both, cell_pfn(x, i), &p));
        HOLDS((p.image == both->delta) == differs);
        HOLDS(p.type == x->cell[i].type);
        HOLDS(!memcmp(memory_content(&p), page, PAGE_BYTES));
        in_delta += differs;
        n_free += cell_free(&x->cell[i]);
    }
    HOLDS(image_info(both->delta)->entries == in_delta);
    HOLDS(image_info(both->delta)->free_pages == n_free);
}

static bool is_free(const struct model *m, uint64_t pfn)
{
    for (size_t i = 0; i < CELLS; i++)
        if (cell_pfn(m, i) == pfn)
            return cell_free(&m->cell[i]);
    return false;
}

/* The whole import has the same memory, but for what does not matter. */
static void check_whole(const struct model *x, const struct image_memory *both,
                        const struct image_memory *whole)
{
    struct memory_diff d;
    struct memory_difference found;
    struct lineage l;
    struct error e = {0};
    must(lineage_init(&l, both->base, &e), &e);
    memory_diff_start(&d, both, whole);
    while (memory_diff_next(&d, &found)) {
        HOLDS(found.change == MEMORY_CHANGED);
        HOLDS(found.from.type == found.to.type);
        HOLDS(lineage_leaves_out(&l, found.to.pfn) || is_free(x, found.to.pfn));
    }
    lineage_dispose(&l);
    HOLDS(image_info(both->delta)->populated == image_info(whole->base)->entries);
    HOLDS(image_info(both->delta)->free_pages == image_info(whole->base)->free_pages);
}

static void check_case(const struct model *base, const struct model *x)
{
    struct error e = {0};
    struct image *under = import_model(base, NULL, BASE), *whole = import_model(x, NULL, WHOLE);
    struct image *delta = import_model(x, BASE, DELTA);
    const struct image_memory both = {under, delta}, all = {whole, NULL};
    if (memory_check(&both, &e))
        fail_msg("seed %" PRIu64 ": %s", seed, e.text);
    check_cells(base, x, &both);
    check_whole(x, &both, &all);
    image_close(delta);
    image_close(whole);
    image_close(under);
    scratch_files(&dir, true);
}

static void property(void **state)
{
    (void)state;
    for (seed = first_seed; seed <= last_seed; seed++)
        for (enum image_guest guest = PV; guest <= PVH; guest++) {
            struct model base = {.guest = guest}, x;
            random_seed(seed);
            model_change(&base, 100, 100);
            x = base;
            model_change_some(&x);
            check_case(&base, &x);
        }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 0);
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(refusals),   TEST_IN_DIR(base_is_derived), TEST_IN_DIR(base_is_damaged),
        TEST_IN_DIR(no_base),    TEST_IN_DIR(left_out),        TEST_IN_DIR(types_count),
        TEST_IN_DIR(free_pages), TEST_IN_DIR(property),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
