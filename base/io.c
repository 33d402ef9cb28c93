/* File descriptors: see io.h. */
#include "base/io.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
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
