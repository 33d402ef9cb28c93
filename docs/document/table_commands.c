/* The command table and what belongs to it. */
#include "docs/document/document.h"

#include "base/array.h"
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

/* "NAME..." -> ".Ar NAME ...", "[IMAGE]" -> ".Op Ar IMAGE". */
static void print_word(const char *word, size_t len, bool optional)
{
    if (*word == '[') {
        word++;
        len -= 2;
        optional = true;
    }
    bool dots = len > 3 && !strncmp(word + len - 3, "...", 3);
    printf(".%s %.*s%s\n", optional ? "Op Ar" : "Ar", (int)(len - (dots ? 3 : 0)), word,
           dots ? " ..." : "");
}

static void print_option_usage(const struct option_spec *o)
{
    printf(".Op Fl -%s%s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "",
           o->kind == OPTION_PAIR ? " ..." : "");
}

/* The command with its words and options, as the synopsis and as a heading. */
static void print_usage(const struct command *c)
{
    for (const char *word = c->args; *word; word += strspn(word, " ")) {
        size_t len = strcspn(word, " ");
        print_word(word, len, c->min_args == 0);
        word += len;
    }
    for (const struct option_spec *o = c->options; o && o->name; o++)
        print_option_usage(o);
}

static void print_options(const struct option_spec *o)
{
    printf(".Bl -tag -width Ds\n");
    for (; o->name; o++) {
        printf(".It Fl -%s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "");
        mdoc_summary(o->summary);
    }
    printf(".El\n");
}

static void print_command(const struct command *c)
{
    printf(".It Xo\n.Cm %s\n", c->name);
    print_usage(c);
    printf(".Xc\n");
    mdoc_summary(c->summary);
    if (c->method && interface_root_only(c->method))
        printf("Only root may use this command.\n");
    if (*c->details) {
        printf(".Pp\n");
        mdoc_paragraphs(c->details);
    }
    if (c->options)
        print_options(c->options);
}

void table_synopsis(void)
{
    for (size_t i = 0; i < n_commands; i++) {
        printf(".Nm\n.Cm %s\n", commands[i].name);
        print_usage(&commands[i]);
    }
}

void table_common_options(void)
{
    print_options(common_options);
}

void table_commands(void)
{
    printf(".Bl -tag -width Ds\n");
    for (size_t i = 0; i < n_commands; i++)
        print_command(&commands[i]);
    printf(".El\n");
}

void table_json(void)
{
    printf(".Bl -tag -width \"image capture\" -compact\n");
    for (size_t i = 0; i < n_commands; i++) {
        const struct command *c = &commands[i];
        if (!c->json && !c->method)
            continue;
        printf(".It Cm %s\n", c->name);
        if (c->json)
            mdoc_summary(c->json);
        else
            printf("The reply of\n.Sy %s .\n", c->method);
    }
    printf(".El\n");
}

void table_exit_statuses(void)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
#define STATUS_ROW(symbol, number, text) {number, text},
        STATUSES(STATUS_ROW)
#undef STATUS_ROW
    };
    printf(".Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        printf(".It %d\n", rows[i].status);
        mdoc_paragraphs(rows[i].text);
    }
    printf(".El\n");
}

void table_errors(void)
{
    printf(".Bl -tag -width XenUnavailable\n");
    for (int answer = ANSWER_NONE + 1; answer < ANSWER_COUNT; answer++) {
        printf(".It %s\n", answer_name(answer));
        mdoc_summary(answer_text(answer));
    }
    printf(".El\n");
}
