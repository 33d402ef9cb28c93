/*
 * restore/formats/domconf_keys.h: the table has all that xl can write, and what it says of a key is
 * what happens to it.
 */
#include "tests/unit/check.h"

#include "base/array.h"
#include "restore/formats/domconf.h"
#include "restore/formats/domconf_keys.h"

#include <string.h>

/* The fields of libxl_types.idl, as 4.17 to 4.22 have them together; of type.hvm, which is refused
 * as a whole, and of devices but disks and vifs, none. */
static const struct {
    enum key_place place;
    const char *keys;
} idl[] = {
    {KEY_TOP,
     "c_info b_info disks nics pcidevs rdms dtdevs vfbs vkbs virtios vtpms p9s pvcallsifs vdispls "
     "vsnds channels usbctrls usbdevs on_poweroff on_reboot on_watchdog on_crash on_soft_reset"},
    {KEY_C_INFO,
     "type hap oos ssidref ssid_label name domid uuid xsdata platformdata poolid pool_name "
     "run_hotplug_scripts driver_domain passthrough xend_suspend_evtchn_compat"},
    {KEY_B_INFO,
     "max_vcpus avail_vcpus cpumap nodemap vcpu_hard_affinity vcpu_soft_affinity numa_placement "
     "tsc_mode max_memkb target_memkb video_memkb shadow_memkb iommu_memkb rtc_timeoffset "
     "exec_ssidref exec_ssid_label localtime disable_migrate cpuid blkdev_start vnuma_nodes "
     "max_grant_frames max_maptrack_frames max_grant_version device_model_version "
     "device_model_stubdomain stubdomain_memkb stubdomain_kernel stubdomain_cmdline "
     "stubdomain_ramdisk device_model device_model_ssidref device_model_ssid_label "
     "device_model_user extra extra_pv extra_hvm sched_params ioports irqs iomem llc_colors "
     "claim_mode event_channels kernel cmdline ramdisk device_tree acpi bootloader bootloader_args "
     "bootloader_restrict bootloader_user timer_mode nested_hvm apic dm_restrict tee type.hvm "
     "type.pv type.pvh arch_arm arch_x86 altp2m altp2m_count vmtrace_buf_kb vpmu "
     "trap_unmapped_accesses xenstore_feature_mask xenstore_quota"},
    {KEY_PV, "kernel slack_memkb bootloader bootloader_args cmdline ramdisk features e820_host"},
    {KEY_PVH, "pvshim pvshim_path pvshim_cmdline pvshim_extra"},
    {KEY_X86, "msr_relaxed"},
    {KEY_SCHED, "sched weight cap period budget extratime slice latency"},
    {KEY_DISK,
     "backend_domid backend_domname pdev_path vdev backend format script removable readwrite "
     "is_cdrom direct_io_safe discard_enable specification transport irq base colo_enable "
     "colo_restore_enable colo_host colo_port colo_export active_disk hidden_disk trusted "
     "grant_usage"},
    {KEY_NIC,
     "backend_domid backend_domname devid mtu vlan model mac ip bridge ifname script nictype "
     "rate_bytes_per_interval rate_interval_usecs gatewaydev coloft_forwarddev colo_* "
     "trusted"},
};

static unsigned rows_of(enum key_place place, const char *key)
{
    unsigned n = 0;
    for (size_t i = 0; i < domconf_keys_count; i++)
        n += domconf_keys[i].place == place && !strcmp(domconf_keys[i].key, key);
    return n;
}

static void all_of_xl(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(idl); i++) {
        char keys[2048], *rest = keys, *key;
        snprintf(keys, sizeof keys, "%s", idl[i].keys);
        for (; (key = strsep(&rest, " ")); n++)
            if (rows_of(idl[i].place, key) != 1)
                fail_msg("%s %s has %u rows", key_place_name(idl[i].place), key,
                         rows_of(idl[i].place, key));
    }
    assert_int_equal(n, domconf_keys_count); /* and no more than that */
}

static int check(enum key_place place, const char *key, json_t *value, struct error *e)
{
    json_t *o = json_object();
    *e = (struct error){0};
    json_object_set_new(o, key, value);
    int rc = domconf_keys_check(o, place, e);
    json_decref(o);
    return rc;
}

static void passes(enum key_place place, const char *key, json_t *value)
{
    struct error e;
    if (check(place, key, value, &e))
        fail_msg("%s", e.text);
}

static void fails(enum key_place place, const char *key, json_t *value, const char *why)
{
    struct error e;
    char name[128];
    if (place == KEY_DISK || place == KEY_NIC)
        snprintf(name, sizeof name, "%s: ", key);
    else
        snprintf(name, sizeof name, "configuration: %s%s%s: ", key_place_name(place),
                 place == KEY_TOP ? "" : ".", key);
    if (check(place, key, value, &e) != ANSWER_IMAGE_REFUSED)
        fail_msg("%s passes", name);
    assert_says(e.text, name);
    assert_says(e.text, why);
}

static json_t *harmless_of(const struct domconf_key *k)
{
    json_t *number = json_loads(k->harmless, JSON_DECODE_ANY, NULL);
    return number ? number : json_string(k->harmless);
}

/* Each row does what it says. */
static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < domconf_keys_count; i++) {
        const struct domconf_key *k = &domconf_keys[i];
        if (k->fate == KEY_REFUSED) {
            fails(k->place, k->key, json_string("anything"), k->why);
            fails(k->place, k->key, json_pack("[{s:i}]", "a", 1), k->why);
            fails(k->place, k->key, json_integer(7), k->why);
        } else {
            passes(k->place, k->key, json_string("anything"));
        }
        passes(k->place, k->key, json_null());
        passes(k->place, k->key, json_string("<default>"));
        passes(k->place, k->key, json_pack("{s:{}, s:[]}", "a", "b"));
        if (k->harmless) {
            assert_int_equal(k->fate, KEY_REFUSED);
            passes(k->place, k->key, harmless_of(k));
        }
    }
}

/* A text is shown behind a key, so it is a clause without a period, and one that refuses helps. */
static void texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < domconf_keys_count; i++) {
        const struct domconf_key *k = &domconf_keys[i];
        size_t n = strlen(k->why);
        if (!n || n > 160 || k->why[n - 1] == '.' || strchr(k->why, '\n'))
            fail_msg("%s: \"%s\"", k->key, k->why);
    }
}

static void unknown(void **state)
{
    (void)state;
    for (enum key_place p = KEY_TOP; p < KEY_PLACES_COUNT; p++) {
        fails(p, "new_thing", json_integer(1), "not known to this version (saved by a newer Xen?)");
        fails(p, "new_thing", json_string("on"), "not known");
        fails(p, "new_thing", json_pack("{s:{s:i}}", "a", "b", 1), "not known");
        passes(p, "new_thing", json_pack("{s:{}}", "a"));
        passes(p, "new_thing", json_integer(0));
        passes(p, "new_thing", json_string("False"));
        passes(p, "new_thing", json_array());
    }
    struct error e; /* a key is the file's text, and reaches a terminal */
    assert_int_equal(check(KEY_TOP, "a\033[31m\nb", json_true(), &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "a?[31m?b: not known");
    passes(KEY_PV, "slack_memkb", json_integer(1));
    assert_int_equal(domconf_keys_check(NULL, KEY_PVH, &e), 0);
}

/* The reader asks the table at every place. */
static void every_place(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64},\"odd\":1}",
        "{\"c_info\":{\"type\":\"pv\",\"odd\":1},\"b_info\":{\"max_memkb\":64}}",
        "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64,\"odd\":1}}",
        "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64,\"type.pv\":{\"odd\":1}}}",
        "{\"c_info\":{\"type\":\"pvh\"},\"b_info\":{\"max_memkb\":64,\"type.pvh\":{\"odd\":1}}}",
        "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64,\"arch_x86\":{\"odd\":1}}}",
        "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64,\"sched_params\":{\"odd\":1}}}",
        ("{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64},\"disks\":[{\"vdev\":"
         "\"xvda\","
         "\"pdev_path\":\"/d\",\"odd\":1}]}"),
        ("{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":64},\"nics\":[{\"mac\":"
         "\"00:16:3e:11:22:33\",\"odd\":1}]}"),
    };
    assert_int_equal(ARRAY_SIZE(files), KEY_PLACES_COUNT);
    for (enum key_place p = KEY_TOP; p < KEY_PLACES_COUNT; p++) {
        struct domconf c;
        struct error e = {0};
        char name[64];
        domconf_init(&c);
        snprintf(name, sizeof name, "%s%sodd: not known", key_place_name(p),
                 p == KEY_DISK || p == KEY_NIC ? "[0]: "
                 : p == KEY_TOP                ? ""
                                               : ".");
        assert_int_equal(domconf_from_xl(files[p], strlen(files[p]), &c, &e), ANSWER_IMAGE_REFUSED);
        assert_says(e.text, name);
        domconf_dispose(&c);
    }
}

#define TEST(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_xl), TEST(each_row), TEST(texts), TEST(unknown), TEST(every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
