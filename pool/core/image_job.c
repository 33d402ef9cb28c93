/* Work on image files: see image_job.h. */
#include "pool/core/image_job.h"

#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "restore/protocol/image_protocol.h"

#include <errno.h>
#include <string.h>

#define PROGRESS_US 100000 /* between two progress replies */
/* A helper that has said its last word, or was asked to stop, is killed after this. One that
 * captures needs the time: killed, it would leave its domain suspended. */
#define EXIT_MS 5000

#define TO(sym) (1u << JOB_##sym)
static const char *const names[] = {"working", "recording", "over"};
static const unsigned successors[] = {
    [JOB_WORKING] = TO(RECORDING) | TO(OVER),
    [JOB_RECORDING] = TO(OVER),
    [JOB_OVER] = 0,
};
#undef TO
static const struct machine job_machine = {"image job", names, successors, JOB_STATE_COUNT};

static struct image_job *job_at(struct list *node)
{
    return container_of(node, struct image_job, node);
}

static void helper_overdue(struct timer *t)
{
    struct image_job *job = container_of(t, struct image_job, exit_timer);
    log_warning("%s %s: its helper did not exit and is killed", job->kind->what, job->name);
    job->core->world->ops->helper_kill(job->helper);
}

/* Whatever the helper still says comes too late. */
static void job_move(struct image_job *job, enum job_state to)
{
    job->state = (enum job_state)machine_step(&job_machine, job->state, to, 0);
    if (job->helper)
        timer_start(&job->core->timers, &job->exit_timer, EXIT_MS, helper_overdue);
}

void image_job_stop(struct image_job *job)
{
    if (job->state != JOB_OVER)
        job_move(job, JOB_OVER);
    if (job->helper)
        job->core->world->ops->helper_stop(job->helper);
}

void image_job_tell_recorded(const struct image_job *job)
{
    json_t *message = shape_encode(&image_recorded_op_shape, NULL);
    if (message && job->helper)
        job->core->world->ops->helper_send(job->helper, message);
    json_decref(message);
}

void image_job_record(struct image_job *job)
{
    job_move(job, JOB_RECORDING);
}

void image_job_reply(struct image_job *job, json_t *reply)
{
    pending_reply(&job->pending, reply);
}

static void job_refuse(struct image_job *job, int code, const char *text, json_t *details)
{
    bool asked = pending_waits(&job->pending);
    if (job->state == JOB_WORKING)
        job_move(job, JOB_OVER);
    log_warning("%s %s: %s", job->kind->what, job->name, text);
    if (!asked && job->kind->failed)
        job->kind->failed(job, code, text);
    pending_refuse_with(&job->pending, code, text, details);
}

void image_job_refuse(struct image_job *job, int code, const char *text)
{
    job_refuse(job, code, text, json_object());
}

static void job_free(struct image_job *job)
{
    list_remove(&job->node);
    timer_stop(&job->exit_timer);
    json_decref(job->request);
    job->kind->end(job);
}

static void job_end(struct image_job *job)
{
    struct core *core = job->core;
    job_free(job);
    core_kick(core); /* files that it read may go; a core that stops may be done */
}

void image_job_recorded(struct image_job *job)
{
    if (job->state != JOB_OVER)
        job_move(job, JOB_OVER);
    if (!job->helper)
        job_end(job);
}

/* ---- what the helper says ---- */

static void job_progress(struct image_job *job, const struct image_progress_event *m)
{
    uint64_t now = core_now_us(job->core);
    if (!pending_waits(&job->pending) || now - job->told_us < PROGRESS_US)
        return;
    job->told_us = now;
    pending_progress(&job->pending, json_pack("{s:I, s:I}", "done_bytes", (json_int_t)m->done,
                                              "total_bytes", (json_int_t)m->total));
}

static void job_done(struct image_job *job, const struct image_done_event *m)
{
    job->kind->result(job, m->result);
    if (job->state == JOB_WORKING)
        job_move(job, JOB_OVER);
}

/* The disks that an import must name: a helper may say anything. New reference. */
static json_t *details_of(int code, const struct image_failed_event *m)
{
    if (code != ANSWER_DISKS_NOT_ALLOWED)
        return json_object();
    return param_fits(PARAM_STRING_MAP, m->disks) ? json_pack("{s:O}", "disks", m->disks)
                                                  : json_pack("{s:{}}", "disks");
}

static void job_failed(struct image_job *job, const struct image_failed_event *m)
{
    int code = m->answer ? answer_by_name(m->answer) : ANSWER_INTERNAL;
    code = code ? code : ANSWER_INTERNAL;
    job_refuse(job, code, m->error ? m->error : "it failed", details_of(code, m));
}

static void job_message(struct helper *h, void *owner, const json_t *message)
{
    struct image_job *job = owner;
    struct image_progress_event progress;
    struct image_done_event done;
    struct image_failed_event failed;
    struct error e;
    (void)h;
    if (job->state != JOB_WORKING)
        return;
    if (!shape_decode(&image_progress_event_shape, message, &progress, &e)) {
        job_progress(job, &progress);
    } else if (!shape_decode(&image_done_event_shape, message, &done, &e)) {
        job_done(job, &done);
    } else if (!shape_decode(&image_failed_event_shape, message, &failed, &e)) {
        job_failed(job, &failed);
    } else {
        image_job_refuse(job, ANSWER_INTERNAL, "the helper sent no message of the protocol");
        image_job_stop(job);
    }
}

static void job_ended(struct helper *h, void *owner, const char *how)
{
    struct image_job *job = owner;
    char text[160];
    (void)h;
    job->helper = NULL;
    timer_stop(&job->exit_timer);
    if (job->state == JOB_RECORDING)
        return; /* image_job_recorded goes on */
    format_fits(text, sizeof text, "its helper %s", how);
    if (job->state == JOB_WORKING)
        image_job_refuse(job, ANSWER_INTERNAL, text);
    job_end(job);
}

/* A result that is being recorded stays, whether or not anybody is told. */
static void client_gone(struct pending *p)
{
    struct image_job *job = container_of(p, struct image_job, pending);
    if (job->state == JOB_RECORDING)
        return;
    log_info("%s %s: the client is gone", job->kind->what, job->name);
    image_job_stop(job);
}

/* ---- start and stop ---- */

int image_job_start(struct image_job *job, struct core *core, const struct image_job_kind *kind,
                    json_t *request, struct error *e)
{
    static const struct helper_events events = {job_message, job_ended};
    struct world *w = core->world;
    job->core = core;
    job->kind = kind;
    job->state = JOB_WORKING;
    list_init(&job->node);
    timer_init(&job->exit_timer);
    if (!request)
        return error_set(e, -ENOMEM, "out of memory");
    int rc = w->ops->helper_start(w, HELPER_IMAGE, job->input ? job->input : -1, &events, job,
                                  &job->helper, e);
    if (rc) {
        json_decref(request);
        return rc;
    }
    w->ops->helper_send(job->helper, request);
    job->request = request;
    list_append(&core->jobs, &job->node);
    return 0;
}

const struct answered *image_job_defer(struct image_job *job, struct call *call)
{
    return pending_begin(&job->pending, call, client_gone);
}

/* ---- what others want to know ---- */

static bool job_reads(const struct image_job *job, const char *path)
{
    const char *key;
    json_t *v;
    json_object_foreach (job->request, key, v)
        if (json_is_string(v) && !strcmp(json_string_value(v), path))
            return true;
    return false;
}

bool image_jobs_read(const struct core *core, const char *path)
{
    list_each (node, &core->jobs)
        if (job_at(node)->state == JOB_WORKING && job_reads(job_at(node), path))
            return true;
    return false;
}

static bool job_records(const struct image_job *job)
{
    return job->kind->makes_image && job->state == JOB_RECORDING;
}

bool image_jobs_record(const struct core *core, const char *name)
{
    list_each (node, &core->jobs)
        if (job_records(job_at(node)) && !strcmp(job_at(node)->name, name))
            return true;
    return false;
}

const char *image_jobs_record_derived(const struct core *core, const char *base)
{
    list_each (node, &core->jobs)
        if (job_records(job_at(node)) && !strcmp(job_at(node)->base, base))
            return job_at(node)->name;
    return NULL;
}

bool image_jobs_make(const struct core *core, const char *name)
{
    list_each (node, &core->jobs) {
        const struct image_job *job = job_at(node);
        if (job->kind->makes_image && job->state != JOB_OVER && !strcmp(job->name, name))
            return true;
    }
    return false;
}

void image_jobs_stop(struct core *core)
{
    list_each (node, &core->jobs) {
        struct image_job *job = job_at(node);
        if (job->state != JOB_WORKING)
            continue;
        image_job_refuse(job, ANSWER_STOPPING, "the daemon is shutting down");
        image_job_stop(job);
    }
}

void image_jobs_free(struct core *core)
{
    list_each (node, &core->jobs)
        job_free(job_at(node));
}
