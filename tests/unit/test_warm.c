/*
 * Slots (restore/warm/warm.h) on the Xen host of tests: what a domain is once it is warm, turned
 * and completed, for both kinds of guest and both engines; and what is left once anything has gone
 * wrong on the way, at each call in its turn: a clear answer, and after the daemon's clean-up
 * nothing.
 */
#include "tests/unit/slots.h"

#include "restore/xen/domid.h"
#include "restore/xen/host.h"
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "tests/fake_xen/backend.h"
#include "tests/fake_xen/domains.h"
#include "tests/fake_xen/files.h"

#include <limits.h>
#include <signal.h>

static const struct kind {
    const char *name, *engine;
    const struct slot_images *images;
} kinds[] = {
    {"PV, direct", "direct", &pv_images},
    {"PV, guest", "guest", &pv_images},
    {"PVH, direct", "direct", &pvh_images},
    {"PVH, guest", "guest", &pvh_images},
};

static struct warm slot;

/* ---- a life ---- */

enum step { STEP_BUILT, STEP_TURNED, STEP_COMPLETED, STEP_LEFT };

/* A fault that is planned once the slot is warm: what a build meets is counted without. */
static struct {
    bool planned;
    enum fault_kind kind;
    unsigned n;
} late;

/* How far it came. */
static int live(const struct kind *k, bool turned, enum step *step, struct error *e)
{
    const struct slot_images *im = k->images;
    const struct warm_request r = slot_request(k->engine, im->base);
    struct warm_outcome outcome;
    *step = STEP_BUILT;
    int rc = slot_build(&slot, &r, e);
    if (!rc && late.planned)
        fault_plan(late.kind, late.n, fault_errno(late.kind));
    if (!rc && turned) {
        *step = STEP_TURNED;
        rc = warm_turn(&slot, im->second, e);
    }
    if (!rc) {
        *step = STEP_COMPLETED;
        rc = slot_run(&slot, turned ? im->further : im->delta, LEASE_NAME, false, &outcome, e);
    }
    if (!rc) {
        *step = STEP_LEFT;
        rc = warm_leave(&slot, e);
    }
    return rc;
}

static const char *last_image(const struct kind *k, bool turned)
{
    return turned ? k->images->further : k->images->delta;
}

/* The helper process ends. */
static void helper_ends(void)
{
    warm_dispose(&slot);
    warm_dispose(&slot);
}

/* A test that has failed may have left it. */
static int end(void **state)
{
    helper_ends();
    return on_machine_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, on_machine_begin, end)

static void each_life(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct kind *k = &kinds[i];
        const struct warm_request r = slot_request(k->engine, k->images->base);
        struct warm_outcome outcome;
        if (slot_build(&slot, &r, &err))
            fail_msg("%s: %s", k->name, err.text);
        assert_warm(&slot, k->name);
        if (slot_run(&slot, k->images->delta, LEASE_NAME, i & 1, &outcome, &err))
            fail_msg("%s: %s", k->name, err.text);
        assert_int_equal(warm_leave(&slot, &err), 0);
        assert_true(outcome.delta_pages >= 2);
        assert_completed(&slot, k->images->delta, LEASE_NAME, i & 1, k->name);
        assert_int_equal(fake_hypervisor.nameless, 0); /* when they were made */
        helper_ends();
        slot_clean(k->name);
    }
}

/* The base as it is: no page is written. */
static void without_delta(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct kind *k = &kinds[i];
        const struct warm_request r = slot_request(k->engine, k->images->base);
        struct warm_outcome outcome;
        assert_int_equal(slot_build(&slot, &r, &err), 0);
        assert_int_equal(slot_run(&slot, k->images->base, LEASE_NAME, false, &outcome, &err), 0);
        assert_int_equal(warm_leave(&slot, &err), 0);
        assert_int_equal(outcome.delta_pages, 0);
        assert_completed(&slot, k->images->base, LEASE_NAME, false, k->name);
        helper_ends();
        slot_clean(k->name);
    }
}

static void turned(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct kind *k = &kinds[i];
        enum step step;
        if (live(k, true, &step, &err))
            fail_msg("%s: %s", k->name, err.text);
        assert_completed(&slot, k->images->further, LEASE_NAME, false, k->name);
        helper_ends();
        slot_clean(k->name);
    }
}

/* ---- each call fails once ---- */

static void consoles_served(uint32_t domid, const char *what)
{
    struct host *h;
    unsigned removed;
    char path[64];
    snprintf(path, sizeof path, "/local/domain/%u/console/type", domid);
    assert_int_equal(host_open(&h, &err), 0);
    if (host_sweep(h, TAG, NULL, 0, &removed, &err))
        fail_msg("%s: %s", what, err.text);
    host_close(h);
    assert_int_equal(removed, 0);
    assert_node(path, "xenconsoled");
}

/* A slot whose completion has changed nothing is as warm as it was. */
static void completes_after_all(const struct kind *k, bool by_turn, const char *what)
{
    struct warm_outcome outcome;
    if (slot_run(&slot, last_image(k, by_turn), LEASE_NAME, false, &outcome, &err) ||
        warm_leave(&slot, &err))
        fail_msg("%s: once more: %s", what, err.text);
    assert_completed(&slot, last_image(k, by_turn), LEASE_NAME, false, what);
}

static void after_a_fault(const struct kind *k, bool by_turn, enum step step, int rc,
                          const char *what)
{
    if (!rc)
        assert_completed(&slot, last_image(k, by_turn), LEASE_NAME, false, what);
    if (rc && step == STEP_COMPLETED && slot.target.untouched)
        completes_after_all(k, by_turn, what);
    uint32_t domid = slot.target.domid;
    assert_int_equal(fake_hypervisor.nameless, 0);
    helper_ends();
    if (rc && step == STEP_LEFT) /* the domain runs, and somebody has it */
        consoles_served(domid, what);
    slot_clean(what);
}

/* How many of them failed. */
static unsigned each_call_fails(enum fault_kind kind, const struct kind *k, bool by_turn)
{
    unsigned n = 0;
    for (bool came = true; came; n++) {
        enum step step;
        err = (struct error){0};
        late.planned = by_turn;
        late.kind = kind;
        late.n = n;
        if (!by_turn)
            fault_plan(kind, n, fault_errno(kind));
        int rc = live(k, by_turn, &step, &err);
        late.planned = false;
        came = fault_end();
        char *what =
            fake_format("%s, %s call %u (%s)", k->name, fault_kind_name(kind), n, fault_call());
        if (!came && rc)
            fail_msg("%s: %s", what, err.text);
        if (rc)
            assert_explained(rc, &err, n);
        after_a_fault(k, by_turn, step, rc, what);
        free(what);
    }
    return n;
}

/* In a build with its completion; and in a turn with a completion after it. */
static void each_fails(enum fault_kind kind, unsigned at_least, unsigned in_turn)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        assert_true(each_call_fails(kind, &kinds[i], false) > at_least);
        assert_true(each_call_fails(kind, &kinds[i], true) > in_turn);
    }
}

static void hypervisor_fails(void **state)
{
    (void)state;
    each_fails(FAULT_HYPERVISOR, 20, 3);
}

static void xenstored_fails(void **state)
{
    (void)state;
    each_fails(FAULT_STORE, 50, 2);
}

static void kernel_fails(void **state)
{
    (void)state;
    each_fails(FAULT_KERNEL, 10, 2);
}

static void memory_fails(void **state)
{
    (void)state;
    each_fails(FAULT_MEMORY, 50, 2);
}

static void threads_fail(void **state)
{
    (void)state;
    each_fails(FAULT_THREAD, 1, 0);
}

/* ---- bad moments ---- */

static bool killed;

static void domain_dies(void)
{
    killed = !xc_domain_destroy(NULL, slot.target.domid);
}

static void dies_before(const struct kind *k, enum fault_kind kind, unsigned n, bool *came)
{
    enum step step;
    err = (struct error){0};
    killed = false;
    fault_moment(kind, n, domain_dies);
    int rc = live(k, kind == FAULT_HYPERVISOR, &step, &err);
    *came = fault_end();
    char *what =
        fake_format("%s, dies at %s call %u (%s)", k->name, fault_kind_name(kind), n, fault_call());
    if (killed && kind == FAULT_HYPERVISOR && !rc)
        fail_msg("%s, unnoticed", what);
    if (rc)
        assert_explained(rc, &err, n);
    helper_ends();
    slot_clean(what);
    free(what);
}

/* Somebody destroys the domain under the helper's hands, before each of its calls. */
static void destroyed_by_others(void **state)
{
    (void)state;
    const struct {
        enum fault_kind kind;
        unsigned step;
    } at[] = {{FAULT_HYPERVISOR, 1}, {FAULT_STORE, 7}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        for (size_t j = 0; j < ARRAY_SIZE(at); j++) {
            bool came = true;
            for (unsigned n = 0; came; n += at[j].step)
                dies_before(&kinds[i], at[j].kind, n, &came);
        }
}

static void xenstored_ends(void)
{
    fake_store_hang_up(true);
}

/* xenstored is gone for the rest of the helper's life. */
static void xenstored_dies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        bool came = true;
        for (unsigned n = 0; came; n += 11) {
            enum step step;
            err = (struct error){0};
            fault_moment(FAULT_STORE, n, xenstored_ends);
            int rc = live(&kinds[i], false, &step, &err);
            came = fault_end();
            assert_int_equal(came, rc != 0);
            if (rc)
                assert_explained(rc, &err, n);
            helper_ends();
            fake_store_hang_up(false);
            slot_clean(kinds[i].name);
        }
    }
}

static void conflicts(void **state)
{
    (void)state;
    enum step step;
    fake_store_conflict(20);
    if (live(&kinds[0], false, &step, &err))
        fail_msg("%s", err.text);
    assert_completed(&slot, pv_images.delta, LEASE_NAME, false, "conflicts");
    helper_ends();
    slot_clean("conflicts");
    fake_store_conflict(100000);
    assert_int_equal(live(&kinds[0], false, &step, &err), -EAGAIN);
    assert_int_equal(step, STEP_BUILT);
    assert_says(err.text, "commit a xenstore transaction");
    helper_ends();
    fake_store_conflict(0);
    slot_clean("conflicts without end");
}

/* ---- what a build needs ---- */

static void refused(const struct warm_request *r, int code, const char *says)
{
    err = (struct error){0};
    int rc = slot_build(&slot, r, &err);
    if (rc != code)
        fail_msg("%d instead of %d (\"%s\"): %s", rc, code, says, err.text);
    assert_says(err.text, says);
    helper_ends();
    slot_clean(says);
}

static void backends_that_do_not_come(void **state)
{
    (void)state;
    const struct warm_request r = slot_request("direct", pv_images.base);
    const enum fake_backend_kind bad[] = {BACKEND_ABSENT, BACKEND_NO_DEVICE, BACKEND_COMPLAINS};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        fake_backend_set(bad[i]);
        refused(&r, -ETIMEDOUT, "back end did not get ready");
    }
}

static void pages_go(void)
{
    fake_hypervisor.free_pages = 3;
}

static void no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct warm_request r = slot_request(kinds[i].engine, kinds[i].images->base);
        fake_hypervisor.free_pages = 200;
        refused(&r, ANSWER_NO_HOST_MEMORY, "does not fit: 0 MiB are free");
        fake_hypervisor.scrub_pages = 20000; /* is as good as free */
        r.memory_reserve_kib = 1u << 20;
        refused(&r, ANSWER_NO_HOST_MEMORY, "1024 MiB are to stay free");
        r.memory_reserve_kib = 0;
        fake_hypervisor.scrub_pages = 0;
        fake_hypervisor.free_pages = 20000;
        fault_moment(FAULT_HYPERVISOR, 13, pages_go); /* after it was asked whether there are any */
        err = (struct error){0};
        assert_true(slot_build(&slot, &r, &err) != 0);
        assert_true(fault_end());
        assert_true(err.text[0]);
        helper_ends();
        slot_clean("no memory");
    }
}

static void out_of_domains(void **state)
{
    (void)state;
    const struct warm_request r = slot_request("direct", pv_images.base);
    int rc = 0;
    for (unsigned n = 0; strcmp(fault_call(), "xc_domain_create") != 0; n++) {
        assert_true(n < 20);
        fault_plan(FAULT_HYPERVISOR, n, ENOMEM);
        rc = slot_build(&slot, &r, &err);
        assert_true(fault_end());
        assert_true(!rc || !fake_domain_find(slot_domid));
        helper_ends();
        slot_clean("out of domains");
    }
    assert_int_equal(rc, ANSWER_NO_HOST_MEMORY);
    assert_says(err.text, "create a domain: the hypervisor is out of memory");
}

static void chooses(const char *engine, const char *image, const struct engine *expected)
{
    const struct warm_request r = slot_request(engine, image);
    if (slot_build(&slot, &r, &err))
        fail_msg("%s", err.text);
    assert_ptr_equal(slot.engine, expected);
    assert_warm(&slot, image);
    helper_ends();
    slot_clean(image);
}

static void engines_chosen(void **state)
{
    (void)state;
    chooses("auto", pv_images.base, &engine_direct);
    struct warm_request r = slot_request("fast", pv_images.base);
    refused(&r, ANSWER_BAD_VALUE, "no engine is called fast");
    fake_file_remove("/dev/xen/gntdev");
    r = slot_request("direct", pv_images.base);
    refused(&r, ANSWER_IMAGE_REFUSED, "engine direct needs /dev/xen/gntdev: No such file");
    chooses("auto", pv_images.base, &engine_guest);
}

static void wrong_requests(void **state)
{
    (void)state;
    struct warm_request r = slot_request("direct", pv_images.base);
    r.uuid = "6d9bb2e8";
    refused(&r, -EINVAL, "slot s1: malformed uuid 6d9bb2e8");
    r = slot_request("direct", pv_images.base);
    r.name = "a-name-that-is-longer-than-the-63-characters-that-a-domain-may-have-in-its-name";
    refused(&r, -EINVAL, "slot s1: uuid, name or tag is too long");
    r = slot_request("direct", "/nonexistent/x.img");
    refused(&r, -ENOENT, "/nonexistent/x.img");
    r = slot_request("direct", pv_images.base);
    r.cow_dir = "/nonexistent";
    refused(&r, -ENOENT, "disk xvda: make a temporary file in /nonexistent");
}

/* ---- domid and name ---- */

static struct warm_request numbered_request(void)
{
    const struct warm_request r = slot_request("direct", pv_images.base);
    assert_int_equal(slot_build(&slot, &r, &err), 0);
    helper_ends();
    slot_clean("number");
    return r;
}

/* A domid is passed over while it has a domain or nodes, whoever left them. */
static void domid_is_taken(void **state)
{
    (void)state;
    char paths[2][64];
    const struct warm_request r = numbered_request();
    uint32_t first = slot_domid;
    assert_in_range(first, 0x4000, DOMID_FIRST_RESERVED - 1);
    snprintf(paths[0], sizeof paths[0], "/local/domain/%u/data/secret", first);
    snprintf(paths[1], sizeof paths[1], "/libxl/%u/device/vif/0/frontend", first + 1);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        fake_store_put(paths[i], "1");
    fake_domain_add(first + 2, NULL);
    assert_int_equal(slot_build(&slot, &r, &err), 0);
    assert_int_equal(slot.target.domid, first + 3);
    assert_warm(&slot, "taken");
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_node(paths[i], "1");
        paths[i][i ? 12 : 19] = '\0';
        fake_store_remove(paths[i]);
    }
    fake_domain_end(first + 2);
    helper_ends();
    slot_clean("taken");
}

static void others_come(void)
{
    char path[64];
    snprintf(path, sizeof path, "/local/domain/%u/name", slot_domid);
    fake_store_put(path, "theirs");
}

static void others_make_it(void)
{
    fake_domain_add(slot_domid, NULL);
}

/* Somebody takes it when it has been chosen: the domain that it is then keeps what it has. */
static void domid_is_taken_meanwhile(void **state)
{
    (void)state;
    char path[64], name[64];
    const struct warm_request r = numbered_request();
    snprintf(path, sizeof path, "/local/domain/%u", slot_domid);
    snprintf(name, sizeof name, "/local/domain/%u/name", slot_domid);
    fault_moment(FAULT_STORE, 2, others_come);
    assert_int_equal(slot_build(&slot, &r, &err), -EEXIST);
    assert_true(fault_end());
    assert_says(err.text, "exists already");
    assert_string_equal(fake_store_get(name), "theirs");
    fake_store_remove(path);
    helper_ends();
    slot_clean("named meanwhile");
}

/* Before it is looked at, the slot gets another one. */
static void domid_is_made_meanwhile(void **state)
{
    (void)state;
    const struct warm_request r = numbered_request();
    uint32_t domid = slot_domid;
    int rc = 0;
    for (unsigned n = 0; !rc; n++) {
        assert_true(n < 10);
        slot_domid = domid;
        fault_moment(FAULT_HYPERVISOR, n, others_make_it);
        rc = slot_build(&slot, &r, &err);
        assert_true(fault_end());
        assert_int_equal(slot_domid, rc ? domid : domid + 1);
        assert_non_null(fake_domain_find(domid));
        fake_domain_end(domid);
        helper_ends();
        slot_clean("made meanwhile");
    }
    assert_int_equal(rc, -EEXIST);
    assert_says(err.text, "is taken by somebody else");
}

/* Xen gives a domid back a little later than it takes the domain off its list. */
static void domid_lingers(void **state)
{
    (void)state;
    const struct warm_request r = slot_request("direct", pv_images.base);
    fake_hypervisor.lingers = 5;
    assert_int_equal(slot_build(&slot, &r, &err), 0);
    assert_warm(&slot, "lingers");
    helper_ends();
    slot_clean("lingers");
    fake_hypervisor.lingers = UINT_MAX;
    refused(&r, -EEXIST, "is taken by somebody else");
}

/* Each slot has its own, and so has each daemon. */
static void domids_differ(void **state)
{
    (void)state;
    struct xen x;
    uint32_t first, second, other;
    assert_int_equal(xen_open(&x, &err), 0);
    assert_int_equal(domid_choose(&x, TAG, 1, &first, &err), 0);
    assert_int_equal(domid_choose(&x, TAG, 2, &second, &err), 0);
    assert_int_equal(domid_choose(&x, "other", 1, &other, &err), 0);
    assert_int_equal(second, first + 1);
    assert_int_not_equal(other, first);
    assert_int_equal(domid_choose(&x, TAG, 1 + 0x3ff0, &second, &err), 0);
    assert_int_equal(second, first);
    xen_close(&x);
}

/* ---- images that a warm slot is asked for ---- */

static void refuses_images(const struct kind *k, const struct slot_images *other)
{
    const struct {
        const char *image;
        int code;
    } wrong[] = {{k->images->further, ANSWER_IMAGE_REFUSED},
                 {k->images->second, ANSWER_IMAGE_REFUSED},
                 {other->delta, ANSWER_IMAGE_REFUSED},
                 {"/nonexistent/x.img", -ENOENT}};
    struct warm_outcome outcome;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(slot_run(&slot, wrong[i].image, LEASE_NAME, false, &outcome, &err),
                         wrong[i].code);
        assert_true(slot.target.untouched);
        assert_warm(&slot, k->name);
    }
    assert_int_equal(warm_turn(&slot, other->base, &err), ANSWER_IMAGE_REFUSED);
    assert_int_equal(warm_turn(&slot, "/nonexistent/x.img", &err), -ENOENT);
    assert_warm(&slot, k->name);
}

/* It stays warm, and serves the next one. */
static void refused_when_warm(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct kind *k = &kinds[i];
        const struct warm_request r = slot_request(k->engine, k->images->base);
        assert_int_equal(slot_build(&slot, &r, &err), 0);
        refuses_images(k, k->images == &pv_images ? &pvh_images : &pv_images);
        completes_after_all(k, false, k->name);
        helper_ends();
        slot_clean(k->name);
    }
}

static void prefetched(void **state)
{
    (void)state;
    const struct warm_request r = slot_request("direct", pv_images.base);
    const char *const paths[] = {pv_images.delta, "/nonexistent/x.img", pv_images.further};
    assert_int_equal(slot_build(&slot, &r, &err), 0);
    assert_int_equal(warm_prefetch(&slot, paths, ARRAY_SIZE(paths), &err), 0);
    while (warm_prepare(&slot))
        ;
    assert_warm(&slot, "prefetched");
    completes_after_all(&kinds[0], false, "prefetched");
    helper_ends();
    slot_clean("prefetched");
}

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN); /* as in the helper: libxenguest may stop reading */
    return slots_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_life),
        TEST(without_delta),
        TEST(turned),
        TEST(hypervisor_fails),
        TEST(xenstored_fails),
        TEST(kernel_fails),
        TEST(memory_fails),
        TEST(threads_fail),
        TEST(destroyed_by_others),
        TEST(xenstored_dies),
        TEST(conflicts),
        TEST(domid_is_taken),
        TEST(domid_is_taken_meanwhile),
        TEST(domid_is_made_meanwhile),
        TEST(domid_lingers),
        TEST(domids_differ),
        TEST(backends_that_do_not_come),
        TEST(no_memory),
        TEST(out_of_domains),
        TEST(engines_chosen),
        TEST(wrong_requests),
        TEST(refused_when_warm),
        TEST(prefetched),
    };
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
