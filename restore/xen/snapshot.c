/* Device-mapper snapshots: see snapshot.h. Target: the kernel's device-mapper/snapshot.rst. */
#include "restore/xen/snapshot.h"

#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <linux/dm-ioctl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NAME_PREFIX "dompool-"
#define UUID_PREFIX "DOMPOOL-"

/* 8 KiB: small writes of a guest copy little, and the table of changed chunks stays small. */
#define CHUNK_SECTORS 16

static pthread_mutex_t dm_lock = PTHREAD_MUTEX_INITIALIZER;
static char dm_complaint[256];

static void dm_message(int level, const char *file, int line, int dm_errno, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static void dm_message(int level, const char *file, int line, int dm_errno, const char *fmt, ...)
{
    (void)file, (void)line, (void)dm_errno;
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_debug("libdevmapper: %s", text);
    /* The low three bits are a syslog level; 4 and below are warnings and errors. */
    if ((level & 7) <= 4 && !dm_complaint[0])
        memcpy(dm_complaint, text, sizeof dm_complaint);
}

static void dm_enter(void)
{
    pthread_mutex_lock(&dm_lock);
    dm_log_with_errno_init(dm_message);
    dm_complaint[0] = '\0';
}

static int dm_failed(struct error *e, const char *what, const char *name)
{
    int errnum = errno ? errno : EIO;
    error_errno(e, errnum, "%s device-mapper snapshot %s", what, name);
    if (e && dm_complaint[0]) {
        size_t used = strlen(e->text);
        snprintf(e->text + used, sizeof e->text - used, " (libdevmapper: %s)", dm_complaint);
    }
    return -errnum;
}

/* A guest writes these disks, so dom0 must not look into them: no blkid, no LVM activation, no
 * by-uuid links. The node under /dev/mapper is made nevertheless. */
#define UDEV_FLAGS                                                                                 \
    (DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG |                      \
     DM_UDEV_DISABLE_OTHER_RULES_FLAG)

/* Runs a task that changes a device and waits for udev to have made its nodes. */
static bool run_and_settle(struct dm_task *task)
{
    uint32_t cookie = 0;
    if (!dm_task_set_cookie(task, &cookie, UDEV_FLAGS))
        return false;
    bool ok = dm_task_run(task);
    int saved = dm_task_get_errno(task);
    dm_udev_wait(cookie);
    errno = saved;
    return ok;
}

static bool task_create(const char *name, const char *uuid, const char *target, const char *params,
                        uint64_t sectors)
{
    struct dm_task *task = dm_task_create(DM_DEVICE_CREATE);
    bool ok = task && dm_task_set_name(task, name) && dm_task_set_uuid(task, uuid) &&
              dm_task_add_target(task, 0, sectors, target, params) && run_and_settle(task);
    if (task)
        dm_task_destroy(task);
    return ok;
}

/* Whether the device exists: 1 or 0; negative when the kernel cannot be asked. uuid may be NULL. */
static int task_info(const char *name, struct dm_info *info, char *uuid, size_t size)
{
    struct dm_task *task = dm_task_create(DM_DEVICE_INFO);
    bool asked =
        task && dm_task_set_name(task, name) && dm_task_run(task) && dm_task_get_info(task, info);
    int rc = !asked ? -EIO : info->exists ? 1 : 0;
    if (rc > 0 && uuid) {
        const char *text = dm_task_get_uuid(task);
        snprintf(uuid, size, "%s", text ? text : "");
    }
    if (task)
        dm_task_destroy(task);
    return rc;
}

static bool task_remove(const char *name, bool deferred)
{
    struct dm_task *task = dm_task_create(DM_DEVICE_REMOVE);
    bool ok = task && dm_task_set_name(task, name) &&
              (!deferred || dm_task_deferred_remove(task)) && run_and_settle(task);
    if (task)
        dm_task_destroy(task);
    return ok;
}

static int device_create(const struct snapshot_id *id, const char *target, const char *params,
                         uint64_t sectors, dev_t *dev, char name[SNAPSHOT_NAME_SIZE],
                         struct error *e)
{
    char uuid[DM_UUID_LEN];
    if (!format_fits(name, SNAPSHOT_NAME_SIZE, NAME_PREFIX "%s-%s", id->uuid, id->vdev) ||
        !format_fits(uuid, sizeof uuid, UUID_PREFIX "%s-%s-%s", id->tag, id->uuid, id->vdev))
        return error_set(e, -ENAMETOOLONG, "name of a snapshot for %s is too long", id->vdev);
    struct dm_info info;
    dm_enter();
    int rc = 0;
    errno = 0;
    if (!task_create(name, uuid, target, params, sectors))
        rc = dm_failed(e, "create", name);
    else if (task_info(name, &info, NULL, 0) <= 0) {
        rc = dm_failed(e, "look up", name);
        task_remove(name, true);
    } else
        *dev = makedev(info.major, info.minor);
    pthread_mutex_unlock(&dm_lock);
    return rc;
}

int snapshot_create(const struct snapshot_id *id, dev_t origin, dev_t cow, uint64_t sectors,
                    dev_t *dev, char name[SNAPSHOT_NAME_SIZE], struct error *e)
{
    /* N: the table of changed chunks is kept in memory only; the snapshot is never read again
     * after its domain. */
    char params[96];
    snprintf(params, sizeof params, "%u:%u %u:%u N %d", major(origin), minor(origin), major(cow),
             minor(cow), CHUNK_SECTORS);
    return device_create(id, "snapshot", params, sectors, dev, name, e);
}

int snapshot_create_scratch(const struct snapshot_id *id, dev_t device, uint64_t sectors,
                            dev_t *dev, char name[SNAPSHOT_NAME_SIZE], struct error *e)
{
    char params[48];
    snprintf(params, sizeof params, "%u:%u 0", major(device), minor(device));
    return device_create(id, "linear", params, sectors, dev, name, e);
}

/* "<allocated>/<all> <metadata>", in sectors, is what the kernel says of a snapshot. */
static bool task_written(const char *name, bool *written)
{
    struct dm_task *task = dm_task_create(DM_DEVICE_STATUS);
    unsigned long long allocated, all, metadata;
    uint64_t start, length;
    char *target = NULL, *params = NULL;
    bool ok = task && dm_task_set_name(task, name) && dm_task_run(task);
    if (ok)
        dm_get_next_target(task, NULL, &start, &length, &target, &params);
    ok = ok && params && sscanf(params, "%llu/%llu %llu", &allocated, &all, &metadata) == 3;
    *written = ok && allocated > metadata;
    if (task)
        dm_task_destroy(task);
    return ok;
}

int snapshot_written(const char *uuid, const char *vdev, bool *written, struct error *e)
{
    char name[SNAPSHOT_NAME_SIZE];
    if (!format_fits(name, sizeof name, NAME_PREFIX "%s-%s", uuid, vdev))
        return error_set(e, -ENAMETOOLONG, "name of a snapshot for %s is too long", vdev);
    dm_enter();
    errno = 0;
    int rc = task_written(name, written) ? 0 : dm_failed(e, "ask for the status of", name);
    pthread_mutex_unlock(&dm_lock);
    return rc;
}

/* DOMPOOL-<tag>-<36 characters of UUID>-<vdev>; a tag may hold dashes, so from the end. */
static bool parse_uuid(const char *text, struct snapshot_found *found)
{
    size_t prefix = strlen(UUID_PREFIX);
    const char *vdev = strrchr(text, '-');
    if (strncmp(text, UUID_PREFIX, prefix) || !vdev)
        return false;
    size_t head = (size_t)(vdev - text); /* prefix, tag, dash, UUID */
    if (head < prefix + 1 + 36 || head - prefix - 37 >= sizeof found->tag)
        return false;
    size_t tag = head - prefix - 37;
    memcpy(found->tag, text + prefix, tag);
    found->tag[tag] = '\0';
    memcpy(found->uuid, vdev - 36, 36);
    found->uuid[36] = '\0';
    return text[prefix + tag] == '-';
}

/* Appends one element of that size; *list is malloc'd. */
static int list_append(const void *found, size_t size, void **list, size_t *n, struct error *e)
{
    char *bigger = realloc(*list, (*n + 1) * size);
    if (!bigger)
        return error_set(e, -ENOMEM, "out of memory for a list of %zu snapshots", *n + 1);
    *list = bigger;
    memcpy(bigger + (*n)++ * size, found, size);
    return 0;
}

/* What a list of devices is made into. */
struct device_listing {
    const char *prefix; /* of the names that are wanted */
    const char *tag;    /* of the daemon; NULL: every one's */
    int (*add)(struct device_listing *l, const struct dm_names *device, struct error *e);
    void *list;
    size_t n;
    bool has_events; /* the kernel says how many events each device has had */
};

/* 1: it is one of ours, and *found and *info say which; 0: it is not, or has gone since it was
 * listed. */
static int look_up(const struct device_listing *l, const char *name, struct snapshot_found *found,
                   struct dm_info *info, struct error *e)
{
    char uuid[DM_UUID_LEN];
    *found = (struct snapshot_found){0};
    if (strncmp(name, l->prefix, strlen(l->prefix)) != 0 ||
        !format_fits(found->name, sizeof found->name, "%s", name))
        return 0;
    int there = task_info(name, info, uuid, sizeof uuid);
    if (there < 0)
        return dm_failed(e, "look up", name);
    return there && parse_uuid(uuid, found) && (!l->tag || !strcmp(found->tag, l->tag));
}

static int found_add(struct device_listing *l, const struct dm_names *device, struct error *e)
{
    struct snapshot_found found;
    struct dm_info info;
    int rc = look_up(l, device->name, &found, &info, e);
    if (rc <= 0)
        return rc;
    found.in_use = info.open_count > 0;
    return list_append(&found, sizeof found, &l->list, &l->n, e);
}

static void each_device(const struct dm_names *names, struct device_listing *l, int *rc,
                        struct error *e)
{
    for (uint32_t next = 1; names->dev && next && !*rc;) {
        *rc = l->add(l, names, e);
        next = names->next;
        names = (const struct dm_names *)((const char *)names + next);
    }
}

/* Device-mapper's interface 4.37 (Linux 4.13) is the first to count events in a list. */
static bool counts_events(struct dm_task *task)
{
    char version[32];
    unsigned major_nr, minor_nr;
    return dm_task_get_driver_version(task, version, sizeof version) &&
           sscanf(version, "%u.%u", &major_nr, &minor_nr) == 2 &&
           (major_nr > 4 || (major_nr == 4 && minor_nr >= 37));
}

/* On a host without device-mapper there is nothing to list. */
static int list_devices(struct device_listing *l, struct error *e)
{
    if (access("/dev/mapper/control", F_OK))
        return errno == ENOENT ? 0 : error_errno(e, errno, "look for /dev/mapper/control");
    int rc = 0;
    dm_enter();
    errno = 0;
    struct dm_task *task = dm_task_create(DM_DEVICE_LIST);
    const struct dm_names *names = task && dm_task_run(task) ? dm_task_get_names(task) : NULL;
    if (!names)
        rc = error_errno(e, errno ? errno : EIO, "list device-mapper devices");
    else
        l->has_events = counts_events(task);
    if (!rc)
        each_device(names, l, &rc, e);
    if (task)
        dm_task_destroy(task);
    pthread_mutex_unlock(&dm_lock);
    return rc;
}

int snapshot_list(const char *uuid, struct snapshot_found **out, size_t *n, struct error *e)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, NAME_PREFIX "%s", uuid ? uuid : "");
    struct device_listing l = {.prefix = prefix, .add = found_add};
    int rc = list_devices(&l, e);
    *out = l.list;
    *n = l.n;
    return rc;
}

/* ---- those that have failed ---- */

/* What stands behind the name, at the next multiple of 8 (linux/dm-ioctl.h, struct dm_name_list).
 * A snapshot has its first event when it fails. */
static bool had_no_event(const struct dm_names *device)
{
    uintptr_t behind = (uintptr_t)(device->name + strlen(device->name) + 1);
    uint32_t event_nr;
    memcpy(&event_nr, (const void *)((behind + 7) & ~(uintptr_t)7), sizeof event_nr);
    return !event_nr;
}

/* The status of a snapshot that works begins with a number; of another kind of device it may be
 * empty. */
static bool task_failed(const char *name, char *state, size_t size)
{
    struct dm_task *task = dm_task_create(DM_DEVICE_STATUS);
    uint64_t start, length;
    char *target = NULL, *params = NULL;
    if (task && dm_task_set_name(task, name) && dm_task_run(task))
        dm_get_next_target(task, NULL, &start, &length, &target, &params);
    bool failed =
        target && params && !strcmp(target, "snapshot") && params[0] >= 'A' && params[0] <= 'Z';
    if (failed)
        snprintf(state, size, "%.*s", (int)size - 1, params);
    if (task)
        dm_task_destroy(task);
    return failed;
}

/* A device that cannot be asked, or is gone, is looked at again with the next list. */
static int failed_add(struct device_listing *l, const struct dm_names *device, struct error *e)
{
    struct snapshot_failed failed = {0};
    struct snapshot_found found;
    struct dm_info info;
    if ((l->has_events && had_no_event(device)) ||
        strncmp(device->name, l->prefix, strlen(l->prefix)) != 0 ||
        !task_failed(device->name, failed.state, sizeof failed.state))
        return 0;
    int rc = look_up(l, device->name, &found, &info, e);
    if (rc <= 0)
        return rc;
    const char *vdev = strrchr(found.name, '-');
    if (!vdev || !format_fits(failed.vdev, sizeof failed.vdev, "%s", vdev + 1))
        return 0;
    memcpy(failed.uuid, found.uuid, sizeof failed.uuid);
    return list_append(&failed, sizeof failed, &l->list, &l->n, e);
}

int snapshot_list_failed(const char *tag, struct snapshot_failed **out, size_t *n, struct error *e)
{
    struct device_listing l = {.prefix = NAME_PREFIX, .tag = tag, .add = failed_add};
    int rc = list_devices(&l, e);
    *out = l.list;
    *n = l.n;
    return rc;
}

/* ---- removing ---- */

/* A snapshot that somebody else removes meanwhile is gone as well. */
static int remove_present(const char *name, struct error *e)
{
    struct dm_info info;
    if (task_remove(name, true))
        return 0;
    int failed = errno;
    if (!task_info(name, &info, NULL, 0))
        return 0;
    errno = failed;
    return dm_failed(e, "remove", name);
}

int snapshot_remove(const char *name, struct error *e)
{
    struct dm_info info;
    dm_enter();
    errno = 0;
    int there = task_info(name, &info, NULL, 0);
    int rc = there < 0 ? dm_failed(e, "look up", name) : there ? remove_present(name, e) : 0;
    pthread_mutex_unlock(&dm_lock);
    return rc;
}
