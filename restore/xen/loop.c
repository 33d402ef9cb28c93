/* Loop devices: see loop.h. Interface: linux/loop.h, LOOP_CONFIGURE since Linux 5.8. */
#include "restore/xen/loop.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between LOOP_CTL_GET_FREE and LOOP_CONFIGURE somebody else may take the device. */
#define LOOP_TRIES 64

static int loop_open(int number, struct loop *out)
{
    snprintf(out->path, sizeof out->path, "/dev/loop%d", number);
    /* A node made by udev may come a moment after the device. */
    for (int i = 0; i < 50; i++) {
        out->fd = open(out->path, O_RDWR | O_CLOEXEC);
        if (out->fd >= 0 || errno != ENOENT)
            break;
        usleep(10000);
    }
    return out->fd < 0 ? -errno : 0;
}

static int loop_try(int control, const struct loop_config *config, struct loop *out)
{
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return -errno;
    int rc = loop_open(number, out);
    if (rc)
        return rc;
    if (ioctl(out->fd, LOOP_CONFIGURE, config)) {
        rc = -errno;
        fd_close(&out->fd);
    }
    return rc;
}

int loop_attach(int file_fd, const char *name, bool read_only, struct loop *out, struct error *e)
{
    *out = (struct loop){.fd = -1};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return error_errno(e, errno, "open /dev/loop-control (is the loop module loaded?)");
    struct loop_config config = {.fd = (unsigned)file_fd};
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (read_only)
        config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    snprintf((char *)config.info.lo_file_name, sizeof config.info.lo_file_name, "%s", name);
    int rc = -EBUSY;
    for (int i = 0; i < LOOP_TRIES && rc == -EBUSY; i++)
        rc = loop_try(control, &config, out);
    fd_close(&control);
    if (rc)
        return error_errno(e, -rc, "attach a loop device to %s", name);
    struct stat st;
    if (fstat(out->fd, &st)) {
        rc = error_errno(e, errno, "stat %s", out->path);
        fd_close(&out->fd);
        return rc;
    }
    out->dev = st.st_rdev;
    return 0;
}

void loop_close(struct loop *l)
{
    fd_close(&l->fd);
}

int loop_detach(const char *path, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENXIO ? 0 : error_errno(e, errno, "open %s", path);
    int rc = 0;
    if (ioctl(fd, LOOP_CLR_FD, 0) && errno != ENXIO)
        rc = error_errno(e, errno, "detach %s from its file", path);
    fd_close(&fd);
    return rc;
}
