/*
 * The test guest's network interfaces, eth0 and on: addresses by ioctl, frames through a packet
 * socket. All functions block for as long as the kernel takes, which is not long.
 */
#ifndef GUEST_NET_H
#define GUEST_NET_H

/* Gives eth0, eth1, ... the addresses of the kernel parameter net, each when it is there, from a
 * thread of its own. Nothing if there is no such parameter. */
void net_start(void);

/* Sets an interface's only IPv4 address, ADDR/PREFIX, and sets it up. Says so, or why not. */
void net_set(const char *interface, const char *address);

/* Sets an interface down and up again, so that the kernel forgets its neighbours, and with them the
 * Ethernet headers that it keeps for them, which have the MAC from then. Says so, or why not. */
void net_forget(const char *interface);

/* Says an interface's MAC as it is now. */
void net_say_mac(const char *interface);

/* Sends one frame of ethertype 0x88b5 (IEEE 802: local experiments) through eth0, from a MAC that
 * need not be eth0's own. Says so, or why not. */
void net_send(const char *from, const char *to);

#endif
