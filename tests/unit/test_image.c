/* store/image.h: what is written is read back, and damage anywhere is refused or found. */
#include "tests/unit/check.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
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
    assert_int_equal(info.entries, n);
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
    assert_true(image_find_record(im, 7, 0, &r));
    assert_memory_equal(r.body, "seven", 5);
    assert_true(image_find_record(im, 9, 0, &r));
    assert_int_equal(r.type, 9);
    assert_false(image_find_record(im, 9, 1, &r));
    assert_true(!r.type && !r.length && !r.body);
    assert_string_equal(image_config(im), "{\"x\":1}");
    assert_int_equal(image_verify(im, &e), 0);
    struct stat st;
    assert_int_equal(fstat(image_fd(im), &st), 0);
    assert_int_equal(st.st_size, info.file_bytes);
    image_close(im);
    image_close(NULL);
}

/* All payloads at once are what the mapping has; a file that has become shorter is an error. */
static void payloads_read(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info;
    struct image *im;
    const char *path = scratch_path(&dir, "r.img");
    assert_int_equal(write_image(path, 40, &info, &e), 0);
    assert_int_equal(image_open(path, &im, &e), 0);
    uint64_t n = info.payload_pages;
    uint8_t *read = calloc(n, PAGE_BYTES);
    assert_non_null(read);
    assert_int_equal(image_read_payloads(im, 0, n, read, &e), 0);
    assert_memory_equal(read, image_payload(im, 0), n * PAGE_BYTES);
    assert_int_equal(image_read_payloads(im, n - 1, 1, read, &e), 0);
    assert_memory_equal(read, image_payload(im, n - 1), PAGE_BYTES);
    assert_int_equal(truncate(path, (off_t)(image_payload_offset(im) + 2 * PAGE_BYTES - 1)), 0);
    assert_int_equal(image_read_payloads(im, 0, 1, read, &e), 0);
    assert_int_equal(image_read_payloads(im, 0, 2, read, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "ends at byte");
    free(read);
    image_close(im);
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
    const struct image_page unwritten[] = {{5, 0}}, missing[] = {{5, 1}};
    const struct image_page high[] = {{6, IMAGE_PAGE_ZERO}};
    uint8_t page[PAGE_BYTES];
    uint64_t payload;
    assert_int_equal(image_writer_new(scratch_path(&dir, "a.img"), &w, &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL);
    assert_int_equal(image_writer_pages(w, twice, 2, &e), -EEXIST);
    assert_int_equal(image_writer_pages(w, unwritten, 1, &e), -EINVAL);
    assert_int_equal(image_writer_pages(w, high, 1, &e), 0);
    assert_int_equal(image_writer_config(w, "{}", &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL); /* above max_pfn */
    info.max_pfn = 6;
    info.guest = (enum image_guest)3;
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL);
    info.guest = IMAGE_GUEST_PVH;
    info.free_pages = 2; /* of one page */
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL);
    info.free_pages = 0;
    info.base_id.bytes[0] = 1;
    info.populated = 0;
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL);
    info.populated = 7;
    fill(page, 1);
    assert_int_equal(image_writer_payload(w, page, &payload, &e), 0);
    assert_int_equal(image_writer_pages(w, missing, 1, &e), -EINVAL);
    assert_int_equal(image_writer_commit(w, &info, &e), -EINVAL); /* the table was refused */
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
    assert_true(uuid_equal(&image_info(im)->id, &info.id));
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

/* ---- repeated pages and counts ---- */

static void fill_word(uint8_t *page, uint64_t word)
{
    for (size_t i = 0; i < PAGE_BYTES; i += sizeof word)
        memcpy(page + i, &word, sizeof word);
}

/* Pages of words[i], at pfn i, and the image made of them. */
static struct image *image_of_words(const uint64_t *words, uint64_t n, struct image_info *info)
{
    struct error e = {0};
    struct image_writer *w;
    struct image *im = NULL;
    struct image_page *pages = calloc(n, sizeof *pages);
    uint8_t page[PAGE_BYTES];
    const char *path = scratch_path(&dir, "a.img");
    assert_int_equal(image_writer_new(path, &w, &e), 0);
    for (uint64_t i = 0; i < n; i++) {
        fill_word(page, words[i]);
        pages[i].pfn_type = i;
        assert_int_equal(image_writer_payload(w, page, &pages[i].payload, &e), 0);
    }
    info->max_pfn = n;
    if (image_writer_pages(w, pages, n, &e) || image_writer_config(w, "{}", &e) ||
        image_writer_commit(w, info, &e) || image_open(path, &im, &e) || image_verify(im, &e))
        fail_msg("%s", e.text);
    image_writer_free(w);
    free(pages);
    assert_memory_equal(image_info(im), info, sizeof *info);
    for (uint64_t i = 0; i < n; i++) {
        fill_word(page, words[i]);
        assert_memory_equal(image_payload(im, image_find(im, i)->payload), page, PAGE_BYTES);
    }
    return im;
}

static void repeated_words(void **state)
{
    (void)state;
    const uint64_t words[] = {7, 0, 1ull << 63, 7, 7, IMAGE_FREE_WORD, 0, 1ull << 63, 7};
    struct image_info info = {.guest = IMAGE_GUEST_PVH, .vcpus = 1, .free_pages = 2};
    struct image *im = image_of_words(words, ARRAY_SIZE(words), &info);
    assert_int_equal(info.populated, 9);
    assert_int_equal(info.entries, 9);
    assert_int_equal(info.zero_pages, 2);
    assert_int_equal(info.free_pages, 2);
    assert_int_equal(info.payload_pages,
                     3); /* what the guest declared free is no word apart here */
    assert_int_equal(info.repeated_pages, 4);
    assert_int_equal(image_find(im, 0)->payload, image_find(im, 8)->payload);
    image_close(im);
}

/* More words than the writer remembers: what it forgets it stores again, and never mixes up. */
static void many_words(void **state)
{
    (void)state;
    enum { WORDS = 5000, TURNS = 3 };
    uint64_t *words = calloc(WORDS * TURNS, sizeof *words);
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1};
    for (uint64_t i = 0; i < WORDS * TURNS; i++)
        words[i] = i % WORDS * 0x10001 + 1;
    struct image *im = image_of_words(words, WORDS * TURNS, &info);
    assert_true(info.payload_pages >= WORDS && info.payload_pages <= WORDS * TURNS);
    assert_int_equal(info.repeated_pages, WORDS * TURNS - info.payload_pages);
    image_close(im);
    free(words);
}

/* Two words in turn, for each second word of many: some pair falls on one place. */
static void words_collide(void **state)
{
    (void)state;
    enum { PAIRS = 4000 };
    uint64_t *words = calloc(PAIRS * 4, sizeof *words);
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1};
    for (uint64_t i = 0; i < PAIRS * 4; i++)
        words[i] = i % 2 ? i / 4 + 2 : 1;
    struct image *im = image_of_words(words, PAIRS * 4, &info);
    /* 1 is stored once, and again each time that another word has taken its place */
    assert_true(info.payload_pages > PAIRS + 1 && info.payload_pages < PAIRS + PAIRS / 20);
    assert_int_equal(info.zero_pages, 0);
    image_close(im);
    free(words);
}

/* As after a live save: an older content of a page stays in PAYLOAD, and no entry has it. */
static void payloads_shared_and_unused(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1, .max_pfn = 9};
    const struct image_page pages[] = {{1, 2}, {2, 0}, {3, 2}, {4, IMAGE_PAGE_ZERO}, {9, 2}};
    struct image_writer *w;
    struct image *im;
    uint8_t page[PAGE_BYTES];
    uint64_t payload;
    assert_int_equal(image_writer_new(scratch_path(&dir, "a.img"), &w, &e), 0);
    for (uint64_t i = 0; i < 3; i++) {
        fill(page, i);
        assert_int_equal(image_writer_payload(w, page, &payload, &e), 0);
    }
    assert_int_equal(image_writer_pages(w, pages, ARRAY_SIZE(pages), &e), 0);
    assert_int_equal(image_writer_config(w, "{}", &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), 0);
    image_writer_free(w);
    assert_int_equal(image_open(scratch_path(&dir, "a.img"), &im, &e), 0);
    assert_int_equal(image_info(im)->repeated_pages, 2);
    assert_int_equal(image_info(im)->payload_pages, 3);
    assert_int_equal(image_info(im)->populated, 5);
    assert_memory_equal(image_payload(im, image_find(im, 9)->payload), page, PAGE_BYTES);
    image_close(im);
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
    assert_refused(open_bytes(bytes, size - 1, false, &e), &e, "truncated");
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

/* Neither the digest's place nor anything else needs to be known to say so. */
static void other_versions(void **state)
{
    (void)state;
    struct error e = {0};
    size_t size;
    uint8_t *bytes = image_bytes(&size);
    for (uint8_t version = 0; version < 5; version++) {
        char why[80];
        if (version == IMAGE_FORMAT_VERSION)
            continue;
        bytes[8] = version;
        snprintf(why, sizeof why, "format version %u, but this dompool reads version %u: %s",
                 version, IMAGE_FORMAT_VERSION,
                 version < IMAGE_FORMAT_VERSION ? "import" : "use a newer");
        assert_refused(open_bytes(bytes, size, false, &e), &e, why);
        resign(bytes);
        assert_refused(open_bytes(bytes, size, false, &e), &e, why);
        assert_says(e.text, "/proc/self/fd/");
    }
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
    assert_refused(open_bytes(bytes, size, false, &e), &e, "out of order");
    pages[1] = second;
    assert_int_equal(open_bytes(bytes, size, false, &e), ANSWER_IMAGE_REFUSED); /* twice */
    pages[0] = first;
    pages[1].payload = 1u << 20;
    assert_refused(open_bytes(bytes, size, false, &e), &e, "payload");
    pages[1] = second;
    records[4] = 0xff;
    assert_refused(open_bytes(bytes, size, false, &e), &e, "do not fit");
    records[4] = 5;
    config[0] = 0;
    assert_refused(open_bytes(bytes, size, false, &e), &e, "CONFIG");
    free(bytes);
}

/* A field of the header with another value, and a digest that fits it. */
static void count_refused(uint8_t *bytes, size_t size, size_t field, uint64_t value)
{
    struct error e = {0};
    uint64_t was;
    memcpy(&was, bytes + field, sizeof was);
    memcpy(bytes + field, &value, sizeof value);
    resign(bytes);
    assert_refused(open_bytes(bytes, size, false, &e), &e, "its header");
    memcpy(bytes + field, &was, sizeof was);
    resign(bytes);
    assert_int_equal(open_bytes(bytes, size, true, &e), 0);
}

#define FIELD(name) offsetof(struct image_header, name)

static void counts_checked(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = image_bytes(&size); /* 7 pages, 2 of them zeros */
    struct image_header *h = (void *)bytes;
    count_refused(bytes, size, FIELD(zero_pages), 1);
    count_refused(bytes, size, FIELD(zero_pages), 3);
    count_refused(bytes, size, FIELD(zero_pages), UINT64_MAX);
    count_refused(bytes, size, FIELD(populated), 6);
    count_refused(bytes, size, FIELD(populated), 8);
    count_refused(bytes, size, FIELD(repeated_pages), 5);
    count_refused(bytes, size, FIELD(repeated_pages), UINT64_MAX);
    count_refused(bytes, size, FIELD(free_pages), 3);
    h->base_id.bytes[3] = 1; /* derived: the others are in the base */
    h->populated = 9;
    h->free_pages = 9;
    count_refused(bytes, size, FIELD(populated), 6);
    count_refused(bytes, size, FIELD(populated), 23); /* max_pfn is 21 */
    count_refused(bytes, size, FIELD(populated), UINT64_MAX);
    count_refused(bytes, size, FIELD(free_pages), 10);
    free(bytes);
}

/* An image with more entries than contents must have repeated ones. */
static void repeated_checked(void **state)
{
    (void)state;
    const uint64_t words[] = {1, 1, 2, 1, 3, 2};
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1};
    size_t size;
    image_close(image_of_words(words, ARRAY_SIZE(words), &info));
    uint8_t *bytes = load(scratch_path(&dir, "a.img"), &size);
    assert_int_equal(info.repeated_pages, 3);
    count_refused(bytes, size, FIELD(repeated_pages), 2);
    count_refused(bytes, size, FIELD(repeated_pages), 6);
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
        TEST_IN_DIR(round_trip),
        TEST_IN_DIR(payloads_read),
        TEST_IN_DIR(empty_image),
        TEST_IN_DIR(read_back),
        TEST_IN_DIR(writer_refuses),
        TEST_IN_DIR(no_overwrite),
        TEST_IN_DIR(write_errors),
        TEST_IN_DIR(each_header_byte),
        TEST_IN_DIR(each_signed_header_byte),
        TEST_IN_DIR(each_truncation),
        TEST_IN_DIR(verify_finds_damage),
        TEST_IN_DIR(other_versions),
        TEST_IN_DIR(tables_checked),
        TEST_IN_DIR(repeated_words),
        TEST_IN_DIR(many_words),
        TEST_IN_DIR(words_collide),
        TEST_IN_DIR(payloads_shared_and_unused),
        TEST_IN_DIR(counts_checked),
        TEST_IN_DIR(repeated_checked),
        TEST_IN_DIR(no_image_at_all),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
