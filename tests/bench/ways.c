/*
 * ways: what it costs to bring pages from a file into a domain, by each way there is and with
 * windows of several sizes. The engine's page writer (restore/engine/page_writer.c) is what this
 * decides; both copy by restore/engine/grant_copy.h.
 *
 *   ways PAGES REPEAT
 *
 * Makes a PV domain of its own that never runs, and a file of its own in the present folder, and
 * brings PAGES pages from there to pages that are spread over the domain. Prints for each
 * repetition a line of JSON, microseconds a page:
 *
 *   memcpy            from memory to memory of this process: what nothing can be cheaper than
 *   rep movs          the same by the instruction with which the hypervisor copies (Xen's
 *                     arch/x86/string.c): no dearer on a machine, but an emulator goes word by word
 *   read              the file, 504 pages at a time, into memory that is there
 *   fault             the file, mapped anew, by touching it
 *   grant copy N      from memory into the domain, N pages at a time, which have been granted
 *   mapped + copy xT  from the file, mapped and touched before, by T threads, of which each takes
 *                     126 pages at a time; this is what the page writer does with images that are
 *                     expected
 *   read + copy xT    the same from memory, into which they have been read before; with others
 *   shared windows x2 mapped + copy, but each window of 504 pages is cut in two: threads are woken
 *                     for each
 *   map N             the domain's pages mapped N at a time, copied from memory, unmapped
 *
 * Exit status 1 when something cannot be done. The domain is destroyed in any case.
 */
#include "base/array.h"
#include "base/crew.h"
#include "base/page.h"
#include "base/units.h"
#include "restore/engine/grant_copy.h"
#include "restore/xen/xen_versions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>

#define DOMAIN_PAGES (256u * 256u)
#define EXTENT_PAGES 512u
#define WINDOW GRANT_ENTRIES
#define FILE_NAME "ways.tmp"

struct rig {
    xc_interface *xch;
    xenforeignmemory_handle *memory;
    struct grant_copy copy;
    struct grant_lane lanes[CREW_MAX]; /* by worker */
    struct crew *crews[CREW_MAX];
    uint32_t domid;
    int fd;
    uint64_t pages;
    xen_pfn_t mfns[DOMAIN_PAGES];
    uint8_t *arena, *target; /* WINDOW pages; `pages` pages */
    /* what a crew is at */
    uint64_t first, n; /* this much of the pages, */
    uint64_t window;   /* each worker so many at a time */
    bool reads;
    uint8_t *file; /* mapped, to copy from; NULL: from the lane's arena */
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "ways: %s: %s\n", what, strerror(errno));
    unlink(FILE_NAME);
    exit(1);
}

/* ---- the rig ---- */

static struct rig rig = {.domid = DOMID_INVALID};

static void destroy(void)
{
    if (rig.domid != DOMID_INVALID)
        xc_domain_destroy(rig.xch, rig.domid);
}

static void domain_make(void)
{
    struct xen_domctl_createdomain create = {
        .max_vcpus = 1,
        .max_evtchn_port = 1023,
        .max_grant_frames = -1,
        .max_maptrack_frames = -1,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    uint32_t domid = DOMID_ANY;
    rig.xch = xc_interface_open(NULL, NULL, 0);
    need(rig.xch && !xc_domain_create(rig.xch, &domid, &create), "create a domain");
    rig.domid = domid;
    atexit(destroy);
    need(!xc_domain_max_vcpus(rig.xch, domid, 1) &&
             !xc_domain_setmaxmem(rig.xch, domid, DOMAIN_PAGES * 4 + 1024),
         "set the domain's limits");
    xen_pfn_t extents[DOMAIN_PAGES / EXTENT_PAGES];
    for (uint64_t i = 0; i < ARRAY_SIZE(extents); i++)
        extents[i] = i * EXTENT_PAGES;
    need(!xc_domain_populate_physmap_exact(rig.xch, domid, ARRAY_SIZE(extents), 9, 0, extents),
         "populate the domain");
    for (uint64_t i = 0; i < DOMAIN_PAGES; i++)
        rig.mfns[i] = extents[i / EXTENT_PAGES] + i % EXTENT_PAGES;
}

static void handles_open(void)
{
    struct error e;
    rig.memory = xenforeignmemory_open(NULL, 0);
    need(rig.memory, "open /dev/xen/privcmd");
    need(!grant_copy_open(&rig.copy, rig.domid, &e), "map the grant table");
    for (unsigned i = 0; i < CREW_MAX; i++)
        need(!crew_new(i + 1, &rig.crews[i], &e), "start threads");
}

static void memory_make(void)
{
    rig.arena = aligned_alloc(PAGE_BYTES, WINDOW * PAGE_BYTES);
    rig.target = aligned_alloc(PAGE_BYTES, rig.pages * PAGE_BYTES);
    rig.fd = open(FILE_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    need(rig.arena && rig.target && rig.fd >= 0, "memory and a file");
    for (uint64_t i = 0; i < rig.pages; i++) {
        memset(rig.target + i * PAGE_BYTES, (int)i + 1, PAGE_BYTES);
        need(write(rig.fd, rig.target + i * PAGE_BYTES, PAGE_BYTES) == PAGE_BYTES, FILE_NAME);
    }
    for (uint64_t i = 0; i < WINDOW; i++)
        memset(rig.arena + i * PAGE_BYTES, (int)i + 1, PAGE_BYTES);
}

/* ---- ways ---- */

static xen_pfn_t spread(uint64_t page)
{
    return rig.mfns[page * (DOMAIN_PAGES / rig.pages)];
}

/* Of rig.window pages each, as many as have room. */
static void lanes_open(void)
{
    struct error e;
    for (size_t i = 0; i < CREW_MAX && (i + 1) * rig.window <= WINDOW; i++) {
        grant_lane_close(&rig.lanes[i]);
        need(!grant_lane_open(&rig.lanes[i], &rig.copy, i * rig.window, rig.window, &e), "memory");
        memset(rig.lanes[i].arena, (int)i + 1, rig.window * PAGE_BYTES);
    }
}

static const uint8_t *source_of(const struct grant_lane *l, uint64_t page, uint64_t place)
{
    return rig.file ? rig.file + page * PAGE_BYTES : l->arena + place * PAGE_BYTES;
}

/* Pages `first` and so on. */
static void window_copy(struct grant_lane *l, uint64_t first, uint64_t n)
{
    size_t bytes = n * PAGE_BYTES, bad;
    if (rig.reads)
        need(pread(rig.fd, l->arena, bytes, (off_t)(first * PAGE_BYTES)) == (ssize_t)bytes, "read");
    l->n = 0;
    for (uint64_t i = 0; i < n; i++)
        grant_lane_add(l, source_of(l, first + i, i), (uint32_t)spread(first + i));
    need(!grant_lane_copy(l, &bad), "copy");
}

static int copy_part(void *data, unsigned part, unsigned worker, struct error *e)
{
    (void)data, (void)e;
    uint64_t from = part * rig.window, left = rig.n - from;
    window_copy(&rig.lanes[worker], rig.first + from, left < rig.window ? left : rig.window);
    return 0;
}

static void copy_range(struct crew *crew)
{
    struct error e;
    unsigned parts = (unsigned)((rig.n + rig.window - 1) / rig.window);
    crew_begin(crew, parts, copy_part, NULL);
    need(!crew_end(crew, &e), "copy");
}

/* Each thread takes one window after the other until all pages are there. */
static double grant_copy(uint64_t window, unsigned threads, bool reads)
{
    rig.reads = reads;
    rig.first = 0;
    rig.n = rig.pages;
    rig.window = window;
    lanes_open();
    double start = now_us();
    copy_range(rig.crews[threads - 1]);
    return now_us() - start;
}

static double mapped_copy(double (*copy)(unsigned threads), unsigned threads)
{
    size_t bytes = rig.pages * PAGE_BYTES;
    rig.file = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, rig.fd, 0);
    need(rig.file != MAP_FAILED, "map the file");
    double us = copy(threads);
    munmap(rig.file, bytes);
    rig.file = NULL;
    return us;
}

static double copy_windows(unsigned threads)
{
    return grant_copy(WINDOW / CREW_MAX, threads, false);
}

/* A window of 504 after the other, cut into parts for the threads. */
static double copy_shared(unsigned threads)
{
    rig.reads = false;
    rig.window = WINDOW / threads;
    lanes_open();
    double start = now_us();
    for (rig.first = 0; rig.first < rig.pages; rig.first += rig.n) {
        rig.n = rig.pages - rig.first < WINDOW ? rig.pages - rig.first : WINDOW;
        copy_range(rig.crews[threads - 1]);
    }
    return now_us() - start;
}

static double map_and_copy(uint64_t window)
{
    static xen_pfn_t frames[WINDOW];
    static int errors[WINDOW];
    double start = now_us();
    for (uint64_t first = 0, n; first < rig.pages; first += n) {
        n = rig.pages - first < window ? rig.pages - first : window;
        for (uint64_t i = 0; i < n; i++)
            frames[i] = spread(first + i);
        uint8_t *at =
            xenforeignmemory_map(rig.memory, rig.domid, PROT_READ | PROT_WRITE, n, frames, errors);
        need(at, "map");
        for (uint64_t i = 0; i < n; i++)
            need(!errors[i], "map a page");
        memcpy(at, rig.arena, n * PAGE_BYTES);
        need(!xenforeignmemory_unmap(rig.memory, at, n), "unmap");
    }
    return now_us() - start;
}

static double copy_memory(void)
{
    double start = now_us();
    for (uint64_t i = 0; i < rig.pages; i++)
        memcpy(rig.target + i * PAGE_BYTES, rig.arena + i % WINDOW * PAGE_BYTES, PAGE_BYTES);
    return now_us() - start;
}

static void copy_by_words(void *to, const void *from, size_t words)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory");
}

static double copy_memory_by_words(void)
{
    double start = now_us();
    for (uint64_t i = 0; i < rig.pages; i++)
        copy_by_words(rig.target + i * PAGE_BYTES, rig.arena + i % WINDOW * PAGE_BYTES,
                      PAGE_BYTES / sizeof(uint64_t));
    return now_us() - start;
}

static double read_pages(void)
{
    double start = now_us();
    for (uint64_t first = 0, n; first < rig.pages; first += n) {
        n = rig.pages - first < WINDOW ? rig.pages - first : WINDOW;
        size_t bytes = n * PAGE_BYTES;
        need(pread(rig.fd, rig.arena, bytes, (off_t)(first * PAGE_BYTES)) == (ssize_t)bytes,
             "read");
    }
    return now_us() - start;
}

static double fault_pages(void)
{
    size_t bytes = rig.pages * PAGE_BYTES;
    double start = now_us();
    volatile uint8_t *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, rig.fd, 0);
    need(at != MAP_FAILED, "map the file");
    unsigned sum = 0;
    for (uint64_t i = 0; i < rig.pages; i++)
        sum += at[i * PAGE_BYTES];
    double us = now_us() - start;
    munmap((void *)(uintptr_t)at, bytes);
    return sum ? us : 0;
}

/* ---- all ---- */

static void say(const char *way, double us, const char *separator)
{
    printf("\"%s\": %.3f%s", way, us / (double)rig.pages, separator);
}

static void say_all(void)
{
    printf("{");
    say("memcpy", copy_memory(), ", ");
    say("rep movs", copy_memory_by_words(), ", ");
    say("read", read_pages(), ", ");
    say("fault", fault_pages(), ", ");
    say("grant copy 16", grant_copy(16, 1, false), ", ");
    say("grant copy 128", grant_copy(128, 1, false), ", ");
    say("grant copy 504", grant_copy(WINDOW, 1, false), ", ");
    say("mapped + copy x1", mapped_copy(copy_windows, 1), ", ");
    say("mapped + copy x2", mapped_copy(copy_windows, 2), ", ");
    say("shared windows x2", mapped_copy(copy_shared, 2), ", ");
    say("read + copy x1", grant_copy(WINDOW / CREW_MAX, 1, true), ", ");
    say("read + copy x2", grant_copy(WINDOW / CREW_MAX, 2, true), ", ");
    say("read + copy x4", grant_copy(WINDOW / CREW_MAX, 4, true), ", ");
    say("map 16", map_and_copy(16), ", ");
    say("map 504", map_and_copy(WINDOW), "}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t repeat;
    if (argc != 3 || number_parse(argv[1], WINDOW, DOMAIN_PAGES, &rig.pages) ||
        number_parse(argv[2], 1, 1000, &repeat)) {
        fprintf(stderr, "usage: ways PAGES REPEAT\n");
        return 64;
    }
    domain_make();
    handles_open();
    memory_make();
    for (uint64_t i = 0; i < repeat; i++)
        say_all();
    unlink(FILE_NAME);
    return 0;
}
