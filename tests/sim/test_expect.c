/* What warm slots are told to expect: pool/core/prefetch.h. */
#include "tests/sim/fixture.h"

#include "base/array.h"
#include "pool/core/pool.h"
#include "pool/core/slot.h"

/* Names of images, in their order, that the only warm slot of base expects. */
static void assert_expected(const char *const *names, size_t n)
{
    const struct pool *p = sim_pool(&sim, "base");
    char path[400];
    sim_run(&sim, 2000);
    sim_check_quiet(&sim); /* every helper has been told the same */
    assert_int_equal(json_array_size(p->prefetched), n);
    for (size_t i = 0; i < n; i++) {
        entry_path(sim_entry(&sim, names[i]), path);
        assert_string_equal(json_string_value(json_array_get(p->prefetched, i)), path);
    }
}

#define EXPECTED(...)                                                                              \
    do {                                                                                           \
        const char *const names[] = {__VA_ARGS__};                                                 \
        assert_expected(names, ARRAY_SIZE(names));                                                 \
    } while (0)

static void set(const char *value)
{
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "expect_max", value),
           NULL);
}

static void use(const char *image)
{
    char lease[32];
    take(image, lease);
    release_all();
}

/* The family was made in this order. */
static void test_order(void **state)
{
    (void)state;
    EXPECTED("wiki", "shop", "mail");
    use("shop");
    EXPECTED("shop", "wiki", "mail");
    use("mail");
    EXPECTED("mail", "shop", "wiki");
    use("mail");
    EXPECTED("mail", "shop", "wiki");
    use("base");
    EXPECTED("mail", "shop", "wiki");
}

/* A slot that has all that is expected is not told again when only the order is another. */
static void test_order_alone(void **state)
{
    char first[400];
    (void)state;
    expect("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "base", "settings", "min", "2"), NULL);
    EXPECTED("wiki", "shop", "mail");
    struct pool *p = sim_pool(&sim, "base");
    const struct slot *newest = container_of(p->set.warm.prev, struct slot, in_warm);
    entry_path(sim_entry(&sim, "wiki"), first);
    use("shop");
    EXPECTED("shop", "wiki", "mail");
    const json_t *told = sim_helper_expects(newest->helper);
    assert_string_equal(json_string_value(json_array_get(told, 0)), first);
    expect("ImageRemove", named("mail"), NULL);
    EXPECTED("shop", "wiki");
    told = sim_helper_expects(newest->helper);
    assert_string_not_equal(json_string_value(json_array_get(told, 0)), first);
}

/* Both slots that are warm now and one that is built later. */
static void test_images_come_and_go(void **state)
{
    (void)state;
    EXPECTED("wiki", "shop", "mail");
    sim_derive(&sim, "news", "base");
    EXPECTED("news", "wiki", "shop", "mail");
    use("base");
    EXPECTED("news", "wiki", "shop", "mail");
    expect("ImageRemove", named("wiki"), NULL);
    EXPECTED("news", "shop", "mail");
    replace("shop", "base");
    EXPECTED("shop", "news", "mail");
    replace("shop", NULL); /* whole: no slot of base becomes it any more */
    EXPECTED("news", "mail");
    expect("ImageRemove", named("news"), NULL);
    expect("ImageRemove", named("mail"), NULL);
    assert_expected(NULL, 0);
    settled("base");
}

static void set_pages(const char *image, uint64_t pages)
{
    sim_entry(&sim, image)->facts.info.payload_pages = pages;
}

static void test_limit(void **state)
{
    (void)state;
    set_pages("wiki", 1024);
    set_pages("shop", 2048);
    set_pages("mail", 512);
    set("6M");
    EXPECTED("wiki", "mail"); /* a smaller one where a larger one has no room */
    use("shop");
    EXPECTED("wiki", "mail");
    set("8M");
    EXPECTED("shop");
    set("14M");
    EXPECTED("shop", "wiki", "mail");
    set("1");
    assert_expected(NULL, 0);
    set("0");
    assert_expected(NULL, 0);
}

static void test_damage(void **state)
{
    (void)state;
    entry_damaged(sim_entry(&sim, "shop"), "of the test");
    EXPECTED("wiki", "mail");
}

static size_t n_expected(void)
{
    return json_array_size(sim_pool(&sim, "base")->prefetched);
}

/* What is expected is found out anew, of files that have been checked. */
static void test_restart(void **state)
{
    (void)state;
    restart(NULL);
    settled("base"); /* with sim_check_quiet: which ones */
    assert_int_equal(n_expected(), 3);
    sim_image_rot(&sim, "shop");
    restart(NULL);
    settled("base");
    assert_int_equal(n_expected(), 2);
}

/* A helper is not told of more than it takes. */
static void test_many(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "i%d", i);
        sim_derive(&sim, name, "base");
    }
    sim_run(&sim, 5000);
    const struct pool *p = sim_pool(&sim, "base");
    assert_int_equal(n_expected(), 16);
    use("mail");
    sim_run(&sim, 5000);
    char path[400];
    entry_path(sim_entry(&sim, "mail"), path);
    assert_int_equal(n_expected(), 16);
    assert_string_equal(json_string_value(json_array_get(p->prefetched, 0)), path);
}

#define TEST(name) TEST_OF(FAMILY, name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order), TEST(test_order_alone), TEST(test_images_come_and_go),
        TEST(test_limit), TEST(test_damage),      TEST(test_restart),
        TEST(test_many),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
