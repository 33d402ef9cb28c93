/* See console.h. */
#define _GNU_SOURCE

#include "guest/console.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    int fd;
    char rest[LINE_BYTES];
    size_t rest_len;
} console = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

void console_open(void)
{
    console.fd = open("/dev/hvc0", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (console.fd < 0)
        abort();
    struct termios tio;
    if (!tcgetattr(console.fd, &tio)) {
        tio.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ISIG);
        tcsetattr(console.fd, TCSANOW, &tio);
    }
}

/* Returns how many of len bytes went out. */
static size_t console_put(const char *bytes, size_t len)
{
    ssize_t n = write(console.fd, bytes, len);
    return n > 0 ? (size_t)n : 0;
}

static bool console_flush_rest(void)
{
    if (!console.rest_len)
        return true;
    size_t n = console_put(console.rest, console.rest_len);
    console.rest_len -= n;
    memmove(console.rest, console.rest + n, console.rest_len);
    return !console.rest_len;
}

void say(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    line[len++] = '\n';
    pthread_mutex_lock(&console.lock);
    if (console_flush_rest()) {
        size_t sent = console_put(line, len);
        if (sent > 0 && sent < len) {
            console.rest_len = len - sent;
            memcpy(console.rest, line + sent, console.rest_len);
        }
    }
    pthread_mutex_unlock(&console.lock);
}

void console_serve(void (*run)(char *line))
{
    struct pollfd pfd = {.fd = console.fd, .events = POLLIN};
    char line[LINE_BYTES], c;
    size_t len = 0;
    for (;;) {
        poll(&pfd, 1, -1);
        while (read(console.fd, &c, 1) == 1) {
            if (c == '\n' || c == '\r') {
                line[len] = '\0';
                len = 0;
                run(line);
            } else if (len < sizeof line - 1) {
                line[len++] = c;
            }
        }
    }
}
