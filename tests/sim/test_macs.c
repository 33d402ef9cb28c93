/* MAC addresses of slots and leases: whose is whose, who may choose one, and what a restart
 * keeps. */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "pool/core/slot.h"

#include <string.h>

#define CHOSEN "02:00:00:00:00:55"
#define SAVED "00:16:3e:00:00:01"

static void macs_begin(unsigned nics, const char *conf)
{
    begin_with(FIRE, conf);
    sim.nics = nics;
    sim_run(&sim, 5000);
}

static json_t *want_mac(const char *mac)
{
    return json_pack("{s:s, s:s*}", "image", "fire", "mac", mac);
}

static json_t *allocate(const char *mac)
{
    return answer_take(sim_ask(root, "Allocate", want_mac(mac), 60000));
}

/* "": it has none. */
static const char *mac_in(const json_t *lease, size_t i)
{
    const char *text = json_string_value(json_array_get(json_object_get(lease, "macs"), i));
    return text ? text : "";
}

static void assert_all_differ(void)
{
    list_each (a, &sim.core.slots)
        list_each (b, &sim.core.slots)
            assert_true(a == b || !macs_share(&slot_at(a)->macs, &slot_at(b)->macs));
}

/* Two hundred slots, one after the other, and those that live at one time. */
static void each_its_own(void **state)
{
    (void)state;
    static const char *const confs[] = {NULL, "[pool]\nmin = 3\nmac = xen\n"};
    for (size_t i = 0; i < ARRAY_SIZE(confs); i++) {
        macs_begin(2, confs[i]);
        for (unsigned n = 0; n < 100; n++) {
            json_t *lease = allocate(NULL);
            assert_true(strncmp(mac_in(lease, 0), mac_in(lease, 1), 16) == 0);
            assert_string_not_equal(mac_in(lease, 0), mac_in(lease, 1));
            assert_int_equal(!strncmp(mac_in(lease, 0), "00:16:3e:", 9), i);
            json_decref(lease);
            sim_run(&sim, 3000);
            assert_all_differ();
        }
        sim_end(&sim);
    }
}

static void without_interfaces(void **state)
{
    (void)state;
    macs_begin(0, NULL);
    json_t *lease = allocate(NULL);
    assert_int_equal(json_array_size(json_object_get(lease, "macs")), 0);
    json_decref(lease);
    /* A wish that no slot can grant is refused at once, and costs none. */
    sim_run(&sim, 5000);
    expect("Allocate", want_mac(CHOSEN), "BadValue");
    expect("Allocate", want_mac(NULL), NULL);
    sim_end(&sim);
}

static void chosen(void **state)
{
    (void)state;
    macs_begin(1, NULL);
    expect("Allocate", want_mac("02:00:00:00:00"), "BadValue");
    expect("Allocate", want_mac("01:00:5e:00:00:01"), "BadValue");
    json_t *lease = allocate(CHOSEN);
    assert_string_equal(mac_in(lease, 0), CHOSEN);
    expect("Allocate", want_mac(CHOSEN), "MacInUse");
    json_t *all = answer_take(sim_ask(root, "List", NULL, 1000));
    assert_string_equal(mac_in(json_array_get(json_object_get(all, "leases"), 0), 0), CHOSEN);
    json_decref(all);
    /* A daemon that starts anew still knows it. */
    restart(NULL);
    sim_run(&sim, 10000);
    expect("Allocate", want_mac(CHOSEN), "MacInUse");
    expect("Release",
           json_pack("{s:[s]}", "leases", json_string_value(json_object_get(lease, "lease"))),
           NULL);
    json_decref(lease);
    sim_run(&sim, 5000);
    expect("Allocate", want_mac(CHOSEN), NULL);
    struct sim_client *user = sim_connect(&sim, 1000);
    json_t *reply = sim_ask(user, "Allocate", want_mac("02:00:00:00:00:56"), 1000);
    assert_string_equal(json_string_value(json_object_get(reply, "error")),
                        "io.dompool.NotPermitted");
    json_decref(reply);
    sim_end(&sim);
}

/* A slot that was refused the image is warm again, and has its own address. */
static void given_back(void **state)
{
    (void)state;
    macs_begin(1, NULL);
    sim.faults.complete = (struct sim_doom){.fate = FATE_REFUSED, .n = 1};
    json_t *lease = allocate(CHOSEN);
    assert_string_equal(mac_in(lease, 0), CHOSEN);
    json_decref(lease);
    sim_run(&sim, 5000);
    assert_all_differ();
    sim_end(&sim);
}

/* One lease at a time has the image's address; another one may choose. */
static void saved(void **state)
{
    (void)state;
    macs_begin(1, "[pool]\nmin = 2\nmac = saved\n");
    json_t *lease = allocate(NULL);
    assert_string_equal(mac_in(lease, 0), SAVED);
    expect("Allocate", want_mac(NULL), "MacInUse");
    json_decref(lease);
    expect("Release", json_pack("{s:b}", "all", 1), NULL);
    sim_run(&sim, 5000);
    expect("Allocate", want_mac(NULL), NULL);
    sim_end(&sim);
}

static void settings(void **state)
{
    (void)state;
    macs_begin(1, NULL);
    assert_true(sim.vif_isolation && sim.vif_filter);
    assert_string_equal(sim.vif_script, "");
    expect("PoolSet",
           json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "image", "fire", "settings", "vif_isolation",
                     "off", "vif_filter", "off", "mac", "xen", "min", "3"),
           NULL);
    sim_run(&sim, 5000);
    assert_true(!sim.vif_isolation && !sim.vif_filter);
    expect("PoolSet",
           json_pack("{s:s, s:{s:s, s:s}}", "image", "fire", "settings", "vif_script",
                     "/etc/xen/scripts/vif-openvswitch", "min", "4"),
           NULL);
    sim_run(&sim, 5000);
    assert_string_equal(sim.vif_script, "/etc/xen/scripts/vif-openvswitch");
    expect("PoolSet",
           json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "vif_script", "vif-bridge"),
           "BadValue");
    expect("PoolSet",
           json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "vif_filter", "maybe"),
           "BadValue");
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "mac", "mine"),
           "BadValue");
    sim_end(&sim);
}

int main(void)
{
    tests_begin();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_its_own), cmocka_unit_test(without_interfaces),
        cmocka_unit_test(chosen),       cmocka_unit_test(given_back),
        cmocka_unit_test(saved),        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
