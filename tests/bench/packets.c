/* See packets.h. */
#include "tests/bench/packets.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The kernel tells when it took each frame: we may be scheduled much later. */
static bool socket_prepare(int fd, const char *interface)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0)
        return false;
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    if (interface && !(at.sll_ifindex = (int)if_nametoindex(interface)))
        return false;
    struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (interface && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0)
        return false;
    return !bind(fd, (struct sockaddr *)&at, sizeof at);
}

int packets_open(const char *interface)
{
    /* Protocol 0: nothing comes before the bind, so nothing of other interfaces. */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !socket_prepare(fd, interface)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static uint64_t real_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void take_time(struct msghdr *msg, struct packet *p)
{
    uint64_t now = real_now_us(), mono_now = clock_mono_us();
    p->real_us = now;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(c), sizeof at);
            p->real_us = (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
        }
    }
    p->mono_us = mono_now - (now - p->real_us);
}

bool packets_next(int fd, int timeout_ms, struct packet *p)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, timeout_ms) != 1)
        return false;
    struct sockaddr_ll at = {0};
    char control[128];
    struct iovec part = {.iov_base = p->bytes, .iov_len = sizeof p->bytes};
    struct msghdr msg = {.msg_name = &at,
                         .msg_namelen = sizeof at,
                         .msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
    if (n < ETH_HLEN || at.sll_hatype != ARPHRD_ETHER)
        return false;
    p->len = (size_t)n;
    p->outgoing = at.sll_pkttype == PACKET_OUTGOING;
    p->type = (uint16_t)(p->bytes[2 * ETH_ALEN] << 8 | p->bytes[2 * ETH_ALEN + 1]);
    if (!if_indextoname((unsigned)at.sll_ifindex, p->interface))
        snprintf(p->interface, sizeof p->interface, "%s", "gone");
    take_time(&msg, p);
    return true;
}

static struct mac mac_at(const struct packet *p, size_t offset)
{
    struct mac mac;
    memcpy(mac.b, p->bytes + offset, sizeof mac.b);
    return mac;
}

struct mac packet_to(const struct packet *p)
{
    return mac_at(p, 0);
}

struct mac packet_from(const struct packet *p)
{
    return mac_at(p, ETH_ALEN);
}
