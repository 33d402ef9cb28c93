/*
 * The daemon as a helper process sees it: its parent, at the other end of the socket. A helper dies
 * with it.
 */
#ifndef RESTORE_PARENT_H
#define RESTORE_PARENT_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Makes the kernel send this process signum when its parent dies. False: the parent is dead
 * already, or descriptor HELPER_FD is not a socket that it made. Then there is nobody to work
 * for. */
bool parent_attach(int signum);

/* Sends the message and drops it. NULL is taken for a lack of memory. Blocking. */
int parent_tell(json_t *message, struct error *e);

#endif
