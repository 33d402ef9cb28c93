/*
 * Engine `direct` against a hypervisor with Xen's rules for page types (tests/fake_xen): thousands
 * of PV guests with page tables made at random from a seed, and images derived from them, in which
 * tables become data, data becomes tables, entries and pins change. The domain that the engine
 * makes in two steps, base and delta, must be the one that the real libxenguest makes, on the same
 * hypervisor, of the save file to which the image is exported: every word, type, count and pin of
 * every frame, every vCPU's state, shared_info, TSC. And any call may fail: then the engine says
 * so. A failure prints its seed: test_direct SEED repeats that case alone, test_direct FIRST LAST
 * those from one to another.
 */
#include "tests/unit/check.h"
#include "tests/unit/imported.h"
#include "tests/unit/stream_build.h"

#include "restore/engine/direct.h"
#include "restore/engine/engine.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "tests/random.h"

#include <inttypes.h>

#define CASES 2000u
#define PFNS 1600u
#define CLEARS_BATCH 512u /* restore/engine/page_writer.c */
#define EXTENDED_BYTES ((unsigned)sizeof(struct xen_domctl_ext_vcpucontext))
#define STORE_PORT 5u
#define CONSOLE_PORT 6u

static uint64_t seed, first_seed = 1, last_seed = CASES;

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": %s", seed, #condition);                                    \
    } while (0)

/* ---- guests as plain arrays ---- */

enum {
    PFN_START_INFO = 1,
    PFN_STORE,
    PFN_CONSOLE,
    PFN_GDT,
    PFN_P2M,
    PFN_FREE = PFN_P2M + 4,
    PFN_SPARE = PFN_FREE + 12
};

struct guest {
    uint64_t count; /* pfns */
    unsigned vcpus;
    bool online[FAKE_VCPUS];
    struct fake_vcpu vcpu[FAKE_VCPUS]; /* what is not context */
    struct fake_tsc tsc;
    uint64_t shared[PAGE_BYTES / 8];
    bool populated[PFNS], pinned[PFNS], is_gdt[PFNS], typed[PFNS];
    unsigned level[PFNS];
    uint64_t cr3[FAKE_VCPUS], user_cr3[FAKE_VCPUS], gdt[FAKE_VCPUS], start_info;
    uint64_t words[PFNS][PAGE_BYTES / 8]; /* entries hold pfns */
};

static struct guest base, image, derived;

static uint64_t p2m_frames(const struct guest *g)
{
    return (g->count + 511) / 512;
}

static bool is_settled(const struct guest *g, uint64_t pfn)
{
    return pfn == PFN_STORE || pfn == PFN_CONSOLE ||
           (pfn >= PFN_P2M && pfn < PFN_P2M + p2m_frames(g));
}

static uint64_t any_page(const struct guest *g)
{
    uint64_t pfn;
    do
        pfn = below((unsigned)g->count);
    while (!g->populated[pfn]);
    return pfn;
}

/* A page of data that may become something else. */
static uint64_t plain_page(const struct guest *g)
{
    uint64_t pfn;
    do
        pfn = any_page(g);
    while (pfn < PFN_FREE || g->level[pfn] || g->is_gdt[pfn] || pfn == g->start_info);
    return pfn;
}

static uint64_t table_of(const struct guest *g, unsigned level)
{
    uint64_t found[PFNS];
    unsigned n = 0;
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        if (g->level[pfn] == level)
            found[n++] = pfn;
    return n ? found[below(n)] : 0;
}

static uint64_t entry_random(const struct guest *g, unsigned level)
{
    uint64_t flags = FAKE_PTE_PRESENT | (uint64_t)below(8) << 9, pfn;
    if (level == 1) {
        pfn = any_page(g);
        if (!g->level[pfn] && !g->is_gdt[pfn] && below(4))
            flags |= FAKE_PTE_WRITABLE;
    } else {
        pfn = table_of(g, level - 1);
    }
    return below(8) ? pfn << 12 | flags : (uint64_t)below(1000) << 12; /* or not present */
}

/* What a table may not say any more is taken out. */
static void entries_mend(struct guest *g, uint64_t pfn)
{
    for (unsigned i = 0; i < PAGE_BYTES / 8; i++) {
        uint64_t *pte = &g->words[pfn][i], to = FAKE_PTE_FRAME(*pte);
        if (!(*pte & FAKE_PTE_PRESENT))
            continue;
        if (g->level[pfn] > 1 && g->level[to] != g->level[pfn] - 1)
            *pte = 0;
        else if (g->level[pfn] == 1 && (g->level[to] || g->is_gdt[to]))
            *pte &= ~FAKE_PTE_WRITABLE;
    }
}

static void table_make(struct guest *g, uint64_t pfn, unsigned level)
{
    g->level[pfn] = level;
    g->pinned[pfn] = level == 1 ? below(10) < 7 : below(10) < 3;
    memset(g->words[pfn], 0, PAGE_BYTES);
}

static void data_make(struct guest *g, uint64_t pfn)
{
    g->level[pfn] = 0;
    g->pinned[pfn] = false;
    memset(g->words[pfn], 0, PAGE_BYTES);
    for (unsigned n = below(3); n; n--)
        g->words[pfn][below(PAGE_BYTES / 8)] = random_next();
}

static void entries_add(struct guest *g, uint64_t pfn, unsigned n)
{
    for (; n; n--)
        g->words[pfn][below(PAGE_BYTES / 8)] = entry_random(g, g->level[pfn]);
}

static void typed_below(struct guest *g, uint64_t pfn)
{
    if (g->typed[pfn])
        return;
    g->typed[pfn] = true;
    for (unsigned i = 0; i < PAGE_BYTES / 8 && g->level[pfn] > 1; i++)
        if (g->words[pfn][i] & FAKE_PTE_PRESENT)
            typed_below(g, FAKE_PTE_FRAME(g->words[pfn][i]));
}

/* Xen knows a table by a pin or by being reached; what is neither gets a pin. */
static void tables_settle(struct guest *g)
{
    memset(g->typed, 0, sizeof g->typed);
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        if (g->level[pfn])
            entries_mend(g, pfn);
    for (unsigned v = 0; v < g->vcpus; v++) {
        if (!g->online[v])
            continue;
        typed_below(g, g->cr3[v]);
        if (g->user_cr3[v])
            typed_below(g, g->user_cr3[v]);
    }
    for (unsigned level = 4; level; level--)
        for (uint64_t pfn = 0; pfn < g->count; pfn++)
            if (g->level[pfn] == level && (g->pinned[pfn] || !g->typed[pfn])) {
                g->pinned[pfn] = true;
                typed_below(g, pfn);
            }
}

static void state_make(struct fake_state *s, uint32_t bytes)
{
    s->bytes = below(4) ? bytes : 0;
    for (uint32_t i = 0; i < s->bytes; i++)
        s->body[i] = (uint8_t)random_next();
}

/* A saver writes no record for a vCPU that is offline. */
static void platform_make(struct guest *g)
{
    memset(g->vcpu, 0, sizeof g->vcpu);
    for (unsigned v = 0; v < g->vcpus; v++) {
        struct fake_vcpu *at = &g->vcpu[v];
        g->online[v] = !v || below(4);
        if (!g->online[v])
            continue;
        state_make(&at->extended, 8 + below(EXTENDED_BYTES - 8 + 1));
        put_u32(at->extended.body, v);
        put_u32(at->extended.body + 4, at->extended.bytes);
        state_make(&at->xsave, 16 + below(FAKE_STATE_BYTES - 16 + 1));
        state_make(&at->msrs, (1 + below(4)) * (unsigned)sizeof(xen_domctl_vcpu_msr_t));
    }
    g->tsc.mode = below(4);
    g->tsc.nsec = random_next();
    g->tsc.khz = (uint32_t)random_next();
    g->tsc.incarnation = (uint32_t)random_next();
    for (unsigned i = 0; i < PAGE_BYTES / 8; i++)
        g->shared[i] = random_next();
}

static void vcpus_make(struct guest *g)
{
    platform_make(g);
    for (unsigned v = 0; v < g->vcpus; v++) {
        g->cr3[v] = table_of(g, 4);
        g->user_cr3[v] = below(2) ? table_of(g, 4) : 0;
        if (!g->gdt[v] || !below(4)) {
            g->gdt[v] = v ? plain_page(g) : PFN_GDT;
            g->is_gdt[g->gdt[v]] = true;
        }
    }
}

static void start_info_make(struct guest *g)
{
    start_info_t si;
    memcpy(&si, g->words[g->start_info], sizeof si);
    si.store_mfn = PFN_STORE;
    si.console.domU.mfn = PFN_CONSOLE;
    si.nr_pages = random_next();
    si.first_p2m_pfn = random_next(); /* the engine leaves it alone */
    memcpy(g->words[g->start_info], &si, sizeof si);
}

/* Large ones have places for large extents, and at random one hole in one of those. */
static void memory_make(struct guest *g)
{
    unsigned holes = below(30);
    uint64_t hole = below(2) ? 512 + below(512) : 0;
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        bool there = g->count > 1000 ? pfn != hole : below(100) >= holes;
        g->populated[pfn] = pfn < PFN_FREE || there;
        if (g->populated[pfn])
            data_make(g, pfn);
    }
}

/* tables: how many of each level. */
static void tables_make(struct guest *g, const unsigned tables[5])
{
    for (unsigned level = 1; level <= 4; level++)
        for (unsigned n = tables[level]; n; n--)
            table_make(g, plain_page(g), level);
    vcpus_make(g);
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        if (g->level[pfn])
            entries_add(g, pfn, g->level[pfn] == 1 ? 40 : 6);
    start_info_make(g);
    tables_settle(g);
}

static void guest_start(struct guest *g, uint64_t count)
{
    memset(g, 0, sizeof *g);
    g->count = count;
    g->vcpus = 1 + below(FAKE_VCPUS);
    g->start_info = PFN_START_INFO;
    memory_make(g);
}

static void guest_random(struct guest *g)
{
    static const unsigned most[] = {0, 12, 5, 3, 3};
    unsigned tables[5] = {0};
    guest_start(g, below(40) ? 90 + below(120) : 1100 + below(PFNS - 1100));
    for (unsigned level = 1; level <= 4; level++)
        tables[level] = 1 + below(most[level]);
    tables_make(g, tables);
}

/* Another state of the same guest. */
static void guest_change(struct guest *g)
{
    static const unsigned rates[] = {0, 2, 10, 60};
    unsigned data = rates[below(4)], tables = rates[below(4)], entries = rates[below(4)];
    for (uint64_t pfn = PFN_FREE; pfn < g->count; pfn++) {
        if (!g->populated[pfn])
            continue;
        if (g->level[pfn] && below(100) < tables && g->level[pfn] != 4)
            data_make(g, pfn);
        else if (pfn > PFN_SPARE && !g->level[pfn] && !g->is_gdt[pfn] && pfn != g->start_info &&
                 below(1000) < tables)
            table_make(g, pfn, 1 + below(4));
        else if (!g->level[pfn] && pfn != g->start_info && below(100) < data)
            data_make(g, pfn);
    }
    for (unsigned v = 1; v < g->vcpus; v++)
        if (!below(3)) {
            g->is_gdt[g->gdt[v]] = false;
            g->gdt[v] = 0;
        }
    for (unsigned v = 1; v < g->vcpus; v++) /* may have been shared */
        if (g->gdt[v])
            g->is_gdt[g->gdt[v]] = true;
    vcpus_make(g);
    bool moved = !below(3);
    if (moved)
        g->start_info = plain_page(g);
    if (moved || below(2))
        start_info_make(g);
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        if (g->level[pfn] && below(100) < entries)
            entries_add(g, pfn, 1 + below(10));
        if (g->level[pfn] && below(100) < entries)
            g->pinned[pfn] = !g->pinned[pfn];
    }
    tables_settle(g);
}

/* ---- to image files ---- */

static struct error err;

static int setup(void **state)
{
    (void)state;
    return imported_setup(IMAGE_GUEST_PV);
}

static void record(struct image_writer *w, uint32_t type, const void *body, size_t length)
{
    assert_int_equal(image_writer_record(w, type, body, (uint32_t)length, &err), 0);
}

static void write_static(struct image_writer *w, const struct guest *g)
{
    uint8_t info[8] = {8, 4}, p2m[8 + 8 * 4] = {0};
    record(w, RECORD_X86_PV_INFO, info, sizeof info);
    record(w, RECORD_STATIC_DATA_END, NULL, 0);
    put_u32(p2m + 4, (uint32_t)g->count - 1);
    for (uint64_t i = 0; i < p2m_frames(g); i++)
        put_u64(p2m + 8 + 8 * i, PFN_P2M + i);
    record(w, RECORD_X86_PV_P2M_FRAMES, p2m, 8 + 8 * p2m_frames(g));
}

static void state_record(struct image_writer *w, uint32_t type, uint32_t id,
                         const struct fake_state *s)
{
    uint8_t body[8 + FAKE_STATE_BYTES] = {0};
    put_u32(body, id);
    memcpy(body + 8, s->body, s->bytes);
    if (s->bytes)
        record(w, type, body, 8 + s->bytes);
}

static void write_state(struct image_writer *w, const struct guest *g)
{
    struct {
        uint32_t id, reserved;
        vcpu_guest_context_x86_64_t c;
    } v;
    record(w, RECORD_X86_TSC_INFO, &g->tsc, sizeof g->tsc);
    record(w, RECORD_SHARED_INFO, g->shared, sizeof g->shared);
    for (unsigned i = 0; i < g->vcpus; i++) {
        if (!g->online[i])
            continue;
        memset(&v, 0, sizeof v);
        v.id = i;
        v.c.user_regs.rdx = i ? 7 : g->start_info;
        v.c.gdt_ents = 512;
        v.c.gdt_frames[0] = g->gdt[i];
        v.c.ctrlreg[3] = g->cr3[i] << 12;
        v.c.ctrlreg[1] = g->user_cr3[i] ? g->user_cr3[i] << 12 | 1 : 0;
        record(w, RECORD_X86_PV_VCPU_BASIC, &v, sizeof v);
        state_record(w, RECORD_X86_PV_VCPU_EXTENDED, i, &g->vcpu[i].extended);
        state_record(w, RECORD_X86_PV_VCPU_XSAVE, i, &g->vcpu[i].xsave);
        state_record(w, RECORD_X86_PV_VCPU_MSRS, i, &g->vcpu[i].msrs);
    }
}

static unsigned type_of(const struct guest *g, uint64_t pfn)
{
    return g->level[pfn] | (g->pinned[pfn] ? PAGE_TYPE_PINNED : 0u);
}

static bool differs(const struct guest *a, const struct guest *b, uint64_t pfn)
{
    return type_of(a, pfn) != type_of(b, pfn) ||
           memcmp(a->words[pfn], b->words[pfn], PAGE_BYTES) != 0;
}

/* The guest as an image; over: as one derived from it, which is guest `under`. */
static struct image *image_make(const char *name, const struct guest *g, const struct image *over,
                                const struct guest *under)
{
    struct image_page pages[PFNS];
    struct image_writer *w;
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = g->vcpus, .max_pfn = g->count - 1};
    struct image *im;
    uint64_t n = 0;
    assert_int_equal(image_writer_new(scratch_path(&dir, name), &w, &err), 0);
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        if (!g->populated[pfn] || (over && (is_settled(g, pfn) || !differs(under, g, pfn))))
            continue;
        pages[n].pfn_type = pfn | (uint64_t)type_of(g, pfn) << IMAGE_TYPE_SHIFT;
        assert_int_equal(image_writer_payload(w, g->words[pfn], &pages[n++].payload, &err), 0);
    }
    assert_int_equal(image_writer_pages(w, pages, n, &err), 0);
    imported_write(w);
    write_static(w, g);
    write_state(w, g);
    if (over) {
        info.base_id = image_info(over)->id;
        info.populated = image_info(over)->populated;
    }
    if (image_writer_commit(w, &info, &err))
        fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    image_writer_free(w);
    if (image_open(scratch_path(&dir, name), &im, &err))
        fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    (void)image_prefault(im, seed % 97); /* some of its pages, or all */
    return im;
}

/* ---- comparison with what libxenguest makes ---- */

/* What an image has less of the extended state is zeros; libxenguest leaves what was there. */
static void extended_settle(struct fake_state *s)
{
    uint32_t size = s->bytes ? get_u32(s->body + 4) : 0;
    if (s->bytes)
        memset(s->body + size, 0, s->bytes - size);
}

static void state_equal(const struct fake_state *a, const struct fake_state *b)
{
    HOLDS(a->bytes == b->bytes);
    HOLDS(!memcmp(a->body, b->body, a->bytes));
}

static void platforms_equal(const struct fake_xen *a, const struct fake_xen *b)
{
    for (unsigned i = 0; i < FAKE_VCPUS; i++) {
        const struct fake_vcpu *v = &a->vcpus[i], *w = &b->vcpus[i];
        HOLDS(v->set == w->set);
        HOLDS(!memcmp(&v->context, &w->context, sizeof v->context));
        state_equal(&v->extended, &w->extended);
        state_equal(&v->xsave, &w->xsave);
        state_equal(&v->msrs, &w->msrs);
    }
    HOLDS(!memcmp(&a->tsc, &b->tsc, sizeof a->tsc));
    HOLDS(!memcmp(a->shared_info, b->shared_info, PAGE_BYTES));
    HOLDS(!memcmp(a->shared_info, a->started_with, PAGE_BYTES));
    HOLDS(((const struct shared_info *)a->shared_info)->wc_sec == FAKE_WALL_CLOCK);
    HOLDS(!a->late_tables);
}

static void domains_equal(const struct fake_xen *a, const struct fake_xen *b, const struct guest *g)
{
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        HOLDS(g->populated[pfn] == (a->mfns[pfn] != 0));
        if (!g->populated[pfn])
            continue;
        const struct fake_frame *x = &a->frames[a->mfns[pfn]], *y = &b->frames[b->mfns[pfn]];
        if (x->type != y->type || x->count != y->count || x->pinned != y->pinned)
            fail_msg("seed %" PRIu64 ": pfn %#" PRIx64 ": type %u count %u pinned %d, not %u %u %d",
                     seed, pfn, x->type, x->count, x->pinned, y->type, y->count, y->pinned);
        for (unsigned i = 0; i < PAGE_BYTES / 8; i++)
            if (x->words[i] != y->words[i])
                fail_msg("seed %" PRIu64 ": pfn %#" PRIx64 " word %u: %#" PRIx64 ", not %#" PRIx64,
                         seed, pfn, i, x->words[i], y->words[i]);
    }
    platforms_equal(a, b);
    HOLDS(!memcmp(a->grants, b->grants, PAGE_BYTES));
}

/* ---- the cases ---- */

static struct target target_of(struct image *im)
{
    return (struct target){
        .base = im, .domid = 1, .store_port = STORE_PORT, .console_port = CONSOLE_PORT};
}

/* The engine, base and delta, into x. turned: by way of another version of the base. */
static int engine_run(struct fake_xen *x, struct image *first, struct image *over,
                      struct image *delta)
{
    uint64_t delta_pages;
    struct target t = target_of(first);
    domconf_init(&t.conf);
    fake_xen = x;
    trace_start(&t.trace, "build", &t.domid);
    int rc = engine_direct.build(&t, &err);
    if (!rc && first != over) {
        rc = engine_direct.turn(&t, over, &err);
        t.base = over;
    }
    if (!rc)
        rc = engine_direct.write(&t, delta, &delta_pages, &err);
    if (!rc)
        rc = engine_direct.finish(&t, delta, &err);
    engine_direct.dispose(&t);
    domconf_dispose(&t.conf);
    return rc;
}

static void extents_check(const struct fake_xen *x, const struct guest *g, unsigned there_were)
{
    unsigned places = fake_xen_large_places(g->populated, g->count);
    HOLDS(x->large_asked == places);
    HOLDS(x->large_given == (places < there_were ? places : there_were));
}

static void case_check(struct image *first, struct image *over, struct image *delta,
                       const struct guest *g, bool no_clears)
{
    struct fake_xen x, reference;
    unsigned large_extents = below(3);
    fake_xen_init(&x, g->count, 1 + 2 * below(20), large_extents);
    x.no_clears = no_clears;
    if (engine_run(&x, first, over, delta))
        fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    extents_check(&x, g, large_extents);
    fake_xen_init_like(&reference, &x);
    reference_make(&reference, delta, over, STORE_PORT, CONSOLE_PORT);
    for (unsigned i = 0; i < FAKE_VCPUS; i++)
        extended_settle(&reference.vcpus[i].extended);
    domains_equal(&x, &reference, g);
    fake_xen_dispose(&x);
    fake_xen_dispose(&reference);
}

static void each_call_fails(struct image *first, struct image *over, struct image *delta,
                            const struct guest *g)
{
    struct fake_xen x;
    for (unsigned n = 1;; n++) {
        fake_xen_init(&x, g->count, 1, 0);
        x.fail_at = n;
        x.no_clears = seed % 400 == 0;
        err = (struct error){0};
        int rc = engine_run(&x, first, over, delta);
        bool failed = x.calls >= n;
        fake_xen_dispose(&x);
        if (failed && (!rc || !err.text[0]))
            fail_msg("seed %" PRIu64 ": call %u failed, unnoticed", seed, n);
        if (!failed)
            break;
    }
}

/* The image as a new version of the base, by turning a warm slot; also one derived of it. */
static void turn_check(struct image *over)
{
    for (uint64_t pfn = 0; pfn < image.count; pfn++)
        if (is_settled(&image, pfn)) /* kept from what the slot was built from */
            memcpy(image.words[pfn], base.words[pfn], PAGE_BYTES);
    struct image *second = image_make("second.img", &image, NULL, NULL), *delta;
    if (seed % 8) {
        case_check(over, second, second, &image, !below(10));
    } else {
        derived = image;
        guest_change(&derived);
        delta = image_make("derived.img", &derived, second, &image);
        case_check(over, second, delta, &derived, !below(10));
        if (seed % 600 == 0 && base.count < 200)
            each_call_fails(over, second, delta, &derived);
        image_close(delta);
    }
    image_close(second);
}

static void test_forests(void **state)
{
    (void)state;
    for (seed = first_seed; seed <= last_seed; seed++) {
        random_seed(seed);
        guest_random(&base);
        struct image *over = image_make("base.img", &base, NULL, NULL), *delta;
        if (seed % 8 == 0)
            case_check(over, over, over, &base, !below(10));
        image = base;
        guest_change(&image);
        delta = image_make("delta.img", &image, over, &base);
        case_check(over, over, delta, &image, !below(10));
        if (seed % 200 == 0 && base.count < 200)
            each_call_fails(over, over, delta, &image);
        if (seed % 4 == 0)
            turn_check(over);
        image_close(over);
        image_close(delta);
        scratch_files(&dir, true);
    }
}

/* ---- more tables and zero pages than go into one batch ---- */

static bool is_plain(const struct guest *g, uint64_t pfn)
{
    return g->populated[pfn] && pfn >= PFN_FREE && !g->level[pfn] && !g->is_gdt[pfn] &&
           pfn != g->start_info;
}

/* All pages of data hold zeros in base and none in image, in which every L1 table is another. */
static void guests_large(void)
{
    unsigned zeros = 0, changed = 0;
    guest_start(&base, PFNS);
    tables_make(&base, (unsigned[]){0, TABLE_PINS_BATCH + 120, 5, 3, 3});
    for (uint64_t pfn = 0; pfn < base.count; pfn++)
        if (is_plain(&base, pfn))
            memset(base.words[pfn], 0, PAGE_BYTES);
    image = base;
    for (uint64_t pfn = 0; pfn < base.count; pfn++) {
        if (is_plain(&image, pfn))
            image.words[pfn][below(PAGE_BYTES / 8)] = ++zeros;
        else if (image.level[pfn] == 1)
            entries_add(&image, pfn, 8);
    }
    tables_settle(&image);
    for (uint64_t pfn = 0; pfn < base.count; pfn++)
        changed += image.level[pfn] == 1 && differs(&base, &image, pfn);
    HOLDS(zeros > CLEARS_BATCH + 120 && changed > TABLE_PINS_BATCH);
}

static void test_batches(void **state)
{
    (void)state;
    for (seed = 0; seed < 2; seed++) {
        random_seed(seed);
        guests_large();
        struct image *zeros = image_make("zeros.img", &base, NULL, NULL), *over, *delta;
        delta = image_make("delta.img", &image, zeros, &base);
        case_check(zeros, zeros, delta, &image, seed);
        image_close(delta);
        over = image_make("other.img", &image, NULL, NULL);
        delta = image_make("zeros-delta.img", &base, over, &image);
        case_check(over, over, delta, &base, seed);
        image_close(delta);
        image_close(over);
        image_close(zeros);
        scratch_files(&dir, true);
    }
}

/* ---- what must hold before each step ---- */

static void test_frames_refuse(void **state)
{
    (void)state;
    struct frames f;
    unsigned level;
    assert_int_equal(frames_init(&f, 4, &err), 0);
    assert_int_equal(frames_writes_begin(&f, &err), 0);
    assert_int_equal(frames_write(&f, 0, PAGE_NOTAB, &err), -EINVAL); /* not populated */
    frames_writes_done(&f);
    assert_int_equal(frames_place(&f, 4, 9, &err), -EINVAL);
    assert_int_equal(frames_place(&f, 0, FRAME_NONE, &err), -EINVAL);
    for (uint64_t pfn = 0; pfn < 4; pfn++)
        assert_int_equal(frames_place(&f, pfn, 10 + pfn, &err), 0);
    assert_int_equal(frames_place(&f, 0, 9, &err), -EINVAL);          /* twice */
    assert_int_equal(frames_pin(&f, 0, &level, &err), -EINVAL);       /* nothing written */
    assert_int_equal(frames_write(&f, 0, PAGE_L3TAB, &err), -EINVAL); /* no writes have begun */
    assert_int_equal(frames_writes_begin(&f, &err), 0);
    assert_int_equal(frames_writes_begin(&f, &err), 0); /* they have, already */
    assert_int_equal(frames_write(&f, 0, PAGE_L3TAB | PAGE_TYPE_PINNED, &err), 0);
    assert_int_equal(frames_pin(&f, 0, &level, &err), -EINVAL); /* not in the domain yet */
    assert_int_equal(frames_go_live(&f, &err), -EINVAL);
    frames_writes_done(&f);
    assert_int_equal(frames_pin(&f, 0, &level, &err), 0);
    assert_int_equal(level, 3);
    assert_int_equal(frames_writes_begin(&f, &err), -EINVAL);         /* pins are under way */
    assert_int_equal(frames_write(&f, 1, PAGE_NOTAB, &err), -EINVAL); /* so they have not begun */
    assert_int_equal(frames_go_live(&f, &err), -EINVAL);
    frames_pins_done(&f);
    assert_int_equal(frames_pin(&f, 0, &level, &err), -EINVAL);
    assert_int_equal(frames_writes_begin(&f, &err), 0);
    assert_int_equal(frames_write(&f, 0, PAGE_L3TAB, &err), -EINVAL); /* pinned */
    assert_int_equal(frames_unpin(&f, 0, &err), -EINVAL);             /* writes are under way */
    assert_int_equal(frames_unpin(&f, 1, &err), -EINVAL);
    assert_int_equal(frames_write(&f, 1, PAGE_NOTAB, &err), 0);
    assert_int_equal(frames_keep(&f, 1, &err), 0);
    assert_int_equal(frames_write(&f, 1, PAGE_NOTAB, &err), -EINVAL); /* kept */
    frames_writes_done(&f);
    assert_int_equal(frames_pin(&f, 1, &level, &err), -EINVAL); /* no table */
    assert_int_equal(frames_go_live(&f, &err), 0);
    assert_int_equal(frames_writes_begin(&f, &err), -EINVAL); /* live */
    assert_int_equal(frames_write(&f, 2, PAGE_NOTAB, &err), -EINVAL);
    struct direct d = {.frames = f};
    assert_int_equal(direct_pv_write_shared_info(&d, NULL, &err), -EINVAL); /* so does this */
    assert_int_equal(frames_unpin(&f, 0, &err), 0);
    frames_dispose(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_refuse),
        TEST_IN_DIR(test_batches),
        TEST_IN_DIR(test_forests),
    };
    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        last_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, setup, imported_teardown);
}
