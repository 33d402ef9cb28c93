/* What the kernel's command line says to the test guest; guest.c tells what each one does. */
#ifndef GUEST_OPTIONS_H
#define GUEST_OPTIONS_H

enum { DISKS_MAX = 26, NET_BYTES = 80 };

struct options {
    unsigned long pattern_mib;
    unsigned long tick_ms; /* never 0 */
    unsigned long check_ms;
    unsigned long read_ms;
    long disks; /* -1: as many as the domain has */
    char net[NET_BYTES];
};

/* The defaults until options_read, which runs before there are threads. */
extern struct options options;

/* Reads /proc/cmdline. A word that is no option is none of ours. */
void options_read(void);

#endif
