/*
 * What reaches the terminal: aligned tables, sizes and times that read, JSON.
 *
 * Guests and clients choose some of the strings (names, meta, reasons). Here, and only
 * here, they lose their teeth: control characters (C0, DEL, C1) and the characters that
 * reorder or break lines are printed as "?" in text and as \uXXXX in JSON.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the program with STATUS_LOCAL. */
_Noreturn void out_of_memory(void);

/* p if it is not NULL; else out_of_memory. Wraps every json_pack. */
json_t *must(json_t *p);

/* A malloc'd copy of text without control characters. */
char *text_clean(const char *text);

/* printf to stdout, cleaned; newlines of fmt stay only at its end. */
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

/* ---- tables ---- */

#define TABLE_COLUMNS 16

/* Cells are added row by row; a "-" stands for an empty one. */
struct table {
    size_t columns, used, size;
    bool right[TABLE_COLUMNS]; /* numbers are aligned at the right */
    char **cells;              /* the first row holds the headings */
};

/* headings: columns separated by spaces, a leading ">" aligns at the right: "IMAGE >MIN". */
void table_init(struct table *t, const char *headings);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees. Columns are two spaces apart; no line ends with a space. */
void table_print(struct table *t);

#endif
