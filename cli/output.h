/*
 * What reaches the terminal: lines, progress, JSON. Aligned columns are in grid.h.
 *
 * Guests and clients choose some of the strings (names, meta, reasons). Here, and only
 * here, they lose their teeth: control characters (C0, DEL, C1) and the characters that
 * reorder or break lines are printed as "?" in text and as \uXXXX in JSON.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>

/* Ends the program with STATUS_LOCAL. */
_Noreturn void out_of_memory(void);

/* p if it is not NULL; else out_of_memory. Wraps every json_pack. */
json_t *must(json_t *p);

/* vprintf to malloc'd text, cleaned. The caller frees it. */
char *text_vformat(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* A line: printf to stdout, cleaned, and a newline. fmt has none. */
void out_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "dompool: " and the line, cleaned, to stderr. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line on stderr that the next one replaces, if stderr is a terminal; complain and progress_end
 * wipe it. */
void progress_show(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void progress_end(void);

/* One object on one line; with pretty, indented over several. */
void out_json(const json_t *object, bool pretty);

/* Flushes stdout. STATUS_DONE, or STATUS_LOCAL when something could not be written; says so once,
 * and not at all when the reader went away (EPIPE). */
int out_finish(void);

#endif
