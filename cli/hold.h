/* Holding a lease in the foreground: `dompool allocate --hold`. */
#ifndef CLI_HOLD_H
#define CLI_HOLD_H

#include "cli/command.h"

/*
 * Keeps the connection open, and with it the lease, until SIGINT, SIGTERM or SIGHUP comes, or the
 * lease ends by itself. On a signal the lease is released, and this returns when the domain is
 * gone; a second signal does not wait for that. STATUS_DONE in all these cases,
 * STATUS_UNREACHABLE when the daemon went away.
 *
 * The end of standard input means nothing: `dompool allocate --hold web &` has none.
 */
int hold(struct invocation *inv, const char *lease);

#endif
