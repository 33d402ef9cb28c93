/* restore/imaging/image_diff.h: each count, against guests whose differences are written down here.
 */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/page.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_diff.h"
#include "restore/imaging/image_import.h"

#include <errno.h>

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH
#define PV_LAST_PFN 60u

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d: %s", rc, e->text);
}

/* ---- guests ---- */

struct page {
    uint64_t pfn;
    unsigned type;
    uint8_t fill;
};

/* One more PAGE_DATA record; what it says counts. */
static void add_pages(struct stream_build *b, const struct page *pages, uint32_t n)
{
    uint8_t *body = calloc(1, 8 + n * (8 + (size_t)PAGE_BYTES)), *at = body + 8 + (size_t)n * 8;
    assert_non_null(body);
    put_u32(body, n);
    for (uint32_t i = 0; i < n; i++) {
        put_u64(body + 8 + (size_t)i * 8,
                pages[i].pfn | (uint64_t)pages[i].type << IMAGE_TYPE_SHIFT);
        if (pages[i].type >= PAGE_BROKEN)
            continue;
        memset(at, pages[i].fill, PAGE_BYTES);
        at += PAGE_BYTES;
    }
    struct build_record *tsc = stream_build_find(b, RECORD_X86_TSC_INFO, 0);
    stream_build_insert(b, stream_build_index(b, tsc), RECORD_PAGE_DATA, body,
                        (uint32_t)(at - body));
    free(body);
}

static void build_start(struct stream_build *b, enum image_guest guest)
{
    stream_build_init(b, guest);
    if (guest == PV)
        put_u32(stream_build_find(b, RECORD_X86_PV_P2M_FRAMES, 0)->body + 4, PV_LAST_PFN);
}

/* base NULL: stored whole. Disposes of b. */
static struct image *build_image(struct stream_build *b, const char *name, const char *base)
{
    struct built f;
    struct source src;
    struct image_info info;
    struct error e = {0};
    struct image *im = NULL;
    struct import_options o = {.image_path = scratch_path(&dir, name),
                               .base_path = base ? scratch_path(&dir, base) : NULL,
                               .trusted = true};
    stream_build_bytes(b, &f);
    source_init_memory(&src, f.bytes, f.size);
    must(import_source(&src, &o, &info, &e), &e);
    must(image_open(scratch_path(&dir, name), &im, &e), &e);
    source_dispose(&src);
    built_dispose(&f);
    stream_build_dispose(b);
    return im;
}

/* ---- comparing ---- */

static json_t *diff(struct image_memory a, struct image_memory b)
{
    struct error e = {0};
    json_t *out = NULL;
    must(image_diff(&a, &b, NULL, NULL, &out, &e), &e);
    return out;
}

static json_t *diff_images(const struct image *a, const struct image *b)
{
    return diff((struct image_memory){a, NULL}, (struct image_memory){b, NULL});
}

/* Takes both. */
static void expect_json(json_t *is, json_t *expected)
{
    assert_non_null(expected);
    if (!json_equal(is, expected)) {
        char *text = json_dumps(is, JSON_PRESERVE_ORDER), *other = json_dumps(expected, 0);
        print_error("%s\nexpected %s\n", text, other);
        free(text);
        free(other);
        fail();
    }
    json_decref(is);
    json_decref(expected);
}

static json_t *no_difference(void)
{
    return json_pack("{s:i, s:[i, i, i, i], s:i, s:i, s:i, s:i, s:i, s:i, s:[]}", "pages", 0,
                     "tables", 0, 0, 0, 0, "type_changes", 0, "to_zero", 0, "added", 0, "removed",
                     0, "bytes", 0, "toolstack_pages", 0, "records");
}

/* ---- memory ---- */

static const struct page pages_before[] = {
    {13, PAGE_NOTAB, 0x11},
    {14, PAGE_NOTAB, 0x11},
    {15, PAGE_NOTAB, 0},
    {16, PAGE_NOTAB, 0x11},
    {17, PAGE_L1TAB | PAGE_TYPE_PINNED, 0},
    {18, PAGE_NOTAB, 0},
    {19, PAGE_L1TAB, 0},
    {20, PAGE_NOTAB, 0},
    {21, PAGE_L2TAB, 0},
    {22, PAGE_NOTAB, 0},
    {23, PAGE_NOTAB, 0},
    {24, PAGE_L2TAB, 0},
    {25, PAGE_L2TAB, 0},
    {26, PAGE_NOTAB, 0},
    {27, PAGE_NOTAB, 0},
    {28, PAGE_NOTAB, 0x11},
    {30, PAGE_NOTAB, 0x77}, /* as it is afterwards */
    {31, PAGE_L3TAB, 0},    /* likewise */
};

static const struct page pages_after[] = {
    {13, PAGE_NOTAB, 0},                         /* to zero */
    {14, PAGE_NOTAB, 0},                         /* to zero */
    {15, PAGE_NOTAB, 0x22},                      /* from zero */
    {16, PAGE_NOTAB, 0x22}, {17, PAGE_L1TAB, 0}, /* no longer pinned */
    {18, PAGE_L1TAB, 0},    {19, PAGE_L2TAB, 0}, {20, PAGE_L2TAB | PAGE_TYPE_PINNED, 0},
    {21, PAGE_L3TAB, 0},    {22, PAGE_L4TAB, 0}, {23, PAGE_L2TAB, 0},
    {24, PAGE_NOTAB, 0},                                              /* no table any more */
    {25, PAGE_NOTAB, 0x33},                                           /* and with content */
    {26, PAGE_L1TAB, 0},    {27, PAGE_L3TAB, 0}, {28, PAGE_NOTAB, 0}, /* to zero */
    {30, PAGE_NOTAB, 0x77}, {31, PAGE_L3TAB, 0},
};

/* A table's content, an entry that is not present; three bytes of data. */
static void change_bytes(struct stream_build *b)
{
    stream_build_page(b, BUILD_PFN_L1)[4095] = 0x40;
    uint8_t *data = stream_build_page(b, BUILD_PFN_DATA);
    data[0] = data[2048] = data[4095] = 1;
}

static void change_toolstack_pages(struct stream_build *b)
{
    stream_build_page(b, BUILD_PFN_STORE)[5] ^= 1;
    stream_build_page(b, BUILD_PFN_CONSOLE)[6] ^= 1;
    stream_build_page(b, BUILD_PFN_P2M)[7] ^= 1;
}

static struct image *image_before(const struct page *more, uint32_t n)
{
    struct stream_build b;
    build_start(&b, PV);
    add_pages(&b, pages_before, ARRAY_SIZE(pages_before));
    if (n)
        add_pages(&b, more, n);
    return build_image(&b, "before.img", NULL);
}

/* Stored whole, or derived from image_before's. */
static struct image *image_after(const struct page *more, uint32_t n, bool derived)
{
    struct stream_build b;
    build_start(&b, PV);
    change_bytes(&b);
    change_toolstack_pages(&b);
    add_pages(&b, pages_after, ARRAY_SIZE(pages_after));
    if (n)
        add_pages(&b, more, n);
    return derived ? build_image(&b, "derived.img", "before.img")
                   : build_image(&b, "after.img", NULL);
}

/* Pages 13 to 28, L1 and data. Tables: 17, 18, 26 and L1; 19, 20, 23; 21, 27; 22. Bytes: of six
 * whole pages (13 to 16, 25, 28), of L1 and data. */
static json_t *expected_after(int added, int removed, int toolstack)
{
    return json_pack("{s:i, s:[i, i, i, i], s:i, s:i, s:i, s:i, s:i, s:i, s:[]}", "pages", 18,
                     "tables", 4, 3, 2, 1, "type_changes", 11, "to_zero", 3, "added", added,
                     "removed", removed, "bytes", 6 * 4096 + 1 + 3, "toolstack_pages", toolstack,
                     "records");
}

/* The other way round. Tables: 17, 19 and L1; 21, 24, 25. To zero: 15, 25. */
static json_t *expected_before(int added, int removed, int toolstack)
{
    return json_pack("{s:i, s:[i, i, i, i], s:i, s:i, s:i, s:i, s:i, s:i, s:[]}", "pages", 18,
                     "tables", 3, 3, 0, 0, "type_changes", 11, "to_zero", 2, "added", added,
                     "removed", removed, "bytes", 6 * 4096 + 1 + 3, "toolstack_pages", toolstack,
                     "records");
}

static void whole_images(void **state)
{
    (void)state;
    struct image *before = image_before(NULL, 0), *after = image_after(NULL, 0, false);
    expect_json(diff_images(before, after), expected_after(0, 0, 3));
    expect_json(diff_images(after, before), expected_before(0, 0, 3));
    image_close(before);
    image_close(after);
}

/* In between and behind the last; what they hold counts as nothing else. */
static void added_and_removed(void **state)
{
    (void)state;
    static const struct page gone[] = {{40, PAGE_NOTAB, 0x55}, {45, PAGE_L1TAB, 0}};
    static const struct page new[] = {
        {41, PAGE_NOTAB, 0x55}, {50, PAGE_L2TAB, 0}, {PV_LAST_PFN, PAGE_NOTAB, 0}};
    struct image *before = image_before(gone, ARRAY_SIZE(gone));
    struct image *after = image_after(new, ARRAY_SIZE(new), false);
    expect_json(diff_images(before, after), expected_after(3, 2, 3));
    expect_json(diff_images(after, before), expected_before(2, 3, 3));
    image_close(before);
    image_close(after);
}

static void equal_images(void **state)
{
    (void)state;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        struct stream_build b;
        build_start(&b, guest);
        struct image *one = build_image(&b, "one.img", NULL);
        build_start(&b, guest);
        struct image *other = build_image(&b, "other.img", NULL);
        expect_json(diff_images(one, other), no_difference());
        expect_json(diff_images(one, one), no_difference());
        image_close(one);
        image_close(other);
        scratch_files(&dir, true);
    }
}

/* Whose rings are named by a record, not by memory. */
static void toolstack_pages_pvh(void **state)
{
    (void)state;
    struct stream_build b;
    build_start(&b, PVH);
    struct image *before = build_image(&b, "before.img", NULL);
    build_start(&b, PVH);
    stream_build_page(&b, BUILD_PVH_STORE)[0] = 1;
    stream_build_page(&b, BUILD_PVH_CONSOLE)[0] = 1;
    stream_build_page(&b, BUILD_PVH_ZERO)[0] = 1;
    struct image *after = build_image(&b, "after.img", NULL);
    json_t *expected = no_difference();
    json_object_set_new(expected, "pages", json_integer(1));
    json_object_set_new(expected, "bytes", json_integer(1));
    json_object_set_new(expected, "toolstack_pages", json_integer(2));
    expect_json(diff_images(before, after), expected);
    image_close(before);
    image_close(after);
}

/* ---- derived images ---- */

static void base_and_derived(void **state)
{
    (void)state;
    struct image *base = image_before(NULL, 0), *delta = image_after(NULL, 0, true);
    struct image *after = image_after(NULL, 0, false);
    const struct image_memory b = {base, NULL}, d = {base, delta}, whole = {after, NULL};
    assert_int_equal(image_info(delta)->entries, 18);
    expect_json(diff(b, d), expected_after(0, 0, 0)); /* toolstack's: left out by the import */
    expect_json(diff(d, b), expected_before(0, 0, 0));
    expect_json(diff(d, d), no_difference());
    json_t *left_out = no_difference();
    json_object_set_new(left_out, "toolstack_pages", json_integer(3));
    expect_json(diff(d, whole), left_out);
    image_close(base);
    image_close(delta);
    image_close(after);
}

/* The records of a derived image are its own, all of them. */
static void records_of_derived(void **state)
{
    (void)state;
    struct stream_build b;
    build_start(&b, PV);
    struct image *base = build_image(&b, "base.img", NULL);
    build_start(&b, PV);
    put_u64(stream_build_find(&b, RECORD_X86_TSC_INFO, 0)->body + 8, 987654321);
    struct image *delta = build_image(&b, "derived.img", "base.img");
    json_t *expected = no_difference();
    json_array_append_new(json_object_get(expected, "records"), json_string("X86_TSC_INFO"));
    expect_json(diff((struct image_memory){base, NULL}, (struct image_memory){base, delta}),
                expected);
    image_close(base);
    image_close(delta);
}

/* ---- records ---- */

static void change_records(struct stream_build *b)
{
    stream_build_config(b, "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_vcpus\":2,"
                           "\"avail_vcpus\":[0,1],\"max_memkb\":4096}}");
    stream_build_find(b, RECORD_X86_MSR_POLICY, 0)->body[8] = 1;
    stream_build_find(b, RECORD_X86_PV_VCPU_XSAVE, 1)->body[200] = 1; /* of the second vCPU */
    struct build_record *extended = stream_build_find(b, RECORD_X86_PV_VCPU_EXTENDED, 0);
    extended->length += 8; /* the same, and then zeros */
    stream_build_remove(b, stream_build_find(b, RECORD_X86_PV_VCPU_MSRS, 1));
}

static json_t *expected_records(void)
{
    json_t *o = no_difference();
    json_object_set_new(o, "records",
                        json_pack("[s, s, s, s, s]", "X86_PV_VCPU_EXTENDED", "X86_PV_VCPU_XSAVE",
                                  "X86_PV_VCPU_MSRS", "X86_MSR_POLICY", "configuration"));
    return o;
}

static void records(void **state)
{
    (void)state;
    struct stream_build b;
    build_start(&b, PV);
    struct image *before = build_image(&b, "before.img", NULL);
    build_start(&b, PV);
    change_records(&b);
    struct image *after = build_image(&b, "after.img", NULL);
    expect_json(diff_images(before, after), expected_records());
    expect_json(diff_images(after, before), expected_records());
    image_close(before);
    image_close(after);
}

/* ---- stopped ---- */

#define BIG_PAGES 5000u

/* Pages of zeros or of ones behind the tiny guest's only one. */
static struct image *image_big(const char *name, uint8_t fill)
{
    struct stream_build b;
    struct page *pages = calloc(BIG_PAGES, sizeof *pages);
    assert_non_null(pages);
    for (uint32_t i = 0; i < BIG_PAGES; i++)
        pages[i] = (struct page){1 + i, PAGE_NOTAB, fill};
    stream_build_init_tiny(&b, PVH);
    stream_build_config(&b, "{\"c_info\":{\"type\":\"pvh\"},\"b_info\":{\"max_memkb\":65536}}");
    add_pages(&b, pages, BIG_PAGES);
    free(pages);
    return build_image(&b, name, NULL);
}

struct seen {
    uint64_t done;
    unsigned calls, stop_at; /* 0: never */
};

static int progress(uint64_t done, uint64_t total, void *data)
{
    struct seen *seen = data;
    assert_int_equal(total, BIG_PAGES + 1);
    assert_true(done >= seen->done && done <= total);
    seen->done = done;
    return ++seen->calls == seen->stop_at;
}

static void stopped(void **state)
{
    (void)state;
    struct image *one = image_big("one.img", 0), *other = image_big("other.img", 1);
    const struct image_memory a = {one, NULL}, b = {other, NULL};
    json_t *out = NULL;
    for (unsigned call = 1; call <= 2; call++) {
        struct seen seen = {.stop_at = call};
        struct error e = {0};
        assert_int_equal(image_diff(&a, &b, progress, &seen, &out, &e), -ECANCELED);
        assert_int_equal(e.code, -ECANCELED);
        assert_int_equal(seen.calls, call);
        assert_null(out);
    }
    struct seen seen = {0};
    struct error e = {0};
    must(image_diff(&a, &a, progress, &seen, &out, &e),
         &e); /* pages that are equal take time, too */
    assert_int_equal(seen.calls, 2);
    json_decref(out);
    seen = (struct seen){0};
    must(image_diff(&a, &b, progress, &seen, &out, &e), &e);
    assert_int_equal(seen.calls, 2);
    assert_true(seen.done > 4000);
    assert_int_equal(json_integer_value(json_object_get(out, "pages")), BIG_PAGES);
    assert_int_equal(json_integer_value(json_object_get(out, "bytes")), BIG_PAGES * PAGE_BYTES);
    json_decref(out);
    image_close(one);
    image_close(other);
}

static void over_a_derived_image(void **state)
{
    (void)state;
    struct image *base = image_before(NULL, 0), *delta = image_after(NULL, 0, true);
    const struct image_memory wrong = {delta, NULL}, right = {base, NULL};
    json_t *out = NULL;
    struct error e = {0};
    assert_refused(image_diff(&wrong, &right, NULL, NULL, &out, &e), &e, "derived image");
    assert_null(out);
    image_close(base);
    image_close(delta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(whole_images),
        TEST_IN_DIR(added_and_removed),
        TEST_IN_DIR(equal_images),
        TEST_IN_DIR(toolstack_pages_pvh),
        TEST_IN_DIR(base_and_derived),
        TEST_IN_DIR(records_of_derived),
        TEST_IN_DIR(records),
        TEST_IN_DIR(stopped),
        TEST_IN_DIR(over_a_derived_image),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
