/*
 * Xenstore nodes (restore/xen/nodes.h, restore/xen/domain_nodes.h, and those of disks) over the
 * xenstored of tests: a set of nodes is written whole or not at all, whoever writes beside it and
 * whatever fails, and what a domain has is what libxl would have written for it.
 */
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "restore/xen/disk.h"
#include "restore/xen/domain_nodes.h"
#include "restore/xen/nodes.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/domains.h"

#include <xenguest.h>

#define DOMID 7u
#define TRIES 200u /* restore/xen/nodes.c */
#define UUID "6d9bb2e8-4a51-4c8a-9c1f-0d0a7c0f2b11"

static struct xen xen;

/* ---- each test has a store ---- */

static int begin(void **state)
{
    (void)state;
    machine_begin();
    return xen_open(&xen, &err);
}

static int end(void **state)
{
    xen_close(&xen);
    return on_machine_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

/* Nothing is open in xenstored. */
static void assert_settled(void)
{
    assert_int_equal(fake_store_held().transactions, 0);
}

static char *store_text(void)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fake_store_print("/", out);
    fclose(out);
    return text;
}

/* ---- the xenstored itself ---- */

static bool put(xs_transaction_t t, const char *path, const char *value)
{
    return xs_write(xen.xs, t, path, value, (unsigned)strlen(value));
}

static void transactions_are_apart(void **state)
{
    (void)state;
    unsigned n;
    assert_true(put(XBT_NULL, "/a", "1"));
    xs_transaction_t t = xs_transaction_start(xen.xs);
    assert_true(put(t, "/a/b", "2"));
    assert_node("/a/b", NULL);
    char *seen = xs_read(xen.xs, t, "/a/b", &n);
    assert_string_equal(seen, "2");
    free(seen);
    assert_true(xs_transaction_end(xen.xs, t, true));
    assert_node("/a/b", NULL);
    assert_false(xs_transaction_end(xen.xs, t, false));
    assert_int_equal(errno, ENOENT);
}

/* Who has looked at what somebody changes has to begin again; who has not need not. */
static void transactions_conflict(void **state)
{
    (void)state;
    const struct {
        const char *other;
        bool conflicts;
    } cases[] = {{"/a", true}, {"/a/c", true}, {"/a/b/c", true}, {"/d", false}, {"/a/d/e", false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fake_store_put("/a/d", "1");
        xs_transaction_t t = xs_transaction_start(xen.xs);
        assert_true(put(t, "/a/b", "2")); /* makes it, so it looks at /a */
        fake_store_put(cases[i].other, "3");
        assert_int_equal(xs_transaction_end(xen.xs, t, false), !cases[i].conflicts);
        assert_true(!cases[i].conflicts || errno == EAGAIN);
        assert_int_equal(fake_store_get("/a/b") && !strcmp(fake_store_get("/a/b"), "2"),
                         !cases[i].conflicts);
        fake_store_remove("/a");
        fake_store_remove("/d");
    }
}

static bool event_is(const char *path, const char *token)
{
    char **event = xs_check_watch(xen.xs);
    bool same =
        event && !strcmp(event[XS_WATCH_PATH], path) && !strcmp(event[XS_WATCH_TOKEN], token);
    free(event);
    return same;
}

static void watches_fire(void **state)
{
    (void)state;
    assert_true(xs_watch(xen.xs, "/a/b", "token"));
    assert_true(event_is("/a/b", "token"));
    assert_null(xs_check_watch(xen.xs));
    assert_int_equal(errno, EAGAIN);
    fake_store_put("/a/bc", "1"); /* another node */
    fake_store_put("/a/b/c", "1");
    fake_store_put("/a", "1");
    assert_true(event_is("/a/b/c", "token"));
    fake_store_remove("/a");
    assert_true(event_is("/a/b", "token"));
    assert_null(xs_check_watch(xen.xs));
    xs_transaction_t t = xs_transaction_start(xen.xs);
    assert_true(put(t, "/a/b", "2"));
    assert_null(xs_check_watch(xen.xs)); /* not yet */
    assert_true(xs_transaction_end(xen.xs, t, false));
    assert_true(event_is("/a/b", "token"));
    assert_true(xs_unwatch(xen.xs, "/a/b", "token"));
    fake_store_put("/a/b", "3");
    assert_null(xs_check_watch(xen.xs));
}

static void wrong_names(void **state)
{
    (void)state;
    const char *const wrong[] = {"a", "/a/", "//a", "/a b", "/a%"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_false(put(XBT_NULL, wrong[i], ""));
        assert_int_equal(errno, EINVAL);
    }
}

/* ---- a set of nodes ---- */

/* Two old nodes go, a device with its back end comes, one node that others write is changed. */
static void tree_fill(struct nodes *t)
{
    nodes_init(t);
    nodes_remove(t, "/old/%u", DOMID);
    nodes_remove(t, "/missing/%u", DOMID);
    nodes_base(t, "/front/%u", DOMID);
    nodes_dir(t, "", NODE_GUEST_OWNS_SHARED);
    nodes_put(t, "backend", "/back/%u", DOMID);
    nodes_dir(t, "empty", NODE_GUEST_OWNS);
    nodes_base(t, "/back/%u", DOMID);
    nodes_dir(t, "", NODE_GUEST_READS);
    nodes_put(t, "frontend", "/front/%u", DOMID);
    nodes_put(t, "secret/key", "%s", "k");
    nodes_dir(t, "secret", NODE_DOM0);
    nodes_base(t, "/theirs");
    nodes_change(t, "state", "5", "6");
}

static int tree_write(void)
{
    struct nodes t;
    tree_fill(&t);
    int rc = nodes_write(&t, xen.xs, DOMID, &err);
    nodes_dispose(&t);
    assert_settled();
    return rc;
}

static void tree_before(void)
{
    fake_store_put("/old/7/below", "x");
    fake_store_put("/theirs/state", "4");
}

static void tree_is_written(void)
{
    assert_node("/old", "");
    assert_node("/old/7", NULL);
    assert_node("/front/7/backend", "/back/7");
    assert_string_equal(fake_store_access("/front/7/backend"), "n7,r0");
    assert_node("/front/7/empty", "");
    assert_string_equal(fake_store_access("/front/7/empty"), "n7");
    assert_node("/back/7/frontend", "/front/7");
    assert_string_equal(fake_store_access("/back/7/frontend"), "n0,r7");
    assert_string_equal(fake_store_access("/back/7/secret"), "n0");
    assert_node("/theirs/state", "5");
}

static void written(void **state)
{
    (void)state;
    tree_before();
    assert_int_equal(tree_write(), 0);
    tree_is_written();
    assert_string_equal(fake_store_access("/back/7/secret/key"), "n0,r7"); /* it was there first */
    assert_int_equal(tree_write(), 0);                                     /* over what is there */
    tree_is_written();
}

/* A node that others write is left alone where it is missing, or has the value already. */
static void changed_with_care(void **state)
{
    (void)state;
    struct nodes t;
    fake_store_put("/x/closed", "6");
    fake_store_put("/x/open", "4");
    nodes_init(&t);
    nodes_base(&t, "/x");
    nodes_change(&t, "missing", "5", "6");
    nodes_change(&t, "missing", "5", NULL);
    nodes_change(&t, "closed", "5", "6");
    nodes_change(&t, "open", "5", "6");
    assert_int_equal(nodes_write(&t, xen.xs, DOMID, &err), 0);
    nodes_dispose(&t);
    assert_node("/x/missing", NULL);
    assert_node("/x/closed", "6");
    assert_node("/x/open", "5");
}

static void conflicts(void **state)
{
    (void)state;
    for (unsigned n = 0; n < TRIES; n += n ? n : 1) {
        fake_store_conflict(n);
        tree_before();
        assert_int_equal(tree_write(), 0);
        tree_is_written();
        fake_store_remove("/front");
    }
    tree_before();
    char *before = store_text();
    fake_store_conflict(TRIES);
    uint64_t began = fake_clock_us();
    assert_int_equal(tree_write(), -EAGAIN);
    assert_says(err.text, "commit a xenstore transaction");
    assert_true(fake_clock_us() - began < 10000000); /* it gives up within seconds */
    char *after = store_text();
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void somebody_writes(void)
{
    fake_store_put("/front/8/state", "1");
    fake_store_put("/theirs/state", "4");
}

/* Another creator at every moment: both have what they wrote. */
static void beside_others(void **state)
{
    (void)state;
    unsigned n = 0;
    bool came;
    do {
        tree_before();
        fault_moment(FAULT_STORE, n++, somebody_writes);
        assert_int_equal(tree_write(), 0);
        came = fault_end();
        assert_node("/front/8/state", came ? "1" : NULL);
        if (fake_store_get("/theirs/state")[0] == '5') /* else it was written after the commit */
            tree_is_written();
        fake_store_remove("/front");
        fake_store_remove("/back");
    } while (came);
    assert_true(n > 15);
}

/* Somebody says that he has closed, at every moment: it is never taken back. */
static void somebody_closes(void)
{
    fake_store_put("/theirs/state", "6");
}

static void closed_stays_closed(void **state)
{
    (void)state;
    bool came = true;
    for (unsigned n = 0; came; n++) {
        tree_before();
        fault_moment(FAULT_STORE, n, somebody_closes);
        assert_int_equal(tree_write(), 0);
        came = fault_end();
        assert_node("/theirs/state", came ? "6" : "5");
    }
}

/* Each call of xenstored's or of malloc's fails once: nothing has happened then, and it says why.
 */
static void each_fails(enum fault_kind kind, unsigned at_least)
{
    unsigned n = 0;
    for (bool came = true; came; n++) {
        tree_before();
        char *before = store_text();
        err = (struct error){0};
        fault_plan(kind, n, kind == FAULT_MEMORY ? ENOMEM : EIO);
        int rc = tree_write();
        came = fault_end();
        if (came != (rc != 0) || (rc && !err.text[0]))
            fail_msg("%s call %u (%s): %d %s", fault_kind_name(kind), n, fault_call(), rc,
                     err.text);
        char *after = store_text();
        if (rc)
            assert_string_equal(before, after);
        free(before);
        free(after);
    }
    assert_true(n > at_least);
}

static void xenstored_fails(void **state)
{
    (void)state;
    each_fails(FAULT_STORE, 15);
}

static void memory_fails(void **state)
{
    (void)state;
    each_fails(FAULT_MEMORY, 15);
}

static void xenstored_dies(void **state)
{
    (void)state;
    struct error e = {0};
    fake_store_hang_up(true);
    assert_int_equal(tree_write(), -EPIPE);
    assert_int_equal(node_put(xen.xs, "x", &e, "/a"), -EPIPE);
    assert_says(e.text, "write xenstore node /a");
    assert_null(node_get(xen.xs, "/a"));
    assert_int_equal(errno, EPIPE);
}

static void too_long(void **state)
{
    (void)state;
    char name[600];
    struct nodes t;
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    nodes_init(&t);
    nodes_base(&t, "/%s", name);
    nodes_put(&t, "x", "1");
    assert_int_equal(nodes_write(&t, xen.xs, DOMID, &err), -ENAMETOOLONG);
    nodes_dispose(&t);
    assert_int_equal(node_put(xen.xs, "x", &err, "/%s", name), -ENAMETOOLONG);
    assert_null(node_get(xen.xs, "/%s", name));
    assert_int_equal(errno, ENAMETOOLONG);
}

/* ---- what a domain has ---- */

struct expected_node {
    const char *path, *value, *access;
};

static void assert_nodes(const struct expected_node *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_node(nodes[i].path, nodes[i].value);
        if (strcmp(fake_store_access(nodes[i].path), nodes[i].access) != 0)
            fail_msg("%s: access %s, not %s", nodes[i].path, fake_store_access(nodes[i].path),
                     nodes[i].access);
    }
}

static unsigned n_nodes;

static void count_node(const char *path, const char *value, void *data)
{
    (void)path, (void)value, (void)data;
    n_nodes++;
}

/* All that libxl 4.17 writes for a PV domain of two vCPUs, one of them offline, and no device but
 * its console (libxl__domain_make, libxl__build_post, libxl__device_console_add); without the
 * rings, which come later, and but for what only devices of its own need. */
static const struct expected_node pv_nodes[] = {
    {"/local/domain/7", "", "n0,r7"},
    {"/local/domain/7/attr", "", "n7"},
    {"/local/domain/7/console", "", "n0,r7"},
    {"/local/domain/7/console/backend", "/local/domain/0/backend/console/7/0", "n0,r7"},
    {"/local/domain/7/console/backend-id", "0", "n0,r7"},
    {"/local/domain/7/console/limit", "1048576", "n0,r7"},
    {"/local/domain/7/console/output", "pty", "n0,r7"},
    {"/local/domain/7/console/port", "4", "n0,r7"},
    {"/local/domain/7/console/tty", "", "n0,r7"},
    {"/local/domain/7/console/type", "xenconsoled", "n0,r7"},
    {"/local/domain/7/control", "", "n0,r7"},
    {"/local/domain/7/control/feature-poweroff", "", "n7"},
    {"/local/domain/7/control/feature-reboot", "", "n7"},
    {"/local/domain/7/control/feature-suspend", "", "n7"},
    {"/local/domain/7/control/platform-feature-multiprocessor-suspend", "1", "n0,r7"},
    {"/local/domain/7/control/platform-feature-xs_reset_watches", "1", "n0,r7"},
    {"/local/domain/7/control/shutdown", "", "n7"},
    {"/local/domain/7/control/sysrq", "", "n7"},
    {"/local/domain/7/cpu", "", "n0,r7"},
    {"/local/domain/7/cpu/0", "", "n0,r7"},
    {"/local/domain/7/cpu/0/availability", "online", "n0,r7"},
    {"/local/domain/7/cpu/1", "", "n0,r7"},
    {"/local/domain/7/cpu/1/availability", "offline", "n0,r7"},
    {"/local/domain/7/data", "", "n7"},
    {"/local/domain/7/device", "", "n0,r7"},
    {"/local/domain/7/device/suspend", "", "n0,r7"},
    {"/local/domain/7/device/suspend/event-channel", "", "n7"},
    {"/local/domain/7/domid", "7", "n0,r7"},
    {"/local/domain/7/drivers", "", "n7"},
    {"/local/domain/7/error", "", "n7"},
    {"/local/domain/7/feature", "", "n7"},
    {"/local/domain/7/memory", "", "n0,r7"},
    {"/local/domain/7/memory/static-max", "8192", "n0,r7"},
    {"/local/domain/7/memory/target", "4096", "n0,r7"},
    {"/local/domain/7/memory/videoram", "0", "n0,r7"},
    {"/local/domain/7/name", "guest", "n0,r7"},
    {"/local/domain/7/store", "", "n0,r7"},
    {"/local/domain/7/store/port", "3", "n0,r7"},
    {"/local/domain/7/vm", "/vm/" UUID, "n0,r7"},
    {"/local/domain/0/backend/console/7/0", "", "n0,r7"},
    {"/local/domain/0/backend/console/7/0/frontend", "/local/domain/7/console", "n0,r7"},
    {"/local/domain/0/backend/console/7/0/frontend-id", "7", "n0,r7"},
    {"/local/domain/0/backend/console/7/0/online", "1", "n0,r7"},
    {"/local/domain/0/backend/console/7/0/protocol", "vt100", "n0,r7"},
    {"/local/domain/0/backend/console/7/0/state", "1", "n0,r7"},
    {"/libxl/7", "", "n0"},
    {"/libxl/7/device", "", "n0"},
    {"/libxl/7/device/console", "", "n0"},
    {"/libxl/7/device/console/0", "", "n0"},
    {"/libxl/7/device/console/0/backend", "/local/domain/0/backend/console/7/0", "n0"},
    {"/libxl/7/device/console/0/frontend", "/local/domain/7/console", "n0"},
    {"/libxl/7/device/console/0/frontend-id", "7", "n0"},
    {"/libxl/7/device/console/0/online", "1", "n0"},
    {"/libxl/7/device/console/0/protocol", "vt100", "n0"},
    {"/libxl/7/device/console/0/state", "1", "n0"},
    {"/libxl/7/dompool", "", "n0"},
    {"/libxl/7/dompool/tag", "tag", "n0"},
    {"/libxl/7/type", "pv", "n0"},
    {"/vm/" UUID, "", "n0,r7"},
    {"/vm/" UUID "/image", "", "n0,r7"},
    {"/vm/" UUID "/image/ostype", "linux", "n0,r7"},
    {"/vm/" UUID "/name", "guest", "n0,r7"},
    {"/vm/" UUID "/uuid", UUID, "n0,r7"},
};

/* Of a writable disk xvdb, devid 51728, in front of device 253:10, that takes no discards. */
static const struct expected_node disk_nodes_of_pv[] = {
    {"/local/domain/7/device/vbd/51728", "", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/backend", "/local/domain/0/backend/vbd/7/51728", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/backend-id", "0", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/device-type", "disk", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/protocol", "x86_64-abi", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/state", "1", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/trusted", "1", "n7,r0"},
    {"/local/domain/7/device/vbd/51728/virtual-device", "51728", "n7,r0"},
    {"/local/domain/0/backend/vbd/7/51728", "", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/bootable", "1", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/dev", "xvdb", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/device-type", "disk", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/discard-enable", "0", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/frontend", "/local/domain/7/device/vbd/51728", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/frontend-id", "7", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/hotplug-status", "connected", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/mode", "w", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/online", "1", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/params", "/dev/mapper/x", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/physical-device", "fd:a", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/physical-device-path", "/dev/mapper/x", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/removable", "0", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/script", "/bin/true", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/specification", "xen", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/state", "1", "n0,r7"},
    {"/local/domain/0/backend/vbd/7/51728/type", "phy", "n0,r7"},
    {"/libxl/7/device/vbd/51728/backend", "/local/domain/0/backend/vbd/7/51728", "n0"},
    {"/libxl/7/device/vbd/51728/frontend", "/local/domain/7/device/vbd/51728", "n0"},
    {"/libxl/7/device/vbd/51728/dev", "xvdb", "n0"},
    {"/libxl/7/device/vbd/51728/params", "/dev/mapper/x", "n0"},
    {"/libxl/7/device/vbd/51728/physical-device", "fd:a", "n0"},
    {"/libxl/7/device/vbd/51728/script", "/bin/true", "n0"},
};

static struct domain_identity domain_tree(void)
{
    return (struct domain_identity){.domid = DOMID,
                                    .uuid = UUID,
                                    .name = "guest",
                                    .tag = "tag",
                                    .store_port = 3,
                                    .console_port = 4};
}

static void domain_write(const struct domain_identity *d, enum image_guest guest,
                         const struct disk *disk)
{
    struct domconf c;
    struct nodes t;
    domconf_init(&c);
    c.guest = guest;
    c.max_vcpus = 2;
    c.online[0] = 1;
    c.max_mem_kib = 8192;
    c.target_mem_kib = 4096;
    nodes_init(&t);
    domain_nodes_add(d, &c, &t);
    if (disk)
        disk_nodes(disk, DOMID, guest, &t);
    assert_int_equal(nodes_write(&t, xen.xs, DOMID, &err), 0);
    nodes_dispose(&t);
    domconf_dispose(&c);
}

static void as_libxl_writes(void **state)
{
    (void)state;
    struct domain_identity d = domain_tree();
    domain_write(&d, IMAGE_GUEST_PV, NULL);
    assert_nodes(pv_nodes, ARRAY_SIZE(pv_nodes));
    assert_non_null(strchr(fake_store_get("/vm/" UUID "/start_time"), '.'));
    n_nodes = 0;
    fake_store_walk("/local/domain/7", count_node, NULL);
    fake_store_walk("/local/domain/0/backend/console/7/0", count_node, NULL);
    fake_store_walk("/libxl/7", count_node, NULL);
    fake_store_walk("/vm/" UUID, count_node, NULL);
    assert_int_equal(n_nodes, ARRAY_SIZE(pv_nodes) + 1); /* start_time, and no more */
}

static void of_a_pvh_domain_that_waits(void **state)
{
    (void)state;
    struct domain_identity d = domain_tree();
    d.waits = true;
    domain_write(&d, IMAGE_GUEST_PVH, NULL);
    assert_node("/libxl/7/type", "pvh");
    assert_node("/vm/" UUID "/image", NULL);
    assert_node("/local/domain/7/console/type", "dompool"); /* xenconsoled leaves it alone */
    assert_int_equal(domain_console_waits(&xen, DOMID, &err), 1);
    assert_int_equal(domain_rename(&xen, DOMID, "lease", &err), 0);
    assert_int_equal(domain_serve_console(&xen, DOMID, &err), 0);
    assert_int_equal(domain_console_waits(&xen, DOMID, &err), 0);
    assert_node("/local/domain/7/name", "lease");
    assert_node("/local/domain/7/console/type", "xenconsoled");
}

static void of_disks(void **state)
{
    (void)state;
    struct disk_conf conf = {.vdev = "xvdb", .devid = 51728, .kind = DISK_COW};
    struct disk disk = {.conf = &conf, .dev = makedev(253, 10), .path = "/dev/mapper/x"};
    struct domain_identity d = domain_tree();
    disk.writable = true;
    domain_write(&d, IMAGE_GUEST_PV, &disk);
    assert_nodes(disk_nodes_of_pv, ARRAY_SIZE(disk_nodes_of_pv));
    disk.discards = true;
    domain_write(&d, IMAGE_GUEST_PVH, &disk);
    assert_node("/local/domain/0/backend/vbd/7/51728/discard-enable", "1");
    disk.writable = false; /* what is not written takes no discards */
    domain_write(&d, IMAGE_GUEST_PVH, &disk);
    assert_node("/local/domain/0/backend/vbd/7/51728/discard-enable", "0");
    assert_node("/local/domain/0/backend/vbd/7/51728/mode", "r");
}

/* xenconsoled opens its log when it sees the ring, and calls it by the name that is there then. */
static void introduced_in_order(void **state)
{
    (void)state;
    const char *const order[] = {"/local/domain/7/name", "/local/domain/7/store/ring-ref",
                                 "/local/domain/7/console/ring-ref"};
    struct domain_identity d = domain_tree();
    domain_write(&d, IMAGE_GUEST_PV, NULL);
    d.name = "lease";
    assert_int_equal(domain_introduce(&xen, &d, 20, 21, &err), -EINVAL); /* there is no domain */
    assert_says(err.text, "domain 7: introduce it to xenstore");
    fake_domain_add(DOMID, NULL)->ports[0] = d.store_port;
    fake_domain_find(DOMID)->n_ports = 1;
    assert_int_equal(xc_dom_gnttab_seed(xen.xch, DOMID, false, 21, 20, 0, 0), 0);
    assert_true(xs_watch(xen.xs, "/local/domain/7", "7") && event_is("/local/domain/7", "7"));
    assert_true(xs_watch(xen.xs, "@introduceDomain", "i") && event_is("@introduceDomain", "i"));
    assert_int_equal(domain_introduce(&xen, &d, 20, 21, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        assert_true(event_is(order[i], "7"));
    assert_true(event_is("@introduceDomain", "i"));
    assert_true(fake_store_introduced(DOMID));
    assert_node("/local/domain/7/name", "lease");
    assert_node("/local/domain/7/store/ring-ref", "20");
    assert_node("/local/domain/7/console/ring-ref", "21");
}

/* Devices of every kind, whoever made them; the nodes of others stay. */
static void removed(void **state)
{
    (void)state;
    struct domain_identity d = domain_tree();
    fake_store_put("/local/domain/0/backend/vif/8/0/state", "4");
    domain_write(&d, IMAGE_GUEST_PV, NULL);
    fake_store_put("/local/domain/7/device/vbd/51712/state", "1");
    fake_store_put("/local/domain/0/backend/vbd/7/51712/state", "4");
    fake_store_put("/local/domain/0/backend/vbd/7/51712/online", "1");
    fake_store_put("/local/domain/0/backend/vbd/7/51728/state", "6");
    fake_store_put("/local/domain/0/backend/vif/7/0/state", "4");
    fake_store_put("/local/domain/0/error/backend/vif/7/0/error", "x");
    assert_int_equal(domain_remove_frontends(&xen, DOMID, &err), 0);
    assert_node("/local/domain/7/device", NULL);
    assert_node("/local/domain/0/backend/vbd/7/51712/online", "0");
    assert_node("/local/domain/0/backend/vbd/7/51712/state", "5");
    assert_node("/local/domain/0/backend/vbd/7/51728/state", "6");
    assert_node("/local/domain/0/backend/vbd/7/51728/online", NULL);
    assert_int_equal(domain_remove_nodes(&xen, DOMID, UUID, &err), 0);
    assert_int_equal(domain_remove_nodes(&xen, DOMID, UUID, &err), 0); /* nothing is there */
    xen_close(&xen);
    assert_string_equal(fake_machine_left(),
                        "node /local/domain/0/backend/vif/8 = \"\"\n"
                        "node /local/domain/0/backend/vif/8/0 = \"\"\n"
                        "node /local/domain/0/backend/vif/8/0/state = \"4\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(transactions_are_apart),
        TEST(transactions_conflict),
        TEST(watches_fire),
        TEST(wrong_names),
        TEST(written),
        TEST(changed_with_care),
        TEST(conflicts),
        TEST(beside_others),
        TEST(closed_stays_closed),
        TEST(xenstored_fails),
        TEST(memory_fails),
        TEST(xenstored_dies),
        TEST(too_long),
        TEST(as_libxl_writes),
        TEST(of_a_pvh_domain_that_waits),
        TEST(of_disks),
        TEST(introduced_in_order),
        TEST(removed),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
