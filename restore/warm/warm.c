/*
 * A slot in its helper process: see warm.h. The functions stand in the order in which they run.
 */
#include "restore/warm/warm.h"

#include "base/log.h"
#include "base/page.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/engine/trial.h"
#include "restore/formats/fingerprint.h"
#include "restore/formats/lineage.h"
#include "restore/formats/records.h"
#include "restore/xen/domain.h"
#include "restore/xen/domain_nodes.h"
#include "restore/xen/domid.h"
#include "restore/xen/userdata.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>

/* Xen's own needs for a domain besides its pages and paging pool: vCPUs, grant tables. */
#define OVERHEAD_KIB 4096u

/* dom0 opens block devices one after the other; seconds under load, never this long. */
#define BACKENDS_TIMEOUT_MS 30000u

/* ---- build ---- */

static int take_request(struct warm *w, const struct warm_request *r, struct error *e)
{
    if (!format_fits(w->uuid, sizeof w->uuid, "%s", r->uuid) ||
        !format_fits(w->name, sizeof w->name, "%s", r->name) ||
        !format_fits(w->tag, sizeof w->tag, "%s", r->tag))
        return error_set(e, -EINVAL, "slot %s: uuid, name or tag is too long", r->slot);
    if (r->slot[0] != 's' || number_parse(r->slot + 1, 0, INT64_MAX, &w->number))
        return error_set(e, -EINVAL, "slot %s: malformed", r->slot);
    return uuid_parse(w->uuid, &w->id)
               ? error_set(e, -EINVAL, "slot %s: malformed uuid %s", r->slot, w->uuid)
               : 0;
}

static int open_base(struct warm *w, const struct warm_request *r, struct error *e)
{
    int rc = image_open(r->image_path, &w->target.base, e);
    if (!rc)
        rc = domconf_from_json(image_config(w->target.base), &w->target.conf, e);
    return rc ? rc : engine_choose(r->engine, w->target.base, &w->engine, e);
}

/* From here on the name is there, for the trial's domain as well. */
static int claim_domid(struct warm *w, struct error *e)
{
    return domid_claim(&w->target.xen, w->domid, w->tag, w->name, e);
}

static int try_vcpus(struct warm *w, struct error *e)
{
    return trial_run(&w->target.xen, &w->target.conf, &w->id, w->domid, w->target.base, e);
}

static int create_domain(struct warm *w, const struct warm_request *r, struct error *e)
{
    uint64_t pages = image_info(w->target.base)->entries;
    uint64_t need =
        pages * (PAGE_BYTES / 1024) + domain_paging_pool_kib(&w->target.conf) + OVERHEAD_KIB;
    int rc = domain_memory_check(&w->target.xen, need, r->memory_reserve_kib, e);
    if (rc)
        return rc;
    w->target.domid = w->domid;
    return domain_create(&w->target.xen, &w->target.conf, &w->id, pages, &w->target.domid, e);
}

static int open_channels(struct warm *w, struct error *e)
{
    int rc = domain_event_channel(&w->target.xen, w->target.domid, &w->target.store_port, e);
    return rc ? rc
              : domain_event_channel(&w->target.xen, w->target.domid, &w->target.console_port, e);
}

static int open_disks(struct warm *w, const struct warm_request *r, struct error *e)
{
    struct disk_place place = {r->cow_dir, w->tag, w->uuid, r->cow_max};
    w->disks = calloc(w->target.conf.n_disks ? w->target.conf.n_disks : 1, sizeof *w->disks);
    if (!w->disks)
        return error_set(e, -ENOMEM, "out of memory for %u disks", w->target.conf.n_disks);
    for (unsigned i = 0; i < w->target.conf.n_disks; i++) {
        int rc = fingerprint_check(&w->target.conf.disks[i], e);
        if (!rc)
            rc = disk_open(&w->disks[i], &w->target.conf.disks[i], &place, e);
        if (rc)
            return rc;
        w->n_disks++;
    }
    return 0;
}

/* Before there is a domain: a bridge that is missing costs nothing. */
static int open_nics(struct warm *w, const struct warm_request *r, struct error *e)
{
    struct nic_rules rules = r->nics;
    if (rules.script && !format_fits(w->vif_script, sizeof w->vif_script, "%s", rules.script))
        return error_set(e, -EINVAL, "slot %s: vif_script is too long", r->slot);
    rules.script = rules.script ? w->vif_script : NULL;
    for (unsigned i = 0; i < w->target.conf.n_nics; i++) {
        int rc = nic_open(&w->nics[i], &w->target.conf.nics[i], &w->id, &rules, e);
        if (rc)
            return rc;
        w->n_nics++;
    }
    return 0;
}

static struct domain_identity identity_of(const struct warm *w, const char *name)
{
    return (struct domain_identity){.domid = w->target.domid,
                                    .uuid = w->uuid,
                                    .name = name,
                                    .tag = w->tag,
                                    .store_port = w->target.store_port,
                                    .console_port = w->target.console_port,
                                    .waits = w->engine->introduces_early};
}

/* A task: back ends see the devices before memory is there, and have looked at them by then. */
static int write_tree(void *data, struct error *e)
{
    struct warm *w = data;
    struct domain_identity id = identity_of(w, w->name);
    struct nodes t;
    nodes_init(&t);
    /* What was claimed, and what others may have put there since: the guest could read it. */
    nodes_remove(&t, "/local/domain/%u", w->target.domid);
    nodes_remove(&t, "/libxl/%u", w->target.domid);
    domain_nodes_add(&id, &w->target.conf, &t);
    for (size_t i = 0; i < w->n_disks; i++)
        disk_nodes(&w->disks[i], w->target.domid, w->target.conf.guest, &t);
    for (size_t i = 0; i < w->n_nics; i++)
        nic_nodes(&w->nics[i], w->target.domid, &t);
    int rc = nodes_write(&t, w->target.xen.xs, w->target.domid, e);
    nodes_dispose(&t);
    return rc;
}

/* Without the file `xl save` and `xl list -l` refuse the domain; all else works, so an
 * image that has none is no reason to fail. */
static int write_userdata(const struct warm *w, struct error *e)
{
    struct userdata u = {w->target.domid, w->uuid, w->name,  w->disks,
                         w->n_disks,      w->nics, w->n_nics};
    struct image_record r;
    if (!image_find_record(w->target.base, IMAGE_RECORD_XL_CONFIG, 0, &r))
        return 0;
    return userdata_write(&u, r.body, r.length, e);
}

/* The back ends have the devices now. */
static void close_disks(struct warm *w)
{
    for (size_t i = 0; i < w->n_disks; i++)
        disk_close(&w->disks[i]);
}

static int wait_backends(const struct warm *w, struct error *e)
{
    size_t n = w->n_disks + w->n_nics;
    struct backend *list = calloc(n ? n : 1, sizeof *list);
    if (!list)
        return error_set(e, -ENOMEM, "out of memory for %zu back ends", n);
    for (size_t i = 0; i < w->n_disks; i++)
        disk_backend(&w->disks[i], w->target.domid, &list[i]);
    for (size_t i = 0; i < w->n_nics; i++)
        nic_backend(&w->nics[i], &list[w->n_disks + i]);
    int rc = backends_wait(w->target.domid, list, n, BACKENDS_TIMEOUT_MS, e);
    free(list);
    return rc;
}

static int finish_devices(struct warm *w, struct error *e)
{
    int rc = wait_backends(w, e);
    if (!rc)
        close_disks(w);
    for (size_t i = 0; i < w->n_nics && !rc; i++)
        rc = nic_settle(&w->nics[i], w->target.xen.xs, e);
    return rc;
}

static int introduce(struct warm *w, const char *name, struct error *e)
{
    struct domain_identity id = identity_of(w, name);
    return domain_introduce(&w->target.xen, &id, w->target.store_gfn, w->target.console_gfn, e);
}

int warm_build(struct warm *w, const struct warm_request *r,
               int (*numbered)(struct warm *w, void *data), void *data, struct error *e)
{
    struct trace *trace = &w->target.trace;
    *w = (struct warm){.target.domid = DOMID_INVALID, .domid = DOMID_INVALID};
    domconf_init(&w->target.conf);
    task_open(&w->task);
    trace_start(trace, "build", &w->target.domid);
    TRACE_STEP(trace, "request", take_request(w, r, e));
    TRACE_STEP(trace, "open", xen_open(&w->target.xen, e));
    TRACE_STEP(trace, "image", open_base(w, r, e));
    TRACE_STEP(trace, "bridges", open_nics(w, r, e));
    TRACE_STEP(trace, "number", domid_choose(&w->target.xen, w->tag, w->number, &w->domid, e));
    TRACE_STEP(trace, "report", numbered(w, data));
    TRACE_STEP(trace, "claim", claim_domid(w, e));
    TRACE_STEP(trace, "trial", try_vcpus(w, e));
    TRACE_STEP(trace, "create", create_domain(w, r, e));
    TRACE_STEP(trace, "channels", open_channels(w, e));
    TRACE_STEP(trace, "disks", open_disks(w, r, e));
    task_begin(&w->task, write_tree, w);
    TRACE_STEP(trace, "userdata", write_userdata(w, e));
    TRACE_STEP(trace, "memory", w->engine->build(&w->target, e));
    TRACE_STEP(trace, "xenstore", task_end(&w->task, e));
    TRACE_STEP(trace, "backends", finish_devices(w, e));
    if (w->engine->introduces_early)
        TRACE_STEP(trace, "introduce", introduce(w, w->name, e));
    TRACE_STEP(trace, "watch", asked_watch(&w->asked, w->target.domid, e));
    return 0;
}

/* ---- prefetch ---- */

int warm_prefetch(struct warm *w, const char *const *paths, size_t n, struct error *e)
{
    return prefetcher_set(&w->prefetcher, paths, n, e);
}

bool warm_prepare(struct warm *w)
{
    return prefetcher_work(&w->prefetcher);
}

/* ---- turn ---- */

static int lineage_of(const struct warm *w, const struct image *to, struct error *e)
{
    struct lineage l;
    int rc = lineage_init(&l, w->target.base, e);
    if (!rc)
        rc = lineage_check_image(&l, to, e);
    lineage_dispose(&l);
    return rc;
}

int warm_turn(struct warm *w, const char *image_path, struct error *e)
{
    struct trace *trace = &w->target.trace;
    struct image *to = NULL;
    trace_start(trace, "turn", &w->target.domid);
    TRACE_STEP(trace, "image", image_open(image_path, &to, e));
    trace->step = "lineage";
    int rc = lineage_of(w, to, e);
    if (!rc) {
        trace->step = "memory";
        rc = w->engine->turn(&w->target, to, e);
    }
    if (rc) {
        image_close(to);
        return rc;
    }
    trace_stage_end(trace, "memory");
    image_close(w->target.base);
    w->target.base = to;
    return 0;
}

/* ---- complete ---- */

/* The domain waits as it was built. First of all: what has its number now might be another one. */
static int check_domain(struct warm *w, struct error *e)
{
    int rc = domain_check_waits(&w->target.xen, w->target.domid, &w->id, e);
    w->unusable = rc > 0;
    return rc;
}

/*
 * Gives the base itself if path is the base's, else an image that w->prefetcher holds from now on.
 * Opening an image checks its whole table, and an allocation should not pay for that. Closing one
 * undoes its mappings, and nobody should wait for that.
 */
static int open_image(struct warm *w, const char *path, struct image **im, struct error *e)
{
    *im = w->target.base;
    if (image_is_at(w->target.base, path))
        return 0;
    int rc = prefetcher_open(&w->prefetcher, path, im, e);
    if (!rc && !uuid_equal(&image_info(*im)->base_id, &image_info(w->target.base)->id))
        rc = error_set(e, ANSWER_IMAGE_REFUSED, "%s is not derived from the base of this slot",
                       path);
    return rc;
}

static int unpause(struct warm *w, bool paused, struct error *e)
{
    if (!paused && xc_domain_unpause(w->target.xen.xch, w->target.domid))
        return xen_error(&w->target.xen, e, "domain %u: unpause it", w->target.domid);
    return 0;
}

/* Of one completion: what its task does beside the pages and the vCPUs. */
struct beside {
    struct warm *warm;
    const struct warm_wish *wish;
    sem_t name_may_go; /* posted once, at the latest when the pages are written */
    bool no_name;      /* then: there will be none */
};

/* Its disks are what they were, and nobody has asked the domain to go as soon as it runs. A slot of
 * which that is not so is destroyed, whatever has been written to it. */
static int check_rest(struct warm *w, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < w->n_disks && !rc; i++)
        rc = disk_check(&w->disks[i], e);
    return rc ? rc : asked_check(&w->asked, e);
}

static int start_nics(struct warm *w, const struct mac *first, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < w->n_nics && !rc; i++)
        rc = nic_start(&w->nics[i], w->target.xen.xs, i ? NULL : first, e);
    return rc;
}

static int write_name(struct warm *w, const struct warm_wish *wish, struct error *e)
{
    int rc = start_nics(w, wish->mac, e);
    return rc ? rc : domain_rename(&w->target.xen, w->target.domid, wish->name, e);
}

/* A task. The checks begin with the completion. */
static int check_and_name(void *data, struct error *e)
{
    struct beside *b = data;
    int rc = check_rest(b->warm, e);
    while (sem_wait(&b->name_may_go) && errno == EINTR)
        ;
    return rc || b->no_name ? rc : write_name(b->warm, b->wish, e);
}

/* Ends the task. A failure of the slot's counts more than one of the pages, *rc with *e. */
static void beside_end(struct beside *b, int *rc, struct error *e)
{
    struct warm *w = b->warm;
    struct error of_task;
    int task_rc = task_end(&w->task, &of_task);
    w->unusable = task_rc > 0;
    if (!task_rc || (task_rc < 0 && *rc))
        return;
    *rc = task_rc;
    if (e)
        *e = of_task;
    w->target.trace.step = w->unusable ? "look" : "name";
}

static int start_nics_undo(struct warm *w, const struct mac *first, const struct mac *own,
                           struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < w->n_nics && !rc; i++) {
        const struct mac is = w->nics[i].mac;
        rc = nic_start_undo(&w->nics[i], w->target.xen.xs, i ? NULL : first, i ? &is : own, e);
    }
    return rc;
}

/* The slot is to be as it was: nothing of it has been changed but, maybe, its name and the address
 * of its first interface, which was own. */
static void name_undo(struct warm *w, const struct warm_wish *wish, const struct mac *own)
{
    struct error e;
    int rc = start_nics_undo(w, wish->mac, own, &e);
    if (!rc)
        rc = domain_rename(&w->target.xen, w->target.domid, w->name, &e);
    if (rc) {
        log_warning("%s", e.text);
        w->target.untouched = false;
    }
}

static int introduce_at_last(struct warm *w, const struct warm_wish *wish, struct error *e)
{
    int rc = start_nics(w, wish->mac, e);
    return rc ? rc : introduce(w, wish->name, e);
}

/* A task that nobody waits for: xenconsoled then has much to do, and the guest has begun to run. */
static int serve_console(void *data, struct error *e)
{
    struct warm *w = data;
    return domain_serve_console(&w->target.xen, w->target.domid, e);
}

/* Likewise, after a MAC was wished: xl save takes it from there. */
static int keep_mac(void *data, struct error *e)
{
    struct warm *w = data;
    struct error of_mac;
    int rc = write_userdata(w, &of_mac);
    int console_rc = w->engine->introduces_early ? serve_console(data, e) : 0;
    if (rc && !console_rc)
        *e = of_mac;
    return console_rc ? console_rc : rc;
}

/*
 * The pages, then the vCPUs; and the task beside them. The name is not written while several
 * threads write pages: xenstored would take one of their processors, for longer the more domains
 * there are, since it checks all watches. Without a delta there are no such threads.
 */
static int fill(struct warm *w, const struct image *im, struct beside *b,
                struct warm_outcome *outcome, struct error *e)
{
    bool at_once = im == w->target.base;
    b->no_name = !w->engine->introduces_early;
    task_begin(&w->task, check_and_name, b);
    if (at_once)
        sem_post(&b->name_may_go);
    w->target.trace.step = "memory"; /* the engine ends its stages itself */
    int rc = w->engine->write(&w->target, im, &outcome->delta_pages, e);
    if (!at_once) {
        b->no_name |= rc != 0;
        sem_post(&b->name_may_go);
    }
    if (!rc)
        rc = w->engine->finish(&w->target, im, e);
    beside_end(b, &rc, e);
    return rc;
}

static int complete_into(struct warm *w, const struct image *im, const struct warm_wish *wish,
                         struct warm_outcome *outcome, struct error *e)
{
    struct trace *trace = &w->target.trace;
    struct beside b = {.warm = w, .wish = wish};
    const struct mac own = w->nics[0].mac;
    if (sem_init(&b.name_may_go, 0, 0))
        return error_errno(e, errno, "domain %u: a semaphore", w->target.domid);
    int rc = fill(w, im, &b, outcome, e);
    sem_destroy(&b.name_may_go);
    if (rc && w->target.untouched && !w->unusable && !b.no_name)
        name_undo(w, wish, &own);
    if (rc)
        return rc;
    trace_stage_end(trace, "name");
    if (!w->engine->introduces_early)
        TRACE_STEP(trace, "introduce", introduce_at_last(w, wish, e));
    TRACE_STEP(trace, "unpause", unpause(w, wish->paused, e));
    if (wish->mac)
        task_begin(&w->task, keep_mac, w);
    else if (w->engine->introduces_early)
        task_begin(&w->task, serve_console, w);
    return 0;
}

static int check_wish(const struct warm *w, const struct warm_wish *wish, struct error *e)
{
    if (!wish->mac || w->n_nics)
        return 0;
    return error_set(e, ANSWER_BAD_VALUE, "the image has no network interface for a MAC address");
}

int warm_complete(struct warm *w, const struct warm_wish *wish, struct warm_outcome *outcome,
                  struct error *e)
{
    struct trace *trace = &w->target.trace;
    struct image *im;
    w->target.untouched = true;
    w->unusable = false;
    trace_start(trace, "complete", &w->target.domid);
    TRACE_STEP(trace, "look", check_domain(w, e));
    TRACE_STEP(trace, "image", open_image(w, wish->image_path, &im, e));
    int rc = check_wish(w, wish, e);
    return rc ? rc : complete_into(w, im, wish, outcome, e);
}

int warm_leave(struct warm *w, struct error *e)
{
    return task_end(&w->task, e);
}

void warm_dispose(struct warm *w)
{
    task_close(&w->task);
    if (w->engine)
        w->engine->dispose(&w->target);
    for (size_t i = 0; i < w->n_disks; i++)
        disk_dispose(&w->disks[i]);
    free(w->disks);
    asked_close(&w->asked);
    prefetcher_dispose(&w->prefetcher);
    domconf_dispose(&w->target.conf);
    image_close(w->target.base);
    xen_close(&w->target.xen);
    *w = (struct warm){.target.domid = DOMID_INVALID, .domid = DOMID_INVALID};
}
