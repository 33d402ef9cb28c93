/*
 * Image files. The header's digest is made right first, or nothing else would ever
 * be reached; and what is derived is derived from the base that stands ready. Whatever
 * opens then is walked to its last byte: alone, and as one memory with itself, with the
 * base, and over the base.
 */
#include "tests/fuzz/fuzz.h"

#include "base/page.h"
#include "restore/formats/guest_check.h"
#include "store/memory.h"
#include "tests/fuzz/image_base.h"
#include "tests/fuzz/image_file.h"

#include <string.h>

static volatile unsigned sink; /* what is summed up must have been read */

static unsigned sum(const void *bytes, size_t n)
{
    unsigned total = 0;
    for (size_t i = 0; i < n; i++)
        total += ((const uint8_t *)bytes)[i];
    return total;
}

/* ---- what must hold of any image that opens ---- */

static void walk_image(const struct image *im)
{
    const struct image_info *info = image_info(im);
    const struct image_page *pages = image_pages(im);
    struct image_record r;
    size_t cursor = 0;
    unsigned total = 0;
    for (uint64_t i = 0; i < info->entries; i++) {
        FUZZ_CHECK(image_find(im, image_page_pfn(&pages[i])) == &pages[i]);
        FUZZ_CHECK(image_page_pfn(&pages[i]) <= info->max_pfn);
        total += sum(image_payload(im, pages[i].payload), PAGE_BYTES);
    }
    struct guest_check check;
    guest_check_init(&check, info->guest);
    while (image_next_record(im, &cursor, &r)) {
        FUZZ_CHECK((uintptr_t)r.body % 8 == 0);
        total += sum(r.body, r.length);
        (void)guest_check_record(&check, r.type, r.body, r.length, NULL);
    }
    guest_check_dispose(&check);
    total += sum(image_config(im), strlen(image_config(im)));
    sink = total;
    (void)image_verify(im, NULL);
}

/* The number of pages: each found, in order, readable. */
static uint64_t walk_memory(const struct image_memory *m)
{
    struct memory_walk w;
    struct memory_page p, found;
    uint64_t n = 0, next = 0;
    unsigned total = 0;
    memory_walk_start(&w, m);
    for (; memory_walk_next(&w, &p); n++) {
        FUZZ_CHECK(p.pfn >= next && p.pfn < IMAGE_PFN_LIMIT && p.type < 16);
        FUZZ_CHECK(memory_find(m, p.pfn, &found));
        FUZZ_CHECK(found.image == p.image && found.payload == p.payload && found.type == p.type);
        total += sum(memory_content(&p), PAGE_BYTES);
        next = p.pfn + 1;
    }
    FUZZ_CHECK(!memory_find(m, next, &found));
    sink = total;
    return n;
}

struct counts {
    uint64_t n[3]; /* by enum memory_change */
};

static struct counts diff(const struct image_memory *from, const struct image_memory *to)
{
    struct counts c = {{0, 0, 0}};
    struct memory_diff d;
    struct memory_difference found;
    memory_diff_start(&d, from, to);
    while (memory_diff_next(&d, &found)) {
        c.n[found.change]++;
        FUZZ_CHECK(found.change == MEMORY_ADDED || found.from.image);
        FUZZ_CHECK(found.change == MEMORY_REMOVED || found.to.image);
        FUZZ_CHECK(found.change != MEMORY_CHANGED ||
                   (found.from.pfn == found.to.pfn && !memory_page_equal(&found.from, &found.to)));
    }
    return c;
}

static void check_pair(const struct image_memory *a, const struct image_memory *b)
{
    uint64_t in_a = walk_memory(a), in_b = walk_memory(b);
    struct counts there = diff(a, b), back = diff(b, a);
    FUZZ_CHECK(there.n[MEMORY_ADDED] == back.n[MEMORY_REMOVED]);
    FUZZ_CHECK(there.n[MEMORY_REMOVED] == back.n[MEMORY_ADDED]);
    FUZZ_CHECK(there.n[MEMORY_CHANGED] == back.n[MEMORY_CHANGED]);
    FUZZ_CHECK(in_a + there.n[MEMORY_ADDED] == in_b + there.n[MEMORY_REMOVED]);
}

static void walk_memories(const struct image *base, const struct image *im)
{
    const struct image_memory b = {base, NULL}, alone = {im, NULL};
    const struct image_memory over = {base, im}, twice = {im, im};
    struct error e = {0};
    int rc = memory_check(&over, &e);
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    FUZZ_CHECK((memory_check(&alone, NULL) == 0) == image_is_base(image_info(im)));
    check_pair(&alone, &alone);
    check_pair(&alone, &twice);
    check_pair(&b, &alone);
    check_pair(&b, &over);
    struct counts none = diff(&alone, &twice), change = diff(&b, &over);
    FUZZ_CHECK(!none.n[MEMORY_ADDED] && !none.n[MEMORY_REMOVED] && !none.n[MEMORY_CHANGED]);
    FUZZ_CHECK(!change.n[MEMORY_REMOVED]);
    FUZZ_CHECK(rc || (!change.n[MEMORY_ADDED] && walk_memory(&over) == IMAGE_BASE_PAGES));
    FUZZ_CHECK(change.n[MEMORY_CHANGED] <= image_info(im)->entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct image_file base;
    struct image_file file;
    if (!base.image)
        image_file_base(&base);
    image_file_make(data, size, &base, &file);
    if (file.image) {
        walk_image(file.image);
        walk_memories(base.image, file.image);
    }
    image_file_dispose(&file);
    return 0;
}
