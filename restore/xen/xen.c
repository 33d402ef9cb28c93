/* Xen's handles: see xen.h. */
#include "restore/xen/xen.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xentoollog.h>

/*
 * libxenguest reports the reason first and its consequences after ("Failed to pin", "Restore
 * failed"). So the first complaint is kept. The restore thread may call the logger while another
 * thread waits, hence the lock.
 */
struct xen_log {
    xentoollog_logger vtable; /* first: the libraries hold a pointer to it */
    pthread_mutex_t lock;
    char first[256];
};

static void xen_log_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval,
                            const char *context, const char *format, va_list ap)
    __attribute__((format(printf, 5, 0)));
static void xen_log_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval,
                            const char *context, const char *format, va_list ap)
{
    struct xen_log *log = (struct xen_log *)logger;
    (void)errnoval;
    char text[256];
    vsnprintf(text, sizeof text, format, ap);
    log_debug("%s: %s", context ? context : "xen", text);
    if (level < XTL_ERROR)
        return;
    pthread_mutex_lock(&log->lock);
    if (!log->first[0])
        memcpy(log->first, text, sizeof log->first);
    pthread_mutex_unlock(&log->lock);
}

static void xen_log_destroy(struct xentoollog_logger *logger)
{
    struct xen_log *log = (struct xen_log *)logger;
    pthread_mutex_destroy(&log->lock);
    free(log);
}

static struct xen_log *xen_log_new(void)
{
    struct xen_log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    log->vtable.vmessage = xen_log_message;
    log->vtable.destroy = xen_log_destroy;
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

int xen_open(struct xen *x, struct error *e)
{
    *x = (struct xen){0};
    x->log = xen_log_new();
    if (!x->log)
        return error_set(e, -ENOMEM, "out of memory for Xen's log");
    x->xch = xc_interface_open(&x->log->vtable, &x->log->vtable, 0);
    if (!x->xch) {
        error_set(e, ANSWER_XEN_UNAVAILABLE,
                  "open the hypervisor's interface (/dev/xen/privcmd): %s; is this a Xen dom0, and "
                  "are you root?",
                  strerror(errno));
        xen_close(x);
        return ANSWER_XEN_UNAVAILABLE;
    }
    x->xs = xs_open(0);
    if (!x->xs) {
        error_set(e, ANSWER_XEN_UNAVAILABLE, "connect to xenstore: %s; is xenstored running?",
                  strerror(errno));
        xen_close(x);
        return ANSWER_XEN_UNAVAILABLE;
    }
    return 0;
}

void xen_close(struct xen *x)
{
    if (x->xs)
        xs_close(x->xs);
    if (x->xch)
        xc_interface_close(x->xch);
    if (x->log)
        xen_log_destroy(&x->log->vtable);
    *x = (struct xen){0};
}

void xen_log_clear(struct xen *x)
{
    if (!x->log)
        return;
    pthread_mutex_lock(&x->log->lock);
    x->log->first[0] = '\0';
    pthread_mutex_unlock(&x->log->lock);
}

static void append_complaint(struct xen_log *log, struct error *e)
{
    pthread_mutex_lock(&log->lock);
    if (e && log->first[0]) {
        size_t used = strlen(e->text);
        snprintf(e->text + used, sizeof e->text - used, " (libxc: %s)", log->first);
    }
    log->first[0] = '\0';
    pthread_mutex_unlock(&log->lock);
}

int xen_error(struct xen *x, struct error *e, const char *fmt, ...)
{
    int errnum = errno;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_errno(e, errnum, "%s", text);
    if (x->log)
        append_complaint(x->log, e);
    return errnum ? -errnum : -EIO;
}
