/*
 * A busy year in minutes: 64 clients of a real daemon (running.h) allocate, release and die, and
 * the daemon is killed and started again, while the host has no memory for a while, and the disk no
 * room. Every answer must be one of those that are right at that moment. Every so many rounds all
 * comes to rest, and then
 *
 *   - each lease has its domain, each domain its slot, and no UUID is there twice;
 *   - no lease that was acknowledged is lost, unless a client held it that has died;
 *   - descriptors and memory of the daemon, and the database's log, are bounded;
 *   - SQLite finds nothing wrong with the database.
 *
 * When memory or room come back, leases are given again without a restart.
 *
 *   soak ROUNDS [SEED]
 *
 * A round is what one client does. Client and deed of each round are drawn from the seed alone;
 * when things come to pass is the machine's affair.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/message.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/xen/host.h"
#include "tests/random.h"
#include "tests/sim/running.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 64
#define PATIENCE_MS 60000 /* a machine that is busy with other tests is slow */
#define WAIT_MS 5000      /* of a client that waits for a slot */
#define DIE_ONE_IN 24
#define HOLD_ONE_IN 3
#define KILL_ONE_IN 40   /* rounds of its phase */
#define KILL_US_MAX 4000 /* from what BUSY clients ask at once to the daemon's death */
#define BUSY 6

#define DESCRIPTORS_MAX (CLIENTS + 64)
#define RSS_GROWTH_KIB (96ul << 10) /* sanitizers keep freed memory for a while */
#define LOG_KIB_MAX (36ul << 10)    /* store/db.h: 32 MiB, and what one transaction writes */

static const char settings[] = "log_level = warning\nparallel = 4\nmax_clients = 200\n"
                               "disk_reserve = 0\n" /* the database is to meet a full disk */
                               "complete_timeout = 20s\nbuild_timeout = 60s\n"
                               "[pool]\nmin = 4\nbackoff = 50ms\nbackoff_max = 400ms\n";

/* What is scarce; phases follow one another, the first again after the last. */
enum phase { PHASE_PLENTY, PHASE_KILLS, PHASE_NO_MEMORY, PHASE_NO_ROOM, PHASE_COUNT };

/* After its rounds all comes to rest. */
static const struct {
    const char *name;
    unsigned rounds;
} phases[] = {
    [PHASE_PLENTY] = {"plenty", 250},
    [PHASE_KILLS] = {"kills", 250},
    [PHASE_NO_MEMORY] = {"no memory", 80},
    [PHASE_NO_ROOM] = {"no room", 80},
};

/* A lease that somebody has been told of. */
struct known {
    char lease[24];
    bool sure; /* it must be there; else it may be */
};

struct known_list {
    struct known *all;
    size_t n, size;
};

enum deed { IDLE, ALLOCATING, HOLDING, RELEASING };

struct client {
    int fd; /* -1: not connected */
    struct message_reader reader;
    enum deed deed;
    bool hold;      /* its lease ends with its connection */
    char lease[24]; /* while HOLDING and RELEASING */
};

static struct running daemon_;
static struct client clients[CLIENTS];
static struct known_list nobodys; /* leases whose clients have died */
static unsigned unsaid; /* allocations whose answer nobody has heard: each may have a lease */
static enum phase phase;
static uint64_t seed, round_;
static unsigned long rss_kib; /* after the first rest */
static unsigned given, refused, deaths, kills;

/* ---- violations ---- */

static _Noreturn void violated(const char *what)
{
    fprintf(stderr, "soak: seed %" PRIu64 ", round %" PRIu64 " (%s): %s\n", seed, round_,
            phases[phase].name, what);
    if (getenv("KEEP")) {
        free(running_integrity(&daemon_)); /* the copy stays; the state directory goes with us */
        fprintf(stderr, "soak: kept: %s\n", daemon_.dir);
    } else {
        running_dispose(&daemon_);
    }
    exit(1);
}

static void must(bool ok, const char *what)
{
    if (!ok)
        violated(what);
}

__attribute__((format(printf, 3, 4))) static bool why_not(char *why, size_t size, const char *fmt,
                                                          ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, size, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- leases that are known ---- */

static struct known *known_find(const struct known_list *list, const char *lease)
{
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->all[i].lease, lease))
            return &list->all[i];
    return NULL;
}

static void known_add(struct known_list *list, const char *lease, bool sure)
{
    if (list->n == list->size) {
        list->size = list->size ? 2 * list->size : 64;
        list->all = realloc(list->all, list->size * sizeof *list->all);
        must(list->all != NULL, "out of memory");
    }
    struct known *k = &list->all[list->n++];
    format_fits(k->lease, sizeof k->lease, "%s", lease);
    k->sure = sure;
}

/* ---- a client ---- */

static void client_close(struct client *c)
{
    fd_close(&c->fd);
    message_reader_dispose(&c->reader);
    message_reader_init(&c->reader, 1u << 20);
}

static void client_idle(struct client *c)
{
    c->deed = IDLE;
    c->hold = false;
    c->lease[0] = '\0';
}

static void client_connect(struct client *c)
{
    if (c->fd >= 0)
        return;
    c->fd = running_connect(&daemon_);
    must(c->fd >= 0, "the daemon takes no connection");
}

/* Its connection is gone, by its own death or the daemon's. What it was told, it forgets if it has
 * died itself; a lease that it held ends. */
static void client_cut(struct client *c, bool died)
{
    client_close(c);
    unsaid += c->deed == ALLOCATING;
    if (c->deed == RELEASING || (c->deed == HOLDING && (died || c->hold)))
        known_add(&nobodys, c->lease, c->deed == HOLDING && !c->hold);
    if (died || c->deed != HOLDING || c->hold)
        client_idle(c);
}

static void client_allocate(struct client *c, bool hold, int wait_ms)
{
    client_connect(c);
    c->deed = ALLOCATING;
    c->hold = hold;
    running_send(
        c->fd, "Allocate",
        json_pack("{s:s, s:i, s:b}", "image", "fire", "wait_ms", wait_ms, "hold", (int)hold));
}

static void client_release(struct client *c, bool wait)
{
    client_connect(c);
    c->deed = RELEASING;
    running_send(c->fd, "Release",
                 json_pack("{s:[s], s:b}", "leases", c->lease, "wait", (int)wait));
}

/* ---- answers ---- */

/* Errors that are right in each phase; what ends one phase may be heard of in the next, but for the
 * rest between them. */
static bool error_is_right(const char *name)
{
    static const struct {
        const char *name;
        unsigned phases;
    } right[] = {
        {"PoolEmpty", ~0u},
        {"TimedOut", ~0u},
        {"NoHostMemory", 1u << PHASE_NO_MEMORY},
        {"Internal", 1u << PHASE_NO_ROOM},
    };
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        if (!strcmp(name, right[i].name))
            return right[i].phases & 1u << phase;
    return false;
}

static const char *error_of(const json_t *reply)
{
    const char *name = json_string_value(json_object_get(reply, "error"));
    return name ? strrchr(name, '.') + 1 : NULL;
}

static void check_error(const json_t *reply, const char *doing)
{
    const char *name = error_of(reply);
    if (!name || error_is_right(name))
        return;
    char what[1000], *text = json_dumps(reply, JSON_COMPACT);
    format_fits(what, sizeof what, "%s: an answer that is not right here: %s", doing, text);
    free(text);
    violated(what);
}

static json_t *get(const json_t *reply, const char *key)
{
    return json_object_get(json_object_get(reply, "parameters"), key);
}

static void allocated(struct client *c, const json_t *reply)
{
    const char *lease = json_string_value(get(reply, "lease"));
    check_error(reply, "Allocate");
    if (!lease) {
        must(error_of(reply) != NULL, "Allocate: neither a lease nor an error");
        refused++;
        client_idle(c);
        return;
    }
    given++;
    c->deed = HOLDING;
    format_fits(c->lease, sizeof c->lease, "%s", lease);
}

/* A release that was refused leaves the lease. */
static void released(struct client *c, const json_t *reply)
{
    check_error(reply, "Release");
    if (error_of(reply))
        known_add(&nobodys, c->lease, false);
    client_idle(c);
}

static void client_hears(struct client *c, const json_t *reply)
{
    must(c->deed == ALLOCATING || c->deed == RELEASING, "a reply that nobody has asked for");
    if (c->deed == ALLOCATING)
        allocated(c, reply);
    else
        released(c, reply);
}

/* False: the connection has ended. */
static bool client_read(struct client *c)
{
    char bytes[4096];
    json_t *reply;
    struct error e = {0};
    ssize_t n = read(c->fd, bytes, sizeof bytes);
    if (n <= 0)
        return false;
    must(!message_reader_feed(&c->reader, bytes, (size_t)n, &e), "a reply is too large");
    int rc;
    while ((rc = message_reader_next(&c->reader, &reply, &e)) > 0) {
        client_hears(c, reply);
        json_decref(reply);
    }
    must(!rc, "a reply is no message");
    return true;
}

/* Reads what has come, or comes within so many milliseconds. */
static void hear(int timeout_ms)
{
    struct pollfd fds[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        fds[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
    if (poll(fds, CLIENTS, timeout_ms) <= 0)
        return;
    for (size_t i = 0; i < CLIENTS; i++)
        if (fds[i].revents)
            must(client_read(&clients[i]), "the daemon has closed a connection");
}

static bool client_waits(const struct client *c)
{
    return c->deed == ALLOCATING || c->deed == RELEASING;
}

static void hear_answer(const struct client *c)
{
    uint64_t until = clock_mono_us() + PATIENCE_MS * 1000ull;
    while (client_waits(c)) {
        must(running_alive(&daemon_), "the daemon has ended by itself");
        must(clock_mono_us() < until, "a client was never answered");
        hear(20);
    }
}

/* ---- what must hold at rest ---- */

struct listing {
    json_t *reply, *slots, *leases; /* the latter borrowed from reply */
    struct host_domain *domains;
    size_t n_domains;
};

static void listing_take(struct listing *l)
{
    l->reply = running_ask(&daemon_, "List", NULL);
    l->slots = get(l->reply, "slots");
    l->leases = get(l->reply, "leases");
    must(json_is_array(l->slots) && json_is_array(l->leases), "List: no slots, or no leases");
    struct host *host;
    must(!host_open(&host, NULL), "the fake host cannot be opened");
    must(!host_list(host, &l->domains, &l->n_domains, NULL), "the fake host cannot be listed");
    host_close(host);
}

static void listing_drop(struct listing *l)
{
    json_decref(l->reply);
    free(l->domains);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static const struct host_domain *domain_of(const struct listing *l, const json_t *o)
{
    for (size_t i = 0; i < l->n_domains; i++)
        if (json_integer_value(json_object_get(o, "domid")) == l->domains[i].domid)
            return &l->domains[i];
    return NULL;
}

static const json_t *slot_of(const struct listing *l, const struct host_domain *d)
{
    size_t i;
    json_t *slot;
    json_array_foreach (l->slots, i, slot) {
        if (json_integer_value(json_object_get(slot, "domid")) == d->domid)
            return slot;
    }
    return NULL;
}

static bool domains_hold(const struct listing *l, char why[200])
{
    for (size_t i = 0; i < l->n_domains; i++) {
        const struct host_domain *d = &l->domains[i];
        for (size_t k = 0; k < i; k++)
            if (uuid_equal(&d->uuid, &l->domains[k].uuid))
                return why_not(why, 200, "domains %u and %u have one uuid", d->domid,
                               l->domains[k].domid);
        if (!slot_of(l, d))
            return why_not(why, 200, "domain %u (%s) has no slot", d->domid, d->name);
    }
    if (json_array_size(l->slots) != l->n_domains)
        return why_not(why, 200, "%zu slots for %zu domains", json_array_size(l->slots),
                       l->n_domains);
    return true;
}

static bool is_listed(const struct listing *l, const char *id)
{
    size_t i;
    json_t *lease;
    json_array_foreach (l->leases, i, lease) {
        if (!strcmp(text_of(lease, "lease"), id))
            return true;
    }
    return false;
}

/* Leases that somebody has been told of, and at most as many others as nobody was told of. */
static bool leases_hold(const struct listing *l, const struct known_list *known, char why[200])
{
    size_t i, strangers = 0;
    json_t *lease;
    json_array_foreach (l->leases, i, lease) {
        const struct host_domain *d = domain_of(l, lease);
        const char *id = text_of(lease, "lease");
        if (!d || d->state != HOST_DOMAIN_ALIVE || strcmp(d->name, text_of(lease, "name")) != 0)
            return why_not(why, 200, "lease %s has no domain", id);
        strangers += !known_find(known, id);
    }
    for (size_t k = 0; k < known->n; k++)
        if (known->all[k].sure && !is_listed(l, known->all[k].lease))
            return why_not(why, 200, "lease %s was acknowledged, and is lost", known->all[k].lease);
    if (strangers > unsaid)
        return why_not(why, 200, "%zu leases that nobody has asked for", strangers - unsaid);
    return true;
}

/* Those of living clients and of dead ones. */
static void known_all(struct known_list *out)
{
    *out = (struct known_list){0};
    for (size_t i = 0; i < nobodys.n; i++)
        known_add(out, nobodys.all[i].lease, nobodys.all[i].sure);
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].deed == HOLDING)
            known_add(out, clients[i].lease, true);
}

/* The host and the daemon agree, if not now then soon. */
static void check_agreement(void)
{
    uint64_t until = clock_mono_us() + PATIENCE_MS * 1000ull;
    struct known_list known;
    char why[200] = "";
    known_all(&known);
    for (bool ok = false; !ok; usleep(20000)) {
        struct listing l;
        listing_take(&l);
        ok = domains_hold(&l, why) && leases_hold(&l, &known, why);
        listing_drop(&l);
        if (!ok && clock_mono_us() > until)
            violated(why);
    }
    free(known.all);
}

static void check_bounds(void)
{
    unsigned descriptors = running_descriptors(&daemon_);
    unsigned long rss = running_rss_kib(&daemon_),
                  log = running_file_kib(&daemon_, DATABASE "-wal");
    char what[160];
    format_fits(what, sizeof what, "%u descriptors, %lu KiB of memory after %lu, %lu KiB of log",
                descriptors, rss, rss_kib, log);
    if (!rss_kib)
        rss_kib = rss;
    must(descriptors <= DESCRIPTORS_MAX && rss <= rss_kib + RSS_GROWTH_KIB && log <= LOG_KIB_MAX,
         what);
}

/* The daemon is dead. */
static void check_database(void)
{
    char *said = running_integrity(&daemon_);
    must(!strcmp(said, "ok"), said);
    free(said);
}

/* ---- rest ---- */

static bool is_held(const char *lease)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].deed == HOLDING && !strcmp(clients[i].lease, lease))
            return true;
    return false;
}

/* Whatever no living client has goes. */
static void release_nobodys(void)
{
    size_t i;
    json_t *lease, *going = json_array();
    json_t *reply = running_ask(&daemon_, "List", NULL);
    json_array_foreach (get(reply, "leases"), i, lease) {
        if (!is_held(text_of(lease, "lease")))
            json_array_append_new(going, json_string(text_of(lease, "lease")));
    }
    json_decref(reply);
    if (json_array_size(going)) {
        reply = running_ask(&daemon_, "Release", json_pack("{s:O}", "leases", going));
        const char *error = error_of(reply);
        must(!error || !strcmp(error, "NoSuchLease"), "Release: of what nobody holds");
        json_decref(reply);
    }
    json_decref(going);
    nobodys.n = 0;
    unsaid = 0;
}

/* Leases are given again, without a restart, within a time. */
static void check_service(void)
{
    uint64_t until = clock_mono_us() + PATIENCE_MS * 1000ull;
    json_t *reply = NULL;
    while (!reply || error_of(reply)) {
        json_decref(reply);
        must(clock_mono_us() < until, "no lease is given any more");
        reply = running_ask(&daemon_, "Allocate",
                            json_pack("{s:s, s:i}", "image", "fire", "wait_ms", 1000));
    }
    json_t *again =
        running_ask(&daemon_, "Release", json_pack("{s:[O]}", "leases", get(reply, "lease")));
    must(!error_of(again), "Release: of a lease that was just given");
    json_decref(again);
    json_decref(reply);
}

static void rest(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        hear_answer(&clients[i]);
    check_service();
    json_t *reply =
        running_ask(&daemon_, "PoolWait", json_pack("{s:i}", "timeout_ms", PATIENCE_MS));
    must(!error_of(reply), "PoolWait: the pool does not fill");
    json_decref(reply);
    check_agreement();
    check_bounds();
    release_nobodys();
    check_agreement();
}

/* ---- phases ---- */

/* What it had said before it died is heard. */
static void kill_daemon(void)
{
    running_kill(&daemon_);
    kills++;
    for (size_t i = 0; i < CLIENTS; i++) {
        while (clients[i].fd >= 0 && client_read(&clients[i]))
            ;
        client_cut(&clients[i], false);
    }
    check_database();
    running_start(&daemon_);
}

static void phase_begin(enum phase next)
{
    phase = next;
    if (phase == PHASE_NO_MEMORY) {
        running_fault(&daemon_, "free_mib", "1");
        running_fault(&daemon_, "build", "no-memory");
    } else if (phase == PHASE_NO_ROOM) {
        running_fill(&daemon_, true);
    }
}

/* Answers that were on their way still belong to it. */
static void phase_end(void)
{
    if (phase == PHASE_NO_MEMORY) {
        running_fault(&daemon_, "build", "");
        running_fault(&daemon_, "free_mib", "");
    } else if (phase == PHASE_NO_ROOM) {
        running_fill(&daemon_, false);
    }
    rest();
}

/* ---- rounds ---- */

static void act(struct client *c, unsigned die, unsigned hold, unsigned wait)
{
    if (die == 0) {
        client_cut(c, true);
        deaths++;
        return;
    }
    hear_answer(c);
    if (c->deed == IDLE)
        client_allocate(c, hold == 0, wait ? WAIT_MS : 0);
    else
        client_release(c, wait & 1);
}

/* In the middle of what some clients ask at once. */
static void kill_busy_daemon(useconds_t delay_us)
{
    unsigned n = 0;
    for (size_t i = 0; i < CLIENTS && n < BUSY; i++) {
        if (clients[i].deed == IDLE) {
            client_allocate(&clients[i], false, 0);
            n++;
        }
    }
    usleep(delay_us);
    kill_daemon();
}

/* The same draws in each round, whatever comes to pass. */
static void round_run(void)
{
    struct client *c = &clients[below(CLIENTS)];
    unsigned die = below(DIE_ONE_IN), hold = below(HOLD_ONE_IN), wait = below(4);
    unsigned kill_now = below(KILL_ONE_IN), delay_us = below(KILL_US_MAX), pause = below(4);
    act(c, die, hold, wait);
    hear(pause ? 0 : 2);
    if (phase == PHASE_KILLS && !kill_now)
        kill_busy_daemon(delay_us);
}

static void run(uint64_t rounds)
{
    uint64_t phase_ends = phases[phase].rounds;
    for (round_ = 0; round_ < rounds; round_++) {
        if (round_ == phase_ends) {
            phase_end();
            phase_begin((phase + 1) % PHASE_COUNT);
            phase_ends += phases[phase].rounds;
        }
        round_run();
    }
    phase_end();
    kill_daemon();
    phase = PHASE_PLENTY;
    rest();
}

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    setenv("ASAN_OPTIONS", "quarantine_size_mb=8", 0); /* or memory grows without a fault */
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].fd = -1;
        message_reader_init(&clients[i].reader, 1u << 20);
    }
    random_seed(seed);
    running_init(&daemon_, settings);
    running_fault(&daemon_, "build_ms", "1");
    running_fault(&daemon_, "complete_ms", "0");
    running_fault(&daemon_, "destroy_ms", "1");
    running_start(&daemon_);
    json_t *reply = running_ask(&daemon_, "ImageImport",
                                json_pack("{s:s, s:s}", "name", "fire", "path", daemon_.conf));
    must(!error_of(reply), "the image cannot be imported");
    json_decref(reply);
}

static void end(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    free(nobodys.all);
    running_dispose(&daemon_);
}

int main(int argc, char **argv)
{
    uint64_t rounds;
    if (argc < 2 || number_parse(argv[1], 1, UINT32_MAX, &rounds) ||
        (argc > 2 && number_parse(argv[2], 0, UINT64_MAX, &seed))) {
        fputs("usage: soak ROUNDS [SEED]\n", stderr);
        return 64;
    }
    if (argc < 3)
        seed = clock_mono_us();
    printf("soak: seed %" PRIu64 ", %" PRIu64 " rounds of %d clients\n", seed, rounds, CLIENTS);
    fflush(stdout);
    begin();
    run(rounds);
    printf("soak: %u leases given, %u refused; %u clients and %u daemons killed\n", given, refused,
           deaths, kills);
    end();
    return 0;
}
