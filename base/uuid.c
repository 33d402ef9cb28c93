/* UUIDs and what they are made of: see uuid.h. */
#include "base/uuid.h"

#include "base/array.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void uuid_version4(struct uuid *uuid)
{
    uint8_t *b = uuid->bytes;
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 4122: version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* RFC 4122: variant */
}

bool uuid_is_none(const struct uuid *uuid)
{
    static const struct uuid none;
    return uuid_equal(uuid, &none);
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return !memcmp(a, b, sizeof *a);
}

void random_bytes(void *out, size_t n)
{
    char *at = out;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}

void uuid_random(struct uuid *uuid)
{
    random_bytes(uuid, sizeof *uuid);
    uuid_version4(uuid);
}

/* The groups of a UUID's text, in bytes. */
static const size_t uuid_groups[] = {4, 2, 2, 2, 6};

void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE])
{
    const uint8_t *at = uuid->bytes;
    for (size_t g = 0; g < ARRAY_SIZE(uuid_groups); g++) {
        if (g)
            *text++ = '-';
        hex_format(at, uuid_groups[g], text);
        at += uuid_groups[g];
        text += 2 * uuid_groups[g];
    }
}

int uuid_parse(const char *text, struct uuid *uuid)
{
    struct uuid parsed;
    uint8_t *at = parsed.bytes;
    if (strlen(text) != UUID_TEXT_SIZE - 1)
        return -1;
    for (size_t g = 0; g < ARRAY_SIZE(uuid_groups); g++) {
        if ((g && *text++ != '-') || hex_take(text, at, uuid_groups[g]))
            return -1;
        at += uuid_groups[g];
        text += 2 * uuid_groups[g];
    }
    *uuid = parsed;
    return 0;
}
