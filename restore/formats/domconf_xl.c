/*
 * Domain configurations as xl writes them: the JSON form of libxl_domain_config
 * (Xen's tools/libs/light/libxl_types.idl, 4.17 to 4.22).
 *
 * libxl leaves out values at their default, so absence always has a meaning. Of each key that is
 * there, domconf_keys.c says what becomes of it; this file takes those that are to be taken.
 *
 * Disks: a writable disk becomes DISK_COW, any other DISK_RO. What is no block device and no raw
 * file of this host is noted in the disk, for the importer may have named another one. An empty
 * CD-ROM drive is refused, not dropped: the saved guest waits for it when it resumes.
 */
#include "restore/formats/domconf_private.h"

#include "base/array.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/formats/domconf_keys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XL_EVENT_CHANNELS 1023u   /* libxl's default */
#define XL_TSC_NATIVE_PARAVIRT 3u /* libxl refuses it as well */

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

/* As libxl_cpupool_qualifier_to_cpupoolid: a name of digits is a number. */
static int pool_parse(const json_t *o, struct domconf *c, struct error *e)
{
    const char *name = NULL;
    uint64_t id;
    int rc = take_u32(o, "c_info", "poolid", 0, &c->cpupool_id, e);
    if (!rc)
        rc = take_string(o, "c_info", "pool_name", &name, e);
    if (rc || !name)
        return rc;
    if (!number_parse(name, 0, UINT32_MAX, &id)) {
        c->cpupool_id = (unsigned)id;
        return 0;
    }
    c->cpupool_id = 0; /* the number that it had on the host where it was saved */
    return format_fits(c->cpupool, sizeof c->cpupool, "%s", name)
               ? 0
               : refuse_key(e, "c_info.pool_name", "the name is too long");
}

static int create_info_parse(const json_t *o, struct domconf *c, struct error *e)
{
    const char *type, *name, *uuid;
    int rc = take_string(o, "c_info", "type", &type, e);
    if (!rc)
        rc = type_parse(type, c, e);
    if (!rc)
        rc = take_string(o, "c_info", "name", &name, e);
    if (!rc)
        rc = take_string(o, "c_info", "uuid", &uuid, e);
    if (!rc)
        rc = pool_parse(o, c, e);
    if (!rc)
        rc = domconf_keys_check(o, KEY_C_INFO, e);
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

/* An object inside o that may be missing: NULL. */
static int take_object(const json_t *o, const char *key, const json_t **out, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    *out = json_is_object(v) ? v : NULL;
    if (*out || !v || json_is_null(v))
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: b_info.%s is no object", key);
}

/* b_info holds one of "type.pv" and "type.pvh", an object with more keys. */
static int guest_part_parse(const json_t *b_info, struct domconf *c, struct error *e)
{
    const json_t *pv, *pvh, *x86;
    if (json_object_get(b_info, "type.hvm"))
        return refuse_key(e, "b_info.type.hvm", "HVM guests with a device model are not supported");
    int rc = take_object(b_info, "type.pv", &pv, e);
    if (!rc)
        rc = take_object(b_info, "type.pvh", &pvh, e);
    if (!rc)
        rc = take_object(b_info, "arch_x86", &x86, e);
    if (!rc)
        rc = domconf_keys_check(pv, KEY_PV, e);
    if (!rc)
        rc = domconf_keys_check(pvh, KEY_PVH, e);
    if (!rc)
        rc = domconf_keys_check(x86, KEY_X86, e);
    if (!rc)
        rc = take_number(pv, "b_info.type.pv", "slack_memkb", 0, &c->slack_mem_kib, e);
    return rc ? rc : take_defbool(x86, "b_info.arch_x86", "msr_relaxed", &c->msr_relaxed, e);
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
    if (!rc)
        rc = take_number(o, "b_info", "video_memkb", 0, &c->video_mem_kib, e);
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
        rc = take_defbool(o, "b_info", "vpmu", &c->vpmu, e);
    if (!rc)
        rc = take_defbool(o, "b_info", "disable_migrate", &c->nomigrate, e);
    return rc;
}

/* What a domain has anyway is as good as nothing, so that images agree whoever wrote the value. */
#define XEN_WEIGHT 256u

/* libxl's own default is -1: whatever the scheduler gives. */
static int take_param(const json_t *o, const char *key, unsigned absent, unsigned *out,
                      struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) != -1)
        return take_u32(o, "b_info.sched_params", key, absent, out, e);
    *out = absent;
    return 0;
}

static int sched_parse(const json_t *b_info, struct domconf *c, struct error *e)
{
    const json_t *o;
    int rc = take_object(b_info, "sched_params", &o, e);
    if (!rc)
        rc = take_param(o, "weight", XEN_WEIGHT, &c->weight, e);
    if (!rc)
        rc = take_param(o, "cap", 0, &c->cap, e);
    if (!rc && !c->weight)
        return refuse_key(e, "b_info.sched_params.weight", "it is 0; the least is 1");
    if (c->weight == XEN_WEIGHT)
        c->weight = 0;
    return rc ? rc : domconf_keys_check(o, KEY_SCHED, e);
}

/* cpumap is for all vCPUs, where there is nothing for each
 * (libxl__domain_build_info_setdefault). */
static int cpumap_spread(const json_t *map, struct domconf *c, struct error *e)
{
    struct cpu_sets *s = &c->hard_affinity;
    if (!json_array_size(map) || s->n || !c->max_vcpus || c->max_vcpus > DOMCONF_VCPUS_MAX)
        return 0;
    s->sets = calloc(c->max_vcpus, sizeof *s->sets);
    if (!s->sets)
        return error_set(e, -ENOMEM, "out of memory for a configuration");
    int rc = 0;
    for (s->n = 0; s->n < c->max_vcpus && !rc; s->n++)
        rc = cpu_set_from_numbers(map, "b_info.cpumap", &s->sets[s->n], e);
    return rc;
}

static int affinity_parse(const json_t *o, struct domconf *c, struct error *e)
{
    const json_t *hard = json_object_get(o, "vcpu_hard_affinity");
    const json_t *soft = json_object_get(o, "vcpu_soft_affinity");
    const json_t *map = json_object_get(o, "cpumap"), *nodes = json_object_get(o, "nodemap");
    int rc = 0;
    if (hard)
        rc = cpu_sets_from_numbers(hard, "b_info.vcpu_hard_affinity", DOMCONF_VCPUS_MAX,
                                   &c->hard_affinity, e);
    if (!rc && soft)
        rc = cpu_sets_from_numbers(soft, "b_info.vcpu_soft_affinity", DOMCONF_VCPUS_MAX,
                                   &c->soft_affinity, e);
    if (!rc && map)
        rc = cpumap_spread(map, c, e);
    if (!rc && nodes)
        rc = cpu_set_from_numbers(nodes, "b_info.nodemap", &c->node_affinity, e);
    return rc;
}

/* libxl keeps the offset in an unsigned number of 32 bits, and takes it for signed at the end. */
static int time_parse(const json_t *o, struct domconf *c, struct error *e)
{
    const json_t *v = json_object_get(o, "rtc_timeoffset");
    json_int_t offset = json_integer_value(v);
    if (v && (!json_is_integer(v) || offset < INT32_MIN || offset > UINT32_MAX))
        return refuse_key(e, "b_info.rtc_timeoffset", "no number of 32 bits");
    c->time_offset_s = (int32_t)(uint32_t)offset;
    return take_defbool(o, "b_info", "localtime", &c->localtime, e);
}

/* libxl's names of timer modes; 0 or -1. */
static int timer_mode_parse(const char *name, unsigned *mode)
{
    static const char *const names[] = {"delay_for_missed_ticks", "no_delay_for_missed_ticks",
                                        "no_missed_ticks_pending", "one_missed_tick_pending"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(names[i], name)) {
            *mode = i;
            return 0;
        }
    return strcmp(name, "unknown") ? -1 : 0; /* libxl's own word for its default */
}

static int modes_parse(const json_t *o, struct domconf *c, struct error *e)
{
    const char *tsc, *timer;
    int rc = take_string(o, "b_info", "tsc_mode", &tsc, e);
    if (!rc)
        rc = take_string(o, "b_info", "timer_mode", &timer, e);
    if (rc)
        return rc;
    if (tsc && tsc_mode_parse(tsc, &c->tsc_mode))
        return refuse_key(e, "b_info.tsc_mode", "not known");
    if (c->tsc_mode == XL_TSC_NATIVE_PARAVIRT)
        return refuse_key(e, "b_info.tsc_mode",
                          "native_paravirt is no longer in Xen; save the domain with another one");
    if (timer && timer_mode_parse(timer, &c->timer_mode))
        return refuse_key(e, "b_info.timer_mode", "not known");
    return 0;
}

static int grant_version_parse(const json_t *o, struct domconf *c, struct error *e)
{
    if (!json_object_get(o, "max_grant_version"))
        return 0;
    int rc = take_u32(o, "b_info", "max_grant_version", 0, &c->max_grant_version, e);
    if (rc || c->max_grant_version == 1 || c->max_grant_version == 2)
        return rc;
    return refuse_key(e, "b_info.max_grant_version",
                      "neither 1 nor 2; a domain without grant tables has no devices");
}

static int build_info_parse(const json_t *o, struct domconf *c, struct error *e)
{
    static int (*const parts[])(const json_t *, struct domconf *, struct error *) = {
        guest_part_parse, vcpus_parse, memory_parse, limits_parse,       modes_parse,
        affinity_parse,   sched_parse, time_parse,   grant_version_parse};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts) && !rc; i++)
        rc = parts[i](o, c, e);
    return rc ? rc : domconf_keys_check(o, KEY_B_INFO, e);
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
    unsigned domid, readwrite, is_cdrom, removable;
    bool colo, direct_io_safe, no_discard, untrusted;
};

/* False where libxl's default is another. */
static int take_refusal(const json_t *o, const char *key, bool *refused, struct error *e)
{
    bool yes;
    int rc = take_defbool(o, "disk", key, &yes, e);
    const char *text = json_string_value(json_object_get(o, key));
    *refused = !rc && text && !strcmp(text, "False");
    return rc;
}

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
        rc = take_u32(o, "disk", "removable", 0, &d->removable, e);
    if (!rc)
        rc = take_refusal(o, "discard_enable", &d->no_discard, e);
    if (!rc)
        rc = take_refusal(o, "trusted", &d->untrusted, e);
    d->direct_io_safe = json_is_true(json_object_get(o, "direct_io_safe"));
    return rc ? rc : take_defbool(o, "disk", "colo_enable", &d->colo, e);
}

/* What no other disk can be named for. */
static int xl_disk_check(const struct xl_disk *d, struct error *e)
{
    static const char *const backends[] = {"phy", "qdisk", "tap", "unknown", NULL};
    static const char *const specifications[] = {"xen", "unknown", NULL};
    if (d->format && !strcmp(d->format, "empty"))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the drive is empty; detach it before saving the domain");
    if (!one_of(d->backend, backends) || !one_of(d->specification, specifications) || d->colo)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "only Xen's own virtual disks are supported (backend %s, specification "
                         "%s)",
                         d->backend ? d->backend : "default",
                         d->specification ? d->specification : "default");
    return 0;
}

static bool is_ours(const struct xl_disk *d)
{
    return !d->domid && (!d->domain || !strcmp(d->domain, "Domain-0") || !strcmp(d->domain, "0"));
}

/* It is shown to people, who are to paste it. */
static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* Why the saved disk cannot be had and what can be done instead, or "". */
static void xl_disk_look(const struct xl_disk *d, char *why, size_t size)
{
    static const char *const formats[] = {"raw", "unknown", NULL};
    const char *path = d->path ? d->path : "";
    why[0] = '\0';
    if (has_control(path) || has_control(d->script ? d->script : ""))
        snprintf(why, size, "pdev_path \"%.200s\" or script has a control character in it", path);
    else if (!is_ours(d))
        snprintf(why, size,
                 "its back end is in a driver domain. Attach the device to dom0, and import with "
                 "--disk %s=cow:DEVICE",
                 d->vdev);
    else if (d->script)
        snprintf(why, size,
                 "block script %.80s is not run. Have the device (of %.200s) attached to dom0 "
                 "while images use it, and import with --disk %s=cow:DEVICE",
                 d->script, path, d->vdev);
    else if (!one_of(d->format, formats))
        snprintf(
            why, size,
            "format %.40s is not supported, only raw. Convert it (qemu-img convert -O raw), or "
            "have it attached while images use it (qemu-nbd --connect=/dev/nbd0 \"%.200s\"), "
            "and import with --disk %s=cow:RAW_FILE_OR_DEVICE",
            d->format, path, d->vdev);
    else if (d->backend && !strcmp(d->backend, "tap"))
        snprintf(why, size,
                 "backend tap needs blktap, which is not supported. Import with --disk "
                 "%s=cow:RAW_FILE_OR_DEVICE",
                 d->vdev);
    else if (path[0] != '/' || strlen(path) >= PATH_MAX)
        snprintf(why, size, "pdev_path \"%.200s\" is no absolute path", path);
}

static int xl_disk_parse(json_t *o, struct disk_conf *d, struct error *e)
{
    struct xl_disk x = {.domid = 0};
    char why[700];
    int rc = xl_disk_read(o, &x, e);
    if (!rc)
        rc = disk_conf_name(d, x.vdev, e);
    if (!rc)
        rc = xl_disk_check(&x, e);
    if (!rc)
        rc = domconf_keys_check(o, KEY_DISK, e);
    if (rc)
        return rc;
    xl_disk_look(&x, why, sizeof why);
    d->kind = x.readwrite && !x.is_cdrom ? DISK_COW : DISK_RO;
    d->is_cdrom = x.is_cdrom;
    d->removable = x.removable;
    d->direct_io_safe = x.direct_io_safe;
    d->no_discard = x.no_discard;
    d->untrusted = x.untrusted;
    if (why[0])
        d->cannot = strdup(why);
    else
        d->path = strdup(x.path);
    return d->path || d->cannot ? 0 : error_set(e, -ENOMEM, "out of memory");
}

int domconf_xl_check_disk(json_t *disk, struct error *e)
{
    struct disk_conf d = {.path = NULL};
    int rc = xl_disk_parse(disk, &d, e);
    if (!rc && d.cannot)
        rc = error_set(e, ANSWER_IMAGE_REFUSED, "%s", d.cannot);
    disk_conf_dispose(&d);
    return rc;
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
        rc = domconf_keys_check(o, KEY_TOP, e);
    if (!rc)
        rc = build_info_parse(b_info, c, e);
    if (!rc)
        rc = endings_from_xl(o, &c->endings, e);
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
    static const char *const elsewhere[] = {"script", "backend_domid", "backend_domname"};
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
        for (size_t k = 0; k < ARRAY_SIZE(elsewhere); k++)
            (void)json_object_del(entry, elsewhere[k]);
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
