/*
 * restore/imaging/image_import.h and the helper dompool-image: what ends up in the image, and
 * that a refused, failed, stopped or killed import leaves nothing behind.
 */
#include "tests/unit/check.h"
#include "tests/unit/image_helper.h"

#include "base/array.h"
#include "base/io.h"
#include "base/message.h"
#include "base/page.h"
#include "restore/formats/domconf.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_import.h"
#include "restore/protocol/protocol.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PV IMAGE_GUEST_PV
#define PVH IMAGE_GUEST_PVH

static int setup(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return dir_setup(state);
}

static struct image *import_and_open(struct stream_build *b, struct image_info *info)
{
    struct error e = {0};
    struct image *im = NULL;
    const char *path = scratch_path(&dir, "x.img");
    if (stream_build_import(b, path, info, &e) || image_open(path, &im, &e) || image_verify(im, &e))
        fail_msg("%s", e.text);
    return im;
}

/* Every record but PAGE_DATA and END, in order and to the byte, behind our own two. */
static void check_records(const struct stream_build *b, const struct image *im)
{
    struct image_record r;
    struct image_record_origin origin;
    size_t cursor = 0;
    assert_true(image_next_record(im, &cursor, &r));
    assert_int_equal(r.type, IMAGE_RECORD_XL_CONFIG);
    assert_int_equal(r.length, strlen(b->config));
    assert_memory_equal(r.body, b->config, r.length);
    assert_true(image_next_record(im, &cursor, &r));
    assert_int_equal(r.type, IMAGE_RECORD_ORIGIN);
    assert_int_equal(r.length, sizeof origin);
    memcpy(&origin, r.body, sizeof origin);
    assert_int_equal(origin.stream_version, b->version);
    assert_int_equal(origin.xen_major, 4);
    assert_int_equal(origin.xen_minor, 17);
    for (unsigned i = 0; i < b->n; i++) {
        const struct build_record *was = &b->records[i];
        if (was->type == RECORD_PAGE_DATA || was->type == RECORD_END)
            continue;
        assert_true(image_next_record(im, &cursor, &r));
        assert_int_equal(r.type, was->type);
        assert_int_equal(r.length, was->length);
        if (r.length)
            assert_memory_equal(r.body, was->body, r.length);
    }
    assert_false(image_next_record(im, &cursor, &r));
}

static void pv_guest(void **state)
{
    (void)state;
    struct stream_build b;
    struct image_info info;
    stream_build_init(&b, PV);
    struct image *im = import_and_open(&b, &info);
    check_records(&b, im);
    assert_int_equal(info.guest, PV);
    assert_int_equal(info.vcpus, 2);
    assert_int_equal(info.max_pfn, BUILD_PV_MAX_PFN);
    assert_int_equal(info.entries, BUILD_PFN_ZERO);
    for (uint64_t pfn = 0; pfn <= BUILD_PV_MAX_PFN; pfn++) {
        const struct image_page *p = image_find(im, pfn);
        if (!pfn || pfn > BUILD_PFN_ZERO) {
            assert_null(p);
            continue;
        }
        assert_int_equal(p->pfn_type, get_u64(stream_build_entry(&b, pfn)));
        assert_memory_equal(image_payload(im, p->payload), stream_build_page(&b, pfn), PAGE_BYTES);
    }
    assert_true(image_find(im, BUILD_PFN_ZERO)->payload == IMAGE_PAGE_ZERO);
    assert_int_equal(info.zero_pages + info.payload_pages, info.entries);
    struct domconf c;
    struct error e = {0};
    domconf_init(&c);
    assert_int_equal(domconf_from_json(image_config(im), &c, &e), 0);
    assert_string_equal(c.name, "test");
    assert_int_equal(c.disks[0].kind, DISK_COW);
    domconf_dispose(&c);
    image_close(im);
    stream_build_dispose(&b);
}

static void pvh_guest(void **state)
{
    (void)state;
    struct stream_build b;
    struct image_info info;
    stream_build_init(&b, PVH);
    b.version = 3;
    struct image *im = import_and_open(&b, &info);
    check_records(&b, im);
    assert_int_equal(info.guest, PVH);
    assert_int_equal(info.entries, 4);
    assert_int_equal(info.zero_pages, 3);
    assert_int_equal(info.max_pfn, BUILD_PVH_CONSOLE);
    assert_null(image_find(im, 2));
    image_close(im);
    stream_build_dispose(&b);
}

/* Erratum 1 of the specification: empty records do not reach the image. */
static void empty_records(void **state)
{
    (void)state;
    struct stream_build b;
    struct image_info info;
    stream_build_init(&b, PV);
    stream_build_find(&b, RECORD_X86_PV_VCPU_XSAVE, 0)->length = 8;
    struct image *im = import_and_open(&b, &info);
    stream_build_remove(&b, stream_build_find(&b, RECORD_X86_PV_VCPU_XSAVE, 0));
    check_records(&b, im);
    image_close(im);
    stream_build_dispose(&b);
}

/* One more PAGE_DATA record with these entries; page i is filled with `fill` + i. */
static void more_pages(struct stream_build *b, const uint64_t *entries, uint32_t n, uint8_t fill)
{
    uint8_t *body = calloc(1, 8 + n * 8 + n * (size_t)PAGE_BYTES), *at = body + 8 + n * 8;
    put_u32(body, n);
    for (uint32_t i = 0; i < n; i++) {
        put_u64(body + 8 + (size_t)i * 8, entries[i]);
        if (entries[i] >> IMAGE_TYPE_SHIFT >= PAGE_BROKEN)
            continue;
        memset(at, fill + (int)i, PAGE_BYTES);
        at += PAGE_BYTES;
    }
    struct build_record *r = stream_build_find(b, RECORD_X86_TSC_INFO, 0);
    stream_build_insert(b, stream_build_index(b, r), RECORD_PAGE_DATA, body, (uint32_t)(at - body));
    free(body);
}

/* As a live migration does: pages again, in any order, some gone, some new. */
static void last_one_wins(void **state)
{
    (void)state;
    const uint64_t xtab = (uint64_t)PAGE_XTAB << IMAGE_TYPE_SHIFT;
    const uint64_t first[] = {19, BUILD_PFN_DATA, 15, BUILD_PFN_ZERO | xtab};
    const uint64_t second[] = {16, BUILD_PFN_DATA, 19 | xtab, 15};
    struct stream_build b;
    struct image_info info;
    stream_build_init(&b, PV);
    put_u64(stream_build_page(&b, BUILD_PFN_L1) + BUILD_PFN_ZERO * 8, 0); /* it goes away */
    more_pages(&b, first, ARRAY_SIZE(first), 1);
    more_pages(&b, second, ARRAY_SIZE(second), 20);
    struct image *im = import_and_open(&b, &info);
    assert_int_equal(info.entries, BUILD_PFN_ZERO - 1 + 2);
    assert_null(image_find(im, 19));
    assert_null(image_find(im, BUILD_PFN_ZERO));
    const uint8_t *data = image_payload(im, image_find(im, BUILD_PFN_DATA)->payload);
    const uint8_t *again = image_payload(im, image_find(im, 15)->payload);
    const uint8_t *new = image_payload(im, image_find(im, 16)->payload);
    assert_int_equal(data[0], 21);
    assert_int_equal(again[4095], 23);
    assert_int_equal(new[0], 20);
    image_close(im);
    stream_build_dispose(&b);
}

static void too_much_memory(void **state)
{
    (void)state;
    struct stream_build b;
    struct error e = {0};
    struct image_info info;
    stream_build_init_tiny(&b, PVH);
    uint64_t entries[1100];
    for (uint64_t i = 0; i < ARRAY_SIZE(entries); i++)
        entries[i] = i + 1;
    more_pages(&b, entries, ARRAY_SIZE(entries), 1);
    int rc = stream_build_import(&b, scratch_path(&dir, "x.img"), &info, &e);
    assert_refused(rc, &e, "1101 pages of memory");
    assert_int_equal(scratch_files(&dir, false), 0);
    stream_build_dispose(&b);
}

/* ---- failures ---- */

/* A PVH guest with a few MiB, so that a helper is busy for a moment. */
static void write_big_save_file(void)
{
    struct stream_build b;
    uint64_t entries[900];
    stream_build_init_tiny(&b, PVH);
    stream_build_config(&b, "{\"c_info\":{\"type\":\"pvh\"},\"b_info\":{\"max_memkb\":65536}}");
    for (unsigned k = 0; k < 16; k++) {
        for (uint64_t i = 0; i < ARRAY_SIZE(entries); i++)
            entries[i] = 1 + k * ARRAY_SIZE(entries) + i;
        more_pages(&b, entries, ARRAY_SIZE(entries), 1);
    }
    write_save_file(&b);
    stream_build_dispose(&b);
}

static void every_write_fails(void **state)
{
    (void)state;
    struct stream_build b;
    struct error e = {0};
    struct image_info info;
    struct rlimit old, small;
    unsigned failures = 0;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    stream_build_init(&b, PV);
    for (rlim_t limit = 0;; limit += PAGE_BYTES) {
        small = old;
        small.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = stream_build_import(&b, scratch_path(&dir, "x.img"), &info, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (!rc)
            break;
        assert_int_equal(rc, -EFBIG);
        assert_int_equal(scratch_files(&dir, false), 0);
        failures++;
    }
    assert_true(failures > 10);
    stream_build_dispose(&b);
}

static void refusals_leave_nothing(void **state)
{
    (void)state;
    struct stream_build b;
    struct built f;
    struct image_info info;
    stream_build_init(&b, PV);
    stream_build_bytes(&b, &f);
    for (size_t size = 0; size < f.size; size += 997) {
        struct source src;
        struct error e = {0};
        struct import_options o = {.image_path = scratch_path(&dir, "x.img"), .trusted = true};
        source_init_memory(&src, f.bytes, size);
        assert_refused(import_source(&src, &o, &info, &e), &e, "truncated?");
        assert_int_equal(scratch_files(&dir, false), 0);
    }
    built_dispose(&f);
    stream_build_dispose(&b);
}

static int progress_stop(uint64_t done, uint64_t total, void *data)
{
    (void)total;
    unsigned *calls = data;
    return done && ++*calls > 3;
}

static void from_a_file(void **state)
{
    (void)state;
    const char *save = scratch_path(&dir, "s"), *image = scratch_path(&dir, "x.img");
    struct error e = {0};
    struct image_info info;
    unsigned calls = 0;
    const struct import_disk disk = {"xvda", "ro:/dev/x"}, wrong = {"xvdb", "ro:/dev/x"};
    struct stream_build b;
    stream_build_init(&b, PV);
    write_save_file(&b);
    stream_build_dispose(&b);
    struct import_options o = {
        .save_path = save, .image_path = image, .disks = &wrong, .n_disks = 1};
    assert_int_equal(import_save_file(&o, &info, &e), ANSWER_BAD_VALUE);
    o.disks = &disk;
    assert_int_equal(import_save_file(&o, &info, &e), 0);
    assert_int_equal(import_save_file(&o, &info, &e), -EEXIST);
    unlink(image);
    write_big_save_file();
    o.n_disks = 0;
    o.trusted = true;
    o.progress = progress_stop;
    o.progress_data = &calls;
    assert_int_equal(import_save_file(&o, &info, &e), -ECANCELED);
    assert_int_equal(scratch_files(&dir, false), 1); /* the save file */
    o.save_path = "/nonexistent";
    assert_int_equal(import_save_file(&o, &info, &e), ANSWER_BAD_VALUE);
    assert_says(e.text, "/nonexistent");
    o.save_path = "/dev/null/x";
    assert_int_equal(import_save_file(&o, &info, &e), ANSWER_BAD_VALUE);
    o.save_path = dir.dir;
    assert_int_equal(import_save_file(&o, &info, &e), ANSWER_BAD_VALUE);
    assert_says(e.text, "directory");
}

/* ---- what the save file asks for ---- */

#define XL(b_info, pdev_path)                                                                      \
    "{\"c_info\":{\"type\":\"pv\",\"name\":\"x\"},\"b_info\":{\"max_vcpus\":2,\"avail_vcpus\":[0," \
    "1],"                                                                                          \
    "\"max_memkb\":4096" b_info "},\"disks\":[{\"pdev_path\":\"" pdev_path                         \
    "\",\"vdev\":\"xvda\",\"readwrite\":1}]}"

static int import_config(const char *xl, struct import_options *o, struct error *e)
{
    struct stream_build b;
    struct image_info info;
    stream_build_init(&b, PV);
    stream_build_config(&b, xl);
    write_save_file(&b);
    stream_build_dispose(&b);
    o->save_path = scratch_path(&dir, "s");
    o->image_path = scratch_path(&dir, "x.img");
    return import_save_file(o, &info, e);
}

/* The configuration that exports and userdata get. */
static json_t *kept_config(void)
{
    struct image *im;
    struct image_record r;
    struct error e = {0};
    size_t cursor = 0;
    assert_int_equal(image_open(scratch_path(&dir, "x.img"), &im, &e), 0);
    while (image_next_record(im, &cursor, &r) && r.type != IMAGE_RECORD_XL_CONFIG)
        ;
    json_t *config = json_loadb(r.body, r.length, 0, NULL);
    image_close(im);
    assert_non_null(config);
    return config;
}

static const char *kept_path(const json_t *config)
{
    const json_t *disk = json_array_get(json_object_get(config, "disks"), 0);
    return json_string_value(json_object_get(disk, "pdev_path"));
}

/* Refused before a byte is written, with everything that has to be named. */
static void disks_need_consent(void **state)
{
    (void)state;
    struct import_remarks remarks = {NULL, NULL};
    struct import_options o = {.remarks = &remarks};
    struct error e = {0};
    assert_int_equal(import_config(XL("", "/etc/shadow"), &o, &e), ANSWER_DISKS_NOT_ALLOWED);
    assert_says(e.text, "xvda=cow:/etc/shadow");
    assert_string_equal(json_string_value(json_object_get(remarks.missing, "xvda")),
                        "cow:/etc/shadow");
    assert_int_equal(scratch_files(&dir, false), 1); /* the save file */
    import_remarks_dispose(&remarks);
    const struct import_disk named = {"d0p0", "cow:/dev/mine"}; /* another name of xvda */
    o.disks = &named;
    o.n_disks = 1;
    assert_int_equal(import_config(XL("", "/etc/shadow"), &o, &e), 0);
    json_t *config = kept_config();
    assert_string_equal(kept_path(config), "/dev/mine");
    json_decref(config);
    import_remarks_dispose(&remarks);
}

/* A disk that is empty leaves no path of the save file behind. */
static void scratch_forgets_the_path(void **state)
{
    (void)state;
    struct error e = {0};
    const struct import_disk named = {"xvda", "scratch:1M"};
    struct import_options o = {.disks = &named, .n_disks = 1};
    assert_int_equal(import_config(XL("", "/etc/shadow"), &o, &e), 0);
    json_t *config = kept_config();
    assert_string_equal(kept_path(config), "/dev/null");
    json_decref(config);
}

static void programs_are_not_kept(void **state)
{
    (void)state;
    struct error e = {0};
    struct import_remarks remarks = {NULL, NULL};
    json_t *root = json_pack("[s]", "/");
    struct import_options o = {.remarks = &remarks, .consent.dirs = root};
    assert_int_equal(import_config(XL(",\"bootloader\":\"/bin/sh\"", "/dev/null"), &o, &e), 0);
    json_t *config = kept_config();
    assert_null(json_object_get(json_object_get(config, "b_info"), "bootloader"));
    assert_string_equal(kept_path(config), "/dev/null");
    assert_says(json_string_value(json_array_get(remarks.left_out, 0)), "b_info.bootloader");
    json_decref(config);
    json_decref(root);
    import_remarks_dispose(&remarks);
}

/* What is kept for xl is JSON, whatever encoding the name had. */
static void name_is_no_utf8(void **state)
{
    (void)state;
    struct error e = {0};
    struct import_options o = {.trusted = true};
    assert_int_equal(import_config("{\"c_info\":{\"type\":\"pv\",\"name\":\"caf\xe9\"},\"b_info\":"
                                   "{\"max_vcpus\":2,\"avail_vcpus\":[0,1],\"max_memkb\":4096}}",
                                   &o, &e),
                     0);
    json_t *config = kept_config();
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(config, "c_info"), "name")), "caf?");
    json_decref(config);
}

static void control_characters(void **state)
{
    (void)state;
    struct error e = {0};
    struct import_options o = {.trusted = true};
    assert_refused(import_config(XL("", "/dev/\\u001b[31m"), &o, &e), &e, "control character");
}

/* ---- the helper process ---- */

static void helper_imports(void **state)
{
    (void)state;
    const char *save = scratch_path(&dir, "s"), *image = scratch_path(&dir, "x.img");
    struct helper h;
    struct stream_build b;
    stream_build_init(&b, PV);
    write_save_file(&b);
    stream_build_dispose(&b);
    helper_start(&h);
    helper_ask(&h, save, image);
    json_t *o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "done");
    json_t *info = json_object_get(o, "result");
    assert_string_equal(json_string_value(json_object_get(info, "guest")), "pv");
    assert_int_equal(json_integer_value(json_object_get(info, "entries")), BUILD_PFN_ZERO);
    assert_string_equal(json_string_value(json_object_get(json_object_get(info, "config"), "name")),
                        "test");
    json_decref(o);
    assert_int_equal(helper_end(&h), 0);
    assert_int_equal(scratch_files(&dir, false), 2);
    helper_start(&h); /* the image is there now */
    helper_ask(&h, save, image);
    o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "failed");
    assert_says(json_string_value(json_object_get(o, "error")), "exists already");
    json_decref(o);
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
}

/* A writer that takes its time, on a pipe whose other end does not wait by itself. */
static pid_t pipe_writer(const char *path, int *out)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    pid_t pid = fork();
    if (!pid) {
        char *bytes;
        size_t len;
        if (read_file(path, 1 << 20, &bytes, &len, NULL))
            _exit(1);
        for (size_t at = 0; at < len; at += 5000) {
            usleep(1000);
            (void)!write(ends[1], bytes + at, len - at < 5000 ? len - at : 5000);
        }
        _exit(0);
    }
    close(ends[1]);
    *out = ends[0];
    return pid;
}

static void from_a_pipe(void **state)
{
    (void)state;
    struct error e = {0};
    struct image_info info;
    struct stream_build b;
    stream_build_init(&b, PV);
    write_save_file(&b);
    stream_build_dispose(&b);
    struct import_options o = {.trusted = true, .save_path = "standard input"};
    o.image_path = scratch_path(&dir, "x.img");
    pid_t writer = pipe_writer(scratch_path(&dir, "s"), &o.save_fd);
    int rc = import_save_file(&o, &info, &e);
    if (rc)
        fail_msg("%s", e.text);
    assert_int_equal(info.entries, BUILD_PFN_ZERO);
    assert_int_equal(fcntl(o.save_fd, F_GETFD), -1);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    o.save_fd = open(dir.dir, O_RDONLY | O_CLOEXEC);
    assert_int_equal(import_save_file(&o, &info, &e), ANSWER_BAD_VALUE);
    assert_says(e.text, "standard input");
    assert_says(e.text, "directory");
}

/* The helper has the file as its fifth descriptor; what its path names is not looked at. */
static void helper_is_passed_a_file(void **state)
{
    (void)state;
    struct helper h;
    struct error e;
    struct stream_build b;
    stream_build_init(&b, PV);
    write_save_file(&b);
    stream_build_dispose(&b);
    int save = open(scratch_path(&dir, "s"), O_RDONLY | O_CLOEXEC);
    int high = fcntl(save, F_DUPFD_CLOEXEC, 20), before = fcntl(HELPER_INPUT_FD, F_DUPFD, 20);
    dup2(high, HELPER_INPUT_FD); /* in place of what this process has there */
    helper_start(&h);
    dup2(before, HELPER_INPUT_FD);
    close(high);
    close(save);
    close(before);
    json_t *o =
        json_pack("{ss ss sb ss s{ss}}", "op", "import", "save", "/nonexistent", "passed", 1,
                  "image", scratch_path(&dir, "x.img"), "disks", "xvda", "cow:/dev/vg/disk");
    assert_int_equal(message_send(h.fd, o, &e), 0);
    json_decref(o);
    o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "done");
    json_decref(o);
    assert_int_equal(helper_end(&h), 0);
}

static void helper_asks(void **state)
{
    (void)state;
    const char *save = scratch_path(&dir, "s"), *image = scratch_path(&dir, "x.img");
    struct helper h;
    struct error e;
    struct stream_build b;
    stream_build_init(&b, PV);
    stream_build_config(&b, XL(",\"bootloader\":\"/bin/sh\"", "/dev/null"));
    write_save_file(&b);
    stream_build_dispose(&b);
    helper_start(&h);
    json_t *o = json_pack("{ss ss ss}", "op", "import", "save", save, "image", image);
    assert_int_equal(message_send(h.fd, o, &e), 0);
    json_decref(o);
    o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "answer")), "DisksNotAllowed");
    json_t *disks = json_object_get(o, "disks");
    assert_string_equal(json_string_value(json_object_get(disks, "xvda")), "cow:/dev/null");
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
    helper_start(&h); /* what it has asked for can be given as it came */
    json_t *again =
        json_pack("{ss ss ss sO}", "op", "import", "save", save, "image", image, "disks", disks);
    assert_int_equal(message_send(h.fd, again, &e), 0);
    json_decref(again);
    json_decref(o);
    o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "done");
    json_t *warnings = json_object_get(json_object_get(o, "result"), "warnings");
    assert_says(json_string_value(json_array_get(warnings, 0)), "b_info.bootloader");
    json_decref(o);
    assert_int_equal(helper_end(&h), 0);
}

static void helper_refuses(void **state)
{
    (void)state;
    const char *image = scratch_path(&dir, "x.img");
    struct helper h;
    struct error e;
    helper_start(&h);
    helper_ask(&h, "/etc/passwd", image);
    json_t *o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "answer")), "ImageRefused");
    assert_says(json_string_value(json_object_get(o, "error")), "not written by `xl save`");
    json_decref(o);
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
    helper_start(&h);
    o = json_pack("{ss}", "op", "dance");
    assert_int_equal(message_send(h.fd, o, &e), 0);
    json_decref(o);
    o = helper_hear(&h);
    assert_string_equal(json_string_value(json_object_get(o, "answer")), "Internal");
    json_decref(o);
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
    helper_start(&h); /* and one that is asked nothing */
    assert_int_equal(WEXITSTATUS(helper_end(&h)), 1);
    assert_int_equal(scratch_files(&dir, false), 0);
}

/* Exit status of dompool-image with that argument; its result goes to a file. */
static int by_hand(const char *argument, const char *output)
{
    char command[1200];
    assert_true(snprintf(command, sizeof command, "%s '%s' >%s 2>/dev/null", IMPORT_HELPER,
                         argument, output) < (int)sizeof command);
    return WEXITSTATUS(system(command));
}

static void helper_by_hand(void **state)
{
    (void)state;
    char request[600], *text;
    const char *save = scratch_path(&dir, "s"), *image = scratch_path(&dir, "x.img");
    const char *output = scratch_path(&dir, "out");
    struct stream_build b;
    stream_build_init(&b, PV);
    write_save_file(&b);
    stream_build_dispose(&b);
    snprintf(request, sizeof request, "{\"op\":\"import\",\"save\":\"%s\",\"image\":\"%s\"}", save,
             image);
    assert_int_equal(by_hand(request, output), 1); /* nobody has named its disk */
    snprintf(request, sizeof request,
             "{\"op\":\"import\",\"save\":\"%s\",\"image\":\"%s\",\"had\":{\"xvda\":"
             "\"cow:/dev/vg/disk\"}}",
             save, image);
    assert_int_equal(by_hand(request, output), 0);
    assert_int_equal(read_file(output, 10000, &text, NULL, NULL), 0);
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    assert_string_equal(json_string_value(json_object_get(o, "guest")), "pv");
    json_decref(o);
    snprintf(request, sizeof request, "{\"op\":\"verify\",\"image\":\"%s\"}", image);
    assert_int_equal(by_hand(request, output), 0);
    snprintf(request, sizeof request, "{\"op\":\"verify\",\"image\":\"%s\"}", save);
    assert_int_equal(by_hand(request, output), 1);
    assert_int_equal(by_hand("{\"op\":\"dance\"}", output), 1);
    assert_int_equal(by_hand("import", output), 64);
}

/* Waits until the helper has begun a temporary file. */
static void wait_for_file(void)
{
    for (unsigned i = 0; scratch_files(&dir, false) < 2; i++) {
        assert_true(i < 5000);
        usleep(1000);
    }
}

enum ending { END_SOCKET, END_SIGTERM, END_SIGKILL };

static void helper_interrupted(enum ending how)
{
    const char *fifo = scratch_path(&dir, "fifo"), *image = scratch_path(&dir, "x.img");
    struct helper h;
    struct stream_build b;
    struct built f;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    stream_build_init(&b, PV);
    stream_build_bytes(&b, &f);
    helper_start(&h);
    helper_ask(&h, fifo, image);
    int feed = feed_half(fifo, &f);
    wait_for_file();
    if (how == END_SOCKET)
        fd_close(&h.fd);
    else
        kill(h.pid, how == END_SIGTERM ? SIGTERM : SIGKILL);
    (void)!write_full(feed, f.bytes + f.size / 2, f.size - f.size / 2);
    fd_close(&feed);
    int status = helper_end(&h);
    assert_true(how == END_SIGKILL ? WIFSIGNALED(status) : WEXITSTATUS(status) == 1);
    unlink(fifo);
    assert_int_equal(access(image, F_OK), -1);
    assert_int_equal(scratch_files(&dir, false), how == END_SIGKILL ? 1 : 0);
    scratch_files(&dir, true);
    built_dispose(&f);
    stream_build_dispose(&b);
}

static void helper_stops(void **state)
{
    (void)state;
    helper_interrupted(END_SOCKET);
    helper_interrupted(END_SIGTERM);
    helper_interrupted(END_SIGKILL);
}

/* Killed at many moments: either nothing, or a temporary file, or the whole image. */
static void helper_killed_anytime(void **state)
{
    (void)state;
    const char *save = scratch_path(&dir, "s"), *image = scratch_path(&dir, "x.img");
    write_big_save_file();
    for (useconds_t delay = 0; delay < 60000; delay += 3000) {
        struct helper h;
        struct image *im;
        struct error e;
        helper_start(&h);
        helper_ask(&h, save, image);
        usleep(delay);
        kill(h.pid, SIGKILL);
        helper_end(&h);
        if (!access(image, F_OK)) {
            assert_int_equal(image_open(image, &im, &e), 0);
            assert_int_equal(image_verify(im, &e), 0);
            image_close(im);
            unlink(image);
        }
    }
    DIR *d = opendir(dir.dir);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "s"))
            assert_says(entry->d_name, "x.img.tmp-");
    closedir(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(pv_guest),
        TEST_IN_DIR(pvh_guest),
        TEST_IN_DIR(empty_records),
        TEST_IN_DIR(last_one_wins),
        TEST_IN_DIR(too_much_memory),
        TEST_IN_DIR(every_write_fails),
        TEST_IN_DIR(refusals_leave_nothing),
        TEST_IN_DIR(from_a_file),
        TEST_IN_DIR(disks_need_consent),
        TEST_IN_DIR(scratch_forgets_the_path),
        TEST_IN_DIR(programs_are_not_kept),
        TEST_IN_DIR(control_characters),
        TEST_IN_DIR(name_is_no_utf8),
        TEST_IN_DIR(helper_imports),
        TEST_IN_DIR(helper_asks),
        TEST_IN_DIR(from_a_pipe),
        TEST_IN_DIR(helper_is_passed_a_file),
        TEST_IN_DIR(helper_refuses),
        TEST_IN_DIR(helper_by_hand),
        TEST_IN_DIR(helper_stops),
        TEST_IN_DIR(helper_killed_anytime),
    };
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
