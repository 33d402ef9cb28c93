/* Removing an image: see remove_call.h. */
#include "pool/core/remove_call.h"

#include "base/log.h"
#include "base/text.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"
#include "pool/core/rows.h"

#include <errno.h>
#include <stdlib.h>

#define REMOVE_WAIT_MS 60000 /* a caller is not kept longer; the removal itself goes on */

struct removal {
    struct list node;
    struct entry *image;
    struct pending pending;
    struct timer timer;
};

static struct call *removal_free(struct removal *m)
{
    struct call *call = pending_take(&m->pending);
    timer_stop(&m->timer);
    list_remove(&m->node);
    free(m);
    return call;
}

static void client_gone(struct pending *p)
{
    removal_free(container_of(p, struct removal, pending));
}

static void wait_timed_out(struct timer *t)
{
    struct removal *m = container_of(t, struct removal, timer);
    char text[160];
    format_fits(text, sizeof text,
                "image %s: %u of its domains are still being destroyed; it "
                "will be removed when they are gone",
                m->image->row.name, m->image->own->set.total);
    call_refuse(removal_free(m), ANSWER_TIMED_OUT, text);
}

void removals_refuse(struct entry *im, int answer, const char *text)
{
    struct list *node;
    while ((node = im->removals.next) != &im->removals)
        call_refuse(removal_free(container_of(node, struct removal, node)), answer, text);
}

/* ---- the end of it ---- */

static void row_erased(void *owner, int rc, const struct error *e)
{
    struct entry *im = owner;
    struct core *core = im->core;
    if (rc) {
        entry_move(im, ENTRY_REMOVING); /* tried again when the database works */
        removals_refuse(im, rc, e->text);
        return;
    }
    char path[IMAGE_PATH_SIZE];
    entry_path(im, path);
    core->world->ops->image_discard(core->world, path);
    log_info("image %s removed", im->row.name);
    struct list calls, *node;
    list_init(&calls);
    while ((node = list_pop(&im->removals)))
        list_append(&calls, node);
    config_forget(core->config, im->row.name);
    entry_discard_old(im);
    image_forget(im);
    while ((node = calls.next) != &calls)
        call_reply(removal_free(container_of(node, struct removal, node)), json_object());
    core_kick(core);
}

void removal_check(struct entry *im)
{
    if (im->state != ENTRY_REMOVING || im->own->set.total ||
        im->core->database.state != DATABASE_WORKS)
        return;
    struct rows *r = rows_new(im->core);
    rows_image_gone(r, &im->row);
    rows_discard(r, im->row.file);
    entry_move(im, ENTRY_ERASING);
    if (!rows_commit(im->core, r, row_erased, im))
        entry_move(im, ENTRY_REMOVING);
}

/* ---- the beginning ---- */

static void mark_written(void *owner, int rc, const struct error *e)
{
    struct entry *im = owner;
    entry_move(im, rc ? im->before : ENTRY_REMOVING);
    if (rc)
        removals_refuse(im, rc, e->text);
    core_kick(im->core);
}

static bool removal_begin(struct entry *im)
{
    struct rows *r = rows_new(im->core);
    entry_move(im, ENTRY_MARKING);
    rows_image(r, &im->row);
    if (rows_commit(im->core, r, mark_written, im))
        return true;
    entry_move(im, im->before);
    return false;
}

/* ANSWER_IMAGE_IN_USE and by what, or 0. */
static int check_unused(const struct entry *im, struct error *e)
{
    unsigned leases = leases_on_image(im);
    char derived[120];
    if (entry_has_derived(im, derived, sizeof derived))
        return error_set(e, ANSWER_IMAGE_IN_USE,
                         "image %s: %s derived from it; remove what is derived first", im->row.name,
                         derived);
    if (leases)
        return error_set(e, ANSWER_IMAGE_IN_USE,
                         "image %s: %u leases are alive or being made; release them first",
                         im->row.name, leases);
    if (image_jobs_record(im->core, im->row.name))
        return error_set(e, ANSWER_IMAGE_IN_USE, "image %s: it is just being replaced",
                         im->row.name);
    return 0;
}

/* One that is being removed is found as well: whoever asks again waits for it, too. */
static int removable(struct core *core, const char *name, struct entry **im, struct error *e)
{
    if (core_ready(core, e) || entry_look_up(core, name, im, e))
        return e->code;
    return check_unused(*im, e);
}

const struct answered *remove_call(struct core *core, struct call *call, const char *image)
{
    struct error e;
    struct entry *im;
    if (removable(core, image, &im, &e))
        return call_refuse(call, e.code, e.text);
    struct removal *m = calloc(1, sizeof *m);
    if (!m || (!entry_is_going(im) && !removal_begin(im))) {
        free(m);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    m->image = im;
    timer_init(&m->timer);
    timer_start(&core->timers, &m->timer, REMOVE_WAIT_MS, wait_timed_out);
    list_append(&im->removals, &m->node);
    return pending_begin(&m->pending, call, client_gone);
}
