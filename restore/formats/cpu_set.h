/*
 * Sets of processors or NUMA nodes of a host, as a saved configuration names them: each entry is a
 * number. The host that reads a set may have fewer.
 */
#ifndef RESTORE_CPU_SET_H
#define RESTORE_CPU_SET_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_SET_LIMIT 16384u /* as many as any Xen counts (NR_CPUS of its Kconfig) */

/* All zeros: empty. */
struct cpu_set {
    size_t bytes;
    uint8_t *bits; /* bit n of byte n / 8 */
};

/* One for each of the first vCPUs; n 0: none is given. All zeros: so. */
struct cpu_sets {
    unsigned n;
    struct cpu_set *sets;
};

void cpu_set_dispose(struct cpu_set *s);
void cpu_sets_dispose(struct cpu_sets *s);

bool cpu_set_has(const struct cpu_set *s, unsigned number);
bool cpu_set_is_empty(const struct cpu_set *s);
bool cpu_set_equal(const struct cpu_set *a, const struct cpu_set *b);
bool cpu_sets_equal(const struct cpu_sets *a, const struct cpu_sets *b);

/* Reads an array of numbers, libxl's form of a bitmap. *s must be empty; it is the caller's, also
 * after a failure. key is for the text. ANSWER_IMAGE_REFUSED, -ENOMEM. */
int cpu_set_from_numbers(const json_t *array, const char *key, struct cpu_set *s, struct error *e);
/* The same for an array of such arrays, at most `max` of them. */
int cpu_sets_from_numbers(const json_t *array, const char *key, unsigned max, struct cpu_sets *s,
                          struct error *e);

/* Our own form: "0-3,7", as people write it; "" for an empty set. malloc'd; NULL: no memory. */
char *cpu_set_format(const struct cpu_set *s);
/* The reverse, strictly: numbers go up. *s must be empty. ANSWER_IMAGE_REFUSED, -ENOMEM. */
int cpu_set_parse(const char *text, struct cpu_set *s, struct error *e);

#endif
