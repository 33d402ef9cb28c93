#include "restore/rename.h"

#include "restore/domtree.h"

#include <signal.h>

static void *write_name(void *data)
{
    struct rename *r = data;
    r->rc = domtree_rename(r->x, r->domid, r->name, &r->error);
    return NULL;
}

/* Signals are the main thread's: its handlers end the process in order. */
void rename_begin(struct rename *r, struct xen *x, uint32_t domid, const char *name)
{
    *r = (struct rename){.x = x, .domid = domid, .name = name};
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before))
        return;
    r->running = !pthread_create(&r->thread, NULL, write_name, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int rename_end(struct rename *r, struct error *e)
{
    if (r->running)
        pthread_join(r->thread, NULL);
    else
        write_name(r);
    r->running = false;
    if (r->rc)
        *e = r->error;
    return r->rc;
}
