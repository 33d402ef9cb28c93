/*
 * A slot in its helper process: see warm.h. The functions stand in the order in which they run.
 */
#include "restore/warm/warm.h"

#include "base/log.h"
#include "restore/engine/engine.h"
#include "restore/formats/fingerprint.h"
#include "restore/formats/lineage.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Xen's own needs for a domain besides its pages and paging pool: vCPUs, grant tables. */
#define OVERHEAD_KIB 4096u

/* dom0 opens block devices one after the other; seconds under load, never this long. */
#define DISKS_TIMEOUT_MS 30000u

/* The order in which "auto" asks them. */
static const struct engine *const engines[] = {&engine_direct, &engine_guest};

static int choose_first(const struct image *base, const struct engine **out, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        *out = engines[i];
        rc = engines[i]->accepts(base, e);
        if (!rc)
            return 0;
        log_info("engine %s is not used: %s", engines[i]->name, e->text);
    }
    return rc;
}

int engine_choose(const char *name, const struct image *base, const struct engine **out,
                  struct error *e)
{
    if (!strcmp(name, "auto"))
        return choose_first(base, out, e);
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
        if (!strcmp(name, engines[i]->name)) {
            *out = engines[i];
            return engines[i]->accepts(base, e);
        }
    return error_set(e, ANSWER_BAD_VALUE, "no engine is called %s", name);
}

/* ---- build ---- */

static int take_request(struct slot *s, const struct slot_request *r, struct error *e)
{
    if (!format_fits(s->uuid, sizeof s->uuid, "%s", r->uuid) ||
        !format_fits(s->name, sizeof s->name, "%s", r->name) ||
        !format_fits(s->tag, sizeof s->tag, "%s", r->tag))
        return error_set(e, -EINVAL, "slot %s: uuid, name or tag is too long", r->slot);
    return 0;
}

static int open_base(struct slot *s, const struct slot_request *r, struct error *e)
{
    int rc = image_open(r->image_path, &s->base, e);
    if (!rc)
        rc = domconf_from_json(image_config(s->base), &s->conf, e);
    return rc ? rc : engine_choose(r->engine, s->base, &s->engine, e);
}

static int create_domain(struct slot *s, const struct slot_request *r, struct error *e)
{
    uint64_t pages = image_info(s->base)->pages;
    uint64_t need = pages * (PAGE_BYTES / 1024) + domain_paging_pool_kib(&s->conf) + OVERHEAD_KIB;
    uint8_t uuid[16];
    if (uuid_parse(s->uuid, uuid))
        return error_set(e, -EINVAL, "slot %s: malformed uuid %s", r->slot, s->uuid);
    int rc = domain_memory_check(&s->xen, need, r->memory_reserve_kib, e);
    if (rc)
        return rc;
    return domain_create(&s->xen, &s->conf, uuid, pages, &s->domid, e);
}

static int open_channels(struct slot *s, struct error *e)
{
    int rc = domain_event_channel(&s->xen, s->domid, &s->store_port, e);
    return rc ? rc : domain_event_channel(&s->xen, s->domid, &s->console_port, e);
}

static int open_disks(struct slot *s, const struct slot_request *r, struct error *e)
{
    struct disk_place place = {r->cow_dir, s->tag, s->uuid};
    s->disks = calloc(s->conf.n_disks ? s->conf.n_disks : 1, sizeof *s->disks);
    if (!s->disks)
        return error_set(e, -ENOMEM, "out of memory for %u disks", s->conf.n_disks);
    for (unsigned i = 0; i < s->conf.n_disks; i++) {
        int rc = fingerprint_check(&s->conf.disks[i], e);
        if (!rc)
            rc = disk_open(&s->disks[i], &s->conf.disks[i], &place, e);
        if (rc)
            return rc;
        s->n_disks++;
    }
    return 0;
}

static struct domtree tree_of(const struct slot *s, const char *name)
{
    return (struct domtree){.domid = s->domid,
                            .uuid = s->uuid,
                            .name = name,
                            .tag = s->tag,
                            .store_port = s->store_port,
                            .console_port = s->console_port,
                            .waits = s->engine->introduces_early};
}

/* An errand: back ends see the devices before memory is there, and have looked at them by then. */
static int write_tree(void *data, struct error *e)
{
    const struct slot *s = data;
    struct domtree d = tree_of(s, s->name);
    struct xstree t;
    xstree_init(&t);
    /* Whatever an earlier domain with this domid left would be the guest's to read. */
    xstree_remove(&t, "/local/domain/%u", s->domid);
    xstree_remove(&t, "/libxl/%u", s->domid);
    domtree_nodes(&d, &s->conf, &t);
    for (size_t i = 0; i < s->n_disks; i++)
        disk_nodes(&s->disks[i], s->domid, s->conf.guest, &t);
    int rc = xstree_write(&t, s->xen.xs, s->domid, e);
    xstree_dispose(&t);
    return rc;
}

/* Without the file `xl save` and `xl list -l` refuse the domain; all else works, so an
 * image that has none is no reason to fail. */
static int write_userdata(struct slot *s, struct error *e)
{
    struct userdata u = {s->domid, s->uuid, s->name, s->disks, s->n_disks};
    struct image_record r;
    size_t cursor = 0;
    while (image_next_record(s->base, &cursor, &r))
        if (r.type == IMAGE_RECORD_XL_CONFIG)
            return userdata_write(&u, r.body, r.length, e);
    return 0;
}

/* The back ends have the devices now. */
static void close_disks(struct slot *s)
{
    for (size_t i = 0; i < s->n_disks; i++)
        disk_close(&s->disks[i]);
}

static int settle_disks(struct slot *s, struct error *e)
{
    int rc = disks_wait(s->domid, s->disks, s->n_disks, DISKS_TIMEOUT_MS, e);
    if (!rc)
        close_disks(s);
    return rc;
}

static int introduce(struct slot *s, const char *name, struct error *e)
{
    struct domtree d = tree_of(s, name);
    return domtree_introduce(&s->xen, &d, s->store_gfn, s->console_gfn, e);
}

/* One step of a build or a completion, and its stage in the trace. */
#define STEP(name, call)                                                                           \
    do {                                                                                           \
        s->step = (name);                                                                          \
        int step_rc = (call);                                                                      \
        if (step_rc)                                                                               \
            return step_rc;                                                                        \
        trace_stage_end(&s->trace, (name));                                                        \
    } while (0)

int slot_build(struct slot *s, const struct slot_request *r,
               int (*created)(struct slot *s, void *data), void *data, struct error *e)
{
    *s = (struct slot){.domid = DOMID_INVALID};
    domconf_init(&s->conf);
    errand_open(&s->errand);
    trace_start(&s->trace, "build", &s->domid);
    STEP("request", take_request(s, r, e));
    STEP("open", xen_open(&s->xen, e));
    STEP("image", open_base(s, r, e));
    STEP("create", create_domain(s, r, e));
    STEP("report", created(s, data));
    STEP("channels", open_channels(s, e));
    STEP("disks", open_disks(s, r, e));
    errand_begin(&s->errand, write_tree, s);
    STEP("userdata", write_userdata(s, e));
    STEP("memory", s->engine->build(s, e));
    STEP("xenstore", errand_end(&s->errand, e));
    STEP("backends", settle_disks(s, e));
    if (s->engine->introduces_early)
        STEP("introduce", introduce(s, s->name, e));
    return 0;
}

/* ---- expect ---- */

int slot_expect(struct slot *s, const char *const *paths, size_t n, struct error *e)
{
    return expected_set(&s->expected, paths, n, e);
}

bool slot_prepare(struct slot *s)
{
    return expected_work(&s->expected);
}

/* ---- turn ---- */

static int lineage_of(const struct slot *s, const struct image *to, struct error *e)
{
    struct lineage l;
    int rc = lineage_init(&l, s->base, e);
    if (!rc)
        rc = lineage_check_image(&l, to, e);
    lineage_dispose(&l);
    return rc;
}

int slot_turn(struct slot *s, const char *image_path, struct error *e)
{
    struct image *to = NULL;
    trace_start(&s->trace, "turn", &s->domid);
    STEP("image", image_open(image_path, &to, e));
    s->step = "lineage";
    int rc = lineage_of(s, to, e);
    if (!rc) {
        s->step = "memory";
        rc = s->engine->turn(s, to, e);
    }
    if (rc) {
        image_close(to);
        return rc;
    }
    trace_stage_end(&s->trace, "memory");
    image_close(s->base);
    s->base = to;
    return 0;
}

/* ---- complete ---- */

/*
 * s->base itself when path is the base's, else an image that s->expected holds from now on: opening
 * one checks its whole table, which an allocation should not pay for, and closing one takes it out
 * of the mappings, for which nobody should wait.
 */
static int open_image(struct slot *s, const char *path, struct image **im, struct error *e)
{
    *im = s->base;
    if (image_is_at(s->base, path))
        return 0;
    int rc = expected_open(&s->expected, path, im, e);
    if (!rc && memcmp(image_info(*im)->base_id, image_info(s->base)->id, sizeof(uint8_t[16])))
        rc = error_set(e, ANSWER_IMAGE_REFUSED, "%s is not derived from the base of this slot",
                       path);
    return rc;
}

static int unpause(struct slot *s, bool paused, struct error *e)
{
    if (!paused && xc_domain_unpause(s->xen.xch, s->domid))
        return xen_error(&s->xen, e, "domain %u: unpause it", s->domid);
    return 0;
}

struct naming {
    struct slot *slot;
    const char *name;
};

static int write_name(void *data, struct error *e)
{
    const struct naming *n = data;
    return domtree_rename(&n->slot->xen, n->slot->domid, n->name, e);
}

/*
 * The name is on its way while the hypervisor is at work for one thread. Not before, while pages
 * are written by several: xenstored would have one of their processors, and for longer the more
 * domains there are, since it goes through all that anybody watches.
 */
static int finish_and_name(struct slot *s, const struct image *im, const char *name,
                           struct error *e)
{
    struct naming naming = {s, name};
    struct error of_name;
    errand_begin(&s->errand, write_name, &naming);
    int rc = s->engine->finish(s, im, e);
    int name_rc = errand_end(&s->errand, &of_name);
    if (rc)
        return rc;
    s->step = "name";
    if (name_rc)
        *e = of_name;
    trace_stage_end(&s->trace, "name");
    return name_rc;
}

static int finish_then_introduce(struct slot *s, const struct image *im, const char *name,
                                 struct error *e)
{
    int rc = s->engine->finish(s, im, e);
    if (!rc)
        STEP("introduce", introduce(s, name, e));
    return rc;
}

/* An errand that nobody waits for: xenconsoled has much to do then, and the guest has begun to run.
 */
static int serve_console(void *data, struct error *e)
{
    struct slot *s = data;
    return domtree_serve_console(&s->xen, s->domid, e);
}

static int complete_into(struct slot *s, const struct image *im, const char *name, bool paused,
                         struct slot_outcome *outcome, struct error *e)
{
    s->step = "memory"; /* the engine ends its stages itself */
    int rc = s->engine->write(s, im, &outcome->delta_pages, e);
    if (!rc)
        rc = s->engine->introduces_early ? finish_and_name(s, im, name, e)
                                         : finish_then_introduce(s, im, name, e);
    if (rc)
        return rc;
    STEP("unpause", unpause(s, paused, e));
    if (s->engine->introduces_early)
        errand_begin(&s->errand, serve_console, s);
    return 0;
}

int slot_complete(struct slot *s, const char *image_path, const char *name, bool paused,
                  struct slot_outcome *outcome, struct error *e)
{
    struct image *im;
    s->untouched = true;
    trace_start(&s->trace, "complete", &s->domid);
    STEP("image", open_image(s, image_path, &im, e));
    return complete_into(s, im, name, paused, outcome, e);
}

int slot_leave(struct slot *s, struct error *e)
{
    return errand_end(&s->errand, e);
}

void slot_dispose(struct slot *s)
{
    errand_close(&s->errand);
    if (s->engine)
        s->engine->dispose(s);
    close_disks(s);
    free(s->disks);
    expected_dispose(&s->expected);
    domconf_dispose(&s->conf);
    image_close(s->base);
    xen_close(&s->xen);
    *s = (struct slot){.domid = DOMID_INVALID};
}
