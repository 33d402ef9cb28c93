/* The manual page dompool(1) from the command table, in mdoc(7). */
#include "cli/document.h"

#include "base/util.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Text for roff: no escape, no control line, one sentence a line. */
static void print_text(const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        start = false;
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '`') /* commands quoted in the text */
            fputs("\\(oq", stdout);
        else if (*text == '\'')
            fputs("\\(cq", stdout);
        else
            putchar(*text);
        if (*text == '`')
            continue;
    }
}

/* A paragraph a time: filled by the formatter, a sentence to a line. */
static void print_paragraphs(const char *text)
{
    char line[1024];
    size_t used = 0;
    for (const char *at = text;; at++) {
        bool end = !*at || (at[0] == '\n' && at[1] == '\n');
        bool sentence = used && (line[used - 1] == '.' || line[used - 1] == ':') && *at == ' ';
        if ((end || sentence) && used) {
            line[used] = '\0';
            print_text(line);
            putchar('\n');
            used = 0;
        }
        if (!*at)
            return;
        if (end) {
            printf(".Pp\n");
            at++;
        } else if (!sentence && used + 1 < sizeof line) {
            line[used++] = *at;
        }
    }
}

/* "NAME SAVEFILE" -> ".Ar NAME SAVEFILE", "[IMAGE]" -> ".Op Ar IMAGE". */
static void print_args(const struct command *c)
{
    char args[128];
    snprintf(args, sizeof args, "%s", c->args);
    char *rest = args;
    for (char *word = strsep(&rest, " "); word && *word; word = strsep(&rest, " ")) {
        size_t len = strlen(word);
        bool bracketed = *word == '[';
        bool dots = len > 3 && !strcmp(word + len - 3, "...");
        if (bracketed)
            word[len - 1] = '\0';
        if (dots)
            word[len - 3] = '\0';
        printf(".%sAr %s%s\n", bracketed || !c->min_args ? "Op " : "", word + bracketed,
               dots ? " ..." : "");
    }
}

static void print_synopsis(const struct command *c)
{
    print_args(c);
    for (const struct option_spec *o = c->options; o && o->name; o++) {
        if (document_hidden(o))
            continue;
        printf(".Op Fl \\-%s%s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "",
               o->kind == OPTION_PAIR ? " ..." : "");
    }
}

static void print_option_list(const struct option_spec *o)
{
    printf(".Bl -tag -width Ds\n");
    for (; o && o->name; o++) {
        if (document_hidden(o))
            continue;
        printf(".It Fl \\-%s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "");
        print_paragraphs(o->summary);
        printf(".\n");
    }
    printf(".El\n");
}

static void print_command(const struct command *c)
{
    printf(".It Cm %s\n", c->name);
    print_paragraphs(c->summary);
    printf(".\n");
    if (*c->details) {
        printf(".Pp\n");
        print_paragraphs(c->details);
    }
    if (c->options && !document_hidden(c->options)) {
        printf(".Pp\n");
        print_option_list(c->options);
    }
}
