/*
 * Timers: see timer.h. A leftist heap: each timer is due before its children, and of two children
 * the left one has the higher rank, which is the length of the shortest way down to where a child
 * is missing. So the way down along the right children has at most log2(n + 1) steps, and two heaps
 * are merged along these.
 */
#include "pool/service/timer.h"

#define LONGEST_MS (400ull * 86400 * 1000) /* far beyond any host's uptime, far below overflow */

/* ---- the heap ---- */

static unsigned rank_of(const struct timer *t)
{
    return t ? t->rank : 0;
}

static bool is_before(const struct timer *a, const struct timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

/* Its children have changed. */
static void leftist_order(struct timer *t)
{
    if (rank_of(t->left) < rank_of(t->right)) {
        struct timer *left = t->left;
        t->left = t->right;
        t->right = left;
    }
    t->rank = rank_of(t->right) + 1;
}

/* The root of both; its parent is the caller's to set. */
static struct timer *merge(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (is_before(b, a))
        return merge(b, a);
    a->right = merge(a->right, b);
    a->right->parent = a;
    leftist_order(a);
    return a;
}

static struct timer *first(const struct timers *ts)
{
    return ts->top.left;
}

static void insert(struct timers *ts, struct timer *t)
{
    t->rank = 1;
    ts->top.left = merge(first(ts), t);
    ts->top.left->parent = &ts->top;
}

/* Upwards from where a child was replaced, as far as that changes a rank. */
static void settle_above(struct timer *t)
{
    unsigned before;
    for (; t->parent; t = t->parent) {
        before = t->rank;
        leftist_order(t);
        if (t->rank == before)
            return;
    }
}

static void take_out(struct timer *t)
{
    struct timer *parent = t->parent, *child = merge(t->left, t->right);
    if (parent->left == t)
        parent->left = child;
    else
        parent->right = child;
    if (child)
        child->parent = parent;
    settle_above(parent);
    timer_init(t);
}

/* ---- timers ---- */

void timers_init(struct timers *ts, struct world *world)
{
    *ts = (struct timers){.world = world};
}

void timer_init(struct timer *t)
{
    t->parent = t->left = t->right = NULL;
    t->rank = 0;
}

bool timer_armed(const struct timer *t)
{
    return t->rank != 0;
}

static void alarm_set(struct timers *ts)
{
    if (first(ts))
        ts->world->ops->alarm_at(ts->world, first(ts)->due_us);
    else
        ts->world->ops->alarm_off(ts->world);
}

void timer_start(struct timers *ts, struct timer *t, uint64_t delay_ms,
                 void (*fire)(struct timer *t))
{
    timer_stop(t);
    if (delay_ms > LONGEST_MS)
        delay_ms = LONGEST_MS;
    t->due_us = ts->world->ops->mono_us(ts->world) + delay_ms * 1000;
    t->number = ts->started++;
    t->fire = fire;
    insert(ts, t);
    if (first(ts) == t)
        alarm_set(ts);
}

/* The alarm stays: it finds nothing due and sets itself anew. */
void timer_stop(struct timer *t)
{
    if (timer_armed(t))
        take_out(t);
}

/* What is started meanwhile is due after all that is due now. */
void timers_run(struct timers *ts)
{
    const uint64_t now = ts->world->ops->mono_us(ts->world), before = ts->started;
    struct timer *t;
    while ((t = first(ts)) && t->due_us <= now && t->number < before) {
        take_out(t);
        t->fire(t);
    }
    alarm_set(ts);
}
