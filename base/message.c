/* Messages: see message.h. */
#include "base/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void message_reader_init(struct message_reader *r, size_t limit)
{
    *r = (struct message_reader){.limit = limit};
}

void message_reader_dispose(struct message_reader *r)
{
    free(r->buf);
    *r = (struct message_reader){.limit = r->limit};
}

size_t message_reader_waiting(const struct message_reader *r)
{
    return r->used - r->start;
}

/* What was taken is moved over only when it is more than what is left: each byte is moved once for
 * each byte that was taken. */
static int make_room(struct message_reader *r, size_t n, struct error *e)
{
    size_t waiting = message_reader_waiting(r);
    if (r->used + n <= r->size)
        return 0;
    if (r->start > waiting) {
        memmove(r->buf, r->buf + r->start, waiting);
        r->scanned -= r->start;
        r->used = waiting;
        r->start = 0;
    }
    if (r->used + n <= r->size)
        return 0;
    size_t size = r->used + n < 4096 ? 4096 : (r->used + n) * 2;
    char *bigger = realloc(r->buf, size);
    if (!bigger)
        return error_set(e, -ENOMEM, "out of memory for a message of %zu bytes", waiting + n);
    r->buf = bigger;
    r->size = size;
    return 0;
}

int message_reader_feed(struct message_reader *r, const void *bytes, size_t n, struct error *e)
{
    if (n > r->limit + 1 || message_reader_waiting(r) > r->limit + 1)
        return error_set(e, -EMSGSIZE, "message larger than %zu bytes", r->limit);
    if (!n)
        return 0;
    if (make_room(r, n, e))
        return e->code;
    memcpy(r->buf + r->used, bytes, n);
    r->used += n;
    return 0;
}

/* The NUL behind the next message, or NULL. Each byte is looked at once. */
static const char *message_end(struct message_reader *r)
{
    const char *end = NULL;
    if (r->scanned < r->used)
        end = memchr(r->buf + r->scanned, 0, r->used - r->scanned);
    r->scanned = end ? (size_t)(end - r->buf) : r->used;
    return end;
}

bool message_reader_ready(struct message_reader *r)
{
    return message_end(r) != NULL;
}

int message_reader_next(struct message_reader *r, json_t **out, struct error *e)
{
    const char *at = r->buf + r->start, *end = message_end(r);
    size_t len = end ? (size_t)(end - at) : message_reader_waiting(r);
    if (len > r->limit)
        return error_set(e, -EMSGSIZE, "message larger than %zu bytes", r->limit);
    if (!end)
        return 0;
    json_error_t why;
    json_t *object = json_loadb(at, len, JSON_REJECT_DUPLICATES, &why);
    r->start = r->scanned = (size_t)(end - r->buf) + 1;
    if (r->start == r->used)
        r->start = r->scanned = r->used = 0;
    if (!object)
        return error_set(e, -EPROTO, "malformed JSON at byte %d: %s", why.position, why.text);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_set(e, -EPROTO, "the message is not a JSON object");
    }
    *out = object;
    return 1;
}

char *message_encode(const json_t *object, size_t *len)
{
    /* Measured first: when the buffer of json_dumps cannot grow at a key, jansson 2.14 leaves the
     * key out and goes on. */
    size_t n = json_dumpb(object, NULL, 0, JSON_COMPACT);
    char *text = n ? malloc(n + 1) : NULL;
    if (!text || json_dumpb(object, text, n, JSON_COMPACT) != n) {
        free(text);
        return NULL;
    }
    text[n] = '\0';
    *len = n + 1;
    return text;
}

int message_send(int fd, const json_t *object, struct error *e)
{
    size_t len, sent = 0;
    char *text = message_encode(object, &len);
    if (!text)
        return error_set(e, -ENOMEM, "out of memory while encoding a message");
    while (sent < len) {
        ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    int rc = sent < len ? error_errno(e, errno, "send a message") : 0;
    free(text);
    return rc;
}

int message_receive(int fd, struct message_reader *r, json_t **out, struct error *e)
{
    for (;;) {
        int rc = message_reader_next(r, out, e);
        if (rc)
            return rc;
        char chunk[4096];
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(e, errno, "receive a message");
        if (n == 0)
            return message_reader_waiting(r)
                       ? error_set(e, -EPROTO, "the connection ended inside a message")
                       : 0;
        rc = message_reader_feed(r, chunk, (size_t)n, e);
        if (rc)
            return rc;
    }
}
