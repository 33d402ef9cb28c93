/* Units, as the command line and the configuration write them. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* "500ms" "10s" "5m" "2h" "0"; 0 or -1. At most 10 years. */
int duration_parse_ms(const char *text, uint64_t *ms);
/* Shortest exact form: 90000 -> "90s". */
void duration_format_ms(uint64_t ms, char *buf, size_t size);
/* "4096" (bytes) "512K" "512M" "2G" "1T"; 0 or -1. */
int size_parse_bytes(const char *text, uint64_t *bytes);
void size_format_bytes(uint64_t bytes, char *buf, size_t size);
/* Decimal, whole string, in [min, max]; 0 or -1. */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
