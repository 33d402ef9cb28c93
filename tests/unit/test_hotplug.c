/*
 * Scripts of network interfaces (restore/xen/hotplug.h): how they are run, and what is said when
 * they fail or never end. They are real programs; the xenstore is that of tests.
 */
#include "tests/fake_xen/store.h"
#include "tests/unit/check.h"

#include "base/array.h"
#include "base/io.h"
#include "restore/xen/hotplug.h"
#include "restore/xen/nic.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STATUS "/local/domain/0/backend/vif/7/1/hotplug-status"
#define REASON "/local/domain/0/backend/vif/7/1/hotplug-error"
#define TIMEOUT_MS 20000u

static struct error err;
static struct xs_handle *xs;
static char script[128], trace[128];

static int begin(void **state)
{
    static const struct fake_store_hooks hooks = {0};
    fake_store_init(&hooks);
    xs = xs_open(0);
    snprintf(script, sizeof script, "%s", scratch_path(&dir, "vif-test"));
    snprintf(trace, sizeof trace, "%s", scratch_path(&dir, "trace"));
    unlink(trace);
    (void)state;
    return 0;
}

static int end(void **state)
{
    xs_close(xs);
    unlink(script);
    unlink(trace);
    (void)state;
    fake_store_dispose();
    return 0;
}

static struct hotplug with(const char *body)
{
    char text[600];
    int n = snprintf(text, sizeof text, "#!/bin/sh\n%s\n", body);
    scratch_write(&dir, "vif-test", text, (size_t)n);
    assert_int_equal(chmod(script, 0755), 0);
    return (struct hotplug){script, 7, 1};
}

static void assert_traced(const char *text)
{
    char *got;
    size_t len;
    struct error e;
    if (read_file(trace, 4096, &got, &len, &e))
        fail_msg("%s", e.text);
    assert_string_equal(got, text);
    free(got);
}

/* As libxl does: libxl__get_hotplug_script_info in libxl_linux.c. */
static void as_xl_runs_them(void **state)
{
    char body[400];
    (void)state;
    snprintf(
        body, sizeof body,
        "echo $1 $2 $# $vif $script $XENBUS_TYPE $XENBUS_PATH $XENBUS_BASE_PATH ${HOME-none} >>%s",
        trace);
    const struct hotplug h = with(body);
    fake_store_put(STATUS, "connected");
    if (hotplug_online(xs, &h, TIMEOUT_MS, &err) || hotplug_offline(&h, TIMEOUT_MS, &err))
        fail_msg("%s", err.text);
    char expected[900], line[400];
    snprintf(line, sizeof line, "type_if=vif 2 vif7.1 %s vif backend/vif/7/1 backend none\n",
             script);
    snprintf(expected, sizeof expected,
             "online %s"
             "offline %s",
             line, line);
    assert_traced(expected);
    fake_store_remove("/local/domain/0/backend/vif/7");
}

static void failures(void **state)
{
    static const struct {
        const char *body, *status, *reason;
        int code;
        const char *says;
    } cases[] = {
        {"exit 0", "", NULL, -EIO, "no hotplug-status"},
        {"exit 0", "error", "bridge br7 not found", -EIO, "did not make its port: bridge br7"},
        {"exit 1", "error", "it is Tuesday", -EIO, "it is Tuesday"},
        {"exit 3", "connected", NULL, -EIO, "ended with status 3"},
        {"kill -9 $$", "connected", NULL, -EIO, "ended with signal 9"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct hotplug h = with(cases[i].body);
        fake_store_put(STATUS, "%s", cases[i].status);
        if (cases[i].reason)
            fake_store_put(REASON, "%s", cases[i].reason);
        assert_int_equal(hotplug_online(xs, &h, TIMEOUT_MS, &err), cases[i].code);
        assert_says(err.text, cases[i].says);
        assert_says(err.text, "vif 1: ");
        fake_store_remove("/local/domain/0/backend/vif/7");
    }
    const struct hotplug none = {"/none/vif-none", 7, 1};
    int rc = hotplug_online(xs, &none, TIMEOUT_MS, &err);
    assert_true(rc == -ENOENT || rc == -EIO); /* valgrind: only the child's status 127 tells */
    assert_says(err.text, "/none/vif-none");
}

/* Whatever the script has started goes with it. */
static void never_ends(void **state)
{
    char body[200];
    (void)state;
    snprintf(body, sizeof body, "sleep 600 & echo $! >%s; sleep 600", trace);
    const struct hotplug h = with(body);
    fake_store_put(STATUS, "connected");
    assert_int_equal(hotplug_online(xs, &h, 500, &err), -ETIMEDOUT);
    assert_says(err.text, "was killed");
    fake_store_remove("/local/domain/0/backend/vif/7");
    char *text;
    size_t len;
    if (read_file(trace, 64, &text, &len, &err))
        return; /* it had not come so far */
    pid_t child = (pid_t)atoi(text);
    free(text);
    for (int i = 0; i < 200 && child > 0 && !kill(child, 0); i++) {
        struct timespec moment = {.tv_nsec = 10000000};
        nanosleep(&moment, NULL);
    }
    assert_true(child <= 0 || kill(child, 0));
}

/* What a script has made it takes away; what none has made costs no process. */
static void at_the_end(void **state)
{
    char body[200];
    (void)state;
    snprintf(body, sizeof body, "echo $1 $vif >>%s", trace);
    with(body);
    fake_store_put("/libxl/7/device/vif/0/script", NIC_NO_SCRIPT);
    fake_store_put("/libxl/7/device/vif/1/script", "%s", script);
    fake_store_put("/libxl/7/device/vif/2/script", "%s", script);
    fake_store_put("/libxl/7/device/vif/3/script", "vif-bridge"); /* xl writes whole paths */
    nics_end(xs, 7);
    nics_end(xs, 8);
    assert_traced("offline vif7.1\noffline vif7.2\n");
    fake_store_remove("/libxl/7");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_xl_runs_them),
        TEST(failures),
        TEST(never_ends),
        TEST(at_the_end),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
