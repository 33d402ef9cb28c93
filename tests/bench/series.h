/*
 * What a run of the bench has measured: samples, read from the lines that came out of dom0, in
 * series of one kind, and the figures of a series.
 *
 * A line is a JSON object:
 *
 *   {"about": {...}}     the run: passed on into the summary as it is; the last one counts
 *   {"row": "allocate", "who": "direct", "guest": "pv", "mib": 400, "vcpus": 1, "delta": 1024, ...}
 *       a sample. Further members say what was measured; each may be missing:
 *         "ms": {METRIC: number, ...}, "counts": {METRIC: number, ...}   as they are
 *         "lease": what `dompool allocate --json` printed: metrics "replied" (total_us),
 *             "unpaused" (without the stages "return" and "commit", which come after it),
 *             "hypercalls" (of all stages but the one that copies pages), "stage NAME"
 *         "sign": what lifesign printed: metrics "exit" and "life"; who "xl" (or what begins
 *             so) is unpaused when it exits
 *         "failed": text; nothing was measured
 *
 * A lease that was not served by a warm slot is counted as a failure: it measures a build.
 * Microseconds become milliseconds.
 */
#ifndef TESTS_BENCH_SERIES_H
#define TESTS_BENCH_SERIES_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SERIES_TEXT 48

/* What makes two samples comparable. Compared with strcmp: no NULL. */
struct series_key {
    char row[SERIES_TEXT];    /* of the bench */
    char who[SERIES_TEXT];    /* xl, direct, guest, ... */
    char guest[SERIES_TEXT];  /* pv, pvh, or "" */
    int mib, vcpus, delta;    /* -1: does not matter */
    char metric[SERIES_TEXT]; /* unpaused, life, ... */
};

struct series {
    struct series_key key;
    double *values; /* sorted by samples_load */
    size_t n, room;
};

struct samples {
    struct series *series; /* in the order of their first samples */
    size_t n, room;
    json_t *about;    /* object or NULL */
    json_t *failures; /* array of the lines, objects */
};

void samples_init(struct samples *s);
void samples_dispose(struct samples *s);
/* Adds all lines of a file. -EPROTO with the line's number when one is not as described above,
 * -EIO, -ENOMEM. */
int samples_load(struct samples *s, FILE *f, const char *name, struct error *e);
/* NULL when nothing was measured. */
const struct series *samples_find(const struct samples *s, const struct series_key *key);

/* Figures of a series with at least one value. */
double series_median(const struct series *s);
/* The smallest value that 95 of 100 do not exceed (nearest rank): of less than 20, the largest. */
double series_p95(const struct series *s);
double series_min(const struct series *s);
double series_max(const struct series *s);

/*
 * Cost of one more page: the slope of the line that fits the medians of the series that are like
 * key in all but delta (least squares). No delta is left out: it spares more than its pages.
 * false when there are less than two sizes.
 */
bool samples_slope(const struct samples *s, const struct series_key *key, double *slope);

#endif
