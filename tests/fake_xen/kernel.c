/* System calls on files and devices, for tests: see kernel.h. */
#include "tests/fake_xen/kernel.h"

#include "tests/fake_xen/block.h"
#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/files.h"
#include "tests/fake_xen/mapper.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

void fake_kernel_init(const char *dir)
{
    FAKE_CALL();
    fake_files_init(dir);
    fake_file_put("/dev/xen/gntdev", "");
    fake_file_put("/dev/loop-control", "");
    fake_file_put("/dev/mapper/control", "");
    fake_file_put("/sys/devices", NULL);
    fake_file_put("/var/lib/xen/file", ""); /* made anew when it is missing, in /var/lib */
    fake_file_remove("/var/lib/xen");
    fake_loops_init();
    fake_mapper_init();
}

void fake_kernel_dispose(void)
{
    FAKE_CALL();
    fake_mapper_dispose();
    fake_loops_dispose();
    fake_files_dispose();
}

/* ---- what the program calls ---- */

int __real_open(const char *path, int flags, ...);
int __real_stat(const char *path, struct stat *st);
int __real_fstat(int fd, struct stat *st);
int __real_access(const char *path, int mode);
int __real_ioctl(int fd, unsigned long request, ...);
int __real_ftruncate(int fd, off_t length);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_mkdir(const char *path, mode_t mode);
int __real_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *out);
int __real_eventfd(unsigned count, int flags);
int __real_pipe2(int fds[2], int flags);
int __wrap_open(const char *path, int flags, ...);
int __wrap___open_2(const char *path, int flags);
int __wrap_stat(const char *path, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_access(const char *path, int mode);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ftruncate(int fd, off_t length);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *out);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_pipe2(int fds[2], int flags);

int __wrap_open(const char *path, int flags, ...)
{
    FAKE_CALL();
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return FAULT(FAULT_KERNEL) ? -1 : __real_open(fake_path(path), flags, mode);
}

/* What the same call is in a build with _FORTIFY_SOURCE. */
int __wrap___open_2(const char *path, int flags)
{
    return __wrap_open(path, flags);
}

static void stat_as_device(dev_t dev, struct stat *st)
{
    if (!dev)
        return;
    st->st_mode = (st->st_mode & ~(mode_t)S_IFMT) | S_IFBLK;
    st->st_rdev = dev;
    st->st_size = 0;
}

int __wrap_stat(const char *path, struct stat *st)
{
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL) || __real_stat(fake_path(path), st))
        return -1;
    stat_as_device(fake_block_of_path(path), st);
    return 0;
}

int __wrap_fstat(int fd, struct stat *st)
{
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL) || __real_fstat(fd, st))
        return -1;
    stat_as_device(fake_block_of_fd(fd), st);
    return 0;
}

int __wrap_access(const char *path, int mode)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_access(fake_path(path), mode);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    FAKE_CALL();
    va_list ap;
    va_start(ap, request);
    void *argument = va_arg(ap, void *);
    va_end(ap);
    if (FAULT(FAULT_KERNEL))
        return -1;
    dev_t dev = fake_block_of_fd(fd);
    if (request == BLKGETSIZE64 && dev)
        return fake_block_find(dev, argument) ? 0 : -1;
    if (request >> 8 == 0x4c) /* of linux/loop.h */
        return fake_loop_ioctl(dev, fd, request, argument);
    return __real_ioctl(fd, request, argument);
}

int __wrap_ftruncate(int fd, off_t length)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_ftruncate(fd, length);
}

int __wrap_rename(const char *from, const char *to)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_rename(fake_path(from), fake_path(to));
}

int __wrap_unlink(const char *path)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_unlink(fake_path(path));
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_mkdir(fake_path(path), mode);
}

int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *out)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? GLOB_NOSPACE : __real_glob(fake_path(pattern), flags, failed, out);
}

int __wrap_eventfd(unsigned count, int flags)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_eventfd(count, flags);
}

int __wrap_pipe2(int fds[2], int flags)
{
    FAKE_CALL();
    return FAULT(FAULT_KERNEL) ? -1 : __real_pipe2(fds, flags);
}
