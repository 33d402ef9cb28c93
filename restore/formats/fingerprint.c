/* Fingerprints of disks: see fingerprint.h. */
#include "restore/formats/fingerprint.h"

#include "base/io.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (1u << 20)

struct digest_watch {
    int (*progress)(uint64_t done, uint64_t total, void *data);
    void *data;
};

/* Only ever compared for equality, so times beyond the year 2262 may wrap. */
int64_t fingerprint_mtime_ns(const struct stat *st)
{
    return (int64_t)((uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec);
}

static int disk_open_readonly(const struct disk_conf *d, struct error *e)
{
    /* O_NONBLOCK: a FIFO under this name must not hold us up */
    int fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 ? fd : error_errno(e, errno, "disk %s: open %s", d->vdev, d->path);
}

static int disk_look(const struct disk_conf *d, int fd, struct disk_fingerprint *f, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st))
        return error_errno(e, errno, "disk %s: stat %s", d->vdev, d->path);
    f->taken = true;
    if (S_ISREG(st.st_mode)) {
        f->bytes = (uint64_t)st.st_size;
        f->mtime_ns = fingerprint_mtime_ns(&st);
        return 0;
    }
    if (!S_ISBLK(st.st_mode) || ioctl(fd, BLKGETSIZE64, &f->bytes))
        return error_set(e, -EINVAL, "disk %s: %s is neither a file nor a block device", d->vdev,
                         d->path);
    return 0;
}

static int disk_digest(const struct disk_conf *d, int fd, uint64_t total,
                       const struct digest_watch *watch, uint8_t digest[32], struct error *e)
{
    crypto_generichash_state state;
    uint64_t done = 0;
    ssize_t n = 1;
    unsigned char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return error_set(e, -ENOMEM, "disk %s: out of memory", d->vdev);
    (void)!sodium_init();
    (void)crypto_generichash_init(&state, NULL, 0, 32);
    int rc = 0;
    while (!rc && (n = read(fd, buffer, READ_BYTES)) > 0) {
        (void)crypto_generichash_update(&state, buffer, (size_t)n);
        done += (uint64_t)n;
        if (watch->progress && watch->progress(done, total, watch->data))
            rc = error_set(e, -ECANCELED, "disk %s: stopped", d->vdev);
    }
    if (n < 0)
        rc = error_errno(e, errno, "disk %s: read %s", d->vdev, d->path);
    (void)crypto_generichash_final(&state, digest, 32);
    free(buffer);
    return rc;
}

int fingerprint_look(const struct disk_conf *d, bool digest,
                     int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                     struct disk_fingerprint *f, struct error *e)
{
    const struct digest_watch watch = {progress, data};
    *f = (struct disk_fingerprint){0};
    int fd = disk_open_readonly(d, e);
    if (fd < 0)
        return fd;
    int rc = disk_look(d, fd, f, e);
    if (!rc && digest) {
        rc = disk_digest(d, fd, f->bytes, &watch, f->digest, e);
        f->digested = !rc;
    }
    fd_close(&fd);
    if (rc)
        *f = (struct disk_fingerprint){0};
    return rc;
}

/* Eyes of our own. data: a struct digest_watch */
static int look_ourselves(const struct disk_conf *d, bool digest, void *data,
                          struct disk_fingerprint *f, struct error *e)
{
    const struct digest_watch *watch = data;
    return fingerprint_look(d, digest, watch->progress, watch->data, f, e);
}

int fingerprints_take_by(struct domconf *c, bool digests, const struct disk_eyes *eyes,
                         struct error *e)
{
    for (unsigned i = 0; i < c->n_disks; i++) {
        struct disk_conf *d = &c->disks[i];
        if (d->kind == DISK_SCRATCH)
            continue;
        int rc = eyes->look(d, digests && d->kind != DISK_PHY, eyes->data, &d->was, e);
        if (rc == -ECANCELED)
            return rc;
        if (rc)
            log_info("%s: no fingerprint is taken", e->text); /* the image's maker is told */
    }
    *e = (struct error){0};
    return 0;
}

int fingerprints_take(struct domconf *c, bool digests,
                      int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                      struct error *e)
{
    struct digest_watch watch = {progress, data};
    const struct disk_eyes ours = {look_ourselves, &watch};
    return fingerprints_take_by(c, digests, &ours, e);
}

static int changed(const struct disk_conf *d, const char *what, struct error *e)
{
    return error_set(e, ANSWER_IMAGE_BROKEN,
                     "disk %s: %s has another %s than when the image was saved. A saved kernel "
                     "must not meet a changed disk: put the disk back as it was, or import the "
                     "image again",
                     d->vdev, d->path, what);
}

static int fingerprint_compare(const struct disk_conf *d, bool digest, const struct disk_eyes *eyes,
                               struct error *e)
{
    struct disk_fingerprint now;
    if (!d->was.taken)
        return 0;
    int rc = eyes->look(d, digest && d->was.digested, eyes->data, &now, e);
    if (rc)
        return rc;
    if (now.bytes != d->was.bytes)
        return changed(d, "size", e);
    if (d->kind == DISK_PHY)
        return 0;
    if (now.digested && memcmp(now.digest, d->was.digest, sizeof now.digest) != 0)
        return changed(d, "content", e);
    return now.mtime_ns != d->was.mtime_ns ? changed(d, "time of change", e) : 0;
}

static struct digest_watch nobody;
static const struct disk_eyes own_eyes = {look_ourselves, &nobody};

int fingerprint_check(const struct disk_conf *d, struct error *e)
{
    return fingerprint_compare(d, false, &own_eyes, e);
}

int fingerprints_verify(const struct image *im, struct error *e)
{
    return fingerprints_verify_by(im, &own_eyes, e);
}

int fingerprints_verify_by(const struct image *im, const struct disk_eyes *eyes, struct error *e)
{
    struct domconf c;
    domconf_init(&c);
    int rc = domconf_from_json(image_config(im), &c, e);
    for (unsigned i = 0; i < c.n_disks && !rc; i++)
        rc = fingerprint_compare(&c.disks[i], true, eyes, e);
    domconf_dispose(&c);
    return rc;
}
