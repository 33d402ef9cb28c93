/* The method ImageImport: see import_call.h. */
#include "pool/core/import_call.h"

#include "restore/protocol/image_protocol.h"

#include <string.h>

static const struct image_job_kind kind = {"import of image", true, recording_result, recording_end,
                                           NULL};

/* The directories of disk_dirs, as an array; new reference. NULL: no memory. */
static json_t *disk_dirs(const struct core *core)
{
    json_t *dirs = json_array();
    bool ok = dirs != NULL;
    const char *at = config_text(core->config, KEY_DISK_DIRS);
    for (size_t n; ok && *at; at += n + (at[n] == ':')) {
        n = strcspn(at, ":");
        ok = !json_array_append_new(dirs, json_stringn(at, n));
    }
    if (!ok)
        json_decref(dirs);
    return ok ? dirs : NULL;
}

/* Disks that the image of this name has already are nothing new to whoever may allocate it. */
static json_t *had_disks(const struct core *core, const struct import_request *rq)
{
    const struct entry *old = rq->image.replace ? entry_find(core, rq->image.name) : NULL;
    return old ? entry_disks(old) : json_object();
}

/* NULL: no memory. */
static json_t *import_message(const struct recording *rec, const struct core *core,
                              const struct import_request *rq, const char *base)
{
    const struct image_import_op m = {
        .save = rq->path,
        .passed = rec->job.input != 0,
        .image = rec->path,
        .base = base,
        .disks = (json_t *)rq->disks,
        .vifs = (json_t *)rq->vifs,
        .vif_script = *config_pool(core->config, rq->image.name).vif_script != '\0',
        .dirs = disk_dirs(core),
        .had = had_disks(core, rq),
        .disk_digests = rq->disk_digests,
    };
    json_t *message = m.dirs && m.had ? shape_encode(&image_import_op_shape, &m) : NULL;
    json_decref(m.dirs);
    json_decref(m.had);
    return message;
}

const struct answered *import_call(struct core *core, struct call *call,
                                   const struct import_request *rq)
{
    struct error e;
    char base[IMAGE_PATH_SIZE];
    if (rq->path[0] != '/' && call->fd < 0) {
        error_set(&e, ANSWER_BAD_VALUE,
                  "path \"%.200s\" must be absolute, or its descriptor must be passed", rq->path);
        return call_refuse(call, e.code, e.text);
    }
    struct recording *rec = recording_new(core, &rq->image, base, &e);
    if (!rec)
        return call_refuse(call, e.code, e.text);
    if (call->fd >= 0)
        rec->job.input = call->fd;
    return recording_run(rec, core, &kind, call, import_message(rec, core, rq, base));
}
