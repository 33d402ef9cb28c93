/* Small things: see util.h. */
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- file descriptors ---- */

void fd_close(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
}

int read_full(int fd, void *buf, size_t size)
{
    char *at = buf;
    while (size) {
        ssize_t n = read(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int pread_full(int fd, void *buf, size_t size, uint64_t offset)
{
    char *at = buf;
    while (size) {
        ssize_t n = pread(fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int write_full(int fd, const void *buf, size_t size)
{
    const char *at = buf;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int pwrite_full(int fd, const void *buf, size_t size, uint64_t offset)
{
    const char *at = buf;
    while (size) {
        ssize_t n = pwrite(fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int make_dirs(const char *path, unsigned mode, struct error *e)
{
    char part[PATH_MAX];
    if (!format_fits(part, sizeof part, "%s", path))
        return error_set(e, -ENAMETOOLONG, "make directory %s: path too long", path);
    for (char *slash = part + 1;; slash++) {
        slash += strcspn(slash, "/");
        char kept = *slash;
        *slash = '\0';
        if (mkdir(part, mode) && errno != EEXIST)
            return error_errno(e, errno, "make directory %s", part);
        if (!kept)
            return 0;
        *slash = kept;
    }
}

int rename_new(const char *from, const char *to)
{
    int r = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (r && (errno == EINVAL || errno == ENOSYS)) { /* some file systems know no flags */
        r = link(from, to);
        if (!r)
            unlink(from);
    }
    return r ? -errno : 0;
}

int fsync_parent(const char *path, struct error *e)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = slash ? (int)(slash - path) : 1;
    if (!format_fits(dir, sizeof dir, "%.*s", len ? len : 1, slash ? path : "."))
        return error_set(e, -ENAMETOOLONG, "sync directory of %s: path too long", path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "open directory %s to sync it", dir);
    int rc = fsync(fd) ? error_errno(e, errno, "sync directory %s", dir) : 0;
    fd_close(&fd);
    return rc;
}

static int read_fd(int fd, size_t max, char **out, size_t *len)
{
    char *buf = malloc(max + 1);
    if (!buf)
        return -ENOMEM;
    size_t used = 0;
    for (;;) {
        ssize_t n = read(fd, buf + used, max + 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || used + (size_t)n > max) {
            int rc = n < 0 ? -errno : -EFBIG;
            free(buf);
            return rc;
        }
        if (n == 0)
            break;
        used += (size_t)n;
    }
    buf[used] = '\0';
    *out = buf;
    if (len)
        *len = used;
    return 0;
}

int read_file(const char *path, size_t max, char **out, size_t *len, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "open %s", path);
    int rc = read_fd(fd, max, out, len);
    fd_close(&fd);
    return rc ? error_errno(e, -rc, "read %s", path) : 0;
}

bool page_is_repeated(const void *page, uint64_t *word)
{
    const unsigned char *p = page;
    memcpy(word, p, sizeof *word);
    return !memcmp(p, p + sizeof *word, PAGE_BYTES - sizeof *word);
}

bool page_is_zero(const void *page)
{
    uint64_t word;
    return page_is_repeated(page, &word) && !word;
}

/* ---- strings ---- */

bool format_fits(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < size;
}

char *format_new(const char *fmt, ...)
{
    char *out;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : out;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool name_valid(const char *name)
{
    size_t len = strnlen(name, 64);
    if (len == 0 || len > 63 || !is_alnum(name[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

/* ---- ids ---- */

void uuid_version4(uint8_t uuid[16])
{
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122: version 4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* RFC 4122: variant */
}

bool uuid_is_none(const uint8_t uuid[16])
{
    unsigned any = 0;
    for (int i = 0; i < 16; i++)
        any |= uuid[i];
    return !any;
}

void random_bytes(void *out, size_t n)
{
    char *at = out;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}

void uuid_random(uint8_t uuid[16])
{
    random_bytes(uuid, 16);
    uuid_version4(uuid);
}

void hex_format(const uint8_t *bytes, size_t n, char *text)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *text++ = hex[bytes[i] >> 4];
        *text++ = hex[bytes[i] & 15];
    }
    *text = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Reads n bytes from the front of text. */
static int hex_take(const char *text, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return -1;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int hex_parse(const char *text, uint8_t *bytes, size_t n)
{
    return strlen(text) == 2 * n ? hex_take(text, bytes, n) : -1;
}

/* The groups of a UUID's text, in bytes. */
static const size_t uuid_groups[] = {4, 2, 2, 2, 6};

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_SIZE])
{
    for (size_t g = 0; g < ARRAY_SIZE(uuid_groups); g++) {
        if (g)
            *text++ = '-';
        hex_format(uuid, uuid_groups[g], text);
        uuid += uuid_groups[g];
        text += 2 * uuid_groups[g];
    }
}

int uuid_parse(const char *text, uint8_t uuid[16])
{
    if (strlen(text) != UUID_TEXT_SIZE - 1)
        return -1;
    for (size_t g = 0; g < ARRAY_SIZE(uuid_groups); g++) {
        if ((g && *text++ != '-') || hex_take(text, uuid, uuid_groups[g]))
            return -1;
        uuid += uuid_groups[g];
        text += 2 * uuid_groups[g];
    }
    return 0;
}

/* ---- priority ---- */

/* A tenth of a processor beside one that is wanted: little enough not to be felt by an allocation,
 * and enough that a pool fills on a dom0 with other work. */
#define NICE_BACKGROUND 10

void background_thread(bool on)
{
    if (!geteuid())
        (void)setpriority(PRIO_PROCESS, 0, on ? NICE_BACKGROUND : 0); /* on Linux: of one thread */
}

void background_group(bool on)
{
    if (!geteuid() && getpgrp() == getpid()) /* else it is others' as well */
        (void)setpriority(PRIO_PGRP, 0, on ? NICE_BACKGROUND : 0);
}

/* ---- threads ---- */

int thread_start(pthread_t *thread, void *(*run)(void *data), void *data)
{
    sigset_t all, before;
    sigfillset(&all);
    int rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc)
        return rc;
    rc = pthread_create(thread, NULL, run, data);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* ---- clocks ---- */

uint64_t clock_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

int64_t clock_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- units ---- */

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first, so that formatting finds the shortest exact form. */
static const struct unit durations[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {
    {"T", 1ull << 40}, {"G", 1ull << 30}, {"M", 1ull << 20}, {"K", 1ull << 10}, {"", 1}};

/* Digits, then *rest points behind them; 0 or -1 (no digit, overflow). */
static int digits_parse(const char *text, uint64_t *out, const char **rest)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return -1;
    *out = value;
    *rest = at;
    return at == text ? -1 : 0;
}

static int unit_parse(const char *text, const struct unit *units, size_t n, uint64_t max,
                      uint64_t *out)
{
    uint64_t value;
    const char *suffix;
    if (digits_parse(text, &value, &suffix))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(suffix, units[i].suffix))
            continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value) || value > max)
            return -1;
        *out = value;
        return 0;
    }
    return -1;
}

static void unit_format(uint64_t value, const struct unit *units, size_t n, char *buf, size_t size)
{
    size_t i = 0;
    while (i + 1 < n && (value % units[i].factor || !value))
        i++;
    snprintf(buf, size, "%" PRIu64 "%s", value / units[i].factor, units[i].suffix);
}

int duration_parse_ms(const char *text, uint64_t *ms)
{
    if (!strcmp(text, "0")) {
        *ms = 0;
        return 0;
    }
    return unit_parse(text, durations, ARRAY_SIZE(durations), 10ull * 365 * 86400 * 1000, ms);
}

void duration_format_ms(uint64_t ms, char *buf, size_t size)
{
    unit_format(ms, durations, ARRAY_SIZE(durations), buf, size);
}

int size_parse_bytes(const char *text, uint64_t *bytes)
{
    return unit_parse(text, sizes, ARRAY_SIZE(sizes), INT64_MAX, bytes);
}

void size_format_bytes(uint64_t bytes, char *buf, size_t size)
{
    unit_format(bytes, sizes, ARRAY_SIZE(sizes), buf, size);
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value;
    const char *rest;
    if (digits_parse(text, &value, &rest) || *rest || value < min || value > max)
        return -1;
    *out = value;
    return 0;
}
