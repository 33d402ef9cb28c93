/* Output: see output.h. */
#include "cli/output.h"

#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void out_of_memory(void)
{
    fputs("dompool: out of memory\n", stderr);
    exit(STATUS_LOCAL);
}

json_t *must(json_t *p)
{
    if (!p)
        out_of_memory();
    return p;
}

/* ---- cleaning ---- */

/* Decodes one character of UTF-8 at *at and moves behind it; U+FFFD for a stray byte. */
static uint32_t utf8_next(const char **at)
{
    const unsigned char *s = (const unsigned char *)*at;
    int n = s[0] < 0x80 ? 0 : s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc0 ? 1 : -1;
    uint32_t c = n > 0 ? s[0] & (0x3fu >> n) : s[0];
    for (int i = 1; i <= n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            n = -1;
            break;
        }
        c = c << 6 | (s[i] & 0x3fu);
    }
    *at += n > 0 ? n + 1 : 1;
    return n < 0 ? 0xfffd : c;
}

/* Controls, and what breaks or turns a line: NEL is a C1; U+2028 and U+2029 separate lines and
 * paragraphs; U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069 change the direction. */
static bool character_bad(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfffd;
}

static char *clean(const char *text, bool json)
{
    char *out = malloc(6 * strlen(text) + 1), *to = out;
    if (!out)
        out_of_memory();
    while (*text) {
        const char *from = text;
        uint32_t c = utf8_next(&text);
        if (!character_bad(c) || (json && c == '\n')) /* indentation; in strings jansson escapes */
            to = (char *)mempcpy(to, from, (size_t)(text - from));
        else if (json)
            to += snprintf(to, 7, "\\u%04X", (unsigned)c & 0xffff);
        else
            *to++ = '?';
    }
    *to = '\0';
    return out;
}

char *text_vformat(const char *fmt, va_list ap)
{
    char *raw;
    if (vasprintf(&raw, fmt, ap) < 0)
        out_of_memory();
    char *text = clean(raw, false);
    free(raw);
    return text;
}

__attribute__((format(printf, 3, 0))) static void print_clean(FILE *to, const char *prefix,
                                                              const char *fmt, va_list ap)
{
    char *text = text_vformat(fmt, ap);
    fprintf(to, "%s%s\n", prefix, text);
    free(text);
}

void out_line(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_clean(stdout, "", fmt, ap);
    va_end(ap);
}

static bool progress_shown;

void progress_show(const char *fmt, ...)
{
    if (!isatty(STDERR_FILENO))
        return;
    va_list ap;
    va_start(ap, fmt);
    char *text = text_vformat(fmt, ap);
    va_end(ap);
    fprintf(stderr, "\r%s\033[K", text); /* EL: erase to the end of the line */
    free(text);
    progress_shown = true;
}

void progress_end(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}

void complain(const char *fmt, ...)
{
    progress_end();
    fflush(stdout); /* in order, when both go to one place */
    va_list ap;
    va_start(ap, fmt);
    print_clean(stderr, "dompool: ", fmt, ap);
    va_end(ap);
}

void out_json(const json_t *object, bool pretty)
{
    char *raw = json_dumps(object, pretty ? JSON_INDENT(2) : JSON_COMPACT);
    if (!raw)
        out_of_memory();
    char *text = clean(raw, true);
    puts(text);
    free(text);
    free(raw);
}

int out_finish(void)
{
    static bool said;
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout))
        return STATUS_DONE;
    if (!said && errno != EPIPE)
        complain("cannot write to standard output%s%s", errno ? ": " : "",
                 errno ? strerror(errno) : "");
    said = true;
    return STATUS_LOCAL;
}
