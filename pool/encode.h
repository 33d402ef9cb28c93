/*
 * JSON to text without jansson's growing buffer: when that can't grow at a key, json_dumps of
 * jansson 2.14 leaves the key out and goes on. Here the text is measured, then written into
 * memory that is large enough, and every failure shows.
 */
#ifndef POOL_ENCODE_H
#define POOL_ENCODE_H

#include <jansson.h>
#include <stddef.h>

/* Compact text, NUL-terminated, malloc'd; *len counts the NUL. NULL: out of memory. */
char *json_encode(const json_t *json, size_t *len);

#endif
