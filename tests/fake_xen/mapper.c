/*
 * libdevmapper and device-mapper behind it, for tests: see kernel.h. The library's functions stand
 * in front of the real ones. A device has one target, `snapshot` or `linear`, over devices that are
 * there. udev answers at once; what it is told to wait for has to be waited for.
 */
#include "tests/fake_xen/mapper.h"

#include "base/text.h"
#include "tests/fake_xen/block.h"
#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <linux/dm-ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define MAPPED_MAX 32u
#define UNDER_MAX 2u

static struct mapped {
    bool there, deferred, written, failed;
    char name[DM_NAME_LEN], uuid[DM_UUID_LEN], target[16];
    uint64_t sectors;
    dev_t under[UNDER_MAX];
} table[MAPPED_MAX];
static unsigned cookies; /* to be waited for */

struct dm_task {
    int type, error;
    bool deferred, waits;
    struct mapped about; /* as asked for; answered, for INFO */
    char params[128], status[64];
    struct dm_info info;
    struct dm_names *names;
};

static dev_t mapped_dev(const struct mapped *m)
{
    return makedev(FAKE_MAPPER_MAJOR, (unsigned)(m - table));
}

static struct mapped *mapped_find(const char *name)
{
    for (size_t i = 0; i < MAPPED_MAX; i++)
        if (table[i].there && !strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

/* ---- the kernel's side: each returns an error number ---- */

static void let_go_of(const struct mapped *m)
{
    for (size_t i = 0; i < UNDER_MAX; i++)
        if (m->under[i])
            fake_block_close(m->under[i]);
}

static int devices_open(struct mapped *m, const char *params)
{
    unsigned numbers[4] = {0};
    int n = sscanf(params, "%u:%u %u:%u", &numbers[0], &numbers[1], &numbers[2], &numbers[3]);
    size_t devices = strcmp(m->target, "snapshot") ? 1 : 2;
    for (size_t i = 0; i < devices; i++) {
        dev_t dev = makedev(numbers[2 * i], numbers[2 * i + 1]);
        if (n < (int)(2 * i + 2) || !fake_block_open(dev)) {
            let_go_of(m);
            return ENXIO;
        }
        m->under[i] = dev;
    }
    return 0;
}

static void mapped_end(struct mapped *m)
{
    m->there = false;
    fake_block_remove(mapped_dev(m));
    let_go_of(m);
}

static void mapped_closed(dev_t dev)
{
    struct mapped *m = &table[minor(dev)];
    if (m->deferred)
        mapped_end(m);
}

static int mapped_create(const struct dm_task *t)
{
    char path[160];
    struct mapped *m = table;
    if (mapped_find(t->about.name))
        return EBUSY;
    while (m->there)
        if (++m == table + MAPPED_MAX)
            return ENOMEM;
    *m = t->about;
    int error = devices_open(m, t->params);
    if (error)
        return error;
    m->there = true;
    snprintf(path, sizeof path, "/dev/mapper/%s", m->name);
    fake_block_make(path, mapped_dev(m), m->sectors * 512, false, mapped_closed);
    return 0;
}

static int mapped_remove(const struct dm_task *t)
{
    struct mapped *m = mapped_find(t->about.name);
    if (!m)
        return ENXIO;
    if (!fake_block_users(mapped_dev(m))) {
        mapped_end(m);
        return 0;
    }
    m->deferred |= t->deferred;
    return t->deferred ? 0 : EBUSY;
}

static int mapped_look(struct dm_task *t)
{
    const struct mapped *m = mapped_find(t->about.name);
    t->info = (struct dm_info){.exists = m != NULL};
    if (!m)
        return t->type == DM_DEVICE_INFO ? 0 : ENXIO;
    t->info.major = FAKE_MAPPER_MAJOR;
    t->info.minor = minor(mapped_dev(m));
    t->info.open_count = (int32_t)fake_block_users(mapped_dev(m));
    t->info.deferred_remove = m->deferred;
    t->about = *m;
    if (m->failed)
        snprintf(t->status, sizeof t->status, "Invalid");
    else
        snprintf(t->status, sizeof t->status, "%d/%" PRIu64 " 16", m->written ? 32 : 16,
                 m->sectors);
    return 0;
}

static bool old_driver;

/* Behind the name, as linux/dm-ioctl.h says; an older driver has anything there. */
static void event_put(struct dm_names *d, bool failed)
{
    uint32_t event_nr = failed && !old_driver;
    size_t at = offsetof(struct dm_names, name) + strlen(d->name) + 1;
    memcpy((char *)d + ((at + 7) & ~(size_t)7), &event_nr, sizeof event_nr);
}

/* One after the other, each says where the next begins; none at all is one without a device. */
static int mapped_list(struct dm_task *t)
{
    size_t room = (sizeof(struct dm_names) + DM_NAME_LEN + 24) & ~(size_t)7, used = 0;
    char *list = fake_checked(calloc(MAPPED_MAX + 1, room));
    struct dm_names *last = NULL;
    for (size_t i = 0; i < MAPPED_MAX; i++) {
        if (!table[i].there)
            continue;
        if (last)
            last->next = (uint32_t)room;
        last = (struct dm_names *)(list + used);
        last->dev = mapped_dev(&table[i]);
        strcpy(last->name, table[i].name);
        event_put(last, table[i].failed);
        used += room;
    }
    t->names = (struct dm_names *)list;
    return 0;
}

/* ---- the library's side ---- */

static dm_log_with_errno_fn say;

void dm_log_with_errno_init(dm_log_with_errno_fn fn)
{
    say = fn;
}

struct dm_task *dm_task_create(int type)
{
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL))
        return NULL;
    struct dm_task *t = fake_checked(calloc(1, sizeof *t));
    t->type = type;
    return t;
}

void dm_task_destroy(struct dm_task *t)
{
    free(t->names);
    free(t);
}

static int text_set(char *to, size_t size, const char *text)
{
    return format_fits(to, size, "%s", text);
}

int dm_task_set_name(struct dm_task *t, const char *name)
{
    FAKE_CALL();
    return !FAULT(FAULT_KERNEL) && text_set(t->about.name, sizeof t->about.name, name);
}

int dm_task_set_uuid(struct dm_task *t, const char *uuid)
{
    FAKE_CALL();
    return !FAULT(FAULT_KERNEL) && text_set(t->about.uuid, sizeof t->about.uuid, uuid);
}

int dm_task_add_target(struct dm_task *t, uint64_t start, uint64_t size, const char *ttype,
                       const char *params)
{
    FAKE_CALL();
    t->about.sectors = size;
    return !FAULT(FAULT_KERNEL) && !start &&
           text_set(t->about.target, sizeof t->about.target, ttype) &&
           text_set(t->params, sizeof t->params, params);
}

int dm_task_deferred_remove(struct dm_task *t)
{
    FAKE_CALL();
    t->deferred = true;
    return !FAULT(FAULT_KERNEL);
}

int dm_task_set_cookie(struct dm_task *t, uint32_t *cookie, uint16_t flags)
{
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL))
        return 0;
    /* dom0 must not look into what guests write */
    if (!(flags & DM_UDEV_DISABLE_DISK_RULES_FLAG) || !(flags & DM_UDEV_DISABLE_OTHER_RULES_FLAG))
        abort();
    *cookie = ++cookies;
    t->waits = true;
    return 1;
}

int dm_udev_wait(uint32_t cookie)
{
    FAKE_CALL();
    if (!cookie || !cookies)
        abort();
    cookies--;
    return !FAULT(FAULT_KERNEL);
}

static int task_do(struct dm_task *t)
{
    switch (t->type) {
    case DM_DEVICE_CREATE:
        return mapped_create(t);
    case DM_DEVICE_REMOVE:
        return mapped_remove(t);
    case DM_DEVICE_INFO:
    case DM_DEVICE_STATUS:
        return mapped_look(t);
    case DM_DEVICE_LIST:
        return mapped_list(t);
    default:
        return ENOSYS;
    }
}

int dm_task_run(struct dm_task *t)
{
    FAKE_CALL();
    t->error = FAULT(FAULT_KERNEL) ? errno : task_do(t);
    if (t->error && say)
        say(3, __FILE__, __LINE__, t->error, "device-mapper: ioctl on %s failed: %s", t->about.name,
            strerror(t->error));
    errno = t->error;
    return !t->error;
}

int dm_task_get_errno(struct dm_task *t)
{
    return t->error;
}

int dm_task_get_info(struct dm_task *t, struct dm_info *info)
{
    FAKE_CALL();
    *info = t->info;
    return !FAULT(FAULT_KERNEL);
}

const char *dm_task_get_uuid(const struct dm_task *t)
{
    return t->about.uuid;
}

struct dm_names *dm_task_get_names(struct dm_task *t)
{
    return t->names;
}

void *dm_get_next_target(struct dm_task *t, void *next, uint64_t *start, uint64_t *length,
                         char **target_type, char **params)
{
    (void)next;
    *start = 0;
    *length = t->about.sectors;
    *target_type = t->about.target;
    *params = t->status;
    return NULL;
}

int dm_task_get_driver_version(struct dm_task *t, char *version, size_t size)
{
    FAKE_CALL();
    (void)t;
    return !FAULT(FAULT_KERNEL) && text_set(version, size, old_driver ? "4.36.0" : "4.47.0");
}

/* ---- the test's side ---- */

void fake_mapper_print(FILE *out)
{
    FAKE_CALL();
    for (size_t i = 0; i < MAPPED_MAX; i++)
        if (table[i].there)
            fprintf(out, "device-mapper device %s (%s)\n", table[i].name, table[i].target);
    if (cookies)
        fprintf(out, "%u cookies of udev\n", cookies);
}

void fake_mapper_write(const char *name)
{
    FAKE_CALL();
    mapped_find(name)->written = true;
}

void fake_mapper_fail(const char *name)
{
    FAKE_CALL();
    mapped_find(name)->failed = true;
}

void fake_mapper_old(bool old)
{
    old_driver = old;
}

void fake_mapper_foreign(const char *name, const char *uuid)
{
    FAKE_CALL();
    struct mapped *m = table;
    char path[160];
    while (m->there)
        m++;
    *m = (struct mapped){.there = true, .target = "linear", .sectors = 8};
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->uuid, sizeof m->uuid, "%s", uuid);
    snprintf(path, sizeof path, "/dev/mapper/%s", name);
    fake_block_make(path, mapped_dev(m), m->sectors * 512, false, mapped_closed);
}

void fake_mapper_init(void)
{
    memset(table, 0, sizeof table);
    old_driver = false;
    cookies = 0;
}

void fake_mapper_dispose(void)
{
    fake_mapper_init();
}
