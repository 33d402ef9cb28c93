/* UUIDs and what they are made of: see uuid.h. */
#include "base/uuid.h"

#include "base/array.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void uuid_version4(uint8_t uuid[16])
{
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122: version 4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* RFC 4122: variant */
}

bool uuid_is_none(const uint8_t uuid[16])
{
    unsigned any = 0;
    for (int i = 0; i < 16; i++)
        any |= uuid[i];
    return !any;
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

void uuid_random(uint8_t uuid[16])
{
    random_bytes(uuid, 16);
    uuid_version4(uuid);
}

/* The groups of a UUID's text, in bytes. */
static const size_t uuid_groups[] = {4, 2, 2, 2, 6};

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_SIZE])
{
    for (size_t g = 0; g < ARRAY_SIZE(uuid_groups); g++) {
        if (g)
            *text++ = '-';
        hex_format(uuid, uuid_groups[g], text);
        uuid += uuid_groups[g];
        text += 2 * uuid_groups[g];
    }
}

int uuid_parse(const char *text, uint8_t uuid[16])
{
    if (strlen(text) != UUID_TEXT_SIZE - 1)
        return -1;
    for (size_t g = 0; g < ARRAY_SIZE(uuid_groups); g++) {
        if ((g && *text++ != '-') || hex_take(text, uuid, uuid_groups[g]))
            return -1;
        uuid += uuid_groups[g];
        text += 2 * uuid_groups[g];
    }
    return 0;
}
