/* The method ImageCapture: see capture_call.h. */
#include "pool/core/capture_call.h"

#include "base/text.h"
#include "base/uuid.h"
#include "pool/core/lease_find.h"
#include "restore/protocol/image_protocol.h"

#include <string.h>

static const struct image_job_kind capture_kind = {"capture of image", true, recording_result,
                                                   recording_end, NULL};

/*
 * The disks of an older version of the image are not on record: after a restart even which version
 * a slot was built of is not, but a lease from before the image was made has an older one.
 */
static bool lease_disks_known(const struct lease *l)
{
    return uuid_is_none(&l->slot->holds) ? l->created_ms >= l->pool->set.image->row.created_ms
                                         : slot_is_current(l->slot);
}

/*
 * A lease's disks are those of its base, whatever devices it sees them through; cow names those
 * whose private view must not have been written. What the caller gave overrides that.
 */
static bool lease_disks(const struct lease *l, json_t *disks, json_t *cow)
{
    const char *vdev;
    json_t *spec, *own = entry_disks(l->pool->set.image);
    bool ok = own && disks && cow;
    json_object_foreach (own, vdev, spec) {
        if (json_object_get(disks, vdev))
            continue;
        ok = ok && !json_object_set(disks, vdev, spec);
        if (!strncmp(json_string_value(spec), "cow:", 4))
            ok = ok && !json_array_append_new(cow, json_string(vdev));
    }
    json_decref(own);
    return ok;
}

/* Fills in the disks of m, new references. False: no memory. */
static bool disks_of(const struct capture_request *rq, const struct lease *l,
                     struct image_capture_op *m)
{
    m->disks = rq->disks ? json_copy((json_t *)rq->disks) : json_object();
    m->cow = json_array();
    return m->disks && m->cow && (!l || !lease_disks_known(l) || lease_disks(l, m->disks, m->cow));
}

/* Of a lease domid and uuid are known; the helper looks for any other domain on the host. NULL: no
 * memory. */
static json_t *capture_message(const struct recording *rec, const struct capture_request *rq,
                               const struct lease *l, const char *base)
{
    char uuid[UUID_TEXT_SIZE] = "", domid[24];
    struct image_capture_op m = {
        .domain = rq->domain,
        .image = rec->path,
        .uuid = uuid,
        .base = base,
        .disk_digests = rq->disk_digests,
        .stop = rq->stop,
        .timeout_ms = rq->timeout_ms,
    };
    if (l) {
        uuid_format(&l->slot->uuid, uuid);
        format_fits(domid, sizeof domid, "%lld", (long long)l->slot->domid);
        m.domain = domid;
    }
    json_t *message = disks_of(rq, l, &m) ? shape_encode(&image_capture_op_shape, &m) : NULL;
    json_decref(m.disks);
    json_decref(m.cow);
    return message;
}

static int capture_check(const struct lease *l, const struct capture_request *rq, struct error *e)
{
    if (!l)
        return 0;
    if (l->slot->state == SLOT_SAVED)
        return error_set(e, ANSWER_DOMAIN_STATE,
                         "domain %s is saved in a file: restore it first (xl restore)",
                         l->label.name);
    if (l->slot->state == SLOT_KEPT)
        return error_set(e, ANSWER_DOMAIN_STATE, "domain %s has ended: it cannot suspend itself",
                         l->label.name);
    const struct entry *im = l->pool->set.image;
    if (!im->facts.config)
        return error_set(e, ANSWER_IMAGE_BROKEN,
                         "domain %s: the disks of its image %s are not known, because its file "
                         "could not be read yet",
                         l->label.name, im->row.name);
    if (!rq->disks && !lease_disks_known(l))
        return error_set(e, ANSWER_BAD_VALUE,
                         "domain %s runs an older version of image %s, whose disks are not on "
                         "record any more: name them",
                         l->label.name, im->row.name);
    return 0;
}

const struct answered *capture_call(struct core *core, struct call *call,
                                    const struct capture_request *rq)
{
    struct error e;
    char base[IMAGE_PATH_SIZE];
    const struct lease *l = lease_find(core, rq->domain);
    struct recording *rec =
        capture_check(l, rq, &e) ? NULL : recording_new(core, &rq->image, base, &e);
    if (!rec)
        return call_refuse(call, e.code, e.text);
    if (l)
        rec->domain = l->slot->uuid;
    rec->stop = rq->stop;
    return recording_run(rec, core, &capture_kind, call, capture_message(rec, rq, l, base));
}
