/*
 * Gives a domain its name, and its console to xenconsoled, while its memory is being completed. The
 * answer of xenstored takes milliseconds, and as long as a whole delta when many domains talk to
 * it; so a thread waits for it. Both ends are here: what begins is ended, whatever happens between.
 */
#ifndef RESTORE_RENAME_H
#define RESTORE_RENAME_H

#include "restore/xen.h"

#include <pthread.h>

struct rename {
    struct xen *x;
    uint32_t domid;
    const char *name;
    pthread_t thread;
    bool running;
    int rc;
    struct error error;
};

/*
 * Starts domtree_rename. x and name are borrowed until rename_end, which must
 * be called; between the two nobody else may use x->xs. Does not block, and cannot fail: where no
 * thread is to be had, rename_end does the work.
 */
void rename_begin(struct rename *r, struct xen *x, uint32_t domid, const char *name);
/* Waits for the name to be written. Errors: those of domtree_rename. */
int rename_end(struct rename *r, struct error *e);

#endif
