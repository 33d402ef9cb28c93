/* Back ends: see backend.h. */
#include "restore/xen/backend.h"

#include "base/clock.h"
#include "restore/xen/nodes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

const char *const backend_kinds[] = {"vbd", "vif", NULL};

static int state_of(struct xs_handle *xs, uint32_t domid, const struct backend *b)
{
    char *text = node_get(xs, "/local/domain/0/backend/%s/%u/%u/state", b->kind, domid, b->devid);
    int state = text ? atoi(text) : XenbusStateUnknown;
    free(text);
    return state;
}

/* The first one that is not ready yet, or NULL; *failed when it gave up. */
static const struct backend *first_unready(struct xs_handle *xs, uint32_t domid,
                                           const struct backend *list, size_t n, bool *failed)
{
    for (size_t i = 0; i < n; i++) {
        int state = state_of(xs, domid, &list[i]);
        *failed = state >= XenbusStateClosing;
        if (state < XenbusStateInitWait || *failed || access(list[i].device, F_OK))
            return &list[i];
    }
    return NULL;
}

static int not_ready(struct xs_handle *xs, uint32_t domid, const struct backend *b, struct error *e)
{
    int state = state_of(xs, domid, b);
    char *said =
        node_get(xs, "/local/domain/0/error/backend/%s/%u/%u/error", b->kind, domid, b->devid);
    int rc =
        error_set(e, -ETIMEDOUT,
                  "%s: back end did not get ready for %s (state %d%s%s); is the %s module "
                  "loaded?",
                  b->name, b->what, state, said ? ", it said: " : "", said ? said : "", b->module);
    free(said);
    return rc;
}

/* Waits until something may have changed. A new state is an event; an open device is none. */
static int wait_event(struct xs_handle *xs, uint64_t deadline_us, struct error *e)
{
    uint64_t now = clock_mono_us();
    if (now >= deadline_us)
        return 1;
    struct pollfd p = {.fd = xs_fileno(xs), .events = POLLIN};
    if (poll(&p, 1, 10) < 0 && errno != EINTR)
        return error_errno(e, errno, "wait for xenstore");
    char **event;
    while ((event = xs_check_watch(xs)))
        free(event);
    /* The reason is EAGAIN, as long as somebody is there to send an event. */
    return errno == EAGAIN ? 0 : error_set(e, -EPIPE, "xenstored has closed the connection");
}

static int wait_ready(struct xs_handle *xs, uint32_t domid, const struct backend *list, size_t n,
                      uint64_t deadline_us, struct error *e)
{
    bool failed = false;
    const struct backend *unready;
    while ((unready = first_unready(xs, domid, list, n, &failed))) {
        int rc = failed ? 1 : wait_event(xs, deadline_us, e);
        if (rc)
            return rc < 0 ? rc : not_ready(xs, domid, unready, e);
    }
    return 0;
}

static bool has_kind(const struct backend *list, size_t n, const char *kind)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i].kind, kind))
            return true;
    return false;
}

static int watch_kinds(struct xs_handle *xs, uint32_t domid, const struct backend *list, size_t n,
                       struct error *e)
{
    for (size_t i = 0; backend_kinds[i]; i++) {
        char watched[64];
        if (!has_kind(list, n, backend_kinds[i]))
            continue;
        snprintf(watched, sizeof watched, "/local/domain/0/backend/%s/%u", backend_kinds[i], domid);
        if (!xs_watch(xs, watched, backend_kinds[i]))
            return error_errno(e, errno, "watch %s", watched);
    }
    return 0;
}

int backends_wait(uint32_t domid, const struct backend *list, size_t n, unsigned timeout_ms,
                  struct error *e)
{
    if (!n)
        return 0;
    /* Uses a connection of its own. A connection that has ever watched answers every later request
     * through a second thread, and the requests of an allocation must not pay for that. */
    struct xs_handle *xs = xs_open(0);
    if (!xs)
        return error_errno(e, errno, "connect to xenstored");
    int rc = watch_kinds(xs, domid, list, n, e);
    if (!rc)
        rc = wait_ready(xs, domid, list, n, clock_mono_us() + timeout_ms * 1000ull, e);
    xs_close(xs);
    return rc;
}
