/* The method ImageAdopt: see adopt_call.h. */
#include "pool/core/adopt_call.h"

#include "base/text.h"
#include "base/uuid.h"
#include "pool/core/lost.h"
#include "pool/core/recording.h"
#include "restore/protocol/image_made.h"
#include "restore/protocol/image_protocol.h"

#include <stdlib.h>
#include <string.h>

/* The base is known when the file has been read. */
static int base_of(struct recording *rec, const struct image_info *info, struct error *e)
{
    char id[UUID_TEXT_SIZE];
    if (uuid_is_none(&info->base_id))
        return 0;
    const struct entry *base = entry_of_id(rec->job.core, &info->base_id);
    if (base) {
        format_fits(rec->job.base, sizeof rec->job.base, "%s", base->row.name);
        return 0;
    }
    uuid_format(&info->base_id, id);
    return error_set(e, ANSWER_NO_SUCH_IMAGE,
                     "%s is derived from image %s, which is not there: adopt that one first",
                     rec->file, id);
}

static void adopt_result(struct image_job *job, const json_t *result)
{
    struct recording *rec = container_of(job, struct recording, job);
    struct image_info info;
    struct error e;
    json_t *made;
    if (image_made_from_json(result, &info, &made) && base_of(rec, &info, &e)) {
        image_job_refuse(job, e.code, e.text);
        return;
    }
    recording_result(job, result);
}

static const struct image_job_kind kind = {"adoption of image", true, adopt_result, recording_end,
                                           NULL};

static int check_file(const struct core *core, const char *file, struct error *e)
{
    char path[IMAGE_PATH_SIZE];
    if (!lost_is(core, file))
        return error_set(
            e, ANSWER_NO_SUCH_IMAGE,
            "no file \"%.80s\" waits to be adopted; dompool status names those that do", file);
    format_fits(path, sizeof path, "%s/%s", core->images_dir, file);
    if (image_jobs_read(core, path))
        return error_set(e, ANSWER_IMAGE_IN_USE, "%s is being adopted", file);
    return 0;
}

const struct answered *adopt_call(struct core *core, struct call *call, const char *file,
                                  const char *name)
{
    struct error e;
    char base[IMAGE_PATH_SIZE];
    const struct recording_request rq = {.name = name};
    if (check_file(core, file, &e))
        return call_refuse(call, e.code, e.text);
    struct recording *rec = recording_new(core, &rq, base, &e);
    if (!rec)
        return call_refuse(call, e.code, e.text);
    rec->whose = RECORDING_FILE_FOUND;
    format_fits(rec->file, sizeof rec->file, "%s", file);
    format_fits(rec->path, sizeof rec->path, "%s/%s", core->images_dir, file);
    const struct image_verify_op m = {.image = rec->path};
    return recording_run(rec, core, &kind, call, shape_encode(&image_verify_op_shape, &m));
}
