/* Cells in aligned columns, printed when all of them are known. Their text is cleaned. */
#ifndef CLI_GRID_H
#define CLI_GRID_H

#include <stdbool.h>
#include <stddef.h>

#define GRID_COLUMNS 16

/* Cells are added row by row; a "-" stands for an empty one. */
struct grid {
    size_t columns, used, size;
    bool right[GRID_COLUMNS]; /* numbers are aligned at the right */
    char **cells;             /* the first row holds the headings */
};

/* headings: columns separated by spaces, a leading ">" aligns at the right: "IMAGE >MIN". */
void grid_init(struct grid *g, const char *headings);
void grid_cell(struct grid *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees. Columns are two spaces apart; no line ends with a space. */
void grid_print(struct grid *g);

#endif
