/*
 * The API: one handler for each method, in the order of the interface file, and the objects that
 * they answer. Parameters are checked against the tables at the end before a handler sees them.
 */
#include "pool/core/api.h"

#include "base/log.h"
#include "pool/core/image_query.h"
#include "pool/core/import.h"
#include "pool/core/interface.h"
#include "pool/core/lease_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_DEFAULT_MS 60000 /* of PoolWait: no call waits for ever */
#define WAIT_MAX_MS (7ll * 86400 * 1000)
#define SUSPEND_DEFAULT_MS 60000 /* of ImageCapture; libxl allows 60 s, too */
#define SUSPEND_MAX_MS 600000

/* ---- objects; each returns a new reference, or NULL when there is no memory ---- */

static json_t *id_json(char kind, uint64_t id)
{
    return json_sprintf("%c%" PRIu64, kind, id);
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *uuid_json(const uint8_t uuid[16])
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    return json_string(text);
}

/* Disks as the image's configuration names them (restore/domconf.h). */
static json_t *disks_json(const json_t *config)
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

json_t *api_image(const struct pool *p)
{
    const struct image_info *i = &p->facts.info;
    char file[400];
    pool_path(p, file, sizeof file);
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:o, s:i, "
        "s:i}",
        "name", p->row.name, "id", uuid_json(p->row.id), "base",
        p->base ? json_string(p->base->row.name) : json_null(), "guest",
        i->guest == IMAGE_GUEST_PV ? "pv" : "pvh", "vcpus", (int)i->vcpus, "memory_kib",
        memory_kib(&p->facts), "pages", (json_int_t)i->populated, "delta_pages",
        (json_int_t)(p->base ? i->pages : 0), "zero_pages", (json_int_t)i->zero_pages,
        "repeated_pages", (json_int_t)i->repeated_pages, "free_pages", (json_int_t)i->free_pages,
        "stored_pages", (json_int_t)i->payload_pages, "file", file, "file_bytes",
        (json_int_t)i->file_bytes, "created_ms", (json_int_t)p->row.created_ms, "disks",
        disks_json(p->facts.config), "slots", (int)p->total, "leases", (int)leases_of_image(p));
}

static json_t *slot_json(const struct slot *s)
{
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:s, s:I, s:o, s:o}", "slot",
                     id_json('s', s->id), "image", s->pool ? s->pool->row.name : "", "state",
                     slot_state_name(s->state), "engine", text_or_null(s->engine), "domid",
                     s->domid == DB_NO_DOMID ? json_null() : json_integer(s->domid), "uuid",
                     uuid_json(s->uuid), "name", s->name, "since_ms", (json_int_t)s->since_ms,
                     "lease", s->lease ? id_json('l', s->lease->id) : json_null(), "reason",
                     text_or_null(s->reason));
}

static json_t *lease_json(const struct lease *l)
{
    const struct slot *s = l->slot;
    return json_pack("{s:o, s:s, s:o, s:I, s:o, s:s, s:I, s:I, s:o, s:b, s:b, s:o}", "lease",
                     id_json('l', l->id), "image", l->image->row.name, "slot", id_json('s', s->id),
                     "domid", (json_int_t)s->domid, "uuid", uuid_json(s->uuid), "name", l->name,
                     "owner_uid", (json_int_t)l->owner_uid, "created_ms", (json_int_t)l->created_ms,
                     "expires_ms", l->expires_ms ? json_integer(l->expires_ms) : json_null(),
                     "hold", (int)l->hold, "paused", (int)l->paused, "meta",
                     l->meta ? json_incref(l->meta) : json_object());
}

static json_t *pool_json(const struct pool *p)
{
    unsigned waiting = 0;
    list_each (node, &p->waiting)
        waiting++;
    const char *trouble = p->damage[0] ? p->damage : p->last_error;
    return json_pack("{s:s, s:i, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:o, s:I, s:I}", "image",
                     p->row.name, "min", (int)p->settings.min, "max", (int)p->settings.max,
                     "engine", p->settings.engine, "warm", (int)pool_warm(p), "building",
                     (int)p->count[SLOT_BUILDING], "leased", (int)pool_leased(p), "waiting",
                     (int)waiting, "broken", (int)p->count[SLOT_BROKEN], "backoff_ms",
                     (json_int_t)pool_backoff_ms(p), "last_error", text_or_null(trouble), "hits",
                     (json_int_t)p->hits, "misses", (json_int_t)p->misses);
}

static json_t *pools_json(const struct core *core, const char *image)
{
    json_t *pools = json_array();
    list_each (node, &core->pools) {
        const struct pool *p = container_of(node, struct pool, in_core);
        if (image[0] ? strcmp(image, p->row.name) != 0 : p->base != NULL)
            continue;
        p = pool_of(container_of(node, struct pool, in_core));
        if (!pools || json_array_append_new(pools, pool_json(p))) {
            json_decref(pools);
            return NULL;
        }
    }
    return pools;
}

json_t *api_pools(const struct core *core, const char *image)
{
    return json_pack("{s:o}", "pools", pools_json(core, image));
}

json_t *api_allocated(const struct lease *l, uint64_t now_us)
{
    return json_pack("{s:o, s:s, s:I, s:o, s:s, s:o, s:s, s:I, s:I, s:o}", "lease",
                     id_json('l', l->id), "image", l->image->row.name, "domid",
                     (json_int_t)l->slot->domid, "uuid", uuid_json(l->slot->uuid), "name", l->name,
                     "slot", id_json('s', l->slot->id), "from", l->cold ? "cold" : "warm",
                     "delta_pages", (json_int_t)l->delta_pages, "total_us",
                     (json_int_t)(now_us - l->received_us), "stages", lease_stages(l, now_us));
}

/* ---- parameters ---- */

static const char *text(const json_t *given, const char *name)
{
    return json_string_value(json_object_get(given, name));
}

static bool truth(const json_t *given, const char *name, bool fallback)
{
    const json_t *v = json_object_get(given, name);
    return v ? json_is_true(v) : fallback;
}

static int64_t number(const json_t *given, const char *name, int64_t fallback)
{
    const json_t *v = json_object_get(given, name);
    return v ? json_integer_value(v) : fallback;
}

static const struct answered *refuse_unknown(struct call *call, const char *image)
{
    char why[160];
    format_fits(why, sizeof why, "no image is called %.80s", image);
    return call_refuse(call, ANSWER_NO_SUCH_IMAGE, why);
}

static const struct answered *refuse(struct call *call, const struct error *e)
{
    return call_refuse(call, e->code, e->text);
}

/* ---- images ---- */

static const struct answered *image_import(struct call *call, void *owner, const json_t *given)
{
    const struct import_request rq = {
        .name = text(given, "name"),
        .path = text(given, "path"),
        .base = text(given, "base"),
        .disks = json_object_get(given, "disks"),
        .disk_digests = truth(given, "disk_digests", false),
        .replace = truth(given, "replace", false),
    };
    return import_start(owner, call, &rq);
}

static const struct answered *image_capture(struct call *call, void *owner, const json_t *given)
{
    const struct import_request rq = {
        .name = text(given, "name"),
        .domain = text(given, "domain"),
        .base = text(given, "base"),
        .disks = json_object_get(given, "disks"),
        .disk_digests = truth(given, "disk_digests", false),
        .stop = truth(given, "stop", false),
        .replace = truth(given, "replace", false),
        .timeout_ms = number(given, "timeout_ms", SUSPEND_DEFAULT_MS),
    };
    if (rq.timeout_ms <= 0 || rq.timeout_ms > SUSPEND_MAX_MS)
        return call_refuse(call, ANSWER_BAD_VALUE, "timeout_ms must be between 1 and 10 minutes");
    return capture_start(owner, call, &rq);
}

static const struct answered *image_check(struct call *call, void *owner, const json_t *given)
{
    return verify_start(owner, call, text(given, "name"));
}

static const struct answered *image_export(struct call *call, void *owner, const json_t *given)
{
    return export_start(owner, call, text(given, "name"), text(given, "path"));
}

static const struct answered *image_diff(struct call *call, void *owner, const json_t *given)
{
    return diff_start(owner, call, text(given, "a"), text(given, "b"));
}

static const struct answered *image_list(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    (void)given;
    json_t *images = json_array();
    bool ok = images != NULL;
    list_each (node, &core->pools) {
        const struct pool *p = container_of(node, struct pool, in_core);
        ok = ok && !json_array_append_new(images, api_image(p));
    }
    json_t *reply = ok ? json_pack("{s:O}", "images", images) : NULL;
    json_decref(images);
    return call_reply(call, reply);
}

static const struct answered *image_show(struct call *call, void *owner, const json_t *given)
{
    const struct pool *p = pool_find(owner, text(given, "name"));
    if (!p)
        return refuse_unknown(call, text(given, "name"));
    json_t *config = p->facts.config ? json_incref(p->facts.config) : json_object();
    return call_reply(call, json_pack("{s:o, s:o}", "image", api_image(p), "config", config));
}

static const struct answered *image_remove(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    struct error e;
    struct pool *p = pool_find(core, text(given, "name"));
    if (core_ready(core, &e))
        return refuse(call, &e);
    return p ? pool_remove(p, call) : refuse_unknown(call, text(given, "name"));
}

/* ---- leases ---- */

static const struct answered *allocate(struct call *call, void *owner, const json_t *given)
{
    const struct lease_request rq = {
        .image = text(given, "image"),
        .name = text(given, "name"),
        .ttl_given = json_object_get(given, "ttl_ms") != NULL,
        .ttl_ms = number(given, "ttl_ms", 0),
        .wait_ms = number(given, "wait_ms", 0),
        .hold = truth(given, "hold", false),
        .paused = truth(given, "paused", false),
        .meta = json_object_get(given, "meta"),
    };
    return lease_request(owner, call, &rq);
}

static const struct answered *release(struct call *call, void *owner, const json_t *given)
{
    const struct release_request rq = {
        .leases = json_object_get(given, "leases"),
        .all = truth(given, "all", false),
        .wait = truth(given, "wait", true),
    };
    return lease_release(owner, call, &rq);
}

static const struct answered *trace(struct call *call, void *owner, const json_t *given)
{
    return lease_trace_show(owner, call, text(given, "lease"));
}

static const struct answered *list(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    json_t *slots = json_array(), *leases = json_array();
    bool ok = slots && leases;
    (void)given;
    list_each (node, &core->slots)
        ok = ok &&
             !json_array_append_new(slots, slot_json(container_of(node, struct slot, in_core)));
    list_each (node, &core->leases) {
        const struct lease *l = container_of(node, struct lease, in_core);
        if (l->state == LEASE_ACTIVE)
            ok = ok && !json_array_append_new(leases, lease_json(l));
    }
    json_t *reply = ok ? json_pack("{s:O, s:O}", "slots", slots, "leases", leases) : NULL;
    json_decref(slots);
    json_decref(leases);
    return call_reply(call, reply);
}

/* ---- status and pools ---- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static json_t *sample_json(const struct figures *f, bool median)
{
    uint64_t sorted[SAMPLES];
    if (!f->n_samples)
        return json_null();
    if (!median)
        return json_integer((json_int_t)f->samples[f->last]);
    memcpy(sorted, f->samples, f->n_samples * sizeof sorted[0]);
    qsort(sorted, f->n_samples, sizeof sorted[0], compare_u64);
    return json_integer((json_int_t)sorted[f->n_samples / 2]);
}

static const struct answered *status(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    unsigned leases = 0;
    (void)given;
    list_each (node, &core->leases)
        leases += container_of(node, struct lease, in_core)->state == LEASE_ACTIVE;
    core_measure(core); /* for the next one who asks: this one is answered at once */
    return call_reply(
        call,
        json_pack("{s:s, s:i, s:I, s:b, s:I, s:I, s:o, s:i, s:I, s:I, s:o, s:o}", "version",
                  DOMPOOL_VERSION, "pid", (int)getpid(), "uptime_ms",
                  (json_int_t)((core_now_us(core) - core->started_us) / 1000), "xen",
                  (int)core->xen_ok, "host_total_kib", (json_int_t)core->memory.total_kib,
                  "host_free_kib", (json_int_t)core->memory.free_kib, "pools", pools_json(core, ""),
                  "leases", (int)leases, "allocations", (json_int_t)core->figures.allocations,
                  "failures", (json_int_t)core->figures.failures, "last_allocate_us",
                  sample_json(&core->figures, false), "median_allocate_us",
                  sample_json(&core->figures, true)));
}

static const struct answered *pool_show(struct call *call, void *owner, const json_t *given)
{
    const char *image = text(given, "image");
    if (image && !pool_find(owner, image))
        return refuse_unknown(call, image);
    return call_reply(call, api_pools(owner, image ? image : ""));
}

struct pool_set_call {
    struct core *core;
    struct call *call;
    char image[DB_NAME_SIZE];
};

static void pool_set_cancelled(struct call *call)
{
    ((struct pool_set_call *)call->owner)->call = NULL;
}

static void pool_set_recorded(void *owner, int rc, const struct error *e)
{
    struct pool_set_call *set = owner;
    const struct pool *p = pool_find(set->core, set->image);
    if (set->call && rc)
        call_refuse(set->call, rc, e->text);
    else if (set->call && !p)
        refuse_unknown(set->call, set->image);
    else if (set->call)
        call_reply(set->call, json_pack("{s:o}", "pool", pool_json(p)));
    free(set);
}

/* Changes the settings, then waits until they are on record. */
static const struct answered *pool_set_apply(struct pool *p, struct call *call,
                                             const struct config_change *changes, size_t n)
{
    struct core *core = p->core;
    struct error e;
    if (config_set(core->config, p->row.name, changes, n, &e))
        return refuse(call, &e);
    pool_configure(p);
    core_kick(core);
    struct pool_set_call *set = calloc(1, sizeof *set);
    struct rows *r = rows_new(core);
    for (size_t i = 0; i < n; i++)
        rows_setting(r, p->row.name, changes[i].key, changes[i].value);
    if (!rows_commit(core, r, set ? pool_set_recorded : NULL, set) || !set) {
        free(set);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    set->core = core;
    set->call = call;
    format_fits(set->image, sizeof set->image, "%s", p->row.name);
    return call_defer(call, pool_set_cancelled, set);
}

static const struct answered *refuse_derived(struct call *call, const struct pool *p,
                                             const char *key)
{
    char why[300];
    format_fits(why, sizeof why,
                "%.40s: the slots of image %s are those of its base: set it for %s", key,
                p->row.name, p->base->row.name);
    return call_refuse(call, ANSWER_BAD_VALUE, why);
}

static const struct answered *pool_set(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    struct error e;
    struct config_change changes[ROWS_MAX];
    struct pool *p = pool_find(core, text(given, "image"));
    const char *key;
    json_t *value;
    size_t n = 0;
    if (core_ready(core, &e))
        return refuse(call, &e);
    if (!p || p->row.removing)
        return refuse_unknown(call, text(given, "image"));
    json_object_foreach (json_object_get(given, "settings"), key, value) {
        if (p->base && strcmp(key, "ttl") != 0)
            return refuse_derived(call, p, key);
        if (n == ARRAY_SIZE(changes))
            return call_refuse(call, ANSWER_BAD_VALUE, "too many settings at once");
        changes[n++] = (struct config_change){key, json_string_value(value)};
    }
    return pool_set_apply(p, call, changes, n);
}

static const struct answered *pool_wait(struct call *call, void *owner, const json_t *given)
{
    int64_t timeout = number(given, "timeout_ms", WAIT_DEFAULT_MS);
    if (timeout < 0 || timeout > WAIT_MAX_MS)
        return call_refuse(call, ANSWER_BAD_VALUE, "timeout_ms must be between 0 and 7 days");
    return pool_wait_start(owner, call, text(given, "image"), (uint64_t)timeout);
}

/* ---- configuration ---- */

static bool add_setting(json_t *settings, const char *section, const char *key,
                        const struct value *v)
{
    return !json_array_append_new(settings,
                                  json_pack("{s:s, s:s, s:s, s:s}", "section", section, "key", key,
                                            "value", v->text, "origin", v->origin));
}

/* The general value of every key, then what each image has of its own. */
static json_t *settings_json(const struct config *c)
{
    json_t *settings = json_array();
    bool ok = settings != NULL;
    for (int i = 0; ok && i < KEY_COUNT; i++)
        ok = add_setting(settings, config_keys[i].scope == SCOPE_DAEMON ? "daemon" : "pool",
                         config_keys[i].name, &c->values[i]);
    list_each (node, &c->images) {
        const struct config_image *im = container_of(node, struct config_image, node);
        char section[80];
        format_fits(section, sizeof section, "image %s", im->name);
        for (int i = 0; ok && i < KEY_COUNT; i++) {
            const struct value *v = im->set[i].text ? &im->set[i] : &im->file[i];
            ok = !v->text || add_setting(settings, section, config_keys[i].name, v);
        }
    }
    if (!ok)
        json_decref(settings);
    return ok ? settings : NULL;
}

static const struct answered *config_show(struct call *call, void *owner, const json_t *given)
{
    const struct core *core = owner;
    (void)given;
    return call_reply(call, json_pack("{s:o}", "settings", settings_json(core->config)));
}

/* ---- the table ---- */

static const struct param none_params[] = {{0}};
static const struct param import_params[] = {{"name", PARAM_STRING, true},
                                             {"path", PARAM_STRING, true},
                                             {"base", PARAM_STRING, false},
                                             {"disks", PARAM_STRING_MAP, false},
                                             {"disk_digests", PARAM_BOOL, false},
                                             {"replace", PARAM_BOOL, false},
                                             {0}};
static const struct param capture_params[] = {{"name", PARAM_STRING, true},
                                              {"domain", PARAM_STRING, true},
                                              {"base", PARAM_STRING, false},
                                              {"disks", PARAM_STRING_MAP, false},
                                              {"disk_digests", PARAM_BOOL, false},
                                              {"stop", PARAM_BOOL, false},
                                              {"replace", PARAM_BOOL, false},
                                              {"timeout_ms", PARAM_INT, false},
                                              {0}};
static const struct param export_params[] = {
    {"name", PARAM_STRING, true}, {"path", PARAM_STRING, true}, {0}};
static const struct param diff_params[] = {
    {"a", PARAM_STRING, true}, {"b", PARAM_STRING, true}, {0}};
static const struct param name_params[] = {{"name", PARAM_STRING, true}, {0}};
static const struct param allocate_params[] = {
    {"image", PARAM_STRING, true},     {"name", PARAM_STRING, false},
    {"ttl_ms", PARAM_INT, false},      {"wait_ms", PARAM_INT, false},
    {"hold", PARAM_BOOL, false},       {"paused", PARAM_BOOL, false},
    {"meta", PARAM_STRING_MAP, false}, {0}};
static const struct param release_params[] = {
    {"leases", PARAM_STRINGS, false}, {"all", PARAM_BOOL, false}, {"wait", PARAM_BOOL, false}, {0}};
static const struct param trace_params[] = {{"lease", PARAM_STRING, true}, {0}};
static const struct param image_params[] = {{"image", PARAM_STRING, false}, {0}};
static const struct param set_params[] = {
    {"image", PARAM_STRING, true}, {"settings", PARAM_STRING_MAP, true}, {0}};
static const struct param wait_params[] = {
    {"image", PARAM_STRING, false}, {"timeout_ms", PARAM_INT, false}, {0}};

static const struct method methods[] = {
    {"ImageImport", import_params, true, image_import},
    {"ImageCapture", capture_params, true, image_capture},
    {"ImageVerify", name_params, true, image_check},
    {"ImageExport", export_params, true, image_export},
    {"ImageDiff", diff_params, true, image_diff},
    {"ImageList", none_params, false, image_list},
    {"ImageShow", name_params, false, image_show},
    {"ImageRemove", name_params, true, image_remove},
    {"Allocate", allocate_params, false, allocate},
    {"Release", release_params, false, release},
    {"Trace", trace_params, false, trace},
    {"List", none_params, false, list},
    {"Status", none_params, false, status},
    {"PoolShow", image_params, false, pool_show},
    {"PoolSet", set_params, true, pool_set},
    {"PoolWait", wait_params, false, pool_wait},
    {"ConfigShow", none_params, false, config_show},
};

static uint64_t api_now(void *owner)
{
    return core_now_us(owner);
}

void api_init(struct service *s, struct core *core)
{
    *s = (struct service){
        .interface = "io.dompool",
        .interface_text = api_interface_text,
        .vendor = "dompool",
        .product = "dompoold",
        .version = DOMPOOL_VERSION,
        .url = "https://github.com/dompool/dompool",
        .methods = methods,
        .n_methods = ARRAY_SIZE(methods),
        .owner = core,
        .now_us = api_now,
    };
}
