/*
 * Reader of the libxc migration stream, versions 2 and 3: the part of a save
 * file that holds memory and vCPUs. The format is Xen's
 * docs/specs/libxc-migration-stream; numbers here are those of that document.
 *
 * It knows frames, lengths, order and counts. What records say about one another
 * (does cr3 name a page table?) is checked by restore/formats/guest_check.h.
 */
#ifndef RESTORE_STREAM_H
#define RESTORE_STREAM_H

#include "base/error.h"
#include "restore/formats/source.h"
#include "store/image.h"

#include <stdint.h>

enum record_type {
    RECORD_END = 0x00,
    RECORD_PAGE_DATA = 0x01,
    RECORD_X86_PV_INFO = 0x02,
    RECORD_X86_PV_P2M_FRAMES = 0x03,
    RECORD_X86_PV_VCPU_BASIC = 0x04,
    RECORD_X86_PV_VCPU_EXTENDED = 0x05,
    RECORD_X86_PV_VCPU_XSAVE = 0x06,
    RECORD_SHARED_INFO = 0x07,
    RECORD_X86_TSC_INFO = 0x08,
    RECORD_HVM_CONTEXT = 0x09,
    RECORD_HVM_PARAMS = 0x0a,
    RECORD_TOOLSTACK = 0x0b,
    RECORD_X86_PV_VCPU_MSRS = 0x0c,
    RECORD_VERIFY = 0x0d,
    RECORD_CHECKPOINT = 0x0e,
    RECORD_CHECKPOINT_DIRTY_PFN_LIST = 0x0f,
    RECORD_STATIC_DATA_END = 0x10,
    RECORD_X86_CPUID_POLICY = 0x11,
    RECORD_X86_MSR_POLICY = 0x12,
    RECORD_TYPES /* one more than the largest */
};

#define RECORD_OPTIONAL 0x80000000u   /* may be skipped by who does not know it */
#define RECORD_BYTES_MAX (128u << 20) /* libxenguest's limit on a record's body */

/*
 * Our own first record in an image's RECORDS section: where the rest comes from.
 * Outside every range that Xen's specification has given out so far.
 */
#define IMAGE_RECORD_ORIGIN 0xd0000001u
struct image_record_origin {
    uint32_t stream_version; /* 2 or 3 */
    uint32_t xen_major, xen_minor;
    uint32_t reserved; /* 0 */
};

/* Page types, bits 63 to 60 of a PAGE_DATA entry. */
enum page_type {
    PAGE_NOTAB = 0x0,
    PAGE_L1TAB = 0x1,
    PAGE_L2TAB = 0x2,
    PAGE_L3TAB = 0x3,
    PAGE_L4TAB = 0x4,
    PAGE_BROKEN = 0xd,
    PAGE_XALLOC = 0xe,
    PAGE_XTAB = 0xf
};
#define PAGE_TYPE_PINNED 0x8u     /* with L1TAB to L4TAB */
#define PAGE_TYPE_LEVEL_MASK 0x7u /* of a type that page_type_is_table */

/* True for L1TAB to L4TAB, pinned or not. */
bool page_type_is_table(unsigned type);

/* True for the records that come before memory and make the domain what it is: they are the same
 * in every image of one base. */
bool record_is_static(uint32_t type);

/* What the configuration promises; the stream must keep to it. */
struct stream_limits {
    enum image_guest guest;
    unsigned vcpus;     /* vCPU ids are below this; at most STREAM_VCPUS_MAX */
    uint64_t pfn_limit; /* pfns are below this; at most IMAGE_PFN_LIMIT */
};
#define STREAM_VCPUS_MAX 128u

struct stream_header {
    uint32_t version; /* 2 or 3 */
    uint32_t xen_major, xen_minor;
};

/* Called in stream order; a return other than 0 ends the reading with that code. */
struct stream_handlers {
    /* First of all. */
    int (*header)(void *data, const struct stream_header *h, struct error *e);
    /* Every checked record but PAGE_DATA and END, and but the empty ones that Xen 4.6 to 4.8
     * wrote by mistake. body: any alignment, valid during the call. */
    int (*record)(void *data, uint32_t type, const void *body, uint32_t length, struct error *e);
    /* Every entry of PAGE_DATA. content: 4 KiB, or NULL for PAGE_BROKEN and PAGE_XTAB. */
    int (*page)(void *data, uint64_t pfn, unsigned type, const void *content, struct error *e);
    void *data;
};

/* "X86_TSC_INFO", or "unknown record". */
const char *record_name(uint32_t type);

/*
 * Reads one stream from its first header to its END record, and not a byte more.
 * Memory: a window of the source and the largest record that is no PAGE_DATA.
 * *max_pfn: highest pfn of the guest's physical map.
 * ANSWER_IMAGE_REFUSED with record and byte offset, -ECANCELED, or an I/O error.
 */
int stream_read(struct source *src, const struct stream_limits *limits,
                const struct stream_handlers *handlers, uint64_t *max_pfn, struct error *e);

#endif
