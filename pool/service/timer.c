/* Timers: see timer.h. */
#include "pool/service/timer.h"

#define LONGEST_MS (400ull * 86400 * 1000) /* far beyond any host's uptime, far below overflow */

static struct timer *timer_at(struct list *node)
{
    return container_of(node, struct timer, node);
}

void timers_init(struct timers *ts, struct world *world)
{
    list_init(&ts->queue);
    ts->world = world;
}

void timer_init(struct timer *t)
{
    list_init(&t->node);
}

bool timer_armed(const struct timer *t)
{
    return !list_empty(&t->node);
}

static void alarm_set(struct timers *ts)
{
    if (list_empty(&ts->queue))
        ts->world->ops->alarm_off(ts->world);
    else
        ts->world->ops->alarm_at(ts->world, timer_at(ts->queue.next)->due_us);
}

void timer_start(struct timers *ts, struct timer *t, uint64_t delay_ms,
                 void (*fire)(struct timer *t))
{
    list_remove(&t->node);
    if (delay_ms > LONGEST_MS)
        delay_ms = LONGEST_MS;
    t->due_us = ts->world->ops->mono_us(ts->world) + delay_ms * 1000;
    t->fire = fire;
    /* From the end: most timers have the longest delay so far. Equal times keep their order. */
    struct list *before = &ts->queue;
    while (before->prev != &ts->queue && timer_at(before->prev)->due_us > t->due_us)
        before = before->prev;
    list_insert(before, &t->node);
    if (ts->queue.next == &t->node)
        alarm_set(ts);
}

/* The alarm stays: it finds nothing due and sets itself anew. */
void timer_stop(struct timer *t)
{
    list_remove(&t->node);
}

void timers_run(struct timers *ts)
{
    uint64_t now = ts->world->ops->mono_us(ts->world);
    struct list due;
    list_init(&due);
    while (!list_empty(&ts->queue) && timer_at(ts->queue.next)->due_us <= now)
        list_append(&due, list_pop(&ts->queue));
    struct list *node;
    while ((node = list_pop(&due)))
        timer_at(node)->fire(timer_at(node));
    alarm_set(ts);
}
