/*
 * A source of bytes that is read once from start to end: a file, a pipe, or
 * memory (for tests and fuzzing). It hands out pointers into its own window, so
 * a page of a save file is not copied before it is written to the image.
 */
#ifndef RESTORE_SOURCE_H
#define RESTORE_SOURCE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_WINDOW_BYTES (1u << 20) /* the most that source_take gives at once */

struct source {
    int fd;            /* -1: all bytes are in memory */
    uint8_t *buffer;   /* owned; NULL for memory */
    const uint8_t *at; /* next byte, inside buffer or the caller's memory */
    size_t left;       /* bytes at hand behind it */
    uint64_t offset;   /* of the next byte, counted from where the source began */
    uint64_t total;    /* size of the file, 0 when it is not known */
    /* Called at each refill, at most once a window. Not 0: reading stops with -ECANCELED. */
    int (*progress)(uint64_t done, uint64_t total, void *data);
    void *progress_data;
};

/* The descriptor stays the caller's. -ENOMEM. */
int source_init_fd(struct source *s, int fd, struct error *e);
/* The bytes must outlive the source. */
void source_init_memory(struct source *s, const void *bytes, size_t n);
void source_dispose(struct source *s);

/*
 * Gives the next n bytes (at most SOURCE_WINDOW_BYTES), at any alignment, valid until the next
 * call. `inside` names for the error text what the bytes belong to. ANSWER_IMAGE_REFUSED "save file
 * ends inside <inside> at byte N (truncated?)", -ECANCELED, or a negative I/O error.
 */
int source_take(struct source *s, size_t n, const char *inside, const uint8_t **out,
                struct error *e);
/* Copies the next n bytes, any number of them. */
int source_copy(struct source *s, void *buf, size_t n, const char *inside, struct error *e);
int source_skip(struct source *s, uint64_t n, const char *inside, struct error *e);
/* True in *end when nothing follows. */
int source_at_end(struct source *s, bool *end, struct error *e);

/* Little-endian integers at any alignment. */
static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static inline uint32_t get_be32(const uint8_t *p)
{
    return __builtin_bswap32(get_u32(p));
}

static inline uint64_t get_be64(const uint8_t *p)
{
    return __builtin_bswap64(get_u64(p));
}

#endif
