/*
 * Makes save files for tests: a valid one of a small PV or PVH guest, as a list
 * of records that a test then changes, and the bytes of the result. Everything
 * aborts when memory runs out.
 */
#ifndef TESTS_UNIT_STREAM_BUILD_H
#define TESTS_UNIT_STREAM_BUILD_H

#include "base/error.h"
#include "store/image.h"

#include <stddef.h>
#include <stdint.h>

#define BUILD_RECORDS_MAX 64

struct build_record {
    uint32_t type;
    uint32_t length; /* as written; zeros are put behind a shorter body */
    uint32_t have;   /* bytes of body */
    uint8_t *body;   /* owned */
    uint64_t offset; /* in the save file, set by stream_build_bytes */
};

struct stream_build {
    enum image_guest guest;
    uint32_t version, page_shift, dhdr_type; /* of the libxc headers */
    char *config;                            /* JSON, owned */
    struct build_record records[BUILD_RECORDS_MAX];
    unsigned n;
};

struct built {
    uint8_t *bytes;
    size_t size;
    size_t libxl_at, libxc_at; /* offsets of the two streams' headers */
};

/* Pfns of the PV guest; the others up to BUILD_PV_MAX_PFN hold data, zeros or nothing. */
enum {
    BUILD_PFN_START_INFO = 1,
    BUILD_PFN_STORE,
    BUILD_PFN_CONSOLE,
    BUILD_PFN_P2M,
    BUILD_PFN_GDT,
    BUILD_PFN_L4,
    BUILD_PFN_L3,
    BUILD_PFN_L2,
    BUILD_PFN_L1,
    BUILD_PFN_DATA,
    BUILD_PFN_ZERO,
    BUILD_PFN_BROKEN,
    BUILD_PV_MAX_PFN = 20
};
/* Pfns of the PVH guest */
enum { BUILD_PVH_DATA = 0, BUILD_PVH_ZERO = 1, BUILD_PVH_STORE = 0xfeff8, BUILD_PVH_CONSOLE };

/* A guest of two vCPUs with everything that a real stream has, version 3. */
void stream_build_init(struct stream_build *b, enum image_guest guest);
/* As small as a valid save file gets: for corpora. */
void stream_build_init_tiny(struct stream_build *b, enum image_guest guest);
void stream_build_dispose(struct stream_build *b);

/* What its vCPUs have of the processor: components of xsave state (x87, SSE, AVX), and features in
 * leaf 7, ebx. */
#define BUILD_COMPONENTS 0x7u
#define BUILD_FEATURES_7B (1u << 5)
/* and in leaf 0x80000001, edx: one that leaf 1 has, and one of its own */
#define BUILD_FEATURES_E1D (1u << 0 | 1u << 29)

/* The n-th record of this type, from 0; must exist. */
struct build_record *stream_build_find(struct stream_build *b, uint32_t type, unsigned n);
/* Puts a copy of the body in front of record `at` (b->n: behind the last). */
struct build_record *stream_build_insert(struct stream_build *b, unsigned at, uint32_t type,
                                         const void *body, uint32_t length);
void stream_build_remove(struct stream_build *b, struct build_record *r);
/* Index of a record, for stream_build_insert. */
unsigned stream_build_index(const struct stream_build *b, const struct build_record *r);
void stream_build_config(struct stream_build *b, const char *json);

/* The content of a pfn within the only PAGE_DATA record of stream_build_init. */
uint8_t *stream_build_page(struct stream_build *b, uint64_t pfn);
/* Its entry, to change type or pfn. */
uint8_t *stream_build_entry(struct stream_build *b, uint64_t pfn);

/* The whole save file; free with built_dispose. */
void stream_build_bytes(struct stream_build *b, struct built *out);
void built_dispose(struct built *f);

/* Reads the file as import does, without an image: 0 or what the reader says. */
int stream_build_read(struct stream_build *b, struct error *e);
int built_read(const struct built *f, struct error *e);
/* Imports it from memory. */
int stream_build_import(struct stream_build *b, const char *image_path, struct image_info *info,
                        struct error *e);
/* The same over a base; base_path NULL: whole. */
int stream_build_derive(struct stream_build *b, const char *base_path, const char *image_path,
                        struct image_info *info, struct error *e);

void put_u32(uint8_t *p, uint32_t v);
void put_u64(uint8_t *p, uint64_t v);

#endif
