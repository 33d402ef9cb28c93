/*
 * A slot's disks: see disk.h.
 *
 * The kernel's blkback needs no hotplug script: it opens the device that physical-device names, and
 * goes to InitWait by itself. There must be a script node all the same, since libxl runs it when xl
 * destroys the domain; /bin/true does.
 *
 * Descriptors of loop devices are kept open until blkback has the device. The devices are in
 * autoclear mode, so an attached one without users would vanish.
 *
 * Sources: docs/misc/xenstore-paths, xen/io/blkif.h, libxl's device_disk_add.
 */
#include "restore/xen/disk.h"

#include "base/array.h"
#include "base/io.h"
#include "restore/xen/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

#define SECTOR_BYTES 512u

static int file_attach(const char *path, bool read_only, struct loop *out, uint64_t *bytes,
                       struct error *e)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "open %s", path);
    struct stat st = {0};
    int rc = fstat(fd, &st) ? error_errno(e, errno, "stat %s", path) : 0;
    if (!rc && (st.st_size < (off_t)SECTOR_BYTES))
        rc = error_set(e, -EINVAL, "%s is too small for a disk: it has %" PRId64 " bytes", path,
                       (int64_t)st.st_size);
    if (!rc)
        rc = loop_attach(fd, path, read_only, out, e);
    fd_close(&fd);
    *bytes = (uint64_t)st.st_size;
    return rc;
}

static int block_size(const char *path, uint64_t *bytes, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "open %s", path);
    int rc = ioctl(fd, BLKGETSIZE64, bytes) ? error_errno(e, errno, "size of %s", path) : 0;
    fd_close(&fd);
    return rc;
}

/* The device that holds the configured path: itself, or a loop device over the file. */
static int origin_open(struct disk *d, bool read_only, dev_t *dev, uint64_t *bytes, struct error *e)
{
    const char *path = d->conf->path;
    struct stat st;
    if (stat(path, &st))
        return error_errno(e, errno, "look for %s", path);
    if (S_ISBLK(st.st_mode)) {
        *dev = st.st_rdev;
        return block_size(path, bytes, e);
    }
    if (!S_ISREG(st.st_mode))
        return error_set(e, -EINVAL, "%s is neither a block device nor a file", path);
    int rc = file_attach(path, read_only, &d->file, bytes, e);
    *dev = d->file.dev;
    return rc;
}

/* A nameless sparse file of this size on a loop device; it is gone with its last user. */
static int scratch_attach(const char *dir, const char *name, uint64_t bytes, struct loop *out,
                          struct error *e)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(e, errno, "make a temporary file in %s", dir);
    int rc =
        ftruncate(fd, (off_t)bytes)
            ? error_errno(e, errno, "grow a temporary file in %s to %" PRIu64 " bytes", dir, bytes)
            : loop_attach(fd, name, false, out, e);
    fd_close(&fd);
    return rc;
}

static int open_plain(struct disk *d, const struct disk_place *place, struct error *e)
{
    (void)place;
    uint64_t bytes;
    d->writable = d->conf->kind == DISK_PHY;
    snprintf(d->path, sizeof d->path, "%s", d->conf->path);
    return origin_open(d, !d->writable, &d->dev, &bytes, e);
}

static int open_scratch(struct disk *d, const struct disk_place *place, struct error *e)
{
    struct snapshot_id id = {place->tag, place->uuid, d->conf->vdev};
    char name[SNAPSHOT_NAME_SIZE];
    d->writable = true;
    int rc = scratch_attach(place->cow_dir, "dompool-scratch", d->conf->size_bytes, &d->cow, e);
    /* It has a name: between xl save and xl restore, the number of a loop device may pass to
     * somebody else's disk. */
    if (!rc)
        rc = snapshot_create_scratch(&id, d->cow.dev, d->conf->size_bytes / SECTOR_BYTES, &d->dev,
                                     name, e);
    if (!rc)
        snprintf(d->path, sizeof d->path, "/dev/mapper/%s", name);
    return rc;
}

#define LAYER_MIN_BYTES                                                                            \
    (1024u * 1024u) /* less is nobody's wish: the first write would be too much */

/* Every chunk may change; one more page absorbs rounding up to whole chunks. With a smaller layer
 * only this guest's disk ends when it writes too much, not every one's on the same file system. */
static uint64_t layer_bytes(const struct disk_place *place, uint64_t origin_bytes)
{
    uint64_t all = origin_bytes + 64 * 1024, max = place->cow_max & ~UINT64_C(4095);
    if (!place->cow_max)
        return all;
    if (max < LAYER_MIN_BYTES)
        max = LAYER_MIN_BYTES;
    return max < all ? max : all;
}

static int open_cow(struct disk *d, const struct disk_place *place, struct error *e)
{
    d->writable = true;
    dev_t origin = 0;
    uint64_t bytes = 0;
    int rc = origin_open(d, true, &origin, &bytes, e);
    if (rc)
        return rc;
    rc = scratch_attach(place->cow_dir, "dompool-cow", layer_bytes(place, bytes), &d->cow, e);
    if (rc)
        return rc;
    struct snapshot_id id = {place->tag, place->uuid, d->conf->vdev};
    char name[SNAPSHOT_NAME_SIZE];
    rc = snapshot_create(&id, origin, d->cow.dev, bytes / SECTOR_BYTES, &d->dev, name, e);
    if (!rc)
        snprintf(d->path, sizeof d->path, "/dev/mapper/%s", name);
    return rc;
}

/* Whether the device takes discards, as far as sysfs says (Documentation/ABI/stable/sysfs-block;
 * a partition's queue is that of its disk). */
static bool takes_discards(dev_t dev)
{
    static const char *const queues[] = {"queue", "../queue"};
    for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
        char path[96], *text;
        struct error ignored;
        size_t length;
        snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s/discard_max_bytes", major(dev),
                 minor(dev), queues[i]);
        if (read_file(path, 64, &text, &length, &ignored))
            continue;
        bool takes = strtoull(text, NULL, 10) != 0;
        free(text);
        return takes;
    }
    return true;
}

/* A private device is not left behind. */
static int take_mark(struct disk *d, struct error *e)
{
    bool is_private = d->cow.fd >= 0;
    struct error ignored;
    int rc = disk_mark_take(&d->mark, d->conf, is_private ? d->dev : 0, e);
    if (rc && is_private)
        (void)snapshot_remove(strrchr(d->path, '/') + 1, &ignored);
    return rc;
}

int disk_open(struct disk *d, const struct disk_conf *conf, const struct disk_place *place,
              struct error *e)
{
    static int (*const open_kind[])(struct disk *, const struct disk_place *, struct error *) = {
        [DISK_PHY] = open_plain,
        [DISK_RO] = open_plain,
        [DISK_COW] = open_cow,
        [DISK_SCRATCH] = open_scratch,
    };
    *d = (struct disk){.conf = conf, .file.fd = -1, .cow.fd = -1};
    disk_mark_init(&d->mark);
    int rc = open_kind[conf->kind](d, place, e);
    if (!rc)
        rc = take_mark(d, e);
    if (rc) {
        disk_dispose(d);
        error_prefix(e, "disk %s: ", conf->vdev);
        return rc;
    }
    d->discards = takes_discards(d->dev);
    return 0;
}

void disk_close(struct disk *d)
{
    loop_close(&d->file);
    loop_close(&d->cow);
}

int disk_check(const struct disk *d, struct error *e)
{
    return disk_mark_check(&d->mark, d->conf, e);
}

void disk_dispose(struct disk *d)
{
    disk_close(d);
    disk_mark_dispose(&d->mark);
}

/* blkback tells the guest's front end that a CD-ROM is one. */
static const char *device_type(const struct disk *d)
{
    return d->conf->is_cdrom ? "cdrom" : "disk";
}

static void backend_nodes(const struct disk *d, uint32_t domid, struct nodes *t)
{
    nodes_put(t, "frontend-id", "%u", domid);
    nodes_put(t, "online", "1");
    nodes_put(t, "removable", "%d", d->conf->removable);
    nodes_put(t, "bootable", "1");
    nodes_put(t, "state", "%d", XenbusStateInitialising);
    nodes_put(t, "dev", "%s", d->conf->vdev);
    nodes_put(t, "type", "phy");
    nodes_put(t, "mode", "%s", d->writable ? "w" : "r");
    nodes_put(t, "device-type", "%s", device_type(d));
    if (d->conf->direct_io_safe)
        nodes_put(t, "direct-io-safe", "1");
    nodes_put(t, "discard-enable", "%d", d->writable && d->discards && !d->conf->no_discard);
    nodes_put(t, "specification", "xen");
    nodes_put(t, "params", "%s", d->path);
    nodes_put(t, "script", "/bin/true");
    nodes_put(t, "hotplug-status", "connected");
    /* Hexadecimal major:minor; blkback opens the device when this node comes. */
    nodes_put(t, "physical-device", "%x:%x", major(d->dev), minor(d->dev));
    nodes_put(t, "physical-device-path", "%s", d->path);
}

void disk_nodes(const struct disk *d, uint32_t domid, enum image_guest guest, struct nodes *t)
{
    uint32_t devid = d->conf->devid;
    nodes_base(t, "/libxl/%u/device/vbd/%u", domid, devid);
    nodes_put(t, "frontend", "/local/domain/%u/device/vbd/%u", domid, devid);
    nodes_put(t, "backend", "/local/domain/0/backend/vbd/%u/%u", domid, devid);
    backend_nodes(d, domid, t);

    nodes_base(t, "/local/domain/%u/device/vbd/%u", domid, devid);
    nodes_dir(t, "", NODE_GUEST_OWNS_SHARED);
    nodes_put(t, "backend", "/local/domain/0/backend/vbd/%u/%u", domid, devid);
    nodes_put(t, "backend-id", "0");
    nodes_put(t, "state", "%d", XenbusStateInitialising);
    nodes_put(t, "virtual-device", "%u", devid);
    nodes_put(t, "device-type", "%s", device_type(d));
    nodes_put(t, "trusted", "%d", !d->conf->untrusted);
    if (guest == IMAGE_GUEST_PV)
        nodes_put(t, "protocol", "x86_64-abi");

    nodes_base(t, "/local/domain/0/backend/vbd/%u/%u", domid, devid);
    nodes_dir(t, "", NODE_GUEST_READS);
    nodes_put(t, "frontend", "/local/domain/%u/device/vbd/%u", domid, devid);
    backend_nodes(d, domid, t);
}

void disk_backend(const struct disk *d, uint32_t domid, struct backend *out)
{
    *out = (struct backend){
        .kind = "vbd", .devid = d->conf->devid, .what = d->path, .module = "xen-blkback"};
    snprintf(out->name, sizeof out->name, "disk %s", d->conf->vdev);
    /* InitWait comes before the device is opened; blkback's attribute in sysfs after it. */
    snprintf(out->device, sizeof out->device,
             "/sys/bus/xen-backend/devices/vbd-%u-%u/physical_device", domid, d->conf->devid);
}
