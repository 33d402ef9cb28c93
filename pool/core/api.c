/*
 * The API: one handler for each method, in the order of the interface file. Parameters are checked
 * against the tables at the end before a handler sees them.
 */
#include "pool/core/api.h"

#include "base/array.h"
#include "base/text.h"
#include "pool/core/adopt_call.h"
#include "pool/core/capture_call.h"
#include "pool/core/domains.h"
#include "pool/core/end_wait.h"
#include "pool/core/import_call.h"
#include "pool/core/lease_find.h"
#include "pool/core/lost.h"
#include "pool/core/query_call.h"
#include "pool/core/release_call.h"
#include "pool/core/remove_call.h"
#include "pool/core/set_call.h"
#include "pool/core/trace_call.h"
#include "pool/core/wait_call.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_DEFAULT_MS 60000 /* of PoolWait: no call waits for ever */
#define WAIT_MAX_MS (7ll * 86400 * 1000)
#define SUSPEND_DEFAULT_MS 60000 /* of ImageCapture; libxl allows 60 s, too */
#define SUSPEND_MAX_MS 600000

/* ---- parameters ---- */

static const char *given_text(const json_t *given, const char *name)
{
    return json_string_value(json_object_get(given, name));
}

static bool given_bool(const json_t *given, const char *name, bool fallback)
{
    const json_t *v = json_object_get(given, name);
    return v ? json_is_true(v) : fallback;
}

static int64_t given_int(const json_t *given, const char *name, int64_t fallback)
{
    const json_t *v = json_object_get(given, name);
    return v ? json_integer_value(v) : fallback;
}

/* ---- images ---- */

static struct recording_request image_request(const json_t *given)
{
    return (struct recording_request){
        .name = given_text(given, "name"),
        .base = given_text(given, "base"),
        .replace = given_bool(given, "replace", false),
    };
}

static const struct answered *image_import(struct call *call, void *owner, const json_t *given)
{
    const struct import_request rq = {
        .image = image_request(given),
        .path = given_text(given, "path"),
        .disks = json_object_get(given, "disks"),
        .vifs = json_object_get(given, "vifs"),
        .disk_digests = given_bool(given, "disk_digests", false),
    };
    return import_call(owner, call, &rq);
}

static const struct answered *image_capture(struct call *call, void *owner, const json_t *given)
{
    const struct capture_request rq = {
        .image = image_request(given),
        .domain = given_text(given, "domain"),
        .disks = json_object_get(given, "disks"),
        .disk_digests = given_bool(given, "disk_digests", false),
        .stop = given_bool(given, "stop", false),
        .timeout_ms = given_int(given, "timeout_ms", SUSPEND_DEFAULT_MS),
    };
    if (rq.timeout_ms <= 0 || rq.timeout_ms > SUSPEND_MAX_MS)
        return call_refuse(call, ANSWER_BAD_VALUE,
                           "timeout_ms must be between 1 and 600000, which is 10 minutes");
    return capture_call(owner, call, &rq);
}

static const struct answered *image_check(struct call *call, void *owner, const json_t *given)
{
    return verify_call(owner, call, given_text(given, "name"));
}

static const struct answered *image_export(struct call *call, void *owner, const json_t *given)
{
    return export_call(owner, call, given_text(given, "name"), given_text(given, "path"));
}

static const struct answered *image_diff(struct call *call, void *owner, const json_t *given)
{
    return diff_call(owner, call, given_text(given, "a"), given_text(given, "b"));
}

static const struct answered *image_list(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    (void)given;
    json_t *images = json_array();
    bool ok = images != NULL;
    list_each (node, &core->images)
        ok = ok && !json_array_append_new(images, image_to_json(entry_at(node)));
    json_t *reply = ok ? json_pack("{s:O}", "images", images) : NULL;
    json_decref(images);
    return call_reply(call, reply);
}

static const struct answered *image_show(struct call *call, void *owner, const json_t *given)
{
    struct error e;
    struct entry *im;
    if (entry_look_up(owner, given_text(given, "name"), &im, &e))
        return call_refuse(call, e.code, e.text);
    json_t *config = im->facts.config ? json_incref(im->facts.config) : json_object();
    return call_reply(call, json_pack("{s:o, s:o}", "image", image_to_json(im), "config", config));
}

static const struct answered *image_remove(struct call *call, void *owner, const json_t *given)
{
    return remove_call(owner, call, given_text(given, "name"));
}

static const struct answered *image_adopt(struct call *call, void *owner, const json_t *given)
{
    return adopt_call(owner, call, given_text(given, "file"), given_text(given, "name"));
}

/* ---- leases ---- */

static const struct answered *allocate(struct call *call, void *owner, const json_t *given)
{
    const char *text = given_text(given, "mac");
    struct mac mac;
    if (text && mac_parse(text, &mac))
        return call_refuse(call, ANSWER_BAD_VALUE,
                           "mac is no address of one interface, such as 02:00:00:12:34:56");
    const struct lease_request rq = {
        .image = given_text(given, "image"),
        .mac = text ? &mac : NULL,
        .name = given_text(given, "name"),
        .ttl_given = json_object_get(given, "ttl_ms") != NULL,
        .ttl_ms = given_int(given, "ttl_ms", 0),
        .wait_ms = given_int(given, "wait_ms", 0),
        .hold = given_bool(given, "hold", false),
        .paused = given_bool(given, "paused", false),
        .meta = json_object_get(given, "meta"),
    };
    return lease_request(owner, call, &rq);
}

static const struct answered *release_leases(struct call *call, void *owner, const json_t *given)
{
    const struct release_request rq = {
        .leases = json_object_get(given, "leases"),
        .all = given_bool(given, "all", false),
        .wait = given_bool(given, "wait", true),
    };
    return release_call(owner, call, &rq);
}

static const struct answered *lease_wait(struct call *call, void *owner, const json_t *given)
{
    struct lease *l;
    struct error e;
    if (core_running(owner, &e) ||
        lease_need(owner, given_text(given, "lease"), call->conn->uid, &l, &e))
        return call_refuse(call, e.code, e.text);
    return end_wait_begin(&l->end_waits, call);
}

static const struct answered *trace_show(struct call *call, void *owner, const json_t *given)
{
    return trace_call(owner, call, given_text(given, "lease"));
}

/* Whether who asks may know whom the slot works for: root, and that lease's owner. */
static bool sees_inside(uid_t uid, const struct slot *s)
{
    return uid == 0 || (s->lease && lease_belongs_to(s->lease, uid));
}

static const struct answered *list_all(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    uid_t uid = call->conn->uid;
    json_t *slots = json_array(), *leases = json_array();
    bool ok = slots && leases;
    (void)given;
    list_each (node, &core->slots) {
        const struct slot *s = slot_at(node);
        ok = ok && !json_array_append_new(slots, slot_to_json(s, sees_inside(uid, s)));
    }
    list_each (node, &core->leases)
        if (lease_at(node)->state == LEASE_ACTIVE && lease_belongs_to(lease_at(node), uid))
            ok = ok && !json_array_append_new(leases, lease_to_json(lease_at(node)));
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

static const struct answered *status_show(struct call *call, void *owner, const json_t *given)
{
    struct core *core = owner;
    const struct measurement *m = &core->measurement;
    const struct figures *f = &core->figures;
    (void)given;
    domains_measure(core); /* for the next one who asks: this one is answered at once */
    json_t *pools = pools_to_json(core, "");
    json_t *reply =
        json_pack("{s:s, s:i, s:I, s:b, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:o, s:o, s:o}",
                  "version", DOMPOOL_VERSION, "pid", (int)getpid(), "uptime_ms",
                  (json_int_t)((core_now_us(core) - core->started_us) / 1000), "xen",
                  (int)core->listing.xen_ok, "host_total_kib", (json_int_t)m->memory.total_kib,
                  "host_free_kib", (json_int_t)m->memory.free_kib, "disk_total_bytes",
                  (json_int_t)m->disk.total_bytes, "disk_free_bytes",
                  (json_int_t)m->disk.free_bytes, "leases", (int)core->active, "faulty_leases",
                  (int)core->faulty, "allocations", (json_int_t)f->allocations, "failures",
                  (json_int_t)f->failures, "last_allocate_us", sample_json(f, false),
                  "median_allocate_us", sample_json(f, true), "lost_images", lost_to_json(core));
    if (json_object_update(reply, pools)) {
        json_decref(reply);
        reply = NULL;
    }
    json_decref(pools);
    return call_reply(call, reply);
}

static const struct answered *pool_show(struct call *call, void *owner, const json_t *given)
{
    const char *image = given_text(given, "image");
    struct error e;
    struct entry *im;
    if (image && entry_look_up(owner, image, &im, &e))
        return call_refuse(call, e.code, e.text);
    return call_reply(call, pools_to_json(owner, image ? image : ""));
}

static const struct answered *pool_set(struct call *call, void *owner, const json_t *given)
{
    return set_call(owner, call, given_text(given, "image"), json_object_get(given, "settings"));
}

static const struct answered *pool_wait(struct call *call, void *owner, const json_t *given)
{
    int64_t timeout = given_int(given, "timeout_ms", WAIT_DEFAULT_MS);
    if (timeout < 0 || timeout > WAIT_MAX_MS)
        return call_refuse(call, ANSWER_BAD_VALUE, "timeout_ms must be between 0 and 7 days");
    return wait_call(owner, call, given_text(given, "image"), (uint64_t)timeout);
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
static const struct param import_params[] = {
    {"name", PARAM_STRING, true},      {"path", PARAM_STRING, true},
    {"base", PARAM_STRING, false},     {"disks", PARAM_STRING_MAP, false},
    {"vifs", PARAM_STRING_MAP, false}, {"disk_digests", PARAM_BOOL, false},
    {"replace", PARAM_BOOL, false},    {0}};
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
static const struct param adopt_params[] = {
    {"file", PARAM_STRING, true}, {"name", PARAM_STRING, true}, {0}};
static const struct param allocate_params[] = {
    {"image", PARAM_STRING, true}, {"name", PARAM_STRING, false},     {"ttl_ms", PARAM_INT, false},
    {"wait_ms", PARAM_INT, false}, {"hold", PARAM_BOOL, false},       {"paused", PARAM_BOOL, false},
    {"mac", PARAM_STRING, false},  {"meta", PARAM_STRING_MAP, false}, {0}};
static const struct param release_params[] = {
    {"leases", PARAM_STRINGS, false}, {"all", PARAM_BOOL, false}, {"wait", PARAM_BOOL, false}, {0}};
static const struct param lease_params[] = {{"lease", PARAM_STRING, true}, {0}};
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
    {"ImageAdopt", adopt_params, true, image_adopt},
    {"Allocate", allocate_params, false, allocate},
    {"Release", release_params, false, release_leases},
    {"LeaseWait", lease_params, false, lease_wait},
    {"Trace", lease_params, false, trace_show},
    {"List", none_params, false, list_all},
    {"Status", none_params, false, status_show},
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
