/* Lists of domains: see domain_list.h. */
#include "pool/service/domain_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_uuid(const void *a, const void *b)
{
    const struct host_domain *x = a, *y = b;
    int order = memcmp(&x->uuid, &y->uuid, sizeof x->uuid);
    return order ? order : (x->domid > y->domid) - (x->domid < y->domid);
}

static int by_name(const void *a, const void *b, void *list)
{
    const struct domain_list *l = list;
    const size_t *x = a, *y = b;
    int order = strcmp(l->all[*x].name, l->all[*y].name);
    return order ? order : (*x > *y) - (*x < *y);
}

int domain_list_make(struct domain_list *l, struct host_domain *all, size_t n, struct error *e)
{
    *l = (struct domain_list){.all = all, .n = n};
    l->by_name = calloc(n + 1, sizeof *l->by_name);
    l->forgotten = calloc(n + 1, sizeof *l->forgotten);
    if (!l->by_name || !l->forgotten) {
        domain_list_dispose(l);
        return error_set(e, -ENOMEM, "list domains: out of memory for %zu", n);
    }
    if (n)
        qsort(all, n, sizeof *all, by_uuid);
    for (size_t i = 0; i < n; i++)
        l->by_name[i] = i;
    qsort_r(l->by_name, n, sizeof *l->by_name, by_name, l);
    return 0;
}

void domain_list_dispose(struct domain_list *l)
{
    free(l->all);
    free(l->by_name);
    free(l->forgotten);
    *l = (struct domain_list){0};
}

/* The place of the first one that is not before what `before` looks for. */
static size_t search(const struct domain_list *l,
                     bool (*before)(const struct domain_list *l, size_t at, const void *key),
                     const void *key)
{
    size_t from = 0, to = l->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (before(l, middle, key))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool uuid_before(const struct domain_list *l, size_t at, const void *key)
{
    return memcmp(&l->all[at].uuid, key, sizeof(struct uuid)) < 0;
}

static bool name_before(const struct domain_list *l, size_t at, const void *key)
{
    return strcmp(l->all[l->by_name[at]].name, key) < 0;
}

static const struct host_domain *at_or_behind(const struct domain_list *l, size_t at,
                                              const struct uuid *uuid)
{
    for (; at < l->n && uuid_equal(&l->all[at].uuid, uuid); at++)
        if (!l->forgotten[at])
            return &l->all[at];
    return NULL;
}

const struct host_domain *domain_list_first(const struct domain_list *l, const struct uuid *uuid)
{
    return at_or_behind(l, search(l, uuid_before, uuid), uuid);
}

const struct host_domain *domain_list_next(const struct domain_list *l, const struct host_domain *d)
{
    return at_or_behind(l, (size_t)(d - l->all) + 1, &d->uuid);
}

const struct host_domain *domain_list_at(const struct domain_list *l, size_t place)
{
    return l->forgotten[place] ? NULL : &l->all[place];
}

bool domain_list_named(const struct domain_list *l, const char *name)
{
    for (size_t at = search(l, name_before, name); at < l->n; at++) {
        size_t place = l->by_name[at];
        if (strcmp(l->all[place].name, name) != 0)
            return false;
        if (!l->forgotten[place])
            return true;
    }
    return false;
}

void domain_list_forget(struct domain_list *l, const struct uuid *uuid)
{
    for (size_t at = search(l, uuid_before, uuid); at < l->n && uuid_equal(&l->all[at].uuid, uuid);
         at++)
        l->forgotten[at] = true;
}
