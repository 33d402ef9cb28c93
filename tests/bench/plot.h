/*
 * The figures of a run as a picture (SVG): for each state that was allocated, `xl restore` and
 * both engines, to unpaused and to the guest's first sign of life, on a logarithmic axis; and what
 * the size of the delta costs, beside a memcpy of the same pages. The same samples give the same
 * bytes.
 */
#ifndef TESTS_BENCH_PLOT_H
#define TESTS_BENCH_PLOT_H

#include "tests/bench/series.h"

/* 0, -ENOMEM, or -EIO when out does not take it. */
int plot_svg(const struct samples *s, FILE *out);

#endif
