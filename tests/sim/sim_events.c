/* The simulated world's time, chance and memory, which all else stands on: see world_sim.h. */
#include "tests/sim/world_sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct event {
    struct list node;
    uint64_t at_us, seq;
    void (*fire)(struct sim *s, void *arg);
    void *arg;
};

/* Tests that make memory scarce exempt the simulator by these. */
__attribute__((weak)) bool sim_memory_spare(void)
{
    return false;
}
__attribute__((weak)) void sim_memory_restore(bool before)
{
    (void)before;
}

void sim_violated(const struct sim *s, const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: at %" PRIu64 " us: %s\n", file, line, s->now_us, what);
    abort();
}

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        abort();
    return p;
}

void sim_at(struct sim *s, uint64_t delay_us, void (*fire)(struct sim *s, void *arg), void *arg)
{
    struct event *e = sim_alloc(sizeof *e);
    *e = (struct event){.at_us = s->now_us + delay_us, .seq = s->seq++, .fire = fire, .arg = arg};
    struct list *before = &s->events;
    while (before->prev != &s->events &&
           container_of(before->prev, struct event, node)->at_us > e->at_us)
        before = before->prev;
    list_insert(before, &e->node);
}

void sim_cancel(struct sim *s, const void *arg)
{
    list_each (node, &s->events) {
        struct event *e = container_of(node, struct event, node);
        if (e->arg != arg)
            continue;
        list_remove(node);
        free(e);
    }
}

void sim_events_drop(struct sim *s, void (*fire)(struct sim *s, void *arg),
                     void (*dispose)(void *arg))
{
    list_each (node, &s->events) {
        struct event *e = container_of(node, struct event, node);
        if (e->fire == fire)
            dispose(e->arg);
        list_remove(node);
        free(e);
    }
}

uint64_t sim_random(struct sim *s, uint64_t below)
{
    s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
    return (s->random >> 33) % below;
}

bool sim_unlucky(struct sim *s, unsigned *left)
{
    if (*left) {
        (*left)--;
        return true;
    }
    return s->faults.random_percent && sim_random(s, 100) < s->faults.random_percent;
}

bool sim_step(struct sim *s, uint64_t until_us)
{
    struct event *e =
        list_empty(&s->events) ? NULL : container_of(s->events.next, struct event, node);
    uint64_t next = e ? e->at_us : UINT64_MAX;
    if (s->alarm_us < next)
        next = s->alarm_us;
    if (next > until_us)
        return false;
    if (next > s->now_us)
        s->now_us = next;
    if (!e || s->alarm_us < e->at_us) {
        s->alarm_us = UINT64_MAX;
        sim_memory_restore(false);
        s->world.alarm(&s->world);
        sim_memory_spare();
        return true;
    }
    list_remove(&e->node);
    void (*fire)(struct sim *, void *) = e->fire;
    void *arg = e->arg;
    free(e);
    fire(s, arg);
    return true;
}
