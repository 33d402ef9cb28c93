/* How images come to be: see recording.h. In the order in which it happens. */
#include "pool/core/recording.h"

#include "base/log.h"
#include "base/page.h"
#include "base/text.h"
#include "base/uuid.h"
#include "pool/core/lease.h"
#include "pool/core/rows.h"
#include "pool/core/versions.h"
#include "restore/protocol/image_made.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct recording *recording_at(struct image_job *job)
{
    return container_of(job, struct recording, job);
}

void recording_end(struct image_job *job)
{
    struct recording *rec = recording_at(job);
    struct world *w = job->core->world;
    if (rec->whose == RECORDING_FILE_OURS)
        w->ops->image_discard(w, rec->path);
    json_decref(rec->facts.config);
    json_decref(rec->warnings);
    free(rec->old);
    free(rec);
}

/* ---- the request ---- */

static int check_name(const struct core *core, const struct recording_request *rq, struct error *e)
{
    const struct entry *old = entry_find(core, rq->name);
    if (!name_valid(rq->name))
        return error_set(e, ANSWER_BAD_VALUE,
                         "image name \"%.80s\": 1 to 63 letters, digits, '.', '_' or '-', first a "
                         "letter or digit",
                         rq->name);
    if (old && (!rq->replace || entry_is_going(old)))
        return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s exists already", rq->name);
    if (image_jobs_make(core, rq->name))
        return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s is being made", rq->name);
    return old ? version_allowed(old, e) : 0;
}

static int check_base(const struct core *core, const struct recording_request *rq,
                      struct entry **base, struct error *e)
{
    *base = NULL;
    if (!rq->base)
        return 0;
    if (entry_need(core, rq->base, base, e))
        return e->code;
    if ((*base)->state == ENTRY_DAMAGED)
        return entry_check(*base, e);
    if ((*base)->base)
        return error_set(e, ANSWER_BAD_VALUE, "%s is derived itself, from %s: give that as base",
                         rq->base, (*base)->base->row.name);
    if (!strcmp(rq->base, rq->name))
        return error_set(e, ANSWER_BAD_VALUE, "%s cannot be its own base", rq->name);
    return 0;
}

static void choose_file(struct recording *rec, struct core *core)
{
    struct uuid id;
    char uuid[UUID_TEXT_SIZE];
    core_new_uuid(core, &id);
    uuid_format(&id, uuid);
    format_fits(rec->file, sizeof rec->file, "%s.img", uuid);
    format_fits(rec->path, sizeof rec->path, "%s/%s", core->images_dir, rec->file);
}

struct recording *recording_new(struct core *core, const struct recording_request *rq,
                                char base_path[IMAGE_PATH_SIZE], struct error *e)
{
    struct entry *base;
    if (core_ready(core, e) || check_name(core, rq, e) || check_base(core, rq, &base, e))
        return NULL;
    struct recording *rec = calloc(1, sizeof *rec);
    if (!rec) {
        error_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    choose_file(rec, core);
    format_fits(rec->job.name, sizeof rec->job.name, "%s", rq->name);
    format_fits(rec->job.base, sizeof rec->job.base, "%s", rq->base ? rq->base : "");
    rec->replace = rq->replace;
    base_path[0] = '\0';
    if (base)
        entry_path(base, base_path);
    return rec;
}

const struct answered *recording_run(struct recording *rec, struct core *core,
                                     const struct image_job_kind *kind, struct call *call,
                                     json_t *request)
{
    struct error e;
    if (!image_job_start(&rec->job, core, kind, request, &e))
        return image_job_defer(&rec->job, call);
    free(rec);
    return call_refuse(call, e.code, e.text);
}

/* ---- the helper's result ---- */

/* The base, and the image to be replaced, may have changed while the helper worked, or be about to:
 * a row that is being committed counts as if it were there. */
static int result_check(const struct recording *rec, struct error *e)
{
    const struct core *core = rec->job.core;
    const char *base_name = rec->job.base;
    const struct entry *base = base_name[0] ? entry_find(core, base_name) : NULL;
    const struct entry *old = entry_find(core, rec->job.name);
    if (!base_name[0] && !image_is_base(&rec->facts.info))
        return error_set(e, ANSWER_INTERNAL, "the helper's report is malformed");
    if (base_name[0] && (!base || entry_is_going(base) || image_jobs_record(core, base_name) ||
                         !uuid_equal(&base->row.id, &rec->facts.info.base_id)))
        return error_set(e, ANSWER_NO_SUCH_IMAGE,
                         "the base %s was removed or replaced in the meantime", base_name);
    if (old && (!rec->replace || entry_is_going(old)))
        return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s exists already",
                         rec->job.name);
    return old ? version_allowed(old, e) : 0;
}

static int result_take(struct recording *rec, const json_t *result, struct error *e)
{
    json_t *config;
    if (!image_made_from_json(result, &rec->facts.info, &config))
        return error_set(e, ANSWER_INTERNAL, "the helper's report is malformed");
    rec->facts.config = json_incref(config);
    json_t *warnings = json_object_get(result, "warnings");
    if (param_fits(PARAM_STRINGS, warnings))
        rec->warnings = json_incref(warnings);
    if (result_check(rec, e))
        return e->code;
    rec->old = old_file_new();
    return rec->old ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static void row_fill(struct recording *rec)
{
    struct image_row *row = &rec->row;
    format_fits(row->name, sizeof row->name, "%s", rec->job.name);
    format_fits(row->file, sizeof row->file, "%s", rec->file);
    row->id = rec->facts.info.id;
    row->base = rec->facts.info.base_id;
    row->created_ms = rec->facts.info.created_ms;
}

static void row_recorded(void *owner, int rc, const struct error *e);

void recording_result(struct image_job *job, const json_t *result)
{
    struct recording *rec = recording_at(job);
    struct error e;
    if (result_take(rec, result, &e)) {
        image_job_refuse(job, e.code, e.text);
        image_job_stop(job);
        return;
    }
    row_fill(rec);
    struct rows *r = rows_new(job->core);
    rows_image(r, &rec->row);
    const struct entry *old = entry_find(job->core, rec->job.name);
    if (old)
        rows_discard(r, old->row.file);
    image_job_record(job);
    if (rows_commit(job->core, r, row_recorded, rec))
        return;
    image_job_refuse(job, -ENOMEM, "out of memory");
    image_job_recorded(job);
}

/* ---- on record ---- */

static void warn_delta(const struct entry *im, json_t *warnings)
{
    const struct image_info *i = &im->facts.info;
    uint64_t limit = config_number(im->core->config, KEY_DELTA_WARN);
    if (!im->base || i->entries * 100 <= i->populated * limit)
        return;
    json_array_append_new(
        warnings, json_sprintf("the delta is %llu pages, %llu %% of the guest's memory: every "
                               "allocate copies %llu MiB; consider a base of its own",
                               (unsigned long long)i->entries,
                               (unsigned long long)(i->entries * 100 / i->populated),
                               (unsigned long long)(i->entries * PAGE_BYTES >> 20)));
}

static void warn_disks(const struct entry *im, json_t *warnings)
{
    size_t i;
    json_t *disk;
    json_array_foreach (json_object_get(im->facts.config, "disks"), i, disk) {
        const char *vdev = json_string_value(json_object_get(disk, "vdev"));
        const char *path = json_string_value(json_object_get(disk, "path"));
        if (vdev && path && !json_object_get(disk, "was"))
            json_array_append_new(
                warnings, json_sprintf("disk %s: %s could not be looked at: nobody will notice "
                                       "when it changes",
                                       vdev, path));
    }
}

/* The first disk that the saved domain writes to and the slots' guests see; or NULL. */
static const char *disk_in_use(const struct entry *im)
{
    size_t i;
    json_t *disk;
    json_array_foreach (json_object_get(im->facts.config, "disks"), i, disk) {
        const char *kind = json_string_value(json_object_get(disk, "kind"));
        const char *path = json_string_value(json_object_get(disk, "path"));
        if (path && kind && !strcmp(kind, "cow")) /* what was writable, unless told otherwise */
            return path;
    }
    return NULL;
}

/* The saved domain still runs, as after `xl save -c`. A lease's writes stay in its own layers. */
static void warn_running(const struct entry *im, json_t *warnings)
{
    struct uuid uuid;
    const char *path = disk_in_use(im);
    const char *text = json_string_value(json_object_get(im->facts.config, "uuid"));
    if (!path || !text || uuid_parse(text, &uuid))
        return;
    const struct domain_list *l = &im->core->listing.domains;
    const struct host_domain *d = domain_list_first(l, &uuid);
    for (; d; d = domain_list_next(l, d))
        if (d->state == HOST_DOMAIN_ALIVE && !d->tag[0])
            json_array_append_new(
                warnings,
                json_sprintf(
                    "domain %u (%s), whose state this is, still runs: as soon as it writes "
                    "to %s the image cannot be used; shut it down, or import the state "
                    "with --disk and a copy of the disk made when it was saved",
                    d->domid, d->name, path));
}

/* What an administrator should know about the image; new reference. */
static json_t *warnings_of(const struct recording *rec, const struct entry *im)
{
    size_t i;
    json_t *warning, *warnings = json_array();
    if (rec->warnings)
        json_array_extend(warnings, rec->warnings);
    warn_delta(im, warnings);
    warn_disks(im, warnings);
    if (!rec->stop)
        warn_running(im, warnings);
    json_array_foreach (warnings, i, warning) {
        log_warning("image %s: %s", im->row.name, json_string_value(warning));
    }
    return warnings;
}

static void answer(struct recording *rec, const struct entry *im)
{
    log_info("image %s: %llu pages, %llu of them stored", im->row.name,
             (unsigned long long)im->facts.info.populated,
             (unsigned long long)im->facts.info.payload_pages);
    image_job_reply(&rec->job, json_pack("{s:o, s:o}", "image", image_to_json(im), "warnings",
                                         warnings_of(rec, im)));
}

/* A captured domain that was to stop is suspended until now. A lease ends; any other domain is
 * ended by the helper. */
static void captured_stop(const struct recording *rec)
{
    image_job_tell_recorded(&rec->job);
    for (struct slot *s = slot_of_uuid(rec->job.core, &rec->domain); s; s = slot_next_of_uuid(s))
        if (s->lease && s->lease->state == LEASE_ACTIVE) {
            lease_end(s->lease, "captured, and told to stop", NULL, NULL);
            return;
        }
}

/* No memory for the image whose row is committed: the row goes again, and the file if we made
 * it. */
static void take_back(struct recording *rec)
{
    struct rows *r = rows_new(rec->job.core);
    rows_image_gone(r, &rec->row);
    if (rec->whose == RECORDING_FILE_OURS)
        rows_discard(r, rec->row.file);
    rows_commit(rec->job.core, r, NULL, NULL);
}

/* Puts the image where everybody finds it. NULL: no memory. */
static struct entry *publish(struct recording *rec)
{
    struct core *core = rec->job.core;
    struct entry *im = entry_find(core, rec->job.name);
    if (!im)
        return image_publish(core, &rec->row, &rec->facts, ENTRY_SOUND);
    version_take(im, &rec->row, &rec->facts, rec->old);
    rec->old = NULL;
    return im;
}

/* The row is committed, or not; the helper may still be about to exit. */
static void row_recorded(void *owner, int rc, const struct error *e)
{
    struct recording *rec = owner;
    struct entry *im = rc ? NULL : publish(rec);
    if (!rc && !im)
        take_back(rec);
    if (im) {
        rec->whose = RECORDING_FILE_PUBLISHED;
        answer(rec, im);
        if (rec->stop)
            captured_stop(rec);
        core_kick(rec->job.core);
    } else {
        image_job_refuse(&rec->job, rc ? rc : -ENOMEM, rc ? e->text : "out of memory");
        image_job_stop(&rec->job);
    }
    image_job_recorded(&rec->job);
}
