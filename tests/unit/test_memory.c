/*
 * store/memory.h: what base and delta say together is what the delta was made from. Thousands of
 * small guests, made at random from a seed, are stored, compared and walked, and held against
 * plain arrays. A failure prints its seed: test_memory SEED repeats that case alone.
 */
#include "tests/unit/check.h"

#include "base/array.h"
#include "base/page.h"
#include "store/memory.h"
#include "tests/random.h"

#include <inttypes.h>

#define CASES 2000u
#define PFNS 40u
#define CONTENTS 12u /* few, so that equal pages are frequent */

static uint64_t seed, first_seed = 1, last_seed = CASES;

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": %s", seed, #condition);                                    \
    } while (0)

/* ---- guests as plain arrays ---- */

struct cell {
    bool populated;
    unsigned type, content;
};

struct model {
    uint64_t max_pfn;
    struct cell cell[PFNS];
};

/* Zeros, three words over and over, and pages that differ from one of those in one byte. */
static void content_fill(unsigned content, uint8_t page[PAGE_BYTES])
{
    static const uint64_t words[] = {0, 1, 0x5555555555555555ull, IMAGE_FREE_WORD};
    static const unsigned odd[] = {0, 1, 7, 8, 9, 2048, 4087, 4095};
    if (content < ARRAY_SIZE(words)) {
        for (size_t i = 0; i < PAGE_BYTES; i += sizeof words[0])
            memcpy(page + i, &words[content], sizeof words[0]);
        return;
    }
    memset(page, 0x55, PAGE_BYTES);
    page[odd[content - ARRAY_SIZE(words)]] = 0x56;
}

static void model_random(struct model *m, uint64_t max_pfn)
{
    static const unsigned holes[] = {0, 10, 50, 90, 100}; /* percent */
    unsigned rate = holes[below(ARRAY_SIZE(holes))];
    *m = (struct model){.max_pfn = max_pfn};
    for (uint64_t pfn = 0; pfn <= max_pfn; pfn++)
        m->cell[pfn] = (struct cell){below(100) >= rate, below(16), below(CONTENTS)};
}

/* Contents and types change at rates of their own; what is populated stays so. */
static void model_change(struct model *m)
{
    static const unsigned rates[] = {0, 3, 25, 100};
    unsigned types = rates[below(ARRAY_SIZE(rates))], contents = rates[below(ARRAY_SIZE(rates))];
    for (uint64_t pfn = 0; pfn <= m->max_pfn; pfn++) {
        if (below(100) < types)
            m->cell[pfn].type = below(16);
        if (below(100) < contents)
            m->cell[pfn].content = below(CONTENTS);
    }
}

static bool cell_equal(const struct cell *a, const struct cell *b)
{
    return a->populated == b->populated &&
           (!a->populated || (a->type == b->type && a->content == b->content));
}

/* ---- images ---- */

struct maker {
    struct image_writer *writer;
    struct image_page pages[PFNS];
    uint64_t n;
};

static void maker_start(struct maker *m)
{
    struct error e = {0};
    m->n = 0;
    if (image_writer_new(scratch_path(&dir, "x.img"), &m->writer, &e))
        fail_msg("%s", e.text);
}

static void maker_add(struct maker *m, uint64_t pfn, unsigned type, const void *content)
{
    struct image_page *p = &m->pages[m->n++];
    p->pfn_type = pfn | (uint64_t)type << IMAGE_TYPE_SHIFT;
    assert_int_equal(image_writer_payload(m->writer, content, &p->payload, NULL), 0);
}

/* The image, opened; its file has no name any more. */
static struct image *maker_end(struct maker *m, struct image_info info)
{
    struct error e = {0};
    struct image *im = NULL;
    const char *path = scratch_path(&dir, "x.img");
    if (image_writer_pages(m->writer, m->pages, m->n, &e) ||
        image_writer_config(m->writer, "{}", &e) || image_writer_commit(m->writer, &info, &e) ||
        image_open(path, &im, &e))
        fail_msg("seed %" PRIu64 ": %s", seed, e.text);
    image_writer_free(m->writer);
    unlink(path);
    HOLDS(!memcmp(image_info(im), &info, sizeof info));
    HOLDS(!image_verify(im, NULL));
    return im;
}

static const struct image_info plain = {.guest = IMAGE_GUEST_PV, .vcpus = 1};

static struct image *image_of_model(const struct model *g)
{
    struct maker m;
    struct image_info info = plain;
    uint8_t page[PAGE_BYTES];
    unsigned turn = below(PFNS);
    info.max_pfn = g->max_pfn;
    maker_start(&m);
    for (uint64_t i = 0; i < PFNS; i++) {
        uint64_t pfn = (i + turn) % PFNS; /* not always in their order */
        if (!g->cell[pfn].populated)
            continue;
        content_fill(g->cell[pfn].content, page);
        maker_add(&m, pfn, g->cell[pfn].type, page);
    }
    return maker_end(&m, info);
}

/* What turns the memory of base into that of x. */
static struct image *delta_of(const struct image *base, const struct image *x)
{
    struct maker m;
    struct memory_diff d;
    struct memory_difference found;
    struct image_info info = *image_info(base);
    info.base_id = info.id;
    maker_start(&m);
    memory_diff_start(&d, &(struct image_memory){base, NULL}, &(struct image_memory){x, NULL});
    while (memory_diff_next(&d, &found)) {
        HOLDS(found.change == MEMORY_CHANGED);
        maker_add(&m, found.to.pfn, found.to.type, memory_content(&found.to));
    }
    return maker_end(&m, info);
}

/* ---- what must hold ---- */

static bool page_same(const struct memory_page *a, const struct memory_page *b)
{
    return a->pfn == b->pfn && a->type == b->type && a->image == b->image &&
           a->payload == b->payload;
}

static void check_walk(const struct image_memory *m, const struct model *g)
{
    struct memory_walk w;
    struct memory_page p, same;
    uint8_t page[PAGE_BYTES];
    memory_walk_start(&w, m);
    for (uint64_t pfn = 0; pfn < PFNS; pfn++) {
        const struct cell *c = &g->cell[pfn];
        HOLDS(memory_find(m, pfn, &same) == c->populated);
        if (!c->populated)
            continue;
        content_fill(c->content, page);
        HOLDS(memory_walk_next(&w, &p));
        HOLDS(p.pfn == pfn && p.type == c->type);
        HOLDS(!memcmp(memory_content(&p), page, PAGE_BYTES));
        HOLDS(page_same(&same, &p));
    }
    HOLDS(!memory_walk_next(&w, &p));
    HOLDS(!memory_walk_next(&w, &p));
    HOLDS(!memory_find(m, PFNS, &p) && !memory_find(m, UINT64_MAX, &p));
}

static enum memory_change change_of(const struct cell *from, const struct cell *to)
{
    return !from->populated ? MEMORY_ADDED : (!to->populated ? MEMORY_REMOVED : MEMORY_CHANGED);
}

/* The diff of two memories is what the models say; the number of its pages. */
static uint64_t check_diff(const struct image_memory *from, const struct model *f,
                           const struct image_memory *to, const struct model *t)
{
    struct memory_diff d;
    struct memory_difference found;
    uint64_t n = 0;
    memory_diff_start(&d, from, to);
    for (uint64_t pfn = 0; pfn < PFNS; pfn++) {
        const struct cell *a = &f->cell[pfn], *b = &t->cell[pfn];
        if (cell_equal(a, b))
            continue;
        n++;
        HOLDS(memory_diff_next(&d, &found));
        HOLDS(found.change == change_of(a, b));
        HOLDS(!a->populated || (found.from.pfn == pfn && found.from.type == a->type));
        HOLDS(!b->populated || (found.to.pfn == pfn && found.to.type == b->type));
    }
    HOLDS(!memory_diff_next(&d, &found));
    HOLDS(!memory_diff_next(&d, &found));
    return n;
}

/* Told from one another without the models: each change of one is the reverse of the other's. */
static void check_antisymmetric(const struct image_memory *a, const struct image_memory *b)
{
    static const enum memory_change reverse[] = {
        [MEMORY_ADDED] = MEMORY_REMOVED,
        [MEMORY_REMOVED] = MEMORY_ADDED,
        [MEMORY_CHANGED] = MEMORY_CHANGED,
    };
    struct memory_diff there, back;
    struct memory_difference x, y;
    memory_diff_start(&there, a, b);
    memory_diff_start(&back, b, a);
    while (memory_diff_next(&there, &x)) {
        HOLDS(memory_diff_next(&back, &y));
        HOLDS(y.change == reverse[x.change]);
        HOLDS(x.change == MEMORY_ADDED || page_same(&x.from, &y.to));
        HOLDS(x.change == MEMORY_REMOVED || page_same(&x.to, &y.from));
    }
    HOLDS(!memory_diff_next(&back, &y));
}

/* ---- the cases ---- */

static void check_case(const struct model *g, const struct model *changed,
                       const struct model *other)
{
    struct image *base = image_of_model(g), *whole = image_of_model(changed);
    struct image *third = image_of_model(other), *delta = delta_of(base, whole);
    const struct image_memory b = {base, NULL}, x = {whole, NULL}, o = {third, NULL};
    const struct image_memory both = {base, delta};
    struct error e = {0};
    if (memory_check(&b, &e) || memory_check(&both, &e))
        fail_msg("seed %" PRIu64 ": %s", seed, e.text);
    HOLDS(image_info(delta)->populated == image_info(base)->populated);
    check_walk(&b, g);
    check_walk(&both, changed);
    HOLDS(check_diff(&x, changed, &both, changed) == 0);
    HOLDS(check_diff(&both, changed, &x, changed) == 0);
    HOLDS(check_diff(&b, g, &both, changed) == image_info(delta)->entries);
    HOLDS(check_diff(&b, g, &x, changed) == image_info(delta)->entries);
    check_diff(&both, changed, &o, other);
    check_diff(&o, other, &b, g);
    check_antisymmetric(&b, &both);
    check_antisymmetric(&o, &both);
    check_antisymmetric(&o, &b);
    image_close(delta);
    image_close(third);
    image_close(whole);
    image_close(base);
}

static void random_guests(void **state)
{
    (void)state;
    for (seed = first_seed; seed <= last_seed; seed++) {
        struct model base, changed, other;
        random_seed(seed);
        uint64_t max_pfn = below(PFNS);
        model_random(&base, max_pfn);
        changed = base;
        model_change(&changed);
        model_random(&other, below(2) ? max_pfn : below(PFNS));
        check_case(&base, &changed, &other);
    }
}

/* An image of populated pages of zeros, at these pfns. */
static struct image *tiny(struct image_info info, const uint64_t *pfns, uint64_t n)
{
    static const uint8_t zeros[PAGE_BYTES];
    struct maker m;
    maker_start(&m);
    for (uint64_t i = 0; i < n; i++)
        maker_add(&m, pfns[i], 0, zeros);
    return maker_end(&m, info);
}

/* A delta with an entry for what is in the base just so adds nothing to a diff. */
static void restated_pages(void **state)
{
    (void)state;
    const uint64_t pfns[] = {3, 4, 9};
    struct image_info info = plain;
    info.max_pfn = 9;
    struct image *base = tiny(info, pfns, ARRAY_SIZE(pfns));
    info.base_id = image_info(base)->id;
    info.populated = ARRAY_SIZE(pfns);
    struct image *delta = tiny(info, pfns + 1, 1);
    const struct image_memory b = {base, NULL}, both = {base, delta};
    struct memory_diff d;
    struct memory_difference found;
    struct memory_page p;
    assert_int_equal(memory_check(&both, NULL), 0);
    memory_diff_start(&d, &b, &both);
    assert_false(memory_diff_next(&d, &found));
    assert_true(memory_find(&both, 4, &p));
    assert_ptr_equal(p.image, delta);
    assert_true(memory_find(&both, 9, &p));
    assert_ptr_equal(p.image, base);
    image_close(delta);
    image_close(base);
}

/* A delta like this one over base is refused for that reason. */
static void not_over(const struct image *base, struct image_info info, const uint64_t *pfns,
                     uint64_t n, const char *why)
{
    struct image *delta = tiny(info, pfns, n);
    struct error e = {0};
    const struct image_memory m = {base, delta};
    assert_refused(memory_check(&m, &e), &e, why);
    image_close(delta);
}

static void wrong_pairs(void **state)
{
    (void)state;
    const uint64_t pfns[] = {3, 4, 9}, added[] = {3, 5}, behind[] = {10};
    struct image_info info = plain, good;
    info.max_pfn = 12;
    struct image *base = tiny(info, pfns, 3);
    good = *image_info(base);
    good.base_id = good.id;
    struct image *delta = tiny(good, pfns, 2);
    struct error e = {0};
    assert_int_equal(memory_check(&(struct image_memory){base, delta}, &e), 0);
    assert_refused(memory_check(&(struct image_memory){delta, NULL}, &e), &e, "derived image");
    assert_refused(memory_check(&(struct image_memory){delta, delta}, &e), &e, "derived image");
    assert_refused(memory_check(&(struct image_memory){base, base}, &e), &e, "not derived from");
    info = good;
    info.base_id.bytes[15] ^= 1;
    not_over(base, info, pfns, 2, "not derived from this base");
    info = good;
    info.max_pfn++;
    not_over(base, info, pfns, 2, "highest pfn");
    info = good;
    info.vcpus++;
    not_over(base, info, pfns, 2, "vCPUs");
    info = good;
    info.guest = IMAGE_GUEST_PVH;
    not_over(base, info, pfns, 2, "guest kind");
    info = good;
    info.populated++;
    not_over(base, info, pfns, 2, "4 populated pages, but its base has 3");
    not_over(base, good, added, 2, "pfn 0x5");
    not_over(base, good, behind, 1, "pfn 0xa");
    image_close(delta);
    image_close(base);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 0);
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(random_guests),
        TEST_IN_DIR(restated_pages),
        TEST_IN_DIR(wrong_pairs),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
