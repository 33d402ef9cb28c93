/*
 * Engine `direct` and PVH guests, against a hypervisor in memory (tests/fake_xen): base and delta
 * of random pages end as the image has them, and as the real libxenguest makes them on the same
 * hypervisor of the save file to which the image is exported, also when the slot is turned to
 * another version of the base in between, rings are empty, parameters, TSC and context are the
 * image's, no hypercall is made twice for a parameter that has its value already, and any call may
 * fail.
 */
#include "tests/unit/check.h"
#include "tests/unit/imported.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "restore/engine/engine.h"
#include "restore/formats/records.h"
#include "tests/random.h"

#include <inttypes.h>
#include <xen/grant_table.h>
#include <xen/hvm/params.h>

#define CASES 300u
#define PFNS 8000u /* enough for several queues of the writer */
#define RANDOM_PFNS 1200u
enum { PFN_STORE = 3, PFN_CONSOLE = 4, PFN_IOREQ = 5, STORE_PORT = 5, CONSOLE_PORT = 6 };

static uint64_t seed;
static struct error err;

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": %s", seed, #condition);                                    \
    } while (0)

/* One word says what a page holds: all of it. */
struct guest {
    uint64_t count;
    bool populated[PFNS];
    uint64_t word[PFNS], generation_id;
    struct fake_tsc tsc;
    uint8_t context[64];
};

static struct guest base, version, image;

static void platform_random(struct guest *g)
{
    g->generation_id = below(2);
    g->tsc.mode = below(4);
    g->tsc.khz = (uint32_t)random_next();
    g->tsc.nsec = random_next();
    g->tsc.incarnation = (uint32_t)random_next();
    memset(g->context, (int)(1 + below(100)), sizeof g->context);
}

/* Large ones have places for large extents, and at random one hole in one of those. */
static void guest_random(struct guest *g)
{
    memset(g, 0, sizeof *g);
    g->count = below(4) ? 20 + below(60) : 1030 + below(RANDOM_PFNS - 1030);
    uint64_t hole = below(2) ? 512 + below(512) : 0;
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        g->populated[pfn] = pfn < 6 || (g->count > 1000 ? pfn != hole : below(4));
        g->word[pfn] = below(3) ? random_next() : 0;
    }
    platform_random(g);
}

static void guest_change(struct guest *g)
{
    unsigned rate = below(3) * 40;
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        if (below(100) < rate)
            g->word[pfn] = below(3) ? random_next() : 0;
    platform_random(g);
}

static void record(struct image_writer *w, uint32_t type, const void *body, size_t length)
{
    assert_int_equal(image_writer_record(w, type, body, (uint32_t)length, &err), 0);
}

static void write_records(struct image_writer *w, const struct guest *g)
{
    const uint64_t params[][2] = {{HVM_PARAM_STORE_PFN, PFN_STORE},
                                  {HVM_PARAM_CONSOLE_PFN, PFN_CONSOLE},
                                  {HVM_PARAM_IOREQ_PFN, PFN_IOREQ},
                                  {HVM_PARAM_VM_GENERATION_ID_ADDR, g->generation_id}};
    uint8_t body[8 + sizeof params] = {ARRAY_SIZE(params)};
    memcpy(body + 8, params, sizeof params);
    record(w, RECORD_STATIC_DATA_END, NULL, 0);
    record(w, RECORD_X86_TSC_INFO, &g->tsc, sizeof g->tsc);
    record(w, RECORD_HVM_CONTEXT, g->context, sizeof g->context);
    record(w, RECORD_HVM_PARAMS, body, sizeof body);
}

/* over: as one derived from it, which is guest `under`. */
static struct image *image_make(const char *name, const struct guest *g, const struct image *over,
                                const struct guest *under)
{
    struct image_info info = {.guest = IMAGE_GUEST_PVH, .vcpus = 1, .max_pfn = g->count - 1};
    struct image_page pages[PFNS];
    struct image_writer *w;
    struct image *im;
    uint64_t n = 0, page[PAGE_BYTES / 8];
    assert_int_equal(image_writer_new(scratch_path(&dir, name), &w, &err), 0);
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        if (!g->populated[pfn] || (over && g->word[pfn] == under->word[pfn]))
            continue;
        for (unsigned i = 0; i < ARRAY_SIZE(page); i++)
            page[i] = g->word[pfn];
        pages[n].pfn_type = pfn;
        assert_int_equal(image_writer_payload(w, page, &pages[n++].payload, &err), 0);
    }
    assert_int_equal(image_writer_pages(w, pages, n, &err), 0);
    imported_write(w);
    write_records(w, g);
    if (over) {
        info.base_id = image_info(over)->id;
        info.populated = image_info(over)->populated;
    }
    assert_int_equal(image_writer_commit(w, &info, &err), 0);
    image_writer_free(w);
    assert_int_equal(image_open(scratch_path(&dir, name), &im, &err), 0);
    return im;
}

/* *calls: what the completion made. */
static int engine_run(struct fake_xen *x, struct image *first, struct image *over,
                      struct image *delta, unsigned *calls)
{
    uint64_t delta_pages;
    struct target t = {
        .base = first, .domid = 1, .store_port = STORE_PORT, .console_port = CONSOLE_PORT};
    domconf_init(&t.conf);
    fake_xen = x;
    trace_start(&t.trace, "build", &t.domid);
    int rc = engine_direct.build(&t, &err);
    if (!rc && first != over) {
        rc = engine_direct.turn(&t, over, &err);
        t.base = over;
    }
    unsigned before = x->calls;
    if (!rc)
        rc = engine_direct.write(&t, delta, &delta_pages, &err);
    if (!rc)
        rc = engine_direct.finish(&t, delta, &err);
    *calls = x->calls - before;
    HOLDS(rc || (t.store_gfn == PFN_STORE && t.console_gfn == PFN_CONSOLE));
    engine_direct.dispose(&t);
    domconf_dispose(&t.conf);
    return rc;
}

static void domain_check(const struct fake_xen *x, const struct guest *g)
{
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        bool ring = pfn >= PFN_STORE && pfn <= PFN_IOREQ;
        HOLDS(g->populated[pfn] == (x->mfns[pfn] != 0));
        for (unsigned i = 0; i < PAGE_BYTES / 8 && g->populated[pfn]; i++)
            HOLDS(x->frames[x->mfns[pfn]].words[i] == (ring ? 0 : g->word[pfn]));
    }
    HOLDS(x->params[HVM_PARAM_STORE_PFN] == PFN_STORE);
    HOLDS(x->params[HVM_PARAM_CONSOLE_PFN] == PFN_CONSOLE);
    HOLDS(x->params[HVM_PARAM_IOREQ_PFN] == PFN_IOREQ);
    HOLDS(x->params[HVM_PARAM_STORE_EVTCHN] == STORE_PORT);
    HOLDS(x->params[HVM_PARAM_CONSOLE_EVTCHN] == CONSOLE_PORT);
    HOLDS(x->params[HVM_PARAM_VM_GENERATION_ID_ADDR] == g->generation_id);
    HOLDS(!memcmp(&x->tsc, &g->tsc, sizeof x->tsc));
    HOLDS(x->context_bytes == sizeof g->context);
    HOLDS(!memcmp(x->context, g->context, sizeof g->context));
    for (size_t i = GNTTAB_NR_RESERVED_ENTRIES * sizeof(grant_entry_v1_t); i < PAGE_BYTES; i++)
        HOLDS(!x->grants[i]);
}

/* As the real libxenguest makes it of the save file to which the image is exported. */
static void reference_check(const struct fake_xen *x, const struct image *im,
                            const struct image *over)
{
    struct fake_xen y;
    fake_xen_init_like(&y, x);
    reference_make(&y, im, over, STORE_PORT, CONSOLE_PORT);
    for (uint64_t pfn = 0; pfn < ARRAY_SIZE(x->mfns); pfn++) {
        HOLDS(x->mfns[pfn] == y.mfns[pfn]);
        HOLDS(!x->mfns[pfn] ||
              !memcmp(x->frames[x->mfns[pfn]].words, y.frames[y.mfns[pfn]].words, PAGE_BYTES));
    }
    HOLDS(!memcmp(x->params, y.params, sizeof x->params) && x->params_set == y.params_set);
    HOLDS(!memcmp(&x->tsc, &y.tsc, sizeof x->tsc));
    HOLDS(x->context_bytes == y.context_bytes && !memcmp(x->context, y.context, y.context_bytes));
    HOLDS(!memcmp(x->grants, y.grants, PAGE_BYTES));
    fake_xen_dispose(&y);
}

static void extents_check(const struct fake_xen *x, unsigned there_were)
{
    unsigned places = fake_xen_large_places(image.populated, image.count);
    HOLDS(x->large_asked == places);
    HOLDS(x->large_given == (places < there_were ? places : there_were));
}

static bool run_and_check(struct image *first, struct image *over, struct image *delta,
                          unsigned fail_at)
{
    struct fake_xen x;
    unsigned calls, large_extents = below(3);
    fake_xen_init(&x, image.count, 1 + 2 * below(20), large_extents);
    x.hvm = true;
    x.fail_at = fail_at;
    err = (struct error){0};
    int rc = engine_run(&x, first, over, delta, &calls);
    bool failed = fail_at && x.calls >= fail_at;
    HOLDS(failed == (rc != 0) && (!rc || err.text[0]));
    if (!rc) {
        domain_check(&x, &image);
        extents_check(&x, large_extents);
        reference_check(&x, delta, over);
    }
    if (!rc && delta == first) /* TSC and context, nothing else */
        HOLDS(calls == 2);
    fake_xen_dispose(&x);
    return failed;
}

/* Of a few guests, which must be small: one run for each call. test_helped has a large one. */
static bool each_call_fails(void)
{
    return seed % 100 == 18;
}

/* Images derived of a new version of the base, and that itself, by turning a warm slot. */
static void turn_check(struct image *over)
{
    struct image *second = image_make("second.img", &image, NULL, NULL), *delta;
    if (seed % 12 == 0)
        run_and_check(over, second, second, 0);
    version = image;
    guest_change(&image);
    delta = image_make("derived.img", &image, second, &version);
    run_and_check(over, second, delta, 0);
    for (unsigned n = 1; each_call_fails() && run_and_check(over, second, delta, n); n++)
        ;
    image_close(second);
    image_close(delta);
}

static void test_pages(void **state)
{
    (void)state;
    for (seed = 1; seed <= CASES; seed++) {
        random_seed(seed);
        guest_random(&base);
        image = base;
        struct image *over = image_make("base.img", &base, NULL, NULL), *delta;
        run_and_check(over, over, over, 0);
        guest_change(&image);
        delta = image_make("delta.img", &image, over, &base);
        run_and_check(over, over, delta, 0);
        for (unsigned n = 1; each_call_fails() && run_and_check(over, over, delta, n); n++)
            ;
        if (seed % 6 == 0 || each_call_fails())
            turn_check(over);
        image_close(over);
        image_close(delta);
        scratch_files(&dir, true);
    }
}

/* So much differs that threads help; and any of their calls may fail. */
static void test_helped(void **state)
{
    (void)state;
    struct image *over, *delta;
    seed = 1;
    random_seed(seed);
    memset(&base, 0, sizeof base);
    base.count = PFNS;
    memset(base.populated, true, sizeof base.populated);
    platform_random(&base);
    image = base;
    over = image_make("base.img", &base, NULL, NULL);
    for (uint64_t pfn = 6; pfn < PFNS; pfn++)
        image.word[pfn] = random_next() | 1;
    delta = image_make("delta.img", &image, over, &base);
    run_and_check(over, over, delta, 0);
    for (unsigned n = 4; run_and_check(over, over, delta, n); n += n / 2)
        ;
    image_close(over);
    image_close(delta);
}

static int setup(void **state)
{
    (void)state;
    return imported_setup(IMAGE_GUEST_PVH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST_IN_DIR(test_pages), TEST_IN_DIR(test_helped)};
    return cmocka_run_group_tests(tests, setup, imported_teardown);
}
