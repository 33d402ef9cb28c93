/* Aligned columns: see grid.h. */
#include "cli/grid.h"

#include "cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void grid_add(struct grid *g, char *cell)
{
    if (g->used == g->size) {
        g->size = g->size ? 2 * g->size : 64;
        g->cells = realloc(g->cells, g->size * sizeof *g->cells);
        if (!g->cells)
            out_of_memory();
    }
    g->cells[g->used++] = cell;
}

void grid_init(struct grid *g, const char *headings)
{
    *g = (struct grid){0};
    while (*headings) {
        size_t len = strcspn(headings, " ");
        bool right = *headings == '>';
        char *cell = strndup(headings + right, len - right);
        if (!cell)
            out_of_memory();
        g->right[g->columns++] = right;
        grid_add(g, cell);
        headings += len + (headings[len] == ' ');
    }
}

void grid_cell(struct grid *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    grid_add(g, text_vformat(fmt, ap));
    va_end(ap);
}

static const char *cell_text(const struct grid *g, size_t i)
{
    return *g->cells[i] ? g->cells[i] : "-";
}

/* Characters, not bytes. */
static size_t cell_width(const char *cell)
{
    size_t width = 0;
    for (; *cell; cell++)
        width += (*cell & 0xc0) != 0x80;
    return width;
}

void grid_print(struct grid *g)
{
    size_t width[GRID_COLUMNS] = {0};
    for (size_t i = 0; i < g->used; i++)
        if (cell_width(cell_text(g, i)) > width[i % g->columns])
            width[i % g->columns] = cell_width(cell_text(g, i));
    for (size_t i = 0; i < g->used; i++) {
        const char *text = cell_text(g, i);
        size_t column = i % g->columns, pad = width[column] - cell_width(text);
        bool last = column + 1 == g->columns;
        printf("%*s%s%*s", g->right[column] ? (int)pad : 0, "", text,
               g->right[column] || last ? 0 : (int)pad, "");
        fputs(last ? "\n" : "  ", stdout);
        free(g->cells[i]);
    }
    free(g->cells);
    *g = (struct grid){0};
}
