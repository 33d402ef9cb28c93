/*
 * Threads that do what must not block the loop. Items go in on the loop's thread, are run by one
 * of the threads, and come back on the loop's thread, in order when there is one thread.
 * Other threads reach the loop through uv_async_send alone.
 */
#ifndef POOL_WORK_H
#define POOL_WORK_H

#include "base/error.h"
#include "base/list.h"

#include <stdbool.h>
#include <uv.h>

#define WORK_THREADS_MAX 8

struct work_queue;

struct work_ops {
    /* On a thread. *local is the thread's own, NULL at first. */
    void (*run)(struct work_queue *q, struct list *item, void **local);
    /* On the loop. */
    void (*done)(struct work_queue *q, struct list *item);
    /* On a thread, after each item, when its `done` is on its way; others wait for their turn or
     * not. May be NULL. */
    void (*after)(struct work_queue *q, bool others, void **local);
    /* On a thread that had nothing to do for a second; may be NULL. */
    void (*idle)(struct work_queue *q, void **local);
    /* On a thread that ends; may be NULL. */
    void (*end)(struct work_queue *q, void **local);
};

struct work_queue {
    const struct work_ops *ops;
    void *owner;
    uv_async_t async;
    uv_mutex_t mutex;
    uv_cond_t cond;
    struct list pending, finished; /* under mutex */
    unsigned busy;                 /* items inside run; under mutex */
    bool stopping;                 /* under mutex */
    uv_thread_t threads[WORK_THREADS_MAX];
    unsigned n_threads;
};

int work_queue_init(struct work_queue *q, uv_loop_t *loop, const struct work_ops *ops, void *owner,
                    unsigned n_threads, struct error *e);
void work_start(struct work_queue *q, struct list *item);
/* True when nothing is pending or being run. */
bool work_idle(struct work_queue *q);
/* Lets the threads finish what is pending and joins them; then their `done`s are called here. The
 * loop must run once more for the handle's closing. */
void work_queue_stop(struct work_queue *q);

#endif
