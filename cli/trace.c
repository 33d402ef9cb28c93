/* dompool trace: what an allocate did, as a timeline. */
#include "cli/command.h"
#include "cli/grid.h"
#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

#define BAR_WIDTH 40 /* characters for the whole time */

/* Where a moment stands in the bar: 0 to BAR_WIDTH. */
static size_t bar_column(uint64_t us, uint64_t total_us)
{
    return us < total_us ? (size_t)((double)us * BAR_WIDTH / (double)total_us) : BAR_WIDTH;
}

/* Blanks, then a mark for each column that the span fills; at least one, however short it is. */
static void bar_draw(uint64_t start_us, uint64_t us, uint64_t total_us, char bar[BAR_WIDTH + 1])
{
    size_t from = bar_column(start_us, total_us), to = bar_column(start_us + us, total_us);
    if (from == BAR_WIDTH)
        from--;
    if (to <= from)
        to = from + 1;
    memset(bar, ' ', from);
    memset(bar + from, '#', to - from);
    bar[to] = '\0';
}

static void row_add(struct grid *g, const char *name, uint64_t start_us, uint64_t us,
                    const char *bar, uint64_t hypercalls, uint64_t pages)
{
    char text[READABLE_SIZE];
    grid_cell(g, "%s", name);
    grid_cell(g, "%s", readable_us(start_us, text));
    grid_cell(g, "%s", readable_us(us, text));
    grid_cell(g, "%s", bar);
    grid_cell(g, "%" PRIu64, hypercalls);
    grid_cell(g, "%" PRIu64, pages);
}

static void timeline_print(const json_t *trace)
{
    uint64_t total = (uint64_t)get_int(trace, "total_us"), start = 0, hypercalls = 0, pages = 0;
    char bar[BAR_WIDTH + 1];
    struct grid g;
    json_t *stage;
    size_t i;
    grid_init(&g, "STAGE >START >TIME TIMELINE >HYPERCALLS >PAGES");
    json_array_foreach (json_object_get(trace, "stages"), i, stage) {
        uint64_t us = (uint64_t)get_int(stage, "us"),
                 calls = (uint64_t)get_int(stage, "hypercalls");
        uint64_t written = (uint64_t)get_int(stage, "pages");
        bar_draw(start, us, total, bar);
        row_add(&g, get_text(stage, "name"), start, us, bar, calls, written);
        start += us;
        hypercalls += calls;
        pages += written;
    }
    bar_draw(0, total, total, bar);
    row_add(&g, "total", 0, total, bar, hypercalls, pages);
    grid_print(&g);
}

static void lease_line(const json_t *trace)
{
    char ago[READABLE_SIZE];
    int64_t now = clock_wall_ms();
    bool ended = has(trace, "ended_ms");
    readable_span(now - get_int(trace, ended ? "ended_ms" : "created_ms"), ago);
    if (ended)
        out_line("lease   %s, ended %s ago: %s", get_text(trace, "lease"), ago,
                 get_text(trace, "end_reason"));
    else
        out_line("lease   %s, allocated %s ago", get_text(trace, "lease"), ago);
}

static void trace_print(const json_t *trace)
{
    int64_t retries = get_int(trace, "retries");
    lease_line(trace);
    out_line("domain  %s (domid %" PRId64 ")", get_text(trace, "name"), get_int(trace, "domid"));
    out_line("image   %s, from a %s slot (%s, engine %s), %" PRId64 " pages written",
             get_text(trace, "image"), get_text(trace, "from"), get_text(trace, "slot"),
             get_text(trace, "engine"), get_int(trace, "delta_pages"));
    if (retries)
        out_line("failed  %" PRId64 " %s before this one; the first stage includes their time",
                 retries, retries == 1 ? "slot" : "slots");
    timeline_print(trace);
}

int run_trace(struct invocation *inv)
{
    return talk_show(inv, must(json_pack("{s:s}", "lease", inv->args[0])), trace_print);
}
