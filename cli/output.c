/* Output: see output.h. */
#include "cli/output.h"

#include "base/util.h"
#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
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

char *text_clean(const char *text)
{
    return clean(text, false);
}

__attribute__((format(printf, 3, 0))) static void print_clean(FILE *to, const char *prefix,
                                                              const char *fmt, va_list ap)
{
    char *raw;
    if (vasprintf(&raw, fmt, ap) < 0)
        out_of_memory();
    size_t len = strlen(raw);
    if (len && raw[len - 1] == '\n')
        raw[len - 1] = '\0';
    char *text = text_clean(raw);
    fprintf(to, "%s%s\n", prefix, text);
    free(text);
    free(raw);
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
    char *raw;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&raw, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory();
    char *text = text_clean(raw);
    fprintf(stderr, "\r%s\033[K", text); /* EL: erase to the end of the line */
    free(text);
    free(raw);
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

/* ---- members ---- */

const char *get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int64_t get_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool get_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool has(const json_t *object, const char *key)
{
    const json_t *member = json_object_get(object, key);
    return member && !json_is_null(member);
}

/* ---- numbers ---- */

const char *readable_bytes(uint64_t bytes, char *buf)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = (double)bytes;
    for (; value >= 1023.95 && unit + 1 < ARRAY_SIZE(units); unit++) /* not "1024.0 KiB" */
        value /= 1024;
    snprintf(buf, READABLE_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buf;
}

const char *readable_us(uint64_t us, char *buf)
{
    if (us < 1000)
        snprintf(buf, READABLE_SIZE, "%" PRIu64 " us", us);
    else if (us < 1000000)
        snprintf(buf, READABLE_SIZE, us < 100000 ? "%.2f ms" : "%.0f ms", (double)us / 1000);
    else
        snprintf(buf, READABLE_SIZE, "%.2f s", (double)us / 1000000);
    return buf;
}

const char *readable_span(int64_t ms, char *buf)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    int64_t seconds = ms > 0 ? ms / 1000 : 0;
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(units) && seconds < units[i].seconds)
        i++;
    int64_t rest = seconds % units[i].seconds;
    int n =
        snprintf(buf, READABLE_SIZE, "%" PRId64 "%c", seconds / units[i].seconds, units[i].unit);
    if (i + 1 < ARRAY_SIZE(units) && rest / units[i + 1].seconds)
        snprintf(buf + n, READABLE_SIZE - (size_t)n, "%" PRId64 "%c", rest / units[i + 1].seconds,
                 units[i + 1].unit);
    return buf;
}

/* ---- tables ---- */

static void table_add(struct table *t, char *cell)
{
    if (t->used == t->size) {
        t->size = t->size ? 2 * t->size : 64;
        t->cells = realloc(t->cells, t->size * sizeof *t->cells);
        if (!t->cells)
            out_of_memory();
    }
    t->cells[t->used++] = cell;
}

void table_init(struct table *t, const char *headings)
{
    *t = (struct table){0};
    while (*headings) {
        size_t len = strcspn(headings, " ");
        bool right = *headings == '>';
        char *cell = strndup(headings + right, len - right);
        if (!cell)
            out_of_memory();
        t->right[t->columns++] = right;
        table_add(t, cell);
        headings += len + (headings[len] == ' ');
    }
}

void table_cell(struct table *t, const char *fmt, ...)
{
    char *raw;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&raw, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory();
    table_add(t, text_clean(*raw ? raw : "-"));
    free(raw);
}

/* Characters, not bytes. */
static size_t cell_width(const char *cell)
{
    size_t width = 0;
    for (; *cell; cell++)
        width += (*cell & 0xc0) != 0x80;
    return width;
}

void table_print(struct table *t)
{
    size_t width[TABLE_COLUMNS] = {0};
    for (size_t i = 0; i < t->used; i++)
        if (cell_width(t->cells[i]) > width[i % t->columns])
            width[i % t->columns] = cell_width(t->cells[i]);
    for (size_t i = 0; i < t->used; i++) {
        size_t column = i % t->columns, pad = width[column] - cell_width(t->cells[i]);
        bool last = column + 1 == t->columns;
        printf("%*s%s%*s", t->right[column] ? (int)pad : 0, "", t->cells[i],
               t->right[column] || last ? 0 : (int)pad, "");
        fputs(last ? "\n" : "  ", stdout);
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct table){0};
}
