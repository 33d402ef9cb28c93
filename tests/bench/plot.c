/* The picture: see plot.h. Lengths are in pixels. */
#include "tests/bench/plot.h"

#include "base/array.h"
#include "base/text.h"
#include "tests/bench/points.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define WIDTH 1000.0
#define LABELS 230.0 /* of the states, at the left */
#define GAP 30.0     /* between panels, and at the right */
#define ROW 22.0     /* of one state */
#define HEAD 70.0    /* title and legend */
#define PANEL_HEAD 24.0
#define AXIS_FOOT 34.0 /* numbers and unit */
#define DELTA_HEIGHT 260.0

struct mark {
    const char *who, *label, *colour;
};

static const struct mark marks[] = {
    {"xl", "xl restore", "#777777"},
    {"guest", "allocate, engine guest", "#2a78b8"},
    {"direct", "allocate, engine direct", "#c8371f"},
};
static const struct mark memcpy_mark = {"memcpy", "memcpy of the same pages", "#3a8f3a"};

/* A logarithmic axis: whole decades onto pixels. */
struct axis {
    int low, high; /* powers of ten */
    double from, to;
};

/* ---- axes ---- */

static void axis_include(struct axis *a, double value)
{
    if (value <= 0)
        return;
    int low = (int)floor(log10(value)), high = (int)ceil(log10(value));
    bool first = a->low > a->high;
    a->low = first || low < a->low ? low : a->low;
    a->high = first || high > a->high ? high : a->high;
    if (a->high == a->low)
        a->high++;
}

static double axis_at(const struct axis *a, double value)
{
    double share = (log10(value) - a->low) / (a->high - a->low);
    return a->from + share * (a->to - a->from);
}

static void axis_fit(struct axis *a, const struct samples *s, const char *row, const char *metric)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct series *at = &s->series[i];
        if (strcmp(at->key.row, row) != 0 || strcmp(at->key.metric, metric) != 0)
            continue;
        axis_include(a, series_min(at));
        axis_include(a, series_p95(at));
    }
}

/* ---- parts ---- */

static void put_text(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (; *text; text++) {
        if (*text == '<' || *text == '&')
            fputs(*text == '<' ? "&lt;" : "&amp;", out);
        else
            fputc(*text, out);
    }
    fputs("</text>\n", out);
}

static void put_line(FILE *out, double x1, double y1, double x2, double y2, const char *colour,
                     double width)
{
    fprintf(out,
            "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
            "stroke-width=\"%g\"/>\n",
            x1, y1, x2, y2, colour, width);
}

static void put_dot(FILE *out, double x, double y, const char *colour)
{
    fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y, colour);
}

static void put_legend(FILE *out, const struct mark *m, double x)
{
    put_dot(out, x, 44, m->colour);
    put_text(out, x + 10, 48, "start", m->label);
}

static void decade_format(int power, char *buf, size_t size)
{
    double ms = pow(10, power);
    if (power >= 3)
        format_fits(buf, size, "%g s", ms / 1000);
    else
        format_fits(buf, size, "%g ms", ms);
}

/* ---- states: a line each ---- */

static void put_columns(FILE *out, const struct axis *a, double top, double bottom)
{
    char text[32];
    for (int power = a->low; power <= a->high; power++) {
        double x = axis_at(a, pow(10, power));
        put_line(out, x, top, x, bottom, "#dddddd", 1);
        decade_format(power, text, sizeof text);
        put_text(out, x, bottom + 16, "middle", text);
    }
}

/* The median as a dot, from the smallest value to the 95th percentile as a line. */
static void put_series(FILE *out, const struct axis *a, const struct series *s, double y,
                       const char *colour)
{
    if (!s || series_min(s) <= 0)
        return;
    put_line(out, axis_at(a, series_min(s)), y, axis_at(a, series_p95(s)), y, colour, 2);
    put_dot(out, axis_at(a, series_median(s)), y, colour);
}

static void put_states(FILE *out, const struct samples *s, const struct points *points,
                       const char *metric, const char *title, double left, double right)
{
    double top = HEAD + PANEL_HEAD, bottom = top + ROW * (double)points->n;
    struct axis a = {.low = 1, .from = left, .to = right};
    axis_fit(&a, s, "allocate", metric);
    put_text(out, left, HEAD + PANEL_HEAD - 10, "start", title);
    if (a.low > a.high)
        return;
    put_columns(out, &a, top, bottom);
    for (size_t i = 0; i < points->n; i++)
        for (size_t m = 0; m < ARRAY_SIZE(marks); m++)
            put_series(out, &a, point_series(s, "allocate", marks[m].who, &points->at[i], metric),
                       top + ROW * ((double)i + 0.5), marks[m].colour);
}

static void put_labels(FILE *out, const struct points *points)
{
    char text[96];
    for (size_t i = 0; i < points->n; i++) {
        point_format(&points->at[i], text, sizeof text);
        put_text(out, LABELS - 12, HEAD + PANEL_HEAD + ROW * ((double)i + 0.5) + 4, "end", text);
    }
}

/* ---- deltas: the reference guest, cost by number of pages ---- */

static bool is_reference(const struct point *p)
{
    return !strcmp(p->guest, "pv") && p->mib == 400 && p->vcpus == 1;
}

static size_t reference_sizes(const struct points *points)
{
    size_t n = 0;
    for (size_t i = 0; i < points->n; i++)
        n += is_reference(&points->at[i]);
    return n;
}

static void put_delta_rows(FILE *out, const struct axis *a)
{
    char text[32];
    for (int power = a->low; power <= a->high; power++) {
        double y = axis_at(a, pow(10, power));
        put_line(out, LABELS, y, WIDTH - GAP, y, "#dddddd", 1);
        decade_format(power, text, sizeof text);
        put_text(out, LABELS - 12, y + 4, "end", text);
    }
}

/* Medians of one kind at each size, joined. */
static void put_curve(FILE *out, const struct samples *s, const struct points *points,
                      const struct axis *a, const char *row, const struct mark *m,
                      const char *metric)
{
    double step = (WIDTH - GAP - LABELS) / (double)reference_sizes(points), x = LABELS - step / 2;
    double last_x = 0, last_y = 0;
    for (size_t i = 0; i < points->n; i++) {
        if (!is_reference(&points->at[i]))
            continue;
        x += step;
        const struct series *at = point_series(s, row, m->who, &points->at[i], metric);
        if (!at || series_median(at) <= 0)
            continue;
        double y = axis_at(a, series_median(at));
        if (last_x > 0)
            put_line(out, last_x, last_y, x, y, m->colour, 1.5);
        put_dot(out, x, y, m->colour);
        last_x = x;
        last_y = y;
    }
}

static void put_sizes(FILE *out, const struct points *points, double bottom)
{
    double step = (WIDTH - GAP - LABELS) / (double)reference_sizes(points), x = LABELS - step / 2;
    char text[32];
    for (size_t i = 0; i < points->n; i++) {
        if (!is_reference(&points->at[i]))
            continue;
        x += step;
        format_fits(text, sizeof text, "%d", points->at[i].delta);
        put_text(out, x, bottom + 16, "middle", text);
    }
    put_text(out, LABELS + (WIDTH - GAP - LABELS) / 2, bottom + 32, "middle",
             "pages of the delta (4 KiB)");
}

static void put_deltas(FILE *out, const struct samples *s, const struct points *points, double top)
{
    struct axis a = {.low = 1, .from = top + PANEL_HEAD + DELTA_HEIGHT, .to = top + PANEL_HEAD};
    put_text(out, LABELS, top + PANEL_HEAD - 10, "start",
             "to unpaused by size of the delta, PV 400 MB, 1 vCPU, medians");
    axis_fit(&a, s, "allocate", "unpaused");
    axis_fit(&a, s, "floor", "cold");
    if (a.low > a.high || !reference_sizes(points))
        return;
    put_delta_rows(out, &a);
    for (size_t m = 0; m < ARRAY_SIZE(marks); m++)
        put_curve(out, s, points, &a, "allocate", &marks[m], "unpaused");
    put_curve(out, s, points, &a, "floor", &memcpy_mark, "cold");
    put_sizes(out, points, a.from);
}

/* ---- all of it ---- */

static void put_head(FILE *out, double height)
{
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"12\" "
            "fill=\"#333333\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
            "<text x=\"%.1f\" y=\"24\" font-size=\"16\">dompool: xl restore and allocate of the "
            "same state (dot: median; line: smallest to p95)</text>\n",
            WIDTH, height, WIDTH, height, GAP);
    double x = GAP + 4;
    for (size_t m = 0; m < ARRAY_SIZE(marks); m++, x += 200)
        put_legend(out, &marks[m], x);
    put_legend(out, &memcpy_mark, x);
}

int plot_svg(const struct samples *s, FILE *out)
{
    struct points points;
    int rc = points_of(s, "allocate", &points);
    if (!rc) {
        double middle = LABELS + (WIDTH - LABELS - GAP) / 2;
        double states = HEAD + PANEL_HEAD + ROW * (double)points.n + AXIS_FOOT;
        put_head(out, states + PANEL_HEAD + DELTA_HEIGHT + AXIS_FOOT + GAP);
        put_labels(out, &points);
        put_states(out, s, &points, "unpaused", "to unpaused", LABELS, middle - GAP);
        put_states(out, s, &points, "life", "to the guest's first sign of life", middle + GAP,
                   WIDTH - GAP);
        put_deltas(out, s, &points, states);
        fputs("</svg>\n", out);
    }
    points_dispose(&points);
    return rc ? rc : ferror(out) ? -EIO : 0;
}
