/*
 * What tests of import --base start from: a guest with a kernel, of which a state can be stored as
 * a delta, and steps in which it changes. Every function fails the test when something is not as it
 * says.
 */
#ifndef TESTS_UNIT_DERIVE_GUEST_H
#define TESTS_UNIT_DERIVE_GUEST_H

#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH

#define BASE scratch_path(&dir, "base.img")
#define DELTA scratch_path(&dir, "delta.img")
#define WHOLE scratch_path(&dir, "whole.img")

/* ---- steps ---- */

void must(int rc, const struct error *e);
struct image_info import_over(struct stream_build *b, const char *base, const char *path);
struct image *open_image(const char *path);

/* ---- more and fewer entries in the first PAGE_DATA record ---- */

uint64_t entry_of(uint64_t pfn, unsigned type);
/* Behind the others, with a page of zeros where its type has content. */
void entry_add(struct stream_build *b, uint64_t entry);
void entry_remove(struct stream_build *b, uint64_t pfn);
void retype(struct stream_build *b, uint64_t pfn, unsigned type);
void fill_word(uint8_t *page, uint64_t word);

/* ---- a guest with a kernel: pages of code around its instruction pointer ---- */

#define CODE_PAGES 6u
#define CODE_PFN_PV 13u
#define IP 0x4040d123ull /* L3 entry 1, L2 entry 2, of a PV guest L1 entry 13 */

void guest_init(struct stream_build *b, enum image_guest guest);
/* With its image at BASE. */
void base_init(struct stream_build *b, enum image_guest guest);
/* Where the record of vCPU 0 has its instruction pointer. */
uint8_t *ip_of(struct stream_build *b);
/* The first page of code. */
uint64_t code_pfn(const struct stream_build *b);
/* A text of the configuration becomes another. */
void config_replace(struct stream_build *b, const char *from, const char *to);

#endif
