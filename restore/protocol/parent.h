/*
 * What the helper processes have in common: their end of the socket to the daemon, and dying with
 * it. Messages: slot_protocol.h.
 */
#ifndef RESTORE_PARENT_H
#define RESTORE_PARENT_H

#include "base/error.h"
#include "restore/protocol/slot_protocol.h"

#include <jansson.h>
#include <stdbool.h>

/* Has the kernel send this process signum when its parent dies. False when the parent is dead
 * already, or descriptor HELPER_FD is no socket that it made: then there is nobody to work for. */
bool helper_attach(int signum);

/* Sends the message and drops it. NULL is taken for a lack of memory. Blocking. */
int helper_send_message(json_t *message, struct error *e);

#endif
