/* Strings: formatting, names, hexadecimal digits. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* snprintf into buf; false when it did not fit. UTF-8 is cut between characters. */
bool format_fits(char *buf, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Makes a text what may be logged and sent: one line of UTF-8. Control characters, and bytes that
 * are not UTF-8, become '?'; a character that was cut at the end of the text goes. */
void text_plain(char *text);
/* Puts `in_place`, an ASCII character, in the place of each of len bytes that is no part of a UTF-8
 * character; returns how many these were. Control characters are characters. */
size_t text_repair(char *text, size_t len, char in_place);
/* True when the texts differ in nothing but the decimal numbers in them. */
bool text_same_but_numbers(const char *a, const char *b);
/* malloc'd string or NULL. */
char *format_new(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Names of images, domains: 1..63 characters of [A-Za-z0-9._-], first one alphanumeric. */
bool name_valid(const char *name);

/* Two lower-case digits for each byte, and a NUL: text holds 2 n + 1. */
void hex_format(const uint8_t *bytes, size_t n, char *text);
/* Exactly n bytes, 0 or -1. */
int hex_parse(const char *text, uint8_t *bytes, size_t n);
/* n bytes from the front of text, whatever follows; 0 or -1. */
int hex_take(const char *text, uint8_t *bytes, size_t n);

#endif
