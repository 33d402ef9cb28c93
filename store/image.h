/*
 * Image files: a saved machine state as one file, laid out so that a page's
 * bytes can be copied straight from a mapping of the file, or many pages' read at once.
 *
 * The file (all integers little endian, every section starts on a page):
 *
 *   header      4 KiB: magic, format version, image id (UUID), geometry, and the
 *               section table {kind, offset, length, BLAKE2b-256 of the section};
 *               the header ends with a BLAKE2b-256 of itself
 *   PAYLOAD     page contents in canonical form (page-table entries hold pfns),
 *               4 KiB each, in the order in which they were written
 *   PAGES       sorted table, one entry for each populated pfn (in a derived image: for
 *               each that differs from its base in type or content):
 *               {u64 pfn | type << 60, u64 payload index or IMAGE_PAGE_ZERO};
 *               several entries may have one payload
 *   RECORDS     the machine state besides memory: {u32 type, u32 length, body,
 *               padded to 8} in the order of the save stream; types and bodies are
 *               those of Xen's libxc migration stream (docs/specs of Xen)
 *   CONFIG      the domain's configuration as JSON (see restore/formats/domconf.h)
 *
 * A file is written under a temporary name in the same directory, synced, and
 * renamed when it is committed, so a name ending in .img is always whole. The
 * reader checks every bound, order and overlap before anything is used; digests
 * only when asked (image_verify), never while a domain is completed.
 *
 * This folder knows no Xen: page types are opaque 4-bit numbers here, save for
 * the rule that they fit.
 */
#ifndef STORE_IMAGE_H
#define STORE_IMAGE_H

#include "base/error.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_FORMAT_VERSION 2u
#define IMAGE_PAGE_ZERO UINT64_MAX /* payload index of an all-zero page */
/* A page that is nothing but this word, in the guest's byte order "dpfree00", is declared free:
 * its content does not matter (guest/free-pages.c). */
#define IMAGE_FREE_WORD 0x3030656572667064ull
#define IMAGE_PFN_MASK 0x0fffffffffffffffull
#define IMAGE_TYPE_SHIFT 60
#define IMAGE_PFN_LIMIT (1ull << 36) /* 256 TiB of guest memory; larger is refused */

enum image_guest { IMAGE_GUEST_PV = 1, IMAGE_GUEST_PVH = 2 };

struct image_page {
    uint64_t pfn_type; /* pfn | type << IMAGE_TYPE_SHIFT, as in PAGE_DATA records */
    uint64_t payload;  /* index of a 4 KiB page in PAYLOAD, or IMAGE_PAGE_ZERO */
};

static inline uint64_t image_page_pfn(const struct image_page *p)
{
    return p->pfn_type & IMAGE_PFN_MASK;
}

static inline unsigned image_page_type(const struct image_page *p)
{
    return (unsigned)(p->pfn_type >> IMAGE_TYPE_SHIFT);
}

/*
 * What is counted of an image. Each count is a member of struct image_info, and has its name in the
 * messages of the image helper (restore/protocol/image_protocol.h). IMAGE_COUNTS(X) is X(name) for
 * each of them.
 */
#define IMAGE_COUNTS(X)                                                                            \
    IMAGE_HEADER_COUNTS(X)                                                                         \
    X(entries)       /* of PAGES: all pages of a base; those of a delta that differ */             \
    X(payload_pages) /* of PAYLOAD */

/* Those that the file's header says; the lengths of its sections say the others. */
#define IMAGE_HEADER_COUNTS(X)                                                                     \
    X(max_pfn)        /* highest pfn of the guest's physical map, populated or not */              \
    X(populated)      /* populated pfns of the guest */                                            \
    X(zero_pages)     /* entries without payload */                                                \
    X(repeated_pages) /* entries with a payload that an entry before them has too */               \
    X(free_pages)     /* declared free by the guest: zero pages of a base, left out of a delta */  \
    X(file_bytes)

struct image_info {
    struct uuid id;      /* UUID of this file's content, new at each import */
    struct uuid base_id; /* all zero: stored whole (a base) */
    enum image_guest guest;
    unsigned vcpus; /* vCPUs the domain may have */
#define IMAGE_COUNT_MEMBER(name) uint64_t name;
    IMAGE_COUNTS(IMAGE_COUNT_MEMBER)
#undef IMAGE_COUNT_MEMBER
    int64_t created_ms; /* wall clock, since the epoch */
};

/* Stored whole, so that others can be derived from it. */
static inline bool image_is_base(const struct image_info *i)
{
    return uuid_is_none(&i->base_id);
}

struct image_record {
    uint32_t type;
    uint32_t length;
    const void *body; /* inside the mapping, 8-aligned */
};

/* ---- reading ---- */

struct image;

/*
 * Opens and maps an image file read-only. Checks everything but the digests
 * of the sections. Blocking. On success the caller owns *out (image_close).
 * Errors: negative for I/O, ANSWER_IMAGE_REFUSED for a damaged file or one of
 * another format version; the text names the file and the place.
 */
int image_open(const char *path, struct image **out, struct error *e);
/* The same in two steps, for who opens files and who reads them with fewer rights. A descriptor, or
 * a negative code; path is for messages, and fd becomes the image's, also on failure. */
int image_open_file(const char *path, struct error *e);
int image_open_fd(int fd, const char *path, struct image **out, struct error *e);
void image_close(struct image *im); /* NULL is fine */

/*
 * What the file says of itself, for a process that must not map it: a page of a mapping that the
 * disk does not give is a SIGBUS. Reads the header and the configuration, and checks both with
 * their digests; pages and records are image_open's to check. Blocking, a few KiB. *config is
 * NUL-terminated text for the caller to free. Errors as image_open.
 */
int image_read_facts(const char *path, struct image_info *info, char **config, struct error *e);
/* The path of the open image whose mapping has this address, and the place in the file; NULL: none.
 * For a signal handler: takes no lock, and the text is the image's. */
const char *image_of_address(const void *address, uint64_t *offset);

const struct image_info *image_info(const struct image *im);
int image_fd(const struct image *im);
/* Sorted by pfn, image_info()->entries of them, valid until image_close. */
const struct image_page *image_pages(const struct image *im);
/* The entry for pfn, or NULL when it is not populated. */
const struct image_page *image_find(const struct image *im, uint64_t pfn);
/* The page's bytes inside the mapping; a static page of zeros for IMAGE_PAGE_ZERO. */
const void *image_payload(const struct image *im, uint64_t payload);
/*
 * Reads n payloads that follow one another into `to`, without mapping them: on a PV dom0, where the
 * hypervisor enters each page into a mapping, this is several times as fast for what is needed
 * once. Blocking. Negative for I/O, ANSWER_IMAGE_REFUSED when the file has become shorter.
 */
int image_read_payloads(const struct image *im, uint64_t payload, uint64_t n, void *to,
                        struct error *e);
/*
 * Maps in n more payloads, in the order of the file, see image_near. False when all are, or
 * the kernel cannot (Linux before 5.14, a file that has become shorter). Blocking: reads the file.
 */
bool image_prefault(struct image *im, uint64_t n);
/* Takes n of them out of the mapping again, the last ones first. False when none is left. */
bool image_unfault(struct image *im, uint64_t n);
/* How many payloads have been mapped in, from the first on: whoever uses these where they are
 * (image_payload) pays for no read and no page fault. */
uint64_t image_near(const struct image *im);
/* Whether the file of this name is the one that is open. */
bool image_is_at(const struct image *im, const char *path);
/* Byte offset in the file of payload 0. */
uint64_t image_payload_offset(const struct image *im);
/* Walks the records: *cursor starts at 0. True and *out, or false at the end. */
bool image_next_record(const struct image *im, size_t *cursor, struct image_record *out);
/* The record of this type, the nth of them from 0. *out as image_next_record's; false: there is
 * none, and *out is all zero. */
bool image_find_record(const struct image *im, uint32_t type, unsigned nth,
                       struct image_record *out);
/* NUL-terminated JSON text. */
const char *image_config(const struct image *im);

/* Maps in the records and the configuration, so that reading them later costs no page fault. */
void image_prefault_records(const struct image *im);

/* Gives back the memory that reading has mapped in; it comes back when touched. Whoever walks over
 * a whole image calls it now and then, so that what a process holds is not the image's size. */
void image_drop(const struct image *im);

/* Checks every section's digest. Blocking, reads the whole file. ANSWER_IMAGE_REFUSED on damage. */
int image_verify(const struct image *im, struct error *e);

/* ---- writing ---- */

struct image_writer;

/*
 * Starts an image file that will be called path. Nothing is seen under path
 * until image_writer_commit. Caller owns *out (image_writer_free).
 */
int image_writer_new(const char *path, struct image_writer **out, struct error *e);
/* The same into an empty file that somebody else has created, and syncs and names after the commit
 * (base/new_file.h); path is for messages. fd stays the caller's. */
int image_writer_new_fd(int fd, const char *path, struct image_writer **out, struct error *e);
/* Drops an uncommitted file from the disk. NULL is fine. */
void image_writer_free(struct image_writer *w);

/* Appends a page's content, 4 KiB, and gives its payload index. All-zero content
 * is not stored: IMAGE_PAGE_ZERO comes back. Content that is one 64-bit word over and over is
 * stored once for each word. */
int image_writer_payload(struct image_writer *w, const void *page, uint64_t *payload,
                         struct error *e);
/* Reads a page back that image_writer_payload has taken (IMAGE_PAGE_ZERO gives zeros). */
int image_writer_read_payload(struct image_writer *w, uint64_t payload, void *page,
                              struct error *e);
/* The table, any order; it is sorted here; two entries of one pfn are an error (-EEXIST). */
int image_writer_pages(struct image_writer *w, const struct image_page *pages, uint64_t n,
                       struct error *e);
int image_writer_record(struct image_writer *w, uint32_t type, const void *body, uint32_t length,
                        struct error *e);
int image_writer_config(struct image_writer *w, const char *json, struct error *e);
/*
 * Writes tables and header, syncs the file, renames it to its path and syncs the directory: durable
 * when this returns 0 (of image_writer_new_fd: only written). From info it takes base_id, guest,
 * vcpus, max_pfn, free_pages and (of a derived image) populated; the rest is filled in and returned
 * in *info. Refuses to overwrite an existing file (-EEXIST), and what image_open would refuse
 * (-EINVAL).
 */
int image_writer_commit(struct image_writer *w, struct image_info *info, struct error *e);

#endif
