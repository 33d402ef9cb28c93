/* Stages: see trace.h. */
#include "restore/trace.h"

#include "base/util.h"
#include "restore/xen.h"

static uint64_t hypercalls_now(void)
{
    return xen_hypercalls ? xen_hypercalls() : 0;
}

void trace_start(struct trace *t)
{
    t->n = 0;
    t->start_us = t->mark_us = clock_mono_us();
    t->mark_hypercalls = hypercalls_now();
}

void trace_stage_end(struct trace *t, const char *name)
{
    uint64_t now = clock_mono_us(), calls = hypercalls_now();
    if (t->n < TRACE_STAGES_MAX)
        t->stages[t->n++] =
            (struct trace_stage){name, now - t->mark_us, calls - t->mark_hypercalls};
    t->mark_us = now;
    t->mark_hypercalls = calls;
}

uint64_t trace_total_us(const struct trace *t)
{
    return t->mark_us - t->start_us;
}

json_t *trace_to_json(const struct trace *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n; i++) {
        json_t *stage = json_pack("{s:s, s:I, s:I}", "name", t->stages[i].name, "us",
                                  (json_int_t)t->stages[i].us, "hypercalls",
                                  (json_int_t)t->stages[i].hypercalls);
        if (json_array_append_new(list, stage)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
