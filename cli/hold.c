/*
 * Holding a lease: see hold.h.
 *
 *   watching --signal--> releasing --answer or second signal--> done
 *       \--lease not in List any more--> done
 *
 * The daemon does not tell a client of the end of a lease, so its list is asked for once a
 * second. The signals come through a descriptor, so the answer to a signal is ordinary code.
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

#define ASK_EVERY_MS 1000

enum hold_state { HOLD_WATCHING, HOLD_RELEASING, HOLD_DONE };

struct holder {
    struct invocation *inv;
    const char *lease;
    enum hold_state state;
    bool asked; /* a List is under way */
};

static bool lease_alive(const json_t *reply, const char *id)
{
    json_t *lease;
    size_t i;
    json_array_foreach (json_object_get(reply, "leases"), i, lease) {
        if (!strcmp(get_text(lease, "lease"), id))
            return true;
    }
    return false;
}

/* A List that is refused says nothing about the lease: the next one may do better. */
static void hold_listed(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    (void)d;
    (void)more;
    struct holder *h = data;
    h->asked = false;
    if (rc || h->state != HOLD_WATCHING)
        return;
    json_t *object = must(json_loads(reply, 0, NULL));
    if (!lease_alive(object, h->lease)) {
        complain("lease %s has ended", h->lease);
        h->state = HOLD_DONE;
    }
    json_decref(object);
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

static int hold_ask(struct holder *h)
{
    if (h->asked || h->state != HOLD_WATCHING)
        return 0;
    h->asked = true;
    return dompool_start(h->inv->daemon, "List", NULL, 0, hold_listed, h);
}

static int hold_release(struct holder *h)
{
    if (h->state != HOLD_WATCHING) {
        h->state = HOLD_DONE; /* impatient; closing the connection ends the lease all the same */
        return 0;
    }
    h->state = HOLD_RELEASING;
    json_t *p = must(json_pack("{s:[s], s:b}", "leases", h->lease, "wait", 1));
    char *text = json_dumps(p, JSON_COMPACT);
    json_decref(p);
    if (!text)
        out_of_memory();
    int rc = dompool_start(h->inv->daemon, "Release", text, 0, hold_released, h);
    free(text);
    return rc;
}

static int hold_step(struct holder *h, int signals)
{
    struct pollfd watch[] = {
        {.fd = dompool_fd(h->inv->daemon), .events = dompool_events(h->inv->daemon)},
        {.fd = signals, .events = POLLIN},
    };
    struct signalfd_siginfo info;
    int n = poll(watch, 2, ASK_EVERY_MS);
    if (n < 0 && errno != EINTR)
        return -errno;
    if (n == 0)
        return hold_ask(h);
    int rc = 0;
    if (watch[1].revents && read(signals, &info, sizeof info) == sizeof info)
        rc = hold_release(h);
    if (rc || h->state == HOLD_DONE)
        return rc;
    return dompool_dispatch(h->inv->daemon);
}

int hold(struct invocation *inv, const char *lease)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0) {
        complain("cannot wait for signals: %s", strerror(errno));
        return STATUS_LOCAL;
    }
    if (isatty(STDERR_FILENO) && !inv->json)
        complain("holding lease %s; Ctrl-C releases it", lease);
    struct holder h = {.inv = inv, .lease = lease};
    int rc = 0;
    while (!rc && h.state != HOLD_DONE)
        rc = hold_step(&h, signals);
    close(signals);
    int status = talk_failed(inv, rc, NULL);
    /* What is still under way holds pointers to h: its callbacks run here. */
    dompool_close(inv->daemon);
    inv->daemon = NULL;
    return status;
}
