/* Naming on a thread: see rename.h. */
#include "restore/rename.h"

#include "restore/domtree.h"

#include <signal.h>

static void write_name(struct rename *r)
{
    r->rc = domtree_rename(r->x, r->domid, r->name, &r->error);
}

static void state_set(struct rename *r, enum rename_state to)
{
    pthread_mutex_lock(&r->lock);
    r->state = to;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* Waits until the state is no longer this one. */
static enum rename_state state_after(struct rename *r, enum rename_state state)
{
    pthread_mutex_lock(&r->lock);
    while (r->state == state)
        pthread_cond_wait(&r->changed, &r->lock);
    state = r->state;
    pthread_mutex_unlock(&r->lock);
    return state;
}

static void *thread_run(void *data)
{
    struct rename *r = data;
    if (state_after(r, RENAME_NOTHING) == RENAME_ASKED) {
        write_name(r);
        state_set(r, RENAME_DONE);
    }
    return NULL;
}

/* Signals are the main thread's: its handlers end the process in order. */
void rename_prepare(struct rename *r, struct xen *x, uint32_t domid)
{
    *r = (struct rename){.x = x, .domid = domid};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before))
        return;
    r->has_thread = !pthread_create(&r->thread, NULL, thread_run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void rename_dispose(struct rename *r)
{
    if (!r->x)
        return;
    if (r->has_thread) {
        if (r->state == RENAME_NOTHING)
            state_set(r, RENAME_OVER);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    *r = (struct rename){0};
}

void rename_begin(struct rename *r, const char *name)
{
    r->name = name;
    if (r->has_thread)
        state_set(r, RENAME_ASKED);
}

int rename_end(struct rename *r, struct error *e)
{
    if (r->has_thread)
        state_after(r, RENAME_ASKED);
    else
        write_name(r);
    if (r->rc)
        *e = r->error;
    return r->rc;
}
