/* See disks.h. */
#define _GNU_SOURCE

#include "guest/disks.h"

#include "guest/console.h"
#include "guest/identity.h"
#include "guest/options.h"
#include "guest/pattern.h"
#include "guest/threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Emulated hosts are slow, so the limits are wide; they only end waits for what is dead. */
enum { LIMIT_MS = 10000, APPEAR_LIMIT_MS = 30000 };

struct guest_disk {
    struct guest_worker worker; /* first: worker and disk are one */
    char path[32];
    int fd; /* opened for direct I/O, -1 if that failed */
    bool read_only;
    uint64_t bytes;
    uint8_t *page; /* aligned */
};

/* What a page of a disk holds. */
struct block {
    char magic[16];
    uint64_t id;
    uint64_t round; /* 0 in the header */
    char path[32];
    uint64_t filler[(PAGE_BYTES - 64) / 8];
};

_Static_assert(sizeof(struct block) == PAGE_BYTES, "a block is one page");

enum block_place { HEADER, DATA };

static struct guest_disk disks[DISKS_MAX];
static struct workers workers;

size_t disks_count(void)
{
    return workers.count;
}

/* ---- a worker's share ---- */

static void block_make(struct block *block, const struct guest_disk *d, uint64_t round)
{
    *block = (struct block){.magic = "dompool-guest", .id = boot_id, .round = round};
    memcpy(block->path, d->path, sizeof block->path);
    uint64_t x = mix(boot_id ^ mix(round)) | 1;
    for (size_t i = 0; i < sizeof block->filler / 8; i++) {
        block->filler[i] = x;
        x = next_word(x);
    }
}

static off_t place_offset(const struct guest_disk *d, enum block_place place)
{
    return (off_t)(d->bytes / 2 / PAGE_BYTES + place) * PAGE_BYTES;
}

static bool page_read(struct guest_disk *d, enum block_place place)
{
    return pread(d->fd, d->page, PAGE_BYTES, place_offset(d, place)) == PAGE_BYTES;
}

static bool block_write(struct guest_disk *d, enum block_place place, uint64_t round)
{
    struct block block;
    block_make(&block, d, round);
    memcpy(d->page, &block, sizeof block);
    return pwrite(d->fd, d->page, PAGE_BYTES, place_offset(d, place)) == PAGE_BYTES;
}

static bool block_holds(struct guest_disk *d, enum block_place place, uint64_t round)
{
    struct block block;
    block_make(&block, d, round);
    memset(d->page, 0, PAGE_BYTES);
    return page_read(d, place) && !memcmp(d->page, &block, sizeof block);
}

static bool disk_work(struct guest_worker *w, uint64_t round)
{
    struct guest_disk *d = (struct guest_disk *)w;
    if (d->fd < 0)
        return false;
    if (d->read_only)
        return page_read(d, HEADER);
    return block_holds(d, HEADER, 0) && block_write(d, DATA, round) && block_holds(d, DATA, round);
}

/* ---- threads ---- */

static void disk_open(struct guest_disk *d)
{
    d->fd = open(d->path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (d->fd < 0 && (errno == EROFS || errno == EACCES)) {
        d->read_only = true;
        d->fd = open(d->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    }
    if (d->fd < 0 || ioctl(d->fd, BLKGETSIZE64, &d->bytes) || d->bytes < 4 * PAGE_BYTES) {
        say("guest: error cannot use %s: %s", d->path, d->fd < 0 ? strerror(errno) : "too small");
        d->fd = -1;
    }
}

static void *disk_run(void *arg)
{
    struct guest_disk *d = arg;
    disk_open(d);
    if (d->fd >= 0 && !d->read_only && !block_write(d, HEADER, 0))
        say("guest: error cannot write the header of %s: %s", d->path, strerror(errno));
    guest_worker_run(&d->worker);
}

/* A page for direct I/O must be alone in its page: posix_memalign and not aligned_alloc. */
static void *page_new(void)
{
    void *page;
    if (posix_memalign(&page, PAGE_BYTES, PAGE_BYTES))
        abort();
    return page;
}

/* The first line of each disk after a restore tells when that disk is there again. */
static void *reader_run(void *arg)
{
    const struct guest_disk *d = arg;
    int fd = open(d->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    void *page = page_new();
    for (uint64_t count = 1;; count++) {
        if (pread(fd, page, PAGE_BYTES, 0) == PAGE_BYTES)
            say("guest: read %s %" PRIu64, d->path + strlen("/dev/"), count);
        sleep_ms(options.read_ms);
    }
    return NULL;
}

/* ---- start ---- */

/* How many entries of a directory begin with prefix. visit, if any, says whether one counts. */
static long count_entries(const char *dir, const char *prefix, bool (*visit)(const char *name))
{
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    long n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (!strncmp(e->d_name, prefix, strlen(prefix)) && (!visit || visit(e->d_name)))
            n++;
    closedir(d);
    return n;
}

/* Front ends connect one after the other, some after the driver's module has been loaded. */
static void disks_await(void)
{
    for (unsigned long waited = 0; waited < APPEAR_LIMIT_MS; waited += 20) {
        long wanted = options.disks >= 0 ? options.disks
                                         : count_entries("/sys/bus/xen/devices", "vbd-", NULL);
        if (count_entries("/sys/block", "xvd", NULL) >= wanted)
            break;
        sleep_ms(20);
    }
}

static bool disk_add(const char *name)
{
    if (workers.count == DISKS_MAX || strlen(name) != strlen("xvda"))
        return false;
    struct guest_disk *d = &disks[workers.count];
    *d = (struct guest_disk){.worker.work = disk_work, .fd = -1};
    snprintf(d->path, sizeof d->path, "/dev/%.4s", name);
    workers.members[workers.count++] = &d->worker;
    return true;
}

static int disk_order(const void *a, const void *b)
{
    const struct guest_disk *x = a, *y = b;
    return strcmp(x->path, y->path);
}

void disks_start(void)
{
    disks_await();
    if (options.disks != 0)
        count_entries("/sys/block", "xvd", disk_add);
    qsort(disks, workers.count, sizeof disks[0], disk_order);
    for (size_t i = 0; i < workers.count; i++) {
        disks[i].page = page_new();
        guest_thread_start(disk_run, &disks[i]);
        if (options.read_ms > 0)
            guest_thread_start(reader_run, &disks[i]);
    }
}

/* ---- rounds ---- */

void disks_ask(uint64_t round)
{
    workers_ask(&workers, round);
}

struct tally disks_wait(uint64_t round)
{
    return workers_wait(&workers, round, LIMIT_MS);
}
