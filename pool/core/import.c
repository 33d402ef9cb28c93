/*
 * Imports and captures: see import.h.
 *
 * The image's row is written only when the file is whole and durable. Whatever ends it early (the
 * helper, the client, the daemon's stop) leaves no file: the helper is dead before it is looked
 * for.
 */
#include "pool/core/import.h"

#include "base/log.h"
#include "base/util.h"
#include "pool/core/api.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"
#include "pool/core/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct import {
    struct image_job job;
    char file[64], path[400], base[DB_NAME_SIZE];
    bool replace, stop;
    bool recorded;      /* the file is an image's, which looks after it */
    uint8_t domain[16]; /* of a captured lease: its uuid */
    struct image_row row;
    struct image_facts facts;
    struct old_file *old; /* for pool_replace; got before the commit, which cannot be undone */
};

static void import_result(struct image_job *job, const json_t *result);

static struct import *import_at(struct image_job *job)
{
    return container_of(job, struct import, job);
}

static void import_end(struct image_job *job)
{
    struct import *im = import_at(job);
    struct world *w = job->core->world;
    if (!im->recorded)
        w->ops->image_discard(w, im->path);
    json_decref(im->facts.config);
    free(im->old);
    free(im);
}

static bool job_makes_image(const struct image_job *job)
{
    return job->kind->result == import_result;
}

bool import_commits(const struct core *core, const char *name)
{
    list_each (node, &core->image_jobs) {
        struct image_job *job = container_of(node, struct image_job, node);
        if (job_makes_image(job) && job->busy && !strcmp(job->name, name))
            return true;
    }
    return false;
}

const char *import_commits_derived(const struct core *core, const char *base)
{
    list_each (node, &core->image_jobs) {
        struct image_job *job = container_of(node, struct image_job, node);
        if (job_makes_image(job) && job->busy && !strcmp(import_at(job)->base, base))
            return job->name;
    }
    return NULL;
}

/* ---- the helper's result ---- */

static bool read_number(const json_t *info, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(info, key);
    *out = (uint64_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool read_counts(const json_t *info, struct image_info *i)
{
    const struct {
        const char *key;
        uint64_t *out;
    } counts[] = {
        {"max_pfn", &i->max_pfn},       {"populated", &i->populated},
        {"pages", &i->pages},           {"zero_pages", &i->zero_pages},
        {"free_pages", &i->free_pages}, {"repeated_pages", &i->repeated_pages},
        {"file_bytes", &i->file_bytes}, {"payload_pages", &i->payload_pages},
    };
    for (size_t n = 0; n < ARRAY_SIZE(counts); n++)
        if (!read_number(info, counts[n].key, counts[n].out))
            return false;
    return true;
}

/* False: it is not what slot_protocol.h says. */
static bool read_facts(const json_t *info, struct image_facts *f)
{
    uint64_t vcpus, created;
    const char *id = json_string_value(json_object_get(info, "id"));
    const char *base = json_string_value(json_object_get(info, "base_id"));
    const char *guest = json_string_value(json_object_get(info, "guest"));
    json_t *config = json_object_get(info, "config");
    if (!id || uuid_parse(id, f->info.id) || !base || uuid_parse(base, f->info.base_id) || !guest ||
        !json_is_object(config) || !read_number(info, "vcpus", &vcpus) ||
        !read_counts(info, &f->info) || !read_number(info, "created_ms", &created))
        return false;
    f->info.guest = !strcmp(guest, "pv") ? IMAGE_GUEST_PV : IMAGE_GUEST_PVH;
    f->info.vcpus = (unsigned)vcpus;
    f->info.created_ms = (int64_t)created;
    f->config = json_incref(config);
    return true;
}

static void warn_delta(const struct pool *p, json_t *warnings)
{
    const struct image_info *i = &p->facts.info;
    if (!p->base || i->pages * 100 <= i->populated * config_number(p->core->config, KEY_DELTA_WARN))
        return;
    json_array_append_new(
        warnings, json_sprintf("the delta is %llu pages, %llu %% of the guest's memory: every "
                               "allocate copies %llu MiB; consider a base of its own",
                               (unsigned long long)i->pages,
                               (unsigned long long)(i->pages * 100 / i->populated),
                               (unsigned long long)(i->pages * PAGE_BYTES >> 20)));
}

static void warn_disks(const struct pool *p, json_t *warnings)
{
    size_t i;
    json_t *disk;
    json_array_foreach (json_object_get(p->facts.config, "disks"), i, disk) {
        const char *vdev = json_string_value(json_object_get(disk, "vdev"));
        const char *path = json_string_value(json_object_get(disk, "path"));
        if (vdev && path && !json_object_get(disk, "was"))
            json_array_append_new(
                warnings, json_sprintf("disk %s: %s could not be looked at: nobody will notice "
                                       "when it changes",
                                       vdev, path));
    }
}

/* What an administrator should know about the image; new reference. */
static json_t *import_warnings(const struct pool *p)
{
    size_t i;
    json_t *warning, *warnings = json_array();
    warn_delta(p, warnings);
    warn_disks(p, warnings);
    json_array_foreach (warnings, i, warning) {
        log_warning("image %s: %s", p->row.name, json_string_value(warning));
    }
    return warnings;
}

static void import_answer(struct import *im, struct pool *p)
{
    log_info("image %s: %llu pages, %llu of them stored", p->row.name,
             (unsigned long long)p->facts.info.populated,
             (unsigned long long)p->facts.info.payload_pages);
    image_job_reply(&im->job,
                    json_pack("{s:o, s:o}", "image", api_image(p), "warnings", import_warnings(p)));
}

/* A captured domain that was to stop is suspended until now. A lease ends; any other domain is
 * ended by the helper. */
static void captured_stop(const struct import *im)
{
    struct world *w = im->job.core->world;
    json_t *message = json_pack("{s:s}", "op", "recorded");
    if (message && im->job.helper)
        w->ops->helper_send(im->job.helper, message);
    json_decref(message);
    list_each (node, &im->job.core->leases) {
        struct lease *l = container_of(node, struct lease, in_core);
        if (l->state == LEASE_ACTIVE && !memcmp(l->slot->uuid, im->domain, sizeof im->domain)) {
            lease_end(l, "captured, and told to stop", NULL, NULL);
            return;
        }
    }
}

/* No memory for the image whose row is committed: the row goes again. */
static void import_take_back(struct import *im)
{
    struct rows *r = rows_new(im->job.core);
    rows_image_gone(r, &im->row);
    rows_commit(im->job.core, r, NULL, NULL);
}

/* The row is committed, or not; the helper may still be about to exit. */
static void import_recorded(void *owner, int rc, const struct error *e)
{
    struct import *im = owner;
    struct core *core = im->job.core;
    struct pool *p = rc ? NULL : pool_find(core, im->job.name);
    if (p) {
        pool_replace(p, &im->row, &im->facts, im->old);
        im->old = NULL;
    } else if (!rc && !(p = pool_new(core, &im->row, &im->facts))) {
        import_take_back(im);
    }
    im->recorded = p != NULL;
    if (p) {
        import_answer(im, p);
        if (im->stop)
            captured_stop(im);
        core_kick(core);
    } else {
        image_job_refuse(&im->job, rc ? rc : -ENOMEM, rc ? e->text : "out of memory");
        image_job_stop(&im->job);
    }
    image_job_settled(&im->job);
}

/* The base, and the image to be replaced, may have changed while the helper worked, or be about to:
 * a row that is being committed counts as if it were there. */
static int result_check(const struct import *im, struct error *e)
{
    struct core *core = im->job.core;
    const struct pool *base = im->base[0] ? pool_find(core, im->base) : NULL;
    const struct pool *old = pool_find(core, im->job.name);
    if (!im->base[0] && !image_is_base(&im->facts.info))
        return error_set(e, ANSWER_INTERNAL, "the helper's report is malformed");
    if (im->base[0] && (!base || base->row.removing || import_commits(core, im->base) ||
                        memcmp(base->row.id, im->facts.info.base_id, sizeof base->row.id) != 0))
        return error_set(e, ANSWER_NO_SUCH_IMAGE,
                         "the base %s was removed or replaced in the meantime", im->base);
    if (old && (!im->replace || old->row.removing))
        return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s exists already", im->job.name);
    return old ? pool_replaceable(old, e) : 0;
}

static void import_result(struct image_job *job, const json_t *result)
{
    struct import *im = import_at(job);
    struct core *core = job->core;
    struct error e = {0};
    int rc = read_facts(result, &im->facts)
                 ? result_check(im, &e)
                 : error_set(&e, ANSWER_INTERNAL, "the helper's report is malformed");
    im->old = rc ? NULL : pool_old_new();
    if (!rc && !im->old)
        rc = error_set(&e, -ENOMEM, "out of memory");
    if (rc) {
        image_job_refuse(job, rc, e.text);
        image_job_stop(job);
        return;
    }
    format_fits(im->row.name, sizeof im->row.name, "%s", job->name);
    format_fits(im->row.file, sizeof im->row.file, "%s", im->file);
    memcpy(im->row.id, im->facts.info.id, sizeof im->row.id);
    memcpy(im->row.base, im->facts.info.base_id, sizeof im->row.base);
    im->row.created_ms = im->facts.info.created_ms;
    struct rows *r = rows_new(core);
    rows_image(r, &im->row);
    job->busy = rows_commit(core, r, import_recorded, im);
    if (!job->busy)
        image_job_refuse(job, -ENOMEM, "out of memory");
}

/* ---- the request ---- */

static const struct image_job_kind kind_import = {"import of image", import_result, import_end,
                                                  NULL};
static const struct image_job_kind kind_capture = {"capture of image", import_result, import_end,
                                                   NULL};

static int name_check(struct core *core, const struct import_request *rq, struct error *e)
{
    const struct pool *old = pool_find(core, rq->name);
    if (!name_valid(rq->name))
        return error_set(e, ANSWER_BAD_VALUE,
                         "image name \"%.80s\": 1 to 63 letters, digits, '.', '_' or '-', first a "
                         "letter or digit",
                         rq->name);
    if (old && (!rq->replace || old->row.removing))
        return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s exists already", rq->name);
    list_each (node, &core->image_jobs) {
        const struct image_job *job = container_of(node, struct image_job, node);
        /* One that was answered has failed and only waits for its helper's end. */
        if (job_makes_image(job) && (job->call || job->busy) && !strcmp(job->name, rq->name))
            return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s is being made", rq->name);
    }
    return old ? pool_replaceable(old, e) : 0;
}

static int base_check(struct core *core, const struct import_request *rq, struct pool **base,
                      struct error *e)
{
    *base = rq->base ? pool_find(core, rq->base) : NULL;
    if (!rq->base)
        return 0;
    if (!*base || (*base)->row.removing)
        return error_set(e, ANSWER_NO_SUCH_IMAGE, "no image is called %.80s", rq->base);
    if ((*base)->damage[0])
        return pool_check(*base, e);
    if ((*base)->base)
        return error_set(e, ANSWER_BAD_VALUE, "%s is derived itself, from %s: give that as base",
                         rq->base, (*base)->base->row.name);
    if (!strcmp(rq->base, rq->name))
        return error_set(e, ANSWER_BAD_VALUE, "%s cannot be its own base", rq->name);
    return 0;
}

/* NULL: refused. *base: the base's path, or "". */
static struct import *import_new(struct core *core, const struct import_request *rq,
                                 char *base_path, size_t size, struct error *e)
{
    uint8_t random[16];
    char uuid[UUID_TEXT_SIZE];
    struct pool *base = NULL;
    if (core_ready(core, e) || name_check(core, rq, e) || base_check(core, rq, &base, e))
        return NULL;
    struct import *im = calloc(1, sizeof *im);
    if (!im) {
        error_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    uuid_random(random);
    uuid_format(random, uuid);
    format_fits(im->job.name, sizeof im->job.name, "%s", rq->name);
    format_fits(im->file, sizeof im->file, "%s.img", uuid);
    format_fits(im->path, sizeof im->path, "%s/%s", core->images_dir, im->file);
    format_fits(im->base, sizeof im->base, "%s", rq->base ? rq->base : "");
    im->replace = rq->replace;
    base_path[0] = '\0';
    if (base)
        pool_path(base, base_path, size);
    return im;
}

static const struct answered *import_run(struct import *im, struct core *core,
                                         const struct image_job_kind *kind, struct call *call,
                                         json_t *request)
{
    struct error e;
    int rc = image_job_start(&im->job, core, kind, call, request, &e);
    if (!rc)
        return image_job_defer(&im->job);
    free(im);
    return call_refuse(call, rc, e.text);
}

const struct answered *import_start(struct core *core, struct call *call,
                                    const struct import_request *rq)
{
    struct error e;
    char base[400];
    if (rq->path[0] != '/') {
        error_set(&e, ANSWER_BAD_VALUE, "path \"%.200s\" must be absolute", rq->path);
        return call_refuse(call, e.code, e.text);
    }
    struct import *im = import_new(core, rq, base, sizeof base, &e);
    if (!im)
        return call_refuse(call, e.code, e.text);
    return import_run(im, core, &kind_import, call,
                      image_job_with(json_pack("{s:s, s:s, s:s, s:O*, s:b}", "op", "import", "save",
                                               rq->path, "image", im->path, "disks", rq->disks,
                                               "disk_digests", (int)rq->disk_digests),
                                     "base", base));
}

/* ---- capture ---- */

static bool id_is_none(const uint8_t id[16])
{
    static const uint8_t none[16];
    return !memcmp(id, none, sizeof none);
}

/*
 * The disks of an older version of the image are not on record: after a restart even which version
 * a slot was built of is not, but a lease from before the image was made has an older one.
 */
static bool lease_disks_known(const struct lease *l)
{
    return id_is_none(l->slot->holds) ? l->created_ms >= l->pool->row.created_ms
                                      : slot_is_current(l->slot);
}

/*
 * A lease's disks are those of its base, whatever devices it sees them through; cow names those
 * whose private view must not have been written. What the caller gave goes before.
 */
static bool lease_disks(const struct lease *l, json_t *disks, json_t *cow)
{
    size_t i;
    json_t *v;
    bool ok = disks && cow;
    json_array_foreach (json_object_get(l->pool->facts.config, "disks"), i, v) {
        const char *vdev = json_string_value(json_object_get(v, "vdev"));
        const char *kind = json_string_value(json_object_get(v, "kind"));
        const char *path = json_string_value(json_object_get(v, "path"));
        json_int_t size = json_integer_value(json_object_get(v, "size_bytes"));
        if (!vdev || !kind || json_object_get(disks, vdev))
            continue;
        ok = ok && !json_object_set_new(disks, vdev,
                                        path ? json_sprintf("%s:%s", kind, path)
                                             : json_sprintf("%s:%lld", kind, (long long)size));
        if (!strcmp(kind, "cow"))
            ok = ok && !json_array_append_new(cow, json_string(vdev));
    }
    return ok;
}

/* Of a lease domid and uuid are known; the helper looks for any other domain on the host. NULL: no
 * memory. */
static json_t *capture_message(const struct import *im, const struct import_request *rq,
                               const struct lease *l, const char *base)
{
    char uuid[UUID_TEXT_SIZE] = "", domid[24];
    json_t *disks = rq->disks ? json_copy((json_t *)rq->disks) : json_object();
    json_t *cow = json_array();
    if (l) {
        uuid_format(l->slot->uuid, uuid);
        format_fits(domid, sizeof domid, "%lld", (long long)l->slot->domid);
        if (lease_disks_known(l) && !lease_disks(l, disks, cow)) {
            json_decref(disks);
            json_decref(cow);
            return NULL;
        }
    }
    json_t *request = json_pack("{s:s, s:s, s:s, s:o, s:b, s:o, s:b, s:I}", "op", "capture",
                                "domain", l ? domid : rq->domain, "image", im->path, "disks", disks,
                                "disk_digests", (int)rq->disk_digests, "cow", cow, "stop",
                                (int)rq->stop, "timeout_ms", (json_int_t)rq->timeout_ms);
    return image_job_with(image_job_with(request, "uuid", uuid), "base", base);
}

static int capture_check(const struct lease *l, const struct import_request *rq, struct error *e)
{
    if (!l)
        return 0;
    if (l->slot->state == SLOT_SAVED)
        return error_set(e, ANSWER_BAD_VALUE,
                         "domain %s is saved in a file: restore it first (xl restore)", l->name);
    if (!rq->disks && !lease_disks_known(l))
        return error_set(e, ANSWER_BAD_VALUE,
                         "domain %s runs an older version of image %s, whose disks are not on "
                         "record any more: name them",
                         l->name, l->pool->row.name);
    return 0;
}

const struct answered *capture_start(struct core *core, struct call *call,
                                     const struct import_request *rq)
{
    struct error e;
    char base[400];
    const struct lease *l = lease_find(core, rq->domain);
    struct import *im =
        capture_check(l, rq, &e) ? NULL : import_new(core, rq, base, sizeof base, &e);
    if (!im)
        return call_refuse(call, e.code, e.text);
    if (l) {
        memcpy(im->domain, l->slot->uuid, sizeof im->domain);
    }
    im->stop = rq->stop;
    return import_run(im, core, &kind_capture, call, capture_message(im, rq, l, base));
}
