/*
 * The targets that a run is held against. A bench reports: a target that is missed is a line in
 * its report, never a failure.
 */
#ifndef TESTS_BENCH_TARGETS_H
#define TESTS_BENCH_TARGETS_H

#include "tests/bench/series.h"

enum target_figure { TARGET_MEDIAN, TARGET_P95, TARGET_SLOPE };

struct target {
    const char *name;
    enum target_figure figure;
    struct series_key over;
    struct series_key under; /* row "": the figure of `over` itself, no ratio */
    bool at_least;           /* else: at most */
    double limit;
};

enum verdict { VERDICT_MET, VERDICT_MISSED, VERDICT_NOT_MEASURED };

extern const struct target targets[];
extern const size_t n_targets;

/* *value is set unless the answer is VERDICT_NOT_MEASURED. */
enum verdict target_judge(const struct target *t, const struct samples *s, double *value);
/* "met", "missed", "not measured" */
const char *verdict_name(enum verdict v);

#endif
