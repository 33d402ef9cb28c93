/* Work queues: see work.h. */
#include "pool/service/work.h"

#define IDLE_NS 1000000000ull

/* The next item, or NULL when the thread is to end. Called and returns with the mutex held. */
static struct list *work_next(struct work_queue *q, void **local)
{
    bool idled = !q->ops->idle;
    for (;;) {
        struct list *item = list_pop(&q->pending);
        if (item || q->stopping)
            return item;
        if (idled) {
            uv_cond_wait(&q->cond, &q->mutex);
        } else if (uv_cond_timedwait(&q->cond, &q->mutex, IDLE_NS) == UV_ETIMEDOUT &&
                   list_empty(&q->pending)) {
            uv_mutex_unlock(&q->mutex);
            q->ops->idle(q, local);
            uv_mutex_lock(&q->mutex);
            idled = true;
        }
    }
}

static void work_thread(void *arg)
{
    struct work_queue *q = arg;
    void *local = NULL;
    struct list *item;
    uv_mutex_lock(&q->mutex);
    while ((item = work_next(q, &local))) {
        q->busy++;
        uv_mutex_unlock(&q->mutex);
        q->ops->run(q, item, &local);
        uv_mutex_lock(&q->mutex);
        q->busy--;
        list_append(&q->finished, item);
        bool others = !list_empty(&q->pending);
        uv_mutex_unlock(&q->mutex);
        uv_async_send(&q->async);
        if (q->ops->after)
            q->ops->after(q, others, &local);
        uv_mutex_lock(&q->mutex);
    }
    uv_mutex_unlock(&q->mutex);
    if (q->ops->end)
        q->ops->end(q, &local);
}

static void work_deliver(struct work_queue *q)
{
    for (;;) {
        uv_mutex_lock(&q->mutex);
        struct list *item = list_pop(&q->finished);
        uv_mutex_unlock(&q->mutex);
        if (!item)
            return;
        q->ops->done(q, item);
    }
}

static void work_async(uv_async_t *async)
{
    work_deliver(container_of(async, struct work_queue, async));
}

int work_queue_init(struct work_queue *q, uv_loop_t *loop, const struct work_ops *ops, void *owner,
                    unsigned n_threads, struct error *e)
{
    *q = (struct work_queue){.ops = ops, .owner = owner};
    list_init(&q->pending);
    list_init(&q->finished);
    int rc = uv_async_init(loop, &q->async, work_async);
    if (rc)
        return error_set(e, rc, "start worker threads: %s", uv_strerror(rc));
    uv_mutex_init(&q->mutex);
    uv_cond_init(&q->cond);
    while (!rc && q->n_threads < n_threads) {
        rc = uv_thread_create(&q->threads[q->n_threads], work_thread, q);
        if (!rc)
            q->n_threads++;
    }
    return rc ? error_set(e, rc, "start a worker thread: %s", uv_strerror(rc)) : 0;
}

void work_start(struct work_queue *q, struct list *item)
{
    uv_mutex_lock(&q->mutex);
    list_append(&q->pending, item);
    uv_mutex_unlock(&q->mutex);
    uv_cond_signal(&q->cond); /* now: whoever wakes up finds the mutex free */
}

bool work_idle(struct work_queue *q)
{
    uv_mutex_lock(&q->mutex);
    bool idle = list_empty(&q->pending) && !q->busy;
    uv_mutex_unlock(&q->mutex);
    return idle;
}

void work_queue_stop(struct work_queue *q)
{
    uv_mutex_lock(&q->mutex);
    q->stopping = true;
    uv_cond_broadcast(&q->cond);
    uv_mutex_unlock(&q->mutex);
    for (unsigned i = 0; i < q->n_threads; i++)
        uv_thread_join(&q->threads[i]);
    work_deliver(q);
    uv_close((uv_handle_t *)&q->async, NULL);
    uv_cond_destroy(&q->cond);
    uv_mutex_destroy(&q->mutex);
}
