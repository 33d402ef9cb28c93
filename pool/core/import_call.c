/* The method ImageImport: see import_call.h. */
#include "pool/core/import_call.h"

#include "restore/protocol/image_protocol.h"

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
    const struct image_import_op m = {
        .save = rq->path,
        .image = rec->path,
        .base = base,
        .disks = (json_t *)rq->disks,
        .disk_digests = rq->disk_digests,
    };
    return recording_run(rec, core, &kind, call, shape_encode(&image_import_op_shape, &m));
}
