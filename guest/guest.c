/*
 * guest: the program that runs inside dompool's test domains.
 *
 * It is made to be saved and restored. It keeps something in every kind of state that a restore has
 * to carry over, proves again and again that all of it is still there, and says so on the console:
 *
 *   - memory: pages filled with a pattern that follows from the boot id, the page's place and its
 *     generation. Every check reads all of them and rewrites a part, so that two saves of one guest
 *     differ by a known kind of delta;
 *   - vCPUs: one thread pinned to each does a share of that work;
 *   - disks: a header written at boot is read back, and a block is written and read, past the page
 *     cache;
 *   - time and the console: a counter that only goes up is printed every tick_ms;
 *   - and, when told to, what makes it another image: memory of its own (work set), a tree of
 *     processes that never rest (work tree), a name.
 *
 * Lines it prints, each with one write():
 *
 *   guest: boot id=<16 hex> vcpus=<n> mem_kib=<n> pattern_mib=<n> disks=<n>
 *   guest: tick <count>
 *   guest: read <disk> <count>
 *   guest: check <count> seq=<n> pattern=<v> pages=<n> cpus=<v>:<n> disks=<v>:<n>
 *     work=<v>:<mib> tree=<v>:<n> tag=<tag> id=<16 hex>        (all in one line)
 *     where <v> is ok or bad, and for disks also slow: nothing wrong, but not all answered in time;
 *     mib of memory from work set, n processes that answered, tag - if it has no name
 *   guest: dirty <mib> pages=<n>, guest: work set <mib>, guest: work tree <n>, guest: name <tag>,
 *   guest: free <mib>: the command was carried out; guest: error <what>: it was not
 *
 * Commands it reads, one a line:
 *
 *   check, quiet, loud, echo TEXT, poweroff, reboot, crash
 *   dirty MIB            takes that much more memory for the pattern
 *   work set MIB [TAG]   takes that much memory, filled with what follows from boot id, place and
 *                        TAG (or the guest's name); checks verify it and never rewrite it
 *   work tree N          starts N processes (work-tree.c), which verify their own pages in each
 *                        check
 *   name TAG             letters, digits, - _ and .
 *   free [--zero]        runs free-pages, in the background
 *
 * Kernel parameters: pattern_mib=64 tick_ms=100 check_ms=2000 (0: only when asked) disks=auto (or
 * how many to wait for) read_ms=0 (else every disk is read that often, and each read makes a line).
 *
 * What it must never do: stop ticking. The first tick after a restore is what a test takes as a
 * sign of life, so ticks have their own thread, which waits for nothing: not for a console that
 * nobody empties (the line is dropped), not for a disk that does not answer and not for a vCPU that
 * never came back (after a time limit they are reported as slow and bad).
 */
#define _GNU_SOURCE

#include "guest/children.h"
#include "guest/pattern.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

enum {
    PAGES_PER_MIB = 1024 * 1024 / PAGE_BYTES,
    MAX_AREAS = 64,
    TAG_BYTES = 33,
    MAX_VCPUS = 128,
    MAX_DISKS = 26,
    LINE_BYTES = 256,

    /* A check rewrites one page in ROTATE: enough to make a delta, little enough to keep it in the
       megabytes. */
    ROTATE = 64,

    /* Emulated hosts are slow, so the limits are wide; they only end waits for what is dead. */
    CPU_LIMIT_MS = 30000,
    DISK_LIMIT_MS = 10000,
    DISK_APPEAR_LIMIT_MS = 30000,
    SLICE_MS = 1000,
};

struct options {
    unsigned long pattern_mib;
    unsigned long tick_ms;
    unsigned long check_ms;
    unsigned long read_ms;
    long disks; /* -1: as many as the domain has */
};

static struct options options = {.pattern_mib = 64, .tick_ms = 100, .check_ms = 2000, .disks = -1};

static uint64_t boot_id;

static void sleep_ms(unsigned long ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

static struct timespec deadline_after(unsigned long ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Conditions that are waited for with a time limit count on the monotonic clock: a restored guest's
 * wall clock jumps. */
static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void thread_start(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, arg) != 0)
        abort();
    pthread_detach(thread);
}

/*
 * Console. Opened non-blocking: a full ring costs the line, never the caller's time. A line of
 * which a part went out is finished before any other is begun, so what is read on the other side is
 * whole lines.
 */

static struct {
    pthread_mutex_t lock;
    int fd;
    char rest[LINE_BYTES];
    size_t rest_len;
} console = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void console_open(void)
{
    struct termios tio;

    console.fd = open("/dev/hvc0", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (console.fd < 0)
        abort();
    if (tcgetattr(console.fd, &tio) == 0) {
        tio.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ISIG);
        tcsetattr(console.fd, TCSANOW, &tio);
    }
}

/* Returns how many of len bytes went out. */
static size_t console_put(const char *bytes, size_t len)
{
    ssize_t n = write(console.fd, bytes, len);

    return n > 0 ? (size_t)n : 0;
}

static bool console_flush_rest(void)
{
    size_t n;

    if (console.rest_len == 0)
        return true;
    n = console_put(console.rest, console.rest_len);
    console.rest_len -= n;
    memmove(console.rest, console.rest + n, console.rest_len);
    return console.rest_len == 0;
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    size_t len;
    size_t sent;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    len = (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    line[len++] = '\n';

    pthread_mutex_lock(&console.lock);
    if (console_flush_rest()) {
        sent = console_put(line, len);
        if (sent > 0 && sent < len) {
            console.rest_len = len - sent;
            memcpy(console.rest, line + sent, console.rest_len);
        }
    }
    pthread_mutex_unlock(&console.lock);
}

/* Memory: areas of the pattern, which checks rewrite little by little, and of the work set, which
 * stays as it is. */

enum area_kind { AREA_PATTERN, AREA_WORK, AREA_KINDS };

struct area {
    enum area_kind kind;
    uint64_t salt; /* work set: its tag */
    uint64_t *words;
    uint32_t *generations; /* pattern, by page: what the page must hold now */
    size_t pages;
    size_t first_index; /* of its first page, among the pages of all areas of its kind */
};

/*
 * Areas are only ever added. The lock guards the counts; an area below them does not move or go
 * away. Within a round each page is touched by exactly one worker.
 */
static struct {
    pthread_mutex_t lock;
    struct area areas[MAX_AREAS];
    size_t count;
    size_t pages[AREA_KINDS];
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t page_seed(const struct area *area, size_t i)
{
    uint32_t generation = area->generations != NULL ? area->generations[i] : 0;

    return mix(boot_id ^ area->salt ^ mix((uint64_t)(area->first_index + i) << 32 | generation));
}

static unsigned long mem_available_kib(void)
{
    unsigned long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static void *map_bytes(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void area_fill(const struct area *area)
{
    for (size_t i = 0; i < area->pages; i++)
        page_fill(area->words + i * PAGE_WORDS, page_seed(area, i));
}

/* Adds and fills mib of memory; false if the guest has not that much to spare (taking it would
 * have the kernel kill us). */
static bool memory_grow(enum area_kind kind, unsigned long mib, uint64_t salt)
{
    struct area area = {.kind = kind, .salt = salt, .first_index = memory.pages[kind]};

    if (mib == 0)
        return true;
    if (memory.count == MAX_AREAS || mib > mem_available_kib() / 1024 ||
        mem_available_kib() / 1024 - mib < 8)
        return false;
    area.pages = (size_t)mib * PAGES_PER_MIB;
    area.words = map_bytes(area.pages * PAGE_BYTES);
    if (kind == AREA_PATTERN)
        area.generations = map_bytes(area.pages * sizeof *area.generations);
    if (area.words == NULL || (kind == AREA_PATTERN && area.generations == NULL))
        return false;
    area_fill(&area);

    pthread_mutex_lock(&memory.lock);
    memory.areas[memory.count++] = area;
    memory.pages[kind] += area.pages;
    pthread_mutex_unlock(&memory.lock);
    return true;
}

/* Verifies the pages of one worker's share (every share_count-th, from share) and, of the pattern,
 * rewrites one in ROTATE of them. */
static bool area_check(struct area *area, uint64_t round, size_t share, size_t share_count)
{
    bool ok = true;

    for (size_t i = share; i < area->pages; i += share_count) {
        uint64_t *page = area->words + i * PAGE_WORDS;

        if (!page_holds(page, page_seed(area, i))) {
            ok = false;
        } else if (area->generations != NULL && (area->first_index + i + round) % ROTATE == 0) {
            area->generations[i]++;
            page_fill(page, page_seed(area, i));
        }
    }
    return ok;
}

/* The guest's name. */
static struct {
    pthread_mutex_t lock;
    char text[TAG_BYTES];
} tag = {.lock = PTHREAD_MUTEX_INITIALIZER, .text = "-"};

static bool tag_valid(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
            return false;
    return len > 0 && len < TAG_BYTES;
}

static void tag_get(char out[TAG_BYTES])
{
    pthread_mutex_lock(&tag.lock);
    memcpy(out, tag.text, TAG_BYTES);
    pthread_mutex_unlock(&tag.lock);
}

static uint64_t tag_salt(const char *text)
{
    uint64_t x = 0;

    while (*text != '\0')
        x = mix(x << 8 ^ (unsigned char)*text++ ^ x);
    return x;
}

/*
 * Workers: one a vCPU, pinned, and one a disk. The checker starts a round, each worker does its
 * share and marks the round as done. A worker that does not come back in time is late: the round is
 * reported without it, and it is left out of further rounds until it has finished.
 */

struct worker {
    bool (*work)(struct worker *worker);
    int cpu;                /* vCPU worker: where it must run */
    char path[32];          /* disk worker: device */
    int fd;                 /* disk worker: opened for direct I/O, -1 if that failed */
    bool read_only;         /* disk worker */
    uint64_t bytes;         /* disk worker: size */
    uint8_t *block;         /* disk worker: one aligned page */
    size_t share;           /* vCPU worker: which part of the pattern */
    size_t share_count;     /* vCPU worker: of how many; set by the checker for each round */
    size_t area_count;      /* vCPU worker: areas in this round */
    bool right[AREA_KINDS]; /* vCPU worker: its part of the memory was right */
    uint64_t round_asked;   /* the rest is guarded by workers_lock */
    uint64_t round_done;
    bool ok;
};

static pthread_mutex_t workers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t workers_asked; /* a round was started */
static pthread_cond_t workers_done;  /* some worker ended its share */

static struct worker cpus[MAX_VCPUS];
static size_t cpu_count;
static struct worker disks[MAX_DISKS];
static size_t disk_count;

static void *worker_run(void *arg)
{
    struct worker *w = arg;

    pthread_mutex_lock(&workers_lock);
    for (;;) {
        uint64_t round;
        bool ok;

        while (w->round_asked == w->round_done)
            pthread_cond_wait(&workers_asked, &workers_lock);
        round = w->round_asked;
        pthread_mutex_unlock(&workers_lock);
        ok = w->work(w);
        pthread_mutex_lock(&workers_lock);
        w->ok = ok;
        w->round_done = round;
        pthread_cond_broadcast(&workers_done);
    }
    return NULL;
}

static bool worker_idle(const struct worker *w)
{
    return w->round_asked == w->round_done;
}

static bool workers_idle(const struct worker *workers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!worker_idle(&workers[i]))
            return false;
    return true;
}

/* Waits until every worker is idle or the limit is over; how many of them did their round, and
 * well. The limit is waited for in slices: a domain that was paused has lost one of them and no
 * more. */
static size_t workers_wait(const struct worker *workers, size_t count, uint64_t round,
                           unsigned long limit_ms)
{
    unsigned long slices = limit_ms / SLICE_MS;
    size_t good = 0;

    while (!workers_idle(workers, count) && slices > 0) {
        struct timespec end = deadline_after(SLICE_MS);
        while (!workers_idle(workers, count))
            if (pthread_cond_timedwait(&workers_done, &workers_lock, &end) == ETIMEDOUT)
                break;
        slices--;
    }
    for (size_t i = 0; i < count; i++)
        if (workers[i].round_done == round && workers[i].ok)
            good++;
    return good;
}

/* True when a worker did its round and found something wrong, not merely was late. */
static bool workers_found_bad(const struct worker *workers, size_t count, uint64_t round)
{
    for (size_t i = 0; i < count; i++)
        if (workers[i].round_done == round && !workers[i].ok)
            return true;
    return false;
}

/* vCPUs. */

static bool cpu_work(struct worker *w)
{
    int before = sched_getcpu();

    for (size_t i = 0; i < AREA_KINDS; i++)
        w->right[i] = true;
    for (size_t i = 0; i < w->area_count; i++)
        if (!area_check(&memory.areas[i], w->round_asked, w->share, w->share_count))
            w->right[memory.areas[i].kind] = false;
    return before == w->cpu && sched_getcpu() == w->cpu;
}

static void *cpu_worker_run(void *arg)
{
    struct worker *w = arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)w->cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        say("guest: error cannot run on vcpu %d: %s", w->cpu, strerror(errno));
    return worker_run(w);
}

static void cpus_start(void)
{
    cpu_set_t online;

    CPU_ZERO(&online);
    sched_getaffinity(0, sizeof online, &online);
    for (int cpu = 0; cpu < MAX_VCPUS; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &online))
            continue;
        cpus[cpu_count] =
            (struct worker){.work = cpu_work, .cpu = cpu, .share = cpu_count, .fd = -1};
        thread_start(cpu_worker_run, &cpus[cpu_count]);
        cpu_count++;
    }
}

/* Disks. The first half belongs to whoever runs the test; header and data block are the first two
 * pages of the second half. */

struct disk_block {
    char magic[16];
    uint64_t id;
    uint64_t round; /* 0 in the header */
    char path[32];
    uint64_t filler[(PAGE_BYTES - 64) / 8];
};

_Static_assert(sizeof(struct disk_block) == PAGE_BYTES, "a disk block is one page");

static void disk_block_make(struct disk_block *block, const struct worker *w, uint64_t round)
{
    uint64_t x = mix(boot_id ^ mix(round)) | 1;

    *block = (struct disk_block){.magic = "dompool-guest", .id = boot_id, .round = round};
    memcpy(block->path, w->path, sizeof block->path);
    for (size_t i = 0; i < sizeof block->filler / 8; i++) {
        block->filler[i] = x;
        x = next_word(x);
    }
}

static off_t disk_offset(const struct worker *w, unsigned page)
{
    return (off_t)(w->bytes / 2 / PAGE_BYTES + page) * PAGE_BYTES;
}

static bool disk_write(struct worker *w, unsigned page, uint64_t round)
{
    struct disk_block block;

    disk_block_make(&block, w, round);
    memcpy(w->block, &block, sizeof block);
    return pwrite(w->fd, w->block, PAGE_BYTES, disk_offset(w, page)) == PAGE_BYTES;
}

static bool disk_holds(struct worker *w, unsigned page, uint64_t round)
{
    struct disk_block block;

    disk_block_make(&block, w, round);
    memset(w->block, 0, PAGE_BYTES);
    return pread(w->fd, w->block, PAGE_BYTES, disk_offset(w, page)) == PAGE_BYTES &&
           memcmp(w->block, &block, sizeof block) == 0;
}

static bool disk_work(struct worker *w)
{
    if (w->fd < 0)
        return false;
    if (w->read_only)
        return pread(w->fd, w->block, PAGE_BYTES, disk_offset(w, 0)) == PAGE_BYTES;
    return disk_holds(w, 0, 0) && disk_write(w, 1, w->round_asked) &&
           disk_holds(w, 1, w->round_asked);
}

static void disk_open(struct worker *w)
{
    w->fd = open(w->path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (w->fd < 0 && (errno == EROFS || errno == EACCES)) {
        w->read_only = true;
        w->fd = open(w->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    }
    if (w->fd < 0 || ioctl(w->fd, BLKGETSIZE64, &w->bytes) != 0 || w->bytes < 4 * PAGE_BYTES) {
        say("guest: error cannot use %s: %s", w->path, w->fd < 0 ? strerror(errno) : "too small");
        w->fd = -1;
    }
}

static void *disk_worker_run(void *arg)
{
    struct worker *w = arg;

    disk_open(w);
    if (w->fd >= 0 && !w->read_only && !disk_write(w, 0, 0))
        say("guest: error cannot write the header of %s: %s", w->path, strerror(errno));
    return worker_run(w);
}

/* How many entries of a directory begin with prefix; each is handed to visit, which says whether it
 * counts. */
static long count_entries(const char *dir, const char *prefix, bool (*visit)(const char *name))
{
    struct dirent *e;
    DIR *d = opendir(dir);
    long n = 0;

    if (d == NULL)
        return 0;
    while ((e = readdir(d)) != NULL)
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && (visit == NULL || visit(e->d_name)))
            n++;
    closedir(d);
    return n;
}

/* The first line of each disk after a restore tells when that disk is there again. */
static void *reader_run(void *arg)
{
    const struct worker *w = arg;
    int fd = open(w->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    void *page;

    if (posix_memalign(&page, PAGE_BYTES, PAGE_BYTES) != 0)
        abort();
    for (uint64_t count = 1; fd >= 0; count++) {
        if (pread(fd, page, PAGE_BYTES, 0) == PAGE_BYTES)
            say("guest: read %s %" PRIu64, w->path + strlen("/dev/"), count);
        sleep_ms(options.read_ms);
    }
    return NULL;
}

static int disk_order(const void *a, const void *b)
{
    const struct worker *x = a;
    const struct worker *y = b;

    return strcmp(x->path, y->path);
}

static bool disk_add(const char *name)
{
    struct worker *w = &disks[disk_count];

    if (disk_count == MAX_DISKS || strlen(name) != strlen("xvda"))
        return false;
    *w = (struct worker){.work = disk_work, .fd = -1};
    snprintf(w->path, sizeof w->path, "/dev/%.4s", name);
    disk_count++;
    return true;
}

/* Front ends connect one after the other, some after the driver's module has been loaded. */
static void disks_start(void)
{
    for (unsigned long waited = 0; waited < DISK_APPEAR_LIMIT_MS; waited += 20) {
        long wanted = options.disks >= 0 ? options.disks
                                         : count_entries("/sys/bus/xen/devices", "vbd-", NULL);

        if (count_entries("/sys/block", "xvd", NULL) >= wanted)
            break;
        sleep_ms(20);
    }
    if (options.disks != 0)
        count_entries("/sys/block", "xvd", disk_add);
    qsort(disks, disk_count, sizeof disks[0], disk_order);
    for (size_t i = 0; i < disk_count; i++) {
        /* posix_memalign and not aligned_alloc: the page must be alone in its page for direct I/O
         */
        if (posix_memalign((void **)&disks[i].block, PAGE_BYTES, PAGE_BYTES) != 0)
            abort();
        thread_start(disk_worker_run, &disks[i]);
        if (options.read_ms > 0)
            thread_start(reader_run, &disks[i]);
    }
}

/* Ticks. */

static uint64_t tick_count;
static bool tick_loud = true;

static void *ticker_run(void *arg)
{
    (void)arg;
    for (;;) {
        uint64_t count = __atomic_add_fetch(&tick_count, 1, __ATOMIC_RELAXED);

        if (__atomic_load_n(&tick_loud, __ATOMIC_RELAXED))
            say("guest: tick %" PRIu64, count);
        sleep_ms(options.tick_ms);
    }
    return NULL;
}

/* Checks. */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    unsigned pending;
} checker = {.lock = PTHREAD_MUTEX_INITIALIZER, .pending = 1};

static void check_ask(void)
{
    pthread_mutex_lock(&checker.lock);
    checker.pending++;
    pthread_cond_signal(&checker.asked);
    pthread_mutex_unlock(&checker.lock);
}

/* Returns when a check is due: asked for, or check_ms after the last one ended. */
static void check_wait(void)
{
    struct timespec deadline = deadline_after(options.check_ms);

    pthread_mutex_lock(&checker.lock);
    while (checker.pending == 0) {
        if (options.check_ms == 0)
            pthread_cond_wait(&checker.asked, &checker.lock);
        else if (pthread_cond_timedwait(&checker.asked, &checker.lock, &deadline) == ETIMEDOUT)
            break;
    }
    if (checker.pending > 0)
        checker.pending--;
    pthread_mutex_unlock(&checker.lock);
}

/*
 * Pages are shared out among all vCPU workers, so a round in which one is late from the round
 * before would let two workers at one page: such a round verifies nothing and is bad as a whole.
 */
static bool cpus_ask(uint64_t round, size_t areas)
{
    if (!workers_idle(cpus, cpu_count))
        return false;
    for (size_t i = 0; i < cpu_count; i++) {
        cpus[i].share_count = cpu_count;
        cpus[i].area_count = areas;
        cpus[i].round_asked = round;
    }
    return true;
}

static void disks_ask(uint64_t round)
{
    for (size_t i = 0; i < disk_count; i++)
        if (worker_idle(&disks[i]))
            disks[i].round_asked = round;
}

static bool memory_was_ok(enum area_kind kind, uint64_t round)
{
    for (size_t i = 0; i < cpu_count; i++)
        if (cpus[i].round_done != round || !cpus[i].right[kind])
            return false;
    return true;
}

static const char *verdict(bool ok)
{
    return ok ? "ok" : "bad";
}

/* What a round found. */
struct findings {
    size_t pages[AREA_KINDS];
    bool memory_ok[AREA_KINDS];
    size_t cpus;
    size_t disks;
    const char *disks_verdict;
    size_t tree;
    size_t tree_wanted;
};

static void workers_ask(uint64_t round, struct findings *f)
{
    size_t areas;

    pthread_mutex_lock(&memory.lock);
    areas = memory.count;
    memcpy(f->pages, memory.pages, sizeof f->pages);
    pthread_mutex_unlock(&memory.lock);

    pthread_mutex_lock(&workers_lock);
    cpus_ask(round, areas);
    disks_ask(round);
    pthread_cond_broadcast(&workers_asked);
    pthread_mutex_unlock(&workers_lock);
}

static void workers_gather(uint64_t round, struct findings *f)
{
    pthread_mutex_lock(&workers_lock);
    f->cpus = workers_wait(cpus, cpu_count, round, CPU_LIMIT_MS);
    for (enum area_kind kind = 0; kind < AREA_KINDS; kind++)
        f->memory_ok[kind] = memory_was_ok(kind, round);
    f->disks = workers_wait(disks, disk_count, round, DISK_LIMIT_MS);
    f->disks_verdict = verdict(f->disks == disk_count);
    if (f->disks < disk_count && !workers_found_bad(disks, disk_count, round))
        f->disks_verdict = "slow";
    pthread_mutex_unlock(&workers_lock);
}

static void check(uint64_t round)
{
    struct findings f = {.tree_wanted = trees_size()};
    char name[TAG_BYTES];

    workers_ask(round, &f);
    trees_ask();
    workers_gather(round, &f);
    f.tree = trees_wait();
    tag_get(name);
    say("guest: check %" PRIu64 " seq=%" PRIu64
        " pattern=%s pages=%zu cpus=%s:%zu disks=%s:%zu work=%s:%zu tree=%s:%zu tag=%s"
        " id=%016" PRIx64,
        __atomic_load_n(&tick_count, __ATOMIC_RELAXED), round, verdict(f.memory_ok[AREA_PATTERN]),
        f.pages[AREA_PATTERN], verdict(f.cpus == cpu_count), f.cpus, f.disks_verdict, f.disks,
        verdict(f.memory_ok[AREA_WORK]), f.pages[AREA_WORK] / PAGES_PER_MIB,
        verdict(f.tree >= f.tree_wanted), f.tree, name, boot_id);
}

static void *checker_run(void *arg)
{
    (void)arg;
    for (uint64_t round = 1;; round++) {
        check_wait();
        check(round);
    }
    return NULL;
}

/* Commands. */

static void do_check(const char *arg)
{
    (void)arg;
    check_ask();
}

static void do_quiet(const char *arg)
{
    (void)arg;
    __atomic_store_n(&tick_loud, false, __ATOMIC_RELAXED);
}

static void do_loud(const char *arg)
{
    (void)arg;
    __atomic_store_n(&tick_loud, true, __ATOMIC_RELAXED);
}

/* A number that is all of the text, or up to the blank that *rest is then behind. */
static bool number_read(const char *text, unsigned long *n, const char **rest)
{
    char *end;

    *n = strtoul(text, &end, 10);
    if (end == text || (*end != '\0' && *end != ' '))
        return false;
    *rest = *end == ' ' ? end + 1 : end;
    return true;
}

static void do_dirty(const char *arg)
{
    const char *rest;
    unsigned long mib;

    if (!number_read(arg, &mib, &rest) || *rest != '\0')
        say("guest: error dirty: '%.32s' is not a number of MiB", arg);
    else if (!memory_grow(AREA_PATTERN, mib, 0))
        say("guest: error dirty: cannot take %lu MiB", mib);
    else
        say("guest: dirty %lu pages=%zu", mib, memory.pages[AREA_PATTERN]);
}

static void work_set(unsigned long mib, const char *wanted_tag)
{
    char name[TAG_BYTES];

    tag_get(name);
    if (*wanted_tag != '\0' && !tag_valid(wanted_tag))
        say("guest: error work set: '%.32s' is no tag", wanted_tag);
    else if (!memory_grow(AREA_WORK, mib, tag_salt(*wanted_tag != '\0' ? wanted_tag : name)))
        say("guest: error work set: cannot take %lu MiB", mib);
    else
        say("guest: work set %lu", mib);
}

static void work_tree(unsigned long processes)
{
    static uint64_t trees_started;

    if (!tree_start(processes, mix(boot_id ^ ++trees_started)))
        say("guest: error work tree: cannot start %lu processes", processes);
    else
        say("guest: work tree %lu", processes);
}

static void do_work(const char *arg)
{
    const char *rest = "";
    unsigned long n;

    if (strncmp(arg, "set ", 4) == 0 && number_read(arg + 4, &n, &rest))
        work_set(n, rest);
    else if (strncmp(arg, "tree ", 5) == 0 && number_read(arg + 5, &n, &rest) && *rest == '\0')
        work_tree(n);
    else
        say("guest: error work: '%.32s' is neither set MIB [TAG] nor tree N", arg);
}

static void do_name(const char *arg)
{
    if (!tag_valid(arg)) {
        say("guest: error name: '%.32s' is no tag", arg);
        return;
    }
    pthread_mutex_lock(&tag.lock);
    snprintf(tag.text, sizeof tag.text, "%s", arg);
    pthread_mutex_unlock(&tag.lock);
    say("guest: name %s", arg);
}

static void *free_run(void *zero)
{
    long mib = free_pages_run(zero != NULL ? "--zero" : NULL);

    if (mib < 0)
        say("guest: error free: free-pages failed");
    else
        say("guest: free %ld", mib);
    return NULL;
}

static void do_free(const char *arg)
{
    static char zero;

    if (*arg != '\0' && strcmp(arg, "--zero") != 0)
        say("guest: error free: no option '%.32s'", arg);
    else
        thread_start(free_run, *arg != '\0' ? &zero : NULL);
}

static void do_echo(const char *arg)
{
    say("guest: echo %s", arg);
}

static void do_poweroff(const char *arg)
{
    (void)arg;
    sync();
    reboot(RB_POWER_OFF);
}

static void do_reboot(const char *arg)
{
    (void)arg;
    sync();
    reboot(RB_AUTOBOOT);
}

static void do_crash(const char *arg)
{
    int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

    (void)arg;
    if (fd < 0 || write(fd, "c", 1) != 1)
        abort(); /* we are init: our end is a panic too */
}

static const struct command {
    const char *name;
    void (*run)(const char *arg);
} commands[] = {
    {"check", do_check},       {"quiet", do_quiet},   {"loud", do_loud},   {"dirty", do_dirty},
    {"work", do_work},         {"name", do_name},     {"free", do_free},   {"echo", do_echo},
    {"poweroff", do_poweroff}, {"reboot", do_reboot}, {"crash", do_crash},
};

static void command_run(char *line)
{
    char *arg = line + strcspn(line, " ");

    if (*arg != '\0')
        *arg++ = '\0';
    if (*line == '\0')
        return;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(line, commands[i].name) == 0) {
            commands[i].run(arg);
            return;
        }
    }
    say("guest: error no command '%.32s'", line);
}

static void console_serve(void)
{
    struct pollfd pfd = {.fd = console.fd, .events = POLLIN};
    char line[LINE_BYTES];
    size_t len = 0;
    char c;

    for (;;) {
        poll(&pfd, 1, -1);
        while (read(console.fd, &c, 1) == 1) {
            if (c == '\n' || c == '\r') {
                line[len] = '\0';
                len = 0;
                command_run(line);
            } else if (len < sizeof line - 1) {
                line[len++] = c;
            }
        }
    }
}

/* Start. */

static void option_set(const char *word)
{
    unsigned long n;

    if (sscanf(word, "pattern_mib=%lu", &n) == 1)
        options.pattern_mib = n;
    else if (sscanf(word, "tick_ms=%lu", &n) == 1)
        options.tick_ms = n > 0 ? n : 1;
    else if (sscanf(word, "check_ms=%lu", &n) == 1)
        options.check_ms = n;
    else if (sscanf(word, "read_ms=%lu", &n) == 1)
        options.read_ms = n;
    else if (sscanf(word, "disks=%lu", &n) == 1 && n <= MAX_DISKS)
        options.disks = (long)n;
}

static void options_read(void)
{
    static char text[4096];
    char *rest = NULL;
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    for (char *word = strtok_r(text, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest))
        option_set(word);
}

static void boot_id_make(void)
{
    struct timespec now;

    /* A boot without entropy must not block; the clock then has to tell guests apart. */
    if (getrandom(&boot_id, sizeof boot_id, GRND_NONBLOCK) == sizeof boot_id)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    boot_id = mix((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec);
}

static unsigned long mem_total_kib(void)
{
    return (unsigned long)sysconf(_SC_PHYS_PAGES) * ((unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

int main(void)
{
    cond_init(&workers_asked);
    cond_init(&workers_done);
    cond_init(&checker.asked);
    options_read();
    boot_id_make();
    console_open();
    if (!memory_grow(AREA_PATTERN, options.pattern_mib, 0))
        say("guest: error no memory for pattern_mib=%lu", options.pattern_mib);
    cpus_start();
    disks_start();
    say("guest: boot id=%016" PRIx64 " vcpus=%zu mem_kib=%lu pattern_mib=%zu disks=%zu", boot_id,
        cpu_count, mem_total_kib(), memory.pages[AREA_PATTERN] / PAGES_PER_MIB, disk_count);
    thread_start(ticker_run, NULL);
    thread_start(checker_run, NULL);
    console_serve();
    return EXIT_FAILURE;
}
