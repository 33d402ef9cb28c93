/*
 * Domain configurations as xl writes them: the JSON form of libxl_domain_config
 * (Xen's tools/libs/light/libxl_types.idl, 4.17 to 4.21).
 *
 * libxl leaves out values at their default, so absence always has a meaning. The keys that are
 * there fall into three kinds. Those that a domain needs to come to life again are taken. Those
 * that only placed it on its host (CPU affinity, NUMA, scheduling, cpupool, what to do on a crash),
 * or that are in the stream too (CPUID), are skipped. All others would be missing from our domains
 * and are refused by name. So are device classes of a later Xen: they are keys at the top that this
 * list does not have.
 *
 * Disks: a writable disk becomes DISK_COW, any other DISK_RO. An empty CD-ROM drive is refused, not
 * dropped: the saved guest waits for it when it resumes.
 */
#include "restore/formats/domconf_private.h"

#include "base/array.h"
#include "base/text.h"
#include "base/uuid.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XL_EVENT_CHANNELS 1023u /* libxl's default */

static int refuse_key(struct error *e, const char *key, const char *why)
{
    return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s: %s", key, why);
}

/* ---- values with libxl's defaults; `where` is "c_info" and so on, for messages ---- */

static int take_number(const json_t *o, const char *where, const char *key, uint64_t absent,
                       uint64_t *out, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    *out = absent;
    if (!v)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s.%s is no number from 0 up",
                         where, key);
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

static int take_u32(const json_t *o, const char *where, const char *key, unsigned absent,
                    unsigned *out, struct error *e)
{
    uint64_t value;
    int rc = take_number(o, where, key, absent, &value, e);
    if (!rc && value > UINT32_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s.%s is out of range", where,
                         key);
    *out = (unsigned)value;
    return rc;
}

/* libxl_defbool: "True", "False", "<default>". */
static int take_defbool(const json_t *o, const char *where, const char *key, bool *out,
                        struct error *e)
{
    const json_t *v = json_object_get(o, key);
    const char *text = json_string_value(v);
    *out = text && !strcmp(text, "True");
    if (!v || *out || (text && (!strcmp(text, "False") || !strcmp(text, "<default>"))))
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s.%s is neither True nor False",
                     where, key);
}

/* NULL for an absent, null or empty string. */
static int take_string(const json_t *o, const char *where, const char *key, const char **out,
                       struct error *e)
{
    const json_t *v = json_object_get(o, key);
    *out = NULL;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s.%s is no string", where, key);
    if (json_string_length(v))
        *out = json_string_value(v);
    return 0;
}

/* True for values that libxl would leave out, or that change nothing. */
static bool value_is_nothing(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return json_object_size(v) == 0;
    case JSON_ARRAY:
        return json_array_size(v) == 0;
    case JSON_STRING:
        return !json_string_length(v) || !strcmp(json_string_value(v), "False") ||
               !strcmp(json_string_value(v), "<default>");
    case JSON_INTEGER:
        return json_integer_value(v) == 0;
    case JSON_NULL:
    case JSON_FALSE:
        return true;
    default:
        return false;
    }
}

struct unwanted {
    const char *key, *why;
    const char *harmless; /* a value besides "nothing" that is fine */
};

static int unwanted_check(const json_t *o, const char *where, const struct unwanted *list, size_t n,
                          struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, list[i].key);
        const char *text = json_string_value(v);
        if (!v || value_is_nothing(v) ||
            (text && list[i].harmless && !strcmp(text, list[i].harmless)))
            continue;
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s.%s: %s", where, list[i].key,
                         list[i].why);
    }
    return 0;
}

/* ---- the top: devices ---- */

static const struct unwanted devices[] = {
    {"vfbs", "virtual frame buffers are not supported", NULL},
    {"vkbs", "virtual keyboards are not supported", NULL},
    {"pcidevs", "PCI passthrough is not supported", NULL},
    {"rdms", "reserved device memory is not supported", NULL},
    {"dtdevs", "device-tree devices are not supported", NULL},
    {"vtpms", "virtual TPMs are not supported", NULL},
    {"p9s", "9pfs devices are not supported", NULL},
    {"pvcallsifs", "PV calls are not supported", NULL},
    {"vdispls", "virtual displays are not supported", NULL},
    {"vsnds", "virtual sound devices are not supported", NULL},
    {"channels", "channels are not supported", NULL},
    {"usbctrls", "USB controllers are not supported", NULL},
    {"usbdevs", "USB devices are not supported", NULL},
    {"virtios", "virtio devices are not supported", NULL},
};

static bool key_is_passed_over(const char *key)
{
    static const char *const keys[] = {"c_info",      "b_info",      "disks",
                                       "nics",        "on_poweroff", "on_reboot",
                                       "on_watchdog", "on_crash",    "on_soft_reset"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (!strcmp(keys[i], key))
            return true;
    return false;
}

static int top_check(json_t *o, struct error *e)
{
    const char *key;
    json_t *v;
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
        if ((v = json_object_get(o, devices[i].key)) && !value_is_nothing(v))
            return refuse_key(e, devices[i].key, devices[i].why);
    json_object_foreach (o, key, v)
        if (!key_is_passed_over(key) && !value_is_nothing(v))
            return refuse_key(e, key, "not known to this version (saved by a newer Xen?)");
    return 0;
}

/* ---- c_info ---- */

static int type_parse(const char *type, struct domconf *c, struct error *e)
{
    if (type && !strcmp(type, "hvm"))
        return refuse_key(e, "c_info.type",
                          "HVM guests with a device model are not supported, only PV and PVH");
    if (!type || (strcmp(type, "pv") && strcmp(type, "pvh")))
        return refuse_key(e, "c_info.type", "neither \"pv\" nor \"pvh\"");
    c->guest = strcmp(type, "pv") ? IMAGE_GUEST_PVH : IMAGE_GUEST_PV;
    return 0;
}

/* Informational, so shortened and made printable rather than refused. */
static void name_take(const char *name, struct domconf *c)
{
    size_t i = 0;
    for (; name && name[i] && i + 1 < sizeof c->name; i++)
        c->name[i] = name[i] >= 0x20 && name[i] < 0x7f ? name[i] : '?';
    c->name[i] = '\0';
}

static int create_info_parse(const json_t *o, struct domconf *c, struct error *e)
{
    static const struct unwanted keys[] = {
        {"driver_domain", "driver domains are not supported", NULL},
        {"passthrough", "device passthrough is not supported", "disabled"},
        {"xend_suspend_evtchn_compat", "not supported", NULL},
    };
    const char *type, *name, *uuid;
    int rc = take_string(o, "c_info", "type", &type, e);
    if (!rc)
        rc = type_parse(type, c, e);
    if (!rc)
        rc = take_string(o, "c_info", "name", &name, e);
    if (!rc)
        rc = take_string(o, "c_info", "uuid", &uuid, e);
    if (!rc)
        rc = unwanted_check(o, "c_info", keys, ARRAY_SIZE(keys), e);
    if (rc)
        return rc;
    const json_t *hap = json_object_get(o, "hap");
    if (c->guest == IMAGE_GUEST_PVH && json_is_string(hap) &&
        !strcmp(json_string_value(hap), "False"))
        return refuse_key(e, "c_info.hap", "PVH guests on shadow paging are not supported");
    name_take(name, c);
    if (uuid && uuid_parse(uuid, &c->uuid))
        return refuse_key(e, "c_info.uuid", "malformed");
    return 0;
}

/* ---- b_info ---- */

static const struct unwanted build_keys[] = {
    {"vnuma_nodes", "virtual NUMA is not supported", NULL},
    {"ioports", "I/O port passthrough is not supported", NULL},
    {"irqs", "interrupt passthrough is not supported", NULL},
    {"iomem", "I/O memory passthrough is not supported", NULL},
    {"device_tree", "device trees are not supported", NULL},
    {"altp2m", "alternate p2m is not supported", "disabled"},
    {"vmtrace_buf_kb", "vmtrace buffers are not supported", NULL},
    {"llc_colors", "cache colouring is not supported", NULL},
};

/* b_info holds one of "type.pv" and "type.pvh", an object with more keys. */
static int guest_part_check(const json_t *b_info, struct error *e)
{
    static const struct unwanted pv[] = {
        {"e820_host", "the host's memory map (for PCI passthrough) is not supported", NULL}};
    static const struct unwanted pvh[] = {{"pvshim", "PV shims are not supported", NULL}};
    static const struct unwanted x86[] = {
        {"msr_relaxed", "relaxed MSR accesses are not supported", NULL}};
    if (json_object_get(b_info, "type.hvm"))
        return refuse_key(e, "b_info.type.hvm", "HVM guests with a device model are not supported");
    int rc =
        unwanted_check(json_object_get(b_info, "type.pv"), "b_info.type.pv", pv, ARRAY_SIZE(pv), e);
    if (!rc)
        rc = unwanted_check(json_object_get(b_info, "type.pvh"), "b_info.type.pvh", pvh,
                            ARRAY_SIZE(pvh), e);
    if (!rc)
        rc = unwanted_check(json_object_get(b_info, "arch_x86"), "b_info.arch_x86", x86,
                            ARRAY_SIZE(x86), e);
    return rc;
}

static int vcpus_parse(const json_t *o, struct domconf *c, struct error *e)
{
    int rc = take_u32(o, "b_info", "max_vcpus", 1, &c->max_vcpus, e);
    if (rc)
        return rc;
    const json_t *avail = json_object_get(o, "avail_vcpus");
    if (avail && !json_is_array(avail))
        return refuse_key(e, "b_info.avail_vcpus", "no array");
    if (!json_array_size(avail)) { /* an empty set is libxl's way to say "the first one" */
        c->online[0] = 1;
        return 0;
    }
    return vcpus_online_parse(avail, c->online, "b_info.avail_vcpus", e);
}

static int memory_parse(const json_t *o, struct domconf *c, struct error *e)
{
    int rc = take_number(o, "b_info", "max_memkb", 0, &c->max_mem_kib, e);
    if (!rc)
        rc = take_number(o, "b_info", "target_memkb", c->max_mem_kib, &c->target_mem_kib, e);
    if (!rc)
        rc = take_number(o, "b_info", "shadow_memkb", 0, &c->shadow_mem_kib, e);
    if (!rc && !c->max_mem_kib)
        return refuse_key(e, "b_info.max_memkb", "missing");
    return rc;
}

static int limits_parse(const json_t *o, struct domconf *c, struct error *e)
{
    int rc = take_u32(o, "b_info", "max_grant_frames", UINT32_MAX, &c->max_grant_frames, e);
    if (!rc)
        rc = take_u32(o, "b_info", "max_maptrack_frames", UINT32_MAX, &c->max_maptrack_frames, e);
    if (!rc)
        rc = take_u32(o, "b_info", "event_channels", 0, &c->max_event_channels, e);
    if (!rc && !c->max_event_channels)
        c->max_event_channels = XL_EVENT_CHANNELS;
    if (!rc)
        rc = take_defbool(o, "b_info", "nested_hvm", &c->nested_hvm, e);
    if (!rc)
        rc = take_defbool(o, "b_info", "disable_migrate", &c->nomigrate, e);
    return rc;
}

static int build_info_parse(const json_t *o, struct domconf *c, struct error *e)
{
    int rc = unwanted_check(o, "b_info", build_keys, ARRAY_SIZE(build_keys), e);
    if (!rc)
        rc = guest_part_check(o, e);
    if (!rc)
        rc = vcpus_parse(o, c, e);
    if (!rc)
        rc = memory_parse(o, c, e);
    if (!rc)
        rc = limits_parse(o, c, e);
    const char *tsc = NULL;
    if (!rc)
        rc = take_string(o, "b_info", "tsc_mode", &tsc, e);
    if (!rc && tsc && tsc_mode_parse(tsc, &c->tsc_mode))
        return refuse_key(e, "b_info.tsc_mode", "not known");
    return rc;
}

/* ---- disks ---- */

static bool one_of(const char *value, const char *const *list)
{
    for (; value && *list; list++)
        if (!strcmp(value, *list))
            return true;
    return !value; /* absent: libxl chooses */
}

struct xl_disk {
    const char *path, *vdev, *backend, *format, *script, *domain, *specification;
    unsigned domid, readwrite, is_cdrom;
    bool colo;
};

static int xl_disk_read(const json_t *o, struct xl_disk *d, struct error *e)
{
    const struct {
        const char *key, **out;
    } strings[] = {
        {"pdev_path", &d->path},
        {"vdev", &d->vdev},
        {"backend", &d->backend},
        {"format", &d->format},
        {"script", &d->script},
        {"backend_domname", &d->domain},
        {"specification", &d->specification},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(strings) && !rc; i++)
        rc = take_string(o, "disk", strings[i].key, strings[i].out, e);
    if (!rc)
        rc = take_u32(o, "disk", "backend_domid", 0, &d->domid, e);
    if (!rc)
        rc = take_u32(o, "disk", "readwrite", 0, &d->readwrite, e);
    if (!rc)
        rc = take_u32(o, "disk", "is_cdrom", 0, &d->is_cdrom, e);
    if (!rc)
        rc = take_defbool(o, "disk", "colo_enable", &d->colo, e);
    return rc;
}

static int xl_disk_check(const struct xl_disk *d, struct error *e)
{
    static const char *const formats[] = {"raw", "unknown", NULL};
    static const char *const backends[] = {"phy", "qdisk", "unknown", NULL};
    static const char *const specifications[] = {"xen", "unknown", NULL};
    if (d->format && !strcmp(d->format, "empty"))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the drive is empty; detach it before saving the domain");
    if (!one_of(d->format, formats))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "format %s is not supported, only raw; convert it, or export it as a "
                         "block device",
                         d->format);
    if (!one_of(d->backend, backends) || !one_of(d->specification, specifications) || d->colo)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "only block devices and raw files as Xen disks are supported (backend "
                         "%s, specification %s)",
                         d->backend ? d->backend : "default",
                         d->specification ? d->specification : "default");
    if (d->domid || (d->domain && strcmp(d->domain, "Domain-0") && strcmp(d->domain, "0")))
        return error_set(e, ANSWER_IMAGE_REFUSED, "back ends in driver domains are not supported");
    if (d->script)
        return error_set(e, ANSWER_IMAGE_REFUSED, "block scripts (%s) are not supported",
                         d->script);
    if (!d->path || d->path[0] != '/' || strlen(d->path) >= PATH_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED, "pdev_path \"%s\" is no absolute path",
                         d->path ? d->path : "");
    for (const char *c = d->path; *c; c++) /* it is shown to people, who are to paste it */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "pdev_path \"%s\" has a control character in it", d->path);
    return 0;
}

static int xl_disk_parse(json_t *o, struct disk_conf *d, struct error *e)
{
    struct xl_disk x = {.domid = 0};
    int rc = xl_disk_read(o, &x, e);
    if (!rc)
        rc = disk_conf_name(d, x.vdev, e);
    if (!rc)
        rc = xl_disk_check(&x, e);
    if (rc)
        return rc;
    d->kind = x.readwrite && !x.is_cdrom ? DISK_COW : DISK_RO;
    d->path = strdup(x.path);
    return d->path ? 0 : error_set(e, -ENOMEM, "out of memory");
}

/* ---- the whole ---- */

static int xl_object_parse(json_t *o, struct domconf *c, struct error *e)
{
    const json_t *c_info = json_object_get(o, "c_info"), *b_info = json_object_get(o, "b_info");
    const json_t *disks = json_object_get(o, "disks"), *nics = json_object_get(o, "nics");
    if (!json_is_object(c_info) || !json_is_object(b_info))
        return refuse_key(e, "c_info or b_info", "missing");
    if (disks && !json_is_array(disks))
        return refuse_key(e, "disks", "no array");
    if (nics && !json_is_array(nics))
        return refuse_key(e, "nics", "no array");
    int rc = create_info_parse(c_info, c, e);
    if (!rc)
        rc = top_check(o, e);
    if (!rc)
        rc = build_info_parse(b_info, c, e);
    if (!rc)
        rc = disks_from_json(disks, xl_disk_parse, c, e);
    if (!rc)
        rc = nics_from_json(nics, nic_conf_from_xl, c, e);
    return rc ? rc : domconf_check(c, e);
}

/* Stands for a byte that is no UTF-8 until it is known where that is. JSON may have this character
 * in its strings, and no name or path that anybody types has it. */
#define NO_UTF8 '\x7f'

static bool is_marked(const char *text)
{
    return strchr(text, NO_UTF8) != NULL;
}

static int refuse_bytes(const char *key, struct error *e)
{
    char shown[80];
    snprintf(shown, sizeof shown, "%s", key);
    text_plain(shown);
    return refuse_key(e, shown, "is no UTF-8, which only a domain's name may be");
}

/* The nesting of what jansson has read is bounded by it. */
static int marks_refuse(json_t *v, const char *key, struct error *e)
{
    const char *text = json_string_value(v), *name;
    json_t *member;
    size_t i;
    int rc = is_marked(key) || (text && is_marked(text)) ? refuse_bytes(key, e) : 0;
    json_array_foreach (v, i, member)
        rc = rc ? rc : marks_refuse(member, key, e);
    json_object_foreach (v, name, member)
        rc = rc ? rc : marks_refuse(member, name, e);
    return rc;
}

/* The name loses its marks; whatever else has one is refused. */
static int marks_resolve(json_t *o, struct error *e)
{
    json_t *name = json_object_get(json_object_get(o, "c_info"), "name");
    char *text = json_is_string(name) ? strdup(json_string_value(name)) : NULL;
    if (json_is_string(name) && !text)
        return error_set(e, -ENOMEM, "out of memory for the configuration");
    for (char *c = text; c && *c; c++)
        *c = *c == NO_UTF8 ? '?' : *c;
    int rc = text && json_string_set(name, text) ? -ENOMEM : 0;
    free(text);
    return rc ? error_set(e, rc, "out of memory for the configuration")
              : marks_refuse(o, "the text", e);
}

int domconf_xl_load(const char *json, size_t len, json_t **out, bool *repaired, struct error *e)
{
    json_error_t why;
    char *text = malloc(len + 1);
    *out = NULL;
    if (!text)
        return error_set(e, -ENOMEM, "out of memory for the configuration");
    memcpy(text, json, len);
    bool marked = text_repair(text, len, NO_UTF8) > 0;
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!o)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: line %d, column %d of its JSON: %s", why.line, why.column,
                         why.text);
    int rc = marked ? marks_resolve(o, e) : 0;
    if (rc)
        json_decref(o);
    else
        *out = o;
    if (repaired)
        *repaired = marked;
    return rc;
}

int domconf_from_xl(const char *json, size_t len, struct domconf *c, struct error *e)
{
    json_t *o;
    int rc = domconf_xl_load(json, len, &o, NULL, e);
    if (rc)
        return rc;
    domconf_dispose(c);
    rc = xl_object_parse(o, c, e);
    json_decref(o);
    if (rc)
        domconf_dispose(c);
    return rc;
}

int domconf_xl_set_disk(json_t *disks, const char *vdev, const char *path, bool writable)
{
    size_t i;
    json_t *entry;
    json_array_foreach (disks, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "vdev"));
        if (!name || strcmp(name, vdev) != 0)
            continue;
        if (json_object_set_new(entry, "pdev_path", json_string(path)) ||
            json_object_set_new(entry, "format", json_string("raw")) ||
            json_object_set_new(entry, "backend", json_string("phy")) ||
            json_object_set_new(entry, "readwrite", json_integer(writable)))
            return -ENOMEM;
    }
    return 0;
}

/* The entry of "nics" with this number, or NULL. */
static json_t *nic_entry(const json_t *nics, unsigned devid)
{
    for (size_t i = 0; i < json_array_size(nics); i++) {
        json_t *entry = json_array_get(nics, i);
        if (json_integer_value(json_object_get(entry, "devid")) == (json_int_t)devid)
            return entry;
    }
    return NULL;
}

int domconf_xl_set_vif(json_t *nics, unsigned devid, const char *bridge)
{
    json_t *nic = nic_entry(nics, devid);
    (void)json_object_del(nic, "script");
    return nic && json_object_set_new(nic, "bridge", json_string(bridge)) ? -ENOMEM : 0;
}

int domconf_xl_set_mac(json_t *nics, unsigned devid, const char *mac)
{
    json_t *nic = nic_entry(nics, devid);
    return nic && json_object_set_new(nic, "mac", json_string(mac)) ? -ENOMEM : 0;
}
