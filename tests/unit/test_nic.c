/*
 * Network interfaces of slots (restore/xen/nic.h) on the Xen host of tests: which MAC address each
 * has, and what is said when a bridge or a name cannot be had. That every call fails once is in
 * test_warm.c, whose PV guest has two interfaces.
 */
#include "tests/unit/slots.h"

#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "tests/fake_xen/ports.h"

static struct warm slot;

static int end(void **state)
{
    warm_dispose(&slot);
    return on_machine_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, on_machine_begin, end)

static const char *mac_of(unsigned i)
{
    static char text[MAC_TEXT_SIZE];
    mac_format(&slot.nics[i].mac, text);
    return text;
}

static void build_with(enum mac_rule rule)
{
    struct warm_request r = slot_request("direct", pv_images.base);
    r.nics.mac = rule;
    if (slot_build(&slot, &r, &err))
        fail_msg("%s", err.text);
    assert_warm(&slot, mac_rule_name(rule));
}

/* The UUID is SLOT_UUID. */
static void rules(void **state)
{
    static const struct {
        enum mac_rule rule;
        const char *first, *second;
    } cases[] = {
        {MAC_GENERATED, "6e:9b:b2:e8:4a:00", "6e:9b:b2:e8:4a:03"},
        {MAC_XEN, "00:16:3e:6d:9b:b0", "00:16:3e:6d:9b:b3"},
        {MAC_SAVED, "00:16:3e:00:00:01", "00:16:3e:00:00:03"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        build_with(cases[i].rule);
        assert_string_equal(mac_of(0), cases[i].first);
        assert_string_equal(mac_of(1), cases[i].second);
        /* An address that others have, too, is taken at last. */
        struct warm_outcome outcome;
        assert_int_equal(fake_port(slot.nics[1].device)->closed, cases[i].rule == MAC_SAVED);
        assert_int_equal(slot_run(&slot, pv_images.base, LEASE_NAME, false, &outcome, &err), 0);
        assert_int_equal(warm_leave(&slot, &err), 0);
        assert_false(fake_port(slot.nics[0].device)->closed);
        assert_false(fake_port(slot.nics[1].device)->closed);
        warm_dispose(&slot);
        slot_clean(mac_rule_name(cases[i].rule));
    }
}

/* It is in the guest's node before the guest runs, and in what xl save keeps. */
static void chosen(void **state)
{
    struct warm_outcome outcome;
    struct mac mac;
    (void)state;
    assert_int_equal(mac_parse("02:00:00:00:00:55", &mac), 0);
    static const char *const engines[] = {"direct", "guest"};
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        const struct warm_request r = slot_request(engines[i], pv_images.base);
        const struct warm_wish wish = {pv_images.delta, LEASE_NAME, &mac, false};
        assert_int_equal(slot_build(&slot, &r, &err), 0);
        assert_int_equal(warm_complete(&slot, &wish, &outcome, &err), 0);
        assert_int_equal(warm_leave(&slot, &err), 0);
        assert_string_equal(mac_of(0), "02:00:00:00:00:55");
        assert_completed(&slot, pv_images.delta, LEASE_NAME, false, engines[i]);
        warm_dispose(&slot);
        slot_clean(engines[i]);
    }
}

/* A request that was refused at last: the interface has its own address again, and no other. */
static void chosen_undone(void **state)
{
    static const enum mac_rule cases[] = {MAC_GENERATED, MAC_SAVED};
    struct mac mac;
    (void)state;
    assert_int_equal(mac_parse("02:00:00:00:00:55", &mac), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        build_with(cases[i]);
        struct nic *n = &slot.nics[0];
        struct xs_handle *xs = slot.target.xen.xs;
        const struct mac own = n->mac;
        const struct bridge_port *port = fake_port(n->device);
        for (int chosen_one = 0; chosen_one < 2; chosen_one++) {
            const struct mac *asked = chosen_one ? &mac : NULL;
            assert_int_equal(nic_start(n, xs, asked, &err), 0);
            assert_true(mac_equal(&port->mac, asked ? asked : &own) && !port->closed);
            assert_int_equal(nic_start_undo(n, xs, asked, &own, &err), 0);
            assert_int_equal(port->closed, cases[i] == MAC_SAVED);
            assert_true(port->closed || mac_equal(&port->mac, &own));
            assert_true(mac_equal(&n->mac, &own));
            /* It had failed before it changed anything. */
            assert_int_equal(nic_start_undo(n, xs, asked, &own, &err), 0);
            assert_int_equal(port->closed, cases[i] == MAC_SAVED);
        }
        warm_dispose(&slot);
        slot_clean(mac_rule_name(cases[i]));
    }
}

/* The slot is as warm as before. */
static void chosen_without_interface(void **state)
{
    struct warm_outcome outcome;
    const struct mac mac = {{2}};
    const struct warm_request r = slot_request("direct", pvh_images.base);
    const struct warm_wish wish = {pvh_images.delta, LEASE_NAME, &mac, false};
    (void)state;
    assert_int_equal(slot_build(&slot, &r, &err), 0);
    assert_int_equal(warm_complete(&slot, &wish, &outcome, &err), ANSWER_BAD_VALUE);
    assert_says(err.text, "no network interface");
    assert_true(slot.target.untouched && !slot.unusable);
    assert_warm(&slot, "after a wish that cannot be had");
    assert_int_equal(slot_run(&slot, pvh_images.delta, LEASE_NAME, false, &outcome, &err), 0);
    assert_int_equal(warm_leave(&slot, &err), 0);
    warm_dispose(&slot);
    slot_clean("after a wish that could not be had");
}

/* No domain is made. */
static void no_bridge(void **state)
{
    struct nic_conf conf = {.bridge = "br7", .mac = {{2}}};
    const struct nic_rules rules = {.mac = MAC_SAVED};
    const struct uuid uuid = {{0}};
    struct nic n;
    (void)state;
    assert_int_equal(nic_open(&n, &conf, &uuid, &rules, &err), -ENODEV);
    assert_says(err.text, "vif 0: there is no bridge br7");
}

/* The image gives its second interface a name. */
static void name_taken(void **state)
{
    const struct warm_request r = slot_request("direct", pv_images.base);
    (void)state;
    fake_port_occupy("lab3");
    if (slot_build(&slot, &r, &err) != -EEXIST)
        fail_msg("%s", err.text);
    assert_says(err.text, "vif 3, bridge br0: ");
    assert_says(err.text, "lab3");
    warm_dispose(&slot);
    fake_ports_init();
    slot_clean("a name that is taken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rules),     TEST(chosen),     TEST(chosen_undone), TEST(chosen_without_interface),
        TEST(no_bridge), TEST(name_taken),
    };
    return cmocka_run_group_tests(tests, slots_setup, dir_teardown);
}
