/*
 * The guard of a capture: see guard.h.
 *
 * It waits in read(2) on a pipe whose other end only the capturing process has. A byte dismisses
 * it; the end of the pipe means that the process is gone. What the guest had acknowledged by then
 * it still does, so the domain is looked after for as long as a suspension may take.
 */
#include "restore/guard.h"

#include "base/log.h"
#include "base/util.h"
#include "restore/suspend.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_AFTER_S 65 /* a guest's 60 s for suspending, and a little (suspend.h) */
#define WORD 'd'

static void look_after(uint32_t domid, const uint8_t uuid[16])
{
    struct xen x;
    struct error e = {0};
    if (xen_open(&x, &e)) {
        log_error("domain %u may stand still after a capture that was killed: %s", domid, e.text);
        return;
    }
    for (unsigned s = 0; s < LOOK_AFTER_S; s++) {
        int rc = suspend_undo(&x, domid, uuid, &e);
        if (rc == ANSWER_NO_SUCH_LEASE)
            break; /* gone */
        if (rc)
            log_error("%s", e.text);
        sleep(1);
    }
    xen_close(&x);
}

static _Noreturn void guard_run(int fd, uint32_t domid, const uint8_t uuid[16])
{
    char word = 0;
    signal(SIGTERM, SIG_IGN); /* what ends the capture must not end its guard */
    signal(SIGINT, SIG_IGN);
    setsid();
    if (dup2(fd, STDIN_FILENO) == STDIN_FILENO)
        close_range(STDERR_FILENO + 1, ~0u, 0); /* the daemon's socket above all */
    while (read(STDIN_FILENO, &word, 1) < 0 && errno == EINTR)
        ;
    if (word != WORD)
        look_after(domid, uuid);
    _exit(0);
}

int guard_start(struct guard *g, uint32_t domid, const uint8_t uuid[16], struct error *e)
{
    int fds[2];
    *g = (struct guard){.fd = -1};
    if (pipe2(fds, O_CLOEXEC))
        return error_errno(e, errno, "make a pipe to the guard of a capture");
    g->pid = fork();
    if (!g->pid) {
        close(fds[1]);
        guard_run(fds[0], domid, uuid);
    }
    int saved = errno;
    close(fds[0]);
    g->fd = fds[1];
    if (g->pid > 0)
        return 0;
    fd_close(&g->fd);
    return error_errno(e, saved, "start the guard of a capture");
}

void guard_dismiss(struct guard *g)
{
    const char word = WORD;
    if (g->fd < 0)
        return;
    if (write(g->fd, &word, 1) != 1) /* it is gone itself */
        log_debug("the guard of a capture has ended early");
    fd_close(&g->fd);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
