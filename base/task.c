/* Errands on a thread: see task.h. */
#include "base/task.h"

#include "base/util.h"

#include <assert.h>

static void state_set(struct errand *r, enum errand_state to)
{
    pthread_mutex_lock(&r->lock);
    r->state = to;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void do_task(struct errand *r)
{
    r->rc = r->task(r->data, &r->error);
}

static void *thread_run(void *data)
{
    struct errand *r = data;
    pthread_mutex_lock(&r->lock);
    while (r->state != ERRAND_CLOSED) {
        if (r->state == ERRAND_BEGUN) {
            pthread_mutex_unlock(&r->lock);
            do_task(r);
            state_set(r, ERRAND_DONE);
            pthread_mutex_lock(&r->lock);
        } else {
            pthread_cond_wait(&r->changed, &r->lock);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

void errand_open(struct errand *r)
{
    *r = (struct errand){.open = true};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->has_thread = !thread_start(&r->thread, thread_run, r);
}

/* Whether one was begun, which is done now. */
static bool wait_done(struct errand *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->state == ERRAND_BEGUN && r->has_thread)
        pthread_cond_wait(&r->changed, &r->lock);
    bool begun = r->state != ERRAND_NONE;
    pthread_mutex_unlock(&r->lock);
    return begun;
}

void errand_close(struct errand *r)
{
    if (!r->open)
        return;
    if (r->has_thread) {
        (void)wait_done(r);
        state_set(r, ERRAND_CLOSED);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    *r = (struct errand){0};
}

void errand_begin(struct errand *r, errand_task *task, void *data)
{
    assert(r->open);
    r->task = task;
    r->data = data;
    state_set(r, ERRAND_BEGUN);
}

int errand_end(struct errand *r, struct error *e)
{
    if (!wait_done(r))
        return 0;
    if (!r->has_thread)
        do_task(r);
    state_set(r, ERRAND_NONE);
    if (r->rc)
        *e = r->error;
    return r->rc;
}
