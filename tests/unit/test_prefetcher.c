/* Images that a warm slot expects: restore/warm/prefetcher.h, and what store/image.h has for it. */
#include "restore/warm/prefetcher.h"
#include "tests/unit/check.h"

#include "base/page.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#define PAGES 300u /* more than are mapped at a time */

/* An image of PAGES pages, none like another. */
static void make(const char *path, uint64_t seed)
{
    static struct image_page pages[PAGES];
    uint64_t page[PAGE_BYTES / sizeof(uint64_t)] = {seed};
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1, .max_pfn = PAGES};
    struct image_writer *w;
    struct error e = {0};
    assert_int_equal(image_writer_new(path, &w, &e), 0);
    for (uint64_t i = 0; i < PAGES; i++) {
        page[1] = i + 1;
        pages[i].pfn_type = i;
        assert_int_equal(image_writer_payload(w, page, &pages[i].payload, &e), 0);
    }
    assert_int_equal(image_writer_pages(w, pages, PAGES, &e), 0);
    assert_int_equal(image_writer_config(w, "{}", &e), 0);
    assert_int_equal(image_writer_commit(w, &info, &e), 0);
    image_writer_free(w);
}

static uint64_t seed_of(const struct image *im)
{
    uint64_t word;
    memcpy(&word, image_payload(im, 0), sizeof word);
    return word;
}

/* KiB of all mappings of the file in this process that are in memory; -1: it is not mapped. A
 * mapping is a line that begins with its address, and lines that begin with what they tell. */
static long mapped_kib(const char *path)
{
    char line[600];
    long kib, all = -1;
    bool in = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strchr("0123456789abcdef", line[0]))
            in = strstr(line, path) != NULL;
        if (in && sscanf(line, "Rss: %ld", &kib) == 1)
            all = all < 0 ? kib : all + kib;
    }
    fclose(f);
    return all;
}

static void set(struct prefetcher *x, const char *a, const char *b)
{
    const char *paths[] = {a, b};
    struct error e = {0};
    size_t n = a ? b ? 2 : 1 : 0;
    assert_int_equal(prefetcher_set(x, paths, n, &e), 0);
}

static unsigned work(struct prefetcher *x)
{
    unsigned steps = 0;
    while (prefetcher_work(x))
        assert_true(++steps < 1000);
    return steps;
}

/* Step by step, the first payloads first; and back. */
static void pages_come_near(void **state)
{
    (void)state;
    struct error e;
    struct image *im;
    const char *path = scratch_path(&dir, "a.img");
    make(path, 7);
    assert_int_equal(image_open(path, &im, &e), 0);
    image_drop(im);
    assert_int_equal(image_near(im), 0);
    assert_true(image_prefault(im, 100));
    assert_true(mapped_kib(path) >= 400);
    assert_int_equal(image_near(im), 100);
    assert_true(image_prefault(im, PAGES)); /* what there is */
    assert_int_equal(image_near(im), PAGES);
    assert_false(image_prefault(im, 1));
    assert_true(mapped_kib(path) >= (long)PAGES * 4);
    assert_true(image_unfault(im, PAGES - 10));
    assert_true(mapped_kib(path) < 200);
    assert_int_equal(image_near(im), 10);
    assert_true(image_unfault(im, PAGES));
    assert_int_equal(image_near(im), 0);
    assert_false(image_unfault(im, 1));
    image_close(im);
}

/* A file that has become shorter is not touched where it ends. */
static void shorter(void **state)
{
    (void)state;
    struct error e;
    struct image *im;
    const char *path = scratch_path(&dir, "a.img");
    make(path, 7);
    assert_int_equal(image_open(path, &im, &e), 0);
    image_drop(im);
    assert_int_equal(truncate(path, (off_t)image_payload_offset(im)), 0);
    assert_false(image_prefault(im, 10));
    assert_int_equal(image_near(im), 0);
    image_close(im);
}

static void ready_ahead(void **state)
{
    (void)state;
    struct prefetcher x = {0};
    struct error e;
    struct image *im;
    const char *a = scratch_path(&dir, "a.img"), *b = scratch_path(&dir, "b.img");
    make(a, 1);
    make(b, 2);
    assert_false(prefetcher_work(&x));
    set(&x, a, b);
    assert_int_equal(mapped_kib(a), -1); /* nothing yet */
    assert_true(work(&x) > 2 * PAGES / 128);
    assert_true(mapped_kib(a) >= (long)PAGES * 4 && mapped_kib(b) >= (long)PAGES * 4);
    assert_false(prefetcher_work(&x));
    assert_int_equal(prefetcher_open(&x, b, &im, &e), 0);
    assert_ptr_equal(im, x.wanted[1].image);
    assert_int_equal(seed_of(im), 2);
    assert_int_equal(image_near(im), PAGES);
    prefetcher_dispose(&x);
    assert_int_equal(mapped_kib(a), -1);
    prefetcher_dispose(&x);
}

/* What stays keeps what it has; what goes goes step by step, with its file. */
static void another_list(void **state)
{
    (void)state;
    struct prefetcher x = {0};
    const char *a = scratch_path(&dir, "a.img"), *b = scratch_path(&dir, "b.img");
    make(a, 1);
    make(b, 2);
    set(&x, a, a); /* twice is once */
    assert_int_equal(x.n_wanted, 1);
    work(&x);
    const struct image *kept = x.wanted[0].image;
    set(&x, b, a);
    assert_ptr_equal(x.wanted[1].image, kept);
    assert_true(prefetcher_work(&x)); /* b is opened, a is ready */
    assert_non_null(x.wanted[0].image);
    assert_ptr_equal(x.wanted[1].image, kept);
    work(&x);
    set(&x, b, NULL);
    assert_true(mapped_kib(a) > 0);
    assert_true(work(&x) > PAGES / 128);
    assert_int_equal(mapped_kib(a), -1);
    set(&x, a, NULL); /* half way, it is wanted again */
    prefetcher_work(&x);
    set(&x, b, a);
    work(&x);
    assert_int_equal(x.n_wanted, 2);
    assert_int_equal(x.n_unwanted, 0);
    set(&x, NULL, NULL);
    prefetcher_dispose(&x); /* with everything still to be let go of */
    assert_int_equal(mapped_kib(b), -1);
}

/* What is opened is what bears the name now. */
static void what_is_there_now(void **state)
{
    (void)state;
    struct prefetcher x = {0};
    struct error e;
    struct image *im, *again;
    const char *a = scratch_path(&dir, "a.img"), *b = scratch_path(&dir, "b.img");
    make(a, 1);
    make(b, 2);
    set(&x, a, NULL);
    work(&x);
    assert_int_equal(rename(b, a), 0);
    assert_int_equal(prefetcher_open(&x, a, &im, &e), 0);
    assert_int_equal(seed_of(im), 2);
    assert_int_equal(prefetcher_open(&x, a, &again, &e), 0);
    assert_int_equal(seed_of(again), 2);
    assert_int_equal(seed_of(x.wanted[0].image), 1);
    prefetcher_dispose(&x);
}

/* Nobody is told before it is asked for. */
static void cannot_be_opened(void **state)
{
    (void)state;
    struct prefetcher x = {0};
    struct error e;
    struct image *im;
    const char *a = scratch_path(&dir, "a.img"), *b = scratch_path(&dir, "b.img");
    make(b, 2);
    set(&x, a, b);
    work(&x);
    assert_null(x.wanted[0].image);
    assert_true(mapped_kib(b) >= (long)PAGES * 4);
    assert_int_equal(prefetcher_open(&x, a, &im, &e), -ENOENT);
    assert_says(e.text, "a.img");
    make(a, 1);
    assert_int_equal(prefetcher_open(&x, a, &im, &e), 0);
    assert_int_equal(seed_of(im), 1);
    prefetcher_dispose(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(pages_come_near), TEST_IN_DIR(shorter),           TEST_IN_DIR(ready_ahead),
        TEST_IN_DIR(another_list),    TEST_IN_DIR(what_is_there_now), TEST_IN_DIR(cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
