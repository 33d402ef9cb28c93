/* restore/formats/fingerprint.h: what is noted of a disk, which changes are noticed, and by which
 * check. */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "base/text.h"
#include "restore/formats/fingerprint.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_import.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DISK_BYTES 4096u
#define BIG_BYTES ((3u << 20) / 2) /* more than is read at once */
#define DISK_MTIME_NS 1000000000123456789ll
#define NOWHERE SIZE_MAX

/* BLAKE2b-256 of "abc", by Python's hashlib */
static const char digest_of_abc[] =
    "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";

#define XL(disks)                                                                                  \
    "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64},\"disks\":[" disks "]}"
#define XL_DISK(vdev) "{\"pdev_path\":\"/none\",\"vdev\":\"" vdev "\",\"readwrite\":1}"

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d: %s", rc, e->text);
}

/* ---- disks ---- */

static void mtime_set(const char *name, int64_t ns)
{
    int fd = open(scratch_path(&dir, name), O_RDONLY | O_CLOEXEC);
    int64_t rest = ((ns % 1000000000) + 1000000000) % 1000000000;
    const struct timespec t = {.tv_sec = (ns - rest) / 1000000000, .tv_nsec = rest};
    const struct timespec times[] = {t, t};
    assert_int_equal(futimens(fd, times), 0);
    fd_close(&fd);
}

static void disk_write(const char *name, const void *bytes, size_t size)
{
    scratch_write(&dir, name, bytes, size);
    mtime_set(name, DISK_MTIME_NS);
}

static void disk_make(const char *name, size_t size, size_t other_byte)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 0x5a, size);
    if (other_byte < size)
        bytes[other_byte] = 0x5b;
    disk_write(name, bytes, size);
    free(bytes);
}

/* "cow:/dev/shm/.../disk" */
static const char *spec_of(const char *kind, const char *name)
{
    static char spec[160];
    assert_true(format_fits(spec, sizeof spec, "%s:%s", kind, scratch_path(&dir, name)));
    return spec;
}

static void conf_make(struct domconf *c, const char *spec)
{
    static const char xl[] = XL(XL_DISK("xvda"));
    struct error e = {0};
    domconf_init(c);
    must(domconf_from_xl(xl, strlen(xl), c, &e), &e);
    must(domconf_set_disk(c, "xvda", spec, &e), &e);
}

static void take(struct domconf *c, bool digests)
{
    struct error e = {0};
    must(fingerprints_take(c, digests, NULL, NULL, &e), &e);
    assert_int_equal(e.code, 0);
    assert_string_equal(e.text, "");
}

static void expect_unchanged(const struct domconf *c)
{
    struct error e = {0};
    must(fingerprint_check(&c->disks[0], &e), &e);
}

static void expect_says_changed(int rc, const struct error *e, const char *vdev, const char *name,
                                const char *what)
{
    char part[256];
    snprintf(part, sizeof part, "disk %s: %s has another %s than", vdev, scratch_path(&dir, name),
             what);
    assert_int_equal(rc, ANSWER_IMAGE_BROKEN);
    assert_int_equal(e->code, ANSWER_IMAGE_BROKEN);
    assert_says(e->text, part);
}

static void expect_changed(const struct domconf *c, const char *what)
{
    struct error e = {0};
    expect_says_changed(fingerprint_check(&c->disks[0], &e), &e, "xvda", "disk", what);
}

/* ---- files ---- */

static void file_disk(const char *kind)
{
    struct domconf c;
    disk_make("disk", DISK_BYTES, NOWHERE);
    conf_make(&c, spec_of(kind, "disk"));
    take(&c, false);
    assert_true(c.disks[0].was.taken);
    assert_false(c.disks[0].was.digested);
    assert_int_equal(c.disks[0].was.bytes, DISK_BYTES);
    assert_int_equal(c.disks[0].was.mtime_ns, DISK_MTIME_NS);
    expect_unchanged(&c);
    disk_make("disk", DISK_BYTES + 1, NOWHERE);
    expect_changed(&c, "size");
    disk_make("disk", DISK_BYTES, NOWHERE);
    expect_unchanged(&c);
    mtime_set("disk", DISK_MTIME_NS + 1);
    expect_changed(&c, "time of change");
    mtime_set("disk", DISK_MTIME_NS - 1);
    expect_changed(&c, "time of change");
    domconf_dispose(&c);
}

static void files(void **state)
{
    (void)state;
    file_disk("ro");
    file_disk("cow");
}

static void an_empty_file(void **state)
{
    (void)state;
    struct domconf c;
    disk_make("disk", 0, NOWHERE);
    conf_make(&c, spec_of("cow", "disk"));
    take(&c, true);
    assert_true(c.disks[0].was.taken && c.disks[0].was.digested);
    assert_int_equal(c.disks[0].was.bytes, 0);
    expect_unchanged(&c);
    disk_make("disk", 1, NOWHERE);
    expect_changed(&c, "size");
    domconf_dispose(&c);
}

static void before_1970(void **state)
{
    (void)state;
    struct domconf c;
    disk_make("disk", DISK_BYTES, NOWHERE);
    mtime_set("disk", -1500000000);
    conf_make(&c, spec_of("cow", "disk"));
    take(&c, false);
    assert_int_equal(c.disks[0].was.mtime_ns, -1500000000);
    expect_unchanged(&c);
    domconf_dispose(&c);
}

/* Beyond what 64 bits of nanoseconds hold. */
static void after_2262(void **state)
{
    (void)state;
    const struct timespec far[2] = {{10413792000, 1}, {10413792000, 1}};
    struct domconf c;
    disk_make("disk", DISK_BYTES, NOWHERE);
    assert_int_equal(utimensat(AT_FDCWD, scratch_path(&dir, "disk"), far, 0), 0);
    conf_make(&c, spec_of("cow", "disk"));
    take(&c, false);
    expect_unchanged(&c);
    mtime_set("disk", DISK_MTIME_NS);
    expect_changed(&c, "time of change");
    domconf_dispose(&c);
}

static void digest_is_blake2b(void **state)
{
    (void)state;
    struct domconf c;
    char text[2 * sizeof c.disks->was.digest + 1];
    disk_write("disk", "abc", 3);
    conf_make(&c, spec_of("ro", "disk"));
    take(&c, true);
    assert_true(c.disks[0].was.digested);
    hex_format(c.disks[0].was.digest, sizeof c.disks[0].was.digest, text);
    assert_string_equal(text, digest_of_abc);
    domconf_dispose(&c);
}

/* A digest is not what a lease waits for: fingerprint_check leaves content alone. */
static void check_reads_no_content(void **state)
{
    (void)state;
    struct domconf c;
    disk_make("disk", DISK_BYTES, NOWHERE);
    conf_make(&c, spec_of("cow", "disk"));
    take(&c, true);
    assert_true(c.disks[0].was.digested);
    disk_make("disk", DISK_BYTES, 7);
    expect_unchanged(&c);
    domconf_dispose(&c);
}

/* ---- other kinds ---- */

static void phy_by_size_alone(void **state)
{
    (void)state;
    struct domconf c;
    disk_make("disk", DISK_BYTES, NOWHERE);
    conf_make(&c, spec_of("phy", "disk"));
    take(&c, true);
    assert_true(c.disks[0].was.taken);
    assert_false(c.disks[0].was.digested);
    disk_make("disk", DISK_BYTES, 7);
    mtime_set("disk", DISK_MTIME_NS + 1);
    expect_unchanged(&c);
    disk_make("disk", DISK_BYTES - 1, NOWHERE);
    expect_changed(&c, "size");
    domconf_dispose(&c);
}

static void scratch_has_none(void **state)
{
    (void)state;
    struct domconf c;
    conf_make(&c, "scratch:1M");
    take(&c, true);
    assert_false(c.disks[0].was.taken);
    expect_unchanged(&c);
    domconf_dispose(&c);
}

/* ---- disks that cannot be looked at ---- */

static void missing_at_take(void **state)
{
    (void)state;
    struct domconf c;
    conf_make(&c, spec_of("cow", "disk"));
    take(&c, true);
    assert_false(c.disks[0].was.taken);
    expect_unchanged(&c); /* still missing */
    disk_make("disk", DISK_BYTES, NOWHERE);
    expect_unchanged(&c);
    domconf_dispose(&c);
}

/* The one that is missing takes nothing from the others. */
static void missing_among_others(void **state)
{
    (void)state;
    static const char xl[] = XL(XL_DISK("xvda") "," XL_DISK("xvdb") "," XL_DISK("xvdc"));
    struct domconf c;
    struct error e = {0};
    domconf_init(&c);
    must(domconf_from_xl(xl, strlen(xl), &c, &e), &e);
    disk_make("a", 512, NOWHERE);
    disk_make("c", 1024, NOWHERE);
    must(domconf_set_disk(&c, "xvda", spec_of("cow", "a"), &e), &e);
    must(domconf_set_disk(&c, "xvdc", spec_of("ro", "c"), &e), &e);
    take(&c, false);
    assert_int_equal(c.disks[0].was.bytes, 512);
    assert_false(c.disks[1].was.taken);
    assert_int_equal(c.disks[2].was.bytes, 1024);
    domconf_dispose(&c);
}

static void missing_at_check(void **state)
{
    (void)state;
    struct domconf c;
    struct error e = {0};
    disk_make("disk", DISK_BYTES, NOWHERE);
    conf_make(&c, spec_of("ro", "disk"));
    take(&c, false);
    unlink(scratch_path(&dir, "disk"));
    assert_int_equal(fingerprint_check(&c.disks[0], &e), -ENOENT);
    assert_says(e.text, "disk xvda: ");
    assert_says(e.text, scratch_path(&dir, "disk"));
    domconf_dispose(&c);
}

/* Neither taken nor accepted in the place of what was taken. A FIFO must not hold us up. */
static void no_disk_at_all(int (*make)(const char *path, mode_t mode), int (*gone)(const char *))
{
    struct domconf c;
    struct error e = {0};
    const char *path = scratch_path(&dir, "disk");
    conf_make(&c, spec_of("cow", "disk"));
    assert_int_equal(make(path, 0700), 0);
    take(&c, true);
    assert_false(c.disks[0].was.taken);
    assert_int_equal(gone(path), 0);
    disk_make("disk", DISK_BYTES, NOWHERE);
    take(&c, true);
    unlink(path);
    assert_int_equal(make(path, 0700), 0);
    assert_int_equal(fingerprint_check(&c.disks[0], &e), -EINVAL);
    assert_says(e.text, "disk xvda: ");
    assert_says(e.text, "/disk is neither a file nor a block device");
    assert_int_equal(gone(path), 0);
    domconf_dispose(&c);
}

static void directories_and_fifos(void **state)
{
    (void)state;
    no_disk_at_all(mkdir, rmdir);
    no_disk_at_all(mkfifo, unlink);
}

/* scratch_files leaves directories. */
static int clean_directory(void **state)
{
    rmdir(scratch_path(&dir, "disk"));
    return dir_clean(state);
}

/* ---- stopped ---- */

struct seen {
    unsigned calls, stop_at; /* 0: never */
    uint64_t done, total;
};

static int progress(uint64_t done, uint64_t total, void *data)
{
    struct seen *seen = data;
    assert_true(done > seen->done && done <= total);
    seen->done = done;
    seen->total = total;
    return ++seen->calls == seen->stop_at;
}

static void stopped(void **state)
{
    (void)state;
    struct domconf c;
    disk_make("disk", BIG_BYTES, NOWHERE);
    conf_make(&c, spec_of("cow", "disk"));
    for (unsigned call = 1; call <= 2; call++) {
        struct seen seen = {.stop_at = call};
        struct error e = {0};
        assert_int_equal(fingerprints_take(&c, true, progress, &seen, &e), -ECANCELED);
        assert_int_equal(e.code, -ECANCELED);
        assert_says(e.text, "disk xvda");
        assert_int_equal(seen.calls, call);
        assert_int_equal(seen.total, BIG_BYTES);
        assert_false(c.disks[0].was.taken || c.disks[0].was.digested);
    }
    domconf_dispose(&c);
}

static void progress_to_the_end(void **state)
{
    (void)state;
    struct domconf c;
    struct seen seen = {0}, unseen = {.stop_at = 1};
    struct error e = {0};
    disk_make("disk", BIG_BYTES, NOWHERE);
    conf_make(&c, spec_of("cow", "disk"));
    must(fingerprints_take(&c, true, progress, &seen, &e), &e);
    assert_int_equal(seen.calls, 2);
    assert_int_equal(seen.done, BIG_BYTES);
    must(fingerprints_take(&c, false, progress, &unseen, &e), &e); /* reads nothing */
    assert_int_equal(unseen.calls, 0);
    domconf_dispose(&c);
}

/* ---- as JSON ---- */

static void reread(const struct domconf *c, struct domconf *back)
{
    struct error e = {0};
    char *text;
    must(domconf_to_json(c, &text, &e), &e);
    domconf_init(back);
    must(domconf_from_json(text, back, &e), &e);
    free(text);
}

static void expect_same_fingerprint(const struct domconf *c)
{
    struct domconf back;
    reread(c, &back);
    const struct disk_fingerprint *was = &c->disks[0].was, *is = &back.disks[0].was;
    assert_int_equal(is->taken, was->taken);
    assert_int_equal(is->bytes, was->bytes);
    assert_int_equal(is->mtime_ns, was->mtime_ns);
    assert_int_equal(is->digested, was->digested);
    assert_memory_equal(is->digest, was->digest, sizeof is->digest);
    domconf_dispose(&back);
}

static void json_round_trip(void **state)
{
    (void)state;
    struct domconf c;
    conf_make(&c, spec_of("cow", "disk"));
    expect_same_fingerprint(&c); /* none */
    disk_write("disk", "abc", 3);
    take(&c, false);
    expect_same_fingerprint(&c);
    take(&c, true);
    assert_true(c.disks[0].was.digested);
    expect_same_fingerprint(&c);
    c.disks[0].was.mtime_ns = INT64_MIN;
    c.disks[0].was.bytes = INT64_MAX;
    expect_same_fingerprint(&c);
    domconf_dispose(&c);
}

#define HEX_31 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
#define WAS(rest) "{\"bytes\":1,\"mtime_ns\":2" rest "}"

/* `was` of a configuration that is right otherwise. */
static int read_with(const char *was, struct domconf *back, struct error *e)
{
    struct domconf c;
    char *text;
    conf_make(&c, "cow:/disk");
    must(domconf_to_json(&c, &text, e), e);
    json_t *o = json_loads(text, 0, NULL), *value = json_loads(was, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    free(text);
    json_object_set_new(json_array_get(json_object_get(o, "disks"), 0), "was", value);
    text = json_dumps(o, 0);
    domconf_init(back);
    int rc = domconf_from_json(text, back, e);
    free(text);
    json_decref(o);
    domconf_dispose(&c);
    return rc;
}

/* What belongs to the slot alone was nothing before. */
static void scratch_has_none_in_json(void **state)
{
    (void)state;
    struct domconf c;
    struct error e = {0};
    char *text = NULL;
    conf_make(&c, "scratch:1M");
    must(domconf_to_json(&c, &text, &e), &e);
    domconf_dispose(&c);
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    json_object_set_new(json_array_get(json_object_get(o, "disks"), 0), "was",
                        json_pack("{s:i, s:i}", "bytes", 1, "mtime_ns", 2));
    text = json_dumps(o, 0);
    json_decref(o);
    assert_refused(domconf_from_json(text, &c, &e), &e, "does not fit its other keys");
    domconf_dispose(&c);
    free(text);
}

static void malformed_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "null",
        "7",
        "[]",
        "{}",
        "{\"bytes\":1}",
        "{\"mtime_ns\":2}",
        "{\"bytes\":-1,\"mtime_ns\":2}",
        "{\"bytes\":\"1\",\"mtime_ns\":2}",
        "{\"bytes\":1.5,\"mtime_ns\":2}",
        "{\"bytes\":1,\"mtime_ns\":null}",
        WAS(",\"surprise\":1"),
        WAS(",\"digest\":null"),
        WAS(",\"digest\":7"),
        WAS(",\"digest\":\"\""),
        WAS(",\"digest\":\"" HEX_31 "\""),
        WAS(",\"digest\":\"" HEX_31 "f\""),
        WAS(",\"digest\":\"" HEX_31 "fg\""),
        WAS(",\"digest\":\"" HEX_31 "ff00\""),
    };
    struct domconf c;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error e = {0};
        assert_refused(read_with(bad[i], &c, &e), &e, "disks[0]: was: ");
        domconf_dispose(&c);
    }
    struct error e = {0};
    must(read_with(WAS(",\"digest\":\"" HEX_31 "ff\""), &c, &e), &e);
    assert_true(c.disks[0].was.taken && c.disks[0].was.digested);
    assert_int_equal(c.disks[0].was.digest[31], 0xff);
    domconf_dispose(&c);
    must(read_with(WAS(""), &c, &e), &e);
    assert_true(c.disks[0].was.taken && !c.disks[0].was.digested);
    domconf_dispose(&c);
}

/* ---- images ---- */

static int import_with(const struct import_disk *disks, size_t n, bool digests,
                       int (*watch)(uint64_t done, uint64_t total, void *data), void *data,
                       struct error *e)
{
    static const char xl[] = XL(XL_DISK("xvda") "," XL_DISK("xvdb"));
    struct stream_build b;
    struct built f;
    struct source src;
    struct image_info info;
    struct import_options o = {.image_path = scratch_path(&dir, "x.img"),
                               .disks = disks,
                               .n_disks = n,
                               .disk_digests = digests,
                               .trusted = true,
                               .progress = watch,
                               .progress_data = data};
    stream_build_init_tiny(&b, IMAGE_GUEST_PV);
    stream_build_config(&b, xl);
    stream_build_bytes(&b, &f);
    source_init_memory(&src, f.bytes, f.size);
    int rc = import_source(&src, &o, &info, e);
    source_dispose(&src);
    built_dispose(&f);
    stream_build_dispose(&b);
    return rc;
}

/* An image with the disks xvda, cow of `disk`, and xvdb, ro of `other`. */
static struct image *image_make(bool digests)
{
    char cow[160], ro[160];
    struct error e = {0};
    struct image *im = NULL;
    disk_make("disk", BIG_BYTES, NOWHERE);
    disk_make("other", DISK_BYTES, NOWHERE);
    snprintf(cow, sizeof cow, "%s", spec_of("cow", "disk"));
    snprintf(ro, sizeof ro, "%s", spec_of("ro", "other"));
    const struct import_disk disks[] = {{"xvda", cow}, {"xvdb", ro}};
    must(import_with(disks, ARRAY_SIZE(disks), digests, NULL, NULL, &e), &e);
    must(image_open(scratch_path(&dir, "x.img"), &im, &e), &e);
    return im;
}

static void verify_ok(const struct image *im)
{
    struct error e = {0};
    must(fingerprints_verify(im, &e), &e);
}

static void verify_says(const struct image *im, const char *vdev, const char *name,
                        const char *what)
{
    struct error e = {0};
    expect_says_changed(fingerprints_verify(im, &e), &e, vdev, name, what);
}

/* Changed behind our back: size and time are as they were. */
static void verify_with_digests(void **state)
{
    (void)state;
    struct image *im = image_make(true);
    verify_ok(im);
    disk_make("disk", BIG_BYTES, 0);
    verify_says(im, "xvda", "disk", "content");
    disk_make("disk", BIG_BYTES, BIG_BYTES - 1);
    verify_says(im, "xvda", "disk", "content");
    disk_make("disk", BIG_BYTES, NOWHERE);
    verify_ok(im);
    disk_make("other", DISK_BYTES, 7);
    verify_says(im, "xvdb", "other", "content");
    mtime_set("other", DISK_MTIME_NS + 1); /* what matters more is said */
    verify_says(im, "xvdb", "other", "content");
    disk_make("other", DISK_BYTES, NOWHERE);
    mtime_set("other", DISK_MTIME_NS + 1);
    verify_says(im, "xvdb", "other", "time of change");
    disk_make("other", DISK_BYTES + 1, NOWHERE);
    verify_says(im, "xvdb", "other", "size");
    image_close(im);
}

static void verify_without_digests(void **state)
{
    (void)state;
    struct image *im = image_make(false);
    disk_make("disk", BIG_BYTES, 7);
    disk_make("other", DISK_BYTES, 7);
    verify_ok(im);
    mtime_set("other", DISK_MTIME_NS + 1);
    verify_says(im, "xvdb", "other", "time of change");
    disk_make("disk", BIG_BYTES - 1, NOWHERE);
    verify_says(im, "xvda", "disk", "size");
    image_close(im);
}

static void verify_misses_disk(void **state)
{
    (void)state;
    struct error e = {0};
    struct image *im = image_make(true);
    unlink(scratch_path(&dir, "other"));
    assert_int_equal(fingerprints_verify(im, &e), -ENOENT);
    assert_says(e.text, scratch_path(&dir, "other"));
    image_close(im);
}

static void import_stopped(void **state)
{
    (void)state;
    struct seen seen = {.stop_at = 2};
    struct error e = {0};
    disk_make("disk", BIG_BYTES, NOWHERE);
    const struct import_disk disk = {"xvda", spec_of("cow", "disk")};
    assert_int_equal(import_with(&disk, 1, true, progress, &seen, &e), -ECANCELED);
    assert_int_equal(seen.done, BIG_BYTES);
    assert_int_equal(scratch_files(&dir, false), 1); /* the disk */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(files),
        TEST_IN_DIR(an_empty_file),
        TEST_IN_DIR(before_1970),
        TEST_IN_DIR(after_2262),
        TEST_IN_DIR(digest_is_blake2b),
        TEST_IN_DIR(check_reads_no_content),
        TEST_IN_DIR(phy_by_size_alone),
        TEST_IN_DIR(scratch_has_none),
        TEST_IN_DIR(missing_at_take),
        TEST_IN_DIR(missing_among_others),
        TEST_IN_DIR(missing_at_check),
        cmocka_unit_test_setup_teardown(directories_and_fifos, NULL, clean_directory),
        TEST_IN_DIR(stopped),
        TEST_IN_DIR(progress_to_the_end),
        TEST_IN_DIR(json_round_trip),
        TEST_IN_DIR(malformed_json),
        TEST_IN_DIR(scratch_has_none_in_json),
        TEST_IN_DIR(verify_with_digests),
        TEST_IN_DIR(verify_without_digests),
        TEST_IN_DIR(verify_misses_disk),
        TEST_IN_DIR(import_stopped),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
