/*
 * A domain's nodes: see domain_nodes.h. The set is libxl's (libxl__domain_make,
 * libxl__build_post, libxl__device_console_add), described in Xen's docs/misc/xenstore-paths.
 */
#include "restore/xen/domain_nodes.h"

#include "base/array.h"
#include "restore/xen/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xen/io/xenbus.h>

/* A console's type says who serves it. xenconsoled leaves every other type alone, and looks again
 * when the node changes (Xen's tools/console/daemon/io.c, console_create_ring). */
#define CONSOLE_SERVED "xenconsoled"
#define CONSOLE_WAITS "dompool"

/* libxl's LIBXL_XENCONSOLE_LIMIT: how much output xenconsoled keeps for a reader. */
#define CONSOLE_LIMIT_BYTES 1048576

static const struct {
    const char *path;
    enum node_access access;
} directories[] = {
    {"", NODE_GUEST_READS},
    {"cpu", NODE_GUEST_READS},
    {"memory", NODE_GUEST_READS},
    {"device", NODE_GUEST_READS},
    {"device/suspend/event-channel", NODE_GUEST_OWNS},
    {"control", NODE_GUEST_READS},
    {"control/shutdown", NODE_GUEST_OWNS},
    {"control/feature-poweroff", NODE_GUEST_OWNS},
    {"control/feature-reboot", NODE_GUEST_OWNS},
    {"control/feature-suspend", NODE_GUEST_OWNS},
    {"control/sysrq", NODE_GUEST_OWNS},
    {"data", NODE_GUEST_OWNS},
    {"drivers", NODE_GUEST_OWNS},
    {"feature", NODE_GUEST_OWNS},
    {"attr", NODE_GUEST_OWNS},
    {"error", NODE_GUEST_OWNS},
};

static void guest_nodes(const struct domain_identity *d, const struct domconf *c, struct nodes *t)
{
    nodes_base(t, "/local/domain/%u", d->domid);
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        nodes_dir(t, directories[i].path, directories[i].access);
    nodes_put(t, "vm", "/vm/%s", d->uuid);
    nodes_put(t, "name", "%s", d->name);
    nodes_put(t, "domid", "%u", d->domid);
    nodes_put(t, "control/platform-feature-multiprocessor-suspend", "1");
    nodes_put(t, "control/platform-feature-xs_reset_watches", "1");
    nodes_put(t, "memory/static-max", "%" PRIu64, c->max_mem_kib);
    nodes_put(t, "memory/target", "%" PRIu64, c->target_mem_kib - c->video_mem_kib);
    nodes_put(t, "memory/videoram", "%" PRIu64, c->video_mem_kib);
    nodes_put(t, "store/port", "%u", d->store_port);
    for (unsigned v = 0; v < c->max_vcpus; v++) {
        char path[40];
        snprintf(path, sizeof path, "cpu/%u/availability", v);
        nodes_put(t, path, "%s", c->online[v / 8] & (1u << v % 8) ? "online" : "offline");
    }
}

static void vm_nodes(const struct domain_identity *d, const struct domconf *c, struct nodes *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    nodes_base(t, "/vm/%s", d->uuid);
    nodes_dir(t, "", NODE_GUEST_READS);
    nodes_put(t, "uuid", "%s", d->uuid);
    nodes_put(t, "name", "%s", d->name);
    nodes_put(t, "start_time", "%lld.%02ld", (long long)now.tv_sec, now.tv_nsec / 10000000);
    if (c->guest == IMAGE_GUEST_PV)
        nodes_put(t, "image/ostype", "linux");
}

static void libxl_nodes(const struct domain_identity *d, const struct domconf *c, struct nodes *t)
{
    nodes_base(t, "/libxl/%u", d->domid);
    nodes_dir(t, "", NODE_DOM0);
    nodes_dir(t, "device", NODE_DOM0);
    nodes_put(t, "type", "%s", c->guest == IMAGE_GUEST_PV ? "pv" : "pvh");
    nodes_put(t, "dompool/tag", "%s", d->tag);
}

static void console_backend(const struct domain_identity *d, struct nodes *t)
{
    nodes_put(t, "frontend-id", "%u", d->domid);
    nodes_put(t, "online", "1");
    nodes_put(t, "state", "%d", XenbusStateInitialising);
    nodes_put(t, "protocol", "vt100");
}

static void console_nodes(const struct domain_identity *d, struct nodes *t)
{
    /* libxl's mirror: without it, xl destroy leaves the console's back end */
    nodes_base(t, "/libxl/%u/device/console/0", d->domid);
    nodes_put(t, "frontend", "/local/domain/%u/console", d->domid);
    nodes_put(t, "backend", "/local/domain/0/backend/console/%u/0", d->domid);
    console_backend(d, t);

    nodes_base(t, "/local/domain/%u/console", d->domid);
    nodes_dir(t, "", NODE_GUEST_READS);
    nodes_put(t, "backend", "/local/domain/0/backend/console/%u/0", d->domid);
    nodes_put(t, "backend-id", "0");
    nodes_put(t, "limit", "%d", CONSOLE_LIMIT_BYTES);
    nodes_put(t, "type", "%s", d->waits ? CONSOLE_WAITS : CONSOLE_SERVED);
    nodes_put(t, "output", "pty");
    nodes_put(t, "tty", "%s", "");
    nodes_put(t, "port", "%u", d->console_port);

    nodes_base(t, "/local/domain/0/backend/console/%u/0", d->domid);
    nodes_dir(t, "", NODE_GUEST_READS);
    nodes_put(t, "frontend", "/local/domain/%u/console", d->domid);
    console_backend(d, t);
}

void domain_nodes_add(const struct domain_identity *d, const struct domconf *c, struct nodes *t)
{
    guest_nodes(d, c, t);
    vm_nodes(d, c, t);
    libxl_nodes(d, c, t);
    console_nodes(d, t);
}

static int introduce(struct xen *x, const struct domain_identity *d, uint64_t store_gfn,
                     struct error *e)
{
    /* C xenstored maps grant 1, oxenstored this frame: both are given. */
    if (!xs_introduce_domain(x->xs, d->domid, (unsigned long)store_gfn, d->store_port))
        return error_errno(e, errno, "domain %u: introduce it to xenstore", d->domid);
    return 0;
}

int domain_introduce(struct xen *x, const struct domain_identity *d, uint64_t store_gfn,
                     uint64_t console_gfn, struct error *e)
{
    char store[24], console[24];
    snprintf(store, sizeof store, "%" PRIu64, store_gfn);
    snprintf(console, sizeof console, "%" PRIu64, console_gfn);
    const struct {
        const char *value, *path;
    } nodes[] = {
        {d->name, "name"},
        {store, "store/ring-ref"},
        {console, "console/ring-ref"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
        char path[64];
        snprintf(path, sizeof path, "/local/domain/%u/%s", d->domid, nodes[i].path);
        int rc = node_put(x->xs, nodes[i].value, e, "%s", path);
        if (rc)
            return rc;
    }
    return introduce(x, d, store_gfn, e);
}

int domain_rename(struct xen *x, uint32_t domid, const char *name, struct error *e)
{
    return node_put(x->xs, name, e, "/local/domain/%u/name", domid);
}

int domain_serve_console(struct xen *x, uint32_t domid, struct error *e)
{
    return node_put(x->xs, CONSOLE_SERVED, e, "/local/domain/%u/console/type", domid);
}

int domain_console_waits(struct xen *x, uint32_t domid, struct error *e)
{
    char *type = node_get(x->xs, "/local/domain/%u/console/type", domid);
    if (!type)
        return errno == ENOENT
                   ? 0
                   : error_errno(e, errno, "read xenstore node /local/domain/%u/console/type",
                                 domid);
    bool waits = !strcmp(type, CONSOLE_WAITS);
    free(type);
    return waits;
}

/* For each child of a directory, which may be missing. */
static int each_child(struct xen *x, const char *path,
                      void (*call)(const char *path, const char *child, void *data), void *data,
                      struct error *e)
{
    unsigned n = 0;
    char **children = xs_directory(x->xs, XBT_NULL, path, &n);
    if (!children)
        return errno == ENOENT ? 0 : error_errno(e, errno, "list xenstore node %s", path);
    for (unsigned i = 0; i < n; i++)
        call(path, children[i], data);
    free(children);
    return 0;
}

#define STATE_CLOSING "5" /* XenbusState of xen/include/public/io/xenbus.h */
#define STATE_CLOSED "6"

/* online 0 and state Closing is how the kernel is told that the front end will not come back; a
 * back end that is Closed already, be it in this moment, stays so: nobody would close it again. */
static void close_backend(const char *path, const char *devid, void *data)
{
    struct nodes *t = data;
    nodes_base(t, "%s/%s", path, devid);
    nodes_change(t, "online", "0", NULL);
    nodes_change(t, "state", STATE_CLOSING, STATE_CLOSED);
}

int domain_remove_frontends(struct xen *x, uint32_t domid, struct error *e)
{
    struct nodes t;
    int rc = 0;
    nodes_init(&t);
    nodes_remove(&t, "/local/domain/%u/device", domid);
    for (size_t i = 0; backend_kinds[i] && !rc; i++) {
        char backends[64];
        snprintf(backends, sizeof backends, "/local/domain/0/backend/%s/%u", backend_kinds[i],
                 domid);
        rc = each_child(x, backends, close_backend, &t, e);
    }
    if (!rc)
        rc = nodes_write(&t, x->xs, domid, e);
    nodes_dispose(&t);
    return rc;
}

struct node_removal {
    struct nodes tree;
    uint32_t domid;
};

static void remove_backend(const char *path, const char *kind, void *data)
{
    struct node_removal *r = data;
    nodes_remove(&r->tree, "%s/%s/%u", path, kind, r->domid);
    nodes_remove(&r->tree, "/local/domain/0/error/backend/%s/%u", kind, r->domid);
}

int domain_remove_nodes(struct xen *x, uint32_t domid, const char *uuid, struct error *e)
{
    struct node_removal r = {.domid = domid};
    nodes_init(&r.tree);
    /* Every kind, not only ours: xl may have attached more. */
    int rc = each_child(x, "/local/domain/0/backend", remove_backend, &r, e);
    if (uuid)
        nodes_remove(&r.tree, "/vm/%s", uuid);
    nodes_remove(&r.tree, "/local/domain/%u", domid);
    nodes_remove(&r.tree, "/libxl/%u", domid);
    if (!rc)
        rc = nodes_write(&r.tree, x->xs, domid, e);
    nodes_dispose(&r.tree);
    return rc;
}
