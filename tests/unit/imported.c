/* See imported.h. */
#include "tests/unit/imported.h"

#include "restore/formats/records.h"
#include "restore/imaging/image_export.h"
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

static struct image *imported;

int imported_setup(enum image_guest guest)
{
    struct stream_build b;
    struct image_info info;
    struct error e;
    dir_setup(NULL);
    stream_build_init(&b, guest);
    assert_int_equal(stream_build_import(&b, scratch_path(&dir, "c.img"), &info, &e), 0);
    assert_int_equal(image_open(scratch_path(&dir, "c.img"), &imported, &e), 0);
    stream_build_dispose(&b);
    return 0;
}

int imported_teardown(void **state)
{
    image_close(imported);
    return dir_teardown(state);
}

void imported_write(struct image_writer *w)
{
    struct image_record r;
    struct error e;
    size_t cursor = 0;
    while (image_next_record(imported, &cursor, &r))
        if (r.type == IMAGE_RECORD_ORIGIN || r.type == IMAGE_RECORD_XL_CONFIG)
            assert_int_equal(image_writer_record(w, r.type, r.body, r.length, &e), 0);
    assert_int_equal(image_writer_config(w, image_config(imported), &e), 0);
}

void reference_make(struct fake_xen *x, const struct image *im, const struct image *over,
                    uint32_t store_port, uint32_t console_port)
{
    char image_path[32], base_path[32];
    struct error e;
    snprintf(image_path, sizeof image_path, "/proc/self/fd/%d", image_fd(im));
    snprintf(base_path, sizeof base_path, "/proc/self/fd/%d", image_fd(over));
    const struct export_options o = {
        .image_path = image_path,
        .base_path = over == im ? NULL : base_path,
        .save_path = scratch_path(&dir, "reference.save"),
    };
    if (export_save_file(&o, &e))
        fail_msg("export: %s", e.text);
    assert_int_equal(fake_xen_restore(x, o.save_path, store_port, console_port), 0);
    unlink(o.save_path);
}
