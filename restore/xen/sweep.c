/*
 * host_sweep: see host.h. What is left of domains that are gone is found by the names that dompool
 * gave it: disk snapshots carry tag and UUID, nodes in xenstore the tag, also those of a domain
 * that had only its name yet.
 */
#include "restore/xen/host_private.h"

#include "base/array.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/xen/domain_nodes.h"
#include "restore/xen/domid.h"
#include "restore/xen/nic.h"
#include "restore/xen/nodes.h"
#include "restore/xen/snapshot.h"
#include "restore/xen/userdata.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool uuid_alive(const struct host_domain *list, size_t n, const char *text)
{
    struct uuid uuid;
    if (uuid_parse(text, &uuid))
        return true; /* not a name that we gave: leave it alone */
    for (size_t i = 0; i < n; i++)
        if (uuid_equal(&list[i].uuid, &uuid))
            return true;
    return false;
}

static bool uuid_kept(const struct uuid *keep, size_t n, const char *text)
{
    char kept[UUID_TEXT_SIZE];
    for (size_t i = 0; i < n; i++) {
        uuid_format(&keep[i], kept);
        if (!strcmp(kept, text))
            return true;
    }
    return false;
}

struct sweep {
    const char *tag;
    const struct uuid *keep;
    size_t n_keep;
    struct host_domain *alive;
    size_t n_alive;
    unsigned *removed;
};

static int sweep_snapshots(const struct sweep *w, struct error *e)
{
    struct snapshot_found *list;
    size_t n;
    int rc = snapshot_list(NULL, &list, &n, e);
    for (size_t i = 0; i < n && !rc; i++) {
        if (strcmp(list[i].tag, w->tag) || uuid_alive(w->alive, w->n_alive, list[i].uuid) ||
            uuid_kept(w->keep, w->n_keep, list[i].uuid))
            continue;
        rc = snapshot_remove(list[i].name, e);
        *w->removed += !rc;
    }
    free(list);
    return rc;
}

static bool domid_alive(const struct host_domain *list, size_t n, uint32_t domid)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].domid == domid)
            return true;
    return false;
}

/* Gives the uuid that a dead domain's nodes still name, else one that matches nothing. */
static int uuid_from_nodes(struct host *h, uint32_t domid, char out[UUID_TEXT_SIZE],
                           struct error *e)
{
    char *vm = node_get(h->xen.xs, "/local/domain/%u/vm", domid);
    if (!vm && errno != ENOENT)
        return error_errno(e, errno, "read xenstore node /local/domain/%u/vm", domid);
    bool ok = vm && !strncmp(vm, "/vm/", 4) && strlen(vm + 4) == UUID_TEXT_SIZE - 1;
    snprintf(out, UUID_TEXT_SIZE, "%s", ok ? vm + 4 : "00000000-0000-0000-0000-000000000000");
    free(vm);
    return 0;
}

/* The nodes go last: they name the rest. */
static int sweep_domid(struct host *h, const struct sweep *w, uint32_t domid, struct error *e)
{
    char uuid[UUID_TEXT_SIZE];
    int rc = uuid_from_nodes(h, domid, uuid, e);
    if (!rc)
        rc = userdata_remove(domid, uuid, e);
    if (rc)
        return rc;
    nics_end(h->xen.xs, domid);
    bool moved = uuid_alive(w->alive, w->n_alive, uuid); /* restored under a new domid */
    rc = domain_remove_nodes(&h->xen, domid, moved ? NULL : uuid, e);
    *w->removed += !rc;
    return rc;
}

/* malloc'd; NULL: nobody's, or an error if *rc is set. */
static char *owner_of(struct host *h, const char *domid, int *rc, struct error *e)
{
    static const char *const nodes[] = {"dompool/tag", DOMID_CLAIM_NODE};
    char *owner = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(nodes) && !owner && !*rc; i++) {
        owner = node_get(h->xen.xs, "/libxl/%s/%s", domid, nodes[i]);
        if (!owner && errno != ENOENT)
            *rc = error_errno(e, errno, "read xenstore node /libxl/%s/%s", domid, nodes[i]);
    }
    return owner;
}

static int sweep_nodes(struct host *h, const struct sweep *w, struct error *e)
{
    unsigned n = 0;
    char **domids = xs_directory(h->xen.xs, XBT_NULL, "/libxl", &n);
    int rc = domids || errno == ENOENT ? 0 : error_errno(e, errno, "list xenstore node /libxl");
    for (unsigned i = 0; domids && i < n && !rc; i++) {
        uint64_t domid;
        if (number_parse(domids[i], 1, DOMID_FIRST_RESERVED - 1, &domid) ||
            domid_alive(w->alive, w->n_alive, (uint32_t)domid))
            continue;
        char *owner = owner_of(h, domids[i], &rc, e);
        if (owner && !strcmp(owner, w->tag))
            rc = sweep_domid(h, w, (uint32_t)domid, e);
        free(owner);
    }
    free(domids);
    return rc;
}

/* Serves the consoles of domains that were handed out just when their helper was killed. A failure
 * does not keep the others waiting. */
static int sweep_consoles(struct host *h, const struct sweep *w, struct error *e)
{
    int first = 0;
    for (size_t i = 0; i < w->n_alive; i++) {
        const struct host_domain *d = &w->alive[i];
        if (d->state != HOST_DOMAIN_ALIVE || strcmp(d->tag, w->tag) != 0)
            continue;
        int rc = domain_console_waits(&h->xen, d->domid, first ? NULL : e);
        if (rc > 0)
            rc = domain_serve_console(&h->xen, d->domid, first ? NULL : e);
        first = first ? first : rc;
    }
    return first;
}

int host_sweep(struct host *h, const char *tag, const struct uuid *keep, size_t n_keep,
               unsigned *removed, struct error *e)
{
    struct sweep w = {.tag = tag, .keep = keep, .n_keep = n_keep, .removed = removed};
    *removed = 0;
    int rc = host_list(h, &w.alive, &w.n_alive, e);
    if (rc)
        return rc;
    rc = sweep_snapshots(&w, e);
    int rc2 = sweep_nodes(h, &w, rc ? NULL : e);
    rc = rc ? rc : rc2;
    rc2 = sweep_consoles(h, &w, rc ? NULL : e);
    free(w.alive);
    return rc ? rc : rc2;
}
