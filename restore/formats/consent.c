/* What a save file may have of the host: see consent.h. */
#include "restore/formats/consent.h"

#include "base/text.h"

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

/* Keys that do nothing to the host but shape the domain, of libxl_types.idl, 4.17 to 4.21. Those
 * with objects of more keys are gone through by a table of their own. */
static const char *const create_keys[] = {"type",
                                          "hap",
                                          "oos",
                                          "ssidref",
                                          "ssid_label",
                                          "name",
                                          "uuid",
                                          "domid",
                                          "poolid",
                                          "pool_name",
                                          "passthrough",
                                          "run_hotplug_scripts",
                                          "driver_domain",
                                          "xend_suspend_evtchn_compat",
                                          NULL};
static const char *const build_keys[] = {"max_vcpus",
                                         "avail_vcpus",
                                         "cpumap",
                                         "nodemap",
                                         "vcpu_hard_affinity",
                                         "vcpu_soft_affinity",
                                         "numa_placement",
                                         "tsc_mode",
                                         "max_memkb",
                                         "target_memkb",
                                         "video_memkb",
                                         "shadow_memkb",
                                         "iommu_memkb",
                                         "rtc_timeoffset",
                                         "exec_ssidref",
                                         "exec_ssid_label",
                                         "localtime",
                                         "disable_migrate",
                                         "cpuid",
                                         "blkdev_start",
                                         "vnuma_nodes",
                                         "max_grant_frames",
                                         "max_maptrack_frames",
                                         "max_grant_version",
                                         "device_model_version",
                                         "device_model_stubdomain",
                                         "stubdomain_memkb",
                                         "sched_params",
                                         "ioports",
                                         "irqs",
                                         "iomem",
                                         "claim_mode",
                                         "event_channels",
                                         "cmdline",
                                         "acpi",
                                         "timer_mode",
                                         "nested_hvm",
                                         "apic",
                                         "dm_restrict",
                                         "tee",
                                         "type.pv",
                                         "type.pvh",
                                         "arch_arm",
                                         "arch_x86",
                                         "altp2m",
                                         "vmtrace_buf_kb",
                                         "vpmu",
                                         "trap_unmapped_accesses",
                                         "xenstore_feature_mask",
                                         "llc_colors",
                                         NULL};
static const char *const pv_keys[] = {"slack_memkb", "cmdline", "features", "e820_host", NULL};
static const char *const pvh_keys[] = {"pvshim", NULL};
static const char *const disk_keys[] = {
    "pdev_path",           "vdev",          "backend",        "format",
    "removable",           "readwrite",     "is_cdrom",       "backend_domid",
    "backend_domname",     "specification", "direct_io_safe", "discard_enable",
    "transport",           "irq",           "base",           "colo_enable",
    "colo_restore_enable", "trusted",       "grant_usage",    NULL};
static const char *const nic_keys[] = {"devid",
                                       "mtu",
                                       "model",
                                       "mac",
                                       "ip",
                                       "bridge",
                                       "ifname",
                                       "nictype",
                                       "rate_bytes_per_interval",
                                       "rate_interval_usecs",
                                       "gatewaydev",
                                       "trusted",
                                       "backend_domid",
                                       "backend_domname",
                                       NULL};
/* xl takes its own script when none is named. */
static const char *const nic_files[] = {"script", NULL};
/* Files that the guest gets when xl starts it anew. */
static const char *const boot_keys[] = {"kernel", "ramdisk", NULL};

struct cleaning {
    const struct consent *consent;
    json_t *left_out;
};

static bool is_one_of(const char *key, const char *const *keys)
{
    for (; keys && *keys; keys++)
        if (!strcmp(*keys, key))
            return true;
    return false;
}

static bool may_stay(const struct cleaning *cl, const char *key, const json_t *v,
                     const char *const *keys, const char *const *files)
{
    const char *path = json_string_value(v);
    if (is_one_of(key, files))
        return path && consent_path(cl->consent, path);
    return is_one_of(key, keys);
}

/* Nothing is lost with a value that libxl would not have written. */
static bool is_nothing(const json_t *v)
{
    return json_is_null(v) || (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

static int note(struct cleaning *cl, const char *where, const char *key)
{
    char name[80];
    format_fits(name, sizeof name, "%s.%s", where, key);
    text_plain(name);
    return json_array_append_new(
        cl->left_out,
        json_sprintf("%s of the save file is left out: it may name a file or a program of this "
                     "host",
                     name));
}

/* Takes every key out of o, which may be NULL, that is neither among keys nor an allowed file. */
static int object_clean(struct cleaning *cl, const char *where, json_t *o, const char *const *keys,
                        const char *const *files)
{
    const char *key;
    json_t *v;
    void *next;
    int rc = 0;
    json_object_foreach_safe (o, next, key, v) {
        if (may_stay(cl, key, v, keys, files))
            continue;
        if (!is_nothing(v) && note(cl, where, key))
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
    return object_clean(cl, "nics", nic, nic_keys, nic_files);
}

int consent_config(const struct consent *c, json_t *config, json_t **left_out, struct error *e)
{
    struct cleaning cl = {c, json_array()};
    json_t *b_info = json_object_get(config, "b_info"), *disk, *nic;
    size_t i;
    int rc = cl.left_out ? 0 : -ENOMEM;
    if (!rc)
        rc = object_clean(&cl, "c_info", json_object_get(config, "c_info"), create_keys, NULL);
    if (!rc)
        rc = object_clean(&cl, "b_info", b_info, build_keys, boot_keys);
    if (!rc)
        rc = object_clean(&cl, "b_info.type.pv", json_object_get(b_info, "type.pv"), pv_keys,
                          boot_keys);
    if (!rc)
        rc = object_clean(&cl, "b_info.type.pvh", json_object_get(b_info, "type.pvh"), pvh_keys,
                          NULL);
    json_array_foreach (json_object_get(config, "disks"), i, disk)
        rc = rc ? rc : object_clean(&cl, "disks", disk, disk_keys, NULL);
    json_array_foreach (json_object_get(config, "nics"), i, nic)
        rc = rc ? rc : nic_clean(&cl, nic);
    *left_out = cl.left_out;
    return rc ? error_set(e, rc, "out of memory for the configuration") : 0;
}
