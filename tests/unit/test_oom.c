/*
 * Every allocation fails once: an import, reading what it made, and an export are run with
 * the N-th allocation failing for N = 0, 1, 2, ... until a run needs fewer. Each
 * time the call must fail (not crash), say why, and leave no file; that it leaks
 * nothing is for the sanitizer and valgrind to say.
 */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "restore/formats/domconf.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_export.h"
#include "restore/imaging/image_import.h"

#include <errno.h>
#include <jansson.h>

#define NEVER (-1L)

static long fail_after = NEVER;

static bool fails_now(void)
{
    return fail_after >= 0 && fail_after-- == 0;
}

/* The linker sends the program's own calls here (--wrap, see CMakeLists.txt). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *s)
{
    return fails_now() ? NULL : __real_strdup(s);
}

static json_t *had; /* what the save file asks for */

static int setup(void **state)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    return dir_setup(state);
}

/* Imports and reads back; everything is released again. */
static int run(const struct built *f, const char *path, struct error *e)
{
    struct import_options o = {.image_path = path, .consent.had = had};
    struct image_info info;
    struct source src;
    struct domconf c;
    struct image *im = NULL;
    source_init_memory(&src, f->bytes, f->size);
    int rc = import_source(&src, &o, &info, e);
    source_dispose(&src);
    if (rc)
        return rc;
    domconf_init(&c);
    rc = image_open(path, &im, e);
    if (!rc)
        rc = domconf_from_json(image_config(im), &c, e);
    if (!rc)
        rc = domconf_set_disk(&c, "xvda", "ro:/x", e);
    domconf_dispose(&c);
    image_close(im);
    unlink(path);
    return rc;
}

static void each_allocation(struct stream_build *b)
{
    struct built f;
    long n = 0;
    bool failed;
    stream_build_bytes(b, &f);
    do {
        struct error e = {0};
        fail_after = n++;
        int rc = run(&f, scratch_path(&dir, "x.img"), &e);
        failed = fail_after < 0;
        fail_after = NEVER;
        assert_true(failed || !rc); /* jansson gets over one or two of its failures */
        assert_true(rc == 0 || rc == -ENOMEM || rc == ANSWER_IMAGE_REFUSED ||
                    rc == ANSWER_BAD_VALUE);
        assert_true(!rc || e.text[0]);
        assert_int_equal(scratch_files(&dir, false), 0);
    } while (failed);
    assert_true(n > 30);
    built_dispose(&f);
    stream_build_dispose(b);
}

static void pv(void **state)
{
    (void)state;
    struct stream_build b;
    stream_build_init(&b, IMAGE_GUEST_PV);
    had = json_pack("{s:s}", "xvda", "cow:/dev/vg/disk");
    each_allocation(&b);
    json_decref(had);
}

static void pvh(void **state)
{
    (void)state;
    struct stream_build b;
    stream_build_init(&b, IMAGE_GUEST_PVH);
    stream_build_config(&b, "{\"c_info\":{\"type\":\"pvh\"},\"b_info\":{\"max_memkb\":64,"
                            "\"max_vcpus\":2},\"disks\":[{\"pdev_path\":\"/d\","
                            "\"vdev\":\"xvda\"},{\"pdev_path\":\"/e\",\"vdev\":\"xvdb\"}]}");
    /* a page twice: sorting allocates */
    struct build_record *r = stream_build_find(&b, RECORD_PAGE_DATA, 0);
    stream_build_insert(&b, stream_build_index(&b, r), r->type, r->body, r->length);
    had = json_pack("{s:s, s:s}", "xvda", "ro:/d", "xvdb", "ro:/e");
    each_allocation(&b);
    json_decref(had);
}

static void export(void **state)
{
    (void)state;
    char image[128], save[128];
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    const struct export_options o = {.image_path = image, .save_path = save};
    snprintf(image, sizeof image, "%s/x.img", dir.dir);
    snprintf(save, sizeof save, "%s/save", dir.dir);
    stream_build_init(&b, IMAGE_GUEST_PV);
    assert_int_equal(stream_build_import(&b, image, &info, &e), 0);
    stream_build_dispose(&b);
    int rc = -ENOMEM;
    for (long n = 0; rc; n++) {
        fail_after = n;
        rc = export_save_file(&o, &e);
        assert_true(fail_after == NEVER || !rc);
        fail_after = NEVER;
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_int_equal(scratch_files(&dir, false), rc ? 1 : 2);
    }
    scratch_files(&dir, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pv), cmocka_unit_test(pvh),
                                       cmocka_unit_test(export)};
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
