/*
 * host_sweep (restore/xen/host.h) on the Xen host of tests: what a daemon with our tag has left of
 * domains that are gone is removed; what belongs to others, to living domains and to those in save
 * files stays. When a call fails, the answer says so or it did not matter; the next sweep finishes.
 */
#include "tests/unit/slots.h"

#include "restore/xen/host.h"
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "base/log.h"
#include "base/uuid.h"
#include "restore/xen/domid.h"
#include "restore/xen/snapshot.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/domains.h"
#include "tests/fake_xen/files.h"
#include "tests/fake_xen/mapper.h"

#define CLAIMED 20000u
#define SAVED_UUID "aaaabbbb-cccc-dddd-eeee-ffff00001111" /* of a domain in a save file */

static struct host *host;
static unsigned removed;

static int begin(void **state)
{
    on_machine_begin(state);
    return host_open(&host, &err);
}

static int end(void **state)
{
    host_close(host);
    host = NULL;
    return on_machine_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

/* Handles of the host are no part of what a domain leaves. Back ends have time to end. */
static void nothing_is_left(const char *what)
{
    fake_clock_pass(1000000);
    host_close(host);
    host = NULL;
    assert_nothing_left("%s", what);
    assert_int_equal(host_open(&host, &err), 0);
}

static void swept(const char *what)
{
    err = (struct error){0};
    if (host_sweep(host, TAG, NULL, 0, &removed, &err))
        fail_msg("%s: %s", what, err.text);
}

/* ---- what a killed daemon leaves ---- */

static bool snapshots_of(const char *text)
{
    struct snapshot_found *list;
    size_t n;
    assert_int_equal(snapshot_list(text, &list, &n, &err), 0);
    free(list);
    return n > 0;
}

/* The domain is gone, and nobody has cleaned up. */
static uint32_t leave(const struct slot_images *im)
{
    uint32_t domid = slot_start("direct", im);
    fake_domain_end(domid);
    return domid;
}

static void leftovers(void **state)
{
    (void)state;
    swept("an empty host");
    assert_int_equal(removed, 0);
    leave(&pv_images);
    swept("PV");
    assert_int_equal(removed, 3); /* two snapshots, one domid's nodes */
    nothing_is_left("PV");
    leave(&pvh_images);
    swept("PVH");
    assert_int_equal(removed, 1);
    nothing_is_left("PVH");
}

static uint32_t half_build(enum fault_kind kind, unsigned n, bool *came)
{
    static struct warm w;
    const struct warm_request r = slot_request("direct", pv_images.base);
    fault_plan(kind, n, EIO);
    (void)slot_build(&w, &r, &err);
    *came = fault_end();
    uint32_t domid = w.target.domid;
    warm_dispose(&w);
    fake_domain_end(domid);
    return domid;
}

/*
 * Helpers that were killed at any moment: what they had built so far, and its domain dies. xl's
 * configuration names no daemon: without nodes it is only found by who knows domid and UUID.
 */
static void half_built(void **state)
{
    (void)state;
    struct uuid uuid;
    uuid_parse(SLOT_UUID, &uuid);
    const enum fault_kind kinds[] = {FAULT_HYPERVISOR, FAULT_STORE, FAULT_KERNEL};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        bool came = true;
        for (unsigned n = 0; came; n++) {
            uint32_t domid = half_build(kinds[i], n, &came);
            swept("half built");
            assert_false(snapshots_of(SLOT_UUID));
            assert_int_equal(host_destroy(host, domid, &uuid, 1000, &err), 0);
            nothing_is_left("half built");
        }
    }
}

/* Killed between the name and the domain. Another's domain may have the domid by now. */
static void claimed(void **state)
{
    (void)state;
    struct xen x;
    assert_int_equal(xen_open(&x, &err), 0);
    for (unsigned used = 0; used < 2; used++) {
        assert_int_equal(domid_claim(&x, CLAIMED, TAG, SLOT_NAME, &err), 0);
        if (used)
            fake_domain_add(CLAIMED, NULL);
        swept("claimed");
        assert_int_equal(removed, !used);
    }
    struct host_domain *list;
    size_t n;
    assert_int_equal(host_list(host, &list, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].tag, ""); /* nobody takes it for ours */
    free(list);
    fake_domain_end(CLAIMED);
    swept("claimed, and theirs");
    xen_close(&x);
    nothing_is_left("claimed");
}

/* ---- what stays ---- */

static void assert_tagged(uint32_t domid)
{
    char path[64];
    snprintf(path, sizeof path, "/libxl/%u/dompool/tag", domid);
    assert_node(path, TAG);
}

static void assert_no_nodes(uint32_t domid)
{
    char path[64];
    snprintf(path, sizeof path, "/libxl/%u", domid);
    assert_node(path, NULL);
}

static void living_ones(void **state)
{
    (void)state;
    uint32_t domid = slot_start("direct", &pv_images);
    swept("one that runs");
    assert_int_equal(removed, 0);
    assert_true(fake_domain_find(domid) && !fake_domain_find(domid)->dying);
    assert_tagged(domid);
    slot_end("one that runs");
    nothing_is_left("one that runs");
}

static void other_tags(void **state)
{
    (void)state;
    uint32_t domid = leave(&pv_images);
    assert_int_equal(host_sweep(host, "other", NULL, 0, &removed, &err), 0);
    assert_int_equal(removed, 0);
    assert_tagged(domid);
    swept("ours");
    assert_int_equal(removed, 3);
    nothing_is_left("ours");
}

/* Domains of xl, whose nodes have no tag, and nodes that are no domain's. */
static void others(void **state)
{
    (void)state;
    const char *const nodes[] = {"/libxl/90/type", "/libxl/0/dompool/tag", "/libxl/x/dompool/tag",
                                 "/libxl/32752/dompool/tag"};
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        fake_store_put(nodes[i], TAG);
    fake_mapper_foreign("vg-root", "LVM-xyz");
    swept("others");
    assert_int_equal(removed, 0);
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        assert_node(nodes[i], TAG);
    assert_says(fake_machine_left(), "vg-root");
}

/* A domain in a file of xl save has its disks until it is restored; its nodes go. */
static void saved_ones(void **state)
{
    (void)state;
    struct uuid keep[2];
    uuid_parse(SAVED_UUID, &keep[0]);
    uuid_parse(SLOT_UUID, &keep[1]);
    uint32_t domid = leave(&pv_images);
    assert_int_equal(host_sweep(host, TAG, keep, 2, &removed, &err), 0);
    assert_int_equal(removed, 1);
    assert_true(snapshots_of(SLOT_UUID));
    assert_no_nodes(domid);
    assert_int_equal(host_sweep(host, TAG, keep, 1, &removed, &err), 0);
    assert_int_equal(removed, 2);
    nothing_is_left("saved no more");
}

/* xl restore has given it a new domid: disks and /vm are the living one's. */
static void moved_ones(void **state)
{
    (void)state;
    struct uuid uuid;
    uuid_parse(SLOT_UUID, &uuid);
    uint32_t domid = leave(&pv_images);
    fake_domain_add(50, &uuid);
    swept("moved");
    assert_int_equal(removed, 1);
    assert_no_nodes(domid);
    assert_node("/vm/" SLOT_UUID, "");
    assert_true(snapshots_of(SLOT_UUID));
    slot_end("moved");
    nothing_is_left("moved");
}

/* ---- consoles ---- */

/* It runs, and its helper was killed before it gave the console away. */
static uint32_t console_waits(void)
{
    char path[64];
    uint32_t domid = slot_start("direct", &pv_images);
    snprintf(path, sizeof path, "/local/domain/%u/console/type", domid);
    fake_store_put(path, "dompool");
    return domid;
}

static void assert_console(uint32_t domid, const char *type)
{
    char path[64];
    snprintf(path, sizeof path, "/local/domain/%u/console/type", domid);
    assert_node(path, type);
}

static void consoles(void **state)
{
    (void)state;
    uint32_t domid = console_waits();
    assert_int_equal(host_sweep(host, "other", NULL, 0, &removed, &err), 0);
    assert_console(domid, "dompool");
    fake_domain_shutdown(domid, 0);
    swept("shut down");
    assert_console(domid, "dompool");
    fake_domain_find(domid)->shutdown = false;
    swept("runs");
    assert_console(domid, "xenconsoled");
    assert_int_equal(removed, 0);
    slot_end("consoles");
    nothing_is_left("consoles");
}

/* ---- each call fails once ---- */

/* A domain that is gone, and another one's nodes; both are to be removed. */
static void two_are_left(void)
{
    leave(&pv_images);
    fake_store_put("/libxl/3/dompool/tag", TAG);
    fake_store_put("/local/domain/3/vm", "/vm/" SAVED_UUID);
    fake_store_put("/vm/" SAVED_UUID "/name", "x");
    fake_file_put("/var/lib/xen/userdata-d.3." SAVED_UUID ".libxl-json", "{}");
}

static void each_call_fails(enum fault_kind kind, unsigned at_least)
{
    unsigned n = 0;
    for (bool came = true; came; n++) {
        two_are_left();
        err = (struct error){0};
        fault_plan(kind, n, fault_errno(kind));
        int rc = host_sweep(host, TAG, NULL, 0, &removed, &err);
        came = fault_end();
        char *what = fake_format("%s call %u (%s), %d", fault_kind_name(kind), n, fault_call(), rc);
        assert_true(came || !rc);
        if (rc) {
            assert_explained(rc, &err, n);
            swept(what);
        }
        nothing_is_left(what);
        free(what);
    }
    assert_true(n > at_least);
}

static void hypervisor_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_HYPERVISOR, 1);
}

static void xenstored_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_STORE, 20);
}

static void kernel_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_KERNEL, 15);
}

static void memory_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_MEMORY, 10);
}

/* Either it is served, or it is said that it may not be. */
static void consoles_fail(void **state)
{
    (void)state;
    const enum fault_kind kinds[] = {FAULT_HYPERVISOR, FAULT_STORE, FAULT_KERNEL, FAULT_MEMORY};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        bool came = true;
        for (unsigned n = 0; came; n++) {
            uint32_t domid = console_waits();
            err = (struct error){0};
            fault_plan(kinds[i], n, fault_errno(kinds[i]));
            int rc = host_sweep(host, TAG, NULL, 0, &removed, &err);
            came = fault_end();
            if (rc) {
                assert_explained(rc, &err, n);
                swept(fault_call());
            }
            assert_console(domid, "xenconsoled");
            slot_end("consoles");
            nothing_is_left("consoles");
        }
    }
}

/* ---- bad moments ---- */

static uint32_t victim;

static void domain_ends(void)
{
    fake_domain_end(victim);
}

/* A domain that ends meanwhile is swept now or the next time; nobody invents it anew. */
static void ends_meanwhile(void **state)
{
    (void)state;
    bool came = true;
    for (unsigned n = 0; came; n++) {
        victim = console_waits();
        fault_moment(FAULT_STORE, n, domain_ends);
        swept("ends meanwhile");
        came = fault_end();
        if (!came)
            domain_ends();
        swept("once more");
        nothing_is_left("ends meanwhile");
    }
}

static void xenstored_ends(void)
{
    fake_store_hang_up(true);
}

static void xenstored_dies(void **state)
{
    (void)state;
    bool came = true;
    for (unsigned n = 0; came; n++) {
        two_are_left();
        err = (struct error){0};
        fault_moment(FAULT_STORE, n, xenstored_ends);
        int rc = host_sweep(host, TAG, NULL, 0, &removed, &err);
        came = fault_end();
        assert_int_equal(rc != 0, came);
        if (rc)
            assert_explained(rc, &err, n);
        fake_store_hang_up(false);
        swept("xenstored is back");
        nothing_is_left("xenstored is back");
    }
}

/* Built for one release of Xen: on another one there is one sentence, and nothing else. */
static void another_hypervisor(void **state)
{
    (void)state;
    struct host *other = NULL;
    for (int by = -1; by <= 1; by += 2) {
        err = (struct error){0};
        fake_hypervisor.version += by;
        assert_int_equal(host_open(&other, &err), ANSWER_XEN_UNAVAILABLE);
        assert_says(err.text, "built for Xen 4.");
        assert_says(err.text, "this host runs Xen 4.");
        assert_null(other);
        fake_hypervisor.version -= by;
    }
    assert_int_equal(host_open(&other, &err), 0);
    host_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_hypervisor), TEST(leftovers),    TEST(half_built),       TEST(claimed),
        TEST(living_ones),        TEST(other_tags),   TEST(others),           TEST(saved_ones),
        TEST(moved_ones),         TEST(consoles),     TEST(hypervisor_fails), TEST(xenstored_fails),
        TEST(kernel_fails),       TEST(memory_fails), TEST(consoles_fail),    TEST(ends_meanwhile),
        TEST(xenstored_dies),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, slots_setup, dir_teardown);
}
