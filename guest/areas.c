/* See areas.h. */
#define _GNU_SOURCE

#include "guest/areas.h"

#include "guest/identity.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
    AREAS_MAX = 64,

    /* A check rewrites one page in ROTATE: enough to make a delta, little enough to keep it in the
       megabytes. */
    ROTATE = 64,

    /* What the guest keeps for everything else. */
    SPARE_MIB = 8,
};

struct area {
    enum area_kind kind;
    uint64_t salt; /* work set: its tag */
    uint64_t *words;
    uint32_t *generations; /* pattern, by page: what the page must hold now */
    size_t pages;
    size_t first_index; /* of its first page, among the pages of all areas of its kind */
};

/* The lock guards the counts; an area below them does not move or go away. */
static struct {
    pthread_mutex_t lock;
    struct area areas[AREAS_MAX];
    size_t count;
    size_t pages[AREA_KINDS];
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t page_seed(const struct area *area, size_t i)
{
    uint32_t generation = area->generations ? area->generations[i] : 0;
    return mix(boot_id ^ area->salt ^ mix((uint64_t)(area->first_index + i) << 32 | generation));
}

static unsigned long mem_available_kib(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return 0;
    unsigned long kib = 0;
    char line[128];
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static bool memory_spare(unsigned long mib)
{
    unsigned long available = mem_available_kib() / 1024;
    return mib <= available && available - mib >= SPARE_MIB;
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

bool areas_grow(enum area_kind kind, unsigned long mib, uint64_t salt)
{
    struct area area = {.kind = kind, .salt = salt, .first_index = memory.pages[kind]};
    if (!mib)
        return true;
    if (memory.count == AREAS_MAX || !memory_spare(mib))
        return false;
    area.pages = (size_t)mib * PAGES_PER_MIB;
    area.words = map_bytes(area.pages * PAGE_BYTES);
    if (kind == AREA_PATTERN)
        area.generations = map_bytes(area.pages * sizeof *area.generations);
    if (!area.words || (kind == AREA_PATTERN && !area.generations))
        return false;
    area_fill(&area);
    pthread_mutex_lock(&memory.lock);
    memory.areas[memory.count++] = area;
    memory.pages[kind] += area.pages;
    pthread_mutex_unlock(&memory.lock);
    return true;
}

size_t areas_count(size_t pages[AREA_KINDS])
{
    pthread_mutex_lock(&memory.lock);
    size_t areas = memory.count;
    memcpy(pages, memory.pages, sizeof memory.pages);
    pthread_mutex_unlock(&memory.lock);
    return areas;
}

size_t areas_pages(enum area_kind kind)
{
    size_t pages[AREA_KINDS];
    areas_count(pages);
    return pages[kind];
}

/* Every of-th page, from number. */
static bool area_check(struct area *area, const struct share *share, uint64_t round)
{
    bool ok = true;
    for (size_t i = share->number; i < area->pages; i += share->of) {
        uint64_t *page = area->words + i * PAGE_WORDS;
        if (!page_holds(page, page_seed(area, i))) {
            ok = false;
        } else if (area->generations && (area->first_index + i + round) % ROTATE == 0) {
            area->generations[i]++;
            page_fill(page, page_seed(area, i));
        }
    }
    return ok;
}

void areas_check(const struct share *share, uint64_t round, bool right[AREA_KINDS])
{
    for (size_t i = 0; i < AREA_KINDS; i++)
        right[i] = true;
    for (size_t i = 0; i < share->areas; i++)
        if (!area_check(&memory.areas[i], share, round))
            right[memory.areas[i].kind] = false;
}
