/* Domains that stay suspended after a capture: see stopped.h. */
#include "restore/imaging/stopped.h"

#include "base/log.h"
#include "restore/imaging/suspend.h"

#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* xl knows what else belongs to a domain that it made. The daemon destroys a lease's domain. */
void stopped_end(const struct stopped *s)
{
    char domid[16];
    char *const argv[] = {"xl", "destroy", domid, NULL};
    pid_t pid;
    int status = -1;
    if (s->leased)
        return;
    snprintf(domid, sizeof domid, "%u", s->domid);
    if (!posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
        waitpid(pid, &status, 0);
    if (status)
        log_warning("domain %s was captured and is suspended, but xl destroy failed", domid);
}

/* The image was not recorded: the domain goes on. */
void stopped_undo(const struct stopped *s)
{
    struct xen x;
    struct error e = {0};
    if (!xen_open(&x, &e) && !suspend_undo(&x, s->domid, &s->uuid, NULL, &e))
        log_info("domain %u goes on: its image was not recorded", s->domid);
    else
        log_error("domain %u stands still after a capture: %s", s->domid, e.text);
    xen_close(&x);
    unlink(s->image);
}
