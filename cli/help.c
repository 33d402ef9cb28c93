/* Help from the command table: see help.h. */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#define WIDTH 80

/* Fills text into lines of WIDTH, each indented; "\n\n" starts a paragraph. */
static void print_filled(const char *text, int indent)
{
    int column = 0;
    while (*text) {
        int len = (int)strcspn(text, " \n");
        if (column && column + 1 + len > WIDTH) {
            putchar('\n');
            column = 0;
        }
        column += column ? printf(" %.*s", len, text) : printf("%*s%.*s", indent, "", len, text);
        text += len;
        if (!strncmp(text, "\n\n", 2)) {
            printf("\n\n");
            column = 0;
        }
        text += strspn(text, " \n");
    }
    putchar('\n');
}

void help_usage(FILE *to, const struct command *c)
{
    fprintf(to, "usage: dompool %s", c ? c->name : "COMMAND [ARGUMENT...]");
    if (c && *c->args)
        fprintf(to, c->min_args || c->args[0] == '[' ? " %s" : " [%s]", c->args);
    for (const struct option_spec *o = c ? c->options : NULL; o && o->name; o++)
        fprintf(to, " [--%s%s%s]%s", o->name, o->value ? " " : "", o->value ? o->value : "",
                o->kind == OPTION_PAIR ? "..." : "");
    fputs(" [--socket PATH] [--json]\n", to);
}

static void print_options(const struct option_spec *o)
{
    for (; o && o->name; o++) {
        int used = printf("  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("%*s%s\n", used < 24 ? 24 - used : 1, "", o->summary);
    }
}

int help_command(const struct command *c)
{
    help_usage(stdout, c);
    printf("\n");
    print_filled(c->summary, 0);
    if (*c->details) {
        printf("\n");
        print_filled(c->details, 0);
    }
    if (c->options) {
        printf("\noptions:\n");
        print_options(c->options);
    }
    printf("\ncommon options:\n");
    print_options(common_options);
    return STATUS_DONE;
}

int help_list(const char *group)
{
    size_t len = group ? strlen(group) : 0;
    help_usage(stdout, NULL);
    printf("\n%s\n\ncommands:\n",
           "Takes domains from dompoold's pool of half-restored Xen domains.");
    for (size_t i = 0; i < n_commands; i++)
        if (!group || (!strncmp(commands[i].name, group, len) && commands[i].name[len] == ' '))
            printf("  %-14s%s\n", commands[i].name, commands[i].summary);
    printf("\noptions of every command:\n");
    print_options(common_options);
    printf(
        "\nDurations are written like 500ms, 10s, 5m or 2h. `dompool help COMMAND` says more.\n");
    return STATUS_DONE;
}

int help_version(void)
{
    printf("dompool %s\n", DOMPOOL_VERSION);
    return STATUS_DONE;
}
