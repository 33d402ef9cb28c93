/*
 * Export: see image_export.h.
 *
 * Only one batch of page entries is kept in memory: contents go from the images' mappings to the
 * file. Export checks what an image may lack although image_open accepts it. It does not check the
 * digests of sections (image_verify).
 */
#include "restore/imaging/image_export.h"

#include "base/new_file.h"
#include "restore/formats/records.h"
#include "restore/formats/savefile.h"
#include "restore/formats/stream_write.h"

#include <errno.h>
#include <string.h>

struct export
{
    const struct export_options *options;
    struct image *image, *base; /* base: NULL unless the image is derived */
    struct image_memory memory;
    const char *xl_config; /* inside the image's mapping */
    uint32_t xl_config_len;
    struct new_file target; /* unless options->files */
    int fd;
};

static void export_init(struct export *x, const struct export_options *o)
{
    *x = (struct export){.options = o, .target = NEW_FILE_NONE, .fd = -1};
}

static void export_dispose(struct export *x)
{
    new_file_drop(&x->target);
    image_close(x->image);
    image_close(x->base);
    export_init(x, x->options);
}

static int export_failed(const struct export *x, int rc, const char *doing, struct error *e)
{
    return error_errno(e, -rc, "save file %s: %s", x->options->save_path, doing);
}

/* ---- what goes in ---- */

/* fd: that of options->files. */
static int image_take(const struct export *x, int fd, const char *path, struct image **out,
                      struct error *e)
{
    return x->options->files ? image_open_fd(fd, path, out, e) : image_open(path, out, e);
}

static int images_open(struct export *x, struct error *e)
{
    const struct export_options *o = x->options;
    const struct export_files none = {-1, -1, -1}, *files = o->files ? o->files : &none;
    int rc = image_take(x, files->image, o->image_path, &x->image, e);
    if (rc)
        return rc;
    if (!o->base_path && !image_is_base(image_info(x->image)))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "image file %s is derived: its export needs its base, too", o->image_path);
    if (o->base_path && (rc = image_take(x, files->base, o->base_path, &x->base, e)))
        return rc;
    x->memory.base = x->base ? x->base : x->image;
    x->memory.delta = x->base ? x->image : NULL;
    rc = memory_check(&x->memory, e);
    if (rc)
        error_prefix(e, "image file %s: ", o->image_path);
    return rc;
}

static int config_find(struct export *x, struct error *e)
{
    struct image_record r;
    if (!image_find_record(x->image, IMAGE_RECORD_XL_CONFIG, 0, &r))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "image file %s holds no xl configuration, and a save file needs one",
                         x->options->image_path);
    if (!r.length || r.length > SAVEFILE_JSON_BYTES_MAX || memchr(r.body, 0, r.length))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "image file %s: its xl configuration of %u bytes is no text, or none "
                         "of 1 to %u bytes",
                         x->options->image_path, r.length, SAVEFILE_JSON_BYTES_MAX);
    x->xl_config = r.body;
    x->xl_config_len = r.length;
    return 0;
}

static int origin_check(const struct export *x, struct error *e)
{
    struct image_record r;
    uint32_t version = stream_origin(x->image).stream_version;
    if (!image_find_record(x->image, IMAGE_RECORD_ORIGIN, 0, &r) ||
        r.length != sizeof(struct image_record_origin) || version < 2 || version > 3)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "image file %s does not say that its stream has version 2 or 3",
                         x->options->image_path);
    return 0;
}

/* ---- what comes out ---- */

static int target_create(struct export *x, struct error *e)
{
    const struct export_options *o = x->options;
    int rc = o->files ? 0 : new_file_create(&x->target, "save file", o->save_path, e);
    x->fd = o->files ? o->files->save : x->target.fd;
    return rc;
}

/* The contents are written from the images' mappings, and the kernel could not read one. */
static int content_unread(const struct export *x, struct error *e)
{
    const struct export_options *o = x->options;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "image file %s%s%s: a part of it cannot be read: the disk is failing, or the "
                     "file has become shorter",
                     o->image_path, o->base_path ? " or its base " : "",
                     o->base_path ? o->base_path : "");
}

static int target_write(struct export *x, struct error *e)
{
    const struct export_options *o = x->options;
    int rc = savefile_write_head(x->fd, x->xl_config, x->xl_config_len);
    if (rc)
        return export_failed(x, rc, "write its header", e);
    rc = stream_write(x->fd, &x->memory, o->progress, o->progress_data);
    if (rc == -ECANCELED)
        return error_set(e, rc, "save file %s: export stopped", o->save_path);
    if (rc == -EFAULT)
        return content_unread(x, e);
    if (rc)
        return export_failed(x, rc, "write the guest's memory and state", e);
    rc = savefile_write_end(x->fd);
    return rc ? export_failed(x, rc, "write its end", e) : 0;
}

int export_save_file(const struct export_options *o, struct error *e)
{
    struct export x;
    export_init(&x, o);
    int rc = images_open(&x, e);
    if (!rc)
        rc = config_find(&x, e);
    if (!rc)
        rc = origin_check(&x, e);
    if (!rc)
        rc = target_create(&x, e);
    if (!rc)
        rc = target_write(&x, e);
    if (!rc && !o->files)
        rc = new_file_publish(&x.target, e);
    export_dispose(&x);
    return rc;
}
