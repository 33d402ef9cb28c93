/* store/image.h: what is written is read back, and damage anywhere is refused or found. */
#include "tests/unit/check.h"

#include "store/image_format.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void fill(uint8_t *page, uint64_t seed)
{
    for (size_t i = 0; i < PAGE_BYTES; i++)
        page[i] = (uint8_t)(seed * 31 + i * 7 + 1);
}

/* n pages at pfns 3, 6, 9, ... in descending order; every fifth one is zero. */
static int write_image(const char *path, uint64_t n, struct image_info *info, struct error *e)
{
    struct image_writer *w;
    struct image_page *pages = calloc(n + 1, sizeof *pages);
    uint8_t page[PAGE_BYTES];
    int rc = image_writer_new(path, &w, e);
    if (rc) {
        free(pages);
        return rc;
    }
    for (uint64_t i = 0; i < n && !rc; i++) {
        uint64_t pfn = 3 * (n - i);
        fill(page, pfn);
        if (i % 5 == 0)
            memset(page, 0, sizeof page);
        pages[i].pfn_type = pfn | (i % 5) << IMAGE_TYPE_SHIFT;
        rc = image_writer_payload(w, page, &pages[i].payload, e);
    }
    *info = (struct image_info){.guest = IMAGE_GUEST_PV, .vcpus = 2, .max_pfn = 3 * n};
    if (!rc)
        rc = image_writer_pages(w, pages, n, e);
    if (!rc)
        rc = image_writer_record(w, 7, "seven", 5, e);
    if (!rc)
        rc = image_writer_record(w, 8, NULL, 0, e);
    if (!rc)
        rc = image_writer_record(w, 9, "12345678", 8, e);
    if (!rc)
        rc = image_writer_config(w, "{\"x\":1}", e);
    if (!rc)
        rc = image_writer_commit(w, info, e);
    image_writer_free(w);
    free(pages);
    return rc;
}

static void check_pages(struct image *im, uint64_t n)
{
    uint8_t page[PAGE_BYTES];
    for (uint64_t i = 0; i < n; i++) {
        uint64_t pfn = 3 * (n - i);
        const struct image_page *p = image_find(im, pfn);
        assert_non_null(p);
        assert_int_equal(image_page_type(p), i % 5);
        fill(page, pfn);
        if (i % 5 == 0)
            memset(page, 0, sizeof page);
        assert_memory_equal(image_payload(im, p->payload), page, PAGE_BYTES);
        assert_null(image_find(im, pfn + 1));
    }
    assert_null(image_find(im, 0));
    assert_null(image_find(im, 3 * n + 3));
}

static void round_trip(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info;
    struct image *im;
    const uint64_t n = 700; /* more than a write buffer holds */
    assert_int_equal(write_image(scratch_path(&dir, "a.img"), n, &info, &e), 0);
    assert_int_equal(scratch_files(&dir, false), 1);
    assert_int_equal(image_open(scratch_path(&dir, "a.img"), &im, &e), 0);
    assert_memory_equal(image_info(im), &info, sizeof info);
    assert_int_equal(info.pages, n);
    assert_int_equal(info.zero_pages, n / 5);
    assert_int_equal(info.payload_pages, n - n / 5);
    check_pages(im, n);
    struct image_record r;
    size_t cursor = 0;
    assert_true(image_next_record(im, &cursor, &r));
    assert_int_equal(r.type, 7);
    assert_int_equal(r.length, 5);
    assert_memory_equal(r.body, "seven", 5);
    assert_int_equal((uintptr_t)r.body % 8, 0);
    assert_true(image_next_record(im, &cursor, &r));
    assert_int_equal(r.length, 0);
    assert_true(image_next_record(im, &cursor, &r));
    assert_int_equal(r.type, 9);
    assert_false(image_next_record(im, &cursor, &r));
    assert_string_equal(image_config(im), "{\"x\":1}");
    assert_int_equal(image_verify(im, &e), 0);
    struct stat st;
    assert_int_equal(fstat(image_fd(im), &st), 0);
    assert_int_equal(st.st_size, info.file_bytes);
    image_close(im);
    image_close(NULL);
}

static void empty_image(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info;
    struct image *im;
    assert_int_equal(write_image(scratch_path(&dir, "a.img"), 0, &info, &e), 0);
    assert_int_equal(image_open(scratch_path(&dir, "a.img"), &im, &e), 0);
    assert_null(image_find(im, 0));
    assert_int_equal(image_verify(im, &e), 0);
    image_close(im);
}

static void read_back(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_writer *w;
    uint8_t page[PAGE_BYTES], back[PAGE_BYTES];
    uint64_t payload;
    assert_int_equal(image_writer_new(scratch_path(&dir, "a.img"), &w, &e), 0);
    for (uint64_t i = 0; i < 300; i++) {
        fill(page, i);
        assert_int_equal(image_writer_payload(w, page, &payload, &e), 0);
        assert_int_equal(payload, i);
    }
    for (uint64_t i = 0; i < 300; i++) {
        fill(page, i);
        assert_int_equal(image_writer_read_payload(w, i, back, &e), 0);
        assert_memory_equal(back, page, PAGE_BYTES);
    }
    assert_int_equal(image_writer_read_payload(w, 300, back, &e), -EINVAL);
    assert_int_equal(image_writer_read_payload(w, IMAGE_PAGE_ZERO, back, &e), 0);
    assert_true(page_is_zero(back));
    image_writer_free(w);
    assert_int_equal(scratch_files(&dir, false), 0);
}

static void writer_refuses(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1, .max_pfn = 5};
    struct image_writer *w;
    const struct image_page twice[] = {{5, IMAGE_PAGE_ZERO}, {5, IMAGE_PAGE_ZERO}};
    const struct image_page unwritten[] = {{5, 0}}, high[] = {{6, IMAGE_PAGE_ZERO}};
    assert_int_equal(image_writer_new(scratch_path(&dir, "a.img"), &w, &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL);
    assert_int_equal(image_writer_pages(w, twice, 2, &e), -EEXIST);
    assert_int_equal(image_writer_pages(w, unwritten, 1, &e), -EINVAL);
    assert_int_equal(image_writer_pages(w, high, 1, &e), 0);
    assert_int_equal(image_writer_config(w, "{}", &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL); /* above max_pfn */
    image_writer_free(w);
    image_writer_free(NULL);
    assert_int_equal(scratch_files(&dir, false), 0);
}

static void no_overwrite(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info;
    struct image_writer *w;
    assert_int_equal(image_writer_new(scratch_path(&dir, "a.img"), &w, &e), 0);
    assert_int_equal(write_image(scratch_path(&dir, "a.img"), 3, &info, &e), 0);
    assert_int_equal(write_image(scratch_path(&dir, "a.img"), 3, &info, &e), -EEXIST);
    /* the one that was started first finds the name taken only at its commit */
    assert_int_equal(image_writer_pages(w, NULL, 0, &e), 0);
    assert_int_equal(image_writer_config(w, "{}", &e), 0);
    struct image_info other = {.guest = IMAGE_GUEST_PV, .vcpus = 1};
    assert_int_equal(image_writer_commit(w, &other, &e), -EEXIST);
    image_writer_free(w);
    assert_int_equal(scratch_files(&dir, false), 1);
    struct image *im;
    assert_int_equal(image_open(scratch_path(&dir, "a.img"), &im, &e), 0);
    assert_memory_equal(image_info(im)->id, info.id, 16);
    image_close(im);
}

static void write_errors(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    unsigned failures = 0;
    int rc = 0;
    for (rlim_t limit = 0;; limit += 100000) { /* fails at another write each time */
        small = old;
        small.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        rc = write_image(scratch_path(&dir, "a.img"), 400, &info, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (!rc)
            break;
        failures++;
        assert_int_equal(rc, -EFBIG);
        assert_says(e.text, "a.img");
        assert_int_equal(scratch_files(&dir, false), 0);
    }
    assert_true(failures > 5);
    assert_int_equal(write_image("/nonexistent/a.img", 1, &info, &e), -ENOENT);
}

/* ---- damage ---- */

static uint8_t *load(const char *path, size_t *size)
{
    char *bytes;
    assert_int_equal(read_file(path, 1u << 24, &bytes, size, NULL), 0);
    return (uint8_t *)bytes;
}

/* Through a memfd: thousands of variants would keep a disk busy. */
static int open_bytes(const uint8_t *bytes, size_t size, bool verify, struct error *e)
{
    char path[64];
    int fd = memfd_create("damaged", MFD_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert_int_equal(write_full(fd, bytes, size), 0);
    struct image *im = NULL;
    int rc = image_open(path, &im, e);
    close(fd);
    if (!rc && verify)
        rc = image_verify(im, e);
    image_close(im);
    return rc;
}

static void resign(uint8_t *bytes)
{
    image_digest(bytes, PAGE_BYTES - IMAGE_DIGEST_BYTES, bytes + PAGE_BYTES - IMAGE_DIGEST_BYTES);
}

static uint8_t *image_bytes(size_t *size)
{
    struct error e = {0};
    struct image_info info;
    assert_int_equal(write_image(scratch_path(&dir, "a.img"), 7, &info, &e), 0);
    return load(scratch_path(&dir, "a.img"), size);
}

static void each_header_byte(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size;
    uint8_t *bytes = image_bytes(&size);
    for (size_t i = 0; i < PAGE_BYTES; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED);
        bytes[i] ^= 0x10;
    }
    assert_int_equal(open_bytes(bytes, size, true, &e), 0);
    free(bytes);
}

/* The same with a digest that fits: nothing may crash, and what opens can be walked. */
static void each_signed_header_byte(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size, used = offsetof(struct image_header, reserved);
    uint8_t *bytes = image_bytes(&size);
    for (size_t i = 0; i < used; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1u << bit);
            resign(bytes);
            int rc = open_bytes(bytes, size, true, &e);
            assert_true(rc == 0 || rc == ANSWER_IMAGE_REFUSED);
            bytes[i] ^= (uint8_t)(1u << bit);
        }
    free(bytes);
}

static void each_truncation(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size;
    uint8_t *bytes = image_bytes(&size);
    for (size_t n = 0; n < size; n += n < 5000 ? 61 : 977)
        assert_int_equal(open_bytes(bytes, n, false, &e), ANSWER_IMAGE_REFUSED);
    assert_int_equal(open_bytes(bytes, size - 1, false, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "truncated");
    free(bytes);
}

static void verify_finds_damage(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size;
    uint8_t *bytes = image_bytes(&size);
    const struct image_header *h = (const void *)bytes;
    for (unsigned i = 0; i < IMAGE_SECTION_COUNT; i++) {
        uint8_t *last = bytes + h->section[i].offset + (i == IMAGE_SECTION_CONFIG ? 0 : 8);
        *last ^= 1;
        assert_int_equal(open_bytes(bytes, size, true, &e), ANSWER_IMAGE_REFUSED);
        *last ^= 1;
    }
    assert_int_equal(open_bytes(bytes, size, true, &e), 0);
    free(bytes);
}

static void newer_version(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size;
    uint8_t *bytes = image_bytes(&size);
    bytes[8] = 2; /* not even the digest's place needs to be known */
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "version 2");
    assert_says(e.text, "/proc/self/fd/");
    free(bytes);
}

static void tables_checked(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size;
    uint8_t *bytes = image_bytes(&size);
    struct image_header *h = (void *)bytes;
    struct image_page *pages = (void *)(bytes + h->section[IMAGE_SECTION_PAGES].offset);
    uint8_t *records = bytes + h->section[IMAGE_SECTION_RECORDS].offset;
    uint8_t *config = bytes + h->section[IMAGE_SECTION_CONFIG].offset;
    const struct image_page first = pages[0], second = pages[1];
    pages[0] = second;
    pages[1] = first;
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "out of order");
    pages[1] = second;
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED); /* twice */
    pages[0] = first;
    pages[1].payload = 1u << 20;
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "payload");
    pages[1] = second;
    records[4] = 0xff;
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "do not fit");
    records[4] = 5;
    config[0] = 0;
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "CONFIG");
    free(bytes);
}

static void no_image_at_all(void **state)
{
    (void)state;
    struct error e = {0};
    struct image *im;
    assert_int_equal(image_open(scratch_path(&dir, "none"), &im, &e), -ENOENT);
    assert_int_equal(image_open(dir.dir, &im, &e), ANSWER_IMAGE_REFUSED);
    assert_int_equal(image_open("/dev/zero", &im, &e), ANSWER_IMAGE_REFUSED);
    assert_int_equal(mkfifo(scratch_path(&dir, "fifo"), 0600), 0);
    assert_int_equal(image_open(scratch_path(&dir, "fifo"), &im, &e), ANSWER_IMAGE_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(round_trip),       TEST_IN_DIR(empty_image),
        TEST_IN_DIR(read_back),        TEST_IN_DIR(writer_refuses),
        TEST_IN_DIR(no_overwrite),     TEST_IN_DIR(write_errors),
        TEST_IN_DIR(each_header_byte), TEST_IN_DIR(each_signed_header_byte),
        TEST_IN_DIR(each_truncation),  TEST_IN_DIR(verify_finds_damage),
        TEST_IN_DIR(newer_version),    TEST_IN_DIR(tables_checked),
        TEST_IN_DIR(no_image_at_all),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
