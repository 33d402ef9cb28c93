/*
 * restore/imaging/confined.h: each piece of work with its reading done by a process without rights,
 * on real files. What comes out is what the work makes here, with all rights.
 */
#include "tests/unit/derive_guest.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "restore/formats/domconf.h"
#include "restore/formats/records.h"
#include "restore/imaging/confined.h"
#include "restore/imaging/made.h"
#include "restore/imaging/worker.h"
#include "restore/protocol/image_made.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct confined by;

/* Paths of more files than scratch_path keeps at a time. */
static const char *file(const char *name)
{
    static char paths[32][128];
    const char *path = scratch_path(&dir, name);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (!paths[i][0])
            snprintf(paths[i], sizeof paths[i], "%s", path);
        if (!strcmp(paths[i], path))
            return paths[i];
    }
    fail_msg("more files than expected");
    return NULL;
}

static void save_write(struct stream_build *b, const char *name)
{
    struct built f;
    stream_build_bytes(b, &f);
    scratch_write(&dir, name, f.bytes, f.size);
    built_dispose(&f);
}

static void made_is(json_t *made, const char *path)
{
    struct image_info info;
    struct image *im = open_image(path);
    json_t *config;
    assert_true(image_made_from_json(made, &info, &config));
    assert_memory_equal(&info, image_info(im), sizeof info);
    json_t *own = json_loads(image_config(im), 0, NULL);
    assert_true(json_equal(config, own));
    json_decref(own);
    json_decref(made);
    image_close(im);
}

static void imports(const char *save, const char *path, const char *base,
                    const struct import_disk *disk)
{
    json_t *dirs = json_pack("[s]", dir.dir);
    const struct import_options o = {.save_path = save,
                                     .image_path = path,
                                     .consent.dirs = dirs,
                                     .base_path = base,
                                     .disks = disk,
                                     .n_disks = disk != NULL,
                                     .disk_digests = true};
    struct error e = {0};
    json_t *made = NULL;
    must(confined_import(&by, &o, &made, &e), &e);
    made_is(made, path);
    json_decref(dirs);
}

static void exports(const char *image, const char *base, const char *save)
{
    const struct export_options o = {.image_path = image, .base_path = base, .save_path = save};
    struct error e = {0};
    must(confined_export(&by, &o, &e), &e);
}

static void same_bytes(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    assert_int_equal(read_file(a, 1u << 28, &x, &n, NULL), 0);
    assert_int_equal(read_file(b, 1u << 28, &y, &m, NULL), 0);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void verifies(const char *path, int code, const char *part)
{
    struct error e = {0};
    json_t *made = NULL;
    assert_int_equal(confined_verify(&by, path, true, NULL, NULL, &made, &e), code);
    if (code)
        assert_says(e.text, part);
    else
        made_is(made, path);
}

static void diff_is(const char *a, const char *b, const char *b_base, json_int_t pages)
{
    const struct confined_side sides[2] = {{a, NULL}, {b, b_base}};
    struct error e = {0};
    json_t *d = NULL;
    must(confined_diff(&by, sides, NULL, NULL, &d, &e), &e);
    assert_int_equal(json_integer_value(json_object_get(d, "pages")), pages);
    json_decref(d);
}

/* Import, derive, verify, diff, export, and the way back. */
static void all_work(enum image_guest guest)
{
    const char *base = file("base.img"), *delta = file("delta.img");
    struct stream_build b;
    guest_init(&b, guest);
    unsigned others = scratch_files(&dir, false);
    save_write(&b, "s");
    imports(file("s"), base, NULL, NULL);
    stream_build_page(&b, code_pfn(&b))[PAGE_BYTES - 100] ^= 1;
    save_write(&b, "t");
    imports(file("t"), delta, base, NULL);
    struct image *im = open_image(delta);
    assert_false(image_is_base(image_info(im)));
    image_close(im);
    verifies(base, 0, NULL);
    verifies(delta, 0, NULL);
    diff_is(base, delta, base, 1);
    exports(base, NULL, file("e"));
    exports(delta, base, file("f"));
    const struct export_options here = {
        .image_path = delta, .base_path = base, .save_path = file("g")};
    struct error e = {0};
    must(export_save_file(&here, &e), &e);
    same_bytes(file("f"), file("g"));
    imports(file("f"), file("whole.img"), NULL, NULL);
    diff_is(base, file("whole.img"), NULL, 1);
    assert_int_equal(scratch_files(&dir, true), others + 8);
    stream_build_dispose(&b);
}

static void works(void **state)
{
    (void)state;
    all_work(PV);
    all_work(PVH);
}

/* A disk is looked at by the process that has the rights, and by no other. */
static void disks(void **state)
{
    struct stream_build b;
    char spec[PATH_MAX + 8];
    struct domconf c;
    struct error e = {0};
    (void)state;
    scratch_write(&dir, "disk", "the content of a disk", 21);
    assert_int_equal(chmod(file("disk"), 0600), 0);
    snprintf(spec, sizeof spec, "cow:%s", file("disk"));
    guest_init(&b, PV);
    save_write(&b, "s");
    stream_build_dispose(&b);
    const char *image = file("x.img");
    imports(file("s"), image, NULL, &(struct import_disk){"xvda", spec});
    struct image *im = open_image(image);
    domconf_init(&c);
    must(domconf_from_json(image_config(im), &c, &e), &e);
    struct disk_fingerprint here;
    assert_true(c.n_disks && !strcmp(c.disks[0].vdev, "xvda"));
    must(fingerprint_look(&c.disks[0], true, NULL, NULL, &here, &e), &e);
    assert_true(here.taken && here.digested && here.bytes == 21);
    assert_memory_equal(&c.disks[0].was, &here, sizeof here);
    domconf_dispose(&c);
    image_close(im);
    verifies(image, 0, NULL);
    scratch_write(&dir, "disk", "the content of a disc", 21);
    verifies(image, ANSWER_IMAGE_BROKEN, "disk xvda");
    unlink(file("disk"));
    verifies(image, -EIO, "No such file"); /* a code of the worker's own */
}

/* ---- consent ---- */

#define KERNEL ",\"bootloader\":\"/bin/sh\",\"kernel\":\"/boot/k\""
#define MEMORY "\"max_memkb\":4096"

/* The save file "s", with its disk xvda at a path, and more in its b_info. */
static void save_asks(const char *path, const char *more)
{
    struct stream_build b;
    char disk[128], memory[200];
    guest_init(&b, PV);
    snprintf(disk, sizeof disk, "%s/disk", dir.dir);
    snprintf(memory, sizeof memory, MEMORY "%s", more);
    config_replace(&b, disk, path ? path : disk);
    config_replace(&b, MEMORY, memory);
    save_write(&b, "s");
    stream_build_dispose(&b);
}

/* The worker can look at no path: it is told what lies below disk_dirs, and what it has missed or
 * left out is heard by whoever asked. */
static void consent(void **state)
{
    struct import_remarks remarks = {NULL, NULL};
    json_t *dirs = json_pack("[s]", dir.dir), *made = NULL;
    struct import_options o = {.save_path = file("s"),
                               .image_path = file("asked.img"),
                               .remarks = &remarks,
                               .consent.dirs = dirs};
    struct error e = {0};
    (void)state;
    save_asks("/etc/passwd", KERNEL);
    unsigned before = scratch_files(&dir, false);
    assert_int_equal(confined_import(&by, &o, &made, &e), ANSWER_DISKS_NOT_ALLOWED);
    assert_says(e.text, "xvda=cow:/etc/passwd");
    assert_int_equal(json_object_size(remarks.missing), 1); /* the other one is below dir */
    assert_string_equal(json_string_value(json_object_get(remarks.missing, "xvda")),
                        "cow:/etc/passwd");
    assert_null(made);
    assert_int_equal(scratch_files(&dir, false), before);
    import_remarks_dispose(&remarks);
    o.disks = &(struct import_disk){"xvda", "scratch:1M"};
    o.n_disks = 1;
    must(confined_import(&by, &o, &made, &e), &e);
    made_is(made, o.image_path);
    assert_null(remarks.missing);
    assert_int_equal(json_array_size(remarks.left_out), 2);
    assert_says(json_string_value(json_array_get(remarks.left_out, 0)), "b_info.bootloader");
    assert_says(json_string_value(json_array_get(remarks.left_out, 1)), "b_info.kernel");
    import_remarks_dispose(&remarks);
    json_decref(dirs);
}

/* The descriptor of a save file that somebody else has opened is used, and closed. */
static void passed(void **state)
{
    struct import_options o = {.save_path = "/nonexistent", .image_path = file("passed.img")};
    json_t *dirs = json_pack("[s]", dir.dir), *made = NULL;
    struct error e = {0};
    (void)state;
    save_asks(NULL, "");
    o.consent.dirs = dirs;
    o.save_fd = open(file("s"), O_RDONLY | O_CLOEXEC);
    must(confined_import(&by, &o, &made, &e), &e);
    made_is(made, o.image_path);
    assert_int_equal(fcntl(o.save_fd, F_GETFD), -1);
    json_decref(dirs);
}

static void made_refused(const struct import_options *o, const char *xl_config, int code,
                         const char *text)
{
    struct image *im = open_image(o->image_path);
    struct error e = {0};
    assert_int_equal(made_check(o, xl_config, xl_config ? strlen(xl_config) : 0, im, &e), code);
    if (code)
        assert_says(e.text, text);
    image_close(im);
}

/* Made by a process that nobody else has a hold on: what save_asks has is all in it. */
static void make_bad(const char *path, const char *disk, const char *more)
{
    const struct import_options o = {.save_path = file("s"), .image_path = path, .trusted = true};
    struct image_info info;
    struct error e = {0};
    save_asks(disk, more);
    must(import_save_file(&o, &info, &e), &e);
}

/* What a worker that was taken over may write: it is found out by who names the file. */
static void liars(void **state)
{
    const struct import_disk other = {"xvda", "ro:/dev/other"}, none = {"xvdz", "ro:/dev/other"};
    json_t *dirs = json_pack("[s]", dir.dir);
    struct import_options o = {.image_path = file("disk.img"), .consent.dirs = dirs};
    (void)state;
    make_bad(file("disk.img"), "/etc/passwd", "");
    make_bad(file("kernel.img"), NULL, KERNEL);
    make_bad(file("good.img"), NULL, "");
    made_refused(&o, NULL, ANSWER_DISKS_NOT_ALLOWED, "/etc/passwd");
    o.n_disks = 1;
    o.disks = &other;
    made_refused(&o, NULL, -EPROTO, "wrote disks that nobody");
    o.image_path = file("kernel.img");
    o.n_disks = 0;
    made_refused(&o, NULL, -EPROTO, "configuration for xl that nobody");
    o.image_path = file("good.img");
    made_refused(&o, NULL, 0, NULL);
    o.n_disks = 1;
    o.disks = &none;
    made_refused(&o, NULL, -EPROTO, "wrote disks");
    json_decref(dirs);
}

/* The same of a capture, whose configuration comes from this process. */
static void liars_of_a_capture(void **state)
{
    const struct import_options o = {.image_path = file("captured.img"), .trusted = true};
    struct image_record r;
    char text[2048], *at;
    (void)state;
    make_bad(o.image_path, NULL, "");
    struct image *im = open_image(o.image_path);
    assert_true(image_find_record(im, IMAGE_RECORD_XL_CONFIG, 0, &r));
    assert_true(r.length < sizeof text);
    snprintf(text, sizeof text, "%.*s", (int)r.length, (const char *)r.body);
    image_close(im);
    made_refused(&o, text, 0, NULL);
    assert_non_null(at = strstr(text, "/data"));
    at[1] = 'x';
    made_refused(&o, text, -EPROTO, "wrote disks that nobody");
    at[1] = 'd';
    assert_non_null(at = strstr(text, "\"max_vcpus\""));
    at[1] = 'x';
    made_refused(&o, text, -EPROTO, "that nobody asked for");
    at[1] = 'm';
    assert_non_null(at = strstr(text, "\"name\":\"d\""));
    at[8] = 'e';
    made_refused(&o, text, -EPROTO, "configuration for xl that nobody");
}

/* Refusals are those of the work itself, and leave nothing. */
static void refusals(void **state)
{
    struct import_options o = {.save_path = file("s"), .image_path = file("x.img")};
    struct error e = {0};
    struct stream_build b;
    json_t *made = NULL;
    (void)state;
    assert_int_equal(confined_import(&by, &o, &made, &e), ANSWER_BAD_VALUE);
    scratch_write(&dir, "s", "no save file at all, but longer than a header of xl's", 53);
    assert_int_equal(confined_import(&by, &o, &made, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "not written by `xl save`");
    guest_init(&b, PV);
    save_write(&b, "s");
    unsigned before = scratch_files(&dir, false);
    o.base_path = file("none.img");
    assert_int_equal(confined_import(&by, &o, &made, &e), -ENOENT);
    o.base_path = o.save_path;
    assert_int_equal(confined_import(&by, &o, &made, &e), ANSWER_IMAGE_REFUSED);
    assert_int_equal(scratch_files(&dir, false), before);
    o.base_path = NULL;
    scratch_write(&dir, "x.img", "x", 1);
    assert_int_equal(confined_import(&by, &o, &made, &e), -EEXIST);
    assert_null(made);
    verifies(o.image_path, ANSWER_IMAGE_REFUSED, "shorter than a header");
    const struct export_options x = {.image_path = o.image_path, .save_path = o.save_path};
    assert_int_equal(confined_export(&by, &x, &e), -EEXIST);
    assert_int_equal(scratch_files(&dir, false), before + 1);
    stream_build_dispose(&b);
}

static unsigned asked;

static bool at_once(void)
{
    asked++;
    return true;
}

static void stopped(void **state)
{
    const struct confined stops = {.user = by.user, .stopped = at_once};
    const struct import_options o = {.save_path = file("s"), .image_path = file("x.img")};
    struct error e = {0};
    struct stream_build b;
    json_t *made = NULL;
    (void)state;
    guest_init(&b, PV);
    save_write(&b, "s");
    stream_build_dispose(&b);
    unsigned before = scratch_files(&dir, false);
    assert_int_equal(confined_import(&stops, &o, &made, &e), -ECANCELED);
    assert_true(asked);
    assert_null(made);
    assert_int_equal(scratch_files(&dir, false), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
}

/* ---- workers that are not what they should be ---- */

static int work_dies(void *data, json_t **result, struct error *e)
{
    (void)data, (void)result, (void)e;
    __builtin_trap();
}

static int work_exits(void *data, json_t **result, struct error *e)
{
    (void)data, (void)result, (void)e;
    _exit(7);
}

/* Asks about more disks than any image has. */
static int work_asks(void *data, json_t **result, struct error *e)
{
    struct disk_conf d = {.path = (char *)"/etc/passwd"};
    struct disk_fingerprint f;
    int rc = disk_conf_name(&d, "xvda", e);
    (void)data, (void)result;
    for (int i = 0; i < 2000 && !rc; i++)
        rc = worker_eyes.look(&d, false, worker_eyes.data, &f, e);
    return rc;
}

/* Follows more paths than any save file has. */
static int work_follows(void *data, json_t **result, struct error *e)
{
    bool any = false;
    (void)data, (void)result;
    for (int i = 0; i < 2000; i++)
        any |= worker_consent("/etc/passwd");
    return error_set(e, ANSWER_BAD_VALUE, any ? "allowed" : "not allowed");
}

/* What it leaves when it fails goes only to who wants it. */
static int work_leaves(void *data, json_t **result, struct error *e)
{
    (void)data;
    *result = json_pack("{s:s}", "xvda", worker_consent("/etc/passwd") ? "allowed" : "not allowed");
    return error_set(e, ANSWER_DISKS_NOT_ALLOWED, "no disks");
}

/* Garbage instead of a message: its socket is the only one it has. */
static int work_talks(void *data, json_t **result, struct error *e)
{
    static const char text[] = "{\"event\":\"done\",\"result\":7}";
    (void)data, (void)result, (void)e;
    for (int fd = 3; fd < 64; fd++)
        (void)!write(fd, text, sizeof text);
    _exit(0);
}

static void bad_workers(void **state)
{
    static const struct {
        int (*run)(void *data, json_t **result, struct error *e);
        int code;
        const char *text;
    } cases[] = {
        {work_dies, -EIO, "killed by signal 4"},
        {work_exits, -EIO, "exited with status 7"},
        {work_asks, -EPROTO, "asked for too much"},
        {work_follows, -EPROTO, "asked for too much"},
        {work_leaves, ANSWER_DISKS_NOT_ALLOWED, "no disks"},
        {work_talks, -EPROTO, "must not say"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct worker w = {.user = &by.user, .run = cases[i].run, .heap_bytes = 1u << 24};
        struct error e = {0};
        json_t *result;
        signal(SIGILL, SIG_DFL); /* cmocka's handler is no worker's */
        assert_int_equal(worker_run(&w, &result, &e), cases[i].code);
        assert_says(e.text, cases[i].text);
        assert_null(result);
    }
}

static void failures_with_details(void **state)
{
    json_t *dirs = json_pack("[s]", "/etc"), *left = NULL, *result;
    struct consent allowed = {.dirs = dirs};
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct worker w = {.user = &by.user,
                                 .run = work_leaves,
                                 .heap_bytes = 1u << 24,
                                 .consent = i ? &allowed : NULL,
                                 .failed = &left};
        struct error e = {0};
        assert_int_equal(worker_run(&w, &result, &e), ANSWER_DISKS_NOT_ALLOWED);
        assert_null(result);
        assert_string_equal(json_string_value(json_object_get(left, "xvda")),
                            i ? "allowed" : "not allowed");
        json_decref(left);
    }
    json_decref(dirs);
}

static int setup(void **state)
{
    struct error e;
    if (confine_user_find(CONFINE_USER, &by.user, &e))
        return -1;
    return dir_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(works),       TEST_IN_DIR(disks),
        TEST_IN_DIR(consent),     TEST_IN_DIR(passed),
        TEST_IN_DIR(liars),       TEST_IN_DIR(liars_of_a_capture),
        TEST_IN_DIR(refusals),    TEST_IN_DIR(stopped),
        TEST_IN_DIR(bad_workers), TEST_IN_DIR(failures_with_details),
    };
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
