/* UUIDs (RFC 4122), and randomness. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37

/* A random UUID, of version 4. */
void uuid_random(uint8_t uuid[16]);
/* n bytes of the system's generator. Without randomness two domains could share an identity, so
 * there is no fallback: the process ends. */
void random_bytes(void *out, size_t n);
/* Makes a UUID of version 4 (RFC 4122) of 16 random bytes. */
void uuid_version4(uint8_t uuid[16]);
/* All zero: none. */
bool uuid_is_none(const uint8_t uuid[16]);
void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_SIZE]);
/* 0 or -1. Accepts upper and lower case. */
int uuid_parse(const char *text, uint8_t uuid[16]);

#endif
