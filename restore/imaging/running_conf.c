/* The configuration of a running domain: see running_conf.h. */
#include "restore/imaging/running_conf.h"

#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/formats/domconf.h"
#include "restore/formats/savefile.h"
#include "restore/formats/vdev.h"
#include "restore/xen/nodes.h"
#include "restore/xen/userdata.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct error *e)
{
    return error_set(e, -ENOMEM, "out of memory for a configuration");
}

static int refuse(struct error *e, const char *key, const char *why)
{
    return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s: %s", key, why);
}

/* A node that every domain has. */
static int node_read(struct xen *x, uint32_t domid, const char *node, char **out, struct error *e)
{
    *out = node_get(x->xs, "/local/domain/%u/%s", domid, node);
    return *out ? 0 : error_errno(e, errno, "read xenstore node /local/domain/%u/%s", domid, node);
}

static int identity_update(struct xen *x, uint32_t domid, const char *uuid, json_t *config,
                           struct error *e)
{
    json_t *c_info = json_object_get(config, "c_info");
    if (!json_is_object(c_info))
        return refuse(e, "c_info", "missing");
    char *name;
    int rc = node_read(x, domid, "name", &name, e);
    if (rc)
        return rc;
    text_plain(name); /* whatever its encoding: an image's name for people */
    if (json_object_set_new(c_info, "name", json_string(name)) ||
        json_object_set_new(c_info, "uuid", json_string(uuid)))
        rc = no_memory(e);
    free(name);
    return rc;
}

static int vcpus_update(struct xen *x, uint32_t domid, json_t *b_info, struct error *e)
{
    const json_t *max = json_object_get(b_info, "max_vcpus");
    json_int_t n = max ? json_integer_value(max) : 1; /* libxl's default */
    if (n < 1 || n > DOMCONF_VCPUS_MAX)
        return refuse(e, "b_info.max_vcpus", "out of range");
    json_t *online = json_array();
    for (unsigned i = 0; i < (unsigned)n; i++) {
        char *text = node_get(x->xs, "/local/domain/%u/cpu/%u/availability", domid, i);
        if (!text && errno != ENOENT) {
            json_decref(online);
            return error_errno(e, errno, "read which vCPUs of domain %u are online", domid);
        }
        bool failed =
            text && !strcmp(text, "online") && json_array_append_new(online, json_integer(i));
        free(text);
        if (failed) {
            json_decref(online);
            return no_memory(e);
        }
    }
    return json_object_set_new(b_info, "avail_vcpus", online) ? no_memory(e) : 0;
}

static int kib_update(struct xen *x, uint32_t domid, const char *node, uint64_t more,
                      json_t *b_info, const char *key, struct error *e)
{
    char *text;
    uint64_t kib;
    int rc = node_read(x, domid, node, &text, e);
    if (rc)
        return rc;
    if (number_parse(text, 1, INT64_MAX / 2, &kib))
        rc = refuse(e, node, "no number of KiB");
    else if (json_object_set_new(b_info, key, json_integer((json_int_t)(kib + more))))
        rc = no_memory(e);
    free(text);
    return rc;
}

/* In xenstore the target is without video memory, in the JSON with it. */
static int memory_update(struct xen *x, uint32_t domid, json_t *b_info, struct error *e)
{
    json_int_t video = json_integer_value(json_object_get(b_info, "video_memkb"));
    if (video < 0 || video > INT32_MAX)
        return refuse(e, "b_info.video_memkb", "out of range");
    int rc = kib_update(x, domid, "memory/static-max", 0, b_info, "max_memkb", e);
    return rc ? rc
              : kib_update(x, domid, "memory/target", (uint64_t)video, b_info, "target_memkb", e);
}

/* ---- devices ---- */

static bool disk_devid(const json_t *disk, uint32_t *devid)
{
    const char *vdev = json_string_value(json_object_get(disk, "vdev"));
    return vdev && !vdev_to_devid(vdev, devid);
}

static bool nic_devid(const json_t *nic, uint32_t *devid)
{
    const json_t *v = json_object_get(nic, "devid");
    json_int_t n = json_integer_value(v);
    *devid = (uint32_t)n;
    return json_is_integer(v) && n >= 0 && n <= INT32_MAX;
}

/* A device whose number is not known stays in; the importer refuses impossible ones. */
static int devices_update(struct xen *x, uint32_t domid, json_t *list, const char *kind,
                          bool (*number)(const json_t *, uint32_t *), struct error *e)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        uint32_t devid;
        if (!number(json_array_get(list, i), &devid))
            continue;
        char *there = node_get(x->xs, "/libxl/%u/device/%s/%u", domid, kind, devid);
        if (!there && errno != ENOENT)
            return error_errno(e, errno, "read which devices domain %u has", domid);
        if (!there)
            json_array_remove(list, i);
        free(there);
    }
    return 0;
}

/* ---- the whole ---- */

static int config_update(struct xen *x, uint32_t domid, const char *uuid, json_t *config,
                         struct error *e)
{
    json_t *b_info = json_object_get(config, "b_info");
    if (!json_is_object(b_info))
        return refuse(e, "b_info", "missing");
    int rc = identity_update(x, domid, uuid, config, e);
    if (!rc)
        rc = vcpus_update(x, domid, b_info, e);
    if (!rc)
        rc = memory_update(x, domid, b_info, e);
    if (!rc)
        rc = devices_update(x, domid, json_object_get(config, "disks"), "vbd", disk_devid, e);
    if (!rc)
        rc = devices_update(x, domid, json_object_get(config, "nics"), "vif", nic_devid, e);
    return rc;
}

static int stored_config(uint32_t domid, const char *uuid, json_t **config, struct error *e)
{
    char *text;
    size_t len;
    int rc = userdata_read(domid, uuid, SAVEFILE_CONFIG_BYTES_MAX, &text, &len, e);
    if (rc)
        return rc;
    rc = domconf_xl_load(text, len, config, NULL, e);
    free(text);
    return rc ? error_prefix(e, "domain %u: ", domid) : 0;
}

int running_conf_read(struct xen *x, uint32_t domid, const struct uuid *uuid, char **json,
                      size_t *len, struct error *e)
{
    char uuid_text[UUID_TEXT_SIZE];
    uuid_format(uuid, uuid_text);
    json_t *config;
    int rc = stored_config(domid, uuid_text, &config, e);
    if (rc)
        return rc;
    rc = config_update(x, domid, uuid_text, config, e);
    *json = rc ? NULL : json_dumps(config, JSON_INDENT(4));
    json_decref(config);
    if (rc)
        return rc;
    *len = *json ? strlen(*json) : 0;
    return *json ? 0 : no_memory(e);
}
