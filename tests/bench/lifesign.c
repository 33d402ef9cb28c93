/*
 * lifesign: times a command that makes a domain, and the domain's first sign of life.
 *
 *   lifesign NAME TEXT [COMMAND [ARG...]]
 *
 * Runs COMMAND, if there is one (`xl restore FILE`, `dompool allocate IMAGE --name NAME`), then
 * reads the console of the domain called NAME until TEXT comes. Prints one line of JSON:
 *
 *   {"exit_ms": from start until COMMAND has ended, "life_ms": from start until TEXT was
 *    read, "domid": the domain's, "line": the line with TEXT}
 *
 * The console is opened as soon as xenconsoled has made its terminal; what the guest
 * printed before that is kept by xenconsoled, so nothing is missed. The command's own output goes
 * to stderr. Exit status: the command's, or 1 when the domain gave no sign within three minutes.
 */
#include "base/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <xenstore.h>

#define LIFE_TIMEOUT_US 180000000u /* emulated guests on a busy machine */

static int run(char **command)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static char *node(struct xs_handle *xs, const char *domid, const char *what)
{
    char path[128];
    unsigned len;
    snprintf(path, sizeof path, "/local/domain/%s/%s", domid, what);
    return xs_read(xs, XBT_NULL, path, &len);
}

/* The newest domain of this name; malloc'd domid or NULL. */
static char *find_domain(struct xs_handle *xs, const char *name)
{
    unsigned n = 0;
    char **domids = xs_directory(xs, XBT_NULL, "/local/domain", &n);
    char *found = NULL;
    for (unsigned i = 0; domids && i < n; i++) {
        char *its = node(xs, domids[i], "name");
        if (its && !strcmp(its, name) && (!found || atoi(domids[i]) > atoi(found))) {
            free(found);
            found = strdup(domids[i]);
        }
        free(its);
    }
    free(domids);
    return found;
}

static int open_console(struct xs_handle *xs, const char *domid, uint64_t deadline)
{
    while (clock_mono_us() < deadline) {
        char *tty = node(xs, domid, "console/tty");
        int fd = tty && *tty ? open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK) : -1;
        free(tty);
        if (fd >= 0)
            return fd;
        usleep(1000);
    }
    return -1;
}

/* Keeps the printable part of the line, as far as it has come; the guest wrote it. */
static void copy_line(const char *at, const char *end, char *out, size_t size)
{
    size_t n = 0;
    while (at < end && n + 1 < size && *at >= ' ' && *at <= '~' && *at != '"' && *at != '\\')
        out[n++] = *at++;
    out[n] = '\0';
}

/* Reads until a line with text has come and gives it; false at the deadline. */
static bool wait_for_text(int fd, const char *text, uint64_t deadline, char *line, size_t size)
{
    char seen[8192];
    size_t used = 0;
    while (clock_mono_us() < deadline) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, 100);
        ssize_t n = read(fd, seen + used, sizeof seen - 1 - used);
        if (n <= 0)
            continue;
        used += (size_t)n;
        char *at = memmem(seen, used, text, strlen(text));
        if (at && memchr(at, '\n', used - (size_t)(at - seen))) {
            copy_line(at, seen + used, line, size);
            return true;
        }
        if (used > sizeof seen / 2) { /* keep what may be the text's first half */
            size_t keep = strlen(text) + 256;
            memmove(seen, seen + used - keep, keep);
            used = keep;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: lifesign NAME TEXT [COMMAND [ARG...]]\n");
        return 64;
    }
    struct xs_handle *xs = xs_open(0);
    if (!xs) {
        perror("lifesign: xenstore");
        return 1;
    }
    uint64_t start = clock_mono_us();
    int status = argc > 3 ? run(argv + 3) : 0;
    uint64_t ended = clock_mono_us(), deadline = ended + LIFE_TIMEOUT_US;
    if (status)
        return status;
    char line[256];
    char *domid = find_domain(xs, argv[1]);
    int fd = domid ? open_console(xs, domid, deadline) : -1;
    if (fd < 0 || !wait_for_text(fd, argv[2], deadline, line, sizeof line)) {
        fprintf(stderr, "lifesign: domain %s (%s) printed no '%s'\n", argv[1],
                domid ? domid : "not found", argv[2]);
        return 1;
    }
    printf("{\"exit_ms\": %.3f, \"life_ms\": %.3f, \"domid\": %s, \"line\": \"%s\"}\n",
           (double)(ended - start) / 1000, (double)(clock_mono_us() - start) / 1000, domid, line);
    return 0;
}
