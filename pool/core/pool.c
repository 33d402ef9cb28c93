/* Pools: see pool.h. */
#include "pool/core/pool.h"

#include "base/log.h"
#include "base/page.h"
#include "pool/core/domains.h"
#include "pool/core/show.h"
#include "pool/core/slot_helper.h"
#include "pool/core/slot_reap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A slot that was built for somebody who waits no more is kept so long for the next one: else
 * somebody who asks again and again with short waits would never get one. */
#define LINGER_MS 30000

static const char *image_name(const struct pool *p)
{
    return p->set.image->row.name;
}

static struct pool *pool_new(struct entry *im)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->core = im->core;
    slot_set_init(&p->set, im);
    list_init(&p->waiting);
    failures_init(&p->failures, im->core);
    timer_init(&p->linger);
    return p;
}

struct entry *image_publish(struct core *core, const struct image_row *row,
                            struct image_facts *facts, enum entry_state state)
{
    struct entry *im = entry_new(core, row, facts, state);
    if (!im)
        return NULL;
    im->own = pool_new(im);
    if (!im->own) {
        entry_free(im);
        return NULL;
    }
    entries_link(core);
    image_configure(im);
    return im;
}

void image_forget(struct entry *im)
{
    struct core *core = im->core;
    struct pool *p = im->own;
    failures_dispose(&p->failures);
    timer_stop(&p->linger);
    json_decref(p->prefetched);
    entry_free(im);
    free(p);
    entries_link(core);
}

void image_configure(struct entry *im)
{
    struct pool *p = im->own;
    unsigned before = p->settings.min;
    p->settings = config_pool(im->core->config, im->row.name);
    p->set.engine = p->settings.engine;
    p->set.cow_max = p->settings.cow_max;
    p->set.mac = p->settings.mac;
    p->set.vif_isolation = p->settings.vif_isolation;
    p->set.vif_filter = p->settings.vif_filter;
    p->set.vif_script = p->settings.vif_script;
    if (p->settings.min < before)
        p->shrink = true;
    entry_configure(im);
    entry_changed(im);
}

void pool_image_replaced(struct pool *p)
{
    failures_reset(&p->failures);
    p->turn_refused = false;
    while (list_pop(&p->set.warm))
        ;
    p->shrink |= p->set.image->base != NULL; /* none of its slots can become a delta */
}

/* ---- failures ---- */

void pool_built(struct pool *p)
{
    if (p->failures.n)
        log_info("image %s: slots can be built again", image_name(p));
    failures_forget(&p->failures);
}

void pool_build_failed(struct pool *p, int answer, const char *text)
{
    failures_add(&p->failures, answer, text, p->settings.backoff_ms, p->settings.backoff_max_ms);
    log_warning("image %s: building a slot failed, %u in a row: %s", image_name(p), p->failures.n,
                text);
    core_kick(p->core); /* whoever waits in vain is refused */
}

void pool_slot_lost(struct pool *p, int answer, const char *why)
{
    if (!timer_armed(&p->failures.pause))
        failures_add(&p->failures, answer, why, p->settings.backoff_ms, p->settings.backoff_max_ms);
    core_kick(p->core);
}

void pool_disk_changed(struct pool *p, const struct uuid *holds, const char *why)
{
    list_each (node, &p->set.slots) {
        struct slot *s = container_of(node, struct slot, in_set);
        if (s->state == SLOT_WARM && uuid_equal(&s->holds, holds))
            slot_release(s, why);
    }
}

void pools_memory_freed(struct core *core)
{
    list_each (node, &core->images)
        failures_memory_freed(&pool_at(node)->failures);
}

/* ---- host memory ---- */

#define FREED_KIB 1024 /* less comes and goes with every domain's bookkeeping */

/* Of the host that must be free for a slot, at least: its pages, and what is to stay free. Its
 * helper knows better (restore/warm/); this is for not asking it in vain. */
static uint64_t pool_needs_kib(const struct pool *p)
{
    return p->set.image->facts.info.entries * (PAGE_BYTES / 1024) +
           config_number(p->core->config, KEY_MEMORY_RESERVE) / 1024;
}

static bool memory_fits(const struct pool *p)
{
    return p->core->measurement.memory.free_kib >= pool_needs_kib(p);
}

bool pool_lacks_memory(const struct pool *p)
{
    return p->failures.n && p->failures.answer == ANSWER_NO_HOST_MEMORY;
}

/* None of its own domains comes or goes: what is free changes by others. */
static bool is_still(const struct pool *p)
{
    return !pool_building(p) && !p->set.count[SLOT_RELEASING] && !p->set.count[SLOT_BROKEN];
}

static void pool_measured(struct pool *p)
{
    uint64_t free_kib = p->core->measurement.memory.free_kib;
    if (free_kib >= p->tried_kib + FREED_KIB && memory_fits(p))
        failures_memory_freed(&p->failures);
    else if (is_still(p) && free_kib < p->tried_kib)
        p->tried_kib = free_kib;
}

bool pools_measured(struct core *core)
{
    bool lacks = false;
    list_each (node, &core->images) {
        struct pool *p = pool_at(node);
        if (!pool_lacks_memory(p))
            continue;
        pool_measured(p);
        lacks = true;
    }
    return lacks;
}

static int memory_refusal(const struct pool *p, struct error *e)
{
    const char *name = image_name(p);
    if (memory_fits(p) && !timer_armed(&p->failures.pause))
        return error_set(e, ANSWER_POOL_EMPTY,
                         "image %s: no slot is warm; host memory has come free, and one is built "
                         "now; wait longer",
                         name);
    if (memory_fits(p))
        return error_set(e, ANSWER_NO_HOST_MEMORY, "image %s: %s", name, p->failures.text);
    return error_set(e, ANSWER_NO_HOST_MEMORY,
                     "image %s: %" PRIu64 " MiB of host memory are free, and a slot needs %" PRIu64
                     " MiB with the %" PRIu64
                     " MiB that are to stay free (memory_reserve); release "
                     "leases, lower other pools, or wait longer",
                     name, p->core->measurement.memory.free_kib / 1024, pool_needs_kib(p) / 1024,
                     config_number(p->core->config, KEY_MEMORY_RESERVE) >> 20);
}

/* ---- what is wrong ---- */

/* 0, or the reason why its slots cannot be built: that of entry_check, or of failed builds in a row
 * (ANSWER_IMAGE_BROKEN, or the host's trouble by its name). */
static int pool_check(const struct pool *p, struct error *e)
{
    const struct failures *f = &p->failures;
    if (entry_check(p->set.image, e))
        return e->code;
    if (f->n < BROKEN_AFTER)
        return 0;
    return error_set(e, failures_answer(f), "image %s: %u builds failed in a row, the last one: %s",
                     image_name(p), f->n, f->text);
}

/* After the pause somebody has to be the one for whom a build is tried again. */
int pool_hopeless(const struct pool *p, struct error *e)
{
    bool tries = pool_lacks_memory(p) || !timer_armed(&p->failures.pause);
    return tries ? entry_check(p->set.image, e) : pool_check(p, e);
}

int pool_refusal(const struct pool *p, struct error *e)
{
    const struct failures *f = &p->failures;
    const struct entry *im = p->set.image;
    const char *name = image_name(p);
    if (entry_check(im, e) || domains_disk_check(p->core, e))
        return e->code;
    if (pool_lacks_memory(p))
        return memory_refusal(p, e);
    if (pool_check(p, e))
        return e->code;
    if (f->n && failures_answer(f) != ANSWER_IMAGE_BROKEN)
        return error_set(e, failures_answer(f), "image %s: %s", name, f->text);
    if (entry_is_unchecked(im))
        return error_set(e, ANSWER_POOL_EMPTY,
                         "image %s: no slot is warm, its file is still being checked%s%s", name,
                         im->checks.n ? "; " : "", im->checks.text);
    if (p->settings.max && p->set.total >= p->settings.max)
        return error_set(e, ANSWER_LIMIT_REACHED,
                         "image %s: max = %u slots are in use, %u of them leased; release one or "
                         "raise max",
                         name, p->settings.max, pool_leased(p));
    if (f->n)
        return error_set(e, ANSWER_POOL_EMPTY, "image %s: no slot is warm; what failed last: %s",
                         name, f->text);
    return error_set(e, ANSWER_POOL_EMPTY,
                     "image %s: no slot is warm, %u being built; wait longer or raise min", name,
                     pool_building(p));
}

/* ---- how many there are, and should be ---- */

static unsigned list_length(const struct list *head)
{
    unsigned n = 0;
    list_each (node, head)
        n++;
    return n;
}

unsigned pool_warm(const struct pool *p)
{
    return list_length(&p->set.warm);
}

struct slot *pool_oldest_warm(const struct pool *p)
{
    return list_empty(&p->set.warm) ? NULL : container_of(p->set.warm.next, struct slot, in_warm);
}

unsigned pool_building(const struct pool *p)
{
    return p->set.count[SLOT_BUILDING] + p->set.count[SLOT_TURNING];
}

unsigned pool_leased(const struct pool *p)
{
    return p->set.count[SLOT_LEASED] + p->set.count[SLOT_SAVED] + p->set.count[SLOT_KEPT];
}

/* Slots that should be warm, or on their way: the idle ones to keep, and one for each who waits. */
static unsigned pool_wanted(const struct pool *p)
{
    const struct entry *im = p->set.image;
    return entry_is_going(im) || entry_is_derived(im) ? 0
                                                      : p->settings.min + list_length(&p->waiting);
}

static unsigned pool_supply(const struct pool *p)
{
    return p->set.count[SLOT_WARM] + pool_building(p);
}

/* ---- too few ---- */

bool pool_may_build(const struct pool *p)
{
    const struct entry *im = p->set.image;
    return im->state != ENTRY_DAMAGED && entry_family_checked(im) &&
           !timer_armed(&p->failures.pause) && pool_supply(p) < pool_wanted(p) &&
           (!p->settings.max || p->set.total < p->settings.max);
}

/* The one with somebody waiting comes first, then the one that lacks the larger part. */
static bool pool_before(const struct pool *a, const struct pool *b)
{
    bool waiting_a = !list_empty(&a->waiting), waiting_b = !list_empty(&b->waiting);
    if (waiting_a != waiting_b)
        return waiting_a;
    return (uint64_t)pool_supply(a) * pool_wanted(b) < (uint64_t)pool_supply(b) * pool_wanted(a);
}

static struct pool *pool_neediest(const struct core *core)
{
    struct pool *best = NULL;
    list_each (node, &core->images) {
        struct pool *p = pool_at(node);
        if (pool_may_build(p) && (!best || pool_before(p, best)))
            best = p;
    }
    return best;
}

bool pools_have_room(const struct core *core)
{
    unsigned n = 0;
    list_each (node, &core->images)
        n += pool_building(pool_at(node));
    return n < config_number(core->config, KEY_PARALLEL);
}

void pools_build(struct core *core)
{
    struct pool *p;
    while (core->database.state == DATABASE_WORKS && !domains_disk_check(core, NULL) &&
           pools_have_room(core) && (p = pool_neediest(core))) {
        p->tried_kib = core->measurement.memory.free_kib;
        if (!slot_build(&p->set))
            pool_build_failed(p, ANSWER_INTERNAL, "out of memory");
    }
}

/* ---- too many ---- */

/* The newest of the slots that are being built (or are warm), one of an older version of the image
 * before the others; or NULL. */
static struct slot *pool_newest(const struct pool *p, bool warm)
{
    struct slot *found = NULL;
    for (struct list *at = p->set.slots.prev; at != &p->set.slots; at = at->prev) {
        struct slot *s = container_of(at, struct slot, in_set);
        bool fits =
            warm ? s->state == SLOT_WARM : s->state == SLOT_BUILDING || s->state == SLOT_TURNING;
        if (fits && !slot_is_current(s))
            return s;
        if (fits && !found)
            found = s;
    }
    return found;
}

static void linger_over(struct timer *t)
{
    struct pool *p = container_of(t, struct pool, linger);
    p->shrink = true;
    core_kick(p->core);
}

/* Slots to remove now. */
static unsigned pool_excess(struct pool *p)
{
    unsigned supply = pool_supply(p), wanted = pool_wanted(p);
    unsigned used = p->set.total - p->set.count[SLOT_RELEASING] - p->set.count[SLOT_BROKEN];
    unsigned above = p->settings.max && used > p->settings.max ? used - p->settings.max : 0;
    unsigned over = supply > wanted ? supply - wanted : 0;
    bool now = p->shrink || entry_is_going(p->set.image);
    p->shrink = false;
    if (!over || now)
        timer_stop(&p->linger);
    else if (!timer_armed(&p->linger))
        timer_start(&p->core->timers, &p->linger, LINGER_MS, linger_over);
    return now && over > above ? over : above;
}

void pool_shrink(struct pool *p)
{
    for (unsigned excess = pool_excess(p); excess; excess--) {
        struct slot *s = pool_newest(p, false);
        if (!s)
            s = pool_newest(p, true);
        if (!s)
            break;
        slot_release(s, "not needed any more");
    }
}

/* ---- as the API shows them ---- */

/* Disks as the image's configuration names them (restore/formats/domconf.h). */
static json_t *disks_to_json(const json_t *config)
{
    size_t i;
    json_t *v, *disks = json_array();
    json_array_foreach (json_object_get(config, "disks"), i, v) {
        json_t *path = json_object_get(v, "path"), *size = json_object_get(v, "size_bytes");
        const char *vdev = json_string_value(json_object_get(v, "vdev"));
        const char *kind = json_string_value(json_object_get(v, "kind"));
        json_t *disk = json_pack("{s:s, s:s, s:O?, s:O?}", "vdev", vdev ? vdev : "?", "kind",
                                 kind ? kind : "?", "path", path, "size_bytes", size);
        if (json_array_append_new(disks, disk)) { /* drops the disk in any case */
            json_decref(disks);
            return NULL;
        }
    }
    return disks;
}

static json_int_t memory_kib(const struct image_facts *f)
{
    const json_t *v = json_object_get(f->config, "target_mem_kib");
    return json_is_integer(v) ? json_integer_value(v)
                              : (json_int_t)(f->info.populated * (PAGE_BYTES / 1024));
}

json_t *image_to_json(const struct entry *im)
{
    const struct image_info *i = &im->facts.info;
    char file[IMAGE_PATH_SIZE];
    entry_path(im, file);
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:o, s:i, "
        "s:i}",
        "name", im->row.name, "id", show_uuid(&im->row.id), "base",
        im->base ? json_string(im->base->row.name) : json_null(), "guest",
        i->guest == IMAGE_GUEST_PV ? "pv" : "pvh", "vcpus", (int)i->vcpus, "memory_kib",
        memory_kib(&im->facts), "pages", (json_int_t)i->populated, "delta_pages",
        (json_int_t)(im->base ? i->entries : 0), "zero_pages", (json_int_t)i->zero_pages,
        "repeated_pages", (json_int_t)i->repeated_pages, "free_pages", (json_int_t)i->free_pages,
        "stored_pages", (json_int_t)i->payload_pages, "file", file, "file_bytes",
        (json_int_t)i->file_bytes, "created_ms", (json_int_t)im->row.created_ms, "disks",
        disks_to_json(im->facts.config), "slots", (int)im->own->set.total, "leases",
        (int)im->leases);
}

/* What is wrong with it, in a line; "" if nothing is. */
static const char *pool_trouble(const struct pool *p)
{
    const struct entry *im = p->set.image;
    if (im->state == ENTRY_DAMAGED)
        return im->damage;
    if (p->failures.text[0])
        return p->failures.text;
    return im->checks.text[0] ? im->checks.text : im->completions.text;
}

static uint64_t pool_pause_ms(const struct pool *p)
{
    uint64_t builds = failures_pause_ms(&p->failures);
    return builds ? builds : failures_pause_ms(&p->set.image->checks);
}

json_t *pool_to_json(const struct pool *p)
{
    return json_pack(
        "{s:s, s:i, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:o, s:I, s:I}", "image", image_name(p),
        "min", (int)p->settings.min, "max", (int)p->settings.max, "engine", p->settings.engine,
        "warm", (int)pool_warm(p), "building", (int)pool_building(p), "leased", (int)pool_leased(p),
        "waiting", (int)list_length(&p->waiting), "broken", (int)p->set.count[SLOT_BROKEN],
        "backoff_ms", (json_int_t)pool_pause_ms(p), "last_error", show_text(pool_trouble(p)),
        "hits", (json_int_t)p->hits, "misses", (json_int_t)p->misses);
}

static json_t *pools_list(const struct core *core, const char *image)
{
    json_t *pools = json_array();
    list_each (node, &core->images) {
        const struct entry *im = entry_at(node);
        if (image[0] ? strcmp(image, im->row.name) != 0 : im->base != NULL)
            continue;
        if (!pools || json_array_append_new(pools, pool_to_json(im->pool))) {
            json_decref(pools);
            return NULL;
        }
    }
    return pools;
}

json_t *pools_to_json(const struct core *core, const char *image)
{
    return json_pack("{s:o}", "pools", pools_list(core, image));
}
