/* Scripts of network interfaces: see hotplug.h. */
#include "restore/xen/hotplug.h"

#include "base/clock.h"
#include "restore/xen/nodes.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_US 5000u
#define BACKEND "/local/domain/0/backend/vif/%u/%u"

/* ---- one run ---- */

static int spawn(const struct hotplug *h, const char *action, pid_t *pid)
{
    char script[4128], path[64], vif[40];
    snprintf(script, sizeof script, "script=%.4095s", h->script);
    snprintf(path, sizeof path, "XENBUS_PATH=backend/vif/%u/%u", h->domid, h->devid);
    snprintf(vif, sizeof vif, "vif=vif%u.%u", h->domid, h->devid);
    char *const argv[] = {(char *)(uintptr_t)h->script, (char *)(uintptr_t)action, "type_if=vif",
                          NULL};
    char *const envp[] = {script,
                          path,
                          vif,
                          "XENBUS_TYPE=vif",
                          "XENBUS_BASE_PATH=backend",
                          "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                          NULL};
    posix_spawnattr_t attributes;
    sigset_t none;
    int failed = posix_spawnattr_init(&attributes);
    if (failed)
        return failed;
    sigemptyset(&none); /* threads of the daemon block signals */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    failed = posix_spawn(pid, h->script, NULL, &attributes, argv, envp);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

/* 0, and its status; -ETIMEDOUT: it is killed, and what it has started, too. */
static int wait_for(pid_t pid, unsigned timeout_ms, int *status)
{
    uint64_t deadline_us = clock_mono_us() + timeout_ms * 1000ull;
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (clock_mono_us() > deadline_us)
            break;
        usleep(POLL_US);
    }
    kill(-pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return -ETIMEDOUT;
}

static int run(const struct hotplug *h, const char *action, unsigned timeout_ms, struct error *e)
{
    pid_t pid;
    int status, failed = spawn(h, action, &pid);
    if (failed)
        return error_errno(e, failed, "vif %u: run %s %s", h->devid, h->script, action);
    int rc = wait_for(pid, timeout_ms, &status);
    if (rc == -ETIMEDOUT)
        return error_set(e, rc, "vif %u: %s %s did not end within %u ms, and was killed", h->devid,
                         h->script, action, timeout_ms);
    if (rc)
        return error_errno(e, -rc, "vif %u: wait for %s %s", h->devid, h->script, action);
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return 0;
    return error_set(e, -EIO, "vif %u: %s %s ended with %s %d", h->devid, h->script, action,
                     WIFEXITED(status) ? "status" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* ---- what it wrote ---- */

static int check_status(struct xs_handle *xs, const struct hotplug *h, struct error *e)
{
    char *status = node_get(xs, BACKEND "/hotplug-status", h->domid, h->devid);
    bool connected = status && !strcmp(status, "connected");
    free(status);
    if (connected)
        return 0;
    char *said = node_get(xs, BACKEND "/hotplug-error", h->domid, h->devid);
    int rc = error_set(e, -EIO, "vif %u: %s did not make its port%s%.200s", h->devid, h->script,
                       said ? ": " : " (no hotplug-status \"connected\")", said ? said : "");
    free(said);
    return rc;
}

int hotplug_online(struct xs_handle *xs, const struct hotplug *h, unsigned timeout_ms,
                   struct error *e)
{
    struct error of_run;
    int rc = run(h, "online", timeout_ms, &of_run);
    if (rc && rc != -EIO) {
        if (e)
            *e = of_run;
        return rc;
    }
    int status_rc = check_status(xs, h, e); /* a script that failed has said why there */
    if (rc && !status_rc && e)
        *e = of_run;
    return status_rc ? status_rc : rc;
}

int hotplug_offline(const struct hotplug *h, unsigned timeout_ms, struct error *e)
{
    return run(h, "offline", timeout_ms, e);
}
