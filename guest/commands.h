/* The commands that the test guest reads from its console; guest.c lists them. */
#ifndef GUEST_COMMANDS_H
#define GUEST_COMMANDS_H

/* Carries out a line, which it changes, and says so, or why not. May wait as long as the work
 * takes. */
void command_run(char *line);

#endif
