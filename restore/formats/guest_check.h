/*
 * Checks what the records of a stream say about one another and about memory. libxenguest, our own
 * engine or Xen would otherwise trip over each of these mistakes while a domain is built. Here it
 * is a refused import.
 */
#ifndef RESTORE_GUEST_CHECK_H
#define RESTORE_GUEST_CHECK_H

#include "base/error.h"
#include "restore/formats/stream.h"
#include "store/image.h"

#include <stdint.h>

#define GUEST_CHECK_GDT_FRAMES 14u /* FIRST_RESERVED_GDT_PAGE */

/* What a vCPU's registers name in memory. For PVH: only vCPU 0's ip and cr3_pfn. */
struct guest_vcpu {
    bool seen;
    uint64_t ip; /* instruction pointer, 0: not seen */
    unsigned gdt_frames;
    uint64_t gdt[GUEST_CHECK_GDT_FRAMES];
    uint64_t cr3_pfn, cr1_pfn; /* cr1: user page table, UINT64_MAX when there is none */
    uint64_t start_info_pfn;   /* vCPU 0 only */
};

/* Memory as the stream left it. */
struct guest_memory {
    uint64_t max_pfn;
    const uint8_t *types; /* page type of each pfn up to max_pfn, GUEST_NOT_POPULATED */
    int (*read_page)(void *data, uint64_t pfn, void *page, struct error *e);
    void *data;
};
#define GUEST_NOT_POPULATED 0xffu

struct guest_check {
    enum image_guest guest;
    struct guest_vcpu vcpus[STREAM_VCPUS_MAX];
    uint64_t *p2m_frames; /* owned */
    uint64_t n_p2m_frames;
    uint64_t params_seen; /* bit n: HVM parameter n */
    /* The two rings: of a PVH guest from its parameters, of a PV guest from its start info
     * (guest_check_rings, guest_check_finish). */
    uint64_t store_pfn, console_pfn;
};

void guest_check_init(struct guest_check *g, enum image_guest guest);
void guest_check_dispose(struct guest_check *g);

/* Notes what a record says. It comes from a stream, or from an image's file, whose lengths nobody
 * else checks. ANSWER_IMAGE_REFUSED, -ENOMEM. */
int guest_check_record(struct guest_check *g, uint32_t type, const uint8_t *body, uint32_t length,
                       struct error *e);
/* Finds the rings, once all records are known. Uses read_page alone, and returns what it
 * returns. */
int guest_check_rings(struct guest_check *g, const struct guest_memory *m, struct error *e);
/* Makes the cross-checks, after guest_check_rings and once all records and all memory are known.
 * Reads back every page-table page of a PV guest. ANSWER_IMAGE_REFUSED, or what read_page
 * returns. */
int guest_check_finish(struct guest_check *g, const struct guest_memory *m, struct error *e);

#endif
