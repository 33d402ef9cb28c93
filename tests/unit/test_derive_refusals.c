/*
 * import --base: over which base a state is stored as a delta, and over which it is refused, in one
 * respect after the other.
 */
#include "tests/unit/check.h"
#include "tests/unit/derive_guest.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "base/text.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <xen/xen.h>

#define BOTH (PV | PVH)
#define DISK scratch_path(&dir, "disk")

/* One respect in which a guest differs from its base: a change of its own, or text of its
 * configuration that becomes another. */
struct difference {
    const char *what;
    unsigned guests;
    const char *says; /* NULL: no refusal */
    void (*change)(struct stream_build *b);
    const char *from, *to;
};

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
    config_replace(b, text, "");
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
    {"xenstore ring", BOTH, "xenstore or console ring is at another pfn",
     .change = store_elsewhere},
    {"console ring", BOTH, "xenstore or console ring is at another pfn",
     .change = console_elsewhere},
    {"instruction pointer", BOTH, "another kernel, or another boot of it", .change = ip_elsewhere},
    {"more than half of the code", BOTH,
     "only 2 of 6 pages of code around the kernel's instruction pointer are",
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
        config_replace(&b, d->from, d->to);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(refusals),
        TEST_IN_DIR(base_is_derived),
        TEST_IN_DIR(base_is_damaged),
        TEST_IN_DIR(no_base),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
