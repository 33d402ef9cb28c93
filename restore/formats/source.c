/*
 * Sources: see source.h.
 *
 * A descriptor is read a window at a time. When the window no longer holds the bytes asked for, the
 * rest of it moves to its front, so the pointer given out is always to contiguous bytes. With 4 KiB
 * pages in a 1 MiB window, this moves less than one byte in 256. Memory needs no window.
 */
#include "restore/formats/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int source_init_fd(struct source *s, int fd, struct error *e)
{
    *s = (struct source){.fd = fd, .buffer = malloc(SOURCE_WINDOW_BYTES)};
    if (!s->buffer)
        return error_set(e, -ENOMEM, "out of memory for a read buffer");
    s->at = s->buffer;
    struct stat st;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0)
        s->total = (uint64_t)st.st_size;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* pipes have no advice to take */
    return 0;
}

void source_init_memory(struct source *s, const void *bytes, size_t n)
{
    *s = (struct source){.fd = -1, .at = bytes, .left = n, .total = n};
}

void source_dispose(struct source *s)
{
    free(s->buffer);
    *s = (struct source){.fd = -1};
}

static int source_report(const struct source *s, struct error *e)
{
    if (s->progress && s->progress(s->offset, s->total, s->progress_data))
        return error_set(e, -ECANCELED, "import stopped at byte %" PRIu64, s->offset);
    return 0;
}

/* For a pipe that somebody else has made non-blocking. */
static int source_wait(const struct source *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

/* Reads until n bytes are at hand, or fewer at the end of the file. */
static int source_fill(struct source *s, size_t n, struct error *e)
{
    if (s->left >= n || s->fd < 0)
        return 0;
    memmove(s->buffer, s->at, s->left);
    s->at = s->buffer;
    int rc = source_report(s, e);
    while (!rc && s->left < n) {
        ssize_t got = read(s->fd, s->buffer + s->left, SOURCE_WINDOW_BYTES - s->left);
        if (got > 0)
            s->left += (size_t)got;
        else if (got == 0)
            return 0;
        else if (errno == EINTR || (errno == EAGAIN && !source_wait(s)))
            rc = source_report(s, e); /* a signal may have come to stop us */
        else
            rc = error_errno(e, errno, "read the save file at byte %" PRIu64, s->offset + s->left);
    }
    return rc;
}

int source_take(struct source *s, size_t n, const char *inside, const uint8_t **out,
                struct error *e)
{
    if (n > SOURCE_WINDOW_BYTES)
        return error_set(e, -EINVAL, "%zu bytes of %s asked for at once", n, inside);
    int rc = source_fill(s, n, e);
    if (rc)
        return rc;
    if (s->left < n)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file ends inside %s at byte %" PRIu64 " (truncated?)", inside,
                         s->offset + s->left);
    *out = s->at;
    s->at += n;
    s->left -= n;
    s->offset += n;
    return 0;
}

int source_copy(struct source *s, void *buf, size_t n, const char *inside, struct error *e)
{
    uint8_t *to = buf;
    while (n) {
        size_t part = n < SOURCE_WINDOW_BYTES ? n : SOURCE_WINDOW_BYTES;
        const uint8_t *from;
        int rc = source_take(s, part, inside, &from, e);
        if (rc)
            return rc;
        memcpy(to, from, part);
        to += part;
        n -= part;
    }
    return 0;
}

int source_skip(struct source *s, uint64_t n, const char *inside, struct error *e)
{
    while (n) {
        size_t part = n < SOURCE_WINDOW_BYTES ? (size_t)n : SOURCE_WINDOW_BYTES;
        const uint8_t *ignored;
        int rc = source_take(s, part, inside, &ignored, e);
        if (rc)
            return rc;
        n -= part;
    }
    return 0;
}

int source_at_end(struct source *s, bool *end, struct error *e)
{
    int rc = source_fill(s, 1, e);
    *end = s->left == 0;
    return rc;
}
