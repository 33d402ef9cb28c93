/*
 * restore/imaging/image_export.h and restore/formats/stream_write.h: what an export writes, the
 * importer reads as the same guest; and an export that is refused, stopped or fails leaves nothing
 * behind.
 */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "restore/formats/stream_write.h"
#include "restore/imaging/image_export.h"
#include "restore/imaging/image_import.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH

static char image_path[128], derived_path[128], save_path[128], again_path[128];

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    snprintf(image_path, sizeof image_path, "%s/x.img", dir.dir);
    snprintf(derived_path, sizeof derived_path, "%s/derived.img", dir.dir);
    snprintf(save_path, sizeof save_path, "%s/save", dir.dir);
    snprintf(again_path, sizeof again_path, "%s/again.img", dir.dir);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&dir);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    scratch_files(&dir, true);
    return 0;
}

/* ---- steps ---- */

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d: %s", rc, e->text);
}

static void import_built(struct stream_build *b, const char *path)
{
    struct error e = {0};
    struct image_info info;
    must(stream_build_import(b, path, &info, &e), &e);
}

static void export_to(const char *image, const char *base, const char *save)
{
    struct error e = {0};
    struct export_options o = {.image_path = image, .base_path = base, .save_path = save};
    must(export_save_file(&o, &e), &e);
}

static void import_again(void)
{
    struct error e = {0};
    struct image_info info;
    struct import_options o = {.save_path = save_path, .image_path = again_path, .trusted = true};
    must(import_save_file(&o, &info, &e), &e);
}

static struct image *open_image(const char *path)
{
    struct error e = {0};
    struct image *im = NULL;
    must(image_open(path, &im, &e), &e);
    return im;
}

static char *file_bytes(const char *path, size_t *size)
{
    struct error e = {0};
    char *bytes = NULL;
    must(read_file(path, 256u << 20, &bytes, size, &e), &e);
    return bytes;
}

/* ---- comparing ---- */

static void expect_same_records(const struct image *a, const struct image *b)
{
    struct image_record x, y;
    size_t at_a = 0, at_b = 0;
    while (image_next_record(a, &at_a, &x)) {
        assert_true(image_next_record(b, &at_b, &y));
        assert_int_equal(x.type, y.type);
        assert_int_equal(x.length, y.length);
        if (x.length)
            assert_memory_equal(x.body, y.body, x.length);
    }
    assert_false(image_next_record(b, &at_b, &y));
}

static void expect_same_memory(const struct image_memory *a, const struct image_memory *b)
{
    struct memory_diff d;
    struct memory_difference found;
    memory_diff_start(&d, a, b);
    if (memory_diff_next(&d, &found))
        fail_msg("change %d at pfn %#llx or %#llx", (int)found.change,
                 (unsigned long long)found.from.pfn, (unsigned long long)found.to.pfn);
}

/* base NULL: image is stored whole. `again` is what was imported from its export. */
static void expect_same_guest(const char *image, const char *base)
{
    struct image *im = open_image(image), *under = base ? open_image(base) : NULL;
    struct image *again = open_image(again_path);
    struct image_memory was = {.base = under ? under : im, .delta = under ? im : NULL};
    struct image_memory is = {.base = again};
    expect_same_records(im, again);
    expect_same_memory(&was, &is);
    assert_string_equal(image_config(im), image_config(again));
    assert_int_equal(image_info(im)->guest, image_info(again)->guest);
    assert_int_equal(image_info(im)->vcpus, image_info(again)->vcpus);
    assert_int_equal(image_info(im)->max_pfn, image_info(again)->max_pfn);
    image_close(im);
    image_close(under);
    image_close(again);
}

static void round_trip(struct stream_build *b)
{
    import_built(b, image_path);
    export_to(image_path, NULL, save_path);
    import_again();
    expect_same_guest(image_path, NULL);
    assert_int_equal(scratch_files(&dir, true), 3);
}

/* ---- whole images ---- */

static void whole(void **state)
{
    (void)state;
    struct stream_build b;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        stream_build_init(&b, guest);
        round_trip(&b);
        stream_build_dispose(&b);
    }
}

/* Version 2 knows neither STATIC_DATA_END nor policies. */
static void whole_version_2(void **state)
{
    (void)state;
    const uint32_t newer[] = {RECORD_STATIC_DATA_END, RECORD_X86_CPUID_POLICY,
                              RECORD_X86_MSR_POLICY};
    struct stream_build b;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        stream_build_init(&b, guest);
        b.version = 2;
        for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
            stream_build_remove(&b, stream_build_find(&b, newer[i], 0));
        round_trip(&b);
        stream_build_dispose(&b);
    }
}

/* A file of which the importer leaves nothing out comes back to the byte. */
static void to_the_byte(void **state)
{
    (void)state;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        struct stream_build b;
        struct built f;
        struct stat st;
        size_t size;
        stream_build_init_tiny(&b, guest);
        import_built(&b, image_path);
        export_to(image_path, NULL, save_path);
        stream_build_bytes(&b, &f);
        char *bytes = file_bytes(save_path, &size);
        assert_int_equal(size, f.size);
        assert_memory_equal(bytes, f.bytes, size);
        assert_int_equal(stat(save_path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        free(bytes);
        built_dispose(&f);
        stream_build_dispose(&b);
        scratch_files(&dir, true);
    }
}

/* A PVH guest of 3,500 pages from pfn 1 on, each thirds' first of zeros: more than three batches.
 */
#define BIG_RECORDS 5u
#define BIG_PAGES 700u
static void build_big(struct stream_build *b)
{
    const size_t size = 8 + BIG_PAGES * (8 + (size_t)PAGE_BYTES);
    uint8_t *body = malloc(size);
    assert_non_null(body);
    stream_build_init_tiny(b, PVH);
    stream_build_config(b, "{\"c_info\":{\"type\":\"pvh\"},\"b_info\":{\"max_memkb\":65536}}");
    for (uint32_t k = 0; k < BIG_RECORDS; k++) {
        memset(body, 0, size);
        put_u32(body, BIG_PAGES);
        for (uint32_t i = 0; i < BIG_PAGES; i++) {
            uint32_t pfn = 1 + k * BIG_PAGES + i;
            put_u64(body + 8 + (size_t)i * 8, pfn);
            if (pfn % 3)
                put_u32(body + 8 + BIG_PAGES * 8 + (size_t)i * PAGE_BYTES + pfn % 4000, pfn);
        }
        struct build_record *tsc = stream_build_find(b, RECORD_X86_TSC_INFO, 0);
        stream_build_insert(b, stream_build_index(b, tsc), RECORD_PAGE_DATA, body, (uint32_t)size);
    }
    free(body);
}

struct seen {
    uint64_t done, total, last;
    unsigned calls, stop_at; /* 0: never */
};

static int progress(uint64_t done, uint64_t total, void *data)
{
    struct seen *seen = data;
    assert_true(done >= seen->done && done <= total);
    seen->done = done;
    seen->total = total;
    return ++seen->calls == seen->stop_at;
}

static void several_batches(void **state)
{
    (void)state;
    struct stream_build b;
    struct error e = {0};
    struct seen seen = {0};
    struct export_options o = {.image_path = image_path,
                               .save_path = save_path,
                               .progress = progress,
                               .progress_data = &seen};
    build_big(&b);
    import_built(&b, image_path);
    must(export_save_file(&o, &e), &e);
    assert_int_equal(seen.total, (BIG_RECORDS * BIG_PAGES + 1) * PAGE_BYTES);
    assert_int_equal(seen.done, seen.total);
    assert_int_equal(seen.calls, 5); /* 0, 1024, 2048, 3072, 3501 */
    import_again();
    expect_same_guest(image_path, NULL);
    stream_build_dispose(&b);
}

/* ---- derived images ---- */

/* Records of the base, but another time in X86_TSC_INFO. */
static void copy_records(struct image_writer *w, const struct image *base)
{
    struct image_record r;
    struct error e = {0};
    size_t cursor = 0;
    while (image_next_record(base, &cursor, &r)) {
        uint8_t tsc[24];
        const void *body = r.body;
        if (r.type == RECORD_X86_TSC_INFO) {
            memcpy(tsc, r.body, sizeof tsc);
            put_u64(tsc + 8, 987654321);
            body = tsc;
        }
        must(image_writer_record(w, r.type, body, r.length, &e), &e);
    }
}

struct change {
    uint64_t pfn;
    unsigned type;
    int fill; /* every byte; -1: as in the base */
};

static void write_derived(const char *path, const struct image *base, const struct change *changes,
                          size_t n)
{
    struct error e = {0};
    struct image_writer *w;
    struct image_page pages[16];
    struct image_info info = *image_info(base);
    uint8_t content[PAGE_BYTES];
    assert_true(n <= ARRAY_SIZE(pages));
    must(image_writer_new(path, &w, &e), &e);
    for (size_t i = 0; i < n; i++) {
        const struct change *c = &changes[i];
        memset(content, c->fill, sizeof content);
        if (c->fill < 0)
            memcpy(content, image_payload(base, image_find(base, c->pfn)->payload), PAGE_BYTES);
        pages[i].pfn_type = c->pfn | (uint64_t)c->type << IMAGE_TYPE_SHIFT;
        must(image_writer_payload(w, content, &pages[i].payload, &e), &e);
    }
    must(image_writer_pages(w, pages, n, &e), &e);
    copy_records(w, base);
    must(image_writer_config(w, image_config(base), &e), &e);
    info.base_id = info.id;
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
}

static void make_derived_pv(void)
{
    static const struct change changes[] = {
        {BUILD_PFN_CONSOLE, PAGE_NOTAB, 7}, /* was zeros */
        {BUILD_PFN_L1, PAGE_L1TAB | PAGE_TYPE_PINNED, -1},
        {BUILD_PFN_DATA, PAGE_NOTAB, 0}, /* had content */
        {BUILD_PFN_ZERO, PAGE_NOTAB, 9},
    };
    struct stream_build b;
    stream_build_init(&b, PV);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    struct image *base = open_image(image_path);
    write_derived(derived_path, base, changes, ARRAY_SIZE(changes));
    image_close(base);
}

static void derived(void **state)
{
    (void)state;
    make_derived_pv();
    export_to(derived_path, image_path, save_path);
    import_again();
    expect_same_guest(derived_path, image_path);
    struct image *again = open_image(again_path), *base = open_image(image_path);
    const struct image_page *l1 = image_find(again, BUILD_PFN_L1);
    const struct image_page *zero = image_find(again, BUILD_PFN_ZERO);
    const uint8_t *content = image_payload(again, zero->payload);
    assert_int_equal(image_page_type(l1), PAGE_L1TAB | PAGE_TYPE_PINNED);
    assert_int_equal(content[4095], 9);
    assert_true(image_find(again, BUILD_PFN_DATA)->payload == IMAGE_PAGE_ZERO);
    assert_int_equal(image_info(again)->entries, image_info(base)->entries);
    image_close(again);
    image_close(base);
}

/* Memory without content, which no importer lets through today, has an entry and no 4 KiB. */
static void pages_without_content(void **state)
{
    (void)state;
    static const struct change changes[] = {{BUILD_PFN_DATA, PAGE_XALLOC, 0},
                                            {BUILD_PFN_ZERO, PAGE_NOTAB, 9}};
    struct stream_build b;
    struct stat whole, less;
    stream_build_init(&b, PV);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    struct image *base = open_image(image_path);
    write_derived(derived_path, base, changes, ARRAY_SIZE(changes));
    image_close(base);
    export_to(image_path, NULL, again_path);
    export_to(derived_path, image_path, save_path);
    assert_int_equal(stat(again_path, &whole), 0);
    assert_int_equal(stat(save_path, &less), 0);
    assert_int_equal(whole.st_size - less.st_size, PAGE_BYTES);
}

/* ---- refusals ---- */

static void expect_refused(const char *image, const char *base, int code, const char *says)
{
    struct error e = {0};
    struct export_options o = {.image_path = image, .base_path = base, .save_path = save_path};
    unsigned files = scratch_files(&dir, false);
    assert_int_equal(export_save_file(&o, &e), code);
    assert_says(e.text, says);
    assert_int_equal(scratch_files(&dir, false), files);
}

static void wrong_images(void **state)
{
    (void)state;
    make_derived_pv();
    expect_refused(derived_path, NULL, ANSWER_IMAGE_REFUSED, "its export needs its base");
    expect_refused(image_path, image_path, ANSWER_IMAGE_REFUSED, "not derived from this base");
    expect_refused(derived_path, derived_path, ANSWER_IMAGE_REFUSED, "cannot be a base");
    expect_refused(again_path, NULL, -ENOENT, again_path);
    expect_refused(derived_path, again_path, -ENOENT, again_path);
    expect_refused("/proc/self/exe", NULL, ANSWER_IMAGE_REFUSED, "not a dompool image");
}

/* A base image of one page, with these records. */
static void write_bare(uint32_t type, const void *body, uint32_t length)
{
    struct error e = {0};
    struct image_writer *w;
    struct image_info info = {.guest = PVH, .vcpus = 1};
    const struct image_page page = {.pfn_type = 0, .payload = IMAGE_PAGE_ZERO};
    unlink(image_path);
    must(image_writer_new(image_path, &w, &e), &e);
    must(image_writer_pages(w, &page, 1, &e), &e);
    must(image_writer_record(w, type, body, length, &e), &e);
    must(image_writer_config(w, "{}", &e), &e);
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
}

static void missing_records(void **state)
{
    (void)state;
    const struct image_record_origin origin = {.stream_version = 3};
    write_bare(IMAGE_RECORD_ORIGIN, &origin, sizeof origin);
    expect_refused(image_path, NULL, ANSWER_IMAGE_REFUSED, "no xl configuration");
    write_bare(IMAGE_RECORD_XL_CONFIG, "{}", 2);
    expect_refused(image_path, NULL, ANSWER_IMAGE_REFUSED, "that its stream has version 2");
    write_bare(IMAGE_RECORD_XL_CONFIG, "{\0}", 3);
    expect_refused(image_path, NULL, ANSWER_IMAGE_REFUSED, "is no text");
    write_bare(IMAGE_RECORD_XL_CONFIG, "", 0);
    expect_refused(image_path, NULL, ANSWER_IMAGE_REFUSED, "of 1 to");
}

static void target_exists(void **state)
{
    (void)state;
    struct stream_build b;
    struct stat st;
    size_t size;
    stream_build_init(&b, PVH);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    int fd = open(save_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write_full(fd, "mine", 4), 0);
    fd_close(&fd);
    expect_refused(image_path, NULL, -EEXIST, "exists already");
    char *bytes = file_bytes(save_path, &size);
    assert_string_equal(bytes, "mine");
    free(bytes);
    assert_int_equal(stat(save_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    unlink(save_path);
    assert_int_equal(symlink("/nonexistent/target", save_path), 0);
    expect_refused(image_path, NULL, -EEXIST, "exists already");
}

/* Somebody else's file that comes while the export runs wins. */
static int create_target(uint64_t done, uint64_t total, void *data)
{
    (void)done, (void)total, (void)data;
    int fd = open(save_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    fd_close(&fd);
    return 0;
}

static void target_comes_meanwhile(void **state)
{
    (void)state;
    struct stream_build b;
    struct stat st;
    struct error e = {0};
    struct export_options o = {
        .image_path = image_path, .save_path = save_path, .progress = create_target};
    stream_build_init(&b, PVH);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    assert_int_equal(export_save_file(&o, &e), -EEXIST);
    assert_int_equal(stat(save_path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(scratch_files(&dir, false), 2);
}

/* ---- failures ---- */

static void stopped(void **state)
{
    (void)state;
    struct stream_build b;
    struct error e = {0};
    build_big(&b);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    for (unsigned call = 1; call <= 5; call++) {
        struct seen seen = {.stop_at = call};
        struct export_options o = {.image_path = image_path,
                                   .save_path = save_path,
                                   .progress = progress,
                                   .progress_data = &seen};
        assert_int_equal(export_save_file(&o, &e), -ECANCELED);
        assert_int_equal(seen.calls, call);
        assert_int_equal(scratch_files(&dir, false), 1);
    }
}

static void no_directory(void **state)
{
    (void)state;
    struct stream_build b;
    struct error e = {0};
    struct export_options o = {.image_path = image_path, .save_path = "/nonexistent/save"};
    stream_build_init(&b, PVH);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    assert_int_equal(export_save_file(&o, &e), -ENOENT);
    assert_says(e.text, "/nonexistent/save");
}

/* The disk is full after every possible number of bytes, in steps that hit each piece. */
static void every_write_fails(void **state)
{
    (void)state;
    struct stream_build b;
    struct rlimit old, small;
    struct stat st;
    struct export_options o = {.image_path = image_path, .save_path = save_path};
    stream_build_init(&b, PV);
    import_built(&b, image_path);
    stream_build_dispose(&b);
    export_to(image_path, NULL, again_path);
    assert_int_equal(stat(again_path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (off_t limit = 0; limit < st.st_size; limit += limit + 2000 < st.st_size ? 997 : 4) {
        struct error e = {0};
        small = old;
        small.rlim_cur = (rlim_t)limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = export_save_file(&o, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(rc, -EFBIG);
        assert_says(e.text, save_path);
        assert_int_equal(scratch_files(&dir, false), 2);
    }
}

/* ---- into a pipe, as the engine writes ---- */

struct writing {
    int fd, rc;
    const struct image *image;
};

static void *write_into_pipe(void *data)
{
    struct writing *w = data;
    const struct image_memory m = {.base = w->image};
    w->rc = stream_write(w->fd, &m, NULL, NULL);
    fd_close(&w->fd);
    return NULL;
}

/* Reads in portions that tear everything apart; at most `most` bytes. */
static size_t read_portions(int fd, char *to, size_t most)
{
    size_t have = 0, portion = 1;
    while (have < most) {
        size_t left = most - have;
        ssize_t n = read(fd, to + have, portion < left ? portion : left);
        assert_true(n >= 0);
        if (!n)
            break;
        have += (size_t)n;
        portion = portion * 7 % 65521;
    }
    return have;
}

static int write_to_reader(const struct image *im, char *to, size_t most, size_t *got)
{
    int fds[2];
    pthread_t thread;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct writing w = {.fd = fds[1], .image = im};
    assert_int_equal(pthread_create(&thread, NULL, write_into_pipe, &w), 0);
    *got = read_portions(fds[0], to, most);
    fd_close(&fds[0]);
    pthread_join(thread, NULL);
    return w.rc;
}

static void through_a_pipe(void **state)
{
    (void)state;
    struct stream_build b;
    struct built f;
    size_t size, got;
    build_big(&b);
    import_built(&b, image_path);
    export_to(image_path, NULL, save_path);
    stream_build_bytes(&b, &f);
    char *bytes = file_bytes(save_path, &size), *piped = malloc(size);
    assert_non_null(piped);
    struct image *im = open_image(image_path);
    assert_int_equal(write_to_reader(im, piped, size, &got), 0);
    assert_int_equal(got, size - f.libxc_at - 8); /* without libxl's END */
    assert_memory_equal(piped, bytes + f.libxc_at, got);
    assert_int_equal(write_to_reader(im, piped, got - 1, &got), 0); /* all of it was in the pipe */
    assert_int_equal(write_to_reader(im, piped, size / 2, &got), -EPIPE);
    assert_int_equal(write_to_reader(im, piped, 0, &got), -EPIPE);
    image_close(im);
    free(piped);
    free(bytes);
    built_dispose(&f);
    stream_build_dispose(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, NULL, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whole),
        TEST(whole_version_2),
        TEST(to_the_byte),
        TEST(several_batches),
        TEST(derived),
        TEST(pages_without_content),
        TEST(wrong_images),
        TEST(missing_records),
        TEST(target_exists),
        TEST(target_comes_meanwhile),
        TEST(stopped),
        TEST(no_directory),
        TEST(every_write_fails),
        TEST(through_a_pipe),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
