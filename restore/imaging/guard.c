/*
 * The guard of a capture: see guard.h.
 *
 * The guard waits in read(2) on a pipe whose other end only the capturing process has. One word
 * arms the guard, another dismisses it. The end of the pipe means that the process is gone. The
 * guest still carries out a request that it had acknowledged by then. Therefore the guard looks
 * after the domain until it has undone something, for at most the time that a suspension may take.
 *
 * A guard may undo the request of another capture of the domain, if that capture begins before the
 * guest has carried out the killed one's request. The other capture notices (capture.c,
 * stillness_check).
 */
#include "restore/imaging/guard.h"

#include "base/io.h"
#include "base/log.h"
#include "restore/imaging/suspend.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_AFTER_S 65 /* a guest's 60 s for suspending, and a little (suspend.h) */
#define ARMED 'a'
#define DISMISSED 'd'
#define NAME "dompool-guard" /* who kills helpers by their name does not mean this process */

static void look_after(uint32_t domid, const struct uuid *uuid)
{
    struct xen x;
    struct error e = {0};
    if (xen_open(&x, &e)) {
        log_error("domain %u may stand still after a capture that was killed: %s", domid, e.text);
        return;
    }
    enum suspend_undone what = UNDONE_NOTHING;
    for (unsigned s = 0; s < LOOK_AFTER_S && what == UNDONE_NOTHING; s++) {
        if (s)
            sleep(1);
        int rc = suspend_undo(&x, domid, uuid, &what, &e);
        if (rc == ANSWER_NO_SUCH_DOMAIN)
            break; /* gone */
        if (rc)
            log_error("%s", e.text);
    }
    xen_close(&x);
}

/* The last word that came; 0: none. */
static char listen_until_end(int fd)
{
    char word = 0, last = 0;
    ssize_t n;
    while (last != DISMISSED && (n = read(fd, &word, 1)) != 0)
        if (n > 0)
            last = word;
        else if (errno != EINTR)
            break;
    return last;
}

static _Noreturn void guard_run(int fd, uint32_t domid, const struct uuid *uuid)
{
    prctl(PR_SET_NAME, NAME);
    signal(SIGTERM, SIG_IGN); /* signals that end the capture must not end its guard */
    signal(SIGINT, SIG_IGN);
    setsid();
    if (dup2(fd, STDIN_FILENO) == STDIN_FILENO)
        close_range(STDERR_FILENO + 1, ~0u, 0); /* the daemon's socket above all */
    if (listen_until_end(STDIN_FILENO) == ARMED)
        look_after(domid, uuid);
    _exit(0);
}

int guard_start(struct guard *g, uint32_t domid, const struct uuid *uuid, struct error *e)
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

static void say(const struct guard *g, char word)
{
    if (write(g->fd, &word, 1) != 1) /* it is gone itself */
        log_warning("the guard of a capture has ended early");
}

void guard_arm(struct guard *g)
{
    say(g, ARMED);
}

void guard_dismiss(struct guard *g)
{
    if (g->fd < 0)
        return;
    say(g, DISMISSED);
    fd_close(&g->fd);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
