/* Logging: see log.h. */
#include "base/log.h"

#include "base/array.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warning", "info", "debug"};
/* syslog(3) priorities, as sd-daemon(3) reads them. */
static const int syslog_priority[] = {3, 4, 6, 7};

static const char *log_ident = "dompool";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;

/* Under the mutex. */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned log_lost;

void log_init(const char *ident, enum log_level level)
{
    log_ident = ident;
    log_max = level;
    log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level level)
{
    log_max = level;
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (!strcmp(name, level_names[i])) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

static int log_prefix(char *line, size_t size, enum log_level level)
{
    if (log_journal)
        return snprintf(line, size, "<%d>", syslog_priority[level]);
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    return snprintf(line, size, "%02d:%02d:%02d.%03ld %s[%d] %s: ", tm.tm_hour, tm.tm_min,
                    tm.tm_sec, now.tv_nsec / 1000000, log_ident, (int)getpid(), level_names[level]);
}

/* False: nobody reads, and it would have to be waited for. */
static bool write_now(const char *line, size_t len)
{
    if (send(STDERR_FILENO, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    if (errno == EAGAIN)
        return false;
    if (errno != ENOTSOCK)
        return true; /* nowhere to report a failing log */
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&p, 1, 0) == 0)
        return false; /* a pipe that is writable takes PIPE_BUF bytes, which is more than a line */
    (void)!write(STDERR_FILENO, line, len);
    return true;
}

static void write_or_lose(const char *line, size_t len)
{
    char said[160];
    pthread_mutex_lock(&log_mutex);
    if (log_lost) {
        int used = log_prefix(said, sizeof said, LOG_LEVEL_WARNING);
        used += snprintf(said + used, sizeof said - (size_t)used,
                         "%u log lines are lost: nobody read them\n", log_lost);
        if (write_now(said, (size_t)used))
            log_lost = 0;
    }
    if (log_lost || !write_now(line, len))
        log_lost++;
    pthread_mutex_unlock(&log_mutex);
}

void log_at(enum log_level level, const char *fmt, ...)
{
    if (level > log_max)
        return;
    char line[1200];
    int used = log_prefix(line, sizeof line, level);
    if (used < 0)
        return;
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, fmt, ap);
    va_end(ap);
    if (more < 0)
        return;
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    write_or_lose(line, len);
}

#define LOG_LIMIT_US 10000000u

bool log_allowed(struct log_limit *limit, uint64_t now_us)
{
    if (now_us < limit->since_us || now_us - limit->since_us >= LOG_LIMIT_US) {
        if (limit->left_out)
            log_warning("%u log lines that clients caused were left out", limit->left_out);
        *limit = (struct log_limit){.since_us = now_us};
    }
    if (limit->said == LOG_LIMIT_LINES) {
        limit->left_out++;
        return false;
    }
    limit->said++;
    return true;
}
