/* Marks of disks: see disk_mark.h. */
#include "restore/xen/disk_mark.h"

#include "base/io.h"
#include "restore/formats/fingerprint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define COUNTS_BYTES 512

/* ---- sectors written ---- */

/* The 7th and the 14th count of the line: sectors written, and discarded (since Linux 4.18). */
static uint64_t sectors_of(const char *line)
{
    uint64_t n[14] = {0};
    int at = 0, used;
    for (int i = 0; i < 14 && sscanf(line + at, "%lu%n", &n[i], &used) == 1; i++)
        at += used;
    return n[6] + n[13];
}

/* The file stays open: read again from its start, it says what holds then. */
static int writes_read(const struct disk_writes *w, uint64_t *sectors)
{
    char line[COUNTS_BYTES];
    ssize_t n = pread(w->fd, line, sizeof line - 1, 0);
    if (n < 0)
        return -errno;
    line[n] = '\0';
    *sectors = sectors_of(line);
    return 0;
}

/* A kernel without counts is no reason to fail. */
static int writes_begin(struct disk_writes *w, dev_t dev, struct error *e)
{
    char path[64];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/stat", major(dev), minor(dev));
    w->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (w->fd < 0)
        return errno == ENOENT ? 0 : error_errno(e, errno, "open %s", path);
    int rc = writes_read(w, &w->sectors);
    return rc ? error_errno(e, -rc, "read %s", path) : 0;
}

static int writes_since(const struct disk_writes *w, bool *any)
{
    uint64_t sectors;
    *any = false;
    if (w->fd < 0)
        return 0;
    int rc = writes_read(w, &sectors);
    *any = !rc && sectors != w->sectors;
    return rc;
}

/* ---- marks ---- */

void disk_mark_init(struct disk_mark *m)
{
    *m = (struct disk_mark){.origin.fd = -1, .own.fd = -1};
}

void disk_mark_dispose(struct disk_mark *m)
{
    fd_close(&m->origin.fd);
    fd_close(&m->own.fd);
}

/* What the image says it was counts more than what it is now. */
static void file_mark(struct disk_mark *m, const struct disk_conf *conf, const struct stat *st)
{
    bool was = conf->was.taken && conf->kind != DISK_PHY;
    m->fs = st->st_dev;
    m->inode = st->st_ino;
    m->bytes = was ? conf->was.bytes : (uint64_t)st->st_size;
    m->mtime_ns = was ? conf->was.mtime_ns : fingerprint_mtime_ns(st);
}

static int origin_mark(struct disk_mark *m, const struct disk_conf *conf, struct error *e)
{
    struct stat st;
    if (!conf->path)
        return 0;
    if (stat(conf->path, &st))
        return error_errno(e, errno, "look at %s", conf->path);
    if (!S_ISBLK(st.st_mode)) {
        file_mark(m, conf, &st);
        return 0;
    }
    m->device = st.st_rdev;
    return conf->kind == DISK_PHY ? 0 : writes_begin(&m->origin, m->device, e);
}

int disk_mark_take(struct disk_mark *m, const struct disk_conf *conf, dev_t own, struct error *e)
{
    disk_mark_init(m);
    int rc = origin_mark(m, conf, e);
    if (!rc && own)
        rc = writes_begin(&m->own, own, e);
    if (rc)
        disk_mark_dispose(m);
    return rc;
}

static int changed(const struct disk_conf *conf, const char *how, struct error *e)
{
    return error_set(e, ANSWER_IMAGE_BROKEN,
                     "disk %s: %s %s since the slot was built. A saved kernel must not meet a "
                     "changed disk: put the disk back as it was, or import the image again",
                     conf->vdev, conf->path, how);
}

static int file_check(const struct disk_mark *m, const struct disk_conf *conf,
                      const struct stat *st, struct error *e)
{
    if (st->st_dev != m->fs || st->st_ino != m->inode || !S_ISREG(st->st_mode))
        return changed(conf, "has become another file", e);
    if ((uint64_t)st->st_size != m->bytes)
        return changed(conf, "has got another size", e);
    if (conf->kind != DISK_PHY && fingerprint_mtime_ns(st) != m->mtime_ns)
        return changed(conf, "has been written", e);
    return 0;
}

static int device_check(const struct disk_mark *m, const struct disk_conf *conf,
                        const struct stat *st, struct error *e)
{
    bool written;
    if (!S_ISBLK(st->st_mode) || st->st_rdev != m->device)
        return changed(conf, "has become another device", e);
    int rc = writes_since(&m->origin, &written);
    if (rc)
        return error_errno(e, -rc, "disk %s: ask how much was written to %s", conf->vdev,
                           conf->path);
    return written ? changed(conf, "has been written", e) : 0;
}

static int origin_check(const struct disk_mark *m, const struct disk_conf *conf, struct error *e)
{
    struct stat st;
    if (!conf->path)
        return 0;
    if (stat(conf->path, &st))
        return errno == ENOENT
                   ? changed(conf, "is no longer there", e)
                   : error_errno(e, errno, "disk %s: look at %s", conf->vdev, conf->path);
    return m->device ? device_check(m, conf, &st, e) : file_check(m, conf, &st, e);
}

int disk_mark_check(const struct disk_mark *m, const struct disk_conf *conf, struct error *e)
{
    bool written;
    int rc = origin_check(m, conf, e);
    if (rc)
        return rc;
    rc = writes_since(&m->own, &written);
    if (rc)
        return error_errno(e, -rc, "disk %s: ask how much was written to it", conf->vdev);
    if (!written)
        return 0;
    return error_set(e, ANSWER_DOMAIN_STATE,
                     "disk %s: its private device was written before its guest ran; a device below "
                     "/dev/mapper/dompool-* is the guest's alone",
                     conf->vdev);
}
