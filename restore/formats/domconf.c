/*
 * Domain configurations in our own JSON form, and the rules for both forms. xl's form is read in
 * domconf_xl.c, a disk's part in disk_conf.c.
 *
 * The form is kept inside image files, so its keys are a format:
 *
 *   guest                "pv" or "pvh"
 *   name, uuid           of the saved domain; informational
 *   max_vcpus            1 to 128
 *   online_vcpus         array of vCPU numbers below max_vcpus
 *   max_mem_kib, target_mem_kib, shadow_mem_kib
 *   tsc_mode             "default" "always_emulate" "native" "native_paravirt"
 *   max_grant_frames, max_maptrack_frames   left out: Xen's default
 *   max_event_channels
 *   nested_hvm, nomigrate
 *   ...                  settings, each of which may be left out: see domconf_settings.c
 *   on_end               object {reason: action}; see endings.h. Left out: all "destroy"
 *   disks                array of {vdev, kind, path} or {vdev, kind, size_bytes}
 *   nics                 array, see nic_conf.c; left out when there is none
 *
 * Reading is strict. A key that is missing, unknown or of another type is an error: something else
 * wrote the image, or a later version.
 */
#include "restore/formats/domconf_private.h"

#include "base/array.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/formats/vdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const tsc_modes[] = {"default", "always_emulate", "native", "native_paravirt"};

void domconf_init(struct domconf *c)
{
    *c = (struct domconf){.max_grant_frames = UINT32_MAX,
                          .max_maptrack_frames = UINT32_MAX,
                          .timer_mode = DOMCONF_TIMER_MODE};
}

void domconf_dispose(struct domconf *c)
{
    for (unsigned i = 0; i < c->n_disks; i++)
        disk_conf_dispose(&c->disks[i]);
    free(c->disks);
    settings_dispose(c);
    domconf_init(c);
}

/* ---- disks ---- */

static struct disk_conf *disk_find(struct domconf *c, const char *vdev)
{
    uint32_t devid;
    if (vdev_to_devid(vdev, &devid))
        return NULL;
    for (unsigned i = 0; i < c->n_disks; i++)
        if (c->disks[i].devid == devid) /* xvda and d0p0 are the same disk */
            return &c->disks[i];
    return NULL;
}

int domconf_set_disk(struct domconf *c, const char *vdev, const char *spec, struct error *e)
{
    struct disk_conf *disk = disk_find(c, vdev), parsed = {.path = NULL};
    if (!disk)
        return error_set(e, ANSWER_BAD_VALUE, "disk %s: the configuration has no such disk", vdev);
    int rc = disk_conf_parse(vdev, spec, &parsed, e);
    if (rc)
        return rc;
    disk_conf_dispose(disk);
    disk->kind = parsed.kind;
    disk->path = parsed.path;
    disk->size_bytes = parsed.size_bytes;
    return 0;
}

int domconf_check_disks(const struct domconf *c, struct error *e)
{
    for (unsigned i = 0; i < c->n_disks; i++)
        if (c->disks[i].cannot)
            return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: disks[%u] (%s): %s", i,
                             c->disks[i].vdev, c->disks[i].cannot);
    return 0;
}

int domconf_set_vif(struct domconf *c, const char *devid, const char *bridge, struct error *e)
{
    uint64_t number;
    if (number_parse(devid, 0, NIC_INDEX_MAX, &number))
        return error_set(e, ANSWER_BAD_VALUE, "vif %.40s: no number from 0 to %u", devid,
                         NIC_INDEX_MAX);
    if (!nic_name_valid(bridge))
        return error_set(e, ANSWER_BAD_VALUE, "vif %s: \"%.40s\" is no name of a bridge", devid,
                         bridge);
    for (unsigned i = 0; i < c->n_nics; i++) {
        if (c->nics[i].devid != number)
            continue;
        format_fits(c->nics[i].bridge, sizeof c->nics[i].bridge, "%s", bridge);
        c->nics[i].script[0] = '\0';
        return 0;
    }
    return error_set(e, ANSWER_BAD_VALUE, "vif %s: the configuration has no such interface", devid);
}

/* ---- writing our form ---- */

static json_t *disks_to_json(const struct domconf *c)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < c->n_disks; i++)
        if (json_array_append_new(array, disk_conf_to_json(&c->disks[i]))) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

/* Left out when there is none: so images without them open with a dompool that knows of none. */
static int nics_to_json(const struct domconf *c, json_t *o)
{
    json_t *array = c->n_nics ? json_array() : NULL;
    for (unsigned i = 0; array && i < c->n_nics; i++)
        if (json_array_append_new(array, nic_conf_to_json(&c->nics[i]))) {
            json_decref(array);
            return -1;
        }
    return c->n_nics ? json_object_set_new(o, "nics", array) : 0;
}

static json_t *online_to_json(const struct domconf *c)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < DOMCONF_VCPUS_MAX; i++)
        if (c->online[i / 8] >> i % 8 & 1 && json_array_append_new(array, json_integer(i))) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

/* A limit at Xen's default is left out. */
static int limit_to_json(json_t *o, const char *key, unsigned value)
{
    return value == UINT32_MAX ? 0 : json_object_set_new(o, key, json_integer(value));
}

/* All at their default are left out. */
static int endings_put(json_t *o, const struct endings *endings)
{
    json_t *on_end = endings_to_json(endings);
    if (!on_end)
        return -1;
    int rc = json_object_size(on_end) ? json_object_set(o, "on_end", on_end) : 0;
    json_decref(on_end);
    return rc;
}

int domconf_to_json(const struct domconf *c, char **text, struct error *e)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&c->uuid, uuid);
    *text = NULL;
    json_t *o = json_pack("{ss ss ss sI so sI sI sI ss sI sb sb so}", "guest",
                          c->guest == IMAGE_GUEST_PV ? "pv" : "pvh", "name", c->name, "uuid", uuid,
                          "max_vcpus", (json_int_t)c->max_vcpus, "online_vcpus", online_to_json(c),
                          "max_mem_kib", (json_int_t)c->max_mem_kib, "target_mem_kib",
                          (json_int_t)c->target_mem_kib, "shadow_mem_kib",
                          (json_int_t)c->shadow_mem_kib, "tsc_mode", tsc_modes[c->tsc_mode],
                          "max_event_channels", (json_int_t)c->max_event_channels, "nested_hvm",
                          c->nested_hvm, "nomigrate", c->nomigrate, "disks", disks_to_json(c));
    if (o && !limit_to_json(o, "max_grant_frames", c->max_grant_frames) &&
        !limit_to_json(o, "max_maptrack_frames", c->max_maptrack_frames) &&
        !settings_to_json(c, o) && !nics_to_json(c, o) && !endings_put(o, &c->endings))
        *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    return *text ? 0 : error_set(e, -ENOMEM, "out of memory writing a configuration");
}

/* ---- what both forms must keep to ---- */

static int disks_check(const struct domconf *c, struct error *e)
{
    if (c->n_disks > DOMCONF_DISKS_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: %u disks, at most %u are "
                         "supported",
                         c->n_disks, DOMCONF_DISKS_MAX);
    for (unsigned i = 0; i < c->n_disks; i++)
        for (unsigned k = 0; k < i; k++)
            if (c->disks[i].devid == c->disks[k].devid)
                return error_set(e, ANSWER_IMAGE_REFUSED,
                                 "configuration: disks %s and %s are the same device",
                                 c->disks[k].vdev, c->disks[i].vdev);
    return 0;
}

static int nics_check(const struct domconf *c, struct error *e)
{
    for (unsigned i = 1; i < c->n_nics; i++)
        if (c->nics[i].devid == c->nics[i - 1].devid)
            return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: two interfaces are vif %u",
                             c->nics[i].devid);
    return 0;
}

int domconf_check(const struct domconf *c, struct error *e)
{
    if (!c->max_vcpus || c->max_vcpus > DOMCONF_VCPUS_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %u vCPUs, expected 1 to %u",
                         c->max_vcpus, DOMCONF_VCPUS_MAX);
    for (unsigned i = c->max_vcpus; i < DOMCONF_VCPUS_MAX; i++)
        if (c->online[i / 8] >> i % 8 & 1)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "configuration: vCPU %u is online, but there are only %u", i,
                             c->max_vcpus);
    if (!(c->online[0] & 1))
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: vCPU 0 is not online");
    if (!c->max_mem_kib || c->max_mem_kib > DOMCONF_MEM_KIB_MAX ||
        c->target_mem_kib > c->max_mem_kib || c->shadow_mem_kib > DOMCONF_MEM_KIB_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: %llu KiB of at most %llu KiB memory, %llu KiB paging pool",
                         (unsigned long long)c->target_mem_kib, (unsigned long long)c->max_mem_kib,
                         (unsigned long long)c->shadow_mem_kib);
    int rc = settings_check(c, e);
    if (!rc)
        rc = disks_check(c, e);
    return rc ? rc : nics_check(c, e);
}

int tsc_mode_parse(const char *name, unsigned *mode)
{
    for (unsigned i = 0; i < ARRAY_SIZE(tsc_modes); i++)
        if (!strcmp(tsc_modes[i], name)) {
            *mode = i;
            return 0;
        }
    return -1;
}

int vcpus_online_parse(const json_t *array, uint8_t online[DOMCONF_VCPUS_MAX / 8], const char *key,
                       struct error *e)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id >= DOMCONF_VCPUS_MAX)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "configuration: %s: entry %zu is no vCPU number below %u", key, i,
                             DOMCONF_VCPUS_MAX);
        online[id / 8] |= (uint8_t)(1u << id % 8);
    }
    return 0;
}

/* ---- reading our form ---- */

int disks_from_json(const json_t *array, disk_parse *parse, struct domconf *c, struct error *e)
{
    size_t n = json_array_size(array);
    if (n > DOMCONF_DISKS_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: %zu disks, at most %u are supported", n,
                         DOMCONF_DISKS_MAX);
    c->disks = calloc(n ? n : 1, sizeof *c->disks);
    if (!c->disks)
        return error_set(e, -ENOMEM, "out of memory for %zu disks", n);
    for (size_t i = 0; i < n; i++) {
        c->n_disks++; /* first, so that dispose finds what a failing parse has made */
        int rc = parse(json_array_get(array, i), &c->disks[i], e);
        if (rc) {
            error_prefix(e, "configuration: disks[%zu]: ", i);
            return rc;
        }
    }
    return 0;
}

static int by_devid(const void *a, const void *b)
{
    unsigned x = ((const struct nic_conf *)a)->devid, y = ((const struct nic_conf *)b)->devid;
    return (x > y) - (x < y);
}

int nics_from_json(const json_t *array, nic_parse *parse, struct domconf *c, struct error *e)
{
    size_t n = json_array_size(array);
    if (n > ARRAY_SIZE(c->nics))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: %zu network interfaces, at most %zu are supported", n,
                         ARRAY_SIZE(c->nics));
    for (size_t i = 0; i < n; i++) {
        int rc = parse(json_array_get(array, i), &c->nics[i], e);
        if (rc) {
            error_prefix(e, "configuration: nics[%zu]: ", i);
            return rc;
        }
        c->n_nics++;
    }
    qsort(c->nics, n, sizeof c->nics[0], by_devid);
    return 0;
}

struct own_form {
    const char *guest, *name, *uuid, *tsc_mode;
    json_t *online, *disks, *nics, *on_end;
    json_int_t vcpus, max_mem, target_mem, shadow_mem, grant, maptrack, channels;
};

static bool fits_unsigned(json_int_t n)
{
    return n >= 0 && n <= (json_int_t)UINT32_MAX;
}

static int own_form_take(const struct own_form *f, struct domconf *c, struct error *e)
{
    if ((strcmp(f->guest, "pv") && strcmp(f->guest, "pvh")) || uuid_parse(f->uuid, &c->uuid) ||
        tsc_mode_parse(f->tsc_mode, &c->tsc_mode) ||
        !format_fits(c->name, sizeof c->name, "%s", f->name))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: guest \"%s\", name \"%s\", uuid \"%s\" or tsc_mode \"%s\" "
                         "malformed",
                         f->guest, f->name, f->uuid, f->tsc_mode);
    if (!fits_unsigned(f->vcpus) || !fits_unsigned(f->grant) || !fits_unsigned(f->maptrack) ||
        !fits_unsigned(f->channels) || f->max_mem < 0 || f->target_mem < 0 || f->shadow_mem < 0)
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: a number is out of range");
    if (!json_is_array(f->online) || !json_is_array(f->disks) ||
        (f->nics && !json_is_array(f->nics)))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: online_vcpus, disks or nics is no array");
    c->guest = strcmp(f->guest, "pv") ? IMAGE_GUEST_PVH : IMAGE_GUEST_PV;
    c->max_vcpus = (unsigned)f->vcpus;
    c->max_mem_kib = (uint64_t)f->max_mem;
    c->target_mem_kib = (uint64_t)f->target_mem;
    c->shadow_mem_kib = (uint64_t)f->shadow_mem;
    c->max_grant_frames = (unsigned)f->grant;
    c->max_maptrack_frames = (unsigned)f->maptrack;
    c->max_event_channels = (unsigned)f->channels;
    int rc = vcpus_online_parse(f->online, c->online, "online_vcpus", e);
    if (!rc)
        rc = disks_from_json(f->disks, disk_conf_from_json, c, e);
    return rc ? rc : nics_from_json(f->nics, nic_conf_from_json, c, e);
}

static int domconf_from_object(json_t *o, struct domconf *c, struct error *e)
{
    struct own_form f = {.grant = UINT32_MAX, .maptrack = UINT32_MAX};
    int nested, nomigrate, rc = settings_from_json(o, c, e);
    json_error_t why;
    if (rc)
        return rc;
    if (json_unpack_ex(o, &why, JSON_STRICT,
                       "{s:s s:s s:s s:I s:o s:I s:I s:I s:s s?I s?I s:I s:b s:b s?o s:o s?o}",
                       "guest", &f.guest, "name", &f.name, "uuid", &f.uuid, "max_vcpus", &f.vcpus,
                       "online_vcpus", &f.online, "max_mem_kib", &f.max_mem, "target_mem_kib",
                       &f.target_mem, "shadow_mem_kib", &f.shadow_mem, "tsc_mode", &f.tsc_mode,
                       "max_grant_frames", &f.grant, "max_maptrack_frames", &f.maptrack,
                       "max_event_channels", &f.channels, "nested_hvm", &nested, "nomigrate",
                       &nomigrate, "on_end", &f.on_end, "disks", &f.disks, "nics", &f.nics))
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s", why.text);
    c->nested_hvm = nested;
    c->nomigrate = nomigrate;
    rc = own_form_take(&f, c, e);
    if (!rc)
        rc = endings_from_json(f.on_end, &c->endings, e);
    return rc ? rc : domconf_check(c, e);
}

int domconf_from_json(const char *text, struct domconf *c, struct error *e)
{
    json_error_t why;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!o)
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: line %d, column %d: %s", why.line,
                         why.column, why.text);
    domconf_dispose(c);
    int rc = domconf_from_object(o, c, e);
    json_decref(o);
    if (rc)
        domconf_dispose(c);
    return rc;
}
