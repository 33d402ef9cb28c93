/*
 * A task: what a thread of its own does meanwhile, because it is mostly waiting for somebody
 * else. For xenstored: each of its answers takes milliseconds, a new domain's nodes take some two
 * hundred of them, and a name takes as long as a whole delta when many domains talk to xenstored.
 *
 * The thread is there from task_open on: starting one costs as much as half a completion's
 * hypercalls. It takes no signals.
 */
#ifndef BASE_TASK_H
#define BASE_TASK_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>

typedef int task_work(void *data, struct error *e);

enum task_state { TASK_NONE, TASK_BEGUN, TASK_DONE, TASK_CLOSED };

struct task {
    bool open, has_thread;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock */
    enum task_state state;
    task_work *work;
    void *data;
    int rc;
    struct error error;
};

/* Starts the thread. Cannot fail: where no thread is to be had, task_end does the work. */
void task_open(struct task *t);
/* Waits for a task that runs; one that has no thread is not done. A task of zeros is fine. */
void task_close(struct task *t);

/* Does not block. work and data are borrowed until task_end or task_close; whatever work
 * uses belongs to it until then. One at a time. */
void task_begin(struct task *t, task_work *work, void *data);
/* Waits until it is done; its answer, and its error. 0 when none was begun. */
int task_end(struct task *t, struct error *e);

#endif
