/* Strings: see text.h. */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The smallest code point that so many bytes are for (RFC 3629): a longer form is not UTF-8. */
static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};

/* Bytes of the character whose first one this is; 0: none begins so. */
static size_t character_bytes(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0)
        return 2;
    if (first >= 0xe0 && first < 0xf0)
        return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* Of the n bytes of a character, how many are there before the text ends or goes wrong. */
static size_t character_there(const char *at, size_t n)
{
    size_t i = 1;
    while (i < n && ((unsigned char)at[i] & 0xc0) == 0x80)
        i++;
    return i;
}

static bool character_valid(const char *at, size_t n)
{
    if (n == 1)
        return true;
    uint32_t point = (unsigned char)*at & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        point = point << 6 | ((unsigned char)at[i] & 0x3fu);
    bool surrogate = point >= 0xd800 && point < 0xe000;
    return point >= smallest[n] && point <= 0x10ffff && !surrogate;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

void text_plain(char *text)
{
    while (*text) {
        size_t n = character_bytes((unsigned char)*text), there = n ? character_there(text, n) : 1;
        if (n && there < n && !text[there]) {
            *text = '\0';
            return;
        }
        bool good = n && there == n && character_valid(text, n) && !is_control(*text);
        if (!good)
            *text = '?';
        text += good ? n : 1;
    }
}

size_t text_repair(char *text, size_t len, char in_place)
{
    size_t repaired = 0;
    for (size_t i = 0, step; i < len; i += step) {
        size_t n = character_bytes((unsigned char)text[i]);
        bool good =
            n && n <= len - i && character_there(text + i, n) == n && character_valid(text + i, n);
        step = good ? n : 1;
        repaired += !good;
        if (!good)
            text[i] = in_place;
    }
    return repaired;
}

/* A text that was cut ends with a whole character. */
static void end_whole(char *text)
{
    size_t len = strlen(text), back = 1;
    while (back < 4 && back < len && ((unsigned char)text[len - back] & 0xc0) == 0x80)
        back++;
    if (len && character_bytes((unsigned char)text[len - back]) > back)
        text[len - back] = '\0';
}

bool format_fits(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    bool fits = n >= 0 && (size_t)n < size;
    if (!fits)
        end_whole(buf);
    return fits;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool text_same_but_numbers(const char *a, const char *b)
{
    for (;; a++, b++) {
        if (is_digit(*a) && is_digit(*b)) {
            a += strspn(a, "0123456789") - 1;
            b += strspn(b, "0123456789") - 1;
        } else if (*a != *b) {
            return false;
        } else if (!*a) {
            return true;
        }
    }
}

char *format_new(const char *fmt, ...)
{
    char *out;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : out;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool name_valid(const char *name)
{
    size_t len = strnlen(name, 64);
    if (len == 0 || len > 63 || !is_alnum(name[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

void hex_format(const uint8_t *bytes, size_t n, char *text)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *text++ = hex[bytes[i] >> 4];
        *text++ = hex[bytes[i] & 15];
    }
    *text = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int hex_take(const char *text, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return -1;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int hex_parse(const char *text, uint8_t *bytes, size_t n)
{
    return strlen(text) == 2 * n ? hex_take(text, bytes, n) : -1;
}
