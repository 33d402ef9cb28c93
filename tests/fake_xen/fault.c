/* Faults on demand: see fault.h. */
#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static _Thread_local int depth; /* of fakes that call each other */

static struct {
    bool planned, came;
    enum fault_kind kind;
    unsigned nth;
    int errnum;
    void (*moment)(void);
    const char *call;
    unsigned calls[FAULT_KINDS];
} plan;

const char *fault_kind_name(enum fault_kind kind)
{
    static const char *const names[] = {
        [FAULT_HYPERVISOR] = "hypervisor", [FAULT_STORE] = "xenstore", [FAULT_KERNEL] = "kernel",
        [FAULT_MEMORY] = "memory",         [FAULT_THREAD] = "thread",
    };
    return names[kind];
}

int fake_enter(void)
{
    pthread_mutex_lock(&lock);
    return ++depth;
}

void fake_leave(int *entered)
{
    (void)entered;
    depth--;
    pthread_mutex_unlock(&lock);
}

static void plan_set(enum fault_kind kind, unsigned nth, int errnum, void (*moment)(void))
{
    FAKE_CALL();
    memset(&plan, 0, sizeof plan);
    plan.planned = true;
    plan.kind = kind;
    plan.nth = nth;
    plan.errnum = errnum;
    plan.moment = moment;
    plan.call = "";
}

void fault_plan(enum fault_kind kind, unsigned nth, int errnum)
{
    plan_set(kind, nth, errnum, NULL);
}

void fault_moment(enum fault_kind kind, unsigned nth, void (*moment)(void))
{
    plan_set(kind, nth, 0, moment);
}

bool fault_end(void)
{
    FAKE_CALL();
    plan.planned = false;
    return plan.came;
}

const char *fault_call(void)
{
    return plan.call ? plan.call : "";
}

unsigned fault_calls(enum fault_kind kind)
{
    return plan.calls[kind];
}

static bool call_counts(enum fault_kind kind)
{
    bool own = depth > (kind == FAULT_MEMORY ? 1 : 2); /* with this function's own FAKE_CALL */
    return !own && plan.calls[kind]++ == plan.nth && plan.planned && plan.kind == kind;
}

bool fault_hits(enum fault_kind kind, const char *call)
{
    int saved = errno;
    FAKE_CALL();
    if (!call_counts(kind)) {
        errno = saved;
        return false;
    }
    plan.came = true;
    plan.call = call;
    if (plan.moment)
        plan.moment();
    errno = plan.moment ? saved : plan.errnum;
    return !plan.moment;
}

void *fake_checked(void *p)
{
    if (!p)
        abort();
    return p;
}

char *fake_format(const char *fmt, ...)
{
    FAKE_CALL();
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    return text;
}
