/* What a run has shown, for people and for programs. */
#ifndef TESTS_BENCH_REPORT_H
#define TESTS_BENCH_REPORT_H

#include "tests/bench/series.h"

/* Tables: allocations against `xl restore`, where an allocation's time goes, everything else that
 * was measured, failures, targets. */
int report_text(const struct samples *s, FILE *out);
/* {"about", "targets", "series", "failures"}, see docs/bench/README.md; new reference or NULL. */
json_t *report_json(const struct samples *s);

#endif
