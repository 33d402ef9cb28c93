/* Callers who wait for the end of a lease: see end_wait.h. */
#include "pool/core/end_wait.h"

#include "pool/core/show.h"
#include "pool/service/pending.h"

#include <errno.h>
#include <stdlib.h>

struct end_wait {
    struct list node;
    struct pending pending;
};

static struct end_wait *end_wait_at(struct list *node)
{
    return container_of(node, struct end_wait, node);
}

static struct call *end_wait_free(struct end_wait *w)
{
    struct call *call = pending_take(&w->pending);
    list_remove(&w->node);
    free(w);
    return call;
}

static void client_gone(struct pending *p)
{
    end_wait_free(container_of(p, struct end_wait, pending));
}

const struct answered *end_wait_begin(struct list *waits, struct call *call)
{
    struct end_wait *w = calloc(1, sizeof *w);
    if (!w)
        return call_refuse(call, -ENOMEM, "out of memory");
    list_append(waits, &w->node);
    return pending_begin(&w->pending, call, client_gone);
}

void end_waits_answer(struct list *waits, uint64_t lease, const char *reason)
{
    struct list *node;
    while ((node = list_pop(waits)))
        call_reply(end_wait_free(end_wait_at(node)),
                   json_pack("{s:o, s:s}", "lease", show_id('l', lease), "reason", reason));
}

void end_waits_refuse(struct list *waits, int code, const char *text)
{
    struct list *node;
    while ((node = list_pop(waits)))
        call_refuse(end_wait_free(end_wait_at(node)), code, text);
}
