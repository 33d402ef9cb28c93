/*
 * host_destroy (restore/xen/host.h) on the Xen host of tests: whatever a domain is doing, and
 * whatever its back ends do, nothing of it is left, and nothing of others is touched. When a call
 * fails, the answer says so or it did not matter; the next try finishes what the first has begun.
 */
#include "tests/unit/slots.h"

#include "restore/xen/domid.h"
#include "restore/xen/host.h"
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "base/log.h"
#include "base/uuid.h"
#include "tests/fake_xen/backend.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/domains.h"

#include <xen/sched.h>

#define TIMEOUT_MS 10000u
#define NAMED 20000u
#define OTHER 40u /* a domid of somebody else */

static struct host *host;
static struct uuid uuid;

static int begin(void **state)
{
    on_machine_begin(state);
    uuid_parse(SLOT_UUID, &uuid);
    return host_open(&host, &err);
}

static int end(void **state)
{
    host_close(host);
    host = NULL;
    return on_machine_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

/* Handles of the host are no part of what a domain leaves. */
static void nothing_is_left(const char *what)
{
    host_close(host);
    host = NULL;
    assert_nothing_left("%s", what);
    assert_int_equal(host_open(&host, &err), 0);
}

static void destroyed(uint32_t domid, const char *what)
{
    err = (struct error){0};
    if (host_destroy(host, domid, &uuid, TIMEOUT_MS, &err))
        fail_msg("%s: %s", what, err.text);
    nothing_is_left(what);
}

/* ---- what a domain may be doing ---- */

static void runs(uint32_t domid)
{
    for (const uint32_t *id = (const uint32_t[]){51712, 51728, 51744, 51760, 0}; *id; id++)
        fake_backend_connect(domid, *id);
}

static void has_shut_down(uint32_t domid)
{
    fake_domain_shutdown(domid, SHUTDOWN_poweroff);
}

static void is_dying(uint32_t domid)
{
    assert_int_equal(xc_domain_destroy(NULL, domid), 0);
}

static void has_one_more_disk(uint32_t domid)
{
    slot_attach_loop(domid);
}

static const struct {
    const char *name;
    void (*make)(uint32_t domid);
} doings[] = {
    {"runs", runs},
    {"has shut down", has_shut_down},
    {"is dying", is_dying},
    {"is gone", fake_domain_end},
    {"has one more disk", has_one_more_disk},
};

static void whatever_it_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(doings); i++) {
        uint32_t domid = slot_start("direct", &pv_images);
        doings[i].make(domid);
        destroyed(domid, doings[i].name);
        destroyed(domid, "once more");
    }
    destroyed(slot_start("guest", &pv_images), "engine guest");
    destroyed(slot_start("direct", &pvh_images), "PVH");
}

/* A domain that is there, and nothing else: its helper was killed early. */
static void bare(void **state)
{
    (void)state;
    fake_domain_add(9, &uuid);
    destroyed(9, "bare");
}

/* Nor is that there: its helper was killed before. */
static void only_named(void **state)
{
    (void)state;
    struct xen x;
    assert_int_equal(xen_open(&x, &err), 0);
    assert_int_equal(domid_claim(&x, NAMED, TAG, SLOT_NAME, &err), 0);
    xen_close(&x);
    destroyed(NAMED, "only named");
}

static void whatever_back_ends_do(void **state)
{
    (void)state;
    const struct {
        enum fake_backend_kind kind;
        bool waits;
    } kinds[] = {{BACKEND_SLOW, true}, {BACKEND_STUCK, true}, {BACKEND_VANISHES, false}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        fake_backend_set(kinds[i].kind);
        uint32_t domid = slot_start("direct", &pv_images);
        uint64_t began = fake_clock_us();
        destroyed(domid, "back ends");
        uint64_t took = fake_clock_us() - began;
        assert_true(kinds[i].waits ? took > 400000 && took < 4000000 : took < 200000);
        fake_backend_set(BACKEND_GOOD);
    }
}

/* Something maps its memory. */
static void does_not_go(void **state)
{
    (void)state;
    uint32_t domid = slot_start("direct", &pv_images);
    fake_domain_find(domid)->held = true;
    assert_int_equal(host_destroy(host, domid, &uuid, 1000, &err), -ETIMEDOUT);
    assert_says(err.text, "is destroyed but not gone after 1000 ms: something still maps its");
    fake_domain_find(domid)->held = false;
    destroyed(domid, "held no more");
}

/* ---- domids are used again ---- */

static void others_make(uint32_t domid)
{
    char path[64];
    fake_domain_add(domid, NULL);
    snprintf(path, sizeof path, "/local/domain/%u/name", domid);
    fake_store_put(path, "theirs");
}

static void others_end(uint32_t domid)
{
    char path[64];
    const struct fake_domain *d = fake_domain_find(domid);
    assert_true(d && !d->dying && !d->pauses);
    snprintf(path, sizeof path, "/local/domain/%u/name", domid);
    assert_node(path, "theirs");
    fake_domain_end(domid);
    *strrchr(path, '/') = '\0';
    fake_store_remove(path);
}

static void belongs_to_others(void **state)
{
    (void)state;
    others_make(OTHER);
    assert_int_equal(host_destroy(host, OTHER, &uuid, TIMEOUT_MS, &err), 0);
    others_end(OTHER);
    nothing_is_left("others");
}

/* xl save and xl restore: the same domain under another domid, the old one somebody else's. */
static void has_moved(void **state)
{
    (void)state;
    uint32_t domid = slot_start("direct", &pv_images);
    others_make(OTHER);
    assert_int_equal(host_destroy(host, OTHER, &uuid, TIMEOUT_MS, &err), 0);
    assert_null(fake_domain_find(domid));
    others_end(OTHER);
    nothing_is_left("moved");
    domid = slot_start("direct", &pv_images);
    fake_store_put("/local/domain/40/name", "left behind");
    destroyed(OTHER, "moved, its nodes left behind");
    assert_null(fake_domain_find(domid));
}

/* The save's source is dying still when the restored one runs. */
static void lives_twice(void **state)
{
    (void)state;
    uint32_t domid = slot_start("direct", &pv_images);
    fake_domain_add(3, &uuid);
    fake_domain_find(3)->held = true;
    is_dying(3);
    assert_int_equal(host_destroy(host, domid, &uuid, TIMEOUT_MS, &err), 0);
    assert_null(fake_domain_find(domid));
    fake_domain_find(3)->held = false;
    destroyed(3, "twice");
}

/* ---- each call fails once ---- */

static void each_call_fails(enum fault_kind kind, uint32_t (*make)(void), unsigned at_least)
{
    unsigned n = 0;
    for (bool came = true; came; n++) {
        uint32_t domid = make();
        err = (struct error){0};
        fault_plan(kind, n, fault_errno(kind));
        int rc = host_destroy(host, domid, &uuid, TIMEOUT_MS, &err);
        came = fault_end();
        char *what = fake_format("%s call %u (%s), %d", fault_kind_name(kind), n, fault_call(), rc);
        if (rc)
            assert_explained(rc, &err, n);
        else
            nothing_is_left(what);
        assert_true(came || !rc);
        destroyed(domid, what);
        free(what);
    }
    assert_true(n > at_least);
}

static uint32_t running(void)
{
    uint32_t domid = slot_start("direct", &pv_images);
    slot_attach_loop(domid);
    return domid;
}

static uint32_t gone(void)
{
    uint32_t domid = slot_start("direct", &pv_images);
    fake_domain_end(domid);
    return domid;
}

static void hypervisor_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_HYPERVISOR, running, 5);
    each_call_fails(FAULT_HYPERVISOR, gone, 1);
}

static void xenstored_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_STORE, running, 20);
    each_call_fails(FAULT_STORE, gone, 5);
}

static void kernel_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_KERNEL, running, 20);
    each_call_fails(FAULT_KERNEL, gone, 5);
}

static void memory_fails(void **state)
{
    (void)state;
    each_call_fails(FAULT_MEMORY, running, 10);
    each_call_fails(FAULT_MEMORY, gone, 5);
}

/* ---- bad moments ---- */

static uint32_t victim;

static void domain_ends(void)
{
    fake_domain_end(victim);
}

static void others_destroy_it(void **state)
{
    (void)state;
    const enum fault_kind kinds[] = {FAULT_HYPERVISOR, FAULT_STORE, FAULT_KERNEL};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        bool came = true;
        for (unsigned n = 0; came; n++) {
            victim = running();
            fault_moment(kinds[i], n, domain_ends);
            if (host_destroy(host, victim, &uuid, TIMEOUT_MS, &err))
                fail_msg("call %u (%s): %s", n, fault_call(), err.text);
            came = fault_end();
            nothing_is_left("destroyed by two");
        }
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
        uint32_t domid = running();
        err = (struct error){0};
        fault_moment(FAULT_STORE, n, xenstored_ends);
        int rc = host_destroy(host, domid, &uuid, TIMEOUT_MS, &err);
        came = fault_end();
        assert_int_equal(rc != 0, came);
        if (rc)
            assert_explained(rc, &err, n);
        fake_store_hang_up(false);
        destroyed(domid, "xenstored is back");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_it_does),  TEST(bare),
        TEST(only_named),        TEST(whatever_back_ends_do),
        TEST(does_not_go),       TEST(belongs_to_others),
        TEST(has_moved),         TEST(lives_twice),
        TEST(hypervisor_fails),  TEST(xenstored_fails),
        TEST(kernel_fails),      TEST(memory_fails),
        TEST(others_destroy_it), TEST(xenstored_dies),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, slots_setup, dir_teardown);
}
