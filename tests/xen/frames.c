/*
 * frames: shows the Ethernet frames that pass an interface.
 *
 *   frames [-n N] [-t MS] [-e ETHERTYPE] INTERFACE
 *
 * INTERFACE is a name, or the beginning of one and a star: vif* are all that are called so, also
 * those yet to come. A bridge that is named shows all that its ports receive and let in; of one
 * that is not, only what is for this host. A line for each frame:
 *
 *   REALTIME_US MONOTONIC_US INTERFACE in|out FROM TO 0xETHERTYPE
 *
 * "in" was received by the interface: from the guest, if it is a vif; "out" was sent through it.
 * The times are of the clocks CLOCK_REALTIME and CLOCK_MONOTONIC, when the kernel took the frame.
 * The first line is "# listening"; what is sent after it has been read is not missed.
 *
 * Ends after N frames with status 0. After MS milliseconds it ends with 0 if there was no -n, and
 * with 1 if there was: fewer came. 64: the command line is wrong; 71: no socket.
 */
#include "base/clock.h"
#include "tests/bench/packets.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    unsigned long frames_max; /* 0: any number */
    unsigned long limit_ms;   /* 0: for ever */
    unsigned long type;       /* 0: any */
    const char *interface;
} options;

static bool number_parse(const char *text, unsigned long *n)
{
    char *end;
    errno = 0;
    *n = strtoul(text, &end, 0);
    return !errno && end != text && !*end && *n > 0;
}

static bool options_parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "n:t:e:")) != -1) {
        unsigned long *to = option == 'n'   ? &options.frames_max
                            : option == 't' ? &options.limit_ms
                            : option == 'e' ? &options.type
                                            : NULL;
        if (!to || !number_parse(optarg, to))
            return false;
    }
    options.interface = argv[optind];
    return argc == optind + 1;
}

static bool has_star(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && name[len - 1] == '*';
}

static bool wanted(const struct packet *p)
{
    return (!options.type || p->type == options.type) &&
           (!has_star(options.interface) ||
            !strncmp(p->interface, options.interface, strlen(options.interface) - 1));
}

static void show(const struct packet *p)
{
    char from[MAC_TEXT_SIZE], to[MAC_TEXT_SIZE];
    struct mac sender = packet_from(p), receiver = packet_to(p);
    mac_format(&sender, from);
    mac_format(&receiver, to);
    printf("%" PRIu64 " %" PRIu64 " %s %s %s %s 0x%04x\n", p->real_us, p->mono_us, p->interface,
           p->outgoing ? "out" : "in", from, to, (unsigned)p->type);
    fflush(stdout);
}

/* How long to wait for the next frame; -1: for ever. */
static int rest_ms(uint64_t deadline_us)
{
    if (!options.limit_ms)
        return -1;
    uint64_t now = clock_mono_us(), rest = now < deadline_us ? (deadline_us - now + 999) / 1000 : 0;
    return rest < INT_MAX ? (int)rest : INT_MAX;
}

int main(int argc, char **argv)
{
    if (!options_parse(argc, argv)) {
        fprintf(stderr, "usage: frames [-n N] [-t MS] [-e ETHERTYPE] INTERFACE\n");
        return 64;
    }
    int fd = packets_open(has_star(options.interface) ? NULL : options.interface);
    if (fd < 0) {
        perror(options.interface);
        return 71;
    }
    printf("# listening\n");
    fflush(stdout);
    uint64_t deadline_us = clock_mono_us() + options.limit_ms * UINT64_C(1000);
    unsigned long shown = 0;
    struct packet p;
    for (int ms; (ms = rest_ms(deadline_us)) != 0;) {
        if (!packets_next(fd, ms, &p) || !wanted(&p))
            continue;
        show(&p);
        if (++shown == options.frames_max)
            return 0;
    }
    return options.frames_max ? 1 : 0;
}
