/*
 * spoil: changes an image so that Xen does not accept it. The file's digests are wrong then;
 * neither a build nor an allocation looks at them.
 *
 *   spoil IMAGE.img          one page table of a PV guest maps itself writable; prints its pfn
 *   spoil --vcpu IMAGE.img   vCPU 0 has what no processor has: PV, a call-back at an address that
 *                            is not canonical; PVH, a CR0 without its bit 4, which is always set
 */
#include "restore/formats/pte.h"
#include "restore/formats/records.h"
#include "restore/xen/xen.h"
#include "store/image_format.h"

#include "base/io.h"
#include "base/page.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xen/hvm/save.h>

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

#define VCPU_HEADER_BYTES 8u
#define CR0_ET 0x10u

/* Where in the file the body of the first record of this type is; 0: there is none. */
static uint64_t record_at(const struct image *im, const struct image_header *h, uint32_t type,
                          struct image_record *r)
{
    size_t cursor = 0, from = 0;
    while (image_next_record(im, &cursor, r)) {
        if (r->type == type)
            return h->section[IMAGE_SECTION_RECORDS].offset + from +
                   sizeof(struct image_record_header);
        from = cursor;
    }
    return 0;
}

static int callback_write(int fd, const struct image *im, const struct image_header *h)
{
    const uint64_t nowhere = 0x1000000000000000ull;
    struct image_record r;
    uint64_t at = record_at(im, h, RECORD_X86_PV_VCPU_EXTENDED, &r);
    at += VCPU_HEADER_BYTES + offsetof(struct xen_domctl_ext_vcpucontext, syscall32_callback_eip);
    return r.length ? pwrite_full(fd, &nowhere, sizeof nowhere, at) : -1;
}

/* The context's first record is its header, the second vCPU 0. */
static int cr0_write(int fd, const struct image *im, const struct image_header *h)
{
    struct image_record r;
    struct hvm_save_descriptor d;
    uint64_t cr0, at = record_at(im, h, RECORD_HVM_CONTEXT, &r);
    const uint8_t *p = r.body;
    size_t vcpu = 2 * sizeof d + sizeof(struct hvm_save_header) + offsetof(struct hvm_hw_cpu, cr0);
    if (!at || r.length < vcpu + sizeof cr0)
        return -1;
    memcpy(&d, p + vcpu - offsetof(struct hvm_hw_cpu, cr0) - sizeof d, sizeof d);
    memcpy(&cr0, p + vcpu, sizeof cr0);
    cr0 &= ~(uint64_t)CR0_ET;
    return d.typecode == HVM_SAVE_CODE(CPU) ? pwrite_full(fd, &cr0, sizeof cr0, at + vcpu) : -1;
}

static int vcpu_spoil(const char *path, const struct image *im)
{
    struct image_header h;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread_full(fd, &h, sizeof h, 0))
        return -1;
    return image_info(im)->guest == IMAGE_GUEST_PV ? callback_write(fd, im, &h)
                                                   : cr0_write(fd, im, &h);
}

static int table_spoil(const char *path, const struct image *im)
{
    const struct image_page *table = l1_find(im);
    if (!table || entry_write(path, table))
        return -1;
    printf("%" PRIu64 "\n", image_page_pfn(table));
    return 0;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct image *im = NULL;
    bool vcpu = argc == 3 && !strcmp(argv[1], "--vcpu");
    const char *path = argv[argc - 1];
    if ((argc != 2 && !vcpu) || image_open(path, &im, &e)) {
        fprintf(stderr, "spoil: %s\n", e.code ? e.text : "usage: spoil [--vcpu] IMAGE.img");
        return 1;
    }
    if (vcpu ? vcpu_spoil(path, im) : table_spoil(path, im)) {
        fprintf(stderr, "spoil: %s: nothing to spoil, or not writable\n", path);
        return 1;
    }
    return 0;
}
