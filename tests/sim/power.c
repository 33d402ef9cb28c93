/* A disk that forgets: see power.h. */
#include "tests/sim/power.h"

#include "base/io.h"
#include "base/list.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One write since the last sync; data NULL: the file was cut to `at` bytes. */
struct change {
    struct list node;
    size_t at, n;
    char *data;
};

struct content {
    char *bytes;
    size_t n, size;
};

/* A file by its path, open or not. */
struct disk_file {
    struct list node;
    char path[200];
    struct content synced;
    struct list changes;
    struct content after; /* what the cut left */
};

struct opened {
    sqlite3_file base;
    struct disk_file *file;
    sqlite3_file *real; /* behind this struct */
};

static struct list files;
static sqlite3_vfs *real_vfs, vfs;
static size_t space;
static bool cut;

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

/* ---- contents ---- */

static void content_resize(struct content *c, size_t n)
{
    if (n >= c->size) {
        c->size = 2 * n + 1;
        c->bytes = must(realloc(c->bytes, c->size));
    }
    if (n > c->n)
        memset(c->bytes + c->n, 0, n - c->n);
    c->n = n;
}

static void content_change(struct content *c, const struct change *change)
{
    size_t end = change->at + change->n;
    if (!change->data || end > c->n)
        content_resize(c, change->data ? end : change->at);
    if (change->data)
        memcpy(c->bytes + change->at, change->data, change->n);
}

static void change_free(struct change *change)
{
    list_remove(&change->node);
    free(change->data);
    free(change);
}

static void change_add(struct disk_file *f, size_t at, const void *data, size_t n)
{
    struct change *change = must(calloc(1, sizeof *change));
    change->at = at;
    change->n = n;
    if (data)
        change->data = memcpy(must(malloc(n + 1)), data, n);
    list_append(&f->changes, &change->node);
}

static void file_synced(struct disk_file *f)
{
    list_each (node, &f->changes) {
        struct change *change = container_of(node, struct change, node);
        content_change(&f->synced, change);
        change_free(change);
    }
}

static void file_free(struct disk_file *f)
{
    list_each (node, &f->changes)
        change_free(container_of(node, struct change, node));
    list_remove(&f->node);
    free(f->synced.bytes);
    free(f->after.bytes);
    free(f);
}

static struct disk_file *file_find(const char *path)
{
    list_each (node, &files) {
        struct disk_file *f = container_of(node, struct disk_file, node);
        if (!strcmp(f->path, path))
            return f;
    }
    return NULL;
}

static struct disk_file *file_watch(const char *path)
{
    struct disk_file *f = file_find(path);
    if (f)
        return f;
    f = must(calloc(1, sizeof *f));
    list_init(&f->changes);
    snprintf(f->path, sizeof f->path, "%s", path);
    struct stat st;
    if (!stat(path, &st) &&
        read_file(path, (size_t)st.st_size, &f->synced.bytes, &f->synced.n, NULL))
        abort();
    f->synced.size = f->synced.n;
    list_append(&files, &f->node);
    return f;
}

/* ---- what SQLite calls ---- */

static struct opened *opened_of(sqlite3_file *file)
{
    return (struct opened *)file;
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return opened_of(file)->real;
}

static int io_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int io_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), to, n, at);
}

static int io_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    sqlite3_int64 size = 0;
    real_of(file)->pMethods->xFileSize(real_of(file), &size);
    size_t more = at + n > size ? (size_t)(at + n - size) : 0;
    if (more > space)
        return SQLITE_FULL;
    space -= space == SIZE_MAX ? 0 : more;
    if (opened_of(file)->file)
        change_add(opened_of(file)->file, (size_t)at, from, (size_t)n);
    return real_of(file)->pMethods->xWrite(real_of(file), from, n, at);
}

static int io_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (opened_of(file)->file)
        change_add(opened_of(file)->file, (size_t)size, NULL, 0);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int io_sync(sqlite3_file *file, int flags)
{
    if (opened_of(file)->file && !cut)
        file_synced(opened_of(file)->file);
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int io_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int io_lock(sqlite3_file *file, int kind)
{
    return real_of(file)->pMethods->xLock(real_of(file), kind);
}

static int io_unlock(sqlite3_file *file, int kind)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), kind);
}

static int io_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int io_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int io_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int io_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int io_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int io_shm_lock(sqlite3_file *file, int at, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), at, n, flags);
}

static void io_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int io_shm_unmap(sqlite3_file *file, int remove)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = io_close,
    .xRead = io_read,
    .xWrite = io_write,
    .xTruncate = io_truncate,
    .xSync = io_sync,
    .xFileSize = io_size,
    .xLock = io_lock,
    .xUnlock = io_unlock,
    .xCheckReservedLock = io_reserved,
    .xFileControl = io_control,
    .xSectorSize = io_sector,
    .xDeviceCharacteristics = io_device,
    .xShmMap = io_shm_map,
    .xShmLock = io_shm_lock,
    .xShmBarrier = io_shm_barrier,
    .xShmUnmap = io_shm_unmap,
};

static int vfs_open(sqlite3_vfs *v, const char *path, sqlite3_file *file, int flags, int *out)
{
    struct opened *o = opened_of(file);
    (void)v;
    memset(o, 0, sizeof *o);
    o->real = (sqlite3_file *)(o + 1);
    if (path && !cut)
        o->file = file_watch(path);
    int rc = real_vfs->xOpen(real_vfs, path, o->real, flags, out);
    if (rc == SQLITE_OK)
        o->base.pMethods = &methods;
    return rc;
}

/* As if it were synced at once: what a cut may bring back is checked when it is read. */
static int vfs_delete(sqlite3_vfs *v, const char *path, int sync)
{
    (void)v;
    struct disk_file *f = file_find(path);
    if (f && !cut)
        file_free(f);
    return real_vfs->xDelete(real_vfs, path, sync);
}

void power_begin(void)
{
    list_init(&files);
    space = SIZE_MAX;
    real_vfs = must(sqlite3_vfs_find(NULL));
    vfs = *real_vfs;
    vfs.zName = "power";
    vfs.szOsFile = (int)sizeof(struct opened) + real_vfs->szOsFile;
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
        abort();
}

void power_space(size_t bytes)
{
    space = bytes;
}

/* ---- the cut ---- */

static void file_cut(struct disk_file *f, unsigned kept)
{
    unsigned n = 0, i = 0;
    list_each (node, &f->changes)
        n++;
    content_resize(&f->after, f->synced.n);
    if (f->synced.n)
        memcpy(f->after.bytes, f->synced.bytes, f->synced.n);
    list_each (node, &f->changes)
        if (i++ < n * kept / 100)
            content_change(&f->after, container_of(node, struct change, node));
}

void power_cut(unsigned kept)
{
    cut = true;
    list_each (node, &files)
        file_cut(container_of(node, struct disk_file, node), kept);
}

static void file_write(const struct disk_file *f)
{
    int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT)
        return; /* its directory was removed */
    if (fd < 0 || write_full(fd, f->after.bytes, f->after.n))
        abort();
    close(fd);
}

void power_back(void)
{
    list_each (node, &files) {
        struct disk_file *f = container_of(node, struct disk_file, node);
        file_write(f);
        file_free(f);
    }
    cut = false;
}
