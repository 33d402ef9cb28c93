/* Threads and their priority: see thread.h. */
#include "base/thread.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* A tenth of a processor beside one that is wanted: little enough not to be felt by an allocation,
 * and enough that a pool fills on a dom0 with other work. */
#define NICE_BACKGROUND 10

void background_thread(bool on)
{
    if (!geteuid())
        (void)setpriority(PRIO_PROCESS, 0, on ? NICE_BACKGROUND : 0); /* on Linux: of one thread */
}

void background_group(bool on)
{
    if (!geteuid() && getpgrp() == getpid()) /* else it is others' as well */
        (void)setpriority(PRIO_PGRP, 0, on ? NICE_BACKGROUND : 0);
}

int thread_start(pthread_t *thread, void *(*run)(void *data), void *data)
{
    sigset_t all, before;
    sigfillset(&all);
    int rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc)
        return rc;
    rc = pthread_create(thread, NULL, run, data);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
