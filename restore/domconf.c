/*
 * Domain configurations in our own JSON form, and what belongs to both forms:
 * disk names and disk specifications. xl's form is read in domconf_xl.c.
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
 *   disks                array of {vdev, kind, path} or {vdev, kind, size_bytes}
 *
 * Reading is strict: a key that is missing, unknown or of another type is an
 * error, for it means that the image was written by something else.
 */
#include "restore/domconf.h"

#include "base/util.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *const disk_kinds[] = {"phy", "ro", "cow", "scratch"};
static const char *const tsc_modes[] = {"default", "always_emulate", "native", "native_paravirt"};

void domconf_init(struct domconf *c)
{
    *c = (struct domconf){.max_grant_frames = UINT32_MAX, .max_maptrack_frames = UINT32_MAX};
}

void domconf_dispose(struct domconf *c)
{
    for (unsigned i = 0; i < c->n_disks; i++)
        free(c->disks[i].path);
    free(c->disks);
    domconf_init(c);
}

const char *disk_kind_name(enum disk_kind kind)
{
    return disk_kinds[kind];
}

static int name_index(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return (int)i;
    return -1;
}

/* ---- disk names: Xen's docs/man/xen-vbd-interface.7 ---- */

struct disk_bus {
    const char *prefix;
    uint32_t disks, partitions; /* numbers go to one less */
};

static const struct disk_bus bus_xvd = {"xvd", 1u << 20, 256};
static const struct disk_bus bus_hd = {"hd", 4, 64};
static const struct disk_bus bus_sd = {"sd", 16, 16};

/* Decimal without leading zero, below limit. */
static bool number_parse_at(const char *text, uint32_t limit, uint32_t *out)
{
    uint64_t value;
    if (text[0] == '0' && text[1])
        return false;
    if (number_parse(text, 0, limit - 1, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

/* "b", "aa12": letters count a, b, ... z, aa, ab, ...; digits are the partition. */
static bool disk_name_parse(const char *vdev, const struct disk_bus *bus, uint32_t *disk,
                            uint32_t *partition)
{
    size_t len = strlen(bus->prefix);
    if (strncmp(vdev, bus->prefix, len))
        return false;
    const char *at = vdev + len;
    uint64_t number = 0;
    for (; *at >= 'a' && *at <= 'z'; at++) {
        number = number * 26 + (uint64_t)(*at - 'a') + 1;
        if (number > bus->disks)
            return false;
    }
    if (!number)
        return false;
    *disk = (uint32_t)number - 1;
    *partition = 0;
    return !*at || (*at != '0' && number_parse_at(at, bus->partitions, partition));
}

/* "d536p37", "d0" */
static bool disk_number_parse(const char *vdev, uint32_t *disk, uint32_t *partition)
{
    char text[16];
    if (vdev[0] != 'd' || !format_fits(text, sizeof text, "%s", vdev + 1))
        return false;
    char *p = strchr(text, 'p');
    if (p)
        *p = '\0';
    *partition = 0;
    return number_parse_at(text, bus_xvd.disks, disk) &&
           (!p || number_parse_at(p + 1, bus_xvd.partitions, partition));
}

int vdev_to_devid(const char *vdev, uint32_t *devid)
{
    uint32_t disk, part;
    if (disk_number_parse(vdev, &disk, &part) || disk_name_parse(vdev, &bus_xvd, &disk, &part))
        *devid = disk < 16 && part < 16 ? 202u << 8 | disk << 4 | part
                                        : 1u << 28 | disk << 8 | part;
    else if (disk_name_parse(vdev, &bus_sd, &disk, &part))
        *devid = 8u << 8 | disk << 4 | part;
    else if (disk_name_parse(vdev, &bus_hd, &disk, &part))
        *devid = (disk < 2 ? 3u : 22u) << 8 | (disk & 1) << 6 | part;
    else
        return -1;
    return 0;
}

/* ---- disk specifications ---- */

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

static int disk_spec_parse(const char *vdev, const char *spec, struct disk_conf *out,
                           struct error *e)
{
    const char *colon = strchr(spec, ':');
    char kind[16] = "";
    if (colon)
        (void)format_fits(kind, sizeof kind, "%.*s", (int)(colon - spec), spec);
    int index = name_index(disk_kinds, ARRAY_SIZE(disk_kinds), kind);
    if (index < 0)
        return error_set(e, ANSWER_BAD_VALUE,
                         "disk %s: \"%s\" is none of ro:PATH, phy:PATH, cow:PATH, scratch:SIZE",
                         vdev, spec);
    out->kind = (enum disk_kind)index;
    const char *rest = colon + 1;
    if (out->kind == DISK_SCRATCH) {
        if (size_parse_bytes(rest, &out->size_bytes) || !out->size_bytes ||
            out->size_bytes % 512)
            return error_set(e, ANSWER_BAD_VALUE,
                             "disk %s: \"%s\" is no size (like 512M, in whole sectors)", vdev,
                             rest);
        return 0;
    }
    if (rest[0] != '/' || strlen(rest) >= PATH_MAX)
        return error_set(e, ANSWER_BAD_VALUE, "disk %s: path \"%s\" is not absolute or too long",
                         vdev, rest);
    out->path = strdup(rest);
    return out->path ? 0 : error_set(e, -ENOMEM, "disk %s: out of memory", vdev);
}

int domconf_set_disk(struct domconf *c, const char *vdev, const char *spec, struct error *e)
{
    struct disk_conf *disk = disk_find(c, vdev), parsed = {.path = NULL};
    if (!disk)
        return error_set(e, ANSWER_BAD_VALUE, "disk %s: the configuration has no such disk", vdev);
    int rc = disk_spec_parse(vdev, spec, &parsed, e);
    if (rc)
        return rc;
    free(disk->path);
    disk->kind = parsed.kind;
    disk->path = parsed.path;
    disk->size_bytes = parsed.size_bytes;
    return 0;
}

/* ---- writing our form ---- */

static json_t *disk_to_json(const struct disk_conf *d)
{
    if (d->kind == DISK_SCRATCH)
        return json_pack("{ss ss sI}", "vdev", d->vdev, "kind", disk_kind_name(d->kind),
                         "size_bytes", (json_int_t)d->size_bytes);
    return json_pack("{ss ss ss}", "vdev", d->vdev, "kind", disk_kind_name(d->kind), "path",
                     d->path);
}

static json_t *disks_to_json(const struct domconf *c)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < c->n_disks; i++)
        if (json_array_append_new(array, disk_to_json(&c->disks[i]))) {
            json_decref(array);
            array = NULL;
        }
    return array;
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

int domconf_to_json(const struct domconf *c, char **text, struct error *e)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(c->uuid, uuid);
    *text = NULL;
    json_t *o = json_pack("{ss ss ss si so sI sI sI ss si sb sb so}", "guest",
                          c->guest == IMAGE_GUEST_PV ? "pv" : "pvh", "name", c->name, "uuid", uuid,
                          "max_vcpus", (int)c->max_vcpus, "online_vcpus", online_to_json(c),
                          "max_mem_kib", (json_int_t)c->max_mem_kib, "target_mem_kib",
                          (json_int_t)c->target_mem_kib, "shadow_mem_kib",
                          (json_int_t)c->shadow_mem_kib, "tsc_mode", tsc_modes[c->tsc_mode],
                          "max_event_channels", (int)c->max_event_channels, "nested_hvm",
                          c->nested_hvm, "nomigrate", c->nomigrate, "disks", disks_to_json(c));
    if (o && !limit_to_json(o, "max_grant_frames", c->max_grant_frames) &&
        !limit_to_json(o, "max_maptrack_frames", c->max_maptrack_frames))
        *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    return *text ? 0 : error_set(e, -ENOMEM, "out of memory writing a configuration");
}
