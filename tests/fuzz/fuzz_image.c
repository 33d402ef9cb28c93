/*
 * Image files. The header's digest is made right first, or nothing else would ever
 * be reached; whatever opens then is walked to its last byte.
 */
#include "tests/fuzz/fuzz.h"

#include "store/image_format.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    uint8_t header[PAGE_BYTES];
    FUZZ_CHECK(fd >= 0 && !write_full(fd, data, size));
    if (size < sizeof header)
        return fd;
    memcpy(header, data, sizeof header);
    image_digest(header, offsetof(struct image_header, digest),
                 header + offsetof(struct image_header, digest));
    FUZZ_CHECK(!pwrite_full(fd, header, sizeof header, 0));
    return fd;
}

static unsigned sum(const void *bytes, size_t n)
{
    unsigned total = 0;
    for (size_t i = 0; i < n; i++)
        total += ((const uint8_t *)bytes)[i];
    return total;
}

static volatile unsigned sink; /* what is summed up must have been read */

static void walk(const struct image *im)
{
    const struct image_info *info = image_info(im);
    const struct image_page *pages = image_pages(im);
    struct image_record r;
    size_t cursor = 0;
    unsigned total = 0;
    for (uint64_t i = 0; i < info->pages; i++) {
        FUZZ_CHECK(image_find(im, image_page_pfn(&pages[i])) == &pages[i]);
        FUZZ_CHECK(image_page_pfn(&pages[i]) <= info->max_pfn);
        total += sum(image_payload(im, pages[i].payload), PAGE_BYTES);
    }
    while (image_next_record(im, &cursor, &r)) {
        FUZZ_CHECK((uintptr_t)r.body % 8 == 0);
        total += sum(r.body, r.length);
    }
    total += sum(image_config(im), strlen(image_config(im)));
    sink = total;
    (void)image_verify(im, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    struct image *im;
    struct error e = {0};
    int fd = file_of(data, size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = image_open(path, &im, &e);
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    if (!rc) {
        walk(im);
        image_close(im);
    }
    close(fd);
    return 0;
}
