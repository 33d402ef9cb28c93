/*
 * Counts the differences of two images, for people who want to know what a delta is made of.
 */
#ifndef RESTORE_IMAGE_DIFF_H
#define RESTORE_IMAGE_DIFF_H

#include "store/memory.h"

#include <jansson.h>

/*
 * Reads both memories. *out is a new object, see ImageDiff in pool/core/io.dompool.varlink:
 *   {"pages", "tables": [l1, l2, l3, l4], "type_changes", "to_zero", "added", "removed",
 *    "bytes", "toolstack_pages", "records": ["X86_PV_VCPU_BASIC", ...]}
 * pages: changed in type or content, without toolstack_pages, which are those that always differ
 * and never matter (lineage.h) when a is a base; tables: of these, page tables in b by level;
 * bytes: that differ within changed pages; records: kinds of records whose bodies are not the same.
 * progress may be NULL; not 0: -ECANCELED. -ENOMEM.
 */
int image_diff(const struct image_memory *a, const struct image_memory *b,
               int (*progress)(uint64_t done, uint64_t total, void *data), void *data, json_t **out,
               struct error *e);

#endif
