/* Reports: see report.h. */
#include "tests/bench/report.h"

#include "base/text.h"
#include "tests/bench/points.h"
#include "tests/bench/targets.h"

#include <stdlib.h>
#include <string.h>

#define POINT_TEXT 96

/* ---- allocations ---- */

static void print_figures(const struct series *s, FILE *out)
{
    if (s)
        fprintf(out, " %9.1f / %-9.1f", series_median(s), series_p95(s));
    else
        fprintf(out, " %9s / %-9s", "-", "-");
}

static void print_ratio(const struct series *over, const struct series *under, FILE *out)
{
    if (over && under && series_median(under) > 0)
        fprintf(out, " %7.1fx", series_median(over) / series_median(under));
    else
        fprintf(out, " %8s", "-");
}

static void print_point(const struct samples *s, const struct point *p, const char *metric,
                        FILE *out)
{
    const struct series *xl = point_series(s, "allocate", "xl", p, metric);
    const struct series *guest = point_series(s, "allocate", "guest", p, metric);
    const struct series *direct = point_series(s, "allocate", "direct", p, metric);
    char text[POINT_TEXT];
    if (!xl && !guest && !direct)
        return;
    point_format(p, text, sizeof text);
    fprintf(out, "%-34s", text);
    print_figures(xl, out);
    print_figures(guest, out);
    print_figures(direct, out);
    print_ratio(xl, guest, out);
    print_ratio(xl, direct, out);
    fprintf(out, "\n");
}

static void print_allocations(const struct samples *s, const struct points *points,
                              const char *metric, const char *title, FILE *out)
{
    fprintf(out, "\n%-34s %21s %21s %21s %8s %8s\n", title, "xl restore      ", "engine guest    ",
            "engine direct   ", "guest", "direct");
    for (size_t i = 0; i < points->n; i++)
        print_point(s, &points->at[i], metric, out);
}

/* ---- stages ---- */

static bool is_stage(const struct series_key *key)
{
    return !strncmp(key->metric, "stage ", strlen("stage "));
}

static bool is_reference(const struct series_key *key)
{
    return !strcmp(key->row, "allocate") && !strcmp(key->who, "direct") &&
           !strcmp(key->guest, "pv") && key->mib == 400 && key->vcpus == 1 && key->delta == 1024;
}

static void print_stages(const struct samples *s, FILE *out)
{
    bool any = false;
    for (size_t i = 0; i < s->n; i++) {
        const struct series *at = &s->series[i];
        if (!is_stage(&at->key) || !is_reference(&at->key))
            continue;
        if (!any)
            fprintf(out, "\nstages of engine direct, PV 400 MB, 1 vCPU, 1024 pages, ms\n");
        any = true;
        fprintf(out, "  %-16s %8.2f / %.2f\n", at->key.metric + strlen("stage "), series_median(at),
                series_p95(at));
    }
}

/* ---- everything else ---- */

static bool is_elsewhere(const struct series_key *key)
{
    return !strcmp(key->row, "allocate") || is_stage(key) || !strcmp(key->metric, "hypercalls");
}

static void print_series(const struct series *s, FILE *out)
{
    char text[POINT_TEXT];
    struct point p = {.mib = s->key.mib, .vcpus = s->key.vcpus, .delta = s->key.delta};
    memcpy(p.guest, s->key.guest, sizeof p.guest);
    point_format(&p, text, sizeof text);
    fprintf(out, "%-10s %-22s %-34s %-10s %4zu %11.3f %11.3f %11.3f %11.3f\n", s->key.row,
            s->key.who, text, s->key.metric, s->n, series_median(s), series_p95(s), series_min(s),
            series_max(s));
}

static void print_others(const struct samples *s, FILE *out)
{
    bool any = false;
    for (size_t i = 0; i < s->n; i++) {
        if (is_elsewhere(&s->series[i].key))
            continue;
        if (!any)
            fprintf(out, "\n%-10s %-22s %-34s %-10s %4s %11s %11s %11s %11s\n", "row", "what",
                    "state", "ms, or so", "n", "median", "p95", "min", "max");
        any = true;
        print_series(&s->series[i], out);
    }
}

static void print_failures(const struct samples *s, FILE *out)
{
    size_t i;
    json_t *line;
    json_array_foreach (s->failures, i, line) {
        char *text = json_dumps(line, JSON_COMPACT);
        fprintf(out, "%snot counted: %s\n", i ? "" : "\n", text ? text : "?");
        free(text);
    }
}

static void print_target(const struct target *t, const struct samples *s, FILE *out)
{
    double value;
    enum verdict v = target_judge(t, s, &value);
    char found[32] = "-";
    if (v != VERDICT_NOT_MEASURED)
        format_fits(found, sizeof found, "%.2f", value);
    fprintf(out, "%-72s %8s  %s %-6g target: %s\n", t->name, found,
            t->at_least ? "at least" : "at most ", t->limit, verdict_name(v));
}

int report_text(const struct samples *s, FILE *out)
{
    struct points points;
    int rc = points_of(s, "allocate", &points);
    if (!rc && points.n) {
        fprintf(out, "\nmedian / p95 in ms, and how many times sooner than xl restore\n");
        print_allocations(s, &points, "unpaused", "to unpaused", out);
        print_allocations(s, &points, "replied", "to the reply", out);
        print_allocations(s, &points, "life", "to the guest's first sign of life", out);
        print_stages(s, out);
    }
    points_dispose(&points);
    print_others(s, out);
    print_failures(s, out);
    fprintf(out, "\ntargets (the reference is PV, 400 MB, 4 disks, 1 vCPU)\n");
    for (size_t i = 0; i < n_targets; i++)
        print_target(&targets[i], s, out);
    return rc;
}

/* ---- JSON ---- */

static json_t *series_json(const struct series *s)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "row", s->key.row,
                               "who", s->key.who, "guest", s->key.guest, "metric", s->key.metric,
                               "n", (json_int_t)s->n, "median", series_median(s), "p95",
                               series_p95(s), "min", series_min(s), "max", series_max(s));
    if (object && s->key.mib >= 0)
        json_object_set_new(object, "mib", json_integer(s->key.mib));
    if (object && s->key.vcpus >= 0)
        json_object_set_new(object, "vcpus", json_integer(s->key.vcpus));
    if (object && s->key.delta >= 0)
        json_object_set_new(object, "delta", json_integer(s->key.delta));
    return object;
}

static json_t *target_json(const struct target *t, const struct samples *s)
{
    double value;
    enum verdict v = target_judge(t, s, &value);
    return json_pack("{s:s, s:o, s:s, s:f, s:s}", "name", t->name, "value",
                     v == VERDICT_NOT_MEASURED ? json_null() : json_real(value), "direction",
                     t->at_least ? "at least" : "at most", "limit", t->limit, "target",
                     verdict_name(v));
}

json_t *report_json(const struct samples *s)
{
    json_t *all_targets = json_array(), *all_series = json_array();
    for (size_t i = 0; i < n_targets; i++)
        json_array_append_new(all_targets, target_json(&targets[i], s));
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(all_series, series_json(&s->series[i]));
    return json_pack("{s:O?, s:o, s:o, s:O}", "about", s->about, "targets", all_targets, "series",
                     all_series, "failures", s->failures);
}
