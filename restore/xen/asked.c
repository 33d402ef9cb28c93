/* Requests to a domain that waits: see asked.h. */
#include "restore/xen/asked.h"

#include "restore/xen/nodes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE "/local/domain/%u/control/shutdown"
#define FIRST_EVENT_MS 5000 /* it comes with the answer */

static int wait_first(struct asked *a, struct error *e)
{
    struct pollfd p = {.fd = xs_fileno(a->xs), .events = POLLIN};
    char **event = NULL;
    while (!event) {
        int ready = poll(&p, 1, FIRST_EVENT_MS);
        if (!ready)
            return error_set(e, -ETIMEDOUT, "watch " NODE ": xenstored does not answer", a->domid);
        event = ready > 0 ? xs_check_watch(a->xs) : NULL;
        if (!event && errno != EAGAIN && errno != EINTR)
            return error_errno(e, errno, "watch " NODE, a->domid);
    }
    free(event);
    return 0;
}

int asked_watch(struct asked *a, uint32_t domid, struct error *e)
{
    char path[64];
    snprintf(path, sizeof path, NODE, domid);
    *a = (struct asked){.xs = xs_open(0), .domid = domid};
    if (a->xs && xs_watch(a->xs, path, "asked"))
        return wait_first(a, e);
    return error_errno(e, errno, "watch %s", path);
}

static int read_node(const struct asked *a, struct error *e)
{
    char *text = node_get(a->xs, NODE, a->domid);
    if (!text)
        return errno == ENOENT ? 0 : error_errno(e, errno, "read xenstore node " NODE, a->domid);
    int rc = 0;
    if (text[0])
        rc = error_set(e, ANSWER_DOMAIN_STATE,
                       "domain %u was asked by somebody for \"%.20s\" while it was warm, and would "
                       "obey as soon as it runs; leave the domains of slots to dompool",
                       a->domid, text);
    free(text);
    return rc;
}

int asked_check(struct asked *a, struct error *e)
{
    bool told = false;
    char **event;
    while ((event = xs_check_watch(a->xs))) {
        free(event);
        told = true;
    }
    return told || errno != EAGAIN ? read_node(a, e) : 0;
}

void asked_close(struct asked *a)
{
    if (a->xs)
        xs_close(a->xs);
    a->xs = NULL;
}
