/* See net.h. */
#define _GNU_SOURCE

#include "guest/net.h"

#include "guest/console.h"
#include "guest/options.h"
#include "guest/threads.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAC_TEXT_BYTES = 18,
    FRAME_TYPE = 0x88b5,
    FRAME_BYTES = 60, /* the shortest, without the checksum */
    POLL_MS = 50,
    POLLS_MAX = 1200, /* a minute: netfront makes its interface when the back end is ready */
};

static bool ioctl_on(const char *interface, unsigned long request, struct ifreq *req)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(req->ifr_name, sizeof req->ifr_name, "%s", interface);
    bool ok = fd >= 0 && !ioctl(fd, request, req);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}

static bool mac_read(const char *interface, char text[MAC_TEXT_BYTES])
{
    struct ifreq req = {0};
    if (!ioctl_on(interface, SIOCGIFHWADDR, &req))
        return false;
    const unsigned char *m = (const unsigned char *)req.ifr_hwaddr.sa_data;
    snprintf(text, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
             m[5]);
    return true;
}

static bool mac_parse(const char *text, unsigned char m[ETH_ALEN])
{
    char more;
    return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5],
                  &more) == ETH_ALEN;
}

/* ADDR/PREFIX */
static bool address_parse(const char *text, struct in_addr *address, struct in_addr *mask)
{
    char dotted[INET_ADDRSTRLEN], more;
    unsigned prefix;
    if (sscanf(text, "%15[0-9.]/%u%c", dotted, &prefix, &more) != 2 || prefix < 1 || prefix > 32)
        return false;
    mask->s_addr = htonl(UINT32_MAX << (32 - prefix));
    return inet_pton(AF_INET, dotted, address) == 1;
}

static bool ipv4_set(const char *interface, unsigned long request, struct in_addr value)
{
    struct ifreq req = {0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = value};
    memcpy(&req.ifr_addr, &in, sizeof in);
    return ioctl_on(interface, request, &req);
}

static bool set_up(const char *interface, bool up)
{
    struct ifreq req = {0};
    if (!ioctl_on(interface, SIOCGIFFLAGS, &req))
        return false;
    req.ifr_flags = (short)(up ? req.ifr_flags | IFF_UP : req.ifr_flags & ~IFF_UP);
    return ioctl_on(interface, SIOCSIFFLAGS, &req);
}

void net_set(const char *interface, const char *address)
{
    struct in_addr ip, mask;
    char mac[MAC_TEXT_BYTES];
    if (!address_parse(address, &ip, &mask))
        say("guest: error net: '%.32s' is no ADDR/PREFIX", address);
    else if (!ipv4_set(interface, SIOCSIFADDR, ip) || !ipv4_set(interface, SIOCSIFNETMASK, mask) ||
             !set_up(interface, true) || !mac_read(interface, mac))
        say("guest: error net: %.15s: %s", interface, strerror(errno));
    else
        say("guest: net %.15s %s mac=%s", interface, address, mac);
}

void net_forget(const char *interface)
{
    if (!set_up(interface, false) || !set_up(interface, true))
        say("guest: error forget: %.15s: %s", interface, strerror(errno));
    else
        say("guest: forget %.15s", interface);
}

void net_say_mac(const char *interface)
{
    char mac[MAC_TEXT_BYTES];
    if (mac_read(interface, mac))
        say("guest: mac %.15s %s", interface, mac);
    else
        say("guest: error mac: %.15s: %s", interface, strerror(errno));
}

static bool frame_send(const unsigned char from[ETH_ALEN], const unsigned char to[ETH_ALEN])
{
    unsigned char frame[FRAME_BYTES] = {0};
    memcpy(frame, to, ETH_ALEN);
    memcpy(frame + ETH_ALEN, from, ETH_ALEN);
    frame[2 * ETH_ALEN] = FRAME_TYPE >> 8;
    frame[2 * ETH_ALEN + 1] = FRAME_TYPE & 0xff;
    struct sockaddr_ll there = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0"), .sll_halen = ETH_ALEN};
    memcpy(there.sll_addr, to, ETH_ALEN);
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&there,
                                sizeof there) == sizeof frame;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}

void net_send(const char *from, const char *to)
{
    unsigned char source[ETH_ALEN], dest[ETH_ALEN];
    if (!mac_parse(from, source) || !mac_parse(to, dest))
        say("guest: error frame: '%.18s' or '%.18s' is no MAC", from, to);
    else if (!frame_send(source, dest))
        say("guest: error frame: %s", strerror(errno));
    else
        say("guest: frame %s %s", from, to);
}

/* False if it did not come in time. */
static bool interface_comes(const char *interface)
{
    for (int polls = 0; polls < POLLS_MAX; polls++) {
        if (if_nametoindex(interface))
            return true;
        sleep_ms(POLL_MS);
    }
    return false;
}

static void *net_run(void *unused)
{
    (void)unused;
    char *rest = NULL;
    int n = 0;
    for (char *address = strtok_r(options.net, ",", &rest); address;
         address = strtok_r(NULL, ",", &rest)) {
        char interface[IFNAMSIZ];
        snprintf(interface, sizeof interface, "eth%d", n++);
        if (interface_comes(interface))
            net_set(interface, address);
        else
            say("guest: error net: there is no %s", interface);
    }
    return NULL;
}

void net_start(void)
{
    if (*options.net)
        guest_thread_start(net_run, NULL);
}
