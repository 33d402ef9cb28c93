/* Members of the daemon's answers, and their numbers as people read them. */
#ifndef CLI_MEMBERS_H
#define CLI_MEMBERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- members of the daemon's answers; a missing one reads as "" or 0 ---- */

const char *get_text(const json_t *object, const char *key);
int64_t get_int(const json_t *object, const char *key);
bool get_bool(const json_t *object, const char *key);
/* True when the key is there and not null. */
bool has(const json_t *object, const char *key);

/* ---- numbers that read; buf holds READABLE_SIZE bytes and is returned ---- */

#define READABLE_SIZE 32
const char *readable_bytes(uint64_t bytes, char *buf); /* "1.5 GiB" */
const char *readable_us(uint64_t us, char *buf);       /* "850 us" "12.3 ms" "1.23 s" */
const char *readable_span(int64_t ms, char *buf);      /* "5m12s" "3d4h", two units at most */

#endif
