/*
 * Export: see image_export.h.
 *
 * Only one batch of page entries is kept in memory: contents go from the images' mappings to the
 * file. Export checks what an image may lack although image_open accepts it. It does not check the
 * digests of sections (image_verify).
 */
#include "restore/imaging/image_export.h"

#include "base/io.h"
#include "base/text.h"
#include "restore/formats/records.h"
#include "restore/formats/savefile.h"
#include "restore/formats/stream_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct export
{
    const struct export_options *options;
    struct image *image, *base; /* base: NULL unless the image is derived */
    struct image_memory memory;
    const char *xl_config; /* inside the image's mapping */
    uint32_t xl_config_len;
    char *temp_path; /* NULL once there is nothing to unlink */
    int fd;
};

static void export_init(struct export *x, const struct export_options *o)
{
    *x = (struct export){.options = o, .fd = -1};
}

static void export_dispose(struct export *x)
{
    if (x->temp_path)
        unlink(x->temp_path);
    fd_close(&x->fd);
    free(x->temp_path);
    image_close(x->image);
    image_close(x->base);
    export_init(x, x->options);
}

static int export_failed(const struct export *x, int rc, const char *doing, struct error *e)
{
    return error_errno(e, -rc, "save file %s: %s", x->options->save_path, doing);
}

/* ---- what goes in ---- */

static int images_open(struct export *x, struct error *e)
{
    const struct export_options *o = x->options;
    int rc = image_open(o->image_path, &x->image, e);
    if (rc)
        return rc;
    if (!o->base_path && !image_is_base(image_info(x->image)))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "image file %s is derived: its export needs its base, too", o->image_path);
    if (o->base_path && (rc = image_open(o->base_path, &x->base, e)))
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
    const char *path = x->options->save_path;
    struct stat st;
    if (!lstat(path, &st))
        return error_set(e, -EEXIST, "save file %s exists already", path);
    char *temp_path = format_new("%s.tmp-XXXXXX", path);
    if (!temp_path)
        return error_set(e, -ENOMEM, "save file %s: out of memory", path);
    x->fd = mkostemp(temp_path, O_CLOEXEC); /* mode 0600 */
    if (x->fd < 0) {
        int rc = error_errno(e, errno, "save file %s: create %s", path, temp_path);
        free(temp_path);
        return rc;
    }
    x->temp_path = temp_path;
    return 0;
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
    if (rc)
        return export_failed(x, rc, "write the guest's memory and state", e);
    rc = savefile_write_end(x->fd);
    return rc ? export_failed(x, rc, "write its end", e) : 0;
}

/* Gives the file its name. A file that has appeared under this name meanwhile is not touched. */
static int target_publish(struct export *x, struct error *e)
{
    const char *path = x->options->save_path;
    if (fsync(x->fd))
        return export_failed(x, -errno, "sync", e);
    int rc = rename_new(x->temp_path, path);
    if (rc == -EEXIST)
        return error_set(e, rc, "save file %s exists already", path);
    if (rc)
        return export_failed(x, rc, "rename to it", e);
    free(x->temp_path);
    x->temp_path = NULL;
    rc = fsync_parent(path, e);
    if (rc)
        unlink(path); /* not durable, so it is removed */
    return rc;
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
    if (!rc)
        rc = target_publish(&x, e);
    export_dispose(&x);
    return rc;
}
