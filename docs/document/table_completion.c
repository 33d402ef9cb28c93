/* The command table for the completion: cli/completion.bash.in says what a line is. */
#include "docs/document/document.h"

#include "cli/command.h"

#include <stdio.h>

static const char *const word_names[] = {
    [WORD_NONE] = "none", [WORD_IMAGE] = "image",     [WORD_LEASE] = "lease",
    [WORD_FILE] = "file", [WORD_COMMAND] = "command", [WORD_METHOD] = "method",
};

static void print_options(const struct option_spec *o)
{
    for (; o && o->name; o++)
        printf("--%s%s ", o->name, o->value ? "=" : "");
}

static void print_line(const char *name, enum word_kind first, enum word_kind rest,
                       const struct option_spec *own)
{
    printf("%s|%s|%s| ", name, word_names[first], word_names[rest]);
    print_options(own);
    print_options(common_options);
    printf("|\n");
}

void table_completion(void)
{
    print_line("", WORD_NONE, WORD_NONE, NULL);
    for (size_t i = 0; i < n_commands; i++)
        print_line(commands[i].name, commands[i].words[0], commands[i].words[1],
                   commands[i].options);
}
