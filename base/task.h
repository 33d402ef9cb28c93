/*
 * An errand: what a thread of its own does meanwhile, because it is mostly waiting for somebody
 * else. For xenstored: each of its answers takes milliseconds, a new domain's nodes take some two
 * hundred of them, and a name takes as long as a whole delta when many domains talk to xenstored.
 *
 * The thread is there from errand_open on: starting one costs as much as half a completion's
 * hypercalls. It takes no signals.
 */
#ifndef BASE_TASK_H
#define BASE_TASK_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>

typedef int errand_task(void *data, struct error *e);

enum errand_state { ERRAND_NONE, ERRAND_BEGUN, ERRAND_DONE, ERRAND_CLOSED };

struct errand {
    bool open, has_thread;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock */
    enum errand_state state;
    errand_task *task;
    void *data;
    int rc;
    struct error error;
};

/* Starts the thread. Cannot fail: where no thread is to be had, errand_end does the work. */
void errand_open(struct errand *r);
/* Waits for an errand that runs; one that has no thread is not done. An errand of zeros is fine. */
void errand_close(struct errand *r);

/* Does not block. task and data are borrowed until errand_end or errand_close; whatever the task
 * uses belongs to it until then. One at a time. */
void errand_begin(struct errand *r, errand_task *task, void *data);
/* Waits until it is done; its answer, and its error. 0 when none was begun. */
int errand_end(struct errand *r, struct error *e);

#endif
