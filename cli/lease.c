/* dompool allocate, release, list. Holding a lease is in hold.c. */
#include "cli/command.h"
#include "cli/grid.h"
#include "cli/hold.h"
#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- allocate ---- */

static json_t *allocate_parameters(const struct invocation *inv)
{
    const struct option_value *ttl = option_last(inv, "ttl"), *wait = option_last(inv, "wait");
    json_t *p = must(json_pack("{s:s}", "image", inv->args[0]));
    json_t *meta = must(json_object());
    for (size_t i = 0; i < inv->n_values; i++) {
        const char *text = inv->values[i].text;
        size_t len = strcmp(inv->values[i].spec->name, "meta") ? 0 : pair_key_length(text);
        if (!len)
            continue;
        char *key = format_new("%.*s", (int)len, text);
        if (!key)
            out_of_memory();
        json_object_set_new(meta, key, must(json_string(text + len + 1)));
        free(key);
    }
    if (option_given(inv, "name"))
        json_object_set_new(p, "name", must(json_string(option_text(inv, "name"))));
    if (ttl)
        json_object_set_new(p, "ttl_ms", must(json_integer((json_int_t)ttl->ms)));
    if (wait)
        json_object_set_new(p, "wait_ms", must(json_integer((json_int_t)wait->ms)));
    if (option_given(inv, "hold"))
        json_object_set_new(p, "hold", json_true());
    if (option_given(inv, "paused"))
        json_object_set_new(p, "paused", json_true());
    if (json_object_size(meta))
        json_object_set(p, "meta", meta);
    json_decref(meta);
    return p;
}

static void stages_print(const json_t *lease)
{
    struct grid g;
    json_t *stage;
    size_t i;
    int64_t hypercalls = 0;
    char time[READABLE_SIZE];
    grid_init(&g, "STAGE >TIME >HYPERCALLS");
    json_array_foreach (json_object_get(lease, "stages"), i, stage) {
        grid_cell(&g, "%s", get_text(stage, "name"));
        grid_cell(&g, "%s", readable_us((uint64_t)get_int(stage, "us"), time));
        grid_cell(&g, "%" PRId64, get_int(stage, "hypercalls"));
        hypercalls += get_int(stage, "hypercalls");
    }
    grid_cell(&g, "total");
    grid_cell(&g, "%s", readable_us((uint64_t)get_int(lease, "total_us"), time));
    grid_cell(&g, "%" PRId64, hypercalls);
    grid_print(&g);
}

static void allocate_print(const json_t *lease)
{
    out_line("domain  %s (domid %" PRId64 ")", get_text(lease, "name"), get_int(lease, "domid"));
    out_line("lease   %s", get_text(lease, "lease"));
    out_line("image   %s, from a %s slot, %" PRId64 " pages written", get_text(lease, "image"),
             get_text(lease, "from"), get_int(lease, "delta_pages"));
    stages_print(lease);
}

/* A lease that nobody heard of would stay until its deadline, if it has one. */
static int allocate_undo(struct invocation *inv, const char *lease)
{
    json_t *reply;
    complain("releasing lease %s, as its name reached nobody", lease);
    talk(inv, "Release", must(json_pack("{s:[s], s:b}", "leases", lease, "wait", 0)), &reply);
    json_decref(reply);
    return STATUS_LOCAL;
}

int lease_allocate(struct invocation *inv)
{
    json_t *reply;
    int status = talk(inv, "Allocate", allocate_parameters(inv), &reply);
    if (status)
        return status;
    if (inv->json)
        out_json(reply, false);
    else
        allocate_print(reply);
    if (out_finish())
        status = allocate_undo(inv, get_text(reply, "lease"));
    else if (option_given(inv, "hold"))
        status = hold(inv, get_text(reply, "lease"));
    json_decref(reply);
    return status;
}

/* ---- release ---- */

static void release_print(const json_t *reply)
{
    json_t *ended;
    size_t i;
    json_array_foreach (json_object_get(reply, "released"), i, ended) {
        out_line("released %s (domain %s, domid %" PRId64 ", image %s)", get_text(ended, "lease"),
                 get_text(ended, "name"), get_int(ended, "domid"), get_text(ended, "image"));
    }
}

int lease_release(struct invocation *inv)
{
    bool all = option_given(inv, "all");
    if (all == (inv->n_args > 0)) {
        complain("release: %s", all ? "--all and names at once: which is meant?"
                                    : "name the leases, or give --all");
        return STATUS_USAGE;
    }
    json_t *p = must(json_pack("{s:b}", "wait", !option_given(inv, "no-wait")));
    json_t *names = must(json_array());
    for (size_t i = 0; i < inv->n_args; i++)
        json_array_append_new(names, must(json_string(inv->args[i])));
    if (all)
        json_object_set_new(p, "all", json_true());
    else
        json_object_set(p, "leases", names);
    json_decref(names);
    return talk_show(inv, p, release_print);
}

/* ---- list ---- */

static const json_t *lease_of_slot(const json_t *leases, const json_t *slot)
{
    json_t *lease;
    size_t i;
    json_array_foreach ((json_t *)(uintptr_t)leases, i, lease) {
        if (!strcmp(get_text(lease, "slot"), get_text(slot, "slot")))
            return lease;
    }
    return NULL;
}

static void list_lease_cells(struct grid *g, const json_t *lease)
{
    char left[READABLE_SIZE];
    int64_t now = clock_wall_ms();
    grid_cell(g, "%s", get_text(lease, "lease"));
    grid_cell(g, "%s",
              has(lease, "expires_ms") ? readable_span(get_int(lease, "expires_ms") - now, left)
                                       : "");
    if (lease)
        grid_cell(g, "%" PRId64, get_int(lease, "owner_uid"));
    else
        grid_cell(g, "%s", "");
}

/* One line a slot, with the lease that it serves. */
static void list_print(const json_t *reply)
{
    const json_t *leases = json_object_get(reply, "leases");
    char age[READABLE_SIZE];
    struct grid g;
    json_t *slot;
    size_t i;
    grid_init(&g, "SLOT IMAGE STATE >DOMID DOMAIN >SINCE LEASE >EXPIRES >UID REASON");
    json_array_foreach (json_object_get(reply, "slots"), i, slot) {
        grid_cell(&g, "%s", get_text(slot, "slot"));
        grid_cell(&g, "%s", get_text(slot, "image"));
        grid_cell(&g, "%s", get_text(slot, "state"));
        if (has(slot, "domid"))
            grid_cell(&g, "%" PRId64, get_int(slot, "domid"));
        else
            grid_cell(&g, "%s", "");
        grid_cell(&g, "%s", get_text(slot, "name"));
        grid_cell(&g, "%s", readable_span(clock_wall_ms() - get_int(slot, "since_ms"), age));
        list_lease_cells(&g, lease_of_slot(leases, slot));
        grid_cell(&g, "%s", get_text(slot, "reason"));
    }
    grid_print(&g);
}

int lease_list(struct invocation *inv)
{
    return talk_show(inv, NULL, list_print);
}
