/* The method ImageImport: see import_call.h. */
#include "pool/core/import_call.h"

static const struct image_job_kind kind = {"import of image", true, recording_result, recording_end,
                                           NULL};

const struct answered *import_call(struct core *core, struct call *call,
                                   const struct import_request *rq)
{
    struct error e;
    char base[IMAGE_PATH_SIZE];
    if (rq->path[0] != '/') {
        error_set(&e, ANSWER_BAD_VALUE, "path \"%.200s\" must be absolute", rq->path);
        return call_refuse(call, e.code, e.text);
    }
    struct recording *rec = recording_new(core, &rq->image, base, &e);
    if (!rec)
        return call_refuse(call, e.code, e.text);
    json_t *request = json_pack("{s:s, s:s, s:s, s:O*, s:b}", "op", "import", "save", rq->path,
                                "image", rec->path, "disks", rq->disks, "disk_digests",
                                (int)rq->disk_digests);
    return recording_run(rec, core, &kind, call, image_job_with(request, "base", base));
}
