/* restore/formats/domconf.h: xl's JSON, our own, disk names and specifications. */
#include "tests/unit/xl_config.h"

#include "base/array.h"
#include "restore/formats/vdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISK(fields) XL("", "", ",\"disks\":[{\"pdev_path\":\"/d\",\"vdev\":\"xvda\"" fields "}]")

static void defaults(void **state)
{
    (void)state;
    struct domconf c;
    parse(XL("", "", ""), &c);
    assert_int_equal(c.guest, IMAGE_GUEST_PV);
    assert_string_equal(c.name, "");
    assert_int_equal(c.max_vcpus, 1);
    assert_int_equal(c.online[0], 1);
    assert_int_equal(c.target_mem_kib, 1024);
    assert_int_equal(c.shadow_mem_kib, 0);
    assert_int_equal(c.tsc_mode, 0);
    assert_true(c.max_grant_frames == UINT32_MAX && c.max_maptrack_frames == UINT32_MAX);
    assert_int_equal(c.max_event_channels, 1023);
    assert_false(c.nested_hvm || c.nomigrate);
    assert_int_equal(c.n_disks, 0);
    domconf_dispose(&c);
}

static const char full[] =
    "{\"c_info\":{\"type\":\"pvh\",\"hap\":\"True\",\"name\":\"web \\u00e4\",\"uuid\":"
    "\"11112222-3333-4444-5555-666677778888\",\"passthrough\":\"disabled\","
    "\"run_hotplug_scripts\":\"True\",\"xsdata\":{},\"pool_name\":\"lab\"},"
    "\"b_info\":{\"max_vcpus\":12,\"avail_vcpus\":[0,1,9],\"max_memkb\":524288,"
    "\"target_memkb\":262144,\"shadow_memkb\":3072,\"tsc_mode\":\"native\","
    "\"nested_hvm\":\"True\",\"disable_migrate\":\"False\",\"max_grant_frames\":64,"
    "\"max_maptrack_frames\":1024,\"event_channels\":2047,\"cpuid\":[],"
    "\"numa_placement\":\"True\",\"vcpu_hard_affinity\":[[0,1]],"
    "\"vcpu_soft_affinity\":[[0,1,2,3,5],[]],\"nodemap\":[1],"
    "\"sched_params\":{\"sched\":\"credit2\",\"weight\":300,\"cap\":50},"
    "\"rtc_timeoffset\":4294967295,\"localtime\":\"True\",\"max_grant_version\":1,"
    "\"timer_mode\":\"one_missed_tick_pending\",\"vpmu\":\"True\",\"video_memkb\":16,"
    "\"type.pvh\":{\"pvshim\":\"False\"},"
    "\"arch_arm\":{},\"arch_x86\":{\"msr_relaxed\":\"True\"},\"apic\":\"True\"},"
    "\"disks\":[{\"pdev_path\":\"/dev/vg/a\",\"vdev\":\"xvda\",\"backend\":\"phy\","
    "\"format\":\"raw\",\"readwrite\":1,\"discard_enable\":\"True\"},"
    "{\"pdev_path\":\"/srv/b.iso\",\"vdev\":\"xvdb\",\"format\":\"raw\",\"removable\":1,"
    "\"readwrite\":1,\"is_cdrom\":1,\"backend_domname\":\"0\"},"
    "{\"pdev_path\":\"/srv/c.img\",\"vdev\":\"hdc1\",\"backend\":\"qdisk\"}],"
    "\"nics\":[],\"vfbs\":[],\"on_poweroff\":\"destroy\",\"on_crash\":\"restart\"}";

static void everything(void **state)
{
    (void)state;
    struct domconf c;
    parse(full, &c);
    assert_int_equal(c.guest, IMAGE_GUEST_PVH);
    assert_string_equal(c.name, "web ??");
    assert_int_equal(c.uuid.bytes[0], 0x11);
    assert_int_equal(c.max_vcpus, 12);
    assert_int_equal(c.online[0], 3);
    assert_int_equal(c.online[1], 2);
    assert_int_equal(c.max_mem_kib, 524288);
    assert_int_equal(c.target_mem_kib, 262144);
    assert_int_equal(c.shadow_mem_kib, 3072);
    assert_int_equal(c.tsc_mode, 2);
    assert_true(c.nested_hvm && !c.nomigrate);
    assert_int_equal(c.max_grant_frames, 64);
    assert_int_equal(c.max_event_channels, 2047);
    assert_int_equal(c.n_disks, 3);
    assert_int_equal(c.disks[0].kind, DISK_COW);
    assert_int_equal(c.disks[0].devid, 51712);
    assert_string_equal(c.disks[0].path, "/dev/vg/a");
    assert_int_equal(c.disks[1].kind, DISK_RO); /* a CD-ROM, whatever readwrite says */
    assert_int_equal(c.disks[2].kind, DISK_RO);
    assert_int_equal(c.disks[2].devid, 22 << 8 | 1);
    assert_true(c.disks[1].is_cdrom && c.disks[1].removable);
    assert_false(c.disks[0].is_cdrom || c.disks[0].removable || c.disks[0].no_discard ||
                 c.disks[0].untrusted || c.disks[0].direct_io_safe);
    domconf_dispose(&c);
}

static void assert_set(const struct cpu_set *s, const char *wanted)
{
    char *text = cpu_set_format(s);
    assert_string_equal(text, wanted);
    free(text);
}

static void assert_settings(const struct domconf *c)
{
    assert_string_equal(c->cpupool, "lab");
    assert_int_equal(c->hard_affinity.n, 1);
    assert_set(&c->hard_affinity.sets[0], "0-1");
    assert_int_equal(c->soft_affinity.n, 2);
    assert_set(&c->soft_affinity.sets[0], "0-3,5");
    assert_set(&c->soft_affinity.sets[1], "");
    assert_set(&c->node_affinity, "1");
    assert_int_equal(c->weight, 300);
    assert_int_equal(c->cap, 50);
    assert_int_equal(c->time_offset_s, -1);
    assert_int_equal(c->max_grant_version, 1);
    assert_int_equal(c->timer_mode, 3);
    assert_int_equal(c->video_mem_kib, 16);
    assert_true(c->localtime && c->vpmu && c->msr_relaxed);
}

static void settings(void **state)
{
    (void)state;
    struct domconf c, back;
    struct error e = {0};
    char *text;
    parse(full, &c);
    assert_settings(&c);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    domconf_init(&back);
    if (domconf_from_json(text, &back, &e))
        fail_msg("%s: %s", text, e.text);
    assert_settings(&back);
    assert_null(domconf_settings_differ(&c, &back));
    free(text);
    domconf_dispose(&back);
    domconf_dispose(&c);
}

static void settings_out_of_range(void **state)
{
    (void)state;
    refused(XL("", ",\"vcpu_hard_affinity\":[[]]", ""), "vCPU 0 may run on no processor");
    refused(XL("", ",\"vcpu_hard_affinity\":[[0],[1]]", ""), "for 2 vCPUs, and there are only 1");
    refused(XL("", ",\"vcpu_hard_affinity\":[0]", ""), "vcpu_hard_affinity: no array of numbers");
    refused(XL("", ",\"vcpu_soft_affinity\":[[-1]]", ""), "entry 0 is no number below");
    refused(XL("", ",\"vcpu_soft_affinity\":[[0],[1]]", ""), "soft_affinity");
    refused(XL("", ",\"vcpu_soft_affinity\":7", ""), "vcpu_soft_affinity");
    refused(XL("", ",\"cpumap\":[16384]", ""), "b_info.cpumap");
    refused(XL("", ",\"nodemap\":[\"0\"]", ""), "b_info.nodemap");
    refused(XL("", ",\"sched_params\":{\"weight\":0}", ""), "sched_params.weight");
    refused(XL("", ",\"sched_params\":{\"weight\":65536}", ""), "weight");
    refused(XL("", ",\"sched_params\":{\"cap\":101}", ""), "more than 1 vCPUs can use");
    refused(XL("", ",\"sched_params\":{\"cap\":-2}", ""), "sched_params.cap");
    refused(XL("", ",\"sched_params\":{\"period\":5000}", ""), "sched_params.period");
    refused(XL("", ",\"sched_params\":[1]", ""), "b_info.sched_params is no object");
    refused(XL("", ",\"rtc_timeoffset\":4294967296", ""), "rtc_timeoffset");
    refused(XL("", ",\"rtc_timeoffset\":\"1\"", ""), "rtc_timeoffset");
    refused(XL("", ",\"localtime\":1", ""), "b_info.localtime");
    refused(XL("", ",\"max_grant_version\":0", ""), "neither 1 nor 2");
    refused(XL("", ",\"max_grant_version\":3", ""), "neither 1 nor 2");
    refused(XL("", ",\"timer_mode\":\"odd\"", ""), "timer_mode");
    refused(XL("", ",\"tsc_mode\":\"native_paravirt\"", ""), "no longer in Xen");
    refused(XL("", ",\"video_memkb\":2048", ""), "video_mem_kib");
    refused(XL(",\"poolid\":-1", "", ""), "c_info.poolid");
    refused(
        XL(",\"pool_name\":\"a234567890123456789012345678901234567890123456789012345678901234\"",
           "", ""),
        "pool_name: the name is too long");
}

/* An image that was made before there were settings. */
static void without_settings(void **state)
{
    (void)state;
    static const char old[] =
        "{\"guest\":\"pvh\",\"name\":\"p\",\"uuid\":\"11112222-3333-4444-5555-666677778888\","
        "\"max_vcpus\":1,\"online_vcpus\":[0],\"max_mem_kib\":64,\"target_mem_kib\":64,"
        "\"shadow_mem_kib\":0,\"tsc_mode\":\"native_paravirt\",\"max_event_channels\":1023,"
        "\"nested_hvm\":false,\"nomigrate\":false,\"disks\":[{\"vdev\":\"xvda\","
        "\"kind\":\"ro\",\"path\":\"/d\"}]}";
    struct domconf c;
    struct error e = {0};
    char *text;
    domconf_init(&c);
    if (domconf_from_json(old, &c, &e))
        fail_msg("%s", e.text);
    assert_int_equal(c.timer_mode, 1); /* libxl's */
    assert_false(c.weight || c.cap || c.hard_affinity.n || c.soft_affinity.n || c.cpupool[0] ||
                 c.cpupool_id || c.time_offset_s || c.localtime || c.max_grant_version);
    assert_false(c.disks[0].is_cdrom || c.disks[0].removable);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    assert_string_equal(text, old); /* and it is written as it was */
    free(text);
    domconf_dispose(&c);
}

static void disk_flags(void **state)
{
    (void)state;
    struct domconf c;
    parse(DISK(",\"readwrite\":1,\"discard_enable\":\"False\",\"trusted\":\"False\","
               "\"direct_io_safe\":true,\"transport\":\"unknown\",\"grant_usage\":\"True\""),
          &c);
    assert_true(c.disks[0].no_discard && c.disks[0].untrusted && c.disks[0].direct_io_safe);
    domconf_dispose(&c);
    refused(DISK(",\"surprise\":1"), "disks[0]: surprise: not known to this version");
    refused(DISK(",\"trusted\":0"), "disk.trusted");
}

/* Sets as people write them. */
static void sets(void **state)
{
    (void)state;
    static const char *const good[] = {"", "0", "0-3,7", "5,7-8,16383", "0-16383"};
    static const char *const bad[] = {",",  "0,", "3-3",   "3-2", "1,1", "2,1",      "0-3,3",
                                      "-1", "1-", "16384", "x",   "0 1", "00000000", "0-1-2"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct cpu_set s = {0};
        struct error e = {0};
        assert_int_equal(cpu_set_parse(good[i], &s, &e), 0);
        assert_set(&s, good[i]);
        assert_int_equal(cpu_set_is_empty(&s), !good[i][0]);
        assert_false(cpu_set_has(&s, 16384));
        cpu_set_dispose(&s);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct cpu_set s = {0};
        struct error e = {0};
        if (cpu_set_parse(bad[i], &s, &e) != ANSWER_IMAGE_REFUSED)
            fail_msg("\"%s\" is taken for a set", bad[i]);
        cpu_set_dispose(&s);
    }
}

/* Base and delta must agree in each one. */
static void settings_compared(void **state)
{
    (void)state;
    static const struct {
        const char *c_info, *b_info, *differs;
    } cases[] = {
        {"", "", NULL},
        {"", ",\"sched_params\":{\"sched\":\"credit2\",\"weight\":256,\"cap\":0}", NULL},
        {",\"pool_name\":\"0\"", "", NULL},
        {"", ",\"sched_params\":{\"weight\":255}", "weight"},
        {"", ",\"sched_params\":{\"cap\":1}", "cap"},
        {",\"pool_name\":\"lab\"", "", "cpupool"},
        {",\"poolid\":1", "", "cpupool_id"},
        {"", ",\"vcpu_hard_affinity\":[[1]]", "hard_affinity"},
        {"", ",\"cpumap\":[9]", "hard_affinity"},
        {"", ",\"vcpu_soft_affinity\":[[1]]", "soft_affinity"},
        {"", ",\"nodemap\":[1]", "node_affinity"},
        {"", ",\"rtc_timeoffset\":1", "time_offset_s"},
        {"", ",\"localtime\":\"True\"", "localtime"},
    };
    struct domconf base;
    parse(XL("", "", ""), &base);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char json[512];
        struct domconf c;
        snprintf(json, sizeof json, XL("%s", "%s", ""), cases[i].c_info, cases[i].b_info);
        parse(json, &c);
        const char *got = domconf_settings_differ(&base, &c);
        if (!got != !cases[i].differs || (got && strcmp(got, cases[i].differs) != 0))
            fail_msg("%s: %s differs", json, got ? got : "nothing");
        domconf_dispose(&c);
    }
    domconf_dispose(&base);
}

/* libxl leaves out "destroy", and writes underscores. */
static void ends_of_guests(void **state)
{
    (void)state;
    struct domconf c;
    parse(XL("", "", ""), &c);
    for (size_t i = 0; i < ENDING_REASONS; i++)
        assert_int_equal(c.endings.of[i], ENDING_DESTROY);
    domconf_dispose(&c);
    parse(XL("", "",
             ",\"on_poweroff\":\"preserve\",\"on_reboot\":\"restart\",\"on_crash\":"
             "\"coredump_destroy\",\"on_watchdog\":\"rename_restart\",\"on_soft_reset\":"
             "\"soft_reset\""),
          &c);
    assert_int_equal(c.endings.of[ENDING_POWEROFF], ENDING_PRESERVE);
    assert_int_equal(c.endings.of[ENDING_REBOOT], ENDING_RESTART);
    assert_int_equal(c.endings.of[ENDING_CRASH], ENDING_COREDUMP_DESTROY);
    assert_int_equal(c.endings.of[ENDING_WATCHDOG], ENDING_RENAME_RESTART);
    assert_int_equal(c.endings.of[ENDING_SOFT_RESET], ENDING_RESET);
    domconf_dispose(&c);
    refused(XL("", "", ",\"on_crash\":\"explode\""), "on_crash: \"explode\" is not known");
    refused(XL("", "", ",\"on_crash\":4"), "on_crash: \"no text\" is not known");
}

static void form_refused(char *text, const char *why)
{
    struct domconf c;
    struct error e = {0};
    domconf_init(&c);
    assert_int_equal(domconf_from_json(text, &c, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, why);
}

/* What is at its default is not in our form: images of earlier versions have none of it. */
static void ends_in_our_form(void **state)
{
    (void)state;
    struct domconf c, back;
    struct error e = {0};
    char *text;
    parse(XL("", "", ",\"on_crash\":\"preserve\""), &c);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    assert_non_null(strstr(text, "\"on_end\":{\"crash\":\"preserve\"}"));
    domconf_init(&back);
    assert_int_equal(domconf_from_json(text, &back, &e), 0);
    assert_int_equal(back.endings.of[ENDING_CRASH], ENDING_PRESERVE);
    memcpy(strstr(text, "preserve"), "prezerve", 8);
    form_refused(text, "on_end.crash: \"prezerve\" is not known");
    memcpy(strstr(text, "crash"), "krash", 5);
    form_refused(text, "on_end.krash is not known");
    free(text);
    c.endings.of[ENDING_CRASH] = ENDING_DESTROY;
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    assert_null(strstr(text, "on_end"));
    free(text);
    domconf_dispose(&c);
    domconf_dispose(&back);
}

static void not_json(void **state)
{
    (void)state;
    refused("", "line 1");
    refused("[]", "c_info or b_info: missing");
    refused("{\"c_info\":1,\"c_info\":2}", "duplicate");
    refused("{\"c_info\":\"\\ud800\"}", "line 1");
    refused("{}", "c_info or b_info: missing");
    refused("{\"c_info\":{},\"b_info\":3}", "c_info or b_info: missing");
}

static void kinds_of_guest(void **state)
{
    (void)state;
    refused("{\"c_info\":{},\"b_info\":{}}", "c_info.type");
    refused("{\"c_info\":{\"type\":\"hvm\"},\"b_info\":{}}", "HVM guests with a device model");
    refused("{\"c_info\":{\"type\":7},\"b_info\":{}}", "c_info.type is no string");
    refused("{\"c_info\":{\"type\":\"x\"},\"b_info\":{}}", "neither");
    refused("{\"c_info\":{\"type\":\"pvh\",\"hap\":\"False\"},\"b_info\":{\"max_memkb\":4}}",
            "shadow");
    refused(XL(",\"driver_domain\":\"True\"", "", ""), "c_info.driver_domain");
    refused(XL(",\"passthrough\":\"enabled\"", "", ""), "c_info.passthrough");
    refused(XL(",\"uuid\":\"1\"", "", ""), "c_info.uuid");
    refused(XL("", ",\"type.hvm\":{}", ""), "type.hvm");
    refused(XL("", ",\"type.pv\":{\"e820_host\":\"True\"}", ""), "e820_host");
    refused(XL("", ",\"type.pvh\":{\"pvshim\":\"True\"}", ""), "pvshim");
}

static void other_devices(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "pcidevs", "rdms",  "dtdevs",   "vfbs",     "vkbs",    "vtpms",   "p9s",      "pvcallsifs",
        "vdispls", "vsnds", "channels", "usbctrls", "usbdevs", "virtios", "newthings"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        char json[256];
        struct domconf c;
        snprintf(json, sizeof json, XL("", "", ",\"%s\":[{}]"), keys[i]);
        refused(json, keys[i]);
        snprintf(json, sizeof json, XL("", "", ",\"%s\":[]"), keys[i]);
        parse(json, &c);
        domconf_dispose(&c);
    }
    refused(XL("", "", ",\"nics\":7"), "nics");
}

static void build_values(void **state)
{
    (void)state;
    refused("{\"c_info\":{\"type\":\"pv\"},\"b_info\":{}}", "b_info.max_memkb: missing");
    refused(XL("", ",\"max_vcpus\":0", ""), "0 vCPUs");
    refused(XL("", ",\"max_vcpus\":129", ""), "129 vCPUs");
    refused(XL("", ",\"max_vcpus\":-1", ""), "b_info.max_vcpus is no number");
    refused(XL("", ",\"max_vcpus\":4294967297", ""), "out of range");
    refused(XL("", ",\"max_vcpus\":\"2\"", ""), "no number");
    refused(XL("", ",\"avail_vcpus\":[0,1]", ""), "vCPU 1 is online");
    refused(XL("", ",\"max_vcpus\":2,\"avail_vcpus\":[1]", ""), "vCPU 0 is not online");
    refused(XL("", ",\"avail_vcpus\":[128]", ""), "entry 0");
    refused(XL("", ",\"avail_vcpus\":[-1]", ""), "entry 0");
    refused(XL("", ",\"avail_vcpus\":3", ""), "no array");
    refused(XL("", ",\"target_memkb\":2048", ""), "2048 KiB of at most 1024 KiB");
    refused(XL("", ",\"tsc_mode\":\"odd\"", ""), "tsc_mode");
    refused(XL("", ",\"nested_hvm\":true", ""), "neither True nor False");
    refused(XL("", ",\"iomem\":[{\"start\":1}]", ""), "b_info.iomem");
    refused(XL("", ",\"vnuma_nodes\":[{}]", ""), "virtual NUMA");
    refused(XL("", ",\"altp2m\":\"external\"", ""), "altp2m");
    refused("{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":9223372036854775807}}", "KiB");
}

static void disks(void **state)
{
    (void)state;
    struct domconf c;
    refused(DISK(",\"format\":\"empty\",\"is_cdrom\":1"), "the drive is empty");
    refused(DISK(",\"backend\":\"standalone\",\"specification\":\"virtio\""), "standalone");
    refused(DISK(",\"colo_enable\":\"True\""), "disks[0]");
    refused(DISK(",\"readwrite\":\"yes\""), "readwrite is no number");
    refused(XL("", "", ",\"disks\":{}"), "disks: no array");
    refused(XL("", "", ",\"disks\":[{\"pdev_path\":\"/d\"}]"), "not a disk name");
    refused(XL("", "", ",\"disks\":[7]"), "disks[0]");
    refused(XL("", "",
               ",\"disks\":[{\"pdev_path\":\"/d\",\"vdev\":\"xvda\"},"
               "{\"pdev_path\":\"/e\",\"vdev\":\"d0p0\"}]"),
            "xvda and d0p0 are the same device");
    parse(DISK(",\"readwrite\":1"), &c);
    assert_int_equal(c.disks[0].kind, DISK_COW);
    domconf_dispose(&c);
}

/* A disk that cannot be had as it is: refused by name, with what can be done, unless another one is
 * named for it. */
static void disk_elsewhere(const char *json, const char *why)
{
    struct domconf c;
    struct error e = {0};
    parse(json, &c);
    assert_int_equal(domconf_check_disks(&c, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, why);
    assert_says(e.text, "disks[0] (xvda): ");
    assert_null(c.disks[0].path);
    assert_int_equal(domconf_set_disk(&c, "xvda", "phy:/dev/nbd0", &e), 0);
    assert_int_equal(domconf_check_disks(&c, &e), 0);
    assert_string_equal(c.disks[0].path, "/dev/nbd0");
    domconf_dispose(&c);
}

static void disks_elsewhere(void **state)
{
    (void)state;
    disk_elsewhere(DISK(",\"format\":\"qcow2\""), "format qcow2 is not supported");
    disk_elsewhere(DISK(",\"format\":\"qcow2\""), "qemu-nbd --connect=/dev/nbd0 \"/d\"");
    disk_elsewhere(DISK(",\"format\":\"vhd\""), "only raw");
    disk_elsewhere(DISK(",\"format\":\"qed\""), "--disk xvda=cow:RAW_FILE_OR_DEVICE");
    disk_elsewhere(DISK(",\"backend\":\"tap\""), "blktap");
    disk_elsewhere(DISK(",\"backend_domid\":3"), "driver domain");
    disk_elsewhere(DISK(",\"backend_domname\":\"storage\""), "driver domain");
    disk_elsewhere(DISK(",\"script\":\"block-iscsi\""), "block script block-iscsi is not run");
    disk_elsewhere(DISK(",\"script\":\"a\\u0007b\""), "control character");
    disk_elsewhere(XL("", "", ",\"disks\":[{\"pdev_path\":\"d\",\"vdev\":\"xvda\"}]"), "absolute");
    disk_elsewhere(XL("", "", ",\"disks\":[{\"vdev\":\"xvda\"}]"), "absolute");
    disk_elsewhere(XL("", "",
                      ",\"disks\":[{\"pdev_path\":\"iqn=iqn.2001-05.org,portal=10.0.0.1:3260\","
                      "\"script\":\"block-iscsi\",\"vdev\":\"xvda\"}]"),
                   "iqn.2001-05.org");
}

/* xl would open the same path as something else. */
static void disk_of_xl(void **state)
{
    static const char *const others[] = {"format",          "qcow2", "script",  "block-nbd",
                                         "backend_domname", "net",   "backend", "tap"};
    struct error e;
    (void)state;
    json_t *disk = json_pack("{s:s, s:s, s:s, s:s}", "vdev", "xvda", "pdev_path", "/d", "format",
                             "raw", "backend", "qdisk");
    assert_int_equal(domconf_xl_check_disk(disk, &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(others); i += 2) {
        json_t *other = json_copy(disk);
        json_object_set_new(other, others[i], json_string(others[i + 1]));
        assert_int_equal(domconf_xl_check_disk(other, &e), ANSWER_IMAGE_REFUSED);
        json_decref(other);
    }
    json_decref(disk);
}

/* What an image gives back to xl names the disk that it has, and nothing of the one that was
 * saved. */
static void disk_replaced(void **state)
{
    (void)state;
    json_t *disks = json_pack("[{s:s, s:s, s:s, s:s, s:i}]", "vdev", "xvda", "pdev_path", "iqn=x",
                              "script", "block-iscsi", "format", "qcow2", "backend_domid", 3);
    assert_int_equal(domconf_xl_set_disk(disks, "xvda", "/dev/nbd0", true), 0);
    json_t *wanted = json_pack("[{s:s, s:s, s:s, s:s, s:i}]", "vdev", "xvda", "pdev_path",
                               "/dev/nbd0", "format", "raw", "backend", "phy", "readwrite", 1);
    assert_true(json_equal(disks, wanted));
    json_decref(wanted);
    json_decref(disks);
}

static void too_many_disks(void **state)
{
    (void)state;
    json_t *o =
        json_pack("{s{ss}s{si}s[]}", "c_info", "type", "pv", "b_info", "max_memkb", 1024, "disks");
    for (int i = 0; i < 65; i++) {
        char vdev[16];
        snprintf(vdev, sizeof vdev, "d%dp0", i);
        json_array_append_new(json_object_get(o, "disks"),
                              json_pack("{ssss}", "pdev_path", "/d", "vdev", vdev));
    }
    char *text = json_dumps(o, 0);
    refused(text, "65 disks");
    free(text);
    json_decref(o);
}

/* ---- our own form ---- */

static void round_trip(void **state)
{
    (void)state;
    struct domconf c, back;
    struct error e = {0};
    char *text, *again;
    parse(full, &c);
    assert_int_equal(domconf_set_disk(&c, "xvdb", "scratch:2G", &e), 0);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    domconf_init(&back);
    assert_int_equal(domconf_from_json(text, &back, &e), 0);
    assert_int_equal(domconf_to_json(&back, &again, &e), 0);
    assert_string_equal(text, again);
    assert_int_equal(back.disks[1].size_bytes, 2ull << 30);
    assert_int_equal(back.disks[0].devid, c.disks[0].devid);
    assert_memory_equal(back.online, c.online, sizeof c.online);
    free(text);
    free(again);
    domconf_dispose(&back);
    domconf_dispose(&c);
}

static bool may_be_missing(const char *key)
{
    static const char *const keys[] = {"hard_affinity",
                                       "soft_affinity",
                                       "node_affinity",
                                       "cpupool",
                                       "weight",
                                       "cap",
                                       "time_offset_s",
                                       "localtime",
                                       "max_grant_version",
                                       "timer_mode",
                                       "vpmu",
                                       "msr_relaxed",
                                       "video_mem_kib",
                                       "max_grant_frames",
                                       "max_maptrack_frames",
                                       "on_end"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (!strcmp(keys[i], key))
            return true;
    return false;
}

static void own_form_is_strict(void **state)
{
    (void)state;
    struct domconf c;
    struct error e = {0};
    char *text;
    json_t *o, *copy, *v;
    const char *key;
    parse(full, &c);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    o = json_loads(text, 0, NULL);
    free(text);
    json_object_foreach (o, key, v) { /* each key of another type, and missing */
        copy = json_copy(o);
        json_object_set_new(copy, key, json_null());
        text = json_dumps(copy, 0);
        assert_int_equal(domconf_from_json(text, &c, &e), ANSWER_IMAGE_REFUSED);
        free(text);
        json_object_del(copy, key);
        text = json_dumps(copy, 0);
        assert_int_equal(domconf_from_json(text, &c, &e),
                         may_be_missing(key) ? 0 : ANSWER_IMAGE_REFUSED);
        free(text);
        json_decref(copy);
    }
    json_object_set_new(o, "surprise", json_true());
    text = json_dumps(o, 0);
    assert_int_equal(domconf_from_json(text, &c, &e), ANSWER_IMAGE_REFUSED);
    free(text);
    assert_int_equal(domconf_from_json("{", &c, &e), ANSWER_IMAGE_REFUSED);
    json_decref(o);
    domconf_dispose(&c);
}

static void disk_specs(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "ro",         "ro:",         "ro:relative", "qcow:/x", "scratch:",
        "scratch:0", "scratch:5x", "scratch:100", "cow:/x\xff",  "RO:/x",   ":/x"};
    struct domconf c;
    struct error e = {0};
    parse(full, &c);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(domconf_set_disk(&c, "xvda", bad[i], &e), ANSWER_BAD_VALUE);
        assert_says(e.text, "disk xvda: ");
    }
    assert_string_equal(c.disks[0].path, "/dev/vg/a"); /* nothing changed */
    assert_int_equal(domconf_set_disk(&c, "xvdz", "ro:/x", &e), ANSWER_BAD_VALUE);
    assert_int_equal(domconf_set_disk(&c, "nonsense", "ro:/x", &e), ANSWER_BAD_VALUE);
    for (int kind = DISK_PHY; kind <= DISK_COW; kind++) {
        char spec[32];
        snprintf(spec, sizeof spec, "%s:/dev/a:b", disk_kind_name((enum disk_kind)kind));
        assert_int_equal(domconf_set_disk(&c, "xvda", spec, &e), 0);
        assert_int_equal(c.disks[0].kind, kind);
        assert_string_equal(c.disks[0].path, "/dev/a:b");
    }
    assert_int_equal(domconf_set_disk(&c, "d0p0", "scratch:512M", &e), 0); /* xvda's other name */
    assert_null(c.disks[0].path);
    assert_int_equal(c.disks[0].size_bytes, 512u << 20);
    domconf_dispose(&c);
}

static void disk_names(void **state)
{
    (void)state;
    static const struct {
        const char *vdev;
        uint32_t devid;
    } good[] = {{"xvda", 51712},
                {"xvdb1", 51729},
                {"xvdp15", 202 << 8 | 15 << 4 | 15},
                {"xvdq", 1u << 28 | 16 << 8},
                {"xvda16", 1u << 28 | 16},
                {"xvdtq37", 1u << 28 | 536 << 8 | 37}, /* the manual's own example */
                {"d536p37", 1u << 28 | 536 << 8 | 37},
                {"d0", 51712},
                {"d1p2", 202 << 8 | 1 << 4 | 2},
                {"d1048575p255", 1u << 28 | 1048575u << 8 | 255},
                {"sda", 2048},
                {"sdb3", 8 << 8 | 1 << 4 | 3},
                {"sdp15", 8 << 8 | 15 << 4 | 15},
                {"hdb", 3 << 8 | 1 << 6},
                {"hdb63", 3 << 8 | 1 << 6 | 63},
                {"hdc", 5632},
                {"hdd2", 22 << 8 | 1 << 6 | 2}};
    static const char *const bad[] = {"",
                                      "xvd",
                                      "xvda0",
                                      "xvda01",
                                      "xvda256",
                                      "xvdA",
                                      "sdq",
                                      "sda16",
                                      "hde",
                                      "hda64",
                                      "d1048576",
                                      "d1p256",
                                      "d",
                                      "dp1",
                                      "d1p",
                                      "d1p2x",
                                      "d01",
                                      "vda",
                                      "xvda-1",
                                      "xvda 1",
                                      "51712",
                                      "xvdzzzzzz",
                                      "d99999999999999999999",
                                      "d0p00"};
    uint32_t devid;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(vdev_to_devid(good[i].vdev, &devid), 0);
        assert_int_equal(devid, good[i].devid);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (!vdev_to_devid(bad[i], &devid))
            fail_msg("\"%s\" is taken for %u", bad[i], devid);
}

/* xl writes names as they were given; they are for people. */
static void names_in_other_encodings(void **state)
{
    (void)state;
    struct domconf c;
    struct error e;
    json_t *o;
    bool repaired;
    static const char latin1[] = XL(",\"name\":\"caf\xe9 \x7f \xc3\xa9\"", "", "");
    parse(latin1, &c);
    assert_string_equal(c.name, "caf? ? ??");
    domconf_dispose(&c);
    assert_int_equal(domconf_xl_load(latin1, strlen(latin1), &o, &repaired, &e), 0);
    assert_true(repaired);
    assert_string_equal(json_string_value(json_object_get(json_object_get(o, "c_info"), "name")),
                        "caf? ? \xc3\xa9");
    json_decref(o);
    static const char utf8[] = XL(",\"name\":\"\xc3\xa9\x7f\"", "", "");
    assert_int_equal(domconf_xl_load(utf8, strlen(utf8), &o, &repaired, &e), 0);
    assert_false(repaired);
    json_decref(o);
    /* A path is another one without its bytes, and a key is known or not. */
    refused(DISK(",\"script\":\"/\xe9\""), "script: is no UTF-8");
    refused(XL("", ",\"\xe9\":1", ""), "?: is no UTF-8");
    refused(XL("", "", ",\"a\":[\"\xe9\"]"), "a: is no UTF-8");
    refused("\xff\xfe", "of its JSON");
    refused("[\"\xff\"]", "is no UTF-8");
}

#define TEST(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(everything),
        TEST(settings),
        TEST(settings_out_of_range),
        TEST(without_settings),
        TEST(settings_compared),
        TEST(disk_flags),
        TEST(sets),
        TEST(ends_of_guests),
        TEST(ends_in_our_form),
        TEST(not_json),
        TEST(kinds_of_guest),
        TEST(other_devices),
        TEST(build_values),
        TEST(disks),
        TEST(disks_elsewhere),
        TEST(disk_replaced),
        TEST(disk_of_xl),
        TEST(too_many_disks),
        TEST(round_trip),
        TEST(own_form_is_strict),
        TEST(disk_specs),
        TEST(disk_names),
        TEST(names_in_other_encodings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
