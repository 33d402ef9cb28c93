/*
 * Random sequences: clients that allocate, release, die, pipeline; domains that end; images that
 * are derived, captured, replaced, removed, read; faults of every kind; a daemon that is killed and
 * started again. sim_check runs after every event; when the faults are over, everything must come
 * to rest: no domain without a row, each request answered.
 *
 * Arguments: number of sequences, first seed. A failing seed is printed and repeats itself exactly.
 */
#include "base/log.h"
#include "tests/cmocka.h"
#include "tests/sim/world_sim.h"

#include "base/array.h"
#include "pool/core/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 6
#define STEPS 120
#define AGAIN 10       /* every so many sequences one is run twice, and must be the same */
#define HANG_MS 300000 /* nothing but its client bounds work on images */
#define CALM_MS 900000 /* the longest backoff, and then some */

static struct sim sim;
static struct sim_client *clients[CLIENTS];
static const char config[] = "build_timeout = 3s\ncomplete_timeout = 500ms\n"
                             "destroy_timeout = 2s\nparallel = 2\n"
                             "[pool]\nmin = 2\nmax = 6\nbackoff_max = 30s\n"
                             "[image ice]\nmin = 0\nmax = 0\n";

static const char *const images[] = {"fire", "ice", "mist", "snow"};

static const char *image(void)
{
    return sim_random(&sim, 2) ? "fire" : images[sim_random(&sim, ARRAY_SIZE(images))];
}

static struct sim_client *client(void)
{
    struct sim_client **c = &clients[sim_random(&sim, CLIENTS)];
    if (*c && (*c)->hung_up) {
        sim_disconnect(*c);
        *c = NULL;
    }
    if (!*c)
        *c = sim_connect(&sim, sim_random(&sim, 2) ? 0 : 1000);
    return *c;
}

static void do_allocate(void)
{
    static const int waits[] = {0, 50, 2000, 60000};
    sim_call(client(), "Allocate",
             json_pack("{s:s, s:i, s:b, s:i}", "image", image(), "wait_ms",
                       waits[sim_random(&sim, 4)], "hold", (int)!sim_random(&sim, 3), "ttl_ms",
                       sim_random(&sim, 4) ? 0 : 20000));
}

static void do_release(void)
{
    char lease[24];
    snprintf(lease, sizeof lease, "l%u", (unsigned)(1 + sim_random(&sim, sim.core.next_lease)));
    sim_call(client(), "Release",
             json_pack("{s:[s], s:b}", "leases", lease, "wait", (int)sim_random(&sim, 2)));
}

static void do_release_all(void)
{
    sim_call(client(), "Release", json_pack("{s:b}", "all", 1));
}

static void do_die(void)
{
    unsigned i = (unsigned)sim_random(&sim, CLIENTS);
    if (clients[i])
        sim_disconnect(clients[i]);
    clients[i] = NULL;
}

static struct sim_domain *any_domain(void)
{
    unsigned n = 0;
    list_each (node, &sim.domains)
        n++;
    uint64_t chosen = n ? sim_random(&sim, n) : 0;
    list_each (node, &sim.domains)
        if (!chosen--)
            return container_of(node, struct sim_domain, node);
    return NULL;
}

static void do_domain_destroy(void)
{
    struct sim_domain *d = any_domain();
    if (d)
        sim_domain_destroy(&sim, d->d.domid);
}

static void do_domain_shutdown(void)
{
    struct sim_domain *d = any_domain();
    if (d)
        sim_domain_shutdown(&sim, d->d.domid, (unsigned)sim_random(&sim, 4));
}

static void do_set(void)
{
    static const char *const ends[] = {"image", "destroy", "preserve"};
    char min[8];
    snprintf(min, sizeof min, "%u", (unsigned)sim_random(&sim, 5));
    sim_call(client(), "PoolSet",
             json_pack("{s:s, s:{s:s, s:s}}", "image", image(), "settings", "min", min, "on_end",
                       ends[sim_random(&sim, ARRAY_SIZE(ends))]));
}

static void do_look(void)
{
    static const char *const methods[] = {"List", "Status", "PoolShow", "PoolWait"};
    sim_call(client(), methods[sim_random(&sim, 4)], NULL);
}

static void do_trace(void)
{
    char lease[24];
    snprintf(lease, sizeof lease, "l%u", (unsigned)(1 + sim_random(&sim, sim.core.next_lease)));
    sim_call(client(), sim_random(&sim, 2) ? "Trace" : "LeaseWait",
             json_pack("{s:s}", "lease", lease));
}

static void do_remove(void)
{
    sim_call(client(), "ImageRemove",
             json_pack("{s:s}", "name", images[1 + sim_random(&sim, ARRAY_SIZE(images) - 1)]));
}

/* Each may be derived from each, and be whole the next time. */
static const char *some_base(void)
{
    return sim_random(&sim, 2) ? images[sim_random(&sim, ARRAY_SIZE(images))] : NULL;
}

static void do_import(void)
{
    sim_call(client(), "ImageImport",
             json_pack("{s:s, s:s, s:s*, s:b}", "name",
                       images[sim_random(&sim, ARRAY_SIZE(images))], "path", "/x", "base",
                       some_base(), "replace", (int)sim_random(&sim, 2)));
}

static void do_capture(void)
{
    char lease[24];
    snprintf(lease, sizeof lease, "l%u", (unsigned)(1 + sim_random(&sim, sim.core.next_lease)));
    sim_call(client(), "ImageCapture",
             json_pack("{s:s, s:s, s:s*, s:b, s:b}", "name",
                       images[1 + sim_random(&sim, ARRAY_SIZE(images) - 1)], "domain", lease,
                       "base", some_base(), "replace", (int)sim_random(&sim, 2), "stop",
                       (int)sim_random(&sim, 2)));
}

static void do_read_image(void)
{
    const char *one = images[sim_random(&sim, ARRAY_SIZE(images))];
    const char *other = images[sim_random(&sim, ARRAY_SIZE(images))];
    switch (sim_random(&sim, 3)) {
    case 0:
        sim_call(client(), "ImageVerify", json_pack("{s:s}", "name", one));
        break;
    case 1:
        sim_call(client(), "ImageExport", json_pack("{s:s, s:s}", "name", one, "path", "/save"));
        break;
    default:
        sim_call(client(), "ImageDiff", json_pack("{s:s, s:s}", "a", one, "b", other));
    }
}

/* Is found when the daemon starts, or when somebody asks. */
static void do_rot(void)
{
    const char *name = images[sim_random(&sim, ARRAY_SIZE(images))];
    if (!sim_random(&sim, 4) && entry_find(&sim.core, name))
        sim_image_rot(&sim, name);
}

static void do_kill_daemon(void)
{
    unsigned percent = sim.faults.random_percent;
    if (sim_random(&sim, 3))
        return;
    memset(clients, 0, sizeof clients);
    sim_crash(&sim);
    memset(&sim.faults, 0, sizeof sim.faults); /* a start may fail for good reasons; not here */
    sim.start_only = sim_random(&sim, 2);      /* images are not checked yet then */
    sim_restart(&sim, config, NULL);
    sim.faults.random_percent = percent;
}

static void (*const actions[])(void) = {
    do_allocate,       do_allocate, do_allocate,    do_allocate,    do_release,
    do_release,        do_die,      do_set,         do_look,        do_domain_shutdown,
    do_domain_destroy, do_remove,   do_release_all, do_kill_daemon, do_import,
    do_import,         do_capture,  do_read_image,  do_rot,         do_trace,
};

static unsigned waits_for_ends(void)
{
    unsigned n = 0;
    list_each (lease, &sim.core.leases)
        list_each (wait, &lease_at(lease)->end_waits)
            n++;
    return n;
}

/* Only who waits for the end of a lease may be left without an answer. */
static void check_answered(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        n += clients[i] && !clients[i]->hung_up && clients[i]->answered != clients[i]->sent;
    if (n != waits_for_ends())
        sim_violated(&sim, __FILE__, __LINE__, "a request was not answered");
}

/* Whoever waits for the end of a lease may have sent an Allocate behind that, and that one's lease
 * may be waited for by another: each round of releases answers at least one of them. */
static void release_until_answered(struct sim_client *root)
{
    for (unsigned i = 0; i < 2 * CLIENTS; i++) {
        check_answered();
        sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 60000, NULL);
        sim_run(&sim, CALM_MS);
    }
    check_answered();
}

static void check_calm(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        const struct entry *im = entry_find(&sim.core, images[i]);
        const struct pool *p = im ? im->own : NULL;
        unsigned wanted = p && !im->base && im->state != ENTRY_DAMAGED ? p->settings.min : 0;
        if (p && (p->set.total != pool_warm(p) || p->set.total != wanted))
            sim_violated(&sim, __FILE__, __LINE__, "a pool is not at its minimum");
    }
    if (!list_empty(&sim.core.leases))
        sim_violated(&sim, __FILE__, __LINE__, "a lease is left");
}

/* Returns the digest of all that happened. */
static uint64_t run_seed(unsigned seed)
{
    memset(clients, 0, sizeof clients);
    sim_start(&sim, config);
    sim.random = seed * 2654435761u + 1;
    sim.hang_ms = HANG_MS;
    sim_image(&sim, "fire");
    sim_image(&sim, "ice");
    sim.faults.random_percent = seed % 4 ? 8 * (seed % 4) : 0;
    for (unsigned i = 0; i < STEPS; i++) {
        actions[sim_random(&sim, ARRAY_SIZE(actions))]();
        sim_run_us(&sim, sim_random(&sim, 2) ? sim_random(&sim, 3000) : sim_random(&sim, 1500000));
    }
    memset(&sim.faults, 0, sizeof sim.faults);
    sim_run(&sim, CALM_MS);
    release_until_answered(sim_connect(&sim, 0));
    check_calm();
    sim_check_quiet(&sim);
    sim_stop(&sim);
    if (sim_domains(&sim))
        sim_violated(&sim, __FILE__, __LINE__, "a stopped daemon has left a domain");
    sim_end(&sim);
    return sim.digest;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 300;
    unsigned first = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    log_init("test", n == 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    for (unsigned seed = first; seed < first + n; seed++) {
        fprintf(stdout, "\rseed %u ", seed);
        fflush(stdout);
        uint64_t digest = run_seed(seed);
        if (seed % AGAIN == 0 && run_seed(seed) != digest) {
            fprintf(stderr, "seed %u: the same sequence went another way the second time\n", seed);
            return 1;
        }
    }
    printf("\n%u sequences of %d steps\n", n, STEPS);
    return 0;
}
