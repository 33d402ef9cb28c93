/*
 * A process without rights, for work on bytes that may be hostile: it keeps the descriptors that it
 * has and can compute, and that is all. Whoever takes it over by a fault in the reader of a save
 * file cannot open, make, remove, rename or run anything, cannot reach a network, another process
 * or a device, and is nobody's user.
 *
 *   user      of no rights and no groups, if the process was root's
 *   bounds    on its heap, its descriptors, and core dumps, of which there are none
 *   end       SIGKILL when the process that made it ends
 *   filter    seccomp(2): a list of calls that work on what is open and on memory; all others fail
 *             with EPERM. No call makes a socket, so no network namespace is needed. Memory that
 *             can be executed cannot be had either
 *
 * What the kernel has must be there: nothing is left out silently.
 */
#ifndef BASE_CONFINE_H
#define BASE_CONFINE_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

#define CONFINE_USER "nobody" /* unless the configuration says another one */
#define CONFINE_FDS_MAX 16u   /* descriptors 0 to 15 */

struct confine_user {
    uid_t uid;
    gid_t gid;
};

/* By name, or by number: then the group has the same number. Blocking: asks the user database.
 * ANSWER_BAD_VALUE: there is no such user, or it is root. */
int confine_user_find(const char *name, struct confine_user *out, struct error *e);

/*
 * Confines this process, for good. It has one thread; descriptors that it is not to have are closed
 * by now. heap_bytes: how much more memory of its own it may have. A process that is not root's
 * stays its user's, and gives up the rest. The error says which step failed and what to do about
 * it; then the caller must not go on.
 */
int confine(const struct confine_user *user, uint64_t heap_bytes, struct error *e);

#endif
