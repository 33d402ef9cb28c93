/*
 * What the parts of domdump share: handles on one domain, lines of output, a hash.
 */
#ifndef TESTS_XEN_DOMDUMP_PARTS_H
#define TESTS_XEN_DOMDUMP_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / 8,
    BATCH = 256,       /* pages in one foreign map */
    TYPE_BATCH = 1024, /* most that XEN_DOMCTL_getpageframeinfo3 takes */
};

/* A frame's type as the hypervisor has it: XEN_DOMCTL_PFINFO_* shifted down. */
enum { TYPE_NOTAB = 0x0, TYPE_L1 = 0x1, TYPE_L4 = 0x4, TYPE_PINNED = 0x8, TYPE_NONE = 0xf };

struct dump {
    xc_interface *xch;
    xenforeignmemory_handle *memory;
    FILE *out;
    uint32_t domid;
    xc_domaininfo_t info;
    bool hvm;
    bool errors; /* something that a dump should not have was seen */
};

/* Prints why, with errno's text, and ends the program. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *allocate(size_t n, size_t size);

/* 64 bits of any number of bytes. Two contents that differ in one word never collide. */
uint64_t hash_bytes(const void *bytes, size_t size);

/* One line: key, type, value (a hash), class and, if not NULL, a complaint, which is an error. */
void print_line(struct dump *d, const char *key, const char *type, uint64_t value,
                const char *class_name, const char *complaint);
/* The same for a page: the key is its pfn. */
void print_page(struct dump *d, uint64_t pfn, unsigned type, uint64_t value, const char *class_name,
                const char *complaint);

/* Types of n (at most TYPE_BATCH) frames; a frame that is not this domain's has TYPE_NONE. */
void frame_types(struct dump *d, const uint64_t *frames, unsigned n, uint8_t *types);

/* Maps n (at most BATCH) frames; the caller unmaps. err[i] != 0: this one could not be mapped. */
uint8_t *frames_map(struct dump *d, int prot, const xen_pfn_t *frames, unsigned n, int *err);
void frames_unmap(struct dump *d, void *at, unsigned n);
/* A copy of one frame; false when it cannot be mapped. */
bool frame_copy(struct dump *d, uint64_t frame, void *page);

/* Grant entries that are in use. to_pfn turns what their frame field holds into a pfn. */
void dump_grants(struct dump *d, uint64_t (*to_pfn)(const void *data, uint64_t frame),
                 const void *data);

/* Flips a bit of a frame's content. */
void poke_frame(struct dump *d, uint64_t frame);

#endif
