/* Start and stop: see reconcile.h. */
#include "pool/core/reconcile.h"

#include "base/log.h"
#include "base/text.h"
#include "pool/core/domains.h"
#include "pool/core/ending.h"
#include "pool/core/image_job.h"
#include "pool/core/layers.h"
#include "pool/core/lease.h"
#include "pool/core/lost.h"
#include "pool/core/remove_call.h"
#include "pool/core/rows.h"
#include "pool/core/slot_reap.h"
#include "store/image_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- images ---- */

/* A file that is missing, or is not what it was, stays so. A disk that does not answer may do so
 * later: the check of the file tries again, and brings the facts. */
static bool is_final(int rc)
{
    return rc == ANSWER_IMAGE_REFUSED || rc == -ENOENT;
}

/* What the file says is read here, a few KiB of it; nothing of it is mapped (world_host.c). */
static bool start_image(struct core *core, const struct image_row *row)
{
    struct image_facts facts = {0};
    struct error e = {0};
    char path[IMAGE_PATH_SIZE];
    format_fits(path, sizeof path, "%s/%s", core->images_dir, row->file);
    int rc = core->world->ops->image_read(core->world, path, &facts, &e);
    if (!rc && !uuid_equal(&facts.info.id, &row->id))
        rc = error_set(&e, ANSWER_IMAGE_REFUSED, "%s holds another image than the one imported",
                       path);
    struct entry *im = image_publish(core, row, &facts, ENTRY_UNVERIFIED);
    json_decref(facts.config);
    if (im && is_final(rc) && !entry_is_going(im))
        entry_damaged(im, e.text);
    else if (rc)
        log_warning("image %s: %s", row->name, e.text);
    return im != NULL;
}

/* Its row names a base that is not there: no slot can become it. */
static void check_bases(struct core *core)
{
    list_each (node, &core->images) {
        struct entry *im = entry_at(node);
        if (entry_is_derived(im) && !im->base && im->state == ENTRY_UNVERIFIED)
            entry_damaged(im, "the image that it is derived from is missing");
    }
}

static bool to_be_discarded(const struct core *core, const char *file)
{
    const struct db_rows *rows = core->startup.rows;
    for (size_t i = 0; i < rows->n_discards; i++)
        if (!strcmp(rows->discards[i].file, file))
            return true;
    return false;
}

/* Files of versions that were replaced, and of images that were removed, before they could go. */
static void discard_files(struct core *core)
{
    char path[IMAGE_PATH_SIZE];
    const struct db_rows *rows = core->startup.rows;
    for (size_t i = 0; i < rows->n_discards; i++) {
        format_fits(path, sizeof path, "%s/%s", core->images_dir, rows->discards[i].file);
        core->world->ops->image_discard(core->world, path);
    }
    struct rows *r = rows->n_discards ? rows_new(core) : NULL;
    if (!r)
        return;
    rows_add(r, DB_DISCARD_CLEAR);
    rows_commit(core, r, NULL, NULL);
}

/* A temporary file is of an import that never came to its end. Whole ones are never removed. */
static void file_found(struct world *w, const char *file)
{
    struct core *core = w->owner;
    char path[IMAGE_PATH_SIZE];
    enum image_name kind = image_name_of(file);
    if (kind == IMAGE_NAME_WHOLE && !to_be_discarded(core, file))
        lost_found(core, file);
    if (kind != IMAGE_NAME_TEMPORARY)
        return;
    format_fits(path, sizeof path, "%s/%s", core->images_dir, file);
    log_info("%s is of an import that was cut short, and is removed", path);
    w->ops->image_discard(w, path);
}

/* ---- slots and leases ---- */

static bool start_slot(struct core *core, const struct slot_row *row)
{
    const struct entry *im = row->image[0] ? entry_find(core, row->image) : NULL;
    enum slot_state state = slot_state_parse(row->state);
    if (state >= SLOT_GONE ||
        (!im && (state == SLOT_LEASED || state == SLOT_SAVED || state == SLOT_KEPT)))
        state = SLOT_BROKEN;
    struct slot *s = slot_new(core, im ? &im->own->set : NULL, row->id, &row->uuid, state);
    if (!s)
        return false;
    format_fits(s->engine, sizeof s->engine, "%s", row->engine);
    format_fits(s->name, sizeof s->name, "%s", row->name);
    format_fits(s->reason, sizeof s->reason, "%s", row->reason);
    s->macs = row->macs;
    slot_set_domid(s, row->domid);
    s->since_ms = row->since_ms;
    s->domain = DOMAIN_MAYBE;
    return true;
}

/* One whose slot's row is gone is lost: nothing is left of it but to say so. */
static bool start_lease(struct core *core, const struct lease_row *row)
{
    struct slot *s = slot_of_id(core, row->slot);
    if (s && slot_is_leased(s) && !s->lease)
        return lease_adopt(s, row) != NULL;
    lease_row_lost(core, row);
    return true;
}

/* Those of one image together, as they may contradict what the file says one by one. Those that
 * contradict it together as well are tried alone. */
static void start_settings(struct core *core, const struct setting_row *rows, size_t n)
{
    struct config_change changes[KEY_COUNT];
    struct error e;
    size_t taken = n < KEY_COUNT ? n : KEY_COUNT; /* a key is there once */
    for (size_t i = 0; i < taken; i++)
        changes[i] = (struct config_change){rows[i].key, rows[i].value};
    if (!config_set(core->config, rows->image, changes, taken, &e))
        return;
    for (size_t i = 0; i < n; i++) {
        const struct config_change change = {rows[i].key, rows[i].value};
        if (config_set(core->config, rows->image, &change, 1, &e))
            log_warning("setting %s of image %s is ignored: %s", change.key, rows->image, e.text);
    }
}

static void start_all_settings(struct core *core, const struct db_rows *rows)
{
    for (size_t i = 0, n; i < rows->n_settings; i += n) {
        const struct setting_row *first = &rows->settings[i];
        for (n = 1; i + n < rows->n_settings && !strcmp(first[n].image, first->image);)
            n++;
        start_settings(core, first, n);
    }
}

static bool start_rows(struct core *core, const struct db_rows *rows)
{
    bool ok = true;
    core->next_slot = rows->next_slot;
    core->next_lease = rows->next_lease;
    format_fits(core->tag, sizeof core->tag, "%s", rows->tag);
    start_all_settings(core, rows);
    for (size_t i = 0; ok && i < rows->n_images; i++)
        ok = start_image(core, &rows->images[i]);
    check_bases(core);
    for (size_t i = 0; ok && i < rows->n_slots; i++)
        ok = start_slot(core, &rows->slots[i]);
    for (size_t i = 0; ok && i < rows->n_leases; i++)
        ok = start_lease(core, &rows->leases[i]);
    return ok;
}

/* ---- comparing with the host ---- */

/* While the daemon starts a leftover counts until its destruction has come back once. */
static void leftover_add(struct slot *s)
{
    if (s->core->state == CORE_STARTING)
        list_append(&s->core->startup.leftovers, &s->in_leftovers);
}

static void leftover(struct slot *s, const char *why)
{
    leftover_add(s);
    if (slot_move_legal(s->state, SLOT_RELEASING))
        slot_move(s, SLOT_RELEASING, NULL, why);
    else if (!slot_is_leaving(s))
        slot_move(s, SLOT_BROKEN, NULL, why);
    slot_reap(s);
}

/* Why the lease of a domain that is there, or not, has ended; NULL: it goes on. */
static const char *lease_over(const struct slot *s, const struct host_domain *d)
{
    if (s->state == SLOT_SAVED)
        return s->lease->hold ? "the client that held it is gone" : NULL;
    if (!d || d->state == HOST_DOMAIN_DYING)
        return "its domain ended while the daemon was down";
    const char *why = host_shutdown_reason_name(d->shutdown_reason);
    if (d->state == HOST_DOMAIN_SHUTDOWN && strcmp(why, "suspend") != 0 &&
        !ending_keeps(s->lease, why))
        return why;
    return s->lease->hold ? "the client that held it is gone" : NULL;
}

static void compare_lease(struct slot *s, const struct host_domain *d)
{
    const char *why = lease_over(s, d);
    if (why) {
        leftover_add(s);
        lease_end(s->lease, why, NULL, NULL);
    } else if (s->state == SLOT_SAVED && d && d->state == HOST_DOMAIN_ALIVE) {
        slot_restored(s, d);
    }
}

static void compare_slot(struct slot *s, const struct host_domain *d)
{
    if (d && s->state != SLOT_SAVED)
        slot_set_domid(s, d->domid);
    else if (s->domid == DB_NO_DOMID)
        s->domain = DOMAIN_NONE; /* never came into being */
    if (s->lease)
        compare_lease(s, d);
    else
        leftover(s, "left by an earlier run of the daemon");
}

/* Whatever domid a helper has named: the end of the slot that has its uuid destroys the domain. */
bool orphan_adopt(struct core *core, const struct host_domain *d)
{
    if (strcmp(d->tag, core->tag) != 0 || d->state == HOST_DOMAIN_DYING ||
        slot_of_uuid(core, &d->uuid))
        return false;
    struct slot *s = slot_new(core, NULL, core->next_slot, &d->uuid, SLOT_BUILDING);
    if (!s) {
        log_error("out of memory: domain %u is ours, but is not destroyed yet", d->domid);
        return false;
    }
    core->next_slot++;
    slot_set_domid(s, d->domid);
    format_fits(s->name, sizeof s->name, "%s", d->name);
    text_plain(s->name); /* xenstore may have anything there */
    log_warning("domain %u (%s) is ours but no row knows it: it is destroyed", d->domid, d->name);
    leftover(s, "no row knew this domain");
    return true;
}

static void sweep_if_tried(struct core *core);

void start_listed(struct core *core, int rc, const struct error *e)
{
    if (rc) {
        core->startup.on_started(core, rc, e);
        return;
    }
    core->startup.phase = START_COMPARING;
    for (size_t i = 0; i < core->listing.domains.n; i++) {
        const struct host_domain *d = domain_list_at(&core->listing.domains, i);
        if (d)
            orphan_adopt(core, d);
    }
    list_each (node, &core->slots)
        if (list_empty(&slot_at(node)->in_leftovers))
            compare_slot(slot_at(node), slot_find_domain(slot_at(node)));
    core->startup.phase = START_REAPING;
    sweep_if_tried(core);
}

/* ---- sweeping, and the end of the start ---- */

static void start_swept(struct host_job *job)
{
    struct core *core = container_of(job, struct core, startup.sweep_job);
    if (job->rc)
        log_error("sweeping up after an earlier run: %s", job->error.text);
    else if (job->removed)
        log_info("%u things left by an earlier run were removed", job->removed);
    if (core->state == CORE_STOPPING)
        return; /* a signal came first */
    core->state = CORE_RUNNING;
    core->startup.on_started(core, 0, NULL);
    domains_list(core);
    layers_look(core);
    core_kick(core);
}

/* The disks of leases whose domain is in a file stay. Without memory for the list nothing is swept.
 */
static bool sweep_keep(struct core *core)
{
    struct startup *st = &core->startup;
    size_t n = 0;
    list_each (node, &core->slots)
        n += slot_at(node)->state == SLOT_SAVED;
    free(st->kept);
    st->kept = calloc(n + 1, sizeof *st->kept);
    if (!st->kept)
        return false;
    n = 0;
    list_each (node, &core->slots)
        if (slot_at(node)->state == SLOT_SAVED)
            st->kept[n++] = slot_at(node)->uuid;
    st->sweep_job.keep = st->kept;
    st->sweep_job.n_keep = n;
    return true;
}

static void sweep_if_tried(struct core *core)
{
    struct startup *st = &core->startup;
    if (core->state != CORE_STARTING || st->phase != START_REAPING || !list_empty(&st->leftovers))
        return;
    st->phase = START_SWEEPING;
    st->sweep_job.kind = HOST_JOB_SWEEP;
    st->sweep_job.done = start_swept;
    st->sweep_job.tag = core->tag;
    if (sweep_keep(core)) {
        core->world->ops->host_start(core->world, &st->sweep_job);
        return;
    }
    st->sweep_job.rc = error_set(&st->sweep_job.error, -ENOMEM, "out of memory");
    start_swept(&st->sweep_job);
}

void start_tried(struct slot *s)
{
    list_remove(&s->in_leftovers);
    sweep_if_tried(s->core);
}

void core_start(struct core *core, const struct db_rows *rows)
{
    if (!start_rows(core, rows)) {
        struct error e;
        error_set(&e, -ENOMEM, "out of memory for the rows of the database");
        core->startup.on_started(core, -ENOMEM, &e);
        return;
    }
    core->startup.rows = rows;
    core->world->ops->images_list(core->world, core->images_dir, file_found);
    discard_files(core);
    core->startup.rows = NULL;
    core->startup.phase = START_LISTING;
    domains_list(core);
}

/* ---- stopping ---- */

static void stopped(struct core *core)
{
    timer_stop(&core->startup.stop_timer);
    void (*on_stopped)(struct core *) = core->startup.on_stopped;
    core->startup.on_stopped = NULL;
    on_stopped(core);
}

static void stop_timed_out(struct timer *t)
{
    struct core *core = container_of(t, struct core, startup.stop_timer);
    if (!core->startup.on_stopped)
        return;
    log_warning("unused domains are left behind: the next start destroys them");
    stopped(core);
}

void core_stop_check(struct core *core)
{
    if (core->state != CORE_STOPPING || !core->startup.on_stopped || !list_empty(&core->jobs))
        return;
    if (core->listing.state != LISTING_IDLE || core->measurement.under_way || core->layers.looking)
        return; /* a call to the host cannot be taken back, and is short */
    list_each (node, &core->slots)
        if (!slot_is_leased(slot_at(node)) || slot_at(node)->helper)
            return;
    stopped(core);
}

void core_stop(struct core *core)
{
    core->state = CORE_STOPPING;
    leases_put_traces(core);
    image_jobs_stop(core);
    list_each (node, &core->leases)
        lease_stop(lease_at(node));
    list_each (node, &core->images)
        removals_refuse(entry_at(node), ANSWER_STOPPING,
                        "the daemon is shutting down; the removal goes on when it is back");
    list_each (node, &core->slots) {
        struct slot *s = slot_at(node);
        if (slot_move_legal(s->state, SLOT_RELEASING) && !slot_is_leased(s))
            slot_release(s, "the daemon is shutting down");
    }
    timer_start(&core->timers, &core->startup.stop_timer,
                config_number(core->config, KEY_STOP_TIMEOUT), stop_timed_out);
    core_kick(core);
}
