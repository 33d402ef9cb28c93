/*
 * The table of xl's keys: see domconf_keys.h.
 *
 * What libxl does with a key at a restore was read in libxl_create.c, libxl_dom.c, libxl_x86.c,
 * libxl_sched.c, libxl_disk.c and libxl_domain.c of Xen's tools/libs/light. libxl leaves out what
 * is at its default, so a value that says nothing passes under any key.
 */
#include "restore/formats/domconf_keys.h"

#include "base/array.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MODEL "it is for device models, and no guest here has one"
#define BOOT "it is for starting a guest anew; a saved one has its kernel in memory"
#define SHIM "it is for PV shims"
#define ARM "it is for other processors"
#define COLO "it is for COLO"
#define VIRTIO "it is for virtio disks"
#define LABEL                                                                                      \
    "security labels (XSM) would be lost; save the domain without init_seclabel and seclabel"
#define DEVICE(what, key) what " are not supported; save the domain without " key

const struct domconf_key domconf_keys[] = {
    /* ---- the top ---- */
    {KEY_TOP, KEY_TAKEN, "c_info", NULL, "see below"},
    {KEY_TOP, KEY_TAKEN, "b_info", NULL, "see below"},
    {KEY_TOP, KEY_TAKEN, "disks", NULL, "see below"},
    {KEY_TOP, KEY_TAKEN, "nics", NULL,
     "see Network interfaces; what is not provided is refused by its key"},
    {KEY_TOP, KEY_REFUSED, "pcidevs", NULL, DEVICE("PCI devices of the host", "pci")},
    {KEY_TOP, KEY_REFUSED, "rdms", NULL, DEVICE("reserved regions of devices", "rdm")},
    {KEY_TOP, KEY_REFUSED, "dtdevs", NULL, DEVICE("device-tree devices", "dtdev")},
    {KEY_TOP, KEY_REFUSED, "vfbs", NULL, DEVICE("virtual frame buffers", "vfb")},
    {KEY_TOP, KEY_REFUSED, "vkbs", NULL, DEVICE("virtual keyboards", "vkb")},
    {KEY_TOP, KEY_REFUSED, "virtios", NULL, DEVICE("virtio devices", "virtio")},
    {KEY_TOP, KEY_REFUSED, "vtpms", NULL, DEVICE("virtual TPMs", "vtpm")},
    {KEY_TOP, KEY_REFUSED, "p9s", NULL, DEVICE("9pfs devices", "p9")},
    {KEY_TOP, KEY_REFUSED, "pvcallsifs", NULL, DEVICE("PV calls", "pvcalls")},
    {KEY_TOP, KEY_REFUSED, "vdispls", NULL, DEVICE("virtual displays", "vdispl")},
    {KEY_TOP, KEY_REFUSED, "vsnds", NULL, DEVICE("virtual sound devices", "vsnd")},
    {KEY_TOP, KEY_REFUSED, "channels", NULL, DEVICE("channels", "channel")},
    {KEY_TOP, KEY_REFUSED, "usbctrls", NULL, DEVICE("USB controllers", "usbctrl")},
    {KEY_TOP, KEY_REFUSED, "usbdevs", NULL, DEVICE("USB devices", "usbdev")},
    {KEY_TOP, KEY_TAKEN, "on_poweroff", NULL, "see When a guest ends"},
    {KEY_TOP, KEY_TAKEN, "on_reboot", NULL, "see When a guest ends"},
    {KEY_TOP, KEY_TAKEN, "on_watchdog", NULL, "see When a guest ends"},
    {KEY_TOP, KEY_TAKEN, "on_crash", NULL, "see When a guest ends"},
    {KEY_TOP, KEY_TAKEN, "on_soft_reset", NULL, "see When a guest ends"},

    /* ---- c_info ---- */
    {KEY_C_INFO, KEY_TAKEN, "type", NULL, "pv or pvh; hvm is refused"},
    {KEY_C_INFO, KEY_TAKEN, "hap", NULL, "a PVH guest without it is refused"},
    {KEY_C_INFO, KEY_NOTHING, "oos", NULL, "it is for shadow paging, which no guest here has"},
    {KEY_C_INFO, KEY_REFUSED, "ssidref", NULL, LABEL},
    {KEY_C_INFO, KEY_REFUSED, "ssid_label", NULL, LABEL},
    {KEY_C_INFO, KEY_TAKEN, "name", NULL, "shown with the image; each domain has its own"},
    {KEY_C_INFO, KEY_TAKEN, "uuid", NULL, "shown with the image; each domain has its own"},
    {KEY_C_INFO, KEY_NOTHING, "domid", NULL, "the hypervisor chooses"},
    {KEY_C_INFO, KEY_REFUSED, "xsdata", NULL,
     "nodes of its own in xenstore would be missing; no option of xl sets it"},
    {KEY_C_INFO, KEY_REFUSED, "platformdata", NULL,
     "nodes of its own in xenstore would be missing; no option of xl sets it"},
    {KEY_C_INFO, KEY_TAKEN, "poolid", NULL,
     "the cpupool, by number; a slot cannot be built where there is none"},
    {KEY_C_INFO, KEY_TAKEN, "pool_name", NULL,
     "the cpupool, by name or number; a slot cannot be built where there is none"},
    {KEY_C_INFO, KEY_NOTHING, "run_hotplug_scripts", NULL, "no scripts run for these domains"},
    {KEY_C_INFO, KEY_REFUSED, "driver_domain", NULL, "driver domains are not supported"},
    {KEY_C_INFO, KEY_REFUSED, "passthrough", "disabled", "device passthrough is not supported"},
    {KEY_C_INFO, KEY_REFUSED, "xend_suspend_evtchn_compat", NULL,
     "suspending as under xend is not supported"},

    /* ---- b_info ---- */
    {KEY_B_INFO, KEY_TAKEN, "max_vcpus", NULL, "the number of vCPUs, at most 128"},
    {KEY_B_INFO, KEY_TAKEN, "avail_vcpus", NULL, "which of them are online"},
    {KEY_B_INFO, KEY_TAKEN, "cpumap", NULL,
     "hard affinity of all vCPUs, unless vcpu_hard_affinity is there"},
    {KEY_B_INFO, KEY_TAKEN, "nodemap", NULL,
     "the NUMA nodes that memory comes from; those that the host lacks are left out"},
    {KEY_B_INFO, KEY_TAKEN, "vcpu_hard_affinity", NULL,
     "the processors that each vCPU may run on; a slot cannot be built where none of them is"},
    {KEY_B_INFO, KEY_TAKEN, "vcpu_soft_affinity", NULL,
     "the processors that each vCPU prefers; those that the host lacks are left out"},
    {KEY_B_INFO, KEY_NOTHING, "numa_placement", NULL,
     "xl restore looks for the NUMA nodes with most room; here the hypervisor places memory and "
     "vCPUs, and nodemap and the affinities count"},
    {KEY_B_INFO, KEY_TAKEN, "tsc_mode", NULL,
     "how the guest's TSC runs; native_paravirt is refused, Xen has it no longer"},
    {KEY_B_INFO, KEY_TAKEN, "max_memkb", NULL, "the limit of the guest's memory"},
    {KEY_B_INFO, KEY_TAKEN, "target_memkb", NULL, "what its balloon aims at"},
    {KEY_B_INFO, KEY_TAKEN, "video_memkb", NULL, "part of the target that it is not told of"},
    {KEY_B_INFO, KEY_TAKEN, "shadow_memkb", NULL, "PVH: the paging pool"},
    {KEY_B_INFO, KEY_NOTHING, "iommu_memkb", NULL, "it is for device passthrough"},
    {KEY_B_INFO, KEY_TAKEN, "rtc_timeoffset", NULL, "seconds from UTC to the guest's wall clock"},
    {KEY_B_INFO, KEY_REFUSED, "exec_ssidref", NULL, LABEL},
    {KEY_B_INFO, KEY_REFUSED, "exec_ssid_label", NULL, LABEL},
    {KEY_B_INFO, KEY_TAKEN, "localtime", NULL,
     "the guest's wall clock is in the time zone that the host has when the slot is built"},
    {KEY_B_INFO, KEY_TAKEN, "disable_migrate", NULL, "the TSC is told to the guest as invariant"},
    {KEY_B_INFO, KEY_NOTHING, "cpuid", NULL,
     "the saved stream has the whole CPU policy, and that counts"},
    {KEY_B_INFO, KEY_NOTHING, "blkdev_start", NULL, BOOT},
    {KEY_B_INFO, KEY_REFUSED, "vnuma_nodes", NULL,
     "virtual NUMA is not supported; save the domain without vnuma"},
    {KEY_B_INFO, KEY_TAKEN, "max_grant_frames", NULL, "the limit of its grant table"},
    {KEY_B_INFO, KEY_TAKEN, "max_maptrack_frames", NULL, "the limit of what it may map"},
    {KEY_B_INFO, KEY_TAKEN, "max_grant_version", NULL, "1 or 2"},
    {KEY_B_INFO, KEY_NOTHING, "device_model_version", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "device_model_stubdomain", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "stubdomain_memkb", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "stubdomain_kernel", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "stubdomain_cmdline", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "stubdomain_ramdisk", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "device_model", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "device_model_ssidref", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "device_model_ssid_label", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "device_model_user", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "extra", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "extra_pv", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "extra_hvm", NULL, MODEL},
    {KEY_B_INFO, KEY_TAKEN, "sched_params", NULL, "see below"},
    {KEY_B_INFO, KEY_REFUSED, "ioports", NULL,
     "I/O port passthrough is not supported; save the domain without ioports"},
    {KEY_B_INFO, KEY_REFUSED, "irqs", NULL,
     "interrupt passthrough is not supported; save the domain without irqs"},
    {KEY_B_INFO, KEY_REFUSED, "iomem", NULL,
     "I/O memory passthrough is not supported; save the domain without iomem"},
    {KEY_B_INFO, KEY_REFUSED, "llc_colors", NULL,
     "cache colouring is not supported; save the domain without llc_colors"},
    {KEY_B_INFO, KEY_NOTHING, "claim_mode", NULL, "it is for building a guest anew"},
    {KEY_B_INFO, KEY_TAKEN, "event_channels", NULL, "the limit of its event channels"},
    {KEY_B_INFO, KEY_NOTHING, "kernel", NULL, BOOT},
    {KEY_B_INFO, KEY_NOTHING, "cmdline", NULL, BOOT},
    {KEY_B_INFO, KEY_NOTHING, "ramdisk", NULL, BOOT},
    {KEY_B_INFO, KEY_REFUSED, "device_tree", NULL, "device trees are not supported"},
    {KEY_B_INFO, KEY_NOTHING, "acpi", NULL, "its tables are in the saved memory"},
    {KEY_B_INFO, KEY_NOTHING, "bootloader", NULL, BOOT},
    {KEY_B_INFO, KEY_NOTHING, "bootloader_args", NULL, BOOT},
    {KEY_B_INFO, KEY_NOTHING, "bootloader_restrict", NULL, BOOT},
    {KEY_B_INFO, KEY_NOTHING, "bootloader_user", NULL, BOOT},
    {KEY_B_INFO, KEY_TAKEN, "timer_mode", NULL, "PVH: when missed timer ticks are delivered"},
    {KEY_B_INFO, KEY_TAKEN, "nested_hvm", NULL, "PVH: the guest may be a hypervisor"},
    {KEY_B_INFO, KEY_NOTHING, "apic", NULL, "it is part of the CPU policy in the stream"},
    {KEY_B_INFO, KEY_NOTHING, "dm_restrict", NULL, MODEL},
    {KEY_B_INFO, KEY_NOTHING, "tee", NULL, ARM},
    {KEY_B_INFO, KEY_REFUSED, "type.hvm", NULL, "HVM guests with a device model are not supported"},
    {KEY_B_INFO, KEY_TAKEN, "type.pv", NULL, "see below"},
    {KEY_B_INFO, KEY_TAKEN, "type.pvh", NULL, "see below"},
    {KEY_B_INFO, KEY_NOTHING, "arch_arm", NULL, ARM},
    {KEY_B_INFO, KEY_TAKEN, "arch_x86", NULL, "see below"},
    {KEY_B_INFO, KEY_REFUSED, "altp2m", "disabled",
     "alternate p2m is not supported; save the domain without altp2m"},
    {KEY_B_INFO, KEY_NOTHING, "altp2m_count", NULL, "without altp2m nothing uses it"},
    {KEY_B_INFO, KEY_REFUSED, "vmtrace_buf_kb", NULL,
     "buffers for processor traces are not supported; save the domain without vmtrace_buf_kb"},
    {KEY_B_INFO, KEY_TAKEN, "vpmu", NULL,
     "the guest has performance counters; a slot cannot be built where Xen has vpmu off"},
    {KEY_B_INFO, KEY_REFUSED, "trap_unmapped_accesses", NULL, "Xen has it for Arm alone"},
    {KEY_B_INFO, KEY_REFUSED, "xenstore_feature_mask", "4294967295",
     "a restricted xenstore is not supported; save the domain without xenstore_feature_mask"},
    {KEY_B_INFO, KEY_REFUSED, "xenstore_quota", NULL,
     "xenstore quota of its own are not supported; save the domain without xenstore_quota"},

    /* ---- b_info.type.pv ---- */
    {KEY_PV, KEY_NOTHING, "kernel", NULL, BOOT},
    {KEY_PV, KEY_TAKEN, "slack_memkb", NULL, "room beyond max_memkb in the guest's memory map"},
    {KEY_PV, KEY_NOTHING, "bootloader", NULL, BOOT},
    {KEY_PV, KEY_NOTHING, "bootloader_args", NULL, BOOT},
    {KEY_PV, KEY_NOTHING, "cmdline", NULL, BOOT},
    {KEY_PV, KEY_NOTHING, "ramdisk", NULL, BOOT},
    {KEY_PV, KEY_NOTHING, "features", NULL, BOOT},
    {KEY_PV, KEY_REFUSED, "e820_host", NULL,
     "the host's memory map (for PCI passthrough) is not supported; save the domain without "
     "e820_host"},

    /* ---- b_info.type.pvh ---- */
    {KEY_PVH, KEY_REFUSED, "pvshim", NULL, "PV shims are not supported"},
    {KEY_PVH, KEY_NOTHING, "pvshim_path", NULL, SHIM},
    {KEY_PVH, KEY_NOTHING, "pvshim_cmdline", NULL, SHIM},
    {KEY_PVH, KEY_NOTHING, "pvshim_extra", NULL, SHIM},

    /* ---- b_info.arch_x86 ---- */
    {KEY_X86, KEY_TAKEN, "msr_relaxed", NULL, "accesses to unknown MSRs do not fault"},

    /* ---- b_info.sched_params ---- */
    {KEY_SCHED, KEY_NOTHING, "sched", NULL,
     "xl restore as well takes the scheduler that the domain's cpupool has"},
    {KEY_SCHED, KEY_TAKEN, "weight", NULL, "with the schedulers credit and credit2"},
    {KEY_SCHED, KEY_TAKEN, "cap", NULL, "with the schedulers credit and credit2"},
    {KEY_SCHED, KEY_REFUSED, "period", "10000",
     "periods (scheduler rtds) are not supported; give the domain 10000, and each copy its own "
     "with xl sched-rtds"},
    {KEY_SCHED, KEY_REFUSED, "budget", "4000",
     "budgets (scheduler rtds) are not supported; give the domain 4000, and each copy its own "
     "with xl sched-rtds"},
    {KEY_SCHED, KEY_NOTHING, "extratime", NULL, "it is for the scheduler rtds, which has it on"},
    {KEY_SCHED, KEY_NOTHING, "slice", NULL, "no scheduler of Xen has it any more"},
    {KEY_SCHED, KEY_NOTHING, "latency", NULL, "no scheduler of Xen has it any more"},

    /* ---- disks ---- */
    {KEY_DISK, KEY_TAKEN, "backend_domid", NULL, "0; a driver domain's disk needs --disk"},
    {KEY_DISK, KEY_TAKEN, "backend_domname", NULL, "Domain-0; a driver domain's disk needs --disk"},
    {KEY_DISK, KEY_TAKEN, "pdev_path", NULL, "a block device or a raw file"},
    {KEY_DISK, KEY_TAKEN, "vdev", NULL, "its name in the guest"},
    {KEY_DISK, KEY_TAKEN, "backend", NULL, "the kernel's, whatever it was; tap needs --disk"},
    {KEY_DISK, KEY_TAKEN, "format", NULL, "raw; others need --disk, and empty drives are refused"},
    {KEY_DISK, KEY_TAKEN, "script", NULL,
     "not run: attach the block device itself, and name it with --disk"},
    {KEY_DISK, KEY_TAKEN, "removable", NULL, "told to the guest"},
    {KEY_DISK, KEY_TAKEN, "readwrite", NULL, "a writable disk becomes a private one"},
    {KEY_DISK, KEY_TAKEN, "is_cdrom", NULL, "told to the guest; read-only"},
    {KEY_DISK, KEY_TAKEN, "direct_io_safe", NULL, "told to the back end"},
    {KEY_DISK, KEY_TAKEN, "discard_enable", NULL,
     "told to the back end, if the device takes discards"},
    {KEY_DISK, KEY_TAKEN, "specification", NULL, "xen; virtio is refused"},
    {KEY_DISK, KEY_NOTHING, "transport", NULL, VIRTIO},
    {KEY_DISK, KEY_NOTHING, "irq", NULL, VIRTIO},
    {KEY_DISK, KEY_NOTHING, "base", NULL, VIRTIO},
    {KEY_DISK, KEY_NOTHING, "grant_usage", NULL, VIRTIO},
    {KEY_DISK, KEY_REFUSED, "colo_enable", NULL, "COLO is not supported"},
    {KEY_DISK, KEY_REFUSED, "colo_restore_enable", NULL, "COLO is not supported"},
    {KEY_DISK, KEY_NOTHING, "colo_host", NULL, COLO},
    {KEY_DISK, KEY_NOTHING, "colo_port", NULL, COLO},
    {KEY_DISK, KEY_NOTHING, "colo_export", NULL, COLO},
    {KEY_DISK, KEY_NOTHING, "active_disk", NULL, COLO},
    {KEY_DISK, KEY_NOTHING, "hidden_disk", NULL, COLO},
    {KEY_DISK, KEY_TAKEN, "trusted", NULL, "told to the guest"},

    /* ---- nics ---- */
    {KEY_NIC, KEY_TAKEN, "backend_domid", NULL, "0; driver domains are refused"},
    {KEY_NIC, KEY_REFUSED, "backend_domname", "Domain-0",
     "network back ends in driver domains are not supported by this version"},
    {KEY_NIC, KEY_TAKEN, "devid", NULL, "its number in the guest, 0 to 15"},
    {KEY_NIC, KEY_TAKEN, "mtu", NULL, "told to the guest, and the port has it; else the bridge's"},
    {KEY_NIC, KEY_REFUSED, "vlan", NULL,
     "VLANs of a vif are not supported by this version; use a bridge for each VLAN"},
    {KEY_NIC, KEY_NOTHING, "model", NULL, "it is for emulated network cards"},
    {KEY_NIC, KEY_TAKEN, "mac", NULL, "see Network interfaces: each lease has its own, by default"},
    {KEY_NIC, KEY_TAKEN, "ip", NULL,
     "told to the back end, and with vif_filter what the guest may send from; at most 16"},
    {KEY_NIC, KEY_TAKEN, "bridge", NULL, "--vif names another"},
    {KEY_NIC, KEY_TAKEN, "ifname", NULL, "the port's name; one lease at a time can have it"},
    {KEY_NIC, KEY_TAKEN, "script", NULL,
     "vif-bridge, whose work is done without it; others need vif_script or --vif"},
    {KEY_NIC, KEY_REFUSED, "nictype", "vif", "emulated network cards are for HVM guests only"},
    {KEY_NIC, KEY_TAKEN, "rate_bytes_per_interval", NULL, "a limit of what the guest sends"},
    {KEY_NIC, KEY_TAKEN, "rate_interval_usecs", NULL, "a limit of what the guest sends"},
    {KEY_NIC, KEY_TAKEN, "gatewaydev", NULL, "told to the back end"},
    {KEY_NIC, KEY_REFUSED, "coloft_forwarddev", NULL, "COLO is not supported"},
    {KEY_NIC, KEY_REFUSED, "colo_*", NULL, "COLO is not supported"},
    {KEY_NIC, KEY_TAKEN, "trusted", NULL, "told to the guest"},
};
const size_t domconf_keys_count = ARRAY_SIZE(domconf_keys);

const char *key_place_name(enum key_place place)
{
    static const char *const names[] = {
#define KEY_PLACE_NAME(sym, name) name,
        KEY_PLACES(KEY_PLACE_NAME)
#undef KEY_PLACE_NAME
    };
    return names[place];
}

bool domconf_value_is_nothing(const json_t *v)
{
    const char *key;
    json_t *inner;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        json_object_foreach ((json_t *)v, key, inner)
            if (!domconf_value_is_nothing(inner))
                return false;
        return true;
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

static bool is_harmless(const struct domconf_key *k, const json_t *v)
{
    char number[24];
    if (!k->harmless)
        return false;
    if (json_is_string(v))
        return !strcmp(json_string_value(v), k->harmless);
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    return json_is_integer(v) && !strcmp(number, k->harmless);
}

bool domconf_key_allows(const struct domconf_key *k, const json_t *v)
{
    return domconf_value_is_nothing(v) || (k && (k->fate != KEY_REFUSED || is_harmless(k, v)));
}

static bool key_is(const struct domconf_key *k, const char *key)
{
    size_t n = strlen(k->key);
    return k->key[n - 1] == '*' ? !strncmp(k->key, key, n - 1) : !strcmp(k->key, key);
}

const struct domconf_key *domconf_key_find(enum key_place place, const char *key)
{
    for (size_t i = 0; i < domconf_keys_count; i++)
        if (domconf_keys[i].place == place && key_is(&domconf_keys[i], key))
            return &domconf_keys[i];
    return NULL;
}

/* key is the file's, and may be anything. */
static int refuse(enum key_place place, const char *key, const char *why, struct error *e)
{
    const char *where = key_place_name(place);
    char name[96];
    (void)format_fits(name, sizeof name, "%s", key);
    text_plain(name);
    if (place == KEY_DISK || place == KEY_NIC)
        return error_set(e, ANSWER_IMAGE_REFUSED, "%s: %s", name, why);
    return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s%s%s: %s", where, *where ? "." : "",
                     name, why);
}

int domconf_keys_check(const json_t *o, enum key_place place, struct error *e)
{
    const char *key;
    json_t *v;
    json_object_foreach ((json_t *)o, key, v) {
        const struct domconf_key *k = domconf_key_find(place, key);
        if (domconf_key_allows(k, v))
            continue;
        return refuse(place, key,
                      k ? k->why
                        : "not known to this version (saved by a newer Xen?); save the domain "
                          "without it, or use a newer dompool",
                      e);
    }
    return 0;
}
