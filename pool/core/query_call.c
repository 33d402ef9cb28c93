/* Export, verify, diff: see query_call.h. */
#include "pool/core/query_call.h"

#include "base/text.h"
#include "pool/core/catalog.h"
#include "pool/core/image_job.h"
#include "restore/protocol/image_protocol.h"

#include <errno.h>
#include <stdlib.h>

static void query_end(struct image_job *job)
{
    free(job);
}

static void done_result(struct image_job *job, const json_t *result)
{
    (void)result;
    image_job_reply(job, json_object());
}

static void diff_result(struct image_job *job, const json_t *result)
{
    image_job_reply(job, json_pack("{s:O}", "difference", result));
}

static const struct image_job_kind kind_export = {"export of image", false, done_result, query_end,
                                                  NULL};
static const struct image_job_kind kind_verify = {"check of image", false, done_result, query_end,
                                                  NULL};
static const struct image_job_kind kind_diff = {"comparison of image", false, diff_result,
                                                query_end, NULL};

static const struct answered *query_run(struct core *core, struct call *call,
                                        const struct image_job_kind *kind, const char *image,
                                        json_t *request)
{
    struct error e;
    struct image_job *job = calloc(1, sizeof *job);
    if (!job) {
        json_decref(request);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    format_fits(job->name, sizeof job->name, "%s", image);
    if (!image_job_start(job, core, kind, request, &e))
        return image_job_defer(job, call);
    free(job);
    return call_refuse(call, e.code, e.text);
}

struct image_paths {
    char image[IMAGE_PATH_SIZE], base[IMAGE_PATH_SIZE]; /* base "": stored whole */
};

static int paths_find(struct core *core, const char *image, struct image_paths *out,
                      struct error *e)
{
    struct entry *im;
    if (core_ready(core, e) || entry_need(core, image, &im, e))
        return e->code;
    entry_path(im, out->image);
    out->base[0] = '\0';
    if (im->base)
        entry_path(im->base, out->base);
    return 0;
}

const struct answered *export_call(struct core *core, struct call *call, const char *image,
                                   const char *path)
{
    struct error e;
    struct image_paths paths;
    if (paths_find(core, image, &paths, &e))
        return call_refuse(call, e.code, e.text);
    if (path[0] != '/') {
        error_set(&e, ANSWER_BAD_VALUE, "path \"%.200s\" must be absolute", path);
        return call_refuse(call, e.code, e.text);
    }
    const struct image_export_op m = {.image = paths.image, .base = paths.base, .save = path};
    return query_run(core, call, &kind_export, image, shape_encode(&image_export_op_shape, &m));
}

const struct answered *verify_call(struct core *core, struct call *call, const char *image)
{
    struct error e;
    struct image_paths paths;
    if (paths_find(core, image, &paths, &e))
        return call_refuse(call, e.code, e.text);
    const struct image_verify_op m = {.image = paths.image, .disks = true};
    return query_run(core, call, &kind_verify, image, shape_encode(&image_verify_op_shape, &m));
}

const struct answered *diff_call(struct core *core, struct call *call, const char *a, const char *b)
{
    struct error e;
    struct image_paths x, y;
    if (paths_find(core, a, &x, &e) || paths_find(core, b, &y, &e))
        return call_refuse(call, e.code, e.text);
    const struct image_diff_op m = {.a = x.image, .a_base = x.base, .b = y.image, .b_base = y.base};
    return query_run(core, call, &kind_diff, a, shape_encode(&image_diff_op_shape, &m));
}
