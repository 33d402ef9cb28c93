/* Export, verify, diff: see image_query.h. */
#include "pool/core/image_query.h"

#include "base/log.h"
#include "pool/core/expect.h"
#include "pool/core/image_job.h"
#include "pool/core/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct query {
    struct image_job job;
};

static void query_end(struct image_job *job)
{
    free(container_of(job, struct query, job));
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

static const struct image_job_kind kind_export = {"export of image", done_result, query_end, NULL};
static const struct image_job_kind kind_verify = {"check of image", done_result, query_end, NULL};
static const struct image_job_kind kind_diff = {"comparison of image", diff_result, query_end,
                                                NULL};

static const struct answered *query_run(struct core *core, struct call *call,
                                        const struct image_job_kind *kind, const char *image,
                                        json_t *request)
{
    struct error e;
    struct query *q = calloc(1, sizeof *q);
    int rc = -ENOMEM;
    error_set(&e, rc, "out of memory");
    if (q) {
        format_fits(q->job.name, sizeof q->job.name, "%s", image);
        rc = image_job_start(&q->job, core, kind, call, request, &e);
    } else {
        json_decref(request);
    }
    if (!rc)
        return image_job_defer(&q->job);
    free(q);
    return call_refuse(call, e.code, e.text);
}

struct image_paths {
    char image[400], base[400]; /* base "": stored whole */
};

static int paths_find(struct core *core, const char *image, struct image_paths *out,
                      struct error *e)
{
    int rc = core_ready(core, e);
    const struct pool *p = rc ? NULL : pool_find(core, image);
    if (rc)
        return rc;
    if (!p || p->row.removing)
        return error_set(e, ANSWER_NO_SUCH_IMAGE, "no image is called %.80s", image);
    pool_path(p, out->image, sizeof out->image);
    out->base[0] = '\0';
    if (p->base)
        pool_path(p->base, out->base, sizeof out->base);
    return 0;
}

const struct answered *export_start(struct core *core, struct call *call, const char *image,
                                    const char *path)
{
    struct error e;
    struct image_paths paths;
    int rc = paths_find(core, image, &paths, &e);
    if (!rc && path[0] != '/')
        rc = error_set(&e, ANSWER_BAD_VALUE, "path \"%.200s\" must be absolute", path);
    if (rc)
        return call_refuse(call, rc, e.text);
    return query_run(core, call, &kind_export, image,
                     image_job_with(json_pack("{s:s, s:s, s:s}", "op", "export", "image",
                                              paths.image, "save", path),
                                    "base", paths.base));
}

const struct answered *verify_start(struct core *core, struct call *call, const char *image)
{
    struct error e;
    struct image_paths paths;
    int rc = paths_find(core, image, &paths, &e);
    if (rc)
        return call_refuse(call, rc, e.text);
    return query_run(
        core, call, &kind_verify, image,
        json_pack("{s:s, s:s, s:b}", "op", "verify", "image", paths.image, "disks", true));
}

const struct answered *diff_start(struct core *core, struct call *call, const char *a,
                                  const char *b)
{
    struct error e;
    struct image_paths x, y;
    int rc = paths_find(core, a, &x, &e);
    if (!rc)
        rc = paths_find(core, b, &y, &e);
    if (rc)
        return call_refuse(call, rc, e.text);
    json_t *request = json_pack("{s:s, s:s, s:s}", "op", "diff", "a", x.image, "b", y.image);
    request = image_job_with(request, "a_base", x.base);
    return query_run(core, call, &kind_diff, a, image_job_with(request, "b_base", y.base));
}

/* ---- when the daemon starts ---- */

static void check_failed(struct pool *p, int code, const char *text)
{
    char why[DB_REASON_SIZE];
    if (p->core->state == CORE_STOPPING)
        return;
    format_fits(why, sizeof why, "its file could not be checked: %s", text);
    pool_build_failed(p, code, why);
}

/* The image that the job is about; NULL: it was removed or replaced meanwhile, and what bears its
 * name now was not there when the daemon started. */
static struct pool *start_pool(struct image_job *job)
{
    struct pool *p = pool_find(job->core, job->name);
    return p && p->checking ? p : NULL;
}

static void start_result(struct image_job *job, const json_t *result)
{
    struct pool *p = start_pool(job);
    (void)result;
    if (!p)
        return;
    p->checking = p->unverified = false;
    pool_expect_due(p);
    pool_built(p);
    core_kick(job->core);
}

/* That the file is damaged is final. Any other failure is none of the file's: it is tried again,
 * and counted like a failed build. */
static void start_failed(struct image_job *job, int code, const char *text)
{
    struct pool *p = start_pool(job);
    if (!p)
        return;
    p->checking = false;
    if (code == ANSWER_IMAGE_REFUSED)
        pool_damaged(p, text);
    else
        check_failed(p, code, text);
}

static const struct image_job_kind kind_start = {"check of image", start_result, query_end,
                                                 start_failed};

static struct pool *next_unverified(const struct core *core)
{
    struct pool *found = NULL;
    list_each (node, &core->pools) {
        struct pool *p = container_of(node, struct pool, in_core);
        if (p->checking)
            return NULL; /* one at a time */
        if (p->unverified && !p->damage[0] && !timer_armed(&p->backoff) &&
            (!found || (p->base && !found->base)))
            found = p;
    }
    return found;
}

void images_verify(struct core *core)
{
    struct pool *p = next_unverified(core);
    struct query *q = p ? calloc(1, sizeof *q) : NULL;
    char path[400];
    struct error e;
    if (p && !q)
        check_failed(p, -ENOMEM, "out of memory");
    if (!q)
        return;
    pool_path(p, path, sizeof path);
    format_fits(q->job.name, sizeof q->job.name, "%s", p->row.name);
    p->checking = true;
    if (image_job_start(&q->job, core, &kind_start, NULL,
                        json_pack("{s:s, s:s, s:b}", "op", "verify", "image", path, "disks", false),
                        &e)) {
        p->checking = false;
        free(q);
        check_failed(p, e.code, e.text);
    }
}
