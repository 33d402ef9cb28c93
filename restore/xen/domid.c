/* A domain's number and name before the domain: see domid.h. */
#include "restore/xen/domid.h"

#include "restore/xen/domain.h"
#include "restore/xen/nodes.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST 0x4000u
#define COUNT (DOMID_FIRST_RESERVED - FIRST)

/* More than these in a row are never taken: a host has fewer domains. */
#define TRIES 4096u

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/: where the daemon's first slot is. */
static uint32_t place_of(const char *tag)
{
    uint32_t hash = 2166136261u;
    for (; *tag; tag++)
        hash = (hash ^ (unsigned char)*tag) * 16777619u;
    return hash % COUNT;
}

/* 0, or 1. */
static int node_is_there(struct xen *x, const char *top, uint32_t domid, struct error *e)
{
    char *value = node_get(x->xs, "%s/%u", top, domid);
    if (!value && errno != ENOENT)
        return error_errno(e, errno, "read xenstore node %s/%u", top, domid);
    free(value);
    return value != NULL;
}

/* 1: there is a domain, be it dying, or something is left of one. */
static int is_taken(struct xen *x, uint32_t domid, struct error *e)
{
    xc_domaininfo_t info;
    int rc = domain_find(x, domid, NULL, &info, e);
    if (rc <= 0)
        return rc ? rc : 1;
    error_clear(e);
    rc = node_is_there(x, "/local/domain", domid, e);
    return rc ? rc : node_is_there(x, "/libxl", domid, e);
}

int domid_choose(struct xen *x, const char *tag, uint64_t slot, uint32_t *domid, struct error *e)
{
    uint32_t place = (uint32_t)((place_of(tag) + slot) % COUNT);
    for (uint32_t i = 0; i < TRIES; i++) {
        *domid = FIRST + (place + i) % COUNT;
        int rc = is_taken(x, *domid, e);
        if (rc <= 0)
            return rc;
    }
    return error_set(e, -ENOSPC, "domids %u to %u are taken", FIRST + place, *domid);
}

int domid_claim(struct xen *x, uint32_t domid, const char *tag, const char *name, struct error *e)
{
    struct nodes t;
    nodes_init(&t);
    nodes_need_absent(&t, "/local/domain/%u", domid);
    nodes_need_absent(&t, "/libxl/%u", domid);
    nodes_base(&t, "/libxl/%u", domid);
    nodes_dir(&t, "", NODE_DOM0);
    nodes_put(&t, DOMID_CLAIM_NODE, "%s", tag);
    nodes_base(&t, "/local/domain/%u", domid);
    nodes_dir(&t, "", NODE_DOM0);
    nodes_put(&t, "name", "%s", name);
    int rc = nodes_write(&t, x->xs, domid, e);
    nodes_dispose(&t);
    return rc;
}
