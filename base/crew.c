/* A crew of threads: see crew.h. */
#include "base/crew.h"

#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct crew_member {
    struct crew *crew;
    unsigned number;
    pthread_t thread;
};

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct crew_member members[CREW_MAX - 1]; /* numbers 1 and up */
    unsigned n_threads;
    /* under lock */
    bool ends;
    crew_part *fn;
    void *data;
    unsigned next, parts; /* parts next to parts - 1 have not begun */
    unsigned running;
    int rc;               /* of the lowest part that failed */
    unsigned failed_part; /* which that was, when rc is not 0 */
    struct error error;
};

unsigned crew_size_best(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > CREW_MAX ? CREW_MAX : (unsigned)n;
}

/* With the lock held. None begins when one has failed. */
static bool has_part(const struct crew *c)
{
    return c->next < c->parts && !c->rc;
}

/* With the lock held, which is let go meanwhile. */
static void do_part(struct crew *c, unsigned part, unsigned worker)
{
    struct error e = {0};
    c->running++;
    pthread_mutex_unlock(&c->lock);
    int rc = c->fn(c->data, part, worker, &e);
    pthread_mutex_lock(&c->lock);
    c->running--;
    if (rc && (!c->rc || part < c->failed_part)) {
        c->rc = rc;
        c->error = e;
        c->failed_part = part;
    }
    if (!c->running)
        pthread_cond_signal(&c->done);
}

static void *thread_run(void *data)
{
    const struct crew_member *m = data;
    struct crew *c = m->crew;
    pthread_mutex_lock(&c->lock);
    while (!c->ends) {
        if (has_part(c))
            do_part(c, c->next++, m->number);
        else
            pthread_cond_wait(&c->work, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int crew_new(unsigned size, struct crew **out, struct error *e)
{
    struct crew *c = calloc(1, sizeof *c);
    *out = c;
    if (!c)
        return error_set(e, -ENOMEM, "out of memory for a crew of threads");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->done, NULL);
    unsigned n = size > CREW_MAX ? CREW_MAX - 1 : size - 1;
    for (bool started = true; started && c->n_threads < n; c->n_threads += started) {
        struct crew_member *m = &c->members[c->n_threads];
        *m = (struct crew_member){.crew = c, .number = c->n_threads + 1};
        started = !thread_start(&m->thread, thread_run, m);
    }
    return 0;
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->ends = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->n_threads; i++)
        pthread_join(c->members[i].thread, NULL);
    pthread_cond_destroy(&c->done);
    pthread_cond_destroy(&c->work);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

unsigned crew_size(const struct crew *c)
{
    return c->n_threads + 1;
}

void crew_begin(struct crew *c, unsigned parts, crew_part *fn, void *data)
{
    pthread_mutex_lock(&c->lock);
    c->fn = fn;
    c->data = data;
    c->rc = 0;
    c->parts = parts;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
}

int crew_end(struct crew *c, struct error *e)
{
    pthread_mutex_lock(&c->lock);
    while (has_part(c))
        do_part(c, c->next++, 0);
    while (c->running)
        pthread_cond_wait(&c->done, &c->lock);
    int rc = c->rc;
    c->next = c->parts = 0;
    if (rc)
        *e = c->error;
    pthread_mutex_unlock(&c->lock);
    return rc;
}
