/* Suspending a domain with its help: see suspend.h. Functions stand in the order in which they run.
 */
#include "restore/imaging/suspend.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "restore/xen/domain.h"
#include "restore/xen/nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/sched.h>
#include <xenguest.h>

/* As libxl: the guest freezes its tasks and devices meanwhile. */
#define SUSPEND_AFTER_ACK_MS 60000u

/* Watches report every step. The poll is for the stop flag, and for a watch that never fires. */
#define POLL_MS 100

/* A Linux guest that is still waking up from its own restore ignores the request for good
 * (drivers/xen/manage.c, shutdown_handler). Writing it once more makes the guest look again. */
#define REPEAT_MS 2000u

#define TRANSACTION_TRIES 100

struct suspension {
    struct xen *xen;
    const struct suspend_options *o;
    char path[64]; /* control/shutdown */
    uint64_t deadline_us, repeat_us;
    bool acknowledged, suspended;
};

static unsigned shutdown_reason(const xc_domaininfo_t *info)
{
    return (info->flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
}

bool suspend_is_suspended(const xc_domaininfo_t *info)
{
    return info->flags & XEN_DOMINF_shutdown && shutdown_reason(info) == SHUTDOWN_suspend;
}

/* ---- the request ---- */

enum swap { SWAP_DONE, SWAP_OTHER, SWAP_AGAIN };

/* Changes the node's value from one text to another, in one transaction. SWAP_OTHER: it had
 * neither, or was not there. SWAP_AGAIN: somebody wrote it meanwhile. Negative: an error of
 * xenstore's. */
static int node_swap_try(struct xs_handle *xs, const char *path, const char *from, const char *to)
{
    xs_transaction_t t = xs_transaction_start(xs);
    if (t == XBT_NULL)
        return -errno;
    unsigned len;
    errno = 0;
    char *value = xs_read(xs, t, path, &len);
    int failed = value || errno == ENOENT ? 0 : -errno;
    bool same = value && !strcmp(value, from);
    free(value);
    if (same && !xs_write(xs, t, path, to, (unsigned)strlen(to)))
        failed = -errno;
    if (!xs_transaction_end(xs, t, failed || !same))
        return errno == EAGAIN ? SWAP_AGAIN : -errno;
    return failed ? failed : same ? SWAP_DONE : SWAP_OTHER;
}

static int node_swap(struct xs_handle *xs, const char *path, const char *from, const char *to)
{
    int rc = SWAP_AGAIN;
    for (int i = 0; i < TRANSACTION_TRIES && rc == SWAP_AGAIN; i++)
        rc = node_swap_try(xs, path, from, to);
    return rc == SWAP_AGAIN ? -EAGAIN : rc;
}

static int request_put(struct suspension *s, struct error *e)
{
    int rc = node_swap(s->xen->xs, s->path, "", "suspend");
    if (rc < 0)
        return error_errno(e, -rc, "ask domain %u to suspend (%s)", s->o->domid, s->path);
    if (rc != SWAP_OTHER)
        return 0;
    char *pending = node_get(s->xen->xs, "%s", s->path);
    if (pending)
        error_set(
            e, ANSWER_DOMAIN_STATE,
            "domain %u cannot be asked to suspend: it has yet to answer the request \"%.32s\"",
            s->o->domid, pending);
    else
        error_set(e, ANSWER_DOMAIN_STATE, "domain %u cannot be asked to suspend: it has no %s",
                  s->o->domid, s->path);
    free(pending);
    return ANSWER_DOMAIN_STATE;
}

static uint64_t in_ms(unsigned ms)
{
    return clock_mono_us() + (uint64_t)ms * 1000;
}

/* A request that the guest has answered meanwhile is left alone. */
static int request_repeat(struct suspension *s, struct error *e)
{
    if (clock_mono_us() < s->repeat_us)
        return 0;
    s->repeat_us = in_ms(REPEAT_MS);
    int rc = node_swap(s->xen->xs, s->path, "suspend", "suspend");
    return rc < 0 ? error_errno(e, -rc, "ask domain %u to suspend again (%s)", s->o->domid, s->path)
                  : 0;
}

/* Sets acknowledged when the guest was faster. */
static int request_take_back(struct suspension *s, struct error *e)
{
    int rc = node_swap(s->xen->xs, s->path, "suspend", "");
    if (rc < 0)
        return error_errno(e, -rc, "domain %u: take the request to suspend back (%s)", s->o->domid,
                           s->path);
    s->acknowledged = rc == SWAP_OTHER;
    return 0;
}

/* ---- waiting ---- */

static const char *reason_text(unsigned reason)
{
    static const char *const texts[] = {
        [SHUTDOWN_poweroff] = "powered off",
        [SHUTDOWN_reboot] = "rebooted",
        [SHUTDOWN_suspend] = "suspended",
        [SHUTDOWN_crash] = "crashed",
        [SHUTDOWN_watchdog] = "was shut down by its watchdog",
        [SHUTDOWN_soft_reset] = "asked for a soft reset",
    };
    return reason < ARRAY_SIZE(texts) ? texts[reason] : "shut down for an unknown reason";
}

static int domain_look(struct suspension *s, struct error *e)
{
    xc_domaininfo_t info;
    int rc = domain_find(s->xen, s->o->domid, s->o->uuid, &info, e);
    if (rc)
        return rc;
    if (info.flags & XEN_DOMINF_dying)
        return error_set(e, ANSWER_NO_SUCH_DOMAIN, "domain %u is being destroyed", s->o->domid);
    s->suspended = suspend_is_suspended(&info);
    if (info.flags & XEN_DOMINF_shutdown && !s->suspended)
        return error_set(e, ANSWER_DOMAIN_STATE, "domain %u %s instead of suspending", s->o->domid,
                         reason_text(shutdown_reason(&info)));
    return 0;
}

static int request_look(struct suspension *s, struct error *e)
{
    char *value = node_get(s->xen->xs, "%s", s->path);
    if (!value && errno != ENOENT)
        return error_errno(e, errno, "read xenstore node %s", s->path);
    s->acknowledged = !value || strcmp(value, "suspend") != 0; /* libxl's rule: any other value */
    free(value);
    return 0;
}

static int unanswered(struct suspension *s, struct error *e)
{
    bool stopped = s->o->stop && atomic_load(s->o->stop);
    if (!stopped && clock_mono_us() < s->deadline_us)
        return request_repeat(s, e);
    int rc = request_take_back(s, e);
    if (rc || s->acknowledged)
        return rc;
    if (stopped)
        return error_set(e, -ECANCELED, "stopped before domain %u answered", s->o->domid);
    return error_set(e, ANSWER_TIMED_OUT,
                     "domain %u did not answer the request to suspend within %u ms; it goes on "
                     "running (is its kernel up, with Xen's drivers?)",
                     s->o->domid, s->o->timeout_ms);
}

static int answer_check(struct suspension *s, struct error *e)
{
    if (s->acknowledged)
        return clock_mono_us() < s->deadline_us
                   ? 0
                   : error_set(e, ANSWER_TIMED_OUT,
                               "domain %u acknowledged the request to suspend but did not "
                               "suspend within %u ms; its kernel's log may say why",
                               s->o->domid, SUSPEND_AFTER_ACK_MS);
    int rc = request_look(s, e);
    if (!rc && !s->acknowledged)
        rc = unanswered(s, e);
    if (!rc && s->acknowledged) {
        log_debug("domain %u acknowledged the request to suspend", s->o->domid);
        s->deadline_us = in_ms(SUSPEND_AFTER_ACK_MS);
    }
    return rc;
}

static int event_wait(struct suspension *s, struct error *e)
{
    struct pollfd p = {.fd = xs_fileno(s->xen->xs), .events = POLLIN};
    if (poll(&p, 1, POLL_MS) < 0 && errno != EINTR)
        return error_errno(e, errno, "wait for xenstore");
    char **event;
    errno = EAGAIN;
    while ((event = xs_check_watch(s->xen->xs)))
        free(event);
    return errno == EAGAIN ? 0 : error_set(e, -EPIPE, "xenstored has closed the connection");
}

static int suspension_wait(struct suspension *s, struct error *e)
{
    int rc = domain_look(s, e);
    while (!rc && !s->suspended) {
        rc = answer_check(s, e);
        if (!rc)
            rc = event_wait(s, e);
        if (!rc)
            rc = domain_look(s, e);
    }
    return rc;
}

/* ---- the whole ---- */

static int suspension_run(struct suspension *s, struct error *e)
{
    int rc = request_put(s, e);
    if (rc)
        return rc;
    log_debug("domain %u is asked to suspend", s->o->domid);
    s->deadline_us = in_ms(s->o->timeout_ms);
    s->repeat_us = in_ms(REPEAT_MS);
    rc = suspension_wait(s, e);
    /* A guest that suspended by itself, or died, has not acknowledged the request. */
    struct error ignored;
    if (!s->acknowledged && request_take_back(s, &ignored))
        log_warning("%s", ignored.text);
    return rc;
}

int suspend_domain(struct xen *x, const struct suspend_options *o, struct error *e)
{
    struct suspension s = {.xen = x, .o = o};
    snprintf(s.path, sizeof s.path, "/local/domain/%u/control/shutdown", o->domid);
    int rc;
    if (!xs_watch(x->xs, "@releaseDomain", "release") || !xs_watch(x->xs, s.path, "request"))
        rc = error_errno(e, errno, "watch domain %u in xenstore", o->domid);
    else
        rc = suspension_run(&s, e);
    xs_unwatch(x->xs, "@releaseDomain", "release");
    xs_unwatch(x->xs, s.path, "request");
    return rc;
}

static int resume(struct xen *x, uint32_t domid, struct error *e)
{
    if (xc_domain_resume(x->xch, domid, 1))
        return xen_error(x, e, "domain %u stands still: let it go on", domid);
    if (!xs_resume_domain(x->xs, domid))
        return error_errno(e, errno, "domain %u: tell xenstored that it goes on", domid);
    return 0;
}

int suspend_undo(struct xen *x, uint32_t domid, const struct uuid *uuid, enum suspend_undone *what,
                 struct error *e)
{
    struct suspend_options o = {.domid = domid, .uuid = uuid};
    struct suspension s = {.xen = x, .o = &o};
    enum suspend_undone ignored;
    snprintf(s.path, sizeof s.path, "/local/domain/%u/control/shutdown", domid);
    if (!what)
        what = &ignored;
    *what = UNDONE_NOTHING;
    xc_domaininfo_t info;
    int rc = domain_find(x, domid, uuid, &info, e);
    if (!rc)
        rc = request_take_back(&s, e);
    if (!rc && !s.acknowledged)
        *what = UNDONE_REQUEST;
    if (!rc) /* again: it may have suspended just before */
        rc = domain_find(x, domid, uuid, &info, e);
    if (rc || !suspend_is_suspended(&info))
        return rc;
    rc = resume(x, domid, e);
    if (!rc)
        *what = UNDONE_SUSPENSION;
    return rc;
}
