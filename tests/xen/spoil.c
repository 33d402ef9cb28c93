/*
 * spoil: lets one page table of a PV guest's image map itself writable, which Xen accepts of
 * nobody. The file's digests are wrong then; an allocation does not look at them. Prints the
 * table's pfn.
 *
 *   spoil IMAGE.img
 */
#include "restore/formats/pte.h"
#include "restore/formats/records.h"
#include "store/image_format.h"

#include "base/io.h"
#include "base/page.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static const struct image_page *l1_find(const struct image *im)
{
    const struct image_page *p = image_pages(im);
    for (uint64_t i = 0; i < image_info(im)->entries; i++)
        if ((image_page_type(&p[i]) & PAGE_TYPE_LEVEL_MASK) == PAGE_L1TAB &&
            page_type_is_table(image_page_type(&p[i])) && p[i].payload != IMAGE_PAGE_ZERO)
            return &p[i];
    return NULL;
}

static int entry_write(const char *path, const struct image_page *table)
{
    struct image_header h;
    uint64_t entry = image_page_pfn(table) << 12 | PTE_PRESENT | 0x66; /* writable, user, A, D */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread_full(fd, &h, sizeof h, 0))
        return -1;
    uint64_t at = h.section[IMAGE_SECTION_PAYLOAD].offset + table->payload * PAGE_BYTES;
    return pwrite_full(fd, &entry, sizeof entry, at);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct image *im = NULL;
    if (argc != 2 || image_open(argv[1], &im, &e)) {
        fprintf(stderr, "spoil: %s\n", argc == 2 ? e.text : "usage: spoil IMAGE.img");
        return 1;
    }
    const struct image_page *table = l1_find(im);
    if (!table || entry_write(argv[1], table)) {
        fprintf(stderr, "spoil: %s: no page table, or not writable\n", argv[1]);
        return 1;
    }
    printf("%" PRIu64 "\n", image_page_pfn(table));
    return 0;
}
