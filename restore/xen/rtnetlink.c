/* Asking the kernel about network interfaces: see rtnetlink.h. */
#include "restore/xen/rtnetlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define MESSAGE_BYTES 384u /* none of ours is longer */

/* A reply with everything about one interface, its statistics included, is below 4 KiB. */
#define REPLY_BYTES 32768u

struct nlmsghdr *message_begin(struct batch *b, uint16_t type, uint16_t flags)
{
    assert(b->n < BATCH_MESSAGES && b->used + MESSAGE_BYTES <= BATCH_BYTES);
    memset(b->bytes + b->used, 0, MESSAGE_BYTES); /* what stands between attributes, too, is sent */
    struct nlmsghdr *n = mnl_nlmsg_put_header(b->bytes + b->used);
    b->failed[b->n] = 0;
    n->nlmsg_type = type;
    n->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    n->nlmsg_seq = b->n++;
    return n;
}

void message_end(struct batch *b, const struct nlmsghdr *n)
{
    b->used += (n->nlmsg_len + MNL_ALIGNTO - 1u) & ~(MNL_ALIGNTO - 1u);
}

static int ask_failed(struct error *e)
{
    return error_errno(e, errno, "ask the kernel about network interfaces (rtnetlink)");
}

/* Reads until the last message has been answered. */
static int answers_read(struct mnl_socket *s, struct batch *b, mnl_cb_t take, void *data,
                        struct error *e)
{
    char reply[REPLY_BYTES];
    for (unsigned seq = 0; seq < b->n;) {
        ssize_t got = mnl_socket_recvfrom(s, reply, sizeof reply);
        if (got < 0)
            return ask_failed(e);
        int left = (int)got;
        for (struct nlmsghdr *n = (void *)reply; mnl_nlmsg_ok(n, left) && seq < b->n;
             n = mnl_nlmsg_next(n, &left)) {
            if (n->nlmsg_seq != seq)
                continue;
            if (n->nlmsg_type == NLMSG_ERROR)
                b->failed[seq++] = -((const struct nlmsgerr *)mnl_nlmsg_get_payload(n))->error;
            else if (take)
                (void)take(n, data);
        }
    }
    return 0;
}

int batch_run(struct batch *b, mnl_cb_t take, void *data, struct error *e)
{
    struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!s)
        return ask_failed(e);
    int rc =
        mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) || mnl_socket_sendto(s, b->bytes, b->used) < 0
            ? ask_failed(e)
            : answers_read(s, b, take, data, e);
    mnl_socket_close(s);
    return rc;
}

int batch_failure(const struct batch *b, unsigned first)
{
    int failed = 0;
    for (unsigned i = first; i < b->n && !failed; i++)
        failed = b->failed[i];
    return failed;
}
