/*
 * Reader and writer of the file that `xl save` writes, around the libxc stream:
 *
 *   xl header (48 bytes) | optional data: u32 length, JSON | libxl stream v2:
 *   header, LIBXC_CONTEXT record, libxc stream, END record
 *
 * Formats: struct save_file_header in Xen's tools/xl/xl.h and
 * docs/specs/libxl-migration-stream.
 */
#ifndef RESTORE_SAVEFILE_H
#define RESTORE_SAVEFILE_H

#include "base/error.h"
#include "restore/formats/source.h"
#include "restore/formats/stream.h"

#include <stddef.h>
#include <stdint.h>

#define SAVEFILE_CONFIG_BYTES_MAX (1u << 20)

/*
 * Reads up to the libxl stream. *json is malloc'd and NUL-terminated, *len does
 * not count the NUL. ANSWER_IMAGE_REFUSED with what and where, or an I/O error.
 */
int savefile_read_config(struct source *src, char **json, size_t *len, struct error *e);

/*
 * Reads the rest, to the end of the file: nothing may follow. For limits,
 * handlers and max_pfn see stream_read. ANSWER_IMAGE_REFUSED also for the
 * records of an HVM guest's device model.
 */
int savefile_read_stream(struct source *src, const struct stream_limits *limits,
                         const struct stream_handlers *handlers, uint64_t *max_pfn,
                         struct error *e);

/* The longest configuration that savefile_write_head takes. With its length and a final NUL, it is
 * the longest one that savefile_read_config accepts. */
#define SAVEFILE_JSON_BYTES_MAX (SAVEFILE_CONFIG_BYTES_MAX - 5)

/*
 * Writes everything before the libxc stream: xl's header, the configuration (len bytes, no NUL
 * counted), the libxl stream's header and its LIBXC_CONTEXT record. Blocking. 0 or a negated errno.
 */
int savefile_write_head(int fd, const char *json, uint32_t len);
/* Writes what follows the libxc stream: libxl's END record. Blocking. 0 or a negated errno. */
int savefile_write_end(int fd);

#endif
