/* base/mac.h: the texts of MAC addresses, and those that are made of UUIDs. */
#include "tests/cmocka.h"

#include "base/array.h"
#include "base/mac.h"

#include <string.h>

static void texts(void **state)
{
    static const char *const good[] = {"00:16:3e:00:00:01", "02:00:00:00:00:00",
                                       "fe:ff:ff:ff:ff:ff"};
    static const char *const bad[] = {"",
                                      "00:00:00:00:00:00",  /* none */
                                      "01:00:5e:00:00:01",  /* a group's */
                                      "ff:ff:ff:ff:ff:ff",  /* everybody's */
                                      "00:16:3e:00:00:0",   /* cut */
                                      "00:16:3e:00:00:010", /* too long */
                                      "00-16-3e-00-00-01",
                                      "00:16:3e:00:00:0g",
                                      "0016:3e:00:00:01:00"};
    struct mac m;
    char text[MAC_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(mac_parse(good[i], &m), 0);
        mac_format(&m, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (!mac_parse(bad[i], &m))
            fail_msg("\"%s\" is taken", bad[i]);
    assert_int_equal(mac_parse("02:AB:CD:EF:00:01", &m), 0);
    mac_format(&m, text);
    assert_string_equal(text, "02:ab:cd:ef:00:01");
}

static void lists(void **state)
{
    struct macs a, b;
    char text[MACS_TEXT_SIZE], full[MACS_TEXT_SIZE + MAC_TEXT_SIZE] = "";
    (void)state;
    assert_int_equal(macs_parse("", &a), 0);
    assert_int_equal(a.n, 0);
    macs_format(&a, text);
    assert_string_equal(text, "");
    assert_int_equal(macs_parse("02:00:00:00:00:01,02:00:00:00:00:02", &a), 0);
    assert_int_equal(a.n, 2);
    macs_format(&a, text);
    assert_string_equal(text, "02:00:00:00:00:01,02:00:00:00:00:02");
    assert_int_equal(macs_parse("02:00:00:00:00:02", &b), 0);
    assert_true(macs_share(&a, &b));
    assert_int_equal(macs_parse("02:00:00:00:00:03", &b), 0);
    assert_false(macs_share(&a, &b));
    static const char *const bad[] = {",", "02:00:00:00:00:01,", ",02:00:00:00:00:01",
                                      "02:00:00:00:00:01;02:00:00:00:00:02", "02:00:00:00:00:01 "};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (!macs_parse(bad[i], &b))
            fail_msg("\"%s\" is taken", bad[i]);
    for (unsigned i = 0; i < MACS_MAX; i++)
        strcat(strcat(full, i ? "," : ""), "02:00:00:00:00:01");
    assert_int_equal(macs_parse(full, &a), 0);
    macs_format(&a, text);
    assert_string_equal(text, full);
    assert_int_equal(macs_parse(strcat(full, ",02:00:00:00:00:01"), &a), -1);
}

/* Of 3,000 random UUIDs with keys of their own no two addresses are the same, by either rule and
 * for any two interfaces; each is one that a host may have. */
static void of_uuids(void **state)
{
    enum { N = 3000 };
    static struct mac all[2][N * 2];
    static uint32_t keys[N];
    (void)state;
    for (unsigned n = 0; n < N;) {
        struct uuid u;
        bool known = false;
        uuid_random(&u);
        keys[n] = mac_key(&u);
        for (unsigned i = 0; i < n; i++)
            known = known || keys[i] == keys[n];
        if (known)
            continue;
        for (unsigned k = 0; k < 2; k++) {
            all[MAC_GENERATED][2 * n + k] = mac_of_uuid(MAC_GENERATED, &u, k * 15);
            all[MAC_XEN][2 * n + k] = mac_of_uuid(MAC_XEN, &u, k * 15);
        }
        n++;
    }
    for (unsigned rule = MAC_GENERATED; rule <= MAC_XEN; rule++)
        for (unsigned i = 0; i < 2 * N; i++) {
            const uint8_t *b = all[rule][i].b;
            assert_int_equal(b[0] & 3, rule == MAC_XEN ? 0 : 2);
            assert_true(rule != MAC_XEN || (b[1] == 0x16 && b[2] == 0x3e));
            for (unsigned k = 0; k < i; k++)
                assert_false(mac_equal(&all[rule][i], &all[rule][k]));
        }
}

static void names_of_rules(void **state)
{
    enum mac_rule rule;
    (void)state;
    for (unsigned i = MAC_GENERATED; i <= MAC_SAVED; i++) {
        assert_int_equal(mac_rule_parse(mac_rule_name((enum mac_rule)i), &rule), 0);
        assert_int_equal(rule, i);
    }
    assert_int_equal(mac_rule_parse("", &rule), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(lists),
        cmocka_unit_test(of_uuids),
        cmocka_unit_test(names_of_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
