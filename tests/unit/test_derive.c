/*
 * import --base: what is in a delta, and that base and delta together are what the whole import of
 * the same save file holds. Cases of `property` are made at random from a seed; a failure prints
 * it, and test_derive SEED repeats that case alone.
 */
#include "tests/unit/check.h"
#include "tests/unit/derive_guest.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/page.h"
#include "restore/formats/lineage.h"
#include "restore/formats/records.h"
#include "store/memory.h"
#include "tests/random.h"

#include <inttypes.h>

/* ---- what is in a delta ---- */

static const uint64_t left_out_pv[] = {BUILD_PFN_STORE, BUILD_PFN_CONSOLE, BUILD_PFN_P2M};
static const uint64_t left_out_pvh[] = {BUILD_PVH_STORE, BUILD_PVH_CONSOLE};

static const uint64_t *left_out_pfns(enum image_guest guest, size_t *n)
{
    *n = guest == PV ? ARRAY_SIZE(left_out_pv) : ARRAY_SIZE(left_out_pvh);
    return guest == PV ? left_out_pv : left_out_pvh;
}

static bool is_left_out(enum image_guest guest, uint64_t pfn)
{
    size_t n;
    const uint64_t *pfns = left_out_pfns(guest, &n);
    while (n && pfns[n - 1] != pfn)
        n--;
    return n > 0;
}

static uint64_t data_pfn(enum image_guest guest)
{
    return guest == PV ? BUILD_PFN_DATA : BUILD_PVH_DATA;
}

static void copy_state(struct image_writer *w, const struct image *im)
{
    struct image_record r;
    struct error e = {0};
    size_t cursor = 0;
    while (image_next_record(im, &cursor, &r))
        must(image_writer_record(w, r.type, r.body, r.length, &e), &e);
    must(image_writer_config(w, image_config(im), &e), &e);
}

/* BASE again, with a page of another type: no importer makes a ring one. */
static void base_retype(uint64_t pfn, unsigned type)
{
    struct error e = {0};
    struct image_writer *w;
    struct image_page pages[64];
    struct image *im = open_image(BASE);
    struct image_info info = *image_info(im);
    assert_true(info.entries <= ARRAY_SIZE(pages));
    unlink(BASE);
    must(image_writer_new(BASE, &w, &e), &e);
    for (uint64_t i = 0; i < info.entries; i++) {
        const struct image_page *p = &image_pages(im)[i];
        uint64_t now = image_page_pfn(p) == pfn ? entry_of(pfn, type) : p->pfn_type;
        pages[i].pfn_type = now;
        must(image_writer_payload(w, image_payload(im, p->payload), &pages[i].payload, &e), &e);
    }
    must(image_writer_pages(w, pages, info.entries, &e), &e);
    copy_state(w, im);
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
    image_close(im);
}

/* The delta of b over BASE holds just this page; content NULL: of zeros. */
static void expect_one_page(struct stream_build *b, uint64_t pfn, unsigned type,
                            const uint8_t *content)
{
    assert_int_equal(import_over(b, BASE, DELTA).entries, 1);
    struct image *delta = open_image(DELTA);
    const struct image_page *p = image_pages(delta);
    assert_int_equal(p->pfn_type, entry_of(pfn, type));
    if (content)
        assert_memory_equal(image_payload(delta, p->payload), content, PAGE_BYTES);
    else
        assert_true(p->payload == IMAGE_PAGE_ZERO);
    image_close(delta);
    unlink(DELTA);
}

static void expect_no_page(struct stream_build *b)
{
    assert_int_equal(import_over(b, BASE, DELTA).entries, 0);
    unlink(DELTA);
}

static void left_out_of(enum image_guest guest)
{
    struct stream_build b;
    size_t n;
    const uint64_t *pfns = left_out_pfns(guest, &n);
    base_init(&b, guest);
    for (size_t i = 0; i < n; i++)
        memset(stream_build_page(&b, pfns[i]), 0x77 + (int)i, PAGE_BYTES);
    expect_no_page(&b);
    for (size_t i = 0; i < n; i++) {
        base_retype(pfns[i], PAGE_L1TAB);
        expect_one_page(&b, pfns[i], PAGE_NOTAB, stream_build_page(&b, pfns[i]));
        base_retype(pfns[i], PAGE_NOTAB);
    }
    uint8_t *data = stream_build_page(&b, data_pfn(guest));
    data[PAGE_BYTES - 1] ^= 1;
    expect_one_page(&b, data_pfn(guest), PAGE_NOTAB, data);
    stream_build_dispose(&b);
    scratch_files(&dir, true);
}

static void left_out(void **state)
{
    (void)state;
    left_out_of(PV);
    left_out_of(PVH);
}

static void types_count(void **state)
{
    (void)state;
    static const struct {
        uint64_t pfn;
        unsigned was, type;
    } pages[] = {
        {BUILD_PFN_DATA, PAGE_NOTAB, PAGE_L1TAB},
        {BUILD_PFN_ZERO, PAGE_NOTAB, PAGE_L2TAB | PAGE_TYPE_PINNED},
        {BUILD_PFN_L1, PAGE_L1TAB, PAGE_L1TAB | PAGE_TYPE_PINNED},
        {BUILD_PFN_L4, PAGE_L4TAB | PAGE_TYPE_PINNED, PAGE_L4TAB},
    };
    struct stream_build b;
    base_init(&b, PV);
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        retype(&b, pages[i].pfn, pages[i].type);
        expect_one_page(&b, pages[i].pfn, pages[i].type, stream_build_page(&b, pages[i].pfn));
        retype(&b, pages[i].pfn, pages[i].was);
        expect_no_page(&b);
    }
    stream_build_dispose(&b);
}

static void free_over_content(enum image_guest guest)
{
    struct stream_build b;
    base_init(&b, guest);
    uint8_t *data = stream_build_page(&b, data_pfn(guest));
    fill_word(data, IMAGE_FREE_WORD);
    assert_int_equal(import_over(&b, BASE, DELTA).free_pages, 1);
    unlink(DELTA);
    expect_no_page(&b);
    data[PAGE_BYTES - 1] ^= 1; /* used after all */
    expect_one_page(&b, data_pfn(guest), PAGE_NOTAB, data);
    stream_build_dispose(&b);
    scratch_files(&dir, true);
}

static void content_over_free(enum image_guest guest)
{
    struct stream_build b;
    guest_init(&b, guest);
    uint8_t *data = stream_build_page(&b, data_pfn(guest));
    fill_word(data, IMAGE_FREE_WORD);
    assert_int_equal(import_over(&b, NULL, BASE).free_pages, 1);
    struct image *base = open_image(BASE);
    assert_true(image_find(base, data_pfn(guest))->payload == IMAGE_PAGE_ZERO);
    image_close(base);
    expect_no_page(&b);
    memset(data, 0, PAGE_BYTES); /* what the base has */
    expect_no_page(&b);
    memset(data, 0x11, PAGE_BYTES);
    expect_one_page(&b, data_pfn(guest), PAGE_NOTAB, data);
    stream_build_dispose(&b);
    scratch_files(&dir, true);
}

static void free_pages(void **state)
{
    (void)state;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        free_over_content(guest);
        content_over_free(guest);
    }
    struct stream_build b;
    guest_init(&b, PV);
    retype(&b, BUILD_PFN_DATA, PAGE_L1TAB);
    import_over(&b, NULL, BASE);
    retype(&b, BUILD_PFN_DATA, PAGE_NOTAB);
    fill_word(stream_build_page(&b, BUILD_PFN_DATA), IMAGE_FREE_WORD);
    expect_one_page(&b, BUILD_PFN_DATA, PAGE_NOTAB, NULL);
    uint8_t *table = stream_build_page(&b, BUILD_PFN_DATA); /* of entries that are not present */
    retype(&b, BUILD_PFN_DATA, PAGE_L1TAB);
    expect_one_page(&b, BUILD_PFN_DATA, PAGE_L1TAB, table);
    stream_build_dispose(&b);
}

/* ---- property: base and delta are the whole ---- */

#define CASES 700u /* of each kind of guest */
#define CELLS 14u
#define CONTENTS 12u /* few, so that equal pages are frequent */
#define CONTENT_ZERO 0u
#define CONTENT_FREE 1u

static uint64_t seed, first_seed = 1, last_seed = CASES;

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": %s", seed, #condition);                                    \
    } while (0)

/* Pages that change; PV: the first four have to be ordinary memory. */
static const uint64_t cells_pv[CELLS] = {BUILD_PFN_STORE,
                                         BUILD_PFN_CONSOLE,
                                         BUILD_PFN_P2M,
                                         BUILD_PFN_GDT,
                                         BUILD_PFN_DATA,
                                         BUILD_PFN_ZERO,
                                         13,
                                         14,
                                         15,
                                         16,
                                         17,
                                         18,
                                         19,
                                         20};
static const uint64_t cells_pvh[CELLS] = {BUILD_PVH_STORE,
                                          BUILD_PVH_CONSOLE,
                                          BUILD_PVH_DATA,
                                          BUILD_PVH_ZERO,
                                          3,
                                          4,
                                          5,
                                          6,
                                          7,
                                          8,
                                          9,
                                          10,
                                          11,
                                          12};
#define PLAIN_CELLS 4u

struct cell {
    unsigned type, content;
};

struct model {
    enum image_guest guest;
    struct cell cell[CELLS];
};

static uint64_t cell_pfn(const struct model *m, size_t i)
{
    return m->guest == PV ? cells_pv[i] : cells_pvh[i];
}

/* Zeros, words over and over, and pages that differ from one of those in one byte. Bit 0 of every
 * word is clear, so that each is a valid page table. */
static void content_fill(unsigned content, uint8_t page[PAGE_BYTES])
{
    static const uint64_t words[] = {0, IMAGE_FREE_WORD, 2, 0x5454545454545454ull};
    static const unsigned odd[] = {0, 1, 7, 8, 9, 2048, 4087, 4095};
    fill_word(page, words[content < ARRAY_SIZE(words) ? content : ARRAY_SIZE(words) - 1]);
    if (content >= ARRAY_SIZE(words))
        page[odd[content - ARRAY_SIZE(words)]] = 0x56;
}

static unsigned random_type(const struct model *m, size_t i)
{
    static const unsigned types[] = {PAGE_NOTAB, PAGE_NOTAB,
                                     PAGE_L1TAB, PAGE_L1TAB | PAGE_TYPE_PINNED,
                                     PAGE_L2TAB, PAGE_L3TAB | PAGE_TYPE_PINNED,
                                     PAGE_L4TAB};
    return m->guest == PVH || i < PLAIN_CELLS ? PAGE_NOTAB : types[below(ARRAY_SIZE(types))];
}

/* Contents and types change at rates of their own. */
static void model_change(struct model *m, unsigned types, unsigned contents)
{
    for (size_t i = 0; i < CELLS; i++) {
        if (below(100) < types)
            m->cell[i].type = random_type(m, i);
        if (below(100) < contents)
            m->cell[i].content = below(CONTENTS);
    }
}

static void model_change_some(struct model *m)
{
    static const unsigned rates[] = {0, 10, 25, 100};
    model_change(m, rates[below(ARRAY_SIZE(rates))], rates[below(ARRAY_SIZE(rates))]);
}

static void model_stream(const struct model *m, struct stream_build *b)
{
    for (size_t i = 0; i < CELLS; i++) {
        retype(b, cell_pfn(m, i), m->cell[i].type);
        content_fill(m->cell[i].content, stream_build_page(b, cell_pfn(m, i)));
    }
}

/* As a live migration does: other pages in the first round, these in a second one. */
static void model_stream_twice(const struct model *m, struct stream_build *b)
{
    uint8_t body[8 + CELLS * (8 + PAGE_BYTES)];
    struct model before = *m;
    put_u64(body, CELLS);
    for (size_t i = 0; i < CELLS; i++) {
        put_u64(body + 8 + i * 8, entry_of(cell_pfn(m, i), m->cell[i].type));
        content_fill(m->cell[i].content, body + 8 + CELLS * 8 + i * PAGE_BYTES);
    }
    model_change_some(&before);
    model_stream(&before, b);
    struct build_record *first = stream_build_find(b, RECORD_PAGE_DATA, 0);
    stream_build_insert(b, stream_build_index(b, first) + 1, RECORD_PAGE_DATA, body, sizeof body);
}

/* Those of stream_build.c. */
static const char small_disks[] =
    "\"disks\": [\n    {\n      \"pdev_path\": \"/dev/vg/disk\",\n      \"vdev\": \"xvda\",\n"
    "      \"backend\": \"phy\",\n      \"format\": \"raw\",\n      \"readwrite\": 1\n    }\n  ]";

static void small_guest_init(struct stream_build *b, enum image_guest guest)
{
    stream_build_init(b, guest);
    if (guest == PV)
        config_replace(b, small_disks, "\"disks\": []"); /* no disk to look at */
    for (uint64_t pfn = 13; guest == PV && pfn <= BUILD_PV_MAX_PFN; pfn++)
        entry_remove(b, pfn);
    for (size_t i = guest == PV ? 6 : 4; i < CELLS; i++)
        entry_add(b, guest == PV ? cells_pv[i] : cells_pvh[i]);
}

static struct image *import_model(const struct model *m, const char *base, const char *path)
{
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    small_guest_init(&b, m->guest);
    if (below(4))
        model_stream(m, &b);
    else
        model_stream_twice(m, &b);
    if (stream_build_derive(&b, base, path, &info, &e))
        fail_msg("seed %" PRIu64 ": %s", seed, e.text);
    stream_build_dispose(&b);
    return open_image(path);
}

/* A page table of such words is none. */
static bool cell_free(const struct cell *c)
{
    return c->content == CONTENT_FREE && !page_type_is_table(c->type);
}

static unsigned stored(const struct cell *c)
{
    return cell_free(c) ? CONTENT_ZERO : c->content;
}

/* Whether x's page is in the delta: it differs from the base's, and that matters. */
static bool cell_differs(const struct model *base, const struct model *x, size_t i)
{
    const struct cell *was = &base->cell[i], *is = &x->cell[i];
    return was->type != is->type ||
           (!cell_free(is) && !is_left_out(x->guest, cell_pfn(x, i)) && stored(was) != is->content);
}

/* Every page of x in the memory of base and delta, and nothing else in the delta. */
static void check_cells(const struct model *base, const struct model *x,
                        const struct image_memory *both)
{
    uint64_t in_delta = 0, n_free = 0;
    for (size_t i = 0; i < CELLS; i++) {
        bool differs = cell_differs(base, x, i);
        struct memory_page p;
        uint8_t page[PAGE_BYTES];
        content_fill(stored(differs ? &x->cell[i] : &base->cell[i]), page);
        HOLDS(memory_find(both, cell_pfn(x, i), &p));
        HOLDS((p.image == both->delta) == differs);
        HOLDS(p.type == x->cell[i].type);
        HOLDS(!memcmp(memory_content(&p), page, PAGE_BYTES));
        in_delta += differs;
        n_free += cell_free(&x->cell[i]);
    }
    HOLDS(image_info(both->delta)->entries == in_delta);
    HOLDS(image_info(both->delta)->free_pages == n_free);
}

static bool is_free(const struct model *m, uint64_t pfn)
{
    for (size_t i = 0; i < CELLS; i++)
        if (cell_pfn(m, i) == pfn)
            return cell_free(&m->cell[i]);
    return false;
}

/* The whole import has the same memory, but for what does not matter. */
static void check_whole(const struct model *x, const struct image_memory *both,
                        const struct image_memory *whole)
{
    struct memory_diff d;
    struct memory_difference found;
    struct lineage l;
    struct error e = {0};
    must(lineage_init(&l, both->base, &e), &e);
    memory_diff_start(&d, both, whole);
    while (memory_diff_next(&d, &found)) {
        HOLDS(found.change == MEMORY_CHANGED);
        HOLDS(found.from.type == found.to.type);
        HOLDS(lineage_leaves_out(&l, found.to.pfn) || is_free(x, found.to.pfn));
    }
    lineage_dispose(&l);
    HOLDS(image_info(both->delta)->populated == image_info(whole->base)->entries);
    HOLDS(image_info(both->delta)->free_pages == image_info(whole->base)->free_pages);
}

static void check_case(const struct model *base, const struct model *x)
{
    struct error e = {0};
    struct image *under = import_model(base, NULL, BASE), *whole = import_model(x, NULL, WHOLE);
    struct image *delta = import_model(x, BASE, DELTA);
    const struct image_memory both = {under, delta}, all = {whole, NULL};
    if (memory_check(&both, &e))
        fail_msg("seed %" PRIu64 ": %s", seed, e.text);
    check_cells(base, x, &both);
    check_whole(x, &both, &all);
    image_close(delta);
    image_close(whole);
    image_close(under);
    scratch_files(&dir, true);
}

static void property(void **state)
{
    (void)state;
    for (seed = first_seed; seed <= last_seed; seed++)
        for (enum image_guest guest = PV; guest <= PVH; guest++) {
            struct model base = {.guest = guest}, x;
            random_seed(seed);
            model_change(&base, 100, 100);
            x = base;
            model_change_some(&x);
            check_case(&base, &x);
        }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 0);
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(left_out),
        TEST_IN_DIR(types_count),
        TEST_IN_DIR(free_pages),
        TEST_IN_DIR(property),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
