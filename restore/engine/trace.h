/*
 * The stages of a build, a turn or a completion: name, time, hypercalls, pages written. Recording
 * is always on, since it is cheap: a stage costs one reading of the clock and of a counter, and no
 * allocation.
 *
 * bpftrace or SystemTap can watch the stages from outside: trace.c has the USDT probes of provider
 * `dompool`. Each is a no-op in the code while nobody watches.
 *
 *   start  operation, domid                                     a trace begins
 *   stage  operation, name, us, hypercalls, pages, domid        a stage has ended
 *
 * operation: "build", "turn" or "complete". domid: 0x7ff4 while there is no domain yet. The daemon
 * has probe `stage` as well, for the stages around a completion (pool/core/story.h).
 */
#ifndef RESTORE_TRACE_H
#define RESTORE_TRACE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_STAGES_MAX 32

struct trace_stage {
    const char *name; /* static string */
    uint64_t us, hypercalls;
    uint64_t pages; /* of the domain, 4 KiB each, written or handed to what writes them */
};

struct trace {
    const char *operation; /* static string */
    const uint32_t *domid; /* the target's */
    const char *step;      /* TRACE_STEP's last: running, or failed; static, NULL at first */
    struct trace_stage stages[TRACE_STAGES_MAX];
    size_t n;
    uint64_t start_us, mark_us, mark_hypercalls;
    uint64_t pages; /* of the stage that is running */
};

/* Forgets the stages and starts the clock. operation: see above, static. domid: borrowed, read at
 * each stage's end, so it may be set while the trace runs. */
void trace_start(struct trace *t, const char *operation, const uint32_t *domid);
/* The stage that is running has written n more pages. */
void trace_pages(struct trace *t, uint64_t n);
/* Ends the stage that has been running since the last call: everything since then is `name`. From
 * the 33rd stage on, only the probe sees them. */
void trace_stage_end(struct trace *t, const char *name);
/* One step of an operation and its stage: makes the call and, unless it returns 0, returns that
 * code from the enclosing function. */
#define TRACE_STEP(t, name, call)                                                                  \
    do {                                                                                           \
        (t)->step = (name);                                                                        \
        int step_rc = (call);                                                                      \
        if (step_rc)                                                                               \
            return step_rc;                                                                        \
        trace_stage_end((t), (name));                                                              \
    } while (0)
/* Microseconds from the start to the end of the last stage. */
uint64_t trace_total_us(const struct trace *t);
/* [{"name","us","hypercalls","pages"}]; new reference, NULL when out of memory. */
json_t *trace_to_json(const struct trace *t);

#endif
