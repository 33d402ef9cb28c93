/*
 * The stages of a build or a completion: name, time, hypercalls. Cheap enough
 * to be always on: two clock reads and one counter a stage, no allocation.
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
};

struct trace {
    struct trace_stage stages[TRACE_STAGES_MAX];
    size_t n;
    uint64_t start_us, mark_us, mark_hypercalls;
};

/* Forgets the stages and starts the clock. */
void trace_start(struct trace *t);
/* Ends the stage that has been running since the last call: everything since then is `name`. */
void trace_stage_end(struct trace *t, const char *name);
uint64_t trace_total_us(const struct trace *t);
/* [{"name","us","hypercalls"}]; new reference, NULL when out of memory. */
json_t *trace_to_json(const struct trace *t);

#endif
