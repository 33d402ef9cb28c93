/* Tasks on a thread: see task.h. */
#include "base/task.h"

#include "base/thread.h"

#include <assert.h>

static void state_set(struct task *t, enum task_state to)
{
    pthread_mutex_lock(&t->lock);
    t->state = to;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void do_task(struct task *t)
{
    t->rc = t->work(t->data, &t->error);
}

static void *thread_run(void *data)
{
    struct task *t = data;
    pthread_mutex_lock(&t->lock);
    while (t->state != TASK_CLOSED) {
        if (t->state == TASK_BEGUN) {
            pthread_mutex_unlock(&t->lock);
            do_task(t);
            state_set(t, TASK_DONE);
            pthread_mutex_lock(&t->lock);
        } else {
            pthread_cond_wait(&t->changed, &t->lock);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

void task_open(struct task *t)
{
    *t = (struct task){.open = true};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->has_thread = !thread_start(&t->thread, thread_run, t);
}

/* Whether one was begun, which is done now. */
static bool wait_done(struct task *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->state == TASK_BEGUN && t->has_thread)
        pthread_cond_wait(&t->changed, &t->lock);
    bool begun = t->state != TASK_NONE;
    pthread_mutex_unlock(&t->lock);
    return begun;
}

void task_close(struct task *t)
{
    if (!t->open)
        return;
    if (t->has_thread) {
        (void)wait_done(t);
        state_set(t, TASK_CLOSED);
        pthread_join(t->thread, NULL);
    }
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    *t = (struct task){0};
}

void task_begin(struct task *t, task_work *work, void *data)
{
    assert(t->open);
    t->work = work;
    t->data = data;
    state_set(t, TASK_BEGUN);
}

int task_end(struct task *t, struct error *e)
{
    if (!wait_done(t))
        return 0;
    if (!t->has_thread)
        do_task(t);
    state_set(t, TASK_NONE);
    if (t->rc)
        *e = t->error;
    return t->rc;
}
