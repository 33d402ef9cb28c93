/*
 * Ethernet frames as the kernel sees them pass on an interface: for the tools that time and watch
 * guests' networks. Through a packet socket (packet(7)); needs CAP_NET_RAW.
 */
#ifndef TESTS_BENCH_PACKETS_H
#define TESTS_BENCH_PACKETS_H

#include "base/mac.h"

#include <linux/if_ether.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct packet {
    uint64_t real_us, mono_us; /* when the kernel took it: CLOCK_REALTIME, CLOCK_MONOTONIC */
    char interface[IF_NAMESIZE];
    bool outgoing; /* sent through the interface, not received by it */
    uint16_t type; /* ethertype */
    size_t len;    /* of what is in bytes, Ethernet header included */
    uint8_t bytes[ETH_FRAME_LEN];
};

struct mac packet_to(const struct packet *p);
struct mac packet_from(const struct packet *p);

/* A socket that gets what passes from now on: on one interface, which becomes promiscuous (a bridge
 * then gets all that its ports receive), or, with NULL, on all, also on those yet to come. -1 with
 * errno; the caller closes it. */
int packets_open(const char *interface);

/* Waits for at most timeout_ms (0: not at all). False if none came. */
bool packets_next(int fd, int timeout_ms, struct packet *p);

#endif
