/* Block devices and loop devices, for tests: see kernel.h. */
#include "tests/fake_xen/block.h"

#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BLOCKS_MAX 64u
#define LOOPS_MAX 32u
#define FAKE_DISK_MAJOR 202u

static struct block {
    dev_t dev; /* 0: free */
    char path[160];
    ino_t inode; /* of the file that stands for it */
    uint64_t bytes;
    unsigned users;
    void (*closed)(dev_t dev); /* by the last user; NULL: nobody asks */
} blocks[BLOCKS_MAX];

static struct loop_device {
    bool attached, autoclear, foreign; /* foreign: somebody else's */
    int file;                          /* -1: none */
    char name[LO_NAME_SIZE];
} loops[LOOPS_MAX];

static unsigned races, disks;

int __real_stat(const char *path, struct stat *st);
int __real_fstat(int fd, struct stat *st);

/* ---- device nodes ---- */

static struct block *block_of(dev_t dev)
{
    for (size_t i = 0; i < BLOCKS_MAX && dev; i++)
        if (blocks[i].dev == dev)
            return &blocks[i];
    return NULL;
}

static dev_t block_of_inode(const struct stat *st)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++)
        if (blocks[i].dev && blocks[i].inode == st->st_ino)
            return blocks[i].dev;
    return 0;
}

dev_t fake_block_of_fd(int fd)
{
    struct stat st;
    return __real_fstat(fd, &st) ? 0 : block_of_inode(&st);
}

dev_t fake_block_of_path(const char *path)
{
    struct stat st;
    return __real_stat(fake_path(path), &st) ? 0 : block_of_inode(&st);
}

static void discards_put(dev_t dev, bool discards)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/queue/discard_max_bytes", major(dev),
             minor(dev));
    fake_file_put(path, discards ? "4096\n" : "0\n");
}

/* The line of Documentation/block/stat.rst, of which sectors written are the seventh count. */
static void stat_put(dev_t dev, uint64_t sectors)
{
    char path[64], line[96];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/stat", major(dev), minor(dev));
    snprintf(line, sizeof line, "9 8 7 6 5 4 %llu 2 0 1 1 0 0 0 0 0 0\n",
             (unsigned long long)sectors);
    fake_file_put(path, line);
}

void fake_block_written(dev_t dev, uint64_t sectors)
{
    FAKE_CALL();
    stat_put(dev, sectors);
}

void fake_block_make(const char *path, dev_t dev, uint64_t bytes, bool discards,
                     void (*closed)(dev_t dev))
{
    struct stat st;
    struct block *b = blocks;
    while (b->dev)
        if (++b == blocks + BLOCKS_MAX)
            abort();
    fake_file_put(path, "");
    if (__real_stat(fake_path(path), &st) || strlen(path) >= sizeof b->path)
        abort();
    *b = (struct block){.dev = dev, .inode = st.st_ino, .bytes = bytes, .closed = closed};
    strcpy(b->path, path);
    discards_put(dev, discards);
    stat_put(dev, 0);
}

void fake_block_remove(dev_t dev)
{
    struct block *b = block_of(dev);
    char path[64];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(dev), minor(dev));
    fake_file_remove(path);
    fake_file_remove(b->path);
    b->dev = 0;
}

dev_t fake_disk_make(const char *path, uint64_t bytes, bool discards)
{
    FAKE_CALL();
    dev_t dev = makedev(FAKE_DISK_MAJOR, ++disks);
    fake_block_make(path, dev, bytes, discards, NULL);
    return dev;
}

bool fake_block_find(dev_t dev, uint64_t *bytes)
{
    FAKE_CALL();
    const struct block *b = block_of(dev);
    errno = ENXIO;
    if (b)
        *bytes = b->bytes;
    return b;
}

unsigned fake_block_users(dev_t dev)
{
    FAKE_CALL();
    const struct block *b = block_of(dev);
    return b ? b->users : 0;
}

/* ---- loop devices ---- */

static dev_t loop_dev(size_t number)
{
    return makedev(FAKE_LOOP_MAJOR, (unsigned)number);
}

static void loop_let_go(struct loop_device *l)
{
    if (l->file >= 0)
        close(l->file);
    *l = (struct loop_device){.file = -1};
}

static bool loop_in_use(size_t number)
{
    const struct block *b = block_of(loop_dev(number));
    return b && (b->users || fake_open_descriptors(fake_path(b->path)));
}

/* The kernel does it as the last one closes; here it is done when somebody looks. One that goes may
 * have been the last user of another. */
static void loops_settle(void)
{
    for (size_t i = 0; i < LOOPS_MAX; i++)
        if (loops[i].attached && loops[i].autoclear && !loop_in_use(i))
            loop_let_go(&loops[i]);
}

bool fake_block_open(dev_t dev)
{
    FAKE_CALL();
    struct block *b = block_of(dev);
    loops_settle();
    errno = ENXIO;
    if (!b || (major(dev) == FAKE_LOOP_MAJOR && !loops[minor(dev)].attached))
        return false;
    b->users++;
    return true;
}

void fake_block_close(dev_t dev)
{
    FAKE_CALL();
    struct block *b = block_of(dev);
    if (!b || !b->users)
        abort();
    b->users--;
    if (!b->users && b->closed)
        b->closed(dev);
    loops_settle();
}

static int loop_get_free(void)
{
    char path[32];
    loops_settle();
    for (size_t i = 0; i < LOOPS_MAX; i++) {
        if (loops[i].attached)
            continue;
        snprintf(path, sizeof path, "/dev/loop%zu", i);
        if (!block_of(loop_dev(i)))
            fake_block_make(path, loop_dev(i), 0, true, NULL);
        if (races) {
            races--;
            loops[i].attached = loops[i].foreign = true;
        }
        return (int)i;
    }
    errno = ENOSPC;
    return -1;
}

static int loop_configure(struct loop_device *l, dev_t dev, const struct loop_config *c)
{
    struct stat st;
    errno = EBUSY;
    if (l->attached)
        return -1;
    errno = EBADF;
    if (__real_fstat((int)c->fd, &st))
        return -1;
    l->file = fcntl((int)c->fd, F_DUPFD_CLOEXEC, 100);
    l->attached = true;
    l->autoclear = c->info.lo_flags & LO_FLAGS_AUTOCLEAR;
    memcpy(l->name, c->info.lo_file_name, sizeof l->name);
    block_of(dev)->bytes = (uint64_t)st.st_size;
    return 0;
}

/* In use by more than the caller, it goes with its last user. */
static int loop_clear(struct loop_device *l, dev_t dev)
{
    const struct block *b = block_of(dev);
    errno = ENXIO;
    if (!l->attached)
        return -1;
    l->autoclear = true;
    if (!b->users && fake_open_descriptors(fake_path(b->path)) <= 1)
        loop_let_go(l);
    return 0;
}

int fake_loop_ioctl(dev_t dev, int fd, unsigned long request, void *argument)
{
    (void)fd;
    if (!dev && request == LOOP_CTL_GET_FREE)
        return loop_get_free();
    errno = ENOTTY;
    if (!dev || major(dev) != FAKE_LOOP_MAJOR)
        return -1;
    loops_settle();
    struct loop_device *l = &loops[minor(dev)];
    switch (request) {
    case LOOP_CONFIGURE:
        return loop_configure(l, dev, argument);
    case LOOP_CLR_FD:
        return loop_clear(l, dev);
    default:
        return -1;
    }
}

void fake_loops_race(unsigned n)
{
    races = n;
}

void fake_loops_print(FILE *out)
{
    FAKE_CALL();
    loops_settle();
    for (size_t i = 0; i < LOOPS_MAX; i++)
        if (loops[i].attached && !loops[i].foreign)
            fprintf(out, "loop device %zu of %s\n", i, loops[i].name);
}

void fake_loops_init(void)
{
    memset(blocks, 0, sizeof blocks);
    races = disks = 0;
    for (size_t i = 0; i < LOOPS_MAX; i++)
        loops[i] = (struct loop_device){.file = -1};
}

void fake_loops_dispose(void)
{
    for (size_t i = 0; i < LOOPS_MAX; i++)
        loop_let_go(&loops[i]);
}
