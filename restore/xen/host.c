/* The host's handles, its domains, its memory, and waiting for news of it: see host.h. */
#include "restore/xen/host_private.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "restore/xen/nodes.h"
#include "restore/xen/snapshot.h"
#include "restore/xen/xen_versions.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xen/sched.h>

int host_open(struct host **out, struct error *e)
{
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(e, -ENOMEM, "out of memory for the host's handles");
    h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = h->wake < 0 ? error_errno(e, errno, "make an event descriptor") : xen_open(&h->xen, e);
    if (!rc)
        rc = xen_check_version(h->xen.xch, e);
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
    char *text = node_get(h->xen.xs, "%s", path);
    if (!text && errno != ENOENT)
        return error_errno(e, errno, "read xenstore node %s", path);
    snprintf(out, size, "%s", text ? text : "");
    free(text);
    return 0;
}

/* One more question to xenstored, for those that may be slots in waiting. */
static int read_asked(struct host *h, struct host_domain *d, struct error *e)
{
    char path[64], text[2];
    if (!d->tag[0] || !d->paused)
        return 0;
    snprintf(path, sizeof path, "/local/domain/%u/control/shutdown", d->domid);
    int rc = read_text(h, path, text, sizeof text, e);
    d->asked = !rc && text[0];
    return rc;
}

static int describe(struct host *h, const xc_domaininfo_t *info, struct host_domain *out,
                    struct error *e)
{
    *out = (struct host_domain){.domid = info->domain};
    memcpy(&out->uuid, info->handle, sizeof out->uuid);
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
    if (!rc)
        rc = read_text(h, path, out->tag, sizeof out->tag, e);
    return rc ? rc : read_asked(h, out, e);
}

int host_next_batch(struct host *h, uint32_t *first, xc_domaininfo_t batch[HOST_BATCH], int *got,
                    struct error *e)
{
    *got = xc_domain_getinfolist(h->xen.xch, *first, HOST_BATCH, batch);
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
    xc_domaininfo_t batch[HOST_BATCH];
    uint32_t first = 1;
    int got, rc = host_next_batch(h, &first, batch, &got, e);
    while (!rc && got) {
        rc = list_grow(h, batch, (size_t)got, &list, &used, e);
        if (!rc)
            rc = host_next_batch(h, &first, batch, &got, e);
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

/* ---- disks ---- */

int host_disk(const char *dir, struct host_disk *out, struct error *e)
{
    struct statvfs st;
    *out = (struct host_disk){0};
    if (statvfs(dir, &st))
        return error_errno(e, errno, "ask for the free space of %s", dir);
    out->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    out->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

int host_layers(struct host *h, const char *tag, struct host_layer **out, size_t *n,
                struct error *e)
{
    struct snapshot_failed *failed;
    size_t n_failed;
    (void)h;
    *out = NULL;
    *n = 0;
    int rc = snapshot_list_failed(tag, &failed, &n_failed, e);
    struct host_layer *list = rc ? NULL : calloc(n_failed + 1, sizeof *list);
    if (!rc && !list)
        rc = error_set(e, -ENOMEM, "out of memory for %zu failed disks", n_failed);
    for (size_t i = 0; i < n_failed && !rc; i++) {
        struct host_layer *layer = &list[*n];
        if (uuid_parse(failed[i].uuid, &layer->uuid))
            continue;
        memcpy(layer->vdev, failed[i].vdev, sizeof layer->vdev);
        memcpy(layer->state, failed[i].state, sizeof layer->state);
        ++*n;
    }
    free(failed);
    *out = list;
    return rc;
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
