/* What the command table says of itself: help (help.c), manual page (man.c), completion
 * (completion.c). All print to stdout and return STATUS_DONE. */
#ifndef CLI_DOCUMENT_H
#define CLI_DOCUMENT_H

#include "cli/command.h"

#include <stdio.h>

/* All commands, or those of a group ("image"). */
int document_help(const char *group);
int document_command(const struct command *c);
int document_version(void);
/* "usage: dompool list [--json]", to any file. */
void document_usage(FILE *to, const struct command *c);

int document_man(void);        /* dompool(1), mdoc(7) */
int document_completion(void); /* for bash */

/* Options that only the build needs; not shown in any document. */
bool document_hidden(const struct option_spec *o);

#endif
