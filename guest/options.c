/* See options.h. */
#define _GNU_SOURCE

#include "guest/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options options = {.pattern_mib = 64, .tick_ms = 100, .check_ms = 2000, .disks = -1};

static void option_set(const char *word)
{
    unsigned long n;
    if (sscanf(word, "pattern_mib=%lu", &n) == 1)
        options.pattern_mib = n;
    else if (sscanf(word, "tick_ms=%lu", &n) == 1)
        options.tick_ms = n > 0 ? n : 1;
    else if (sscanf(word, "check_ms=%lu", &n) == 1)
        options.check_ms = n;
    else if (sscanf(word, "read_ms=%lu", &n) == 1)
        options.read_ms = n;
    else if (sscanf(word, "disks=%lu", &n) == 1 && n <= DISKS_MAX)
        options.disks = (long)n;
    else if (!strncmp(word, "net=", 4))
        snprintf(options.net, sizeof options.net, "%s", word + 4);
}

void options_read(void)
{
    static char text[4096];
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        option_set(word);
}
