/*
 * The interface file as tables: comments become text, declarations stay as they are.
 *
 * A comment belongs to the declaration that follows it without a blank line. A declaration ends
 * where its parentheses close, unless "->" follows.
 */
#include "docs/document/document.h"

#include "base/io.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERFACE_LIMIT (1u << 20)

const char *interface_path;

struct declaration {
    char comment[4096]; /* paragraphs, a blank line between them */
    char name[64];      /* "ImageImport" */
    const char *text;   /* in the file, not terminated */
    size_t len;         /* without the last newline */
};

static char *interface_read(void)
{
    struct error e = {0};
    char *text;
    if (!read_file(interface_path, INTERFACE_LIMIT, &text, NULL, &e))
        return text;
    fprintf(stderr, "document: %s\n", e.text);
    exit(1);
}

/* "# text" joins the lines before it; "#" alone starts a paragraph. */
static void comment_add(struct declaration *d, const char *line, size_t len)
{
    size_t used = strlen(d->comment), skip = len > 1 && line[1] == ' ' ? 2 : 1;
    const char *join = !used || d->comment[used - 1] == '\n' ? "" : len == 1 ? "\n\n" : " ";
    int n = snprintf(d->comment + used, sizeof d->comment - used, "%s%.*s", join, (int)(len - skip),
                     line + skip);
    if (n < 0 || (size_t)n >= sizeof d->comment - used) {
        fprintf(stderr, "document: a comment of %s is too long\n", interface_path);
        exit(1);
    }
}

/* Where the declaration at text ends: at the end of a line, or of the file. */
static size_t declaration_length(const char *text)
{
    int depth = 0;
    const char *at = text, *line = text;
    for (;; at++) {
        depth += (*at == '(') - (*at == ')');
        bool goes_on = at - line > 2 && !strncmp(at - 2, "->", 2);
        if (!*at || (*at == '\n' && !depth && !goes_on))
            return (size_t)(at - text);
        if (*at == '\n')
            line = at + 1;
    }
}

/* Calls each for the declarations of a kind: "type ". */
static void declarations(const char *kind, void (*each)(const struct declaration *d))
{
    char *file = interface_read();
    struct declaration d = {0};
    for (const char *line = file; *line;) {
        size_t len = strcspn(line, "\n");
        if (*line == '#') {
            comment_add(&d, line, len);
        } else {
            if (len)
                len = declaration_length(line);
            if (len && !strncmp(line, kind, strlen(kind))) {
                d.text = line;
                d.len = len;
                snprintf(d.name, sizeof d.name, "%.*s", (int)strcspn(line + strlen(kind), "( \n"),
                         line + strlen(kind));
                each(&d);
            }
            d.comment[0] = '\0';
        }
        line += len + (line[len] == '\n');
    }
    free(file);
}

static void print_comment(const struct declaration *d)
{
    mdoc_paragraphs(d->comment);
}

static void print_declaration(const struct declaration *d)
{
    printf(".Ss %s\n", d->name);
    if (*d->comment)
        print_comment(d);
    printf(".Bd -literal\n");
    for (size_t at = 0, len; at < d->len; at += len + 1) {
        len = strcspn(d->text + at, "\n");
        mdoc_literal(d->text + at, len);
    }
    printf(".Ed\n");
}

static void print_name(const struct declaration *d)
{
    printf(".It\n.Sy %s\n", d->name);
}

static const char *method_wanted; /* by interface_root_only */
static bool method_is_roots;

static void look_at_method(const struct declaration *d)
{
    if (!strcmp(d->name, method_wanted))
        method_is_roots = !strncmp(d->comment, "Root only.", 10);
}

bool interface_root_only(const char *method)
{
    method_wanted = method;
    method_is_roots = false;
    declarations("method ", look_at_method);
    return method_is_roots;
}

void table_interface(void)
{
    declarations("interface ", print_comment);
}

void table_types(void)
{
    declarations("type ", print_declaration);
}

void table_methods(void)
{
    declarations("method ", print_declaration);
}

void table_error_names(void)
{
    printf(".Bl -item -compact\n");
    declarations("error ", print_name);
    printf(".El\n");
}
