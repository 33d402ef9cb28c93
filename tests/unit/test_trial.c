/*
 * An image's vCPUs on trial (restore/engine/trial.h) on the Xen host of tests: a processor that
 * takes them, one that does not, and each call failing; and that a slot is not built of an image
 * that this host does not take.
 */
#include "restore/engine/trial.h"

#include "tests/unit/on_machine.h"
#include "tests/unit/slots.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/log.h"
#include "tests/fake_xen/domains.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define DOMID 20000u

#define LEAF_7_EBX 5u /* words of a featureset */
#define LEAF_E1_EDX 2u

static struct slot_images *const images[] = {&pv_images, &pvh_images};

/* A processor that has everything. */
static void processor_reset(void)
{
    fake_xen_components = UINT64_MAX;
    memset(fake_xen_lacks, 0, sizeof fake_xen_lacks);
}

static int begin(void **state)
{
    processor_reset();
    return on_machine_begin(state);
}

static int end(void **state)
{
    processor_reset();
    return on_machine_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

/* Tries an image of this host; what is left is for the caller to look at. */
static int try(const char *path, struct error *e)
{
    struct image *im;
    struct domconf conf;
    struct uuid uuid;
    struct xen x;
    *e = (struct error){0};
    domconf_init(&conf);
    assert_int_equal(uuid_parse(SLOT_UUID, &uuid), 0);
    assert_int_equal(image_open(path, &im, NULL), 0);
    assert_int_equal(domconf_from_json(image_config(im), &conf, NULL), 0);
    int rc = xen_open(&x, e);
    if (!rc)
        rc = trial_run(&x, &conf, &uuid, DOMID, im, e);
    xen_close(&x);
    domconf_dispose(&conf);
    image_close(im);
    return rc;
}

static void fits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        unsigned before = fake_hypervisor.nameless; /* the name is for the caller to write */
        fake_xen_components = BUILD_COMPONENTS;
        if (try(images[i]->base, &err) || try(images[i]->delta, &err))
            fail_msg("%s", err.text);
        assert_int_equal(fake_hypervisor.nameless, before + 2);
        slot_clean("tried");
    }
}

static void lacks_components(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        const struct warm_request r = slot_request("auto", images[i]->base);
        struct warm w;
        fake_xen_components = BUILD_COMPONENTS & ~4u;
        assert_int_equal(try(images[i]->base, &err), ANSWER_IMAGE_REFUSED);
        assert_non_null(strstr(err.text, "AVX (XCR0 0x7 there, 0x3 here)"));
        assert_null(strstr(err.text, "SSE"));
        assert_int_equal(slot_build(&w, &r, &err), ANSWER_IMAGE_REFUSED);
        assert_non_null(strstr(err.text, "AVX"));
        assert_int_equal(w.target.domid, DOMID_INVALID); /* no domain of the slot's */
        warm_dispose(&w);
        slot_clean("refused");
    }
}

/* What the program logs while f runs. */
static void logged(void (*f)(void), char *text, size_t size)
{
    const char *path = scratch_path(&dir, "log");
    int saved = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    f();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    ssize_t n = pread(fd, text, size - 1, 0);
    close(fd);
    unlink(path);
    assert_true(n >= 0);
    text[n] = '\0';
}

static const char *now_tried;

static void try_it(void)
{
    assert_int_equal(try(now_tried, &err), 0);
}

/* The hypervisor lets it pass, and so does a trial, which says so. */
static void lacks_features(void **state)
{
    char text[4096];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        now_tried = images[i]->base;
        fake_xen_lacks[LEAF_E1_EDX] = 1; /* no processor's featureset has it there */
        logged(try_it, text, sizeof text);
        assert_null(strstr(text, "lacks"));
        fake_xen_lacks[LEAF_7_EBX] = BUILD_FEATURES_7B | 1;
        logged(try_it, text, sizeof text);
        assert_non_null(strstr(text, "leaf 0x7, subleaf 0, ebx, bits 0x20"));
        fake_xen_lacks[LEAF_7_EBX] = 0;
        slot_clean("warned");
    }
}

static void each_call_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        unsigned n = 0, failed = 0;
        for (bool came = true; came; n++) {
            fault_plan(FAULT_HYPERVISOR, n, n % 2 ? EIO : EINVAL);
            int rc = try(images[i]->base, &err);
            came = fault_end();
            if (!came && rc)
                fail_msg("call %u: %s", n, err.text);
            if (rc)
                assert_explained(rc, &err, n);
            failed += rc != 0;
            slot_clean(fault_call());
        }
        assert_true(failed >= 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fits),
        TEST(lacks_components),
        TEST(lacks_features),
        TEST(each_call_fails),
    };
    log_init("test", LOG_LEVEL_WARNING);
    return cmocka_run_group_tests(tests, slots_setup, dir_teardown);
}
