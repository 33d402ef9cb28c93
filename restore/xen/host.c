/*
 * The host as the daemon sees it: see host.h.
 *
 * Ending a domain, in this order: pause it (it is silent from here on), take its
 * front ends away (back ends let go of their grants and devices), destroy it, wait until the
 * hypervisor has forgotten it, then remove its nodes, snapshots and files. Each step may find its
 * work done already, by a guest that shut down, by xl destroy, or by an earlier try.
 */
#include "restore/xen/host.h"

#include "base/log.h"
#include "base/util.h"
#include "restore/xen/domtree.h"
#include "restore/xen/loop.h"
#include "restore/xen/snapshot.h"
#include "restore/xen/userdata.h"
#include "restore/xen/xen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xen/io/xenbus.h>
#include <xen/sched.h>

#define LIST_BATCH 128u

/* Back ends close within some 100 ms; a stuck one must not keep the domain alive. */
#define BACKENDS_TIMEOUT_MS 3000u

struct host {
    struct xen xen;
    int wake; /* eventfd */
    bool watching;
};

int host_open(struct host **out, struct error *e)
{
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(e, -ENOMEM, "out of memory for the host's handles");
    h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = h->wake < 0 ? error_errno(e, errno, "make an event descriptor") : xen_open(&h->xen, e);
    if (rc) {
        host_close(h);
        return rc;
    }
    *out = h;
    return 0;
}

void host_close(struct host *h)
{
    if (!h)
        return;
    xen_close(&h->xen);
    fd_close(&h->wake);
    free(h);
}

/* ---- listing ---- */

/* The node's value, or "" when there is none. A xenstored that does not answer must not look like
 * domains without names. */
static int read_text(struct host *h, const char *path, char *out, size_t size, struct error *e)
{
    char *text = xs_get(h->xen.xs, "%s", path);
    if (!text && errno != ENOENT)
        return error_errno(e, errno, "read xenstore node %s", path);
    snprintf(out, size, "%s", text ? text : "");
    free(text);
    return 0;
}

static int describe(struct host *h, const xc_domaininfo_t *info, struct host_domain *out,
                    struct error *e)
{
    *out = (struct host_domain){.domid = info->domain};
    memcpy(out->uuid, info->handle, sizeof out->uuid);
    out->paused = info->flags & XEN_DOMINF_paused;
    if (info->flags & XEN_DOMINF_dying)
        out->state = HOST_DOMAIN_DYING;
    else if (info->flags & XEN_DOMINF_shutdown)
        out->state = HOST_DOMAIN_SHUTDOWN;
    out->shutdown_reason = (info->flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
    char path[64];
    snprintf(path, sizeof path, "/local/domain/%u/name", out->domid);
    int rc = read_text(h, path, out->name, sizeof out->name, e);
    snprintf(path, sizeof path, "/libxl/%u/dompool/tag", out->domid);
    return rc ? rc : read_text(h, path, out->tag, sizeof out->tag, e);
}

/* The hypervisor's list without dom0, a batch at a time; *got 0 at the end. */
static int next_batch(struct host *h, uint32_t *first, xc_domaininfo_t batch[LIST_BATCH], int *got,
                      struct error *e)
{
    *got = xc_domain_getinfolist(h->xen.xch, *first, LIST_BATCH, batch);
    if (*got < 0)
        return xen_error(&h->xen, e, "list domains from %u", *first);
    if (*got)
        *first = batch[*got - 1].domain + 1u;
    return 0;
}

static int list_grow(struct host *h, const xc_domaininfo_t *batch, size_t got,
                     struct host_domain **list, size_t *used, struct error *e)
{
    struct host_domain *bigger = realloc(*list, (*used + got) * sizeof **list);
    if (!bigger)
        return error_set(e, -ENOMEM, "out of memory for %zu domains", *used + got);
    *list = bigger;
    int rc = 0;
    for (size_t i = 0; i < got && !rc; i++)
        rc = describe(h, &batch[i], &bigger[(*used)++], e);
    return rc;
}

int host_list(struct host *h, struct host_domain **out, size_t *n, struct error *e)
{
    struct host_domain *list = NULL;
    size_t used = 0;
    xc_domaininfo_t batch[LIST_BATCH];
    uint32_t first = 1;
    int got, rc = next_batch(h, &first, batch, &got, e);
    while (!rc && got) {
        rc = list_grow(h, batch, (size_t)got, &list, &used, e);
        if (!rc)
            rc = next_batch(h, &first, batch, &got, e);
    }
    if (rc) {
        free(list);
        return rc;
    }
    *out = list;
    *n = used;
    return 0;
}

const char *host_shutdown_reason_name(unsigned reason)
{
    static const char *const names[] = {
        [SHUTDOWN_poweroff] = "poweroff", [SHUTDOWN_reboot] = "reboot",
        [SHUTDOWN_suspend] = "suspend",   [SHUTDOWN_crash] = "crash",
        [SHUTDOWN_watchdog] = "watchdog", [SHUTDOWN_soft_reset] = "soft-reset",
    };
    return reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

int host_memory(struct host *h, struct host_memory *out, struct error *e)
{
    xc_physinfo_t info;
    if (xc_physinfo(h->xen.xch, &info))
        return xen_error(&h->xen, e, "ask the hypervisor for its memory");
    out->total_kib = info.total_pages * (PAGE_BYTES / 1024);
    out->free_kib = (info.free_pages + info.scrub_pages) * (PAGE_BYTES / 1024);
    return 0;
}

/* ---- destroying ---- */

/* Where a uuid lives now. xl restore gives a saved domain its uuid back, under a new domid. */
struct place {
    uint32_t domid; /* of the uuid's domain, or DOMID_INVALID */
    bool taken;     /* the domid that was asked about belongs to another domain */
};

static int find_domain(struct host *h, uint32_t domid, const uint8_t uuid[16], struct place *p,
                       struct error *e)
{
    xc_domaininfo_t batch[LIST_BATCH];
    uint32_t first = 1;
    int got, rc;
    *p = (struct place){.domid = DOMID_INVALID};
    while (!(rc = next_batch(h, &first, batch, &got, e)) && got) {
        for (int i = 0; i < got; i++) {
            bool same = !memcmp(batch[i].handle, uuid, 16);
            /* One that is dying beside a living one is the save's source. */
            if (same && (p->domid == DOMID_INVALID || !(batch[i].flags & XEN_DOMINF_dying)))
                p->domid = batch[i].domain;
            p->taken |= !same && batch[i].domain == domid;
        }
    }
    return rc;
}

/* How many back ends have not said that they are closed. Those are gone whose device is gone. */
struct backends {
    unsigned open, gone;
    char named[200]; /* each with its state */
};

/* The kernel has a device vbd-<domid>-<devid> from its probing of a back end to its end. */
static bool backend_is_gone(uint32_t domid, const char *devid)
{
    char path[128];
    return format_fits(path, sizeof path, "/sys/devices/vbd-%u-%s", domid, devid) &&
           access(path, F_OK) != 0;
}

static void backends_look(struct host *h, uint32_t domid, struct backends *b)
{
    char path[80];
    snprintf(path, sizeof path, "/local/domain/0/backend/vbd/%u", domid);
    unsigned n = 0;
    char **devices = xs_directory(h->xen.xs, XBT_NULL, path, &n);
    *b = (struct backends){0};
    for (unsigned i = 0; devices && i < n; i++) {
        char *state = xs_get(h->xen.xs, "%s/%s/state", path, devices[i]);
        if (state && atoi(state) != XenbusStateClosed) {
            bool gone = backend_is_gone(domid, devices[i]);
            b->gone += gone;
            b->open += !gone;
            size_t used = strlen(b->named);
            snprintf(b->named + used, sizeof b->named - used, " %.20s (state %.4s%s)", devices[i],
                     state, gone ? ", its device gone" : "");
        }
        free(state);
    }
    free(devices);
}

/*
 * Tells the back ends to go and waits a while; what they still hold, the domain's end takes.
 *
 * A back end that was connecting writes Connected over our Closing, sees then that its front end is
 * gone, and goes without a word (Linux, drivers/xen: xenbus_switch_state compares nothing, and
 * xenbus_dev_remove writes Closed only over Closing where a driver may be bound anew): its device
 * is looked for as well. Twice, for one that is only just being probed.
 */
static void close_backends(struct host *h, uint32_t domid, unsigned timeout_ms)
{
    struct error e = {0};
    struct backends b;
    unsigned seen_gone = 0;
    if (domtree_remove_frontends(&h->xen, domid, &e))
        log_warning("domain %u: %s", domid, e.text);
    uint64_t deadline = clock_mono_us() + timeout_ms * 1000ull;
    for (useconds_t nap = 2000;; nap = nap < 50000 ? 2 * nap : nap) {
        backends_look(h, domid, &b);
        if (!b.open && (!b.gone || seen_gone++)) {
            if (b.gone)
                log_debug("domain %u: back ends went without a word:%s", domid, b.named);
            return;
        }
        if (clock_mono_us() > deadline)
            break;
        usleep(nap);
    }
    log_warning("domain %u: back ends do not close, going on without them:%s", domid, b.named);
}

static int destroy_and_wait(struct host *h, uint32_t domid, const uint8_t uuid[16],
                            unsigned timeout_ms, struct error *e)
{
    xen_log_clear(&h->xen);
    if (xc_domain_destroy(h->xen.xch, domid) && errno != ESRCH)
        return xen_error(&h->xen, e, "destroy domain %u", domid);
    uint64_t deadline = clock_mono_us() + timeout_ms * 1000ull;
    for (useconds_t nap = 2000;; nap = nap < 50000 ? 2 * nap : nap) {
        struct place now;
        int rc = find_domain(h, domid, uuid, &now, e);
        if (rc || now.domid != domid)
            return rc;
        if (clock_mono_us() > deadline)
            return error_set(e, -ETIMEDOUT,
                             "domain %u is destroyed but not gone after %u ms: something still "
                             "maps its memory",
                             domid, timeout_ms);
        usleep(nap);
    }
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
static void detach_loops(struct host *h, uint32_t domid)
{
    char path[80];
    snprintf(path, sizeof path, "/local/domain/0/backend/vbd/%u", domid);
    unsigned n = 0;
    char **devices = xs_directory(h->xen.xs, XBT_NULL, path, &n);
    for (unsigned i = 0; devices && i < n; i++) {
        char *node = xs_get(h->xen.xs, "%s/%s/node", path, devices[i]);
        if (node && !strncmp(node, "/dev/loop", 9))
            loop_detach(node);
        free(node);
    }
    free(devices);
}

static int end_domain(struct host *h, uint32_t domid, const uint8_t uuid[16], unsigned timeout_ms,
                      struct error *e)
{
    xc_domain_pause(h->xen.xch, domid); /* a dying one refuses; no matter */
    close_backends(h, domid, timeout_ms < BACKENDS_TIMEOUT_MS ? timeout_ms : BACKENDS_TIMEOUT_MS);
    int rc = destroy_and_wait(h, domid, uuid, timeout_ms, e);
    /* Whatever became of it: a loop device that is still in use goes with its last user, and the
     * node that names it may be gone when this is tried again. */
    detach_loops(h, domid);
    return rc;
}

int host_destroy(struct host *h, uint32_t domid, const uint8_t uuid[16], unsigned timeout_ms,
                 struct error *e)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    struct place p;
    int rc = find_domain(h, domid, uuid, &p, e);
    if (!rc && p.domid != DOMID_INVALID)
        rc = end_domain(h, p.domid, uuid, timeout_ms, e);
    if (rc)
        return rc;
    /* A domid that belongs to somebody else by now keeps its nodes. */
    if (p.domid != DOMID_INVALID)
        rc = domtree_remove(&h->xen, p.domid, text, e);
    if (!rc && p.domid != domid && !p.taken)
        rc = domtree_remove(&h->xen, domid, text, e);
    userdata_remove(domid, text);
    if (p.domid != DOMID_INVALID && p.domid != domid)
        userdata_remove(p.domid, text);
    int rc2 = remove_snapshots(text, rc ? NULL : e);
    return rc ? rc : rc2;
}

/* ---- waiting ---- */

static int watch_domains(struct host *h, struct error *e)
{
    if (h->watching)
        return 0;
    if (!xs_watch(h->xen.xs, "@introduceDomain", "introduce") ||
        !xs_watch(h->xen.xs, "@releaseDomain", "release"))
        return error_errno(e, errno, "watch xenstore for domains that come and go");
    h->watching = true;
    return 0;
}

int host_wait(struct host *h, int timeout_ms, struct error *e)
{
    int rc = watch_domains(h, e);
    if (rc)
        return rc;
    struct pollfd p[] = {{.fd = xs_fileno(h->xen.xs), .events = POLLIN},
                         {.fd = h->wake, .events = POLLIN}};
    if (poll(p, ARRAY_SIZE(p), timeout_ms) < 0 && errno != EINTR)
        return error_errno(e, errno, "wait for xenstore");
    bool changed = false;
    char **event;
    errno = EAGAIN;
    while ((event = xs_check_watch(h->xen.xs))) {
        changed = true;
        free(event);
    }
    /* Without an event the reason is EAGAIN, as long as somebody is there to send one. */
    if (!changed && errno != EAGAIN)
        return error_set(e, -EPIPE, "xenstored has closed the connection");
    uint64_t count;
    (void)!read(h->wake, &count, sizeof count); /* nonblocking: empty is fine */
    return changed ? 0 : 1;
}

void host_wake(struct host *h)
{
    uint64_t one = 1;
    (void)!write(h->wake, &one, sizeof one); /* a full counter wakes as well */
}

/* ---- sweeping ---- */

static bool uuid_alive(const struct host_domain *list, size_t n, const char *text)
{
    uint8_t uuid[16];
    if (uuid_parse(text, uuid))
        return true; /* not a name that we gave: leave it alone */
    for (size_t i = 0; i < n; i++)
        if (!memcmp(list[i].uuid, uuid, sizeof uuid))
            return true;
    return false;
}

static bool uuid_kept(const uint8_t (*keep)[16], size_t n, const char *text)
{
    char kept[UUID_TEXT_SIZE];
    for (size_t i = 0; i < n; i++) {
        uuid_format(keep[i], kept);
        if (!strcmp(kept, text))
            return true;
    }
    return false;
}

struct sweep {
    const char *tag;
    const uint8_t (*keep)[16];
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

/* The uuid that a dead domain's nodes still name, else one that matches nothing. */
static void uuid_from_nodes(struct host *h, uint32_t domid, char out[UUID_TEXT_SIZE])
{
    char *vm = xs_get(h->xen.xs, "/local/domain/%u/vm", domid);
    bool ok = vm && !strncmp(vm, "/vm/", 4) && strlen(vm + 4) == UUID_TEXT_SIZE - 1;
    snprintf(out, UUID_TEXT_SIZE, "%s", ok ? vm + 4 : "00000000-0000-0000-0000-000000000000");
    free(vm);
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
        char *owner = xs_get(h->xen.xs, "/libxl/%s/dompool/tag", domids[i]);
        if (owner && !strcmp(owner, w->tag)) {
            char uuid[UUID_TEXT_SIZE];
            uuid_from_nodes(h, (uint32_t)domid, uuid);
            bool moved = uuid_alive(w->alive, w->n_alive, uuid); /* restored under a new domid */
            rc = domtree_remove(&h->xen, (uint32_t)domid, moved ? NULL : uuid, e);
            userdata_remove((uint32_t)domid, uuid);
            *w->removed += !rc;
        }
        free(owner);
    }
    free(domids);
    return rc;
}

/* Of domains that were handed out just when their helper was killed. One that is refused does not
 * keep the others waiting. */
static int sweep_consoles(struct host *h, const struct sweep *w, struct error *e)
{
    int first = 0;
    for (size_t i = 0; i < w->n_alive; i++) {
        const struct host_domain *d = &w->alive[i];
        if (d->state != HOST_DOMAIN_ALIVE || strcmp(d->tag, w->tag) != 0 ||
            !domtree_console_waits(&h->xen, d->domid))
            continue;
        int rc = domtree_serve_console(&h->xen, d->domid, first ? NULL : e);
        first = first ? first : rc;
    }
    return first;
}

int host_sweep(struct host *h, const char *tag, const uint8_t (*keep)[16], size_t n_keep,
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
