/* The configuration: precedence, origins, and every mistake with its place, all at once. */
#include "base/io.h"
#include "pool/service/config.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static struct mistakes mistakes;

static struct config *load_with(const char *text, struct config_sources sources)
{
    strcpy(path, "/tmp/dompool-conf.XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write_full(fd, text, strlen(text)), 0);
    close(fd);
    mistakes_dispose(&mistakes);
    sources.path = path;
    struct config *c = config_load(&sources, &mistakes);
    unlink(path);
    return c;
}

static struct config *load(const char *text)
{
    return load_with(text, (struct config_sources){0});
}

static struct config *load_good(const char *text)
{
    struct config *c = load(text);
    if (!c)
        fail_msg("%s", mistakes.lines[0]);
    return c;
}

/* Mistake n begins with FILE:line and contains what. */
static void expect_mistake(size_t n, unsigned line, const char *what)
{
    char place[100];
    snprintf(place, sizeof place, "%s:%u: ", path, line);
    assert_true(n < mistakes.n);
    if (strncmp(mistakes.lines[n], place, strlen(place)) != 0 || !strstr(mistakes.lines[n], what))
        fail_msg("mistake %zu is: %s", n, mistakes.lines[n]);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *c = load_good("");
    for (int i = 0; i < KEY_COUNT; i++) {
        assert_non_null(c->values[i].text);
        assert_string_equal(c->values[i].origin, "default");
    }
    assert_string_equal(config_text(c, KEY_SOCKET), "/run/dompool/io.dompool");
    assert_int_equal(config_number(c, KEY_SOCKET_MODE), 0660);
    assert_int_equal(config_pool(c, "x").min, 1);
    assert_int_equal(config_pool(c, "x").backoff_max_ms, 300000);
    config_free(c);
}

static void test_dirs(void **state)
{
    static const char *const wrong[] = {"srv",    ":/srv",       "/srv:",     "/srv::/x",
                                        "/srv:x", "/srv/../etc", "/srv:/x/.."};
    char text[100];
    (void)state;
    struct config *c = load_good("[daemon]\ndisk_dirs = /srv/my disks:/dev/vg0:/..x\n");
    assert_string_equal(config_text(c, KEY_DISK_DIRS), "/srv/my disks:/dev/vg0:/..x");
    config_free(c);
    c = load_good("[daemon]\ndisk_dirs =\n");
    config_free(c);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "[daemon]\ndisk_dirs = %s\n", wrong[i]);
        assert_null(load(text));
        expect_mistake(0, 2, "is not a list of absolute paths");
    }
}

static void test_prefix(void **state)
{
    static const char *const right[] = {"u%U-", "%U.", "guests-", "a-%U-b", ""},
                             *const wrong[] = {"u%U",   "u%U7", "-%U-", "a b%U-",
                                               "%U%U-", "u%u-", "/%U-", "much-too-long-%U-"};
    char text[100];
    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        snprintf(text, sizeof text, "[daemon]\nname_prefix = %s\n", right[i]);
        struct config *c = load_good(text);
        assert_string_equal(config_text(c, KEY_NAME_PREFIX), right[i]);
        config_free(c);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "[daemon]\nname_prefix = %s\n", wrong[i]);
        assert_null(load(text));
        expect_mistake(0, 2, "name_prefix: ");
    }
}

static void test_precedence(void **state)
{
    (void)state;
    setenv("DOMPOOL_RUN_DIR", "/env/run", 1);
    setenv("DOMPOOL_STATE_DIR", "/env/state", 1);
    struct config_sources sources = {0};
    sources.options[KEY_STATE_DIR] = "/option/state";
    struct config *c = load_with("# comment\n; another\n\n[daemon]\n  run_dir = /file/run  \n"
                                 "state_dir=/file/state\nlog_level = debug\n"
                                 "[pool]\nmin = 2\n[image  fire ]\nmin = 7\nttl = 5m\n",
                                 sources);
    unsetenv("DOMPOOL_RUN_DIR");
    unsetenv("DOMPOOL_STATE_DIR");
    assert_non_null(c);
    assert_string_equal(config_text(c, KEY_STATE_DIR), "/option/state");
    assert_string_equal(c->values[KEY_STATE_DIR].origin, "option");
    assert_string_equal(config_text(c, KEY_RUN_DIR), "/env/run");
    assert_string_equal(c->values[KEY_RUN_DIR].origin, "environment");
    assert_string_equal(config_text(c, KEY_SOCKET), "/env/run/io.dompool");
    char origin[100];
    snprintf(origin, sizeof origin, "%s:7", path);
    assert_string_equal(c->values[KEY_LOG_LEVEL].origin, origin);
    assert_int_equal(config_pool(c, "fire").min, 7);
    assert_int_equal(config_pool(c, "fire").ttl_ms, 300000);
    assert_int_equal(config_pool(c, "ice").min, 2);
    config_free(c);
}

static void test_every_mistake(void **state)
{
    (void)state;
    assert_null(load("min = 1\n"              /* 1 */
                     "[daemon]\n"             /* 2 */
                     "wat = 5\n"              /* 3 */
                     "min = 5\n"              /* 4 */
                     "parallel = many\n"      /* 5 */
                     "parallel = 0\n"         /* 6 */
                     "build_timeout = 5\n"    /* 7 */
                     "state_dir = relative\n" /* 8 */
                     "socket_mode = 0999\n"   /* 9 */
                     "log_level = loud\n"     /* 10 */
                     "just words\n"           /* 11 */
                     "max_clients = 5\n"      /* 12 */
                     "max_clients = 6\n"      /* 13 */
                     "[nowhere]\n"            /* 14 */
                     "ignored = 1\n"          /* 15 */
                     "[image ../etc]\n"       /* 16 */
                     "[image x\n"             /* 17 */
                     "[image ok]\n"           /* 18 */
                     "log_level = info\n"     /* 19 */
                     "engine = warp\n"        /* 20 */
                     "[pool]\n"               /* 21 */
                     "min = 9\n"              /* 22 */
                     "max = 3\n"));           /* 23 */
    size_t n = 0;
    expect_mistake(n++, 1, "before the first section");
    expect_mistake(n++, 3, "unknown key \"wat\"");
    expect_mistake(n++, 4, "belongs in [pool]");
    expect_mistake(n++, 5, "not a number");
    expect_mistake(n++, 6, "outside 1 to 16");
    expect_mistake(n++, 7, "a duration");
    expect_mistake(n++, 8, "an absolute path");
    expect_mistake(n++, 9, "file mode");
    expect_mistake(n++, 10, "error, warning");
    expect_mistake(n++, 11, "neither");
    expect_mistake(n++, 13, "given twice");
    expect_mistake(n++, 14, "unknown section");
    expect_mistake(n++, 16, "no image name");
    expect_mistake(n++, 17, "closing bracket");
    expect_mistake(n++, 19, "belongs in [daemon]");
    expect_mistake(n++, 20, "auto, direct, guest");
    expect_mistake(n++, 22, "min = 9 is more than max = 3");
    assert_true(mistakes.n >= n);
}

static void test_other_sources(void **state)
{
    (void)state;
    setenv("DOMPOOL_SOCKET", "relative", 1);
    struct config_sources sources = {0};
    sources.options[KEY_LOG_LEVEL] = "loud";
    assert_null(load_with("", sources));
    unsetenv("DOMPOOL_SOCKET");
    assert_int_equal(mistakes.n, 2);
    assert_non_null(strstr(mistakes.lines[0], "DOMPOOL_SOCKET"));
    assert_non_null(strstr(mistakes.lines[1], "command line"));
    mistakes_dispose(&mistakes);
    sources = (struct config_sources){.path = "/nonexistent.conf"};
    assert_null(config_load(&sources, &mistakes));
    assert_non_null(strstr(mistakes.lines[0], "/nonexistent.conf"));
}

static void set(struct config *c, const char *key, const char *value, int expected)
{
    const struct config_change change = {key, value};
    assert_int_equal(config_set(c, "fire", &change, 1, NULL), expected);
}

static void test_set(void **state)
{
    (void)state;
    struct config *c = load_good("[pool]\nmin = 2\nmax = 4\n");
    set(c, "min", "3", 0);
    assert_int_equal(config_pool(c, "fire").min, 3);
    assert_string_equal(config_value(c, KEY_MIN, "fire")->origin, "set");
    assert_int_equal(config_pool(c, "ice").min, 2);
    set(c, "min", "5", ANSWER_BAD_VALUE); /* more than max */
    set(c, "min", "-1", ANSWER_BAD_VALUE);
    set(c, "parallel", "2", ANSWER_NO_SUCH_SETTING);
    assert_int_equal(config_pool(c, "fire").min, 3);
    const struct config_change both[] = {{"min", "5"}, {"max", "9"}};
    assert_int_equal(config_set(c, "fire", both, 2, NULL), 0);
    const struct config_change half[] = {{"min", "6"}, {"wat", "9"}};
    assert_int_equal(config_set(c, "fire", half, 2, NULL), ANSWER_NO_SUCH_SETTING);
    assert_int_equal(config_pool(c, "fire").min, 5);
    /* A reload keeps what was set, for images in the new file and for others. */
    struct config *next = load_good("[image fire]\nmin = 1\nttl = 1s\n");
    config_move_set(next, c);
    config_free(c);
    assert_int_equal(config_pool(next, "fire").min, 5);
    assert_int_equal(config_pool(next, "fire").ttl_ms, 1000);
    set(next, "min", "", 0);
    assert_int_equal(config_pool(next, "fire").min, 1);
    c = load_good("");
    config_move_set(c, next);
    config_free(next);
    assert_int_equal(config_pool(c, "fire").max, 9);
    config_forget(c, "fire");
    assert_int_equal(config_pool(c, "fire").max, 0);
    config_free(c);
}

/* A reload that contradicts what was set is a mistake of the file. */
static void test_set_contradicted(void **state)
{
    (void)state;
    struct config *c = load_good("");
    set(c, "max", "4", 0);
    struct config *same = load_good("[pool]\nmin = 9\n[image fire]\nmin = 4\n");
    config_check_set(same, c, &mistakes);
    assert_int_equal(mistakes.n, 0);
    config_free(same);
    struct config *more = load_good("[image fire]\nmin = 5\n");
    config_check_set(more, c, &mistakes);
    assert_int_equal(mistakes.n, 1);
    expect_mistake(0, 2, "min = 5 is more than max = 4 (set), for fire");
    config_free(more);
    config_free(c);
}

/* Whatever a file holds is either read or reported. */
static void test_noise(void **state)
{
    unsigned seed = 1;
    static const char alphabet[] = "[]=#; \t\nabpoolimagedaemonmin0123456789/\x01\xff";
    (void)state;
    for (int i = 0; i < 3000; i++) {
        char text[200];
        size_t n = (size_t)(rand_r(&seed) % 199);
        for (size_t k = 0; k < n; k++)
            text[k] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        text[n] = '\0';
        config_free(load(text));
    }
}

static int end(void **state)
{
    (void)state;
    mistakes_dispose(&mistakes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_every_mistake), cmocka_unit_test(test_other_sources),
        cmocka_unit_test(test_set),           cmocka_unit_test(test_set_contradicted),
        cmocka_unit_test(test_noise),         cmocka_unit_test(test_dirs),
        cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
