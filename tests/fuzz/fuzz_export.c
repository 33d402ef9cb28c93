/*
 * Image files as in fuzz_image, exported: alone, and over the base that stands ready. What comes
 * out is imported again, and is then the same guest, or refused; what is refused leaves no file.
 */
#include "tests/fuzz/fuzz.h"

#include "restore/imaging/image_export.h"
#include "restore/imaging/image_import.h"
#include "store/memory.h"
#include "tests/fuzz/image_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[40], save_path[64], again_path[64];
static struct image_file base;

static void remove_dir(void)
{
    (void)!rmdir(dir);
}

static void begin(void)
{
    if (base.image)
        return;
    image_file_base(&base);
    scratch_dir_make(dir);
    snprintf(save_path, sizeof save_path, "%s/save", dir);
    snprintf(again_path, sizeof again_path, "%s/again.img", dir);
    atexit(remove_dir);
}

/* ---- the same guest ---- */

static void check_records(const struct image *a, const struct image *b)
{
    struct image_record x, y;
    size_t at_a = 0, at_b = 0;
    while (image_next_record(a, &at_a, &x)) {
        FUZZ_CHECK(image_next_record(b, &at_b, &y));
        FUZZ_CHECK(x.type == y.type && x.length == y.length);
        FUZZ_CHECK(!memcmp(x.body, y.body, x.length));
    }
    FUZZ_CHECK(!image_next_record(b, &at_b, &y));
}

static void check_memory(const struct image_memory *a, const struct image_memory *b)
{
    struct memory_diff d;
    struct memory_difference found;
    memory_diff_start(&d, a, b);
    FUZZ_CHECK(!memory_diff_next(&d, &found));
}

static void check_again(const struct image_memory *was)
{
    const struct image *im = was->delta ? was->delta : was->base;
    struct image *again;
    FUZZ_CHECK(!image_open(again_path, &again, NULL));
    const struct image_memory is = {again, NULL};
    FUZZ_CHECK(!image_verify(again, NULL));
    FUZZ_CHECK(image_info(again)->guest == image_info(im)->guest);
    check_records(im, again);
    check_memory(was, &is);
    image_close(again);
}

/* ---- there and back ---- */

static void import_again(const struct image_memory *was)
{
    const struct import_options o = {
        .save_path = save_path, .image_path = again_path, .trusted = true};
    struct image_info info;
    struct error e = {0};
    int rc = import_save_file(&o, &info, &e);
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    if (!rc)
        check_again(was);
    FUZZ_CHECK(!unlink(again_path) == !rc);
}

static void export_image(const struct image_file *f, bool over)
{
    const struct image_memory memory = {over ? base.image : f->image, over ? f->image : NULL};
    const struct export_options o = {
        .image_path = f->path, .base_path = over ? base.path : NULL, .save_path = save_path};
    struct error e = {0};
    int rc = export_save_file(&o, &e);
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    if (!rc)
        import_again(&memory);
    FUZZ_CHECK(!unlink(save_path) == !rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_file file;
    begin();
    image_file_make(data, size, &base, &file);
    if (file.image) {
        export_image(&file, false);
        export_image(&file, true);
    }
    image_file_dispose(&file);
    return 0;
}
