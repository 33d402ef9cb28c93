/*
 * Writer of the libxc migration stream. It writes what an image holds in the form of Xen's
 * docs/specs/libxc-migration-stream, with page contents straight from the image's mapping. The
 * reader is restore/formats/stream.h.
 *
 * The engine `guest` sends the pieces one by one, and stalls between them; an export
 * writes the stream whole (stream_write).
 *
 * Every function writes all of its piece to fd, blocking, and returns 0 or a negated errno. -EPIPE:
 * the reader of a pipe has gone. After a failure it is unknown how much was written.
 */
#ifndef RESTORE_STREAM_WRITE_H
#define RESTORE_STREAM_WRITE_H

#include "restore/formats/records.h"
#include "store/memory.h"

#include <stdint.h>

/* Which Xen wrote the stream that the image was made from, and in which version. If the image does
 * not say (the importer always records it): 4.17 and 3. */
struct image_record_origin stream_origin(const struct image *im);

/* The two headers, by the image's origin and kind of guest. */
int stream_write_headers(int fd, const struct image *im);
/* One record, padded. */
int stream_write_record(int fd, uint32_t type, const void *body, uint32_t length);
/* The image's records that come before PAGE_DATA, in their order. Here and below, records that are
 * not of the stream (IMAGE_RECORD_...) are left out. */
int stream_write_static(int fd, const struct image *im);
/* The records that come after it, vCPUs and platform, without the END record. */
int stream_write_state(int fd, const struct image *im);
/* PAGE_DATA of the pages in this image's own table; for a derived image these are the pages that
 * differ. */
int stream_write_table(int fd, const struct image *im);

/* PAGE_DATA of the pages in which `to` differs from `from`. -EINVAL when it populates others. */
int stream_write_changes(int fd, const struct image_memory *from, const struct image_memory *to);

/* Called before the first page and after every batch, with bytes of guest memory.
 * Not 0: the writing stops with -ECANCELED. */
typedef int stream_progress(uint64_t done, uint64_t total, void *data);

/*
 * The whole stream of a guest, from its headers to END: memory from base and delta merged,
 * records from the delta if there is one. progress may be NULL.
 */
int stream_write(int fd, const struct image_memory *m, stream_progress *progress, void *data);

#endif
