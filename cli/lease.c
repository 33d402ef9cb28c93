/* dompool allocate, release, list. Holding a lease is in hold.c. */
#include "cli/command.h"
#include "cli/grid.h"
#include "cli/hold.h"
#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- allocate ---- */

/* The values of --meta as key, value, key, value, ...; the keys are the caller's to free. */
static char **meta_read(const struct invocation *inv, size_t *n)
{
    char **meta = calloc(2 * inv->n_values + 1, sizeof *meta);
    if (!meta)
        out_of_memory();
    *n = 0;
    for (size_t i = 0; i < inv->n_values; i++) {
        if (strcmp(inv->values[i].spec->name, "meta"))
            continue;
        const char *text = inv->values[i].text;
        size_t len = pair_key_length(text);
        char *key = format_new("%.*s", (int)len, text);
        if (!key)
            out_of_memory();
        meta[2 * *n] = key;
        meta[2 * (*n)++ + 1] = (char *)(uintptr_t)text + len + 1;
    }
    return meta;
}

static void meta_free(char **meta, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(meta[2 * i]);
    free(meta);
}

static int64_t duration_or_unset(const struct invocation *inv, const char *option)
{
    const struct option_value *value = option_last(inv, option);
    return value ? (int64_t)value->ms : DOMPOOL_UNSET;
}

/* Asks for the lease; an enum status. */
static int allocate(struct invocation *inv, struct dompool_lease **lease)
{
    struct dompool_allocate_options options = DOMPOOL_ALLOCATE_OPTIONS_INIT;
    int status = talk_connect(inv);
    if (status)
        return status;
    char **meta = meta_read(inv, &options.n_meta);
    options.image = inv->args[0];
    options.name = option_text(inv, "name");
    options.ttl_ms = duration_or_unset(inv, "ttl");
    options.wait_ms = duration_or_unset(inv, "wait");
    options.hold = option_given(inv, "hold");
    options.paused = option_given(inv, "paused");
    options.mac = option_text(inv, "mac");
    options.meta = (const char *const *)meta;
    status = talk_failed(inv, dompool_allocate(inv->daemon, &options, lease), NULL);
    meta_free(meta, options.n_meta);
    return status;
}

static void stages_print(const struct dompool_lease *lease)
{
    struct grid g;
    uint64_t hypercalls = 0;
    char time[READABLE_SIZE];
    grid_init(&g, "STAGE >TIME >HYPERCALLS");
    for (size_t i = 0; i < lease->n_stages; i++) {
        const struct dompool_stage *stage = &lease->stages[i];
        grid_cell(&g, "%s", stage->name);
        grid_cell(&g, "%s", readable_us(stage->us, time));
        grid_cell(&g, "%" PRIu64, stage->hypercalls);
        hypercalls += stage->hypercalls;
    }
    grid_cell(&g, "total");
    grid_cell(&g, "%s", readable_us(lease->total_us, time));
    grid_cell(&g, "%" PRIu64, hypercalls);
    grid_print(&g);
}

static void allocate_print(const struct dompool_lease *lease)
{
    out_line("domain  %s (domid %" PRId64 ")", lease->name, lease->domid);
    out_line("lease   %s", lease->lease);
    out_line("image   %s, from a %s slot, %" PRIu64 " pages written", lease->image, lease->from,
             lease->delta_pages);
    for (size_t i = 0; i < lease->n_macs; i++)
        out_line("vif %zu   %s", i, lease->macs[i]);
    stages_print(lease);
}

/* A lease that nobody heard of would stay until its deadline, if it has one. */
static int allocate_undo(struct invocation *inv, const char *lease)
{
    complain("releasing lease %s, because it could not be printed", lease);
    talk_failed(inv, dompool_release(inv->daemon, &lease, 1, DOMPOOL_RELEASE_NO_WAIT, NULL), NULL);
    return STATUS_LOCAL;
}

int run_allocate(struct invocation *inv)
{
    struct dompool_lease *lease;
    int status = allocate(inv, &lease);
    if (status)
        return status;
    if (inv->json)
        talk_print(inv);
    else
        allocate_print(lease);
    if (out_finish())
        status = allocate_undo(inv, lease->lease);
    else if (option_given(inv, "hold"))
        status = hold(inv, lease->lease);
    dompool_lease_free(lease);
    return status;
}

/* ---- release ---- */

static void release_print(const struct dompool_lease *ended)
{
    for (; ended; ended = ended->next)
        out_line("released %s (domain %s, domid %" PRId64 ", image %s)", ended->lease, ended->name,
                 ended->domid, ended->image);
}

int run_release(struct invocation *inv)
{
    bool all = option_given(inv, "all");
    if (all == (inv->n_args > 0)) {
        complain("release: %s",
                 all ? "give either names or --all, not both" : "name the leases, or give --all");
        return STATUS_USAGE;
    }
    struct dompool_lease *ended;
    unsigned flags = (all ? DOMPOOL_RELEASE_ALL : 0) |
                     (option_given(inv, "no-wait") ? DOMPOOL_RELEASE_NO_WAIT : 0);
    int status = talk_connect(inv);
    if (!status)
        status = talk_failed(
            inv, dompool_release(inv->daemon, inv->args, inv->n_args, flags, &ended), NULL);
    if (status)
        return status;
    if (inv->json)
        talk_print(inv);
    else
        release_print(ended);
    dompool_lease_free(ended);
    return STATUS_DONE;
}

/* ---- list ---- */

static const struct dompool_lease *lease_of_slot(const struct dompool_lease *leases,
                                                 const struct dompool_slot *slot)
{
    while (leases && strcmp(leases->slot, slot->slot))
        leases = leases->next;
    return leases;
}

static void list_lease_cells(struct grid *g, const struct dompool_lease *lease)
{
    char left[READABLE_SIZE];
    if (!lease) {
        for (int i = 0; i < 3; i++)
            grid_cell(g, "%s", "");
        return;
    }
    grid_cell(g, "%s", lease->lease);
    grid_cell(g, "%s",
              lease->expires_ms ? readable_span(lease->expires_ms - clock_wall_ms(), left) : "");
    grid_cell(g, "%" PRIu32, lease->owner_uid);
}

/* One line a slot, with the lease that it serves. */
static void list_print(const struct dompool_slot *slots, const struct dompool_lease *leases)
{
    char age[READABLE_SIZE];
    struct grid g;
    grid_init(&g, "SLOT IMAGE STATE >DOMID DOMAIN >SINCE LEASE >EXPIRES >UID REASON");
    for (; slots; slots = slots->next) {
        grid_cell(&g, "%s", slots->slot);
        grid_cell(&g, "%s", slots->image);
        grid_cell(&g, "%s", slots->state);
        if (slots->domid == DOMPOOL_UNSET)
            grid_cell(&g, "%s", "");
        else
            grid_cell(&g, "%" PRId64, slots->domid);
        grid_cell(&g, "%s", slots->name);
        grid_cell(&g, "%s", readable_span(clock_wall_ms() - slots->since_ms, age));
        list_lease_cells(&g, lease_of_slot(leases, slots));
        grid_cell(&g, "%s", slots->reason);
    }
    grid_print(&g);
}

int run_list(struct invocation *inv)
{
    struct dompool_lease *leases;
    struct dompool_slot *slots;
    int status = talk_connect(inv);
    if (!status)
        status = talk_failed(inv, dompool_list(inv->daemon, &leases, &slots), NULL);
    if (status)
        return status;
    if (inv->json)
        talk_print(inv);
    else
        list_print(slots, leases);
    dompool_lease_free(leases);
    dompool_slot_free(slots);
    return STATUS_DONE;
}
