/* Looking for a lease by what a caller calls it, and whose it is. */
#ifndef POOL_LEASE_FIND_H
#define POOL_LEASE_FIND_H

#include "pool/core/lease.h"

/* By lease id ("l7"), domain name or domid. Active ones only. NULL: none. */
struct lease *lease_find(const struct core *core, const char *what);
/* The same, for a caller who must own it: *out, or ANSWER_NO_SUCH_LEASE, ANSWER_NOT_PERMITTED. */
int lease_need(const struct core *core, const char *what, uid_t uid, struct lease **out,
               struct error *e);
/* ANSWER_NOT_PERMITTED: it is there, and another user's, who stays unnamed. */
int lease_not_yours(uint64_t id, struct error *e);
/* Whether uid may end it, and see what it is about: its owner, and root. */
bool lease_belongs_to(const struct lease *l, uid_t uid);
/* ANSWER_NO_SUCH_LEASE: nothing is called so. */
int lease_unknown(const char *what, struct error *e);

#endif
