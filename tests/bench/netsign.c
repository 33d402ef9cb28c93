/*
 * netsign: times a command that makes a domain, and the domain's first signs of life on a bridge.
 *
 *   netsign [-m MAC] [-t SECONDS] BRIDGE ADDRESS [COMMAND [ARG...]]
 *
 * Starts COMMAND, if there is one (`xl restore FILE`, `dompool allocate IMAGE`), and from then on,
 * each 10 ms, asks on BRIDGE who has the IPv4 address ADDRESS (ARP), and when that has been
 * answered, pings it. Ends when a ping has been answered and COMMAND has ended. Prints one line of
 * JSON; times count from COMMAND's start:
 *
 *   {"exit_ms": until COMMAND has ended, "arp_ms", "ping_ms": until the first answer came,
 *    "vif": where it came from, "frame_ms": until the guest there had sent its first frame from
 *    the MAC that answered, "arp_mac", "ping_mac": who answered, "other_mac": who was the last to
 *    send through that vif from another MAC; "" if nobody did}
 *
 * A guest that says nothing before it is asked sends its first frame with its answer. Frames that
 * it had queued when it was saved have the MAC from then. With -m only what comes from MAC counts.
 * The kernel's own ARP is left out of it, since that asks once a second. The bridge needs an
 * address of its own.
 *
 * COMMAND's output goes to stderr. Exit status: COMMAND's, or 1 when no ping was answered within
 * SECONDS (180) of COMMAND's end.
 */
#include "base/clock.h"
#include "tests/bench/packets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK_EVERY_MS = 10, TIMEOUT_S = 180, STILL_RUNNING = -1, SENDERS_MAX = 64 };

struct sign {
    uint64_t at_us; /* 0: not yet */
    struct mac mac;
};

static struct {
    const char *bridge;
    int ifindex;
    struct mac mac, only;
    bool only_one;
    struct in_addr own, asked;
    unsigned long timeout_s;
} options = {.timeout_s = TIMEOUT_S};

static struct sign arp, ping;

/* What sends through a vif: the first frame from this MAC. */
static struct sender {
    char vif[IF_NAMESIZE];
    struct sign first;
} senders[SENDERS_MAX];
static size_t senders_n;
static const struct sender *answering; /* who sent the first ARP answer */

/* ---- asking ---- */

static void send_frame(int fd, const struct mac *to, uint16_t type, const void *body, size_t len)
{
    uint8_t bytes[ETH_FRAME_LEN] = {0};
    struct ether_header header = {.ether_type = htons(type)};
    memcpy(header.ether_dhost, to->b, ETH_ALEN);
    memcpy(header.ether_shost, options.mac.b, ETH_ALEN);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, body, len);
    size_t all = sizeof header + len < ETH_ZLEN ? ETH_ZLEN : sizeof header + len;
    struct sockaddr_ll there = {
        .sll_family = AF_PACKET, .sll_ifindex = options.ifindex, .sll_halen = ETH_ALEN};
    memcpy(there.sll_addr, to->b, ETH_ALEN);
    /* One that cannot be sent is one that is not answered. */
    (void)!sendto(fd, bytes, all, 0, (struct sockaddr *)&there, sizeof there);
}

static void ask_arp(int fd)
{
    static const struct mac everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    struct ether_arp ask = {.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
                                       .ar_pro = htons(ETHERTYPE_IP),
                                       .ar_hln = ETH_ALEN,
                                       .ar_pln = sizeof options.own,
                                       .ar_op = htons(ARPOP_REQUEST)}};
    memcpy(ask.arp_sha, options.mac.b, ETH_ALEN);
    memcpy(ask.arp_spa, &options.own, sizeof options.own);
    memcpy(ask.arp_tpa, &options.asked, sizeof options.asked);
    send_frame(fd, &everybody, ETHERTYPE_ARP, &ask, sizeof ask);
}

/* RFC 1071 */
static uint16_t checksum(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)(at[i] << 8 | at[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static uint16_t echo_id(void)
{
    return htons((uint16_t)getpid());
}

static void ask_ping(int fd)
{
    static uint16_t sequence;
    struct {
        struct iphdr ip;
        struct icmphdr icmp;
    } echo = {.ip = {.version = 4,
                     .ihl = 5,
                     .tot_len = htons(sizeof echo),
                     .ttl = 64,
                     .protocol = IPPROTO_ICMP,
                     .saddr = options.own.s_addr,
                     .daddr = options.asked.s_addr},
              .icmp = {.type = ICMP_ECHO}};
    echo.icmp.un.echo.id = echo_id();
    echo.icmp.un.echo.sequence = htons(++sequence);
    echo.ip.check = checksum(&echo.ip, sizeof echo.ip);
    echo.icmp.checksum = checksum(&echo.icmp, sizeof echo.icmp);
    send_frame(fd, &arp.mac, ETHERTYPE_IP, &echo, sizeof echo);
}

/* ---- answers ---- */

static bool is_arp_answer(const struct packet *p)
{
    struct ether_arp a;
    if (p->type != ETHERTYPE_ARP || p->len < ETH_HLEN + sizeof a)
        return false;
    memcpy(&a, p->bytes + ETH_HLEN, sizeof a);
    return a.ea_hdr.ar_op == htons(ARPOP_REPLY) &&
           !memcmp(a.arp_spa, &options.asked, sizeof options.asked) &&
           !memcmp(a.arp_tpa, &options.own, sizeof options.own);
}

static bool is_ping_answer(const struct packet *p)
{
    struct iphdr ip;
    struct icmphdr icmp;
    if (p->type != ETHERTYPE_IP || p->len < ETH_HLEN + sizeof ip + sizeof icmp)
        return false;
    memcpy(&ip, p->bytes + ETH_HLEN, sizeof ip);
    memcpy(&icmp, p->bytes + ETH_HLEN + sizeof ip, sizeof icmp);
    return ip.ihl == 5 && ip.protocol == IPPROTO_ICMP && ip.saddr == options.asked.s_addr &&
           ip.daddr == options.own.s_addr && icmp.type == ICMP_ECHOREPLY &&
           icmp.un.echo.id == echo_id();
}

static void sign_take(struct sign *sign, const struct packet *p)
{
    if (sign->at_us)
        return;
    sign->at_us = p->mono_us;
    sign->mac = packet_from(p);
}

/* NULL for one more than there is room for. */
static struct sender *sender_get(const char *vif, const struct mac *mac)
{
    for (size_t i = 0; i < senders_n; i++)
        if (!strcmp(senders[i].vif, vif) && mac_equal(&senders[i].first.mac, mac))
            return &senders[i];
    if (senders_n == SENDERS_MAX)
        return NULL;
    snprintf(senders[senders_n].vif, sizeof senders[senders_n].vif, "%s", vif);
    return &senders[senders_n++];
}

static void look_at_vif(const struct packet *p)
{
    struct mac from = packet_from(p);
    struct sender *sender = sender_get(p->interface, &from);
    if (!sender)
        return;
    sign_take(&sender->first, p);
    if (!answering && is_arp_answer(p))
        answering = sender;
}

static void look_at(const struct packet *p)
{
    struct mac from = packet_from(p);
    if (p->outgoing || (options.only_one && !mac_equal(&from, &options.only)))
        return;
    if (!strncmp(p->interface, "vif", 3))
        look_at_vif(p);
    if (strcmp(p->interface, options.bridge))
        return;
    if (is_arp_answer(p))
        sign_take(&arp, p);
    else if (is_ping_answer(p))
        sign_take(&ping, p);
}

/* ---- the command ---- */

static pid_t command_start(char **command)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    return pid;
}

/* Its exit status, or STILL_RUNNING. */
static int command_status(pid_t pid)
{
    int status;
    pid_t done = waitpid(pid, &status, WNOHANG);
    if (done == 0)
        return STILL_RUNNING;
    return done == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---- the run ---- */

/* Asks, and looks at what comes until it is time to ask again, or to ask the other question. */
static void ask_and_listen(int fd)
{
    struct packet p;
    uint64_t next_us = clock_mono_us() + ASK_EVERY_MS * UINT64_C(1000), now;
    bool asks_arp = !arp.at_us;
    if (asks_arp)
        ask_arp(fd);
    else if (!ping.at_us)
        ask_ping(fd);
    while ((now = clock_mono_us()) < next_us && !(asks_arp && arp.at_us))
        if (packets_next(fd, (int)((next_us - now) / 1000 + 1), &p))
            look_at(&p);
}

/* The command's status, and when it ended; 1 if no ping was answered. */
static int run(int fd, char **command, uint64_t *ended_us)
{
    pid_t pid = *command ? command_start(command) : 0;
    int status = *command ? STILL_RUNNING : 0;
    *ended_us = clock_mono_us();
    while (status <= 0 && (status == STILL_RUNNING || !ping.at_us)) {
        ask_and_listen(fd);
        if (status == STILL_RUNNING) {
            status = command_status(pid);
            *ended_us = clock_mono_us();
        } else if (clock_mono_us() > *ended_us + options.timeout_s * 1000000) {
            return 1;
        }
    }
    return status;
}

static double ms_between(uint64_t from_us, uint64_t to_us)
{
    return ((double)to_us - (double)from_us) / 1000;
}

static void other_format(const struct sender *than, char text[MAC_TEXT_SIZE])
{
    text[0] = '\0';
    for (size_t i = 0; i < senders_n; i++)
        if (&senders[i] != than && !strcmp(senders[i].vif, than->vif))
            mac_format(&senders[i].first.mac, text);
}

static void show(uint64_t start_us, uint64_t ended_us)
{
    static const struct sender none;
    const struct sender *sender = answering ? answering : &none;
    char arp_mac[MAC_TEXT_SIZE], ping_mac[MAC_TEXT_SIZE], other_mac[MAC_TEXT_SIZE];
    mac_format(&arp.mac, arp_mac);
    mac_format(&ping.mac, ping_mac);
    other_format(sender, other_mac);
    printf("{\"exit_ms\": %.3f, \"frame_ms\": %.3f, \"arp_ms\": %.3f, \"ping_ms\": %.3f, "
           "\"vif\": \"%s\", \"arp_mac\": \"%s\", \"ping_mac\": \"%s\", \"other_mac\": \"%s\"}\n",
           ms_between(start_us, ended_us), ms_between(start_us, sender->first.at_us),
           ms_between(start_us, arp.at_us), ms_between(start_us, ping.at_us), sender->vif, arp_mac,
           ping_mac, other_mac);
}

/* What the bridge has: its MAC and its address. */
static bool bridge_read(void)
{
    struct ifreq req = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(req.ifr_name, sizeof req.ifr_name, "%s", options.bridge);
    options.ifindex = (int)if_nametoindex(options.bridge);
    bool ok = fd >= 0 && options.ifindex && !ioctl(fd, SIOCGIFHWADDR, &req);
    memcpy(options.mac.b, req.ifr_hwaddr.sa_data, ETH_ALEN);
    ok = ok && !ioctl(fd, SIOCGIFADDR, &req);
    struct sockaddr_in in;
    memcpy(&in, &req.ifr_addr, sizeof in);
    options.own = in.sin_addr;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool options_parse(int argc, char **argv)
{
    int option;
    char *end = "";
    while ((option = getopt(argc, argv, "+m:t:")) != -1) {
        if (option == 'm')
            options.only_one = !mac_parse(optarg, &options.only);
        else if (option == 't')
            options.timeout_s = strtoul(optarg, &end, 10);
        if (option == '?' || (option == 'm' && !options.only_one) || *end)
            return false;
    }
    if (argc < optind + 2)
        return false;
    options.bridge = argv[optind];
    return inet_pton(AF_INET, argv[optind + 1], &options.asked) == 1;
}

int main(int argc, char **argv)
{
    if (!options_parse(argc, argv)) {
        fprintf(stderr, "usage: netsign [-m MAC] [-t SECONDS] BRIDGE ADDRESS [COMMAND...]\n");
        return 64;
    }
    int fd = packets_open(NULL);
    if (fd < 0 || !bridge_read()) {
        fprintf(stderr, "netsign: %s: %s\n", options.bridge, strerror(errno));
        return 71;
    }
    uint64_t start_us = clock_mono_us(), ended_us;
    int status = run(fd, argv + optind + 2, &ended_us);
    if (status == 0)
        show(start_us, ended_us);
    else if (!ping.at_us)
        fprintf(stderr, "netsign: %s: no ping answered, %s ARP answer\n", argv[optind + 1],
                arp.at_us ? "but an" : "and no");
    return status;
}
