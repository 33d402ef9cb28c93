/* The result of an import or capture, as the image helper says it and the daemon reads it. */
#include "tests/cmocka.h"

#include "restore/protocol/image_made.h"

static struct image_info some_image(void)
{
    struct image_info info = {.id = {{1, 2, 3}},
                              .base_id = {{4}},
                              .guest = IMAGE_GUEST_PVH,
                              .vcpus = 3,
                              .created_ms = 1000,
                              .max_pfn = 999,
                              .populated = 500,
                              .entries = 100,
                              .zero_pages = 20,
                              .repeated_pages = 30,
                              .free_pages = 40,
                              .payload_pages = 60,
                              .file_bytes = 70};
    return info;
}

static json_t *some_json(void)
{
    const struct image_info info = some_image();
    json_t *made = image_made_to_json(&info, json_pack("{s:s}", "name", "web"));
    assert_non_null(made);
    return made;
}

static bool is_read(const json_t *made)
{
    struct image_info info;
    json_t *config;
    return image_made_from_json(made, &info, &config);
}

/* Nothing is lost or mixed up on the way. */
static void test_there_and_back(void **state)
{
    const struct image_info sent = some_image();
    struct image_info info = {0};
    json_t *made = some_json(), *config;
    (void)state;
    assert_true(image_made_from_json(made, &info, &config));
    assert_true(uuid_equal(&info.id, &sent.id));
    assert_true(uuid_equal(&info.base_id, &sent.base_id));
    assert_int_equal(info.guest, sent.guest);
    assert_int_equal(info.vcpus, sent.vcpus);
    assert_int_equal(info.created_ms, sent.created_ms);
#define EQUAL(name) assert_int_equal(info.name, sent.name);
    IMAGE_COUNTS(EQUAL)
#undef EQUAL
    assert_string_equal(json_string_value(json_object_get(config, "name")), "web");
    json_decref(made);
}

/* Each member has to be there, and to be of its kind. */
static void test_each_member(void **state)
{
    const char *key;
    json_t *value, *made = some_json();
    (void)state;
    assert_int_equal(json_object_size(made), 14);
    json_object_foreach (made, key, value) {
        json_t *without = json_copy(made), *wrong = json_copy(made);
        json_object_del(without, key);
        json_object_set_new(wrong, key,
                            json_is_integer(value) ? json_integer(-1) : json_string(""));
        assert_true(!is_read(without) && !is_read(wrong));
        json_decref(without);
        json_decref(wrong);
    }
    assert_true(is_read(made));
    json_object_set_new(made, "guest", json_string("hvm"));
    assert_false(is_read(made));
    json_decref(made);
}

static void test_no_config(void **state)
{
    const struct image_info info = some_image();
    (void)state;
    assert_null(image_made_to_json(&info, NULL));
}

/* What cannot be true is not read, whoever says it. */
static void test_counts(void **state)
{
    static const struct {
        const char *key;
        json_int_t value;
    } wrong[] = {{"populated", 0},       {"populated", 1001}, {"entries", 501},
                 {"zero_pages", 101},    {"vcpus", 0},        {"free_pages", 501},
                 {"repeated_pages", 81}, {"payload_pages", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_t *made = some_json();
        json_object_set_new(made, wrong[i].key, json_integer(wrong[i].value));
        assert_false(is_read(made));
        json_decref(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_each_member),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_no_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
