/* Work on image files: see image_job.h. */
#include "pool/core/image_job.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

#define PROGRESS_US 100000 /* between two progress replies */
/* A helper that has said its last word, or was asked to stop, is killed after this. One that
 * captures needs the time: killed, it would leave its domain suspended. */
#define EXIT_MS 5000

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
static void job_settle(struct image_job *job)
{
    job->settled = true;
    if (job->helper)
        timer_start(&job->core->timers, &job->exit_timer, EXIT_MS, helper_overdue);
}

/* The helper is to take back what it has done. */
void image_job_stop(struct image_job *job)
{
    job_settle(job);
    if (job->helper)
        job->core->world->ops->helper_stop(job->helper);
}

void image_job_reply(struct image_job *job, json_t *reply)
{
    struct call *call = job->call;
    job->call = NULL;
    if (call)
        call_reply(call, reply);
    else
        json_decref(reply);
}

void image_job_refuse(struct image_job *job, int code, const char *text)
{
    struct call *call = job->call;
    job->call = NULL;
    job_settle(job);
    log_warning("%s %s: %s", job->kind->what, job->name, text);
    if (call)
        call_refuse(call, code, text);
    else if (job->kind->failed)
        job->kind->failed(job, code, text);
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

void image_job_settled(struct image_job *job)
{
    job->busy = false;
    if (!job->helper)
        job_end(job);
}

/* ---- what the helper says ---- */

static void job_progress(struct image_job *job, const json_t *message)
{
    uint64_t now = core_now_us(job->core);
    if (!job->call || now - job->told_us < PROGRESS_US)
        return;
    job->told_us = now;
    json_int_t done = json_integer_value(json_object_get(message, "done"));
    json_int_t total = json_integer_value(json_object_get(message, "total"));
    call_progress(job->call, json_pack("{s:I, s:I}", "done_bytes", done, "total_bytes", total));
}

static void job_failed(struct image_job *job, const json_t *message)
{
    const char *answer = json_string_value(json_object_get(message, "answer"));
    const char *text = json_string_value(json_object_get(message, "error"));
    int code = answer ? answer_by_name(answer) : ANSWER_INTERNAL;
    image_job_refuse(job, code ? code : ANSWER_INTERNAL, text ? text : "it failed");
}

static void job_message(struct helper *h, void *owner, const json_t *message)
{
    struct image_job *job = owner;
    const char *event = json_string_value(json_object_get(message, "event"));
    (void)h;
    if (job->settled)
        return;
    if (event && !strcmp(event, "progress")) {
        job_progress(job, message);
    } else if (event && !strcmp(event, "done")) {
        job_settle(job);
        job->kind->result(job, json_object_get(message, "result"));
    } else if (event && !strcmp(event, "failed")) {
        job_failed(job, message);
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
    if (job->busy)
        return; /* image_job_settled goes on */
    format_fits(text, sizeof text, "its helper %s", how);
    if (!job->settled)
        image_job_refuse(job, ANSWER_INTERNAL, text);
    job_end(job);
}

/* A result that is being recorded stays, whether or not anybody is told. */
static void job_cancelled(struct call *call)
{
    struct image_job *job = call->owner;
    job->call = NULL;
    if (job->busy)
        return;
    log_info("%s %s: the client is gone", job->kind->what, job->name);
    image_job_stop(job);
}

/* ---- start and stop ---- */

json_t *image_job_with(json_t *request, const char *key, const char *text)
{
    if (!request || !text[0] || !json_object_set_new(request, key, json_string(text)))
        return request;
    json_decref(request);
    return NULL;
}

int image_job_start(struct image_job *job, struct core *core, const struct image_job_kind *kind,
                    struct call *call, json_t *request, struct error *e)
{
    static const struct helper_events events = {job_message, job_ended};
    struct world *w = core->world;
    job->core = core;
    job->kind = kind;
    list_init(&job->node);
    timer_init(&job->exit_timer);
    if (!request)
        return error_set(e, -ENOMEM, "out of memory");
    int rc = w->ops->helper_start(w, HELPER_IMAGE, &events, job, &job->helper, e);
    if (rc) {
        json_decref(request);
        return rc;
    }
    w->ops->helper_send(job->helper, request);
    job->request = request;
    job->call = call;
    list_append(&core->image_jobs, &job->node);
    return 0;
}

const struct answered *image_job_defer(struct image_job *job)
{
    return call_defer(job->call, job_cancelled, job);
}

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
    list_each (node, &core->image_jobs) {
        const struct image_job *job = job_at(node);
        if (!job->settled && job_reads(job, path))
            return true;
    }
    return false;
}

/* Those that are settled are on their way out, or being recorded. */
void image_jobs_stop(struct core *core)
{
    list_each (node, &core->image_jobs) {
        struct image_job *job = job_at(node);
        if (job->settled)
            continue;
        image_job_refuse(job, ANSWER_STOPPING, "the daemon is shutting down");
        image_job_stop(job);
    }
}

void image_jobs_free(struct core *core)
{
    list_each (node, &core->image_jobs)
        job_free(job_at(node));
}
