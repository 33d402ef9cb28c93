/* dompool status, and dompool pool: show, set, wait. */
#include "cli/command.h"
#include "cli/grid.h"
#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/array.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table of pools ---- */

static void pool_cells(struct grid *g, const json_t *pool)
{
    static const char *const counts[] = {"min",     "max",    "warm", "building", "leased",
                                         "waiting", "broken", "hits", "misses"};
    grid_cell(g, "%s", get_text(pool, "image"));
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        grid_cell(g, "%" PRId64, get_int(pool, counts[i]));
    grid_cell(g, "%s", get_text(pool, "engine"));
}

/* What keeps a pool from filling up. */
static void pool_trouble(const json_t *pool)
{
    char wait[READABLE_SIZE];
    int64_t backoff = get_int(pool, "backoff_ms");
    const char *error = get_text(pool, "last_error");
    if (backoff > 0)
        out_line("%s: next try in %s%s%s", get_text(pool, "image"),
                 readable_span(backoff + 999, wait), *error ? ": " : "", error);
    else if (*error)
        out_line("%s: %s", get_text(pool, "image"), error);
}

static void pools_print(const json_t *reply)
{
    struct grid g;
    json_t *pools = json_object_get(reply, "pools"), *pool;
    size_t i;
    grid_init(&g, "POOL >MIN >MAX >WARM >BUILDING >LEASED >WAITING >BROKEN >HITS >MISSES ENGINE");
    json_array_foreach (pools, i, pool) {
        pool_cells(&g, pool);
    }
    grid_print(&g);
    json_array_foreach (pools, i, pool) {
        pool_trouble(pool);
    }
}

/* ---- status ---- */

static void status_latency(const json_t *reply)
{
    char last[READABLE_SIZE], median[READABLE_SIZE];
    if (has(reply, "last_allocate_us") && has(reply, "median_allocate_us"))
        out_line("latency  last %s, median %s",
                 readable_us((uint64_t)get_int(reply, "last_allocate_us"), last),
                 readable_us((uint64_t)get_int(reply, "median_allocate_us"), median));
}

static void status_hits(const json_t *reply)
{
    json_t *pool;
    size_t i;
    int64_t hits = 0, misses = 0;
    json_array_foreach (json_object_get(reply, "pools"), i, pool) {
        hits += get_int(pool, "hits");
        misses += get_int(pool, "misses");
    }
    if (hits + misses > 0)
        out_line("hits     %.1f%%: %" PRId64 " served warm, %" PRId64 " not",
                 100.0 * (double)hits / (double)(hits + misses), hits, misses);
}

static void status_lost(const json_t *reply)
{
    json_t *file;
    size_t i;
    json_array_foreach (json_object_get(reply, "lost_images"), i, file) {
        out_line("lost     %s belongs to no image: see dompool image adopt",
                 json_string_value(file));
    }
}

static void status_print(const json_t *reply)
{
    char up[READABLE_SIZE], total[READABLE_SIZE], free_[READABLE_SIZE];
    out_line("daemon   dompoold %s, pid %" PRId64 ", up %s", get_text(reply, "version"),
             get_int(reply, "pid"), readable_span(get_int(reply, "uptime_ms"), up));
    out_line("xen      %s", get_bool(reply, "xen") ? "reachable" : "not reachable");
    out_line("memory   %s free of %s",
             readable_bytes((uint64_t)get_int(reply, "host_free_kib") * 1024, free_),
             readable_bytes((uint64_t)get_int(reply, "host_total_kib") * 1024, total));
    if (get_int(reply, "disk_total_bytes"))
        out_line("disk     %s free of %s",
                 readable_bytes((uint64_t)get_int(reply, "disk_free_bytes"), free_),
                 readable_bytes((uint64_t)get_int(reply, "disk_total_bytes"), total));
    out_line("leases   %" PRId64 " alive; %" PRId64 " allocations, %" PRId64 " failures",
             get_int(reply, "leases"), get_int(reply, "allocations"), get_int(reply, "failures"));
    if (get_int(reply, "faulty_leases"))
        out_line("faults   %" PRId64 " leases have a disk that takes no writes: see dompool list",
                 get_int(reply, "faulty_leases"));
    status_hits(reply);
    status_latency(reply);
    status_lost(reply);
    pools_print(reply);
}

int run_status(struct invocation *inv)
{
    return talk_show(inv, NULL, status_print);
}

/* ---- pool ---- */

static json_t *image_parameter(const struct invocation *inv)
{
    return must(inv->n_args ? json_pack("{s:s}", "image", inv->args[0]) : json_object());
}

int run_pool_show(struct invocation *inv)
{
    return talk_show(inv, image_parameter(inv), pools_print);
}

static void set_print(const json_t *reply)
{
    json_t *as_list = must(json_pack("{s:[O]}", "pools", must(json_object_get(reply, "pool"))));
    pools_print(as_list);
    json_decref(as_list);
}

/* "min=2" into settings. STATUS_USAGE, with the reason said. */
static int set_pair(json_t *settings, const char *pair)
{
    size_t len = pair_key_length(pair);
    char key[64];
    if (!len || !format_fits(key, sizeof key, "%.*s", (int)len, pair)) {
        complain("pool set: %s is not of the form KEY=VALUE", pair);
        return STATUS_USAGE;
    }
    if (json_object_get(settings, key)) {
        complain("pool set: %s is given twice", key);
        return STATUS_USAGE;
    }
    json_object_set_new(settings, key, must(json_string(pair + len + 1)));
    return STATUS_DONE;
}

int run_pool_set(struct invocation *inv)
{
    json_t *settings = must(json_object());
    for (size_t i = 1; i < inv->n_args; i++) {
        int status = set_pair(settings, inv->args[i]);
        if (status) {
            json_decref(settings);
            return status;
        }
    }
    return talk_show(
        inv, must(json_pack("{s:s, s:o}", "image", inv->args[0], "settings", settings)), set_print);
}

/* Its exit status is the answer. */
int run_pool_wait(struct invocation *inv)
{
    const struct option_value *timeout = option_last(inv, "timeout");
    int64_t timeout_ms = timeout ? (int64_t)timeout->ms : DOMPOOL_UNSET;
    const char *image = inv->n_args ? inv->args[0] : NULL;
    int status = talk_connect(inv);
    if (!status)
        status = talk_failed(inv, dompool_wait(inv->daemon, image, timeout_ms), NULL);
    if (!status && inv->json)
        talk_print(inv);
    return status;
}
