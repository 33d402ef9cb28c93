/*
 * What clients send, as bytes, to a daemon in the simulated world: three connections of different
 * users, messages whole, in parts and several at once, and in between time passes, helpers fail,
 * domains end, and the daemon is killed. The simulator's invariants hold after every event, and at
 * the end the daemon answers and stops.
 */
#include "tests/fuzz/fuzz.h"

#include "base/array.h"
#include "base/log.h"
#include "tests/fuzz/pieces.h"
#include "tests/sim/world_sim.h"

static const char config[] = "complete_timeout = 500ms\nparallel = 2\nclients_per_user = 2\n"
                             "[pool]\nmin = 1\nmax = 4\n";
static const uid_t uids[] = {0, 1000, 1001};

static struct sim sim;
static struct sim_client *clients[ARRAY_SIZE(uids)];
static unsigned speaker;

static void drop(struct sim_client **c)
{
    if (*c)
        sim_disconnect(*c);
    *c = NULL;
}

static struct sim_client *client(void)
{
    struct sim_client **c = &clients[speaker];
    if (*c && (*c)->hung_up)
        drop(c);
    if (!*c)
        *c = sim_connect(&sim, uids[speaker]);
    (*c)->sent = UINT32_MAX; /* nobody counts them */
    return *c;
}

/* ---- controls ---- */

static void speak(unsigned who)
{
    speaker = who % ARRAY_SIZE(uids);
}

static void wait_for(unsigned power)
{
    sim_run_us(&sim, 1000ull << power % 16);
}

static void hang_up(unsigned who)
{
    drop(&clients[who % ARRAY_SIZE(clients)]);
}

static void slot_fate(unsigned fate)
{
    sim.faults.fate = (enum sim_fate)(fate % FATE_COUNT);
    sim.faults.fate_for = 1;
}

static void work_fate(unsigned fate)
{
    sim.faults.work = (struct sim_doom){(enum sim_fate)(fate % FATE_COUNT), 1};
}

static void complete_fate(unsigned fate)
{
    sim.faults.complete = (struct sim_doom){fate % 2 ? FATE_REFUSED : FATE_UNREAD, 1};
}

static struct sim_domain *domain_at(unsigned n)
{
    list_each (node, &sim.domains)
        if (!n--)
            return container_of(node, struct sim_domain, node);
    return NULL;
}

static void shut_down(unsigned n)
{
    const struct sim_domain *d = domain_at(n / 4);
    if (d)
        sim_domain_shutdown(&sim, d->d.domid, n % 4);
}

static void destroy(unsigned n)
{
    const struct sim_domain *d = domain_at(n);
    if (d)
        sim_domain_destroy(&sim, d->d.domid);
}

static void fail_writes(unsigned n)
{
    sim.faults.write_fails = n % 4;
}

static void fail_destroys(unsigned n)
{
    sim.faults.destroy_fails = n % 4;
}

static void no_faults(void)
{
    sim.faults = (struct sim_faults){0};
}

static void kill_daemon(unsigned argument)
{
    (void)argument;
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        drop(&clients[i]);
    sim_crash(&sim);
    no_faults(); /* a start may fail for good reasons; not here */
    sim_restart(&sim, config, NULL);
}

static void (*const controls[CONTROLS])(unsigned argument) = {
    [0x01] = speak,         [0x02] = wait_for,      [0x03] = hang_up,     [0x04] = slot_fate,
    [0x05] = work_fate,     [0x06] = shut_down,     [0x07] = destroy,     [0x08] = fail_writes,
    [0x0b] = complete_fate, [0x0c] = fail_destroys, [0x0e] = kill_daemon,
};

/* ---- one input ---- */

static void begin(void)
{
    static bool quiet;
    if (!quiet)
        log_init("fuzz", LOG_LEVEL_ERROR);
    quiet = true;
    speaker = 0;
    sim_start(&sim, config);
    sim_image(&sim, "fire");
    sim_derive(&sim, "mist", "fire");
    sim_run(&sim, 2000);
}

/* Whatever has come, another client is answered, and the daemon stops in time. */
static void end(void)
{
    no_faults();
    sim_expect(sim_connect(&sim, 0), "Status", NULL, 1000, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        clients[i] = NULL; /* sim_stop disconnects them */
    sim_stop(&sim);
    sim_end(&sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *const last = data + size;
    struct piece p;
    begin();
    while (piece_next(&at, last, &p)) {
        if (!p.control)
            conn_feed(&client()->conn, p.bytes, p.n);
        else if (controls[p.control])
            controls[p.control](p.argument);
    }
    end();
    return 0;
}
