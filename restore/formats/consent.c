/* What a save file may have of the host: see consent.h. */
#include "restore/formats/consent.h"

#include "base/array.h"
#include "base/text.h"
#include "restore/formats/domconf_keys.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- paths ---- */

/* Whether path is dir, or something below it; both as realpath(3) gives them. */
static bool is_within(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (!strcmp(dir, "/"))
        return true;
    return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

/* Nobody but root makes links in it. */
static bool is_roots(const char *dir)
{
    struct stat st;
    return !stat(dir, &st) && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* The exception for /dev. real: where path leads. */
static bool is_udev_name(const char *path, const char *real, const char *dir)
{
    char copy[PATH_MAX], parent[PATH_MAX];
    struct stat st;
    if (!is_within(dir, "/dev") || !is_within(real, "/dev") || stat(real, &st) ||
        !S_ISBLK(st.st_mode) || !format_fits(copy, sizeof copy, "%s", path) ||
        !realpath(dirname(copy), parent))
        return false;
    return is_within(parent, dir) && is_roots(parent);
}

bool consent_path(const struct consent *c, const char *path)
{
    char real[PATH_MAX], dir[PATH_MAX];
    size_t i;
    json_t *v;
    if (c->ask)
        return c->ask(path);
    if (path[0] != '/' || !realpath(path, real))
        return false;
    json_array_foreach (c->dirs, i, v) {
        const char *text = json_string_value(v);
        if (!text || text[0] != '/' || !realpath(text, dir))
            continue;
        if ((is_within(real, dir) && strcmp(real, dir) != 0) || is_udev_name(path, real, dir))
            return true;
    }
    return false;
}

/* ---- disks ---- */

/* As domconf_set_disk takes it; new reference. A save file's disks have paths. */
static json_t *disk_spec(const struct disk_conf *d)
{
    return json_sprintf("%s:%s", disk_kind_name(d->kind), d->path);
}

static bool has_had(const struct consent *c, const struct disk_conf *d, const json_t *spec)
{
    const json_t *had = json_object_get(c->had, d->vdev);
    return had && json_equal(had, spec);
}

static bool base_has(const struct domconf *base, const struct disk_conf *d)
{
    for (unsigned i = 0; base && i < base->n_disks; i++) {
        const struct disk_conf *of_base = &base->disks[i];
        if (of_base->devid == d->devid)
            return of_base->kind == d->kind && of_base->path && !strcmp(of_base->path, d->path);
    }
    return false;
}

static int refuse(const struct domconf *conf, const json_t *missing, struct error *e)
{
    size_t n = json_object_size(missing);
    const char *vdev = json_object_iter_key(json_object_iter((json_t *)missing));
    return error_set(e, ANSWER_DISKS_NOT_ALLOWED,
                     "the save file asks for %zu of its %u disks without anybody's consent, first "
                     "for %s=%.200s. Look whether its guest may have them, and name them with "
                     "--disk, or their directory in disk_dirs of dompool.conf",
                     n, conf->n_disks, vdev,
                     json_string_value(json_object_get(missing, vdev ? vdev : "")));
}

int consent_disks(const struct consent *c, const struct domconf *conf,
                  bool (*named)(const void *data, const struct disk_conf *d), const void *data,
                  const struct domconf *base, json_t **missing, struct error *e)
{
    bool ok = (*missing = json_object()) != NULL;
    for (unsigned i = 0; ok && i < conf->n_disks; i++) {
        const struct disk_conf *d = &conf->disks[i];
        if (named(data, d))
            continue;
        json_t *spec = disk_spec(d);
        if (!spec)
            ok = false;
        else if (!has_had(c, d, spec) && !base_has(base, d) && !consent_path(c, d->path))
            ok = !json_object_set(*missing, d->vdev, spec);
        json_decref(spec);
    }
    if (ok && !json_object_size(*missing))
        return 0;
    return ok ? refuse(conf, *missing, e) : error_set(e, -ENOMEM, "out of memory");
}

/* ---- the rest of the configuration ---- */

#define XL_SCRIPT_DIR "/etc/xen/scripts" /* libxl__xen_script_dir_path */

/* Keys that name a file or a program of the host, or what that is told. What else is in the table
 * of xl's keys, and not refused there, shapes the domain. A file that may be allowed: the guest
 * gets it when xl starts it anew, or xl runs it for the guest. */
static const struct {
    enum key_place place;
    const char *key;
    bool allowed_file;
} of_host[] = {
    {KEY_B_INFO, "kernel", true},
    {KEY_B_INFO, "ramdisk", true},
    {KEY_B_INFO, "bootloader", false},
    {KEY_B_INFO, "bootloader_args", false},
    {KEY_B_INFO, "bootloader_restrict", false},
    {KEY_B_INFO, "bootloader_user", false},
    {KEY_B_INFO, "stubdomain_kernel", false},
    {KEY_B_INFO, "stubdomain_cmdline", false},
    {KEY_B_INFO, "stubdomain_ramdisk", false},
    {KEY_B_INFO, "device_model", false},
    {KEY_B_INFO, "device_model_ssidref", false},
    {KEY_B_INFO, "device_model_ssid_label", false},
    {KEY_B_INFO, "device_model_user", false},
    {KEY_B_INFO, "extra", false},
    {KEY_B_INFO, "extra_pv", false},
    {KEY_B_INFO, "extra_hvm", false},
    {KEY_PV, "kernel", true},
    {KEY_PV, "ramdisk", true},
    {KEY_PV, "bootloader", false},
    {KEY_PV, "bootloader_args", false},
    {KEY_PVH, "pvshim_path", false},
    {KEY_PVH, "pvshim_cmdline", false},
    {KEY_PVH, "pvshim_extra", false},
    {KEY_DISK, "script", false},
    {KEY_DISK, "colo_host", false},
    {KEY_DISK, "colo_port", false},
    {KEY_DISK, "colo_export", false},
    {KEY_DISK, "active_disk", false},
    {KEY_DISK, "hidden_disk", false},
    {KEY_NIC, "script", true},
};

struct cleaning {
    const struct consent *consent;
    json_t *left_out;
};

static bool may_stay(const struct cleaning *cl, enum key_place place, const char *key,
                     const json_t *v)
{
    const struct domconf_key *k = domconf_key_find(place, key);
    const char *path = json_string_value(v);
    if (!k || !domconf_key_allows(k, v))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(of_host); i++)
        if (of_host[i].place == place && !strcmp(of_host[i].key, key))
            return of_host[i].allowed_file && path && consent_path(cl->consent, path);
    return true;
}

static int note(struct cleaning *cl, enum key_place place, const char *key)
{
    char name[80];
    format_fits(name, sizeof name, "%s%s%s", key_place_name(place), place == KEY_TOP ? "" : ".",
                key);
    text_plain(name);
    return json_array_append_new(
        cl->left_out,
        json_sprintf("%s of the save file is left out: it may name a file or a program of this "
                     "host",
                     name));
}

/* Takes every key out of o, which may be NULL, that may not stay. Nothing is lost with a value that
 * says nothing. */
static int object_clean(struct cleaning *cl, enum key_place place, json_t *o)
{
    const char *key;
    json_t *v;
    void *next;
    int rc = 0;
    json_object_foreach_safe (o, next, key, v) {
        if (may_stay(cl, place, key, v))
            continue;
        if (!domconf_value_is_nothing(v) && note(cl, place, key))
            rc = -ENOMEM;
        json_object_del(o, key);
    }
    return rc;
}

/* libxl writes its own default in full; without it it takes the same. */
static int nic_clean(struct cleaning *cl, json_t *nic)
{
    const char *script = json_string_value(json_object_get(nic, "script"));
    if (script && !strcmp(script, XL_SCRIPT_DIR "/" NIC_SCRIPT))
        json_object_del(nic, "script");
    return object_clean(cl, KEY_NIC, nic);
}

int consent_config(const struct consent *c, json_t *config, json_t **left_out, struct error *e)
{
    struct cleaning cl = {c, json_array()};
    json_t *b_info = json_object_get(config, "b_info"), *disk, *nic;
    size_t i;
    int rc = cl.left_out ? 0 : -ENOMEM;
    if (!rc)
        rc = object_clean(&cl, KEY_TOP, config);
    if (!rc)
        rc = object_clean(&cl, KEY_C_INFO, json_object_get(config, "c_info"));
    if (!rc)
        rc = object_clean(&cl, KEY_B_INFO, b_info);
    if (!rc)
        rc = object_clean(&cl, KEY_PV, json_object_get(b_info, "type.pv"));
    if (!rc)
        rc = object_clean(&cl, KEY_PVH, json_object_get(b_info, "type.pvh"));
    json_array_foreach (json_object_get(config, "disks"), i, disk)
        rc = rc ? rc : object_clean(&cl, KEY_DISK, disk);
    json_array_foreach (json_object_get(config, "nics"), i, nic)
        rc = rc ? rc : nic_clean(&cl, nic);
    *left_out = cl.left_out;
    return rc ? error_set(e, rc, "out of memory for the configuration") : 0;
}
