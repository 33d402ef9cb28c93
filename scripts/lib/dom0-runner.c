/*
 * dom0-runner: runs xen-run's command in dom0 and carries its output to the machine outside.
 *
 *     dom0-runner ARGV-FILE STDOUT-PORT STDERR-PORT
 *
 * ARGV-FILE holds the arguments, each ended by a NUL byte. The ports are virtio-serial ports: a
 * write to one returns when QEMU has taken the bytes, so whatever has been written here is out when
 * this program ends. The command gets pipes and not the ports themselves, because a port can be
 * opened only once and /dev/stdout must work. It ends with the command: what the command left
 * running keeps its pipe, but nobody reads it any more.
 *
 * Exit status: the command's; 128 + N if signal N ended it; 126 or 127 if it could not be run.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct channel {
    int from; /* our end of the command's pipe */
    int to;   /* port */
    int pipe; /* the command's end */
};

static void die(const char *what)
{
    fprintf(stderr, "dom0-runner: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* The arguments of ARGV-FILE, with a NULL at the end. */
static char **argv_read(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text;
    char **argv;
    size_t count = 0;

    if (fd < 0 || fstat(fd, &st) != 0)
        die(path);
    text = calloc(1, (size_t)st.st_size + 1);
    if (text == NULL || read(fd, text, (size_t)st.st_size) != st.st_size)
        die(path);
    close(fd);
    for (off_t i = 0; i < st.st_size; i++)
        count += text[i] == '\0';
    argv = calloc(count + 1, sizeof *argv);
    if (argv == NULL)
        die(path);
    for (size_t i = 0; i < count; i++, text += strlen(text) + 1)
        argv[i] = text;
    return argv;
}

static struct channel channel_open(const char *port)
{
    struct channel ch;
    int ends[2];

    ch.to = open(port, O_WRONLY | O_CLOEXEC);
    if (ch.to < 0 || pipe2(ends, O_CLOEXEC) != 0)
        die(port);
    ch.from = ends[0];
    ch.pipe = ends[1];
    return ch;
}

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno != EINTR)
            die("write to port");
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
}

/* Carries up to one buffer; false at the end of the pipe. */
static bool channel_carry(struct channel *ch)
{
    char buffer[32768];
    ssize_t n = read(ch->from, buffer, sizeof buffer);

    if (n > 0)
        write_all(ch->to, buffer, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* Carries what the command had written when it ended, and not what others go on to write. */
static void channel_drain(struct channel *ch)
{
    char buffer[32768];
    int left;

    if (ioctl(ch->from, FIONREAD, &left) != 0)
        return;
    while (left > 0) {
        size_t want = (size_t)left < sizeof buffer ? (size_t)left : sizeof buffer;
        ssize_t n = read(ch->from, buffer, want);

        if (n <= 0)
            return;
        write_all(ch->to, buffer, (size_t)n);
        left -= (int)n;
    }
}

static pid_t command_start(char **argv, const struct channel *out, const struct channel *err)
{
    pid_t pid = fork();
    sigset_t none;

    if (pid != 0)
        return pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    dup2(out->pipe, STDOUT_FILENO);
    dup2(err->pipe, STDERR_FILENO);
    execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Collects children, orphans of the command too; true when the command itself has ended. */
static bool command_ended(pid_t pid, int *status)
{
    return waitpid(pid, status, WNOHANG) == pid;
}

int main(int argc, char **argv)
{
    struct channel out;
    struct channel err;
    struct pollfd pfd[3];
    struct signalfd_siginfo info;
    sigset_t chld;
    char **command;
    int status = 0;
    pid_t pid;

    if (argc != 4) {
        fprintf(stderr, "usage: dom0-runner ARGV-FILE STDOUT-PORT STDERR-PORT\n");
        return 125;
    }
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    command = argv_read(argv[1]);
    out = channel_open(argv[2]);
    err = channel_open(argv[3]);
    pfd[0] = (struct pollfd){.fd = out.from, .events = POLLIN};
    pfd[1] = (struct pollfd){.fd = err.from, .events = POLLIN};
    pfd[2] =
        (struct pollfd){.fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN};
    pid = command_start(command, &out, &err);
    if (pid < 0 || pfd[2].fd < 0)
        die("cannot start the command");
    close(out.pipe);
    close(err.pipe);

    while (!command_ended(pid, &status)) {
        if (poll(pfd, 3, -1) < 0 && errno != EINTR)
            die("poll");
        if (pfd[0].revents != 0 && !channel_carry(&out))
            pfd[0].fd = -1;
        if (pfd[1].revents != 0 && !channel_carry(&err))
            pfd[1].fd = -1;
        while (read(pfd[2].fd, &info, sizeof info) > 0)
            continue;
    }
    channel_drain(&out);
    channel_drain(&err);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
