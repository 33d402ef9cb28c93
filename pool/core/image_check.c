/* The check of images at the start: see image_check.h. */
#include "pool/core/image_check.h"

#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "pool/core/catalog.h"
#include "pool/core/image_job.h"
#include "restore/protocol/image_made.h"
#include "restore/protocol/image_protocol.h"

#include <errno.h>
#include <stdlib.h>

static void check_end(struct image_job *job)
{
    free(job);
}

/* The image that the job is about; NULL: it was removed or replaced meanwhile, and what bears its
 * name now was not there when the daemon started. */
static struct entry *entry_of(struct image_job *job)
{
    struct entry *im = entry_find(job->core, job->name);
    return im && im->state == ENTRY_CHECKING ? im : NULL;
}

static void not_checked(struct entry *im, int code, const char *text)
{
    if (im->core->state == CORE_STOPPING)
        return;
    failures_add(&im->checks, code, text, im->backoff_ms, im->backoff_max_ms);
    log_warning("image %s: its file could not be checked, %u in a row: %s", im->row.name,
                im->checks.n, text);
    core_kick(im->core); /* whoever waits in vain is refused */
}

/* The facts of a file that could not be read when the daemon started. */
static void facts_take(struct entry *im, const struct image_info *info, json_t *config)
{
    if (im->facts.config)
        return;
    im->facts.info = *info;
    im->facts.config = json_incref(config);
}

static void check_result(struct image_job *job, const json_t *result)
{
    struct entry *im = entry_of(job);
    struct image_info info;
    json_t *config;
    if (!im)
        return;
    if (!image_made_from_json(result, &info, &config)) {
        entry_move(im, ENTRY_UNVERIFIED);
        not_checked(im, ANSWER_INTERNAL, "the helper's report is malformed");
    } else if (!uuid_equal(&info.id, &im->row.id)) {
        entry_damaged(im, "its file holds another image than the one imported");
    } else {
        facts_take(im, &info, config);
        failures_forget(&im->checks);
        entry_move(im, ENTRY_SOUND);
        core_kick(job->core);
    }
}

/* That the file is damaged is final. Any other failure is none of the file's: it is tried again. */
static void check_failed(struct image_job *job, int code, const char *text)
{
    struct entry *im = entry_of(job);
    if (!im)
        return;
    if (code == ANSWER_IMAGE_REFUSED) {
        entry_damaged(im, text);
    } else {
        entry_move(im, ENTRY_UNVERIFIED);
        not_checked(im, code, text);
    }
}

static const struct image_job_kind kind = {"check of image", false, check_result, check_end,
                                           check_failed};

static struct entry *next_unverified(const struct core *core)
{
    struct entry *found = NULL;
    list_each (node, &core->images) {
        struct entry *im = entry_at(node);
        if (im->state == ENTRY_CHECKING)
            return NULL; /* one at a time */
        if (im->state == ENTRY_UNVERIFIED && !timer_armed(&im->checks.pause) &&
            (!found || (im->base && !found->base)))
            found = im;
    }
    return found;
}

static int check_start(struct entry *im, struct error *e)
{
    char path[IMAGE_PATH_SIZE];
    struct image_job *job = calloc(1, sizeof *job);
    if (!job)
        return error_set(e, -ENOMEM, "out of memory");
    entry_path(im, path);
    format_fits(job->name, sizeof job->name, "%s", im->row.name);
    const struct image_verify_op m = {.image = path};
    int rc = image_job_start(job, im->core, &kind, shape_encode(&image_verify_op_shape, &m), e);
    if (rc)
        free(job);
    return rc;
}

void images_check(struct core *core)
{
    struct entry *im = next_unverified(core);
    struct error e;
    if (!im)
        return;
    if (check_start(im, &e))
        not_checked(im, e.code, e.text);
    else
        entry_move(im, ENTRY_CHECKING);
}
