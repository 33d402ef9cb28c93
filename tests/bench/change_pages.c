/*
 * change_pages: turns a save file into another state of the same guest, with an exact number of
 * pages changed.
 *
 *   change_pages SAVEFILE PAGES
 *
 * The bench wants deltas of 256, 1,024, ... pages and none of 1,037. A guest cannot make them: an
 * idle one has changed about a thousand pages by the time it has resumed, and which these are is
 * the kernel's business. So a copy of the base's save file is changed in place, and everything
 * behind that is the product's: `dompool image import --base` finds the difference, as it does for
 * any file, and reports how many pages it is; a warm slot becomes it; `dompool image export`
 * writes it for `xl restore`. The alternative, writing the derived image's file here, would leave
 * out the import and could make images that no import makes.
 *
 * What is changed must cost what real changes cost, and must not matter to the guest:
 *
 *   - pages that the guest has declared free (guest/free-pages.c: full of IMAGE_FREE_WORD) get
 *     content that repeats nowhere, spread evenly over all such pages, as writes scatter. A kernel
 *     does not read pages on its free lists; Debian's zeroes them when it hands them out;
 *   - page tables of a PV guest, which an engine has to unpin, translate and pin again. Measured
 *     deltas of about 1,000 pages hold 8 to 16 L1 tables and 2 of each other level, so that many
 *     are changed, whatever the size of the delta: the accessed bit of the first present entry. The
 *     processor sets that bit itself, and no kernel minds when it is wrong;
 *   - nothing else. vCPUs and devices are the base's.
 *
 * A PVH guest's tables are pages like any other. Prints one line of JSON: pages and tables changed,
 * free pages there were. Exit status 1 when the file cannot be used; it may be half changed then.
 */
#include "restore/formats/domconf.h"
#include "restore/formats/savefile.h"

#include "base/page.h"
#include "base/units.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEVELS 4
#define PAGE_WORDS (PAGE_BYTES / 8)
#define PTE_PRESENT 0x1ull
#define PTE_ACCESSED 0x20ull

/* Of each level, L1 first: as in deltas of real guests. */
static const size_t tables_wanted[LEVELS] = {12, 2, 2, 2};

/* Pages by their place in the mapped file. */
struct places {
    uint8_t **at;
    size_t n, room;
};

struct save {
    uint8_t *bytes;
    size_t size;
    struct places free, tables[LEVELS];
};

static int places_add(struct places *p, uint8_t *at, struct error *e)
{
    if (p->n == p->room) {
        size_t room = p->room ? 2 * p->room : 1024;
        uint8_t **bigger = realloc(p->at, room * sizeof *bigger);
        if (!bigger)
            return error_set(e, -ENOMEM, "out of memory for a list of pages");
        p->at = bigger;
        p->room = room;
    }
    p->at[p->n++] = at;
    return 0;
}

static bool page_is_free(const void *content)
{
    uint64_t page[PAGE_WORDS], word; /* in the file it may stand at any address */
    memcpy(page, content, sizeof page);
    return page_is_repeated(page, &word) && word == IMAGE_FREE_WORD;
}

static int take_page(void *data, uint64_t pfn, unsigned type, const void *content, struct error *e)
{
    (void)pfn;
    struct save *s = data;
    if (!content)
        return 0;
    uint8_t *at = s->bytes + ((const uint8_t *)content - s->bytes);
    if (page_type_is_table(type))
        return places_add(&s->tables[(type & PAGE_TYPE_LEVEL_MASK) - 1], at, e);
    return type == PAGE_NOTAB && page_is_free(content) ? places_add(&s->free, at, e) : 0;
}

static int skip_header(void *data, const struct stream_header *h, struct error *e)
{
    (void)data, (void)h, (void)e;
    return 0;
}

static int skip_record(void *data, uint32_t type, const void *body, uint32_t length,
                       struct error *e)
{
    (void)data, (void)type, (void)body, (void)length, (void)e;
    return 0;
}

/* ---- reading ---- */

static int save_map(struct save *s, const char *path, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return error_errno(e, errno, "open %s", path);
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int rc = at == MAP_FAILED ? error_errno(e, errno, "map %s", path) : 0;
    close(fd);
    if (!rc) {
        s->bytes = at;
        s->size = (size_t)st.st_size;
    }
    return rc;
}

static int read_limits(struct source *src, struct stream_limits *limits, struct error *e)
{
    char *json = NULL;
    size_t length = 0;
    struct domconf conf;
    domconf_init(&conf);
    int rc = savefile_read_config(src, &json, &length, e);
    if (!rc)
        rc = domconf_from_xl(json, length, &conf, e);
    *limits = (struct stream_limits){conf.guest, conf.max_vcpus, IMAGE_PFN_LIMIT};
    domconf_dispose(&conf);
    free(json);
    return rc;
}

/* Notes where in the file the pages of interest are. */
static int save_read(struct save *s, struct error *e)
{
    const struct stream_handlers handlers = {skip_header, skip_record, take_page, s};
    struct stream_limits limits;
    uint64_t max_pfn;
    struct source src;
    source_init_memory(&src, s->bytes, s->size);
    int rc = read_limits(&src, &limits, e);
    if (!rc)
        rc = savefile_read_stream(&src, &limits, &handlers, &max_pfn, e);
    source_dispose(&src);
    return rc;
}

/* ---- changing ---- */

static bool table_change(uint8_t *at)
{
    for (size_t i = 0; i < PAGE_WORDS; i++) {
        uint64_t entry;
        memcpy(&entry, at + i * sizeof entry, sizeof entry);
        if (!(entry & PTE_PRESENT))
            continue;
        entry ^= PTE_ACCESSED;
        memcpy(at + i * sizeof entry, &entry, sizeof entry);
        return true;
    }
    return false;
}

/* Up to limit tables, evenly spread over those of each level; how many were changed. */
static size_t tables_change(struct save *s, size_t limit)
{
    size_t changed = 0;
    for (size_t level = 0; level < LEVELS; level++) {
        const struct places *p = &s->tables[level];
        size_t wanted = tables_wanted[level] < p->n ? tables_wanted[level] : p->n;
        for (size_t i = 0; i < wanted && changed < limit; i++)
            changed += table_change(p->at[i * p->n / wanted]);
    }
    return changed;
}

/* Content that no other page has: splitmix64, seeded with the page's number. */
static void page_fill(uint64_t page[PAGE_WORDS], uint64_t number)
{
    uint64_t state = number << 32;
    for (size_t i = 0; i < PAGE_WORDS; i++) {
        uint64_t x = state += 0x9e3779b97f4a7c15ull;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
        page[i] = x ^ (x >> 31);
    }
}

static int free_pages_change(struct save *s, size_t pages, struct error *e)
{
    const struct places *p = &s->free;
    uint64_t page[PAGE_WORDS];
    if (p->n < pages)
        return error_set(e, -ENOSPC,
                         "the guest has declared %zu pages free, fewer than %zu to be changed "
                         "(did it run free-pages?)",
                         p->n, pages);
    for (size_t i = 0; i < pages; i++) {
        page_fill(page, i + 1);
        memcpy(p->at[i * p->n / pages], page, sizeof page);
    }
    return 0;
}

static void save_dispose(struct save *s)
{
    for (size_t level = 0; level < LEVELS; level++)
        free(s->tables[level].at);
    free(s->free.at);
    if (s->bytes)
        munmap(s->bytes, s->size);
}

static int save_change(struct save *s, const char *path, size_t pages, struct error *e)
{
    int rc = save_map(s, path, e);
    if (!rc)
        rc = save_read(s, e);
    if (rc)
        return rc;
    size_t tables = tables_change(s, pages);
    rc = free_pages_change(s, pages - tables, e);
    if (!rc)
        printf("{\"pages\": %zu, \"tables\": %zu, \"free_pages\": %zu}\n", pages, tables,
               s->free.n);
    return rc;
}

int main(int argc, char **argv)
{
    uint64_t pages;
    if (argc != 3 || number_parse(argv[2], 1, UINT32_MAX, &pages)) {
        fprintf(stderr, "usage: change_pages SAVEFILE PAGES\n");
        return 64;
    }
    struct error e = {0};
    struct save s = {0};
    int rc = save_change(&s, argv[1], (size_t)pages, &e);
    save_dispose(&s);
    if (rc)
        fprintf(stderr, "change_pages: %s: %s\n", argv[1], e.text);
    return rc ? 1 : 0;
}
