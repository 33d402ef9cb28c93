/*
 * Makes a document of its template: copies it, and puts a table in the place of each line that
 * ends in "@insert" and the table's name. So a page is edited as a page, and what the program
 * knows (commands, keys, methods, errors) is written down once, where the program has it.
 *
 *   document TEMPLATE INTERFACE-FILE >DOCUMENT
 */
#include "docs/document/document.h"

#include "base/array.h"
#include "base/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_LIMIT (1u << 20)

static const struct {
    const char *name;
    void (*print)(void);
} tables[] = {
    {"synopsis", table_synopsis},
    {"common-options", table_common_options},
    {"commands", table_commands},
    {"json", table_json},
    {"exit-statuses", table_exit_statuses},
    {"errors", table_errors},
    {"completion", table_completion},
    {"daemon-keys", table_daemon_keys},
    {"pool-keys", table_pool_keys},
    {"daemon-sample", table_daemon_sample},
    {"pool-sample", table_pool_sample},
    {"saved-keys", table_saved_keys},
    {"interface", table_interface},
    {"types", table_types},
    {"methods", table_methods},
    {"error-names", table_error_names},
};

static void insert(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
        if (!strcmp(tables[i].name, name)) {
            tables[i].print();
            return;
        }
    fprintf(stderr, "document: no table is called %s\n", name);
    exit(1);
}

static void fill(char *template)
{
    static const char mark[] = "@insert ";
    char *rest = template;
    for (char *line = strsep(&rest, "\n"); line && (rest || *line); line = strsep(&rest, "\n")) {
        const char *at = strstr(line, mark);
        if (at)
            insert(at + strlen(mark));
        else
            puts(line);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: document TEMPLATE INTERFACE-FILE\n");
        return 64;
    }
    interface_path = argv[2];
    struct error e = {0};
    char *template;
    if (read_file(argv[1], TEMPLATE_LIMIT, &template, NULL, &e)) {
        fprintf(stderr, "document: %s\n", e.text);
        return 1;
    }
    fill(template);
    free(template);
    return fflush(stdout) || ferror(stdout);
}
