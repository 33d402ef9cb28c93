/*
 * stream_write_changes of restore/formats/stream_write.h, by which a slot is turned to another
 * version of its base: what it writes is taken apart here by the specification, and read by the
 * importer.
 */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "restore/formats/source.h"
#include "restore/formats/stream_write.h"
#include "restore/imaging/image_import.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH
#define PAGES 3000u
#define BATCH 1024u /* libxenguest takes no more in one record */
#define RECORD_OF_NO_MEANING 0x800000ffu

static int setup(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return dir_setup(state);
}

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d: %s", rc, e->text);
}

/* ---- guests as plain arrays ---- */

struct cell {
    bool populated;
    unsigned type;
    uint64_t content; /* 0: zeros; odd: this word over and over; else it stands once */
};

static struct cell from[PAGES], to[PAGES];

static void content_fill(uint64_t content, uint8_t page[PAGE_BYTES])
{
    if (content % 2) {
        for (size_t at = 0; at < PAGE_BYTES; at += sizeof content)
            memcpy(page + at, &content, sizeof content);
        return;
    }
    memset(page, 0, PAGE_BYTES);
    memcpy(page + content % (PAGE_BYTES - sizeof content), &content, sizeof content);
}

/* Some of zeros, some alike, some that no other is like. */
static void cells_fill(void)
{
    for (uint32_t i = 0; i < PAGES; i++)
        from[i] = (struct cell){true, PAGE_NOTAB, i % 5 ? (i % 3 ? 2 * i : 7) : 0};
    memcpy(to, from, sizeof to);
}

static bool cell_has_content(const struct cell *c)
{
    return c->type == PAGE_NOTAB || page_type_is_table(c->type);
}

static bool cell_equal(const struct cell *a, const struct cell *b)
{
    return a->type == b->type && a->content == b->content;
}

/* base NULL: stored whole. Else with what differs from the array `from` alone. */
static struct image *image_of(const char *name, const struct cell *cells, const struct image *base)
{
    struct error e = {0};
    struct image_writer *w;
    struct image *im = NULL;
    struct image_info info = {.guest = PV, .vcpus = 1, .max_pfn = PAGES - 1};
    struct image_page *pages = calloc(PAGES, sizeof *pages);
    uint8_t content[PAGE_BYTES];
    uint64_t n = 0;
    assert_non_null(pages);
    must(image_writer_new(scratch_path(&dir, name), &w, &e), &e);
    for (uint64_t pfn = 0; pfn < PAGES; pfn++) {
        if (!cells[pfn].populated || (base && cell_equal(&from[pfn], &cells[pfn])))
            continue;
        content_fill(cells[pfn].content, content);
        pages[n].pfn_type = pfn | (uint64_t)cells[pfn].type << IMAGE_TYPE_SHIFT;
        must(image_writer_payload(w, content, &pages[n++].payload, &e), &e);
    }
    if (base) {
        info.base_id = image_info(base)->id;
        info.populated = image_info(base)->populated;
    }
    must(image_writer_pages(w, pages, n, &e), &e);
    must(image_writer_config(w, "{}", &e), &e);
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
    free(pages);
    must(image_open(scratch_path(&dir, name), &im, &e), &e);
    return im;
}

/* ---- writing ---- */

static int output_open(void)
{
    int fd = open(scratch_path(&dir, "out"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

struct output {
    uint8_t *bytes;
    size_t size;
};

/* Of the file called out, which it closes. */
static struct output output_take(int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);
    struct output o = {.bytes = malloc((size_t)end + 1), .size = (size_t)end};
    assert_non_null(o.bytes);
    assert_int_equal(pread(fd, o.bytes, o.size, 0), o.size);
    fd_close(&fd);
    return o;
}

static struct output changes(const struct image_memory *a, const struct image_memory *b)
{
    int fd = output_open();
    assert_int_equal(stream_write_changes(fd, a, b), 0);
    return output_take(fd);
}

/* ---- taking it apart ---- */

/* The next pfn from `pfn` on that the arrays say has changed, or PAGES. */
static uint64_t next_changed(uint64_t pfn)
{
    while (pfn < PAGES && cell_equal(&from[pfn], &to[pfn]))
        pfn++;
    return pfn;
}

/* The pages of one record; *pfn is where to go on. Returns the end of their contents. */
static const uint8_t *expect_pages(const uint8_t *body, uint32_t n, uint64_t *pfn)
{
    const uint8_t *at = body + 8 + (size_t)n * 8;
    uint8_t content[PAGE_BYTES];
    for (uint32_t i = 0; i < n; i++) {
        *pfn = next_changed(*pfn);
        assert_true(*pfn < PAGES);
        const struct cell *c = &to[*pfn];
        assert_true(get_u64(body + 8 + (size_t)i * 8) ==
                    (*pfn | (uint64_t)c->type << IMAGE_TYPE_SHIFT));
        ++*pfn;
        if (!cell_has_content(c))
            continue;
        content_fill(c->content, content);
        assert_false(memcmp(at, content, PAGE_BYTES));
        at += PAGE_BYTES;
    }
    return at;
}

/* PAGE_DATA records of what the arrays say has changed, in order, and no byte more. Their number.
 */
static unsigned expect_changes(const struct output *o)
{
    const uint8_t *at = o->bytes, *end = o->bytes + o->size;
    uint64_t pfn = 0;
    unsigned records = 0;
    for (; at < end; records++) {
        assert_true(end - at >= 16);
        assert_int_equal(get_u32(at), RECORD_PAGE_DATA);
        uint32_t length = get_u32(at + 4), n = get_u32(at + 8);
        assert_true(length <= RECORD_BYTES_MAX && length <= (size_t)(end - at) - 8);
        assert_true(n >= 1 && n <= BATCH);
        assert_int_equal(get_u32(at + 12), 0);
        const uint8_t *body = at + 8;
        assert_true(length >= 8 + (size_t)n * 8);
        at = expect_pages(body, n, &pfn);
        assert_int_equal(at - body, length);
    }
    assert_int_equal(next_changed(pfn), PAGES);
    return records;
}

/* Between two bases, and between the base and a delta over it. The number of records. */
static unsigned check_changes(void)
{
    struct image *a = image_of("a.img", from, NULL), *b = image_of("b.img", to, NULL);
    struct image *delta = image_of("delta.img", to, a);
    const struct image_memory ma = {a, NULL}, mb = {b, NULL}, md = {a, delta};
    struct output of_bases = changes(&ma, &mb), of_delta = changes(&ma, &md);
    unsigned records = expect_changes(&of_bases);
    assert_int_equal(expect_changes(&of_delta), records);
    free(of_bases.bytes);
    free(of_delta.bytes);
    image_close(a);
    image_close(b);
    image_close(delta);
    scratch_files(&dir, true);
    return records;
}

static void no_changes(void **state)
{
    (void)state;
    cells_fill();
    assert_int_equal(check_changes(), 0);
}

/* Each kind of change by itself, first and last pfn among them. */
static void kinds_of_change(void **state)
{
    (void)state;
    cells_fill();
    to[0].content = 8;                            /* from zeros */
    to[1].content = 0;                            /* to zeros */
    to[4].type = PAGE_L1TAB;                      /* in type alone */
    to[5].type = PAGE_L4TAB | PAGE_TYPE_PINNED;   /* of zeros */
    to[11] = (struct cell){true, PAGE_XALLOC, 0}; /* has no content in a stream */
    to[12].content = to[13].content = 9;          /* one payload for both */
    to[14].content = 2000;
    from[20].type = PAGE_L2TAB | PAGE_TYPE_PINNED;
    to[20].type = PAGE_L2TAB;
    from[21] = (struct cell){true, PAGE_XALLOC, 0};
    to[PAGES - 1].content = 11;
    assert_int_equal(check_changes(), 1);
}

static void change_first(uint32_t n)
{
    cells_fill();
    for (uint32_t i = 0; i < n; i++)
        to[i].content += 8;
}

/* Full batches, and no empty record behind them. */
static void batches(void **state)
{
    (void)state;
    static const struct {
        uint32_t changed;
        unsigned records;
    } cases[] = {{1, 1}, {BATCH - 1, 1}, {BATCH, 1}, {BATCH + 1, 2}, {2 * BATCH, 2}, {PAGES, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        change_first(cases[i].changed);
        assert_int_equal(check_changes(), cases[i].records);
    }
}

/* Every second page, so that no two contents stand side by side that are sent so. */
static void scattered(void **state)
{
    (void)state;
    cells_fill();
    for (uint32_t i = 0; i < PAGES; i += 2)
        to[i].content += 8;
    assert_int_equal(check_changes(), 2);
}

/* ---- what cannot be written ---- */

static void other_pages_populated(void **state)
{
    (void)state;
    static const uint64_t pfns[] = {0, 1500, PAGES - 1};
    cells_fill();
    struct image *all = image_of("all.img", from, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(pfns); i++) {
        to[pfns[i]].populated = false;
        struct image *less = image_of("less.img", to, NULL);
        to[pfns[i]].populated = true;
        const struct image_memory a = {all, NULL}, b = {less, NULL};
        int fd = output_open();
        assert_int_equal(stream_write_changes(fd, &a, &b), -EINVAL);
        assert_int_equal(stream_write_changes(fd, &b, &a), -EINVAL);
        fd_close(&fd);
        image_close(less);
        unlink(scratch_path(&dir, "less.img"));
    }
    image_close(all);
}

static void reader_gone(void **state)
{
    (void)state;
    int fds[2];
    change_first(1);
    struct image *a = image_of("a.img", from, NULL), *b = image_of("b.img", to, NULL);
    const struct image_memory ma = {a, NULL}, mb = {b, NULL};
    assert_int_equal(pipe(fds), 0);
    fd_close(&fds[0]);
    assert_int_equal(stream_write_changes(fds[1], &ma, &mb), -EPIPE);
    assert_int_equal(stream_write_changes(fds[1], &ma, &ma), 0); /* there was nothing to write */
    fd_close(&fds[1]);
    image_close(a);
    image_close(b);
}

/* In a full batch, and in the one that is left at the end. */
static void disk_full(void **state)
{
    (void)state;
    struct rlimit old, small;
    change_first(BATCH + 1);
    struct image *a = image_of("a.img", from, NULL), *b = image_of("b.img", to, NULL);
    const struct image_memory ma = {a, NULL}, mb = {b, NULL};
    const rlim_t first = 16 + BATCH * 8 + BATCH * PAGE_BYTES, limits[] = {0, first - 1, first};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        int fd = output_open();
        small = old;
        small.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = stream_write_changes(fd, &ma, &mb);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(rc, -EFBIG);
        fd_close(&fd);
    }
    image_close(a);
    image_close(b);
}

/* ---- read by the importer ---- */

static struct image *import_built(struct stream_build *b, const char *name)
{
    struct error e = {0};
    struct image_info info;
    struct image *im = NULL;
    must(stream_build_import(b, scratch_path(&dir, name), &info, &e), &e);
    must(image_open(scratch_path(&dir, name), &im, &e), &e);
    stream_build_dispose(b);
    return im;
}

/* Tables, contents, rings and a record are others. */
static void build_next_version(struct stream_build *b, enum image_guest guest)
{
    stream_build_init(b, guest);
    put_u64(stream_build_find(b, RECORD_X86_TSC_INFO, 0)->body + 8, 987654321);
    if (guest == PVH) {
        stream_build_page(b, BUILD_PVH_DATA)[100] = 1;
        stream_build_page(b, BUILD_PVH_STORE)[0] = 1;
        return;
    }
    put_u64(stream_build_page(b, BUILD_PFN_L1) + 400 * 8, (uint64_t)BUILD_PFN_DATA << 12 | 1);
    put_u64(stream_build_entry(b, BUILD_PFN_ZERO),
            BUILD_PFN_ZERO | (uint64_t)PAGE_L2TAB << IMAGE_TYPE_SHIFT);
    put_u64(stream_build_page(b, BUILD_PFN_L1) + BUILD_PFN_ZERO * 8, 0);
    memset(stream_build_page(b, BUILD_PFN_DATA), 0, PAGE_BYTES);
    stream_build_page(b, BUILD_PFN_CONSOLE)[9] = 9;
}

/* What the engine `guest` sends: the base, a turn to the other version, its completion. */
static struct output turned_stream(const struct image *base, const struct image *next)
{
    const struct image_memory a = {base, NULL}, b = {next, NULL};
    int fd = output_open();
    assert_int_equal(stream_write_headers(fd, base), 0);
    assert_int_equal(stream_write_static(fd, base), 0);
    assert_int_equal(stream_write_table(fd, base), 0);
    assert_int_equal(stream_write_record(fd, RECORD_OF_NO_MEANING, NULL, 0), 0);
    assert_int_equal(stream_write_changes(fd, &a, &b), 0);
    assert_int_equal(stream_write_record(fd, RECORD_OF_NO_MEANING, NULL, 0), 0);
    assert_int_equal(stream_write_state(fd, next), 0);
    assert_int_equal(stream_write_record(fd, RECORD_END, NULL, 0), 0);
    return output_take(fd);
}

static struct image *import_stream_bytes(const struct output *o, const char *xl_config)
{
    struct error e = {0};
    struct source src;
    struct image_info info;
    struct image *im = NULL;
    const struct import_options options = {.image_path = scratch_path(&dir, "turned.img"),
                                           .trusted = true};
    source_init_memory(&src, o->bytes, o->size);
    must(import_stream(xl_config, strlen(xl_config), &src, &options, &info, &e), &e);
    must(image_open(options.image_path, &im, &e), &e);
    source_dispose(&src);
    return im;
}

static void expect_same_guest(const struct image *a, const struct image *b)
{
    struct image_record x, y;
    size_t at_a = 0, at_b = 0;
    while (image_next_record(a, &at_a, &x)) {
        assert_true(image_next_record(b, &at_b, &y));
        assert_int_equal(x.type, y.type);
        assert_int_equal(x.length, y.length);
        if (x.length)
            assert_memory_equal(x.body, y.body, x.length);
    }
    assert_false(image_next_record(b, &at_b, &y));
    assert_int_equal(image_info(a)->entries, image_info(b)->entries);
    for (uint64_t i = 0; i < image_info(a)->entries; i++) {
        const struct image_page *p = &image_pages(a)[i], *q = &image_pages(b)[i];
        assert_true(p->pfn_type == q->pfn_type);
        assert_memory_equal(image_payload(a, p->payload), image_payload(b, q->payload), PAGE_BYTES);
    }
}

static void turned(void **state)
{
    (void)state;
    for (enum image_guest guest = PV; guest <= PVH; guest++) {
        struct stream_build b;
        stream_build_init(&b, guest);
        char *config = strdup(b.config);
        assert_non_null(config);
        struct image *base = import_built(&b, "base.img");
        build_next_version(&b, guest);
        struct image *next = import_built(&b, "next.img");
        struct output o = turned_stream(base, next);
        struct image *is = import_stream_bytes(&o, config);
        expect_same_guest(next, is);
        image_close(base);
        image_close(next);
        image_close(is);
        free(o.bytes);
        free(config);
        scratch_files(&dir, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(no_changes),
        TEST_IN_DIR(kinds_of_change),
        TEST_IN_DIR(batches),
        TEST_IN_DIR(scattered),
        TEST_IN_DIR(other_pages_populated),
        TEST_IN_DIR(reader_gone),
        TEST_IN_DIR(disk_full),
        TEST_IN_DIR(turned),
    };
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
