/* What a run of the bench says of its samples: figures, targets, and that the picture is one. */
#include "tests/unit/check.h"

#include "base/array.h"
#include "tests/bench/plot.h"
#include "tests/bench/points.h"
#include "tests/bench/report.h"
#include "tests/bench/targets.h"

#include <errno.h>

/* ---- steps ---- */

static int load(struct samples *s, const char *lines, struct error *e)
{
    FILE *f = fmemopen((void *)(uintptr_t)lines, strlen(lines), "r");
    assert_non_null(f);
    int rc = samples_load(s, f, "samples", e);
    fclose(f);
    return rc;
}

static void load_all(struct samples *s, const char *lines)
{
    struct error e = {0};
    samples_init(s);
    if (load(s, lines, &e))
        fail_msg("%s", e.text);
}

/* All that a writer writes; free. */
static char *text_of(int (*write)(const struct samples *s, FILE *out), const struct samples *s)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    assert_int_equal(write(s, f), 0);
    fclose(f);
    return text;
}

static const struct series *series(const struct samples *s, const char *row, const char *who,
                                   int delta, const char *metric)
{
    struct point p = {"pv", 400, 1, delta};
    return point_series(s, row, who, &p, metric);
}

static double median(const struct samples *s, const char *row, const char *who, int delta,
                     const char *metric)
{
    const struct series *found = series(s, row, who, delta, metric);
    if (!found)
        fail_msg("no %s of %s, %s, %d pages", metric, row, who, delta);
    return series_median(found);
}

#define STATE(row, who, delta)                                                                     \
    "{\"row\": \"" row "\", \"who\": \"" who "\", \"guest\": \"pv\", \"mib\": 400, \"vcpus\": 1, " \
    "\"delta\": " #delta ", "
#define TIMED(row, who, delta, metric, ms)                                                         \
    STATE(row, who, delta) "\"ms\": {\"" metric "\": " #ms "}}\n"
#define LEASED(row, who, delta, us, from)                                                          \
    STATE(row, who, delta)                                                                         \
    "\"lease\": {\"total_us\": " #us ", \"from\": \"" from "\", \"stages\": ["                     \
    "{\"name\": \"pick\", \"us\": 10, \"hypercalls\": 2}, "                                        \
    "{\"name\": \"delta\", \"us\": 7000, \"hypercalls\": 4}, "                                     \
    "{\"name\": \"vcpus\", \"us\": 4000, \"hypercalls\": 3}]}}\n"
#define RESTORED(delta, exit_ms)                                                                   \
    STATE("allocate", "xl", delta)                                                                 \
    "\"sign\": {\"exit_ms\": " #exit_ms ", \"life_ms\": 4000.5}}\n"

/* ---- cases ---- */

static void figures(void **state)
{
    (void)state;
    struct samples s;
    load_all(&s, TIMED("release", "xl", 0, "gone", 3) TIMED("release", "xl", 0, "gone", 1)
                     TIMED("release", "xl", 0, "gone", 2) TIMED("release", "direct", 0, "gone", 5)
                         TIMED("release", "direct", 0, "gone", 6));
    const struct series *xl = series(&s, "release", "xl", 0, "gone");
    assert_int_equal(xl->n, 3);
    assert_float_equal(series_median(xl), 2, 1e-6);
    assert_float_equal(series_min(xl), 1, 1e-6);
    assert_float_equal(series_max(xl), 3, 1e-6);
    assert_float_equal(series_p95(xl), 3, 1e-6);
    assert_float_equal(median(&s, "release", "direct", 0, "gone"), 5.5, 1e-6);
    assert_null(series(&s, "release", "xl", 1, "gone"));
    samples_dispose(&s);
}

/* Nearest rank: of 20 the 19th, of 21 the 20th, of 19 the last. */
static void percentile(void **state)
{
    (void)state;
    double values[40];
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        values[i] = (double)i + 1;
    static const struct {
        size_t n;
        double p95;
    } cases[] = {{1, 1}, {2, 2}, {19, 19}, {20, 19}, {21, 20}, {40, 38}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct series s = {.values = values, .n = cases[i].n};
        assert_float_equal(series_p95(&s), cases[i].p95, 1e-6);
    }
}

static void leases_and_signs(void **state)
{
    (void)state;
    struct samples s;
    load_all(&s,
             "{\"about\": {\"rounds\": 5}}\n" LEASED("allocate", "direct", 1024, 25500, "warm")
                 LEASED("allocate", "direct", 1024, 9, "cold") RESTORED(1024, 3000)
                     STATE("allocate", "guest", 0) "\"failed\": \"why\"}\n" STATE(
                         "allocate", "direct",
                         256) "\"lease\": {\"total_us\": 20000, \"from\": \"warm\", \"stages\": "
                              "[{\"name\": \"unpause\", \"us\": 500}, "
                              "{\"name\": \"later\", \"us\": 700}, "
                              "{\"name\": \"return\", \"us\": 300}, "
                              "{\"name\": \"commit\", \"us\": 3000}]}}\n");
    assert_float_equal(median(&s, "allocate", "direct", 1024, "unpaused"), 25.5, 1e-6);
    assert_float_equal(median(&s, "allocate", "direct", 1024, "hypercalls"), 9, 1e-6);
    assert_float_equal(median(&s, "allocate", "direct", 1024, "stage vcpus"), 4, 1e-6);
    assert_float_equal(median(&s, "allocate", "xl", 1024, "unpaused"), 3000, 1e-6);
    assert_float_equal(median(&s, "allocate", "xl", 1024, "life"), 4000.5, 1e-6);
    assert_int_equal(series(&s, "allocate", "direct", 1024, "unpaused")->n, 1);
    assert_float_equal(median(&s, "allocate", "direct", 256, "unpaused"), 16, 1e-6);
    assert_float_equal(median(&s, "allocate", "direct", 256, "replied"), 20, 1e-6);
    assert_float_equal(median(&s, "allocate", "xl", 1024, "replied"), 3000, 1e-6);
    assert_int_equal(json_array_size(s.failures), 2);
    assert_int_equal(json_integer_value(json_object_get(s.about, "rounds")), 5);
    samples_dispose(&s);
}

static void broken_lines(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{\"row\": ", "[]", "{}", "{\"row\": 1}", "\"row\"", "{\"row\": \"a\", \"row\": \"b\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char lines[512];
        struct samples s;
        struct error e = {0};
        samples_init(&s);
        snprintf(lines, sizeof lines, "%s%s\n", RESTORED(0, 1), cases[i]);
        assert_int_equal(load(&s, lines, &e), -EPROTO);
        assert_says(e.text, "samples:2: ");
        samples_dispose(&s);
    }
}

/* 2 ms and 0.01 ms a page; what no delta costs is not on that line. */
static void cost_of_a_page(void **state)
{
    (void)state;
    const struct series_key key = {"floor", "memcpy", "pv", 400, 1, 0, "cold"};
    struct samples s;
    double slope;
    load_all(&s,
             TIMED("floor", "memcpy", 0, "cold", 50) TIMED("floor", "memcpy", 1000, "cold", 12));
    assert_false(samples_slope(&s, &key, &slope));
    samples_dispose(&s);
    load_all(&s, TIMED("floor", "memcpy", 0, "cold", 50) TIMED("floor", "memcpy", 1000, "cold", 12)
                     TIMED("floor", "memcpy", 3000, "cold", 32)
                         TIMED("floor", "memcpy", 4000, "cold", 42)
                             TIMED("floor", "memcpy", 4000, "warm", 1));
    assert_true(samples_slope(&s, &key, &slope));
    assert_float_equal(slope, 0.01, 1e-6);
    samples_dispose(&s);
}

static enum verdict judge(const struct samples *s, const char *name, double *value)
{
    for (size_t i = 0; i < n_targets; i++)
        if (!strncmp(targets[i].name, name, strlen(name)))
            return target_judge(&targets[i], s, value);
    fail_msg("no target is called %s", name);
    return VERDICT_NOT_MEASURED;
}

static void verdicts(void **state)
{
    (void)state;
    struct samples s;
    double value;
    load_all(&s, LEASED("allocate", "direct", 1024, 20000, "warm") RESTORED(1024, 2000)
                     LEASED("allocate", "direct", 0, 20000, "warm") RESTORED(0, 2999));
    assert_int_equal(judge(&s, "unpaused, 1,024 delta pages", &value), VERDICT_MET);
    assert_float_equal(value, 100, 1e-4);
    assert_int_equal(judge(&s, "unpaused, no delta", &value), VERDICT_MISSED);
    assert_float_equal(value, 149.95, 1e-4);
    assert_int_equal(judge(&s, "hypercalls", &value), VERDICT_MET);
    assert_float_equal(value, 9, 1e-6);
    assert_int_equal(judge(&s, "a slot", &value), VERDICT_NOT_MEASURED);
    assert_int_equal(judge(&s, "one more delta page", &value), VERDICT_NOT_MEASURED);
    samples_dispose(&s);
}

/* Idle allocations take 10 ms, busy ones 15. */
static enum verdict judge_busy(size_t idle, double *value)
{
    static char lines[32 * 1024];
    size_t at = 0;
    for (size_t i = 0; i < idle + 20; i++)
        at += (size_t)snprintf(lines + at, sizeof lines - at, "%s",
                               i < idle ? LEASED("busy", "idle", 1024, 10000, "warm")
                                        : LEASED("busy", "busy", 1024, 15000, "warm"));
    struct samples s;
    load_all(&s, lines);
    const enum verdict v = judge(&s, "p95", value);
    samples_dispose(&s);
    return v;
}

static void no_percentile_of_few(void **state)
{
    (void)state;
    double value;
    assert_int_equal(judge_busy(19, &value), VERDICT_NOT_MEASURED);
    assert_int_equal(judge_busy(20, &value), VERDICT_MET);
    assert_float_equal(value, 1.5, 1e-4);
}

static void reports(void **state)
{
    (void)state;
    struct samples s;
    load_all(&s, LEASED("allocate", "direct", 1024, 20000, "warm") RESTORED(1024, 3000)
                     TIMED("build", "direct", 0, "warm", 500));
    char *text = text_of(report_text, &s);
    assert_says(text, "PV 400 MB, 1 vCPU, 1024 pages");
    assert_says(text, "150.0x");
    assert_says(text, "target: met\n");
    assert_says(text, "target: not measured\n");
    assert_says(text, "build ");
    free(text);
    json_t *report = report_json(&s);
    assert_int_equal(json_array_size(json_object_get(report, "targets")), n_targets);
    assert_int_equal(json_array_size(json_object_get(report, "series")), s.n);
    json_decref(report);
    samples_dispose(&s);
}

static void pictures(void **state)
{
    (void)state;
    struct samples s;
    load_all(&s,
             LEASED("allocate", "direct", 0, 15000, "warm") RESTORED(0, 3000)
                 LEASED("allocate", "direct", 1024, 20000, "warm") RESTORED(1024, 3000)
                     TIMED("floor", "memcpy", 1024, "cold", 2) "{\"row\": \"allocate\", \"who\": "
                                                               "\"xl\", \"guest\": \"<&\", "
                                                               "\"ms\": {\"unpaused\": 1}}\n");
    char *once = text_of(plot_svg, &s), *again = text_of(plot_svg, &s);
    assert_string_equal(once, again);
    assert_says(once, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
    assert_says(once, ">PV 400 MB, 1 vCPU, 1024 pages</text>");
    assert_says(once, ">&lt;&amp;</text>");
    assert_says(once, "</svg>\n");
    assert_null(strstr(once, "nan"));
    free(once);
    free(again);
    samples_dispose(&s);
}

/* A run that was ended before its first sample. */
static void nothing_measured(void **state)
{
    (void)state;
    struct samples s;
    samples_init(&s);
    char *text = text_of(report_text, &s), *svg = text_of(plot_svg, &s);
    assert_says(text, "target: not measured");
    assert_says(svg, "</svg>\n");
    assert_null(strstr(svg, "nan"));
    free(text);
    free(svg);
    json_t *report = report_json(&s);
    assert_non_null(report);
    json_decref(report);
    samples_dispose(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures),
        cmocka_unit_test(percentile),
        cmocka_unit_test(leases_and_signs),
        cmocka_unit_test(broken_lines),
        cmocka_unit_test(cost_of_a_page),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(no_percentile_of_few),
        cmocka_unit_test(reports),
        cmocka_unit_test(pictures),
        cmocka_unit_test(nothing_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
