/* See checks.h. */
#define _GNU_SOURCE

#include "guest/checks.h"

#include "guest/children.h"
#include "guest/console.h"
#include "guest/cpus.h"
#include "guest/disks.h"
#include "guest/identity.h"
#include "guest/options.h"
#include "guest/threads.h"

#include <errno.h>
#include <inttypes.h>

/* ---- ticks ---- */

static uint64_t tick_count;
static bool tick_loud = true;

void ticks_print(bool loud)
{
    __atomic_store_n(&tick_loud, loud, __ATOMIC_RELAXED);
}

static void *ticker_run(void *arg)
{
    (void)arg;
    for (;;) {
        uint64_t count = __atomic_add_fetch(&tick_count, 1, __ATOMIC_RELAXED);
        if (__atomic_load_n(&tick_loud, __ATOMIC_RELAXED))
            say("guest: tick %" PRIu64, count);
        sleep_ms(options.tick_ms);
    }
    return NULL;
}

/* ---- checks ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    unsigned pending;
} checker = {.lock = PTHREAD_MUTEX_INITIALIZER, .pending = 1};

void check_ask(void)
{
    pthread_mutex_lock(&checker.lock);
    checker.pending++;
    pthread_cond_signal(&checker.asked);
    pthread_mutex_unlock(&checker.lock);
}

/* Returns when a check is due: asked for, or check_ms after the last one ended. */
static void check_wait(void)
{
    struct timespec deadline = deadline_after(options.check_ms);
    pthread_mutex_lock(&checker.lock);
    while (!checker.pending) {
        if (!options.check_ms)
            pthread_cond_wait(&checker.asked, &checker.lock);
        else if (pthread_cond_timedwait(&checker.asked, &checker.lock, &deadline) == ETIMEDOUT)
            break;
    }
    if (checker.pending > 0)
        checker.pending--;
    pthread_mutex_unlock(&checker.lock);
}

/* What a round found. */
struct findings {
    size_t pages[AREA_KINDS];
    bool memory_ok[AREA_KINDS];
    size_t cpus;
    struct tally disks;
    size_t tree, tree_wanted;
};

static void round_run(uint64_t round, struct findings *f)
{
    f->tree_wanted = trees_size();
    cpus_ask(round, areas_count(f->pages));
    disks_ask(round);
    trees_ask();
    f->cpus = cpus_wait(round, f->memory_ok).good;
    f->disks = disks_wait(round);
    f->tree = trees_wait();
}

static const char *verdict(bool ok)
{
    return ok ? "ok" : "bad";
}

/* Slow: nothing was found wrong, but not all have answered in time. */
static const char *disks_verdict(struct tally t)
{
    return t.good < disks_count() && t.good == t.done ? "slow" : verdict(t.good == disks_count());
}

static void check(uint64_t round)
{
    struct findings f;
    char name[TAG_BYTES];
    round_run(round, &f);
    tag_get(name);
    say("guest: check %" PRIu64 " seq=%" PRIu64
        " pattern=%s pages=%zu cpus=%s:%zu disks=%s:%zu work=%s:%zu tree=%s:%zu tag=%s"
        " id=%016" PRIx64,
        __atomic_load_n(&tick_count, __ATOMIC_RELAXED), round, verdict(f.memory_ok[AREA_PATTERN]),
        f.pages[AREA_PATTERN], verdict(f.cpus == cpus_count()), f.cpus, disks_verdict(f.disks),
        f.disks.good, verdict(f.memory_ok[AREA_WORK]), f.pages[AREA_WORK] / PAGES_PER_MIB,
        verdict(f.tree >= f.tree_wanted), f.tree, name, boot_id);
}

static void *checker_run(void *arg)
{
    (void)arg;
    for (uint64_t round = 1;; round++) {
        check_wait();
        check(round);
    }
    return NULL;
}

void checks_start(void)
{
    cond_init(&checker.asked);
    guest_thread_start(ticker_run, NULL);
    guest_thread_start(checker_run, NULL);
}
