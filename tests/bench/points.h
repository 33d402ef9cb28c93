/* The states that were allocated: what a line of the report and of the plot is about. */
#ifndef TESTS_BENCH_POINTS_H
#define TESTS_BENCH_POINTS_H

#include "tests/bench/series.h"

struct point {
    char guest[SERIES_TEXT];
    int mib, vcpus, delta;
};

struct points {
    struct point *at;
    size_t n;
};

/* The states of one row of the bench, PV first, then by vCPUs, memory and delta. -ENOMEM; in any
 * case points_dispose. */
int points_of(const struct samples *s, const char *row, struct points *p);
void points_dispose(struct points *p);

/* What was measured of it; NULL: nothing. */
const struct series *point_series(const struct samples *s, const char *row, const char *who,
                                  const struct point *p, const char *metric);
/* "PV 400 MB, 1 vCPU, 1024 pages" */
void point_format(const struct point *p, char *buf, size_t size);

#endif
