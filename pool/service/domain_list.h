/*
 * The domains of a host as a listing found them, sorted once, so that each is found in a number of
 * steps that grows with the logarithm of their number. Made on the thread that asked the host; read
 * on the loop.
 */
#ifndef POOL_DOMAIN_LIST_H
#define POOL_DOMAIN_LIST_H

#include "base/error.h"
#include "base/uuid.h"
#include "restore/xen/host.h"

#include <stdbool.h>
#include <stddef.h>

struct domain_list {
    struct host_domain *all; /* by uuid; of one uuid by domid */
    size_t n;
    size_t *by_name; /* places in all */
    bool *forgotten; /* by the same places */
};

/* Takes all, malloc'd, over, also when there is no memory (-ENOMEM): then the list is empty. */
int domain_list_make(struct domain_list *l, struct host_domain *all, size_t n, struct error *e);
/* Leaves an empty list. */
void domain_list_dispose(struct domain_list *l);

/* Of this uuid the first one, and the next one. NULL: no more. There are several while xl restore
 * makes a saved domain anew. */
const struct host_domain *domain_list_first(const struct domain_list *l, const struct uuid *uuid);
const struct host_domain *domain_list_next(const struct domain_list *l,
                                           const struct host_domain *d);
/* One by its place, below n; NULL: it is forgotten. */
const struct host_domain *domain_list_at(const struct domain_list *l, size_t place);
/* True when one has this name. */
bool domain_list_named(const struct domain_list *l, const char *name);

/* Those of this uuid are known to be gone: nobody finds them any more. */
void domain_list_forget(struct domain_list *l, const struct uuid *uuid);

#endif
