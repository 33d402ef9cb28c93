/* Calls whose answer takes time: see pending.h. */
#include "pool/service/pending.h"

static void cancelled(struct call *call)
{
    struct pending *p = call->owner;
    p->call = NULL;
    if (p->gone)
        p->gone(p);
}

const struct answered *pending_begin(struct pending *p, struct call *call,
                                     void (*gone)(struct pending *p))
{
    p->call = call;
    p->gone = gone;
    return call_defer(call, cancelled, p);
}

bool pending_waits(const struct pending *p)
{
    return p->call != NULL;
}

struct call *pending_take(struct pending *p)
{
    struct call *call = p->call;
    p->call = NULL;
    return call;
}

void pending_progress(struct pending *p, json_t *parameters)
{
    if (p->call)
        call_progress(p->call, parameters);
    else
        json_decref(parameters);
}

void pending_reply(struct pending *p, json_t *parameters)
{
    struct call *call = pending_take(p);
    if (call)
        call_reply(call, parameters);
    else
        json_decref(parameters);
}

void pending_refuse(struct pending *p, int code, const char *text)
{
    pending_refuse_with(p, code, text, json_object());
}

void pending_refuse_with(struct pending *p, int code, const char *text, json_t *details)
{
    struct call *call = pending_take(p);
    if (call)
        call_refuse_with(call, code, text, details);
    else
        json_decref(details);
}
