/* What each connected user takes of the server: see account.h. */
#include "pool/service/account.h"

#include <stdlib.h>

static struct account *account_find(struct list *accounts, uid_t uid)
{
    list_each (node, accounts) {
        struct account *a = container_of(node, struct account, node);
        if (a->uid == uid)
            return a;
    }
    return NULL;
}

struct account *account_join(struct list *accounts, uid_t uid)
{
    struct account *a = account_find(accounts, uid);
    if (!a) {
        a = calloc(1, sizeof *a);
        if (!a)
            return NULL;
        a->uid = uid;
        list_append(accounts, &a->node);
    }
    a->clients++;
    return a;
}

void account_leave(struct account *a)
{
    if (!a || --a->clients)
        return;
    list_remove(&a->node);
    free(a);
}
