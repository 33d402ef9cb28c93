/* Work with its reading done by a worker: see confined.h. */
#include "restore/imaging/confined.h"

#include "base/io.h"
#include "base/new_file.h"
#include "base/text.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_diff.h"
#include "restore/imaging/made.h"
#include "restore/imaging/worker.h"
#include "restore/protocol/image_made.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What a worker may have on its heap. An import keeps some 100 bytes for each page of the guest, in
 * the worst order of pages; a save file has at least 4 KiB for each. A pipe does not tell its
 * length.
 */
#define HEAP_BYTES (256ull << 20)
#define HEAP_PART 16u
#define HEAP_OF_PIPE (2ull << 30)

/* Of the remarks of an import (struct import_remarks), what the worker may tell. */
#define LEFT_OUT_MAX 1000u
#define LEFT_OUT_BYTES 256u

static uint64_t heap_for(int fd)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return HEAP_BYTES + HEAP_OF_PIPE;
    return HEAP_BYTES + (uint64_t)st.st_size / HEAP_PART;
}

/* New reference. */
static int made_of(const char *path, const struct image_info *info, const char *text, json_t **made,
                   struct error *e)
{
    json_t *config = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!config)
        return error_set(e, ANSWER_IMAGE_REFUSED, "image file %s: its configuration is malformed",
                         path);
    *made = image_made_to_json(info, config);
    return *made ? 0 : error_set(e, -ENOMEM, "out of memory");
}

/* ---- import ---- */

struct import_work {
    const struct import_options *options;
    struct import_files files;
    int stream;
    const char *xl_config; /* NULL: the stream is a save file */
    size_t xl_config_len;
};

/* *told: what its attendant should hear besides. */
static int import_work(void *data, json_t **told, struct error *e)
{
    const struct import_work *w = data;
    struct import_options o = *w->options;
    struct import_remarks remarks = {NULL, NULL};
    struct image_info info;
    struct source src;
    o.files = &w->files;
    o.eyes = &worker_eyes;
    o.consent.ask = worker_consent;
    o.remarks = &remarks;
    o.progress = worker_progress;
    int rc = source_init_fd(&src, w->stream, e);
    src.progress = worker_progress;
    if (!rc)
        rc = w->xl_config ? import_stream(w->xl_config, w->xl_config_len, &src, &o, &info, e)
                          : import_source(&src, &o, &info, e);
    source_dispose(&src);
    *told = rc ? json_incref(remarks.missing) : json_pack("{s:O*}", "left_out", remarks.left_out);
    import_remarks_dispose(&remarks);
    return rc;
}

/* What the worker tells of the save file is checked like everything that it says. */
static bool missing_fits(const json_t *missing)
{
    const char *vdev;
    json_t *spec;
    bool fits = json_object_size(missing) <= DOMCONF_DISKS_MAX;
    json_object_foreach ((json_t *)missing, vdev, spec) {
        struct disk_conf d = {.path = NULL};
        struct error e;
        fits = fits && json_is_string(spec) && !disk_conf_name(&d, vdev, &e) &&
               !disk_conf_parse(vdev, json_string_value(spec), &d, &e);
        free(d.path);
    }
    return fits;
}

/* Each becomes a line. New reference; NULL: no memory, or not what was expected. */
static json_t *texts_copy(const json_t *texts)
{
    size_t i;
    json_t *v, *out = json_array();
    bool ok = out && json_array_size(texts) <= LEFT_OUT_MAX;
    json_array_foreach (texts, i, v) {
        char line[LEFT_OUT_BYTES];
        ok = ok && json_is_string(v);
        if (!ok)
            break;
        format_fits(line, sizeof line, "%s", json_string_value(v));
        text_plain(line);
        ok = !json_array_append_new(out, json_string(line));
    }
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

/* told and missing are taken. */
static int remarks_take(const struct import_options *o, json_t *told, json_t *missing,
                        struct error *e)
{
    const json_t *texts = json_object_get(told, "left_out");
    int rc = 0;
    if (o->remarks && missing_fits(missing))
        o->remarks->missing = json_incref(missing);
    if (o->remarks && texts && !(o->remarks->left_out = texts_copy(texts)))
        rc = error_set(e, -EPROTO, "the process that read the save file reported nonsense");
    json_decref(told);
    json_decref(missing);
    return rc;
}

/* Of the finished file, whatever the worker says. */
static int import_made(const struct import_work *w, json_t **made, struct error *e)
{
    const struct import_options *o = w->options;
    struct image *im;
    int fd = dup(w->files.image);
    if (fd < 0)
        return error_errno(e, errno, "image file %s: read it back", o->image_path);
    int rc = image_open_fd(fd, o->image_path, &im, e);
    if (rc)
        return rc;
    rc = made_check(o, w->xl_config, w->xl_config_len, im, e);
    if (!rc)
        rc = made_of(o->image_path, image_info(im), image_config(im), made, e);
    image_close(im);
    return rc;
}

static int import_finish(const struct import_work *w, struct new_file *target, json_t **made,
                         struct error *e)
{
    int rc = import_made(w, made, e);
    if (rc || !(rc = new_file_publish(target, e)))
        return rc;
    json_decref(*made);
    *made = NULL;
    return rc;
}

static int import_read(const struct confined *c, struct import_work *w, int *stream,
                       struct error *e)
{
    const struct import_options *o = w->options;
    json_t *told = NULL, *missing = NULL;
    const struct worker worker = {
        .user = &c->user,
        .run = import_work,
        .data = w,
        .keep = {w->stream, w->files.image, w->files.base},
        .n_keep = 3,
        .theirs = stream,
        .heap_bytes = heap_for(w->stream),
        .consent = &o->consent,
        .failed = &missing,
        .progress = o->progress,
        .progress_data = o->progress_data,
        .stopped = c->stopped,
    };
    int rc = worker_run(&worker, &told, e), bad = remarks_take(o, told, missing, e);
    return rc ? rc : bad;
}

/* *stream is taken. */
static int import_run(const struct confined *c, struct import_work *w, int *stream, json_t **made,
                      struct error *e)
{
    const struct import_options *o = w->options;
    struct new_file target;
    int rc = new_file_create(&target, "image file", o->image_path, e);
    w->files = (struct import_files){target.fd, -1};
    if (!rc && o->base_path && (w->files.base = image_open_file(o->base_path, e)) < 0)
        rc = w->files.base;
    w->stream = *stream;
    if (!rc)
        rc = import_read(c, w, stream, e);
    if (!rc)
        rc = import_finish(w, &target, made, e);
    new_file_drop(&target);
    fd_close(&w->files.base);
    fd_close(stream);
    return rc;
}

int confined_import(const struct confined *c, const struct import_options *o, json_t **made,
                    struct error *e)
{
    struct import_work w = {.options = o};
    int fd, rc = import_open(o, &fd, e);
    return rc ? rc : import_run(c, &w, &fd, made, e);
}

/* confined_import as import_stream does it; *stream is taken. */
static int confined_import_stream(const struct confined *c, const char *xl_config, size_t len,
                                  int *stream, const struct import_options *o, json_t **made,
                                  struct error *e)
{
    struct import_work w = {.options = o, .xl_config = xl_config, .xl_config_len = len};
    return import_run(c, &w, stream, made, e);
}

int confined_capture_import(const char *xl_config, size_t len, int *stream,
                            const struct import_options *o, struct image_info *info, void *data,
                            struct error *e)
{
    struct confined_capture *c = data;
    json_t *config;
    int rc = confined_import_stream(c->by, xl_config, len, stream, o, &c->made, e);
    if (rc || image_made_from_json(c->made, info, &config))
        return rc;
    json_decref(c->made);
    c->made = NULL;
    unlink(o->image_path);
    return error_set(e, -EPROTO, "the report of the process that read the domain is malformed");
}

/* ---- export ---- */

struct export_work {
    const struct export_options *options;
    struct export_files files;
};

static int export_work(void *data, json_t **result, struct error *e)
{
    const struct export_work *w = data;
    struct export_options o = *w->options;
    o.files = &w->files;
    o.progress = worker_progress;
    int rc = export_save_file(&o, e);
    *result = json_object();
    return rc;
}

static int export_open(const struct export_options *o, struct export_files *f,
                       struct new_file *target, struct error *e)
{
    if ((f->image = image_open_file(o->image_path, e)) < 0)
        return f->image;
    if (o->base_path && (f->base = image_open_file(o->base_path, e)) < 0)
        return f->base;
    int rc = new_file_create(target, "save file", o->save_path, e);
    f->save = target->fd;
    return rc;
}

int confined_export(const struct confined *c, const struct export_options *o, struct error *e)
{
    struct export_work w = {o, {-1, -1, -1}};
    struct new_file target = NEW_FILE_NONE;
    json_t *result = NULL;
    int rc = export_open(o, &w.files, &target, e);
    const struct worker worker = {
        .user = &c->user,
        .run = export_work,
        .data = &w,
        .keep = {w.files.image, w.files.base, w.files.save},
        .n_keep = 3,
        .heap_bytes = HEAP_BYTES,
        .progress = o->progress,
        .progress_data = o->progress_data,
        .stopped = c->stopped,
    };
    if (!rc)
        rc = worker_run(&worker, &result, e);
    json_decref(result);
    if (!rc)
        rc = new_file_publish(&target, e);
    new_file_drop(&target);
    fd_close(&w.files.image);
    fd_close(&w.files.base);
    return rc;
}

/* ---- verify ---- */

struct verify_work {
    int image;
    const char *path;
    bool disks;
};

static int verify_work(void *data, json_t **result, struct error *e)
{
    const struct verify_work *w = data;
    struct image *im;
    int fd = dup(w->image);
    int rc = image_open_fd(fd, w->path, &im, e);
    if (rc)
        return rc;
    rc = image_verify(im, e);
    if (!rc && w->disks)
        rc = fingerprints_verify_by(im, &worker_eyes, e);
    image_close(im);
    *result = json_object();
    return rc;
}

/* Few bytes, and none of them mapped. */
static int verify_made(const char *path, json_t **made, struct error *e)
{
    struct image_info info;
    char *config;
    int rc = image_read_facts(path, &info, &config, e);
    if (rc)
        return rc;
    rc = made_of(path, &info, config, made, e);
    free(config);
    return rc;
}

int confined_verify(const struct confined *c, const char *image_path, bool disks,
                    int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                    json_t **made, struct error *e)
{
    struct verify_work w = {image_open_file(image_path, e), image_path, disks};
    if (w.image < 0)
        return w.image;
    const struct worker worker = {
        .user = &c->user,
        .run = verify_work,
        .data = &w,
        .keep = {w.image},
        .n_keep = 1,
        .heap_bytes = HEAP_BYTES,
        .progress = progress,
        .progress_data = data,
        .stopped = c->stopped,
    };
    json_t *result = NULL;
    int rc = worker_run(&worker, &result, e);
    json_decref(result);
    fd_close(&w.image);
    return rc ? rc : verify_made(image_path, made, e);
}

/* ---- diff ---- */

struct diff_work {
    const struct confined_side *sides;
    int image[2], base[2];
};

struct side {
    struct image *base, *delta;
};

static int side_open(const struct diff_work *w, unsigned i, struct side *s, struct error *e)
{
    const struct confined_side *from = &w->sides[i];
    bool derived = from->base_path;
    int rc = image_open_fd(derived ? w->base[i] : w->image[i],
                           derived ? from->base_path : from->path, &s->base, e);
    if (!rc && derived)
        rc = image_open_fd(w->image[i], from->path, &s->delta, e);
    const struct image_memory m = {s->base, s->delta};
    return rc ? rc : memory_check(&m, e);
}

static int diff_work(void *data, json_t **out, struct error *e)
{
    const struct diff_work *w = data;
    struct side x = {0}, y = {0};
    int rc = side_open(w, 0, &x, e);
    if (!rc)
        rc = side_open(w, 1, &y, e);
    const struct image_memory from = {x.base, x.delta}, to = {y.base, y.delta};
    return rc ? rc : image_diff(&from, &to, worker_progress, NULL, out, e);
}

static int diff_open(struct diff_work *w, struct error *e)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct confined_side *s = &w->sides[i];
        if ((w->image[i] = image_open_file(s->path, e)) < 0)
            return w->image[i];
        if (s->base_path && (w->base[i] = image_open_file(s->base_path, e)) < 0)
            return w->base[i];
    }
    return 0;
}

int confined_diff(const struct confined *c, const struct confined_side sides[2],
                  int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                  json_t **out, struct error *e)
{
    struct diff_work w = {sides, {-1, -1}, {-1, -1}};
    int rc = diff_open(&w, e);
    const struct worker worker = {
        .user = &c->user,
        .run = diff_work,
        .data = &w,
        .keep = {w.image[0], w.image[1], w.base[0], w.base[1]},
        .n_keep = 4,
        .heap_bytes = HEAP_BYTES,
        .progress = progress,
        .progress_data = data,
        .stopped = c->stopped,
    };
    if (!rc)
        rc = worker_run(&worker, out, e);
    for (unsigned i = 0; i < 2; i++) {
        fd_close(&w.image[i]);
        fd_close(&w.base[i]);
    }
    return rc;
}
