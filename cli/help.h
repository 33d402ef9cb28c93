/* What the command table says of itself. All print to stdout and return STATUS_DONE. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/command.h"

#include <stdio.h>

/* All commands, or those of a group ("image"). */
int help_list(const char *group);
int help_command(const struct command *c);
int help_version(void);
/* "usage: dompool list [--json]", to any file. c may be NULL. */
void help_usage(FILE *to, const struct command *c);

#endif
