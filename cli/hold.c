/*
 * Holding a lease: see hold.h.
 *
 *   watching --signal--> releasing --answer or second signal--> done
 *       \--the lease has ended--> done
 *
 * The daemon answers one request of a connection after the other. So the end of the lease is
 * waited for on a second connection, and the one that holds the lease is free to release it. The
 * signals come through a descriptor, so the answer to a signal is ordinary code.
 */
#include "cli/hold.h"

#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum hold_state { HOLD_WATCHING, HOLD_RELEASING, HOLD_DONE };

struct holder {
    struct invocation *inv;
    struct dompool *watch; /* the second connection */
    const char *lease;
    enum hold_state state;
    int status; /* what the command ends with */
};

static int hold_start(struct dompool *d, const char *method, json_t *parameters,
                      dompool_reply_fn *fn, struct holder *h)
{
    char *text = talk_text(parameters);
    int rc = dompool_start(d, method, text, 0, fn, h);
    free(text);
    return rc;
}

/* rc negative: the second connection is lost, which its dompool_dispatch returns as well. */
static void hold_ended(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    (void)more;
    struct holder *h = data;
    if (rc < 0 || h->state != HOLD_WATCHING)
        return;
    json_t *object = must(json_loads(reply, 0, NULL));
    if (!rc)
        complain("lease %s has ended: %s", h->lease, get_text(object, "reason"));
    else if (!strcmp(dompool_error_name(d), "NoSuchLease"))
        complain("lease %s has ended", h->lease);
    else
        h->status = talk_failed_on(h->inv, d, rc, NULL);
    json_decref(object);
    h->state = HOLD_DONE;
}

static void hold_released(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    (void)more;
    (void)reply;
    struct holder *h = data;
    /* NoSuchLease: it ended by itself at the same moment, which is what was wanted. */
    if (rc == DOMPOOL_REFUSED && strcmp(dompool_error_name(d), "NoSuchLease"))
        talk_failed(h->inv, rc, "release");
    h->state = HOLD_DONE;
}

static int hold_release(struct holder *h)
{
    if (h->state != HOLD_WATCHING) {
        h->state = HOLD_DONE; /* impatient; closing the connection ends the lease all the same */
        return 0;
    }
    h->state = HOLD_RELEASING;
    return hold_start(h->inv->daemon, "Release",
                      must(json_pack("{s:[s], s:b}", "leases", h->lease, "wait", 1)), hold_released,
                      h);
}

static int hold_step(struct holder *h, int signals, struct dompool **broken)
{
    struct dompool *d = h->inv->daemon;
    struct pollfd watch[] = {
        {.fd = dompool_fd(d), .events = dompool_events(d)},
        {.fd = dompool_fd(h->watch), .events = dompool_events(h->watch)},
        {.fd = signals, .events = POLLIN},
    };
    struct signalfd_siginfo info;
    int n = poll(watch, 3, -1);
    if (n < 0 && errno != EINTR)
        return -errno;
    *broken = d;
    int rc = dompool_dispatch(d);
    if (rc || h->state == HOLD_DONE)
        return rc;
    if (h->state == HOLD_WATCHING && (rc = dompool_dispatch(h->watch))) {
        *broken = h->watch;
        return rc;
    }
    if (n > 0 && watch[2].revents && read(signals, &info, sizeof info) == sizeof info)
        return hold_release(h);
    return 0;
}

static int signals_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Until the lease has ended; what the library returned, and in *broken on which connection. */
static int hold_run(struct holder *h, int signals, struct dompool **broken)
{
    int rc = 0;
    while (!rc && h->state != HOLD_DONE)
        rc = hold_step(h, signals, broken);
    return rc;
}

int hold(struct invocation *inv, const char *lease)
{
    struct holder h = {.inv = inv, .lease = lease};
    int signals = signals_open();
    if (signals < 0) {
        complain("cannot wait for signals: %s", strerror(errno));
        return STATUS_LOCAL;
    }
    int status = talk_connect_to(inv, &h.watch);
    if (!status) {
        if (isatty(STDERR_FILENO) && !inv->json)
            complain("holding lease %s; Ctrl-C releases it", lease);
        struct dompool *broken = h.watch;
        int rc = hold_start(h.watch, "LeaseWait", must(json_pack("{s:s}", "lease", lease)),
                            hold_ended, &h);
        if (!rc)
            rc = hold_run(&h, signals, &broken);
        status = rc ? talk_failed_on(inv, broken, rc, NULL) : h.status;
    }
    close(signals);
    /* What is still under way holds pointers to h: its callbacks run here. */
    dompool_close(h.watch);
    dompool_close(inv->daemon);
    inv->daemon = NULL;
    return status;
}
