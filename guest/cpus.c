/* See cpus.h. */
#define _GNU_SOURCE

#include "guest/cpus.h"

#include "guest/console.h"
#include "guest/threads.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

enum {
    CPUS_MAX = WORKERS_MAX,
    LIMIT_MS = 30000, /* emulated hosts are slow; this only ends the wait for what is dead */
};

struct cpu {
    struct guest_worker worker; /* first: worker and cpu are one */
    int number;                 /* where it must run */
    struct share share;         /* of memory; set by the checker for each round */
    bool right[AREA_KINDS];
};

static struct cpu cpus[CPUS_MAX];
static struct workers workers;

size_t cpus_count(void)
{
    return workers.count;
}

static bool cpu_work(struct guest_worker *w, uint64_t round)
{
    struct cpu *c = (struct cpu *)w;
    int before = sched_getcpu();
    areas_check(&c->share, round, c->right);
    return before == c->number && sched_getcpu() == c->number;
}

static void *cpu_run(void *arg)
{
    struct cpu *c = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)c->number, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        say("guest: error cannot run on vcpu %d: %s", c->number, strerror(errno));
    guest_worker_run(&c->worker);
}

void cpus_start(void)
{
    cpu_set_t online;
    CPU_ZERO(&online);
    sched_getaffinity(0, sizeof online, &online);
    for (int number = 0; number < CPUS_MAX; number++) {
        if (!CPU_ISSET((size_t)number, &online))
            continue;
        struct cpu *c = &cpus[workers.count];
        *c = (struct cpu){.worker.work = cpu_work, .number = number, .share.number = workers.count};
        workers.members[workers.count++] = &c->worker;
        guest_thread_start(cpu_run, c);
    }
}

void cpus_ask(uint64_t round, size_t areas)
{
    if (!workers_idle(&workers))
        return;
    for (size_t i = 0; i < workers.count; i++) {
        cpus[i].share.of = workers.count;
        cpus[i].share.areas = areas;
    }
    workers_ask(&workers, round);
}

struct tally cpus_wait(uint64_t round, bool memory_ok[AREA_KINDS])
{
    struct tally t = workers_wait(&workers, round, LIMIT_MS);
    for (size_t kind = 0; kind < AREA_KINDS; kind++) {
        memory_ok[kind] = t.done == workers.count;
        for (size_t i = 0; memory_ok[kind] && i < workers.count; i++)
            memory_ok[kind] = cpus[i].right[kind];
    }
    return t;
}
