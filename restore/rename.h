/*
 * Gives a domain its name, and its console to xenconsoled, while its memory is being completed. The
 * answer of xenstored takes milliseconds, and as long as a whole delta when many domains talk to
 * it; so a thread waits for it. The thread is there from the time when the slot was built: starting
 * one costs as much as half a completion's hypercalls.
 */
#ifndef RESTORE_RENAME_H
#define RESTORE_RENAME_H

#include "restore/xen.h"

#include <pthread.h>

enum rename_state { RENAME_NOTHING, RENAME_ASKED, RENAME_DONE, RENAME_OVER };

struct rename {
    struct xen *x;
    uint32_t domid;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock */
    enum rename_state state;
    const char *name;
    int rc;
    struct error error;
};

/* Starts the thread. x is borrowed until rename_dispose. Cannot fail: where no thread is to be had,
 * rename_end does the work. */
void rename_prepare(struct rename *r, struct xen *x, uint32_t domid);
void rename_dispose(struct rename *r);

/*
 * Starts domtree_rename, once. name is borrowed until rename_end, which must be called; between the
 * two nobody else may use x->xs. Does not block.
 */
void rename_begin(struct rename *r, const char *name);
/* Waits for the name to be written. Errors: those of domtree_rename. */
int rename_end(struct rename *r, struct error *e);

#endif
