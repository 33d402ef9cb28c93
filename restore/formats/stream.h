/*
 * Reader of the libxc migration stream, versions 2 and 3: the part of a save
 * file that holds memory and vCPUs. The format is Xen's
 * docs/specs/libxc-migration-stream; its numbers are in records.h.
 *
 * It checks frames, lengths, order and counts. restore/formats/guest_check.h checks what records
 * say about one another (does cr3 name a page table?).
 */
#ifndef RESTORE_STREAM_H
#define RESTORE_STREAM_H

#include "base/error.h"
#include "restore/formats/source.h"
#include "store/image.h"

#include <stdint.h>

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
    /* Every checked record except PAGE_DATA, END, and the empty records that Xen 4.6 to 4.8 wrote
     * by mistake. body: any alignment, valid during the call. */
    int (*record)(void *data, uint32_t type, const void *body, uint32_t length, struct error *e);
    /* Every entry of PAGE_DATA. content: 4 KiB, or NULL for PAGE_BROKEN and PAGE_XTAB. */
    int (*page)(void *data, uint64_t pfn, unsigned type, const void *content, struct error *e);
    void *data;
};

/*
 * Reads one stream from its first header to its END record, and not a byte more. Takes memory for a
 * window of the source and the largest record other than PAGE_DATA. *max_pfn: highest pfn of the
 * guest's physical map. ANSWER_IMAGE_REFUSED with record and byte offset, -ECANCELED, or an I/O
 * error.
 */
int stream_read(struct source *src, const struct stream_limits *limits,
                const struct stream_handlers *handlers, uint64_t *max_pfn, struct error *e);

#endif
