/*
 * Engine `direct` against a hypervisor with Xen's rules for page types (tests/fake_xen): thousands
 * of PV guests with page tables made at random from a seed, and images derived from them, in which
 * tables become data, data becomes tables, entries and pins change. The domain that the engine
 * makes in two steps, base and delta, must be the one that is made in one step from the image
 * alone, in the order of libxenguest: every word, type, count and pin of every frame. And any call
 * may fail: then the engine says so. A failure prints its seed: test_direct SEED repeats that case
 * alone.
 */
#include "tests/unit/check.h"

#include "restore/engine.h"
#include "restore/frames.h"
#include "tests/fake_xen/fake_xen.h"
#include "tests/unit/stream_build.h"

#include <inttypes.h>
#include <xen/grant_table.h>

#define CASES 2000u
#define PFNS 1600u
#define STORE_PORT 5u
#define CONSOLE_PORT 6u

static uint64_t seed, first_seed = 1, last_seed = CASES;

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": %s", seed, #condition);                                    \
    } while (0)

static uint64_t random_state;

/* SplitMix64 */
static uint64_t random_next(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static unsigned below(unsigned n)
{
    return (unsigned)(random_next() % n);
}

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
    bool populated[PFNS], pinned[PFNS], is_gdt[PFNS], typed[PFNS];
    unsigned level[PFNS];
    uint64_t cr3[FAKE_VCPUS], user_cr3[FAKE_VCPUS], gdt[FAKE_VCPUS], start_info;
    uint64_t words[PFNS][PAGE_BYTES / 8]; /* entries hold pfns */
};

static struct guest base, image;

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

static void vcpus_make(struct guest *g)
{
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
    memcpy(g->words[g->start_info], &si, sizeof si);
}

static void guest_random(struct guest *g)
{
    static const unsigned most[] = {0, 12, 5, 3, 3};
    memset(g, 0, sizeof *g);
    g->count = below(40) ? 90 + below(120) : 1100 + below(PFNS - 1100);
    g->vcpus = 1 + below(FAKE_VCPUS);
    g->start_info = PFN_START_INFO;
    unsigned holes = below(30);
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        g->populated[pfn] = pfn < PFN_FREE || g->count > 1000 || below(100) >= holes;
        if (g->populated[pfn])
            data_make(g, pfn);
    }
    for (unsigned level = 1; level <= 4; level++)
        for (unsigned n = 1 + below(most[level]); n; n--)
            table_make(g, plain_page(g), level);
    vcpus_make(g);
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        if (g->level[pfn])
            entries_add(g, pfn, g->level[pfn] == 1 ? 40 : 6);
    start_info_make(g);
    tables_settle(g);
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
    if (!below(3))
        g->start_info = plain_page(g);
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        if (g->level[pfn] && below(100) < entries)
            entries_add(g, pfn, 1 + below(10));
        if (g->level[pfn] && below(100) < entries)
            g->pinned[pfn] = !g->pinned[pfn];
    }
    start_info_make(g);
    tables_settle(g);
}

/* ---- to image files ---- */

static char *config;
static struct error err;

static int config_setup(void **state)
{
    struct stream_build b;
    struct image_info info;
    struct image *im;
    dir_setup(state);
    stream_build_init(&b, IMAGE_GUEST_PV);
    assert_int_equal(stream_build_import(&b, scratch_path(&dir, "c.img"), &info, &err), 0);
    assert_int_equal(image_open(scratch_path(&dir, "c.img"), &im, &err), 0);
    config = strdup(image_config(im));
    image_close(im);
    stream_build_dispose(&b);
    return 0;
}

static int config_teardown(void **state)
{
    free(config);
    return dir_teardown(state);
}

static void record(struct image_writer *w, uint32_t type, const void *body, size_t length)
{
    assert_int_equal(image_writer_record(w, type, body, (uint32_t)length, &err), 0);
}

static void write_static(struct image_writer *w, const struct guest *g)
{
    struct image_record_origin origin = {.stream_version = 3, .xen_major = 4, .xen_minor = 17};
    uint8_t info[8] = {8, 4}, p2m[8 + 8 * 4] = {0};
    record(w, IMAGE_RECORD_ORIGIN, &origin, sizeof origin);
    record(w, RECORD_X86_PV_INFO, info, sizeof info);
    put_u32(p2m + 4, (uint32_t)g->count - 1);
    for (uint64_t i = 0; i < p2m_frames(g); i++)
        put_u64(p2m + 8 + 8 * i, PFN_P2M + i);
    record(w, RECORD_X86_PV_P2M_FRAMES, p2m, 8 + 8 * p2m_frames(g));
}

static void write_state(struct image_writer *w, const struct guest *g)
{
    struct {
        uint32_t id, reserved;
        vcpu_guest_context_x86_64_t c;
    } v;
    uint8_t tsc[24] = {0}, shared[PAGE_BYTES];
    memset(shared, 0x11, sizeof shared);
    record(w, RECORD_X86_TSC_INFO, tsc, sizeof tsc);
    record(w, RECORD_SHARED_INFO, shared, sizeof shared);
    for (unsigned i = 0; i < g->vcpus; i++) {
        memset(&v, 0, sizeof v);
        v.id = i;
        v.c.user_regs.rdx = i ? 7 : g->start_info;
        v.c.gdt_ents = 512;
        v.c.gdt_frames[0] = g->gdt[i];
        v.c.ctrlreg[3] = g->cr3[i] << 12;
        v.c.ctrlreg[1] = g->user_cr3[i] ? g->user_cr3[i] << 12 | 1 : 0;
        record(w, RECORD_X86_PV_VCPU_BASIC, &v, sizeof v);
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

/* The guest as an image; of: as one derived from it. */
static struct image *image_make(const char *name, const struct guest *g, const struct image *over)
{
    struct image_page pages[PFNS];
    struct image_writer *w;
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = g->vcpus, .max_pfn = g->count - 1};
    struct image *im;
    uint64_t n = 0;
    assert_int_equal(image_writer_new(scratch_path(&dir, name), &w, &err), 0);
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        if (!g->populated[pfn] || (over && (is_settled(g, pfn) || !differs(&base, g, pfn))))
            continue;
        pages[n].pfn_type = pfn | (uint64_t)type_of(g, pfn) << IMAGE_TYPE_SHIFT;
        assert_int_equal(image_writer_payload(w, g->words[pfn], &pages[n++].payload, &err), 0);
    }
    assert_int_equal(image_writer_pages(w, pages, n, &err), 0);
    write_static(w, g);
    write_state(w, g);
    assert_int_equal(image_writer_config(w, config, &err), 0);
    if (over) {
        memcpy(info.base_id, image_info(over)->id, sizeof info.base_id);
        info.populated = image_info(over)->populated;
    }
    if (image_writer_commit(w, &info, &err))
        fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    image_writer_free(w);
    if (image_open(scratch_path(&dir, name), &im, &err))
        fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    return im;
}

/* ---- the same domain in one step ---- */

static void reference_pages(struct fake_xen *x, const struct guest *g)
{
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
        if (!g->populated[pfn])
            continue;
        uint64_t *words = x->frames[x->mfns[pfn]].words;
        memcpy(words, is_settled(g, pfn) ? base.words[pfn] : g->words[pfn], PAGE_BYTES);
        for (unsigned i = 0; i < PAGE_BYTES / 8 && g->level[pfn]; i++)
            if (words[i] & FAKE_PTE_PRESENT)
                words[i] = (words[i] & 0xfff0000000000fffull) | x->mfns[FAKE_PTE_FRAME(words[i])]
                                                                    << 12;
    }
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        x->frames[x->mfns[PFN_P2M + pfn / 512]].words[pfn % 512] =
            x->mfns[pfn] ? x->mfns[pfn] : UINT64_MAX;
    start_info_t si;
    memcpy(&si, g->words[g->start_info], sizeof si);
    si.store_mfn = x->mfns[PFN_STORE];
    si.console.domU.mfn = x->mfns[PFN_CONSOLE];
    si.store_evtchn = STORE_PORT;
    si.console.domU.evtchn = CONSOLE_PORT;
    si.nr_pages = g->count;
    si.shared_info = (uint64_t)FAKE_SHARED_INFO_MFN << 12;
    si.flags = 0;
    memcpy(x->frames[x->mfns[g->start_info]].words, &si, sizeof si);
}

static void reference_make(struct fake_xen *x, const struct guest *g)
{
    reference_pages(x, g);
    for (unsigned i = 0; i < g->vcpus; i++) {
        vcpu_guest_context_any_t any;
        memset(&any, 0, sizeof any);
        any.x64.user_regs.rdx = i ? 7 : x->mfns[g->start_info];
        any.x64.gdt_ents = 512;
        any.x64.gdt_frames[0] = x->mfns[g->gdt[i]];
        any.x64.ctrlreg[3] = x->mfns[g->cr3[i]] << 12;
        any.x64.ctrlreg[1] = g->user_cr3[i] ? x->mfns[g->user_cr3[i]] << 12 : 0;
        any.x64.flags = VGCF_online;
        HOLDS(!xc_vcpu_setcontext(NULL, 1, i, &any));
    }
    for (uint64_t pfn = 0; pfn < g->count; pfn++)
        if (g->pinned[pfn]) {
            struct mmuext_op op = {.cmd = MMUEXT_PIN_L1_TABLE + g->level[pfn] - 1,
                                   .arg1.mfn = x->mfns[pfn]};
            HOLDS(!xc_mmuext_op(NULL, &op, 1, 1));
        }
}

static void domains_equal(const struct fake_xen *a, const struct fake_xen *b, const struct guest *g)
{
    for (uint64_t pfn = 0; pfn < g->count; pfn++) {
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
    HOLDS(!memcmp(a->vcpus, b->vcpus, sizeof a->vcpus));
    for (size_t i = GNTTAB_NR_RESERVED_ENTRIES * sizeof(grant_entry_v1_t); i < PAGE_BYTES; i++)
        HOLDS(!a->grants[i]);
    const struct shared_info *s = (const struct shared_info *)a->shared_info;
    HOLDS(s->evtchn_mask[0] == UINT64_MAX && !s->evtchn_pending[0] &&
          !s->arch.pfn_to_mfn_frame_list_list && s->vcpu_info[0].arch.cr2 == 0x1111111111111111ull);
}

/* ---- the cases ---- */

static struct slot slot_of(struct image *im)
{
    return (struct slot){.base = im,
                         .domid = 1,
                         .store_port = STORE_PORT,
                         .console_port = CONSOLE_PORT,
                         .engine = &engine_direct};
}

/* The engine, base and delta, into x. turned: by way of another version of the base. */
static int engine_run(struct fake_xen *x, struct image *first, struct image *over,
                      struct image *delta)
{
    uint64_t delta_pages;
    struct slot s = slot_of(first);
    domconf_init(&s.conf);
    fake_xen = x;
    trace_start(&s.trace, "build", &s.domid);
    int rc = engine_direct.build(&s, &err);
    if (!rc && first != over) {
        rc = engine_direct.turn(&s, over, &err);
        s.base = over;
    }
    if (!rc)
        rc = engine_direct.complete(&s, delta, &delta_pages, &err);
    engine_direct.dispose(&s);
    domconf_dispose(&s.conf);
    return rc;
}

static void case_check(struct image *first, struct image *over, struct image *delta,
                       const struct guest *g)
{
    struct fake_xen x, reference;
    fake_xen_init(&x, g->count, 1 + 2 * below(20), below(3));
    if (engine_run(&x, first, over, delta))
        fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    fake_xen_init_like(&reference, &x);
    fake_xen = &reference;
    reference_make(&reference, g);
    domains_equal(&x, &reference, g);
    fake_xen_dispose(&x);
    fake_xen_dispose(&reference);
}

static void each_call_fails(struct image *over, struct image *delta, const struct guest *g)
{
    struct fake_xen x;
    for (unsigned n = 1;; n++) {
        fake_xen_init(&x, g->count, 1, 0);
        x.fail_at = n;
        err = (struct error){0};
        int rc = engine_run(&x, over, over, delta);
        bool failed = x.calls >= n;
        fake_xen_dispose(&x);
        if (failed && (!rc || !err.text[0]))
            fail_msg("seed %" PRIu64 ": call %u failed, unnoticed", seed, n);
        if (!failed)
            break;
    }
}

static void test_forests(void **state)
{
    (void)state;
    for (seed = first_seed; seed <= last_seed; seed++) {
        random_state = seed;
        guest_random(&base);
        struct image *over = image_make("base.img", &base, NULL), *delta, *second;
        if (seed % 8 == 0)
            case_check(over, over, over, &base);
        image = base;
        guest_change(&image);
        delta = image_make("delta.img", &image, over);
        case_check(over, over, delta, &image);
        if (seed % 200 == 0 && base.count < 200)
            each_call_fails(over, delta, &image);
        if (seed % 4 == 0) { /* the image as a new version of the base, by turning a warm slot */
            for (uint64_t pfn = 0; pfn < image.count; pfn++)
                if (is_settled(&image, pfn)) /* kept from what the slot was built from */
                    memcpy(image.words[pfn], base.words[pfn], PAGE_BYTES);
            second = image_make("second.img", &image, NULL);
            case_check(over, second, second, &image);
            image_close(second);
        }
        image_close(over);
        image_close(delta);
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
    assert_int_equal(frames_write(&f, 0, PAGE_NOTAB, &err), -EINVAL); /* not populated */
    assert_int_equal(frames_place(&f, 4, 9, &err), -EINVAL);
    assert_int_equal(frames_place(&f, 0, FRAME_NONE, &err), -EINVAL);
    for (uint64_t pfn = 0; pfn < 4; pfn++)
        assert_int_equal(frames_place(&f, pfn, 10 + pfn, &err), 0);
    assert_int_equal(frames_place(&f, 0, 9, &err), -EINVAL);    /* twice */
    assert_int_equal(frames_pin(&f, 0, &level, &err), -EINVAL); /* nothing written */
    assert_int_equal(frames_write(&f, 0, PAGE_L3TAB | PAGE_TYPE_PINNED, &err), 0);
    assert_int_equal(frames_pin(&f, 0, &level, &err), -EINVAL); /* not in the domain yet */
    assert_int_equal(frames_go_live(&f, &err), -EINVAL);
    frames_writes_done(&f);
    assert_int_equal(frames_pin(&f, 0, &level, &err), 0);
    assert_int_equal(level, 3);
    assert_int_equal(frames_write(&f, 1, PAGE_NOTAB, &err), -EINVAL); /* pins are under way */
    assert_int_equal(frames_go_live(&f, &err), -EINVAL);
    frames_pins_done(&f);
    assert_int_equal(frames_pin(&f, 0, &level, &err), -EINVAL);
    assert_int_equal(frames_write(&f, 0, PAGE_L3TAB, &err), -EINVAL); /* pinned */
    assert_int_equal(frames_unpin(&f, 1, &err), -EINVAL);
    assert_int_equal(frames_write(&f, 1, PAGE_NOTAB, &err), 0);
    assert_int_equal(frames_keep(&f, 1, &err), 0);
    frames_writes_done(&f);
    assert_int_equal(frames_pin(&f, 1, &level, &err), -EINVAL);       /* no table */
    assert_int_equal(frames_write(&f, 1, PAGE_NOTAB, &err), -EINVAL); /* kept */
    assert_int_equal(frames_go_live(&f, &err), 0);
    assert_int_equal(frames_write(&f, 2, PAGE_NOTAB, &err), -EINVAL); /* live */
    assert_int_equal(frames_unpin(&f, 0, &err), 0);
    frames_dispose(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_refuse),
        TEST_IN_DIR(test_forests),
    };
    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        last_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, config_setup, config_teardown);
}
