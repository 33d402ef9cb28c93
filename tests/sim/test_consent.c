/* Which disks an import may have without their being named, and how a refusal names them. */
#include "tests/sim/fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static const json_t *asked(const char *key)
{
    return json_object_get(sim.asked, key);
}

static void expect_json(const json_t *got, const char *wanted)
{
    json_t *object = json_loads(wanted, JSON_DECODE_ANY, NULL);
    if (!json_equal(object, got))
        fail_msg("%s instead of %s", json_dumps(got, JSON_ENCODE_ANY), wanted);
    json_decref(object);
}

/* The helper is told the directories, and what the image that is replaced has already. */
static void test_what_the_helper_is_told(void **state)
{
    (void)state;
    begin_with(BASE, "disk_dirs = /srv/my disks:/dev/vg0\n[pool]\nmin = 0\n");
    expect("ImageImport", import_of("x", NULL, false), NULL);
    expect_json(asked("dirs"), "[\"/srv/my disks\", \"/dev/vg0\"]");
    expect_json(asked("had"), "{}");
    assert_null(asked("disks"));
    sim.disks = json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:i}]", "vdev", "xvda", "kind", "ro",
                          "path", "/dev/a", "vdev", "xvdb", "kind", "scratch", "size_bytes", 4096);
    expect("ImageImport", import_of("x", NULL, true), NULL);
    expect_json(asked("had"), "{\"xvda\": \"cow:/dev/golden\"}");
    expect("ImageImport", import_of("x", NULL, true), NULL);
    expect_json(asked("had"), "{\"xvda\": \"ro:/dev/a\", \"xvdb\": \"scratch:4096\"}");
    expect("ImageImport", import_of("y", NULL, true), NULL); /* replaces nothing */
    expect_json(asked("had"), "{}");
    json_decref(sim.disks);
    sim.disks = NULL;
    sim_end(&sim);
}

static void test_no_directories(void **state)
{
    (void)state;
    begin_with(BASE, NULL);
    expect("ImageImport", import_of("x", NULL, false), NULL);
    expect_json(asked("dirs"), "[]");
    sim_end(&sim);
}

/* Whatever the helper says, a refusal has a map of texts that can be given back. */
static void test_refusal(void **state)
{
    static const char *const said[][2] = {
        {"{\"xvda\": \"cow:/etc/shadow\", \"xvdb\": \"ro:/d\"}",
         "{\"xvda\": \"cow:/etc/shadow\", \"xvdb\": \"ro:/d\"}"},
        {"{\"xvda\": 7}", "{}"},
        {"{}", "{}"},
    };
    (void)state;
    begin_with(BASE, NULL);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        json_decref(sim.missing);
        sim.missing = json_loads(said[i][0], 0, NULL);
        sim.faults.work = (struct sim_doom){FATE_WORK_FAILS, 1};
        json_t *reply = sim_ask(root, "ImageImport", import_of("x", NULL, false), 5000);
        assert_string_equal(sim_error_name(reply), "DisksNotAllowed");
        const json_t *parameters = json_object_get(reply, "parameters");
        assert_string_equal(text_of(parameters, "text"), "told to fail");
        expect_json(json_object_get(parameters, "disks"), said[i][1]);
        json_decref(reply);
    }
    assert_int_equal(sim_image_files(&sim), 1);
    sim_end(&sim);
}

static void test_warnings(void **state)
{
    (void)state;
    begin_with(BASE, NULL);
    sim.warnings = json_pack("[s, s]", "one", "two");
    json_t *reply = sim_ask(root, "ImageImport", import_of("x", NULL, false), 5000);
    const json_t *warnings = json_object_get(answer(reply), "warnings");
    assert_string_equal(json_string_value(json_array_get(warnings, 0)), "one");
    assert_string_equal(json_string_value(json_array_get(warnings, 1)), "two");
    assert_int_equal(json_array_size(warnings), 3); /* and that of its disk */
    json_decref(reply);
    json_decref(sim.warnings);
    sim.warnings = json_pack("[s, i]", "one", 2); /* not texts */
    reply = sim_ask(root, "ImageImport", import_of("y", NULL, false), 5000);
    assert_int_equal(json_array_size(json_object_get(answer(reply), "warnings")), 1);
    json_decref(reply);
    sim_end(&sim);
}

/* A file that the client has opened is handed to the helper; its path is only what it is called. */
static void test_passed(void **state)
{
    static const char call[] =
        "{\"method\":\"io.dompool.ImageImport\",\"parameters\":{\"name\":\"x\","
        "\"path\":\"standard input\",\"replace\":true}}";
    (void)state;
    begin_with(BASE, NULL);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    root->sent++;
    conn_take_passed(&root->conn, call, sizeof call, fd);
    conn_run(&root->conn);
    sim_run(&sim, 5000);
    json_t *reply = sim_reply(root);
    answer(reply);
    json_decref(reply);
    assert_int_equal(sim.input, fd);
    assert_true(json_is_true(asked("passed")));
    assert_string_equal(json_string_value(asked("save")), "standard input");
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* nobody keeps it */
    expect("ImageImport", import_of("x", NULL, true), NULL);
    assert_int_equal(sim.input, -1);
    assert_false(json_is_true(asked("passed")));
    expect_text("ImageImport", json_pack("{s:s, s:s}", "name", "y", "path", "standard input"),
                "BadValue", "or its descriptor must be passed");
    sim_end(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_helper_is_told),
        cmocka_unit_test(test_no_directories),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_passed),
    };
    tests_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
