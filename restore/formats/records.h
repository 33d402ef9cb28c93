/*
 * Numbers of the libxc migration stream, as Xen's docs/specs/libxc-migration-stream has them, and
 * our own beside them. The RECORDS section of an image file holds records under the same numbers.
 */
#ifndef RESTORE_RECORDS_H
#define RESTORE_RECORDS_H

#include <stdbool.h>
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

#define RECORD_OPTIONAL 0x80000000u   /* readers that do not know it may skip it */
#define RECORD_BYTES_MAX (128u << 20) /* libxenguest's limit on a record's body */

/* "X86_TSC_INFO", or "unknown record". Static. */
const char *record_name(uint32_t type);

/* True for the records that come before memory and describe the domain: they are the same in every
 * image of one base. */
bool record_is_static(uint32_t type);

/*
 * Our own records in an image's RECORDS section. Their numbers lie outside every range that Xen's
 * specification has given out so far.
 *
 * ORIGIN comes first: where the rest comes from.
 */
#define IMAGE_RECORD_ORIGIN 0xd0000001u
struct image_record_origin {
    uint32_t stream_version; /* 2 or 3 */
    uint32_t xen_major, xen_minor;
    uint32_t reserved; /* 0 */
};

/*
 * XL_CONFIG is the save file's JSON configuration, without a NUL. It is verbatim except for disks
 * that the import was told to provide otherwise (import_options.disks). An allocated domain gets it
 * back, with its own name, uuid and disk paths: it is the configuration that xl keeps for `xl list
 * -l` and `xl save`.
 */
#define IMAGE_RECORD_XL_CONFIG 0xd0000002u

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

#endif
