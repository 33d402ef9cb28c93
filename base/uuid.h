/* UUIDs (RFC 4122), and randomness. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37

/* In the order of its text. Image files and Xen's interface hold these bytes and nothing else. */
struct uuid {
    uint8_t bytes[16];
};

static_assert(sizeof(struct uuid) == 16, "a UUID is its bytes");

/* A random UUID, of version 4. */
void uuid_random(struct uuid *uuid);
/* n bytes of the system's generator. Without randomness two domains could share an identity, so
 * there is no fallback: the process ends. */
void random_bytes(void *out, size_t n);
/* Makes a UUID of version 4 (RFC 4122) of 16 random bytes. */
void uuid_version4(struct uuid *uuid);
/* All zero: none. */
bool uuid_is_none(const struct uuid *uuid);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]);
/* 0 or -1. Accepts upper and lower case. */
int uuid_parse(const char *text, struct uuid *uuid);

#endif
