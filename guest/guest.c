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
 *   - time and the console: a counter that only goes up is printed every tick_ms.
 *
 * Lines it prints, each with one write():
 *
 *   guest: boot id=<16 hex> vcpus=<n> mem_kib=<n> pattern_mib=<n> disks=<n>
 *   guest: tick <count>
 *   guest: check <count> seq=<n> pattern=<v> pages=<n> cpus=<v>:<n> disks=<v>:<n> id=<16 hex>
 *     where <v> is ok or bad, and for disks also slow: nothing wrong, but not all answered in time
 *
 * Commands it reads, one a line: check, quiet, loud, dirty MIB, echo TEXT, poweroff, reboot, crash.
 * Kernel parameters: pattern_mib=64 tick_ms=100 check_ms=2000 (0: only when asked) disks=auto (or
 * how many to wait for).
 *
 * What it must never do: stop ticking. The first tick after a restore is what a test takes as a
 * sign of life, so ticks have their own thread, which waits for nothing: not for a console that
 * nobody empties (the line is dropped), not for a disk that does not answer and not for a vCPU that
 * never came back (after a time limit they are reported as slow and bad).
 */
#define _GNU_SOURCE

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
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / 8,
    MAX_AREAS = 64,
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
};

struct options {
    unsigned long pattern_mib;
    unsigned long tick_ms;
    unsigned long check_ms;
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

    console.fd = open("/dev/hvc0", O_RDWR | O_NONBLOCK | O_NOCTTY);
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

/* Memory pattern. */

struct area {
    uint64_t *words;
    uint32_t *generations; /* by page: what the page must hold now */
    size_t pages;
    size_t first_index; /* of its first page, among the pages of all areas */
};

/*
 * Areas are only ever added. The lock guards the count; an area below it does not move or go away.
 * Within a round each page is touched by exactly one worker.
 */
static struct {
    pthread_mutex_t lock;
    struct area areas[MAX_AREAS];
    size_t count;
    size_t pages;
} pattern = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t mix(uint64_t x)
{
    /* splitmix64's finaliser: neighbouring inputs give unrelated words. */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t page_seed(size_t index, uint32_t generation)
{
    return mix(boot_id ^ mix((uint64_t)index << 32 | generation)) | 1;
}

static uint64_t next_word(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ (x << 17);
}

static void page_fill(uint64_t *page, size_t index, uint32_t generation)
{
    uint64_t x = page_seed(index, generation);

    for (size_t i = 0; i < PAGE_WORDS; i++) {
        page[i] = x;
        x = next_word(x);
    }
}

static bool page_holds(const uint64_t *page, size_t index, uint32_t generation)
{
    uint64_t x = page_seed(index, generation);
    uint64_t wrong = 0;

    for (size_t i = 0; i < PAGE_WORDS; i++) {
        wrong |= page[i] ^ x;
        x = next_word(x);
    }
    return wrong == 0;
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

/* Adds and fills mib of pattern; false if the guest has not that much to spare (taking it would
 * have the kernel kill us). */
static bool pattern_grow(unsigned long mib)
{
    size_t pages = (size_t)mib * (1024 * 1024 / PAGE_BYTES);
    struct area area = {.pages = pages, .first_index = pattern.pages};

    if (pages == 0)
        return true;
    if (pattern.count == MAX_AREAS || mib > mem_available_kib() / 1024 ||
        mem_available_kib() / 1024 - mib < 8)
        return false;
    area.words = map_bytes(pages * PAGE_BYTES);
    area.generations = map_bytes(pages * sizeof *area.generations);
    if (area.words == NULL || area.generations == NULL)
        return false;
    for (size_t i = 0; i < pages; i++)
        page_fill(area.words + i * PAGE_WORDS, area.first_index + i, 0);

    pthread_mutex_lock(&pattern.lock);
    pattern.areas[pattern.count++] = area;
    pattern.pages += pages;
    pthread_mutex_unlock(&pattern.lock);
    return true;
}

/* Verifies the pages of one worker's share (every share_count-th, from share) and rewrites one in
 * ROTATE of them. */
static bool area_check(struct area *area, uint64_t round, size_t share, size_t share_count)
{
    bool ok = true;

    for (size_t i = share; i < area->pages; i += share_count) {
        size_t index = area->first_index + i;
        uint64_t *page = area->words + i * PAGE_WORDS;

        if (!page_holds(page, index, area->generations[i]))
            ok = false;
        else if ((index + round) % ROTATE == 0)
            page_fill(page, index, ++area->generations[i]);
    }
    return ok;
}

/*
 * Workers: one a vCPU, pinned, and one a disk. The checker starts a round, each worker does its
 * share and marks the round as done. A worker that does not come back in time is late: the round is
 * reported without it, and it is left out of further rounds until it has finished.
 */

struct worker {
    bool (*work)(struct worker *worker);
    int cpu;              /* vCPU worker: where it must run */
    char path[32];        /* disk worker: device */
    int fd;               /* disk worker: opened for direct I/O, -1 if that failed */
    bool read_only;       /* disk worker */
    uint64_t bytes;       /* disk worker: size */
    uint8_t *block;       /* disk worker: one aligned page */
    size_t share;         /* vCPU worker: which part of the pattern */
    size_t share_count;   /* vCPU worker: of how many; set by the checker for each round */
    size_t area_count;    /* vCPU worker: areas in this round */
    bool pattern_ok;      /* vCPU worker: its part of the pattern was right */
    uint64_t round_asked; /* the rest is guarded by workers_lock */
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
 * well. */
static size_t workers_wait(const struct worker *workers, size_t count, uint64_t round,
                           unsigned long limit_ms)
{
    struct timespec deadline = deadline_after(limit_ms);
    size_t good = 0;

    while (!workers_idle(workers, count))
        if (pthread_cond_timedwait(&workers_done, &workers_lock, &deadline) == ETIMEDOUT)
            break;
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

    w->pattern_ok = true;
    for (size_t i = 0; i < w->area_count; i++)
        if (!area_check(&pattern.areas[i], w->round_asked, w->share, w->share_count))
            w->pattern_ok = false;
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

static bool pattern_was_ok(uint64_t round)
{
    for (size_t i = 0; i < cpu_count; i++)
        if (cpus[i].round_done != round || !cpus[i].pattern_ok)
            return false;
    return true;
}

static const char *verdict(bool ok)
{
    return ok ? "ok" : "bad";
}

static void check(uint64_t round)
{
    size_t areas;
    size_t pages;
    size_t good_cpus;
    size_t good_disks;
    bool pattern_ok;
    const char *disks_verdict;

    pthread_mutex_lock(&pattern.lock);
    areas = pattern.count;
    pages = pattern.pages;
    pthread_mutex_unlock(&pattern.lock);

    pthread_mutex_lock(&workers_lock);
    cpus_ask(round, areas);
    disks_ask(round);
    pthread_cond_broadcast(&workers_asked);
    good_cpus = workers_wait(cpus, cpu_count, round, CPU_LIMIT_MS);
    pattern_ok = pattern_was_ok(round);
    good_disks = workers_wait(disks, disk_count, round, DISK_LIMIT_MS);
    disks_verdict = verdict(good_disks == disk_count);
    if (good_disks < disk_count && !workers_found_bad(disks, disk_count, round))
        disks_verdict = "slow";
    pthread_mutex_unlock(&workers_lock);

    say("guest: check %" PRIu64 " seq=%" PRIu64
        " pattern=%s pages=%zu cpus=%s:%zu disks=%s:%zu id=%016" PRIx64,
        __atomic_load_n(&tick_count, __ATOMIC_RELAXED), round, verdict(pattern_ok), pages,
        verdict(good_cpus == cpu_count), good_cpus, disks_verdict, good_disks, boot_id);
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

static void do_dirty(const char *arg)
{
    char *end;
    unsigned long mib = strtoul(arg, &end, 10);

    if (end == arg || *end != '\0')
        say("guest: error dirty: '%.32s' is not a number of MiB", arg);
    else if (!pattern_grow(mib))
        say("guest: error dirty: cannot take %lu MiB", mib);
    else
        say("guest: dirty %lu pages=%zu", mib, pattern.pages);
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
    {"check", do_check}, {"quiet", do_quiet},       {"loud", do_loud},     {"dirty", do_dirty},
    {"echo", do_echo},   {"poweroff", do_poweroff}, {"reboot", do_reboot}, {"crash", do_crash},
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
    if (!pattern_grow(options.pattern_mib))
        say("guest: error no memory for pattern_mib=%lu", options.pattern_mib);
    cpus_start();
    disks_start();
    say("guest: boot id=%016" PRIx64 " vcpus=%zu mem_kib=%lu pattern_mib=%zu disks=%zu", boot_id,
        cpu_count, mem_total_kib(), pattern.pages * PAGE_BYTES / (1024 * 1024), disk_count);
    thread_start(ticker_run, NULL);
    thread_start(checker_run, NULL);
    console_serve();
    return EXIT_FAILURE;
}
