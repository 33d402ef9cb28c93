/*
 * The bytes of an image file's first page, shared by its reader and its writer.
 * Everything is little endian; the build is for x86-64, so the structures below
 * are the bytes. store/image.h tells the layout of the file as a whole.
 *
 * A change of these structures is a new IMAGE_FORMAT_VERSION. Magic, version and
 * the digest's place never move: an older dompool must be able to say "too new".
 */
#ifndef STORE_IMAGE_FORMAT_H
#define STORE_IMAGE_FORMAT_H

#include "base/page.h"
#include "base/uuid.h"
#include "store/image.h"

#include <assert.h>
#include <endian.h>

static_assert(BYTE_ORDER == LITTLE_ENDIAN, "image files are read in place");

#define IMAGE_MAGIC "dpimage"  /* 8 bytes with the NUL */
#define IMAGE_DIGEST_BYTES 32u /* BLAKE2b-256 */
#define IMAGE_RECORD_ALIGN 8u

/* In the order in which they stand in the file. Every file has each of them once. */
enum image_section_kind {
    IMAGE_SECTION_PAYLOAD,
    IMAGE_SECTION_PAGES,
    IMAGE_SECTION_RECORDS,
    IMAGE_SECTION_CONFIG,
    IMAGE_SECTION_COUNT
};

struct image_section {
    uint32_t kind;
    uint32_t reserved;
    uint64_t offset; /* multiple of the page size */
    uint64_t length; /* bytes; what follows up to the next page is zero */
    uint8_t digest[IMAGE_DIGEST_BYTES];
};

struct image_header {
    char magic[8];
    uint32_t version;
    uint32_t sections; /* IMAGE_SECTION_COUNT */
    struct uuid id;
    struct uuid base_id;
    uint32_t guest;
    uint32_t vcpus;
    uint64_t max_pfn;
    uint64_t populated;
    uint64_t zero_pages;
    uint64_t repeated_pages;
    uint64_t free_pages;
    uint64_t file_bytes;
    int64_t created_ms;
    struct image_section section[IMAGE_SECTION_COUNT];
    uint8_t reserved[3728];             /* zero */
    uint8_t digest[IMAGE_DIGEST_BYTES]; /* of all bytes before it */
};

static_assert(sizeof(struct image_header) == PAGE_BYTES, "the header is one page");

struct image_record_header {
    uint32_t type;
    uint32_t length;
};

static inline uint64_t image_round_page(uint64_t n)
{
    return (n + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static inline size_t image_record_padding(uint32_t length)
{
    return (IMAGE_RECORD_ALIGN - length % IMAGE_RECORD_ALIGN) % IMAGE_RECORD_ALIGN;
}

/* "PAYLOAD" and so on, for messages. */
const char *image_section_name(enum image_section_kind kind);
/* Whether the counts of pages can be true of one image; the reader refuses others, and the writer
 * does not write them. */
bool image_counts_fit(const struct image_info *i);
/* BLAKE2b-256 of size bytes. */
void image_digest(const void *bytes, size_t size, uint8_t digest[IMAGE_DIGEST_BYTES]);

#endif
