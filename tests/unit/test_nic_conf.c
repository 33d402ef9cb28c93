/* restore/formats/nic_conf.h and nic_address.h: network interfaces as xl's JSON has them, and as
 * ours. */
#include "tests/unit/xl_config.h"

#include "base/array.h"
#include "restore/formats/nic_address.h"

#include <stdlib.h>
#include <string.h>

#define WITH(rest) XL("", "", rest)
#define NIC(fields) WITH(",\"nics\":[{\"devid\":0,\"mac\":\"00:16:3e:11:22:33\"" fields "}]")

static void nics_as_xl_has_them(void **state)
{
    (void)state;
    struct domconf c;
    parse(NIC(""), &c);
    assert_int_equal(c.n_nics, 1);
    assert_string_equal(c.nics[0].bridge, "xenbr0");
    assert_true(c.nics[0].trusted && !c.nics[0].mtu && !c.nics[0].script[0]);
    domconf_dispose(&c);
    parse(
        WITH(
            ",\"nics\":[{\"devid\":2,\"mac\":\"00:16:3e:11:22:34\",\"bridge\":\"lan\",\"mtu\":9000,"
            "\"ifname\":\"web\",\"ip\":\"10.0.0.1 fe80::1\",\"gatewaydev\":\"eth0\","
            "\"rate_bytes_per_interval\":125000,\"rate_interval_usecs\":50000,\"trusted\":"
            "\"False\","
            "\"script\":\"/etc/xen/scripts/vif-route\"},"
            "{\"devid\":0,\"mac\":\"00:16:3e:11:22:33\",\"mtu\":1500,\"model\":\"rtl8139\","
            "\"nictype\":\"vif\",\"backend_domname\":\"Domain-0\",\"script\":\"vif-bridge\","
            "\"colo_sock_mirror_id\":\"\"}]"),
        &c);
    const struct nic_conf *n = &c.nics[1]; /* by number */
    assert_int_equal(c.n_nics, 2);
    assert_int_equal(c.nics[0].devid, 0);
    assert_true(n->devid == 2 && n->mtu == 9000 && n->rate_bytes == 125000 && !n->trusted);
    assert_string_equal(n->bridge, "lan");
    assert_string_equal(n->name, "web");
    assert_string_equal(n->ip, "10.0.0.1 fe80::1");
    assert_string_equal(n->gateway, "eth0");
    struct error e;
    assert_int_equal(nic_conf_check_script(&c.nics[0], &e), 0);
    assert_int_equal(nic_conf_check_script(n, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, "vif-route");
    /* Another bridge than the saved one: then nothing is left to the script. */
    assert_int_equal(domconf_set_vif(&c, "2", "lab", &e), 0);
    assert_int_equal(nic_conf_check_script(n, &e), 0);
    assert_string_equal(n->bridge, "lab");
    assert_int_equal(domconf_set_vif(&c, "1", "lab", &e), ANSWER_BAD_VALUE);
    assert_int_equal(domconf_set_vif(&c, "x", "lab", &e), ANSWER_BAD_VALUE);
    assert_int_equal(domconf_set_vif(&c, "2", "a name too long for one", &e), ANSWER_BAD_VALUE);
    domconf_dispose(&c);
}

static void nics_refused(void **state)
{
    (void)state;
    refused(NIC(",\"backend_domid\":3"), "driver domains");
    refused(NIC(",\"backend_domname\":\"net\""), "nics[0]: backend_domname: ");
    refused(NIC(",\"nictype\":\"vif_ioemu\""), "HVM");
    refused(NIC(",\"vlan\":\"10\""), "vlan");
    refused(NIC(",\"colo_sock_mirror_id\":\"m\""), "COLO");
    refused(NIC(",\"shiny\":1"), "shiny: not known");
    refused(NIC(",\"bridge\":\"a/b\""), "bridge is no name");
    refused(NIC(",\"ifname\":\"sixteen_or_more_\""), "ifname is no name");
    refused(NIC(",\"mtu\":67"), "mtu");
    refused(NIC(",\"mtu\":65536"), "mtu");
    refused(NIC(",\"ip\":\"10.0.0.1;reboot\""), "ip");
    refused(NIC(",\"trusted\":1"), "trusted");
    refused(WITH(",\"nics\":[{\"devid\":16,\"mac\":\"00:16:3e:11:22:33\"}]"), "devid");
    refused(WITH(",\"nics\":[{\"devid\":0}]"), "mac");
    refused(WITH(",\"nics\":[7]"), "nics[0]: no object");
    refused(WITH(",\"nics\":7"), "nics: no array");
    refused(WITH(",\"nics\":[{\"devid\":1,\"mac\":\"00:16:3e:11:22:33\"},"
                 "{\"devid\":1,\"mac\":\"00:16:3e:11:22:34\"}]"),
            "two interfaces are vif 1");
}

/* Kept and read back; nothing is written for a guest without interfaces. */
static void nics_round_trip(void **state)
{
    (void)state;
    struct domconf c, back;
    struct error e;
    char *text, *again;
    parse(NIC(",\"mtu\":1400,\"ifname\":\"web\",\"ip\":\"10.0.0.1\",\"gatewaydev\":\"eth0\","
              "\"rate_bytes_per_interval\":7,\"rate_interval_usecs\":9,\"trusted\":\"False\""),
          &c);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    domconf_init(&back);
    if (domconf_from_json(text, &back, &e))
        fail_msg("%s: %s", text, e.text);
    assert_null(nic_conf_differ(&c.nics[0], &back.nics[0]));
    assert_true(mac_equal(&c.nics[0].mac, &back.nics[0].mac));
    assert_int_equal(domconf_to_json(&back, &again, &e), 0);
    assert_string_equal(text, again);
    free(text);
    free(again);
    domconf_dispose(&c);
    domconf_dispose(&back);
    parse(WITH(""), &c);
    assert_int_equal(domconf_to_json(&c, &text, &e), 0);
    assert_null(strstr(text, "nics"));
    free(text);
    domconf_dispose(&c);
}

/* ---- addresses ---- */

static struct nic_address got[NIC_ADDRESSES_MAX];
static unsigned n;

static void is_none(const char *text)
{
    if (!nic_addresses_parse(text, got, &n))
        fail_msg("taken: %s", text);
}

static void addresses(void **state)
{
    static const uint8_t four[4] = {10, 77, 0, 2}, six[16] = {0xfd, 0, [15] = 1};
    (void)state;
    assert_int_equal(nic_addresses_parse("  10.77.0.2 10.99.0.0/24  fd00::1 ::/0", got, &n), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(got[0].b, four, 4);
    assert_true(!got[0].v6 && got[0].bits == 32);
    assert_true(!got[1].v6 && got[1].bits == 24);
    assert_memory_equal(got[2].b, six, 16);
    assert_true(got[2].v6 && got[2].bits == 128);
    assert_true(got[3].v6 && got[3].bits == 0);
    /* What the kernel would take for one rule is there once. */
    assert_int_equal(nic_addresses_parse("10.0.0.2 10.0.0.2/32 10.0.0.2/24 10.0.0.9/24", got, &n),
                     0);
    assert_int_equal(n, 2);
    assert_int_equal(got[1].bits, 24);
    assert_int_equal(got[1].b[3], 0);
    assert_int_equal(nic_addresses_parse("", got, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(nic_addresses_parse("   ", got, &n), 0);
    assert_int_equal(n, 0);
}

static void no_addresses(void **state)
{
    static const char *const bad[] = {
        "10.0.0",      "10.0.0.256",        "10.0.0.1/33",   "10.0.0.1/",
        "/24",         "fd00::1/129",       "fd00:::1",      "g",
        "10.0.0.1/-1", "10.0.0.1,10.0.0.2", "10.0.0.1/24/24"};
    char many[400] = "";
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        is_none(bad[i]);
    is_none("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/128"); /* longer than any */
    for (unsigned i = 0; i < NIC_ADDRESSES_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "1.2.3.%u ", i);
    assert_int_equal(nic_addresses_parse(many, got, &n), 0);
    assert_int_equal(n, NIC_ADDRESSES_MAX);
    strcat(many, "1.2.4.4");
    is_none(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nics_as_xl_has_them), cmocka_unit_test(nics_refused),
        cmocka_unit_test(nics_round_trip),     cmocka_unit_test(addresses),
        cmocka_unit_test(no_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
