/*
 * What each connected user takes of the server. A user's account is there while one of the user's
 * connections is; each of them holds it.
 */
#ifndef POOL_ACCOUNT_H
#define POOL_ACCOUNT_H

#include "base/list.h"

#include <stddef.h>
#include <sys/types.h>

struct account {
    struct list node;
    uid_t uid;
    unsigned clients; /* connections */
    size_t unread;    /* bytes of replies that these have not read: their owners keep it */
};

/* One connection more. NULL: no memory. */
struct account *account_join(struct list *accounts, uid_t uid);
/* One less; with the last the account goes. NULL is fine. */
void account_leave(struct account *a);

#endif
