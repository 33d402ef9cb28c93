/*
 * How the names of a user's domains begin: the setting name_prefix, with the uid in it. So a name
 * tells whose a domain is, and no user takes a name that is another's or the administrator's.
 * Root's domains are called as root likes.
 *
 * The setting has the uid alone and no user name: to look that up may mean to wait for a directory
 * server, and the daemon's loop waits for nobody.
 */
#ifndef POOL_NAME_PREFIX_H
#define POOL_NAME_PREFIX_H

#include "pool/service/config.h"

#include <sys/types.h>

/* "" for root, and when the setting is empty. */
void name_prefix_of(const struct config *config, uid_t uid, char prefix[NAME_PREFIX_SIZE]);
/* Whether uid may give a domain this name: 0, or ANSWER_NOT_PERMITTED with the prefix in the
 * text. */
int name_prefix_check(const struct config *config, uid_t uid, const char *name, struct error *e);

#endif
