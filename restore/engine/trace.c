/* Stages: see trace.h. */
#include "restore/engine/trace.h"

#include "base/clock.h"
#include "restore/xen/xen.h"

#include <sys/sdt.h>

static uint64_t hypercalls_now(void)
{
    return xen_hypercalls ? xen_hypercalls() : 0;
}

void trace_start(struct trace *t, const char *operation, const uint32_t *domid)
{
    t->operation = operation;
    t->domid = domid;
    t->step = NULL;
    t->n = 0;
    t->pages = 0;
    t->start_us = t->mark_us = clock_mono_us();
    t->mark_hypercalls = hypercalls_now();
    DTRACE_PROBE2(dompool, start, operation, *domid);
}

void trace_pages(struct trace *t, uint64_t n)
{
    t->pages += n;
}

void trace_stage_end(struct trace *t, const char *name)
{
    uint64_t now = clock_mono_us(), calls = hypercalls_now();
    const struct trace_stage s = {name, now - t->mark_us, calls - t->mark_hypercalls, t->pages};
    if (t->n < TRACE_STAGES_MAX)
        t->stages[t->n++] = s;
    t->mark_us = now;
    t->mark_hypercalls = calls;
    t->pages = 0;
    DTRACE_PROBE6(dompool, stage, t->operation, s.name, s.us, s.hypercalls, s.pages, *t->domid);
}

uint64_t trace_total_us(const struct trace *t)
{
    return t->mark_us - t->start_us;
}

json_t *trace_to_json(const struct trace *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n; i++) {
        const struct trace_stage *s = &t->stages[i];
        json_t *stage =
            json_pack("{s:s, s:I, s:I, s:I}", "name", s->name, "us", (json_int_t)s->us,
                      "hypercalls", (json_int_t)s->hypercalls, "pages", (json_int_t)s->pages);
        if (json_array_append_new(list, stage)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
