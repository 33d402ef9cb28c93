/* restore/formats/consent.h: which files of the host a save file may have. */
#include "tests/unit/check.h"

#include "base/array.h"
#include "restore/formats/consent.h"
#include "restore/formats/domconf_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static json_t *dirs_of(const char *a, const char *b)
{
    json_t *dirs = json_pack("[s]", a);
    if (b)
        json_array_append_new(dirs, json_string(b));
    return dirs;
}

static bool allowed(const char *a, const char *b, const char *path)
{
    struct consent c = {.dirs = dirs_of(a, b)};
    bool yes = consent_path(&c, path);
    json_decref((json_t *)(uintptr_t)c.dirs);
    return yes;
}

static const char *in(const char *name)
{
    return scratch_path(&dir, name);
}

/* ---- paths ---- */

/* disks/a.img, disks/sub/b.img, other/c.img, disks/in -> sub/b.img, disks/out -> ../other/c.img */
static void tree_make(void)
{
    assert_int_equal(mkdir(in("disks"), 0700), 0);
    assert_int_equal(mkdir(in("disks/sub"), 0700), 0);
    assert_int_equal(mkdir(in("other"), 0700), 0);
    scratch_write(&dir, "disks/a.img", "a", 1);
    scratch_write(&dir, "disks/sub/b.img", "b", 1);
    scratch_write(&dir, "other/c.img", "c", 1);
    assert_int_equal(symlink("sub/b.img", in("disks/in")), 0);
    assert_int_equal(symlink("../other/c.img", in("disks/out")), 0);
    assert_int_equal(symlink("../other", in("disks/door")), 0);
    assert_int_equal(symlink("disks", in("link")), 0);
}

static void tree_remove(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s/*", dir.dir);
    assert_int_equal(system(command), 0);
}

static void below_a_directory(void **state)
{
    static const struct {
        const char *path;
        bool yes;
    } cases[] = {
        {"disks/a.img", true},
        {"disks/sub/b.img", true},
        {"disks/in", true},
        {"disks/../disks/a.img", true},
        {"link/a.img", true},
        {"disks//./a.img", true},
        {"disks/out", false},
        {"disks/door/c.img", false},
        {"disks", false},
        {"disks/", false},
        {"disks/../other/c.img", false},
        {"other/c.img", false},
        {"disks/missing", false},
        {"disksx", false},
    };
    (void)state;
    tree_make();
    scratch_write(&dir, "disksx", "x", 1); /* no directory boundary behind "disks" */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (allowed(in("disks"), NULL, in(cases[i].path)) != cases[i].yes)
            fail_msg("%s: %d expected", cases[i].path, cases[i].yes);
    tree_remove();
}

static void directories(void **state)
{
    (void)state;
    char slash[100];
    tree_make();
    assert_true(allowed(in("other"), in("disks"), in("disks/a.img")));
    assert_true(
        allowed(in("link"), NULL, in("disks/a.img"))); /* a directory may be a link itself */
    snprintf(slash, sizeof slash, "%s/", in("disks"));
    assert_true(allowed(slash, NULL, in("disks/a.img")));
    assert_true(allowed("/", NULL, in("disks/out")));
    assert_false(allowed(in("missing"), NULL, in("disks/a.img")));
    assert_false(allowed("", NULL, in("disks/a.img")));
    assert_false(allowed("disks", NULL, in("disks/a.img")));
    assert_false(allowed("/", NULL, "disks/a.img"));
    struct consent none = {0};
    assert_false(consent_path(&none, in("disks/a.img")));
    tree_remove();
}

/* As udev names devices: vg/lv is a link to a node elsewhere in /dev. */
static void links_of_udev(void **state)
{
    static const struct {
        const char *link, *to;
    } links[] = {{"vg/lv", "../node"},
                 {"vg/out", "/etc/passwd"},
                 {"vg/file", "../file"},
                 {"vg/null", "/dev/null"},
                 {"vg/open/lv", "../../node"}};
    char top[] = "/dev/dompool-test-XXXXXX", vg[64], path[96];
    (void)state;
    if (!mkdtemp(top))
        skip(); /* not root, or no /dev of our own */
    snprintf(vg, sizeof vg, "%s/vg", top);
    snprintf(path, sizeof path, "%s/vg/open", top);
    assert_false(mkdir(vg, 0755) || mkdir(path, 0700) || chmod(path, 01777));
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        snprintf(path, sizeof path, "%s/%s", top, links[i].link);
        assert_int_equal(symlink(links[i].to, path), 0);
    }
    snprintf(path, sizeof path, "%s/file", top);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof path, "%s/node", top);
    bool made = !mknod(path, S_IFBLK | 0600, makedev(7, 200));
#define VG(name) (snprintf(path, sizeof path, "%s/" name, vg), path)
    if (made) {
        assert_true(allowed(vg, NULL, VG("lv")));
        assert_false(allowed(vg, NULL, VG("open/lv"))); /* anybody may have made that one */
        assert_false(allowed("/dev/shm", NULL, VG("lv")));
        assert_false(allowed(vg, NULL, VG("../node")));
    }
    assert_false(allowed(vg, NULL, VG("out")));
    assert_false(allowed(vg, NULL, VG("file"))); /* no device */
    assert_false(allowed(vg, NULL, VG("null"))); /* no block device */
    snprintf(path, sizeof path, "rm -rf %s", top);
    assert_int_equal(system(path), 0);
    if (!made)
        skip();
}

/* ---- disks ---- */

static void conf_make(struct domconf *c, const char *more)
{
    char json[1200];
    struct error e = {0};
    snprintf(json, sizeof json,
             "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":1024},\"disks\":["
             "{\"pdev_path\":\"%s\",\"vdev\":\"xvda\",\"readwrite\":1},"
             "{\"pdev_path\":\"%s\",\"vdev\":\"xvdb\"},"
             "{\"pdev_path\":\"/etc/shadow\",\"vdev\":\"xvdc\",\"readwrite\":1}%s]}",
             in("disks/a.img"), in("other/c.img"), more);
    domconf_init(c);
    if (domconf_from_xl(json, strlen(json), c, &e))
        fail_msg("%s", e.text);
}

static bool is_named(const void *data, const struct disk_conf *d)
{
    return strstr(data, d->vdev) != NULL;
}

/* The disks that lack consent are these, as vdev after vdev; each spec is checked. */
static void expect_missing(const struct consent *c, const struct domconf *conf, const char *named,
                           const struct domconf *base, const char *wanted)
{
    char got[200] = "", spec[300];
    struct error e = {0};
    json_t *missing, *v;
    const char *vdev;
    int rc = consent_disks(c, conf, is_named, named, base, &missing, &e);
    assert_int_equal(rc, *wanted ? ANSWER_DISKS_NOT_ALLOWED : 0);
    json_object_foreach (missing, vdev, v) {
        strcat(got, vdev);
        for (unsigned i = 0; i < conf->n_disks; i++) {
            const struct disk_conf *d = &conf->disks[i];
            snprintf(spec, sizeof spec, "%s:%s", disk_kind_name(d->kind), d->path);
            if (!strcmp(d->vdev, vdev))
                assert_string_equal(json_string_value(v), spec);
        }
    }
    assert_string_equal(got, wanted);
    if (*wanted)
        assert_says(e.text, "--disk");
    json_decref(missing);
}

static void disks(void **state)
{
    (void)state;
    struct domconf conf, base;
    tree_make();
    conf_make(&conf, "");
    struct consent none = {0}, c = {.dirs = dirs_of(in("disks"), NULL)};
    expect_missing(&none, &conf, "", NULL, "xvdaxvdbxvdc"); /* all of them at once */
    expect_missing(&c, &conf, "", NULL, "xvdbxvdc");
    expect_missing(&c, &conf, "xvdb", NULL, "xvdc");
    expect_missing(&c, &conf, "xvdbxvdc", NULL, "");
    json_decref((json_t *)(uintptr_t)c.dirs);
    conf_make(&base, "");
    expect_missing(&none, &conf, "", &base, "");
    base.disks[0].kind = DISK_RO; /* is no consent to a writable view */
    free(base.disks[1].path);
    base.disks[1].path = strdup("/etc/passwd");
    expect_missing(&none, &conf, "", &base, "xvdaxvdb");
    domconf_dispose(&base);
    domconf_dispose(&conf);
    tree_remove();
}

static void disks_it_had(void **state)
{
    (void)state;
    char spec[200];
    struct domconf conf;
    tree_make();
    conf_make(&conf, "");
    snprintf(spec, sizeof spec, "cow:%s", in("disks/a.img"));
    json_t *had =
        json_pack("{s:s, s:s, s:s}", "xvda", spec, "xvdb", "cow:/x", "xvdc", "ro:/etc/shadow");
    struct consent c = {.had = had};
    expect_missing(&c, &conf, "", NULL, "xvdbxvdc");
    json_decref(had);
    domconf_dispose(&conf);
    tree_remove();
}

/* ---- the rest ---- */

static json_t *clean(const char *text, const char *boot_dir, json_t **left_out)
{
    struct error e = {0};
    struct consent c = {.dirs = boot_dir ? dirs_of(boot_dir, NULL) : NULL};
    json_t *config = json_loads(text, 0, NULL);
    assert_non_null(config);
    assert_int_equal(consent_config(&c, config, left_out, &e), 0);
    json_decref((json_t *)(uintptr_t)c.dirs);
    return config;
}

static const char *note_of(const json_t *left_out, size_t i)
{
    const char *text = json_string_value(json_array_get(left_out, i));
    return text ? text : "";
}

/* What is left is wanted, and a note says of each key that is gone that it is. Drops the
 * references. */
static void check_cleaned(json_t *config, json_t *wanted, json_t *left_out, const char *const *gone,
                          size_t n)
{
    assert_true(json_equal(config, wanted));
    assert_int_equal(json_array_size(left_out), n);
    for (size_t i = 0; i < n; i++)
        assert_says(note_of(left_out, i), gone[i]);
    json_decref(wanted);
    json_decref(left_out);
    json_decref(config);
}

static void programs_are_left_out(void **state)
{
    static const char *const gone[] = {"c_info.xsdata",
                                       "b_info.bootloader",
                                       "b_info.bootloader_args",
                                       "b_info.device_model",
                                       "b_info.extra_pv",
                                       "b_info.stubdomain_kernel",
                                       "b_info.kernel",
                                       "b_info.made_up",
                                       "b_info.type.pv.bootloader",
                                       "b_info.type.pv.ramdisk",
                                       "b_info.type.pvh.pvshim_path",
                                       "disks.active_disk"};
    (void)state;
    json_t *left_out,
        *config = clean(
            "{\"c_info\":{\"type\":\"pv\",\"name\":\"x\",\"xsdata\":{\"a\":\"b\"}},"
            "\"b_info\":{\"max_memkb\":1024,\"bootloader\":\"/bin/"
            "sh\",\"bootloader_args\":[\"-c\"],"
            "\"device_model\":\"/bin/sh\",\"device_model_user\":\"\",\"extra_pv\":[\"-drive\"],"
            "\"extra_hvm\":[],\"stubdomain_kernel\":\"/etc/shadow\",\"kernel\":\"/etc/shadow\","
            "\"cmdline\":\"root=/dev/xvda\",\"made_up\":{\"path\":\"/etc/shadow\"},"
            "\"type.pv\":{\"bootloader\":\"/bin/sh\",\"ramdisk\":\"/etc/shadow\"},"
            "\"type.pvh\":{\"pvshim_path\":\"/x\"},\"sched_params\":{\"weight\":256}},"
            "\"disks\":[{\"vdev\":\"xvda\",\"pdev_path\":\"/d\",\"active_disk\":\"/etc/shadow\"}],"
            "\"on_reboot\":\"restart\"}",
            NULL, &left_out);
    json_t *wanted = json_loads(
        "{\"c_info\":{\"type\":\"pv\",\"name\":\"x\"},\"b_info\":{\"max_memkb\":1024,"
        "\"cmdline\":\"root=/dev/xvda\",\"type.pv\":{},\"type.pvh\":{},"
        "\"sched_params\":{\"weight\":256}},"
        "\"disks\":[{\"vdev\":\"xvda\",\"pdev_path\":\"/d\"}],\"on_reboot\":\"restart\"}",
        0, NULL);
    check_cleaned(config, wanted, left_out, gone, ARRAY_SIZE(gone));
}

/* What would give the guest devices of the host, when xl restores what was exported. */
static void devices_are_left_out(void **state)
{
    static const char *const gone[] = {"pcidevs of the save file", "p9s",         "channels",
                                       "b_info.ioports",           "b_info.irqs", "b_info.iomem",
                                       "nics.colo_sock_mirror_id"};
    (void)state;
    json_t *left_out;
    json_t *config =
        clean("{\"c_info\":{\"passthrough\":\"disabled\"},"
              "\"pcidevs\":[{\"bus\":1}],\"p9s\":[{\"path\":\"/\"}],\"channels\":[{\"a\":1}],"
              "\"usbdevs\":[],\"b_info\":{\"ioports\":[{\"first\":1}],\"irqs\":[4],"
              "\"iomem\":[{\"start\":1}],\"altp2m\":\"disabled\"},"
              "\"nics\":[{\"nictype\":\"vif\",\"colo_sock_mirror_id\":\"m\"}]}",
              NULL, &left_out);
    json_t *wanted = json_loads("{\"c_info\":{\"passthrough\":\"disabled\"},\"usbdevs\":[],"
                                "\"b_info\":{\"altp2m\":\"disabled\"},"
                                "\"nics\":[{\"nictype\":\"vif\"}]}",
                                0, NULL);
    check_cleaned(config, wanted, left_out, gone, ARRAY_SIZE(gone));
}

static void kernels(void **state)
{
    (void)state;
    char text[400];
    json_t *left_out;
    tree_make();
    snprintf(text, sizeof text,
             "{\"c_info\":{},\"b_info\":{\"kernel\":\"%s\",\"ramdisk\":\"%s\",\"type.pv\":{"
             "\"kernel\":\"%s\"}}}",
             in("disks/a.img"), in("other/c.img"), in("disks/out"));
    json_t *config = clean(text, in("disks"), &left_out);
    const json_t *b_info = json_object_get(config, "b_info");
    assert_string_equal(json_string_value(json_object_get(b_info, "kernel")), in("disks/a.img"));
    assert_null(json_object_get(b_info, "ramdisk"));
    assert_null(json_object_get(json_object_get(b_info, "type.pv"), "kernel"));
    assert_int_equal(json_array_size(left_out), 2);
    json_decref(left_out);
    json_decref(config);
    tree_remove();
}

/* What xl writes for an ordinary guest stays as it is, and is not worth a word. */
static void ordinary(void **state)
{
    static const char text[] =
        "{\"c_info\":{\"type\":\"pvh\",\"hap\":\"True\",\"oos\":\"False\",\"name\":\"web\","
        "\"uuid\":\"11112222-3333-4444-5555-666677778888\",\"run_hotplug_scripts\":\"True\","
        "\"driver_domain\":\"False\",\"passthrough\":\"disabled\"},\"b_info\":{\"max_vcpus\":2,"
        "\"avail_vcpus\":[0,1],\"max_memkb\":409600,\"target_memkb\":409600,"
        "\"shadow_memkb\":6144,\"sched_params\":{},\"event_channels\":1023,\"claim_mode\":\"True\","
        "\"cmdline\":\"console=hvc0\",\"type.pvh\":{\"pvshim\":\"False\"},\"arch_arm\":{},"
        "\"arch_x86\":{},\"apic\":\"True\",\"vpmu\":\"False\"},\"disks\":[{\"pdev_path\":\"/d\","
        "\"vdev\":\"xvda\",\"backend\":\"phy\",\"format\":\"raw\",\"removable\":1,"
        "\"readwrite\":1,\"discard_enable\":\"True\"}],\"on_reboot\":\"restart\"}";
    (void)state;
    json_t *left_out, *config = clean(text, NULL, &left_out), *same = json_loads(text, 0, NULL);
    assert_true(json_equal(config, same));
    assert_int_equal(json_array_size(left_out), 0);
    json_decref(same);
    json_decref(left_out);
    json_decref(config);
}

/* Otherwise what a slot has would be gone when its domain is captured, or saved and restored by
 * xl. */
static void taken_keys_stay(void **state)
{
    (void)state;
    json_t *left_out, *places[KEY_PLACES_COUNT] = {NULL}, *config = json_object();
    struct consent c = {0};
    for (enum key_place p = KEY_C_INFO; p < KEY_PLACES_COUNT; p++)
        places[p] = json_object();
    for (size_t i = 0; i < domconf_keys_count; i++) {
        const struct domconf_key *k = &domconf_keys[i];
        /* A script names a program of the host. */
        if (k->fate == KEY_TAKEN && k->place != KEY_TOP && strcmp(k->key, "script") != 0)
            json_object_set_new(places[k->place], k->key, json_string("x"));
    }
    json_object_set_new(places[KEY_B_INFO], "type.pv", places[KEY_PV]);
    json_object_set_new(places[KEY_B_INFO], "type.pvh", places[KEY_PVH]);
    json_object_set_new(places[KEY_B_INFO], "arch_x86", places[KEY_X86]);
    json_object_set_new(places[KEY_B_INFO], "sched_params", places[KEY_SCHED]);
    json_object_set_new(config, "c_info", places[KEY_C_INFO]);
    json_object_set_new(config, "b_info", places[KEY_B_INFO]);
    json_object_set_new(config, "disks", json_pack("[o]", places[KEY_DISK]));
    json_object_set_new(config, "nics", json_pack("[o]", places[KEY_NIC]));
    json_t *same = json_deep_copy(config);
    struct error e = {0};
    assert_int_equal(consent_config(&c, config, &left_out, &e), 0);
    if (json_array_size(left_out))
        fail_msg("%s", note_of(left_out, 0));
    assert_true(json_equal(config, same));
    json_decref(left_out);
    json_decref(same);
    json_decref(config);
}

/* A key is the file's text, too: it reaches a terminal. */
static void names_are_plain(void **state)
{
    (void)state;
    json_t *left_out, *config = clean("{\"c_info\":{},\"b_info\":{\"a\\u001b[31m\\nb\":\"/x\"}}",
                                      NULL, &left_out);
    assert_says(note_of(left_out, 0), "b_info.a?[31m?b ");
    json_decref(left_out);
    json_decref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below_a_directory),
        cmocka_unit_test(directories),
        cmocka_unit_test(links_of_udev),
        cmocka_unit_test(disks),
        cmocka_unit_test(disks_it_had),
        cmocka_unit_test(programs_are_left_out),
        cmocka_unit_test(devices_are_left_out),
        cmocka_unit_test(kernels),
        cmocka_unit_test(ordinary),
        cmocka_unit_test(names_are_plain),
        cmocka_unit_test(taken_keys_stay),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
