/*
 * host_destroy: see host.h.
 *
 * A domain is ended in this order. Pause it: from here on it is silent. Take its front ends away:
 * back ends let go of their grants and devices. Destroy it. Wait until the hypervisor has forgotten
 * it. Remove its nodes, snapshots and files. Each step may find its work done already, by a guest
 * that shut down, by xl destroy, or by an earlier try.
 */
#include "restore/xen/host_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "restore/xen/backend.h"
#include "restore/xen/domain_nodes.h"
#include "restore/xen/loop.h"
#include "restore/xen/nic.h"
#include "restore/xen/nodes.h"
#include "restore/xen/snapshot.h"
#include "restore/xen/userdata.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

/* Back ends close within some 100 ms; a stuck one must not keep the domain alive. */
#define BACKENDS_TIMEOUT_MS 3000u

/* ---- where a domain is ---- */

/* Where a uuid lives now. xl restore gives a saved domain its uuid back, under a new domid. */
struct uuid_place {
    uint32_t domid; /* of the uuid's domain, or DOMID_INVALID */
    bool there;     /* the domid that was asked about is the uuid's, alive or dying */
    bool taken;     /* it belongs to another domain */
};

static int find_domain(struct host *h, uint32_t domid, const struct uuid *uuid,
                       struct uuid_place *p, struct error *e)
{
    xc_domaininfo_t batch[HOST_BATCH];
    uint32_t first = 1;
    int got, rc;
    *p = (struct uuid_place){.domid = DOMID_INVALID};
    while (!(rc = host_next_batch(h, &first, batch, &got, e)) && got) {
        for (int i = 0; i < got; i++) {
            bool same = !memcmp(batch[i].handle, uuid, sizeof *uuid);
            /* A dying domain beside a living one is the source of a save. */
            if (same && (p->domid == DOMID_INVALID || !(batch[i].flags & XEN_DOMINF_dying)))
                p->domid = batch[i].domain;
            p->there |= same && batch[i].domain == domid;
            p->taken |= !same && batch[i].domain == domid;
        }
    }
    return rc;
}

/* ---- polling ---- */

struct polling {
    uint64_t deadline_us;
    useconds_t nap_us;
};

static struct polling polling_start(unsigned timeout_ms)
{
    return (struct polling){clock_mono_us() + timeout_ms * 1000ull, 2000};
}

/* Sleeps, longer each time. False: the time is over. */
static bool polling_sleep(struct polling *p)
{
    if (clock_mono_us() > p->deadline_us)
        return false;
    usleep(p->nap_us);
    p->nap_us *= p->nap_us < 50000 ? 2 : 1;
    return true;
}

/* ---- its devices ---- */

/* The back ends of one kind of a domain's devices. */
struct devices {
    const char *kind;
    char path[80]; /* of the node above them */
    char **devids; /* NULL: there are none */
    unsigned n;
};

/* On failure there are none. */
static int devices_list(struct host *h, uint32_t domid, const char *kind, struct devices *v,
                        struct error *e)
{
    *v = (struct devices){.kind = kind};
    snprintf(v->path, sizeof v->path, "/local/domain/0/backend/%s/%u", kind, domid);
    v->devids = xs_directory(h->xen.xs, XBT_NULL, v->path, &v->n);
    if (v->devids)
        return 0;
    v->n = 0;
    return errno == ENOENT ? 0 : error_errno(e, errno, "list xenstore node %s", v->path);
}

/* A node of the i-th; malloc'd or NULL and errno. */
static char *devices_get(struct host *h, const struct devices *v, unsigned i, const char *node)
{
    return node_get(h->xen.xs, "%s/%s/%s", v->path, v->devids[i], node);
}

static void devices_free(struct devices *v)
{
    free(v->devids);
}

/* Counts the back ends that have not said that they are closed. A back end whose device is gone
 * counts as closed. */
struct backends {
    unsigned open, gone;
    char named[200]; /* each with its state */
};

/* The kernel has a device vbd-<domid>-<devid> from when it probes a back end until the back end's
 * end. */
static bool backend_is_gone(uint32_t domid, const char *kind, const char *devid)
{
    char path[128];
    return format_fits(path, sizeof path, "/sys/devices/%s-%u-%s", kind, domid, devid) &&
           access(path, F_OK) != 0;
}

static void backend_count(struct backends *b, uint32_t domid, const struct devices *v, unsigned i,
                          const char *state)
{
    bool gone = backend_is_gone(domid, v->kind, v->devids[i]);
    b->gone += gone;
    b->open += !gone;
    size_t used = strlen(b->named);
    snprintf(b->named + used, sizeof b->named - used, " %s %.20s (state %.4s%s)", v->kind,
             v->devids[i], state, gone ? ", its device gone" : "");
}

static void backends_look_at(struct host *h, uint32_t domid, const char *kind, struct backends *b)
{
    struct devices v;
    (void)devices_list(h, domid, kind, &v, NULL);
    for (unsigned i = 0; i < v.n; i++) {
        char *state = devices_get(h, &v, i, "state");
        if (state && atoi(state) != XenbusStateClosed)
            backend_count(b, domid, &v, i, state);
        free(state);
    }
    devices_free(&v);
}

static void backends_look(struct host *h, uint32_t domid, struct backends *b)
{
    *b = (struct backends){0};
    for (size_t i = 0; backend_kinds[i]; i++)
        backends_look_at(h, domid, backend_kinds[i], b);
}

/*
 * Tells the back ends to go and waits a while. The end of the domain takes what they still hold.
 *
 * A back end that was connecting writes Connected over our Closing, then sees that its front end is
 * gone, and goes without saying Closed. (Linux, drivers/xen: xenbus_switch_state compares nothing,
 * and xenbus_dev_remove writes Closed only over Closing where a driver may be bound anew.) So its
 * device is looked for as well. This is done twice, for a back end that is only just being probed.
 */
static void close_backends(struct host *h, uint32_t domid, unsigned timeout_ms)
{
    struct error e = {0};
    struct backends b;
    unsigned seen_gone = 0;
    if (domain_remove_frontends(&h->xen, domid, &e))
        log_warning("domain %u: %s", domid, e.text);
    struct polling p = polling_start(timeout_ms);
    do {
        backends_look(h, domid, &b);
        if (!b.open && (!b.gone || seen_gone++)) {
            if (b.gone)
                log_debug("domain %u: back ends went without a word:%s", domid, b.named);
            return;
        }
    } while (polling_sleep(&p));
    log_warning("domain %u: back ends do not close, going on without them:%s", domid, b.named);
}

static int destroy_and_wait(struct host *h, uint32_t domid, const struct uuid *uuid,
                            unsigned timeout_ms, struct error *e)
{
    xen_log_clear(&h->xen);
    if (xc_domain_destroy(h->xen.xch, domid) && errno != ESRCH)
        return xen_error(&h->xen, e, "destroy domain %u", domid);
    struct polling p = polling_start(timeout_ms);
    do {
        struct uuid_place now;
        int rc = find_domain(h, domid, uuid, &now, e);
        if (rc || !now.there)
            return rc;
    } while (polling_sleep(&p));
    return error_set(e, -ETIMEDOUT,
                     "domain %u is destroyed but not gone after %u ms: something still maps its "
                     "memory",
                     domid, timeout_ms);
}

static int remove_snapshots(const char *uuid, struct error *e)
{
    struct snapshot_found *list;
    size_t n;
    int rc = snapshot_list(uuid, &list, &n, e);
    for (size_t i = 0; i < n && !rc; i++)
        rc = snapshot_remove(list[i].name, e);
    free(list);
    return rc;
}

/* A domain that xl restored has loop devices that only xl's script would detach. */
static int detach_loops(struct host *h, uint32_t domid, struct error *e)
{
    struct devices v;
    int rc = devices_list(h, domid, "vbd", &v, e);
    for (unsigned i = 0; i < v.n && !rc; i++) {
        char *node = devices_get(h, &v, i, "node");
        if (!node && errno != ENOENT)
            rc = error_errno(e, errno, "read node of %s/%s", v.path, v.devids[i]);
        if (node && !strncmp(node, "/dev/loop", 9))
            rc = loop_detach(node, e);
        free(node);
    }
    devices_free(&v);
    return rc;
}

/* ---- the end ---- */

static int end_domain(struct host *h, uint32_t domid, const struct uuid *uuid, unsigned timeout_ms,
                      struct error *e)
{
    xc_domain_pause(h->xen.xch, domid); /* a dying domain refuses; no matter */
    close_backends(h, domid, timeout_ms < BACKENDS_TIMEOUT_MS ? timeout_ms : BACKENDS_TIMEOUT_MS);
    int rc = destroy_and_wait(h, domid, uuid, timeout_ms, e);
    if (rc) /* the nodes that name them may be gone when this is tried again */
        (void)detach_loops(h, domid, NULL);
    return rc;
}

/* Removes what a domid had. The nodes go last, since they name the rest. A loop device that is
 * still in use goes with its last user. */
static int remove_traces(struct host *h, uint32_t domid, const char *uuid, struct error *e)
{
    int rc = detach_loops(h, domid, e);
    nics_end(h->xen.xs, domid);
    if (!rc)
        rc = userdata_remove(domid, uuid, e);
    return rc ? rc : domain_remove_nodes(&h->xen, domid, uuid, e);
}

int host_destroy(struct host *h, uint32_t domid, const struct uuid *uuid, unsigned timeout_ms,
                 struct error *e)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    struct uuid_place p;
    int rc = find_domain(h, domid, uuid, &p, e);
    if (!rc && p.domid != DOMID_INVALID)
        rc = end_domain(h, p.domid, uuid, timeout_ms, e);
    if (rc)
        return rc;
    if (p.domid != DOMID_INVALID)
        rc = remove_traces(h, p.domid, text, e);
    /* A domid that belongs to somebody else by now keeps its nodes. */
    if (!rc && p.domid != domid)
        rc = p.taken ? userdata_remove(domid, text, e) : remove_traces(h, domid, text, e);
    int rc2 = remove_snapshots(text, rc ? NULL : e);
    return rc ? rc : rc2;
}
