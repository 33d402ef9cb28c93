/*
 * For tests on the Xen host of tests/fake_xen: each has one of its own, in the scratch directory,
 * with a disk image and two block devices to use.
 */
#ifndef TESTS_UNIT_ON_MACHINE_H
#define TESTS_UNIT_ON_MACHINE_H

#include "tests/fake_xen/block.h"
#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/machine.h"
#include "tests/fake_xen/store.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/sysmacros.h>

#define DISK_FILE_BYTES (1u << 20)
#define DISK_FILE scratch_path(&dir, "disk.raw")
#define DISK_BLOCK "/dev/fake/block" /* 2 MiB, takes discards */
#define DISK_SHARED "/dev/fake/shared"
#define TAG "tag"

static struct error err;

static inline void machine_begin(void)
{
    err = (struct error){0};
    fake_machine_init(dir.dir);
    fake_disk_make(DISK_BLOCK, 2u << 20, true);
    fake_disk_make(DISK_SHARED, 1u << 20, false);
    fake_store_put("/local/pool/0/name", "Pool-0"); /* xl's; see fake_hypervisor.pools */
    fake_store_put("/local/pool/1/name", "lab");
}

static inline int on_machine_begin(void **state)
{
    (void)state;
    machine_begin();
    return 0;
}

static inline int on_machine_end(void **state)
{
    (void)state;
    fault_end();
    fake_machine_dispose();
    return 0;
}

/* Its one file stays from test to test: what was imported from it must find it unchanged. */
static inline int on_machine_setup(void **state)
{
    dir_setup(state);
    static const char nothing[DISK_FILE_BYTES];
    scratch_write(&dir, "disk.raw", nothing, sizeof nothing);
    return 0;
}

#define TEST_ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, on_machine_begin, on_machine_end)

/* what: the case, for the message. */
#define assert_nothing_left(...)                                                                   \
    do {                                                                                           \
        const char *left_ = fake_machine_left();                                                   \
        if (*left_) {                                                                              \
            char *what_ = fake_format(__VA_ARGS__);                                                \
            fail_msg("%s: left is:\n%s", what_, left_);                                            \
        }                                                                                          \
    } while (0)

static inline void assert_node(const char *path, const char *value)
{
    const char *there = fake_store_get(path);
    if (!value != !there || (value && strcmp(value, there) != 0))
        fail_msg("%s is \"%s\", not \"%s\"", path, there ? there : "(none)",
                 value ? value : "(none)");
}

/* The errno with which calls of this kind fail, as a rule. */
static inline int fault_errno(enum fault_kind kind)
{
    return kind == FAULT_MEMORY ? ENOMEM : kind == FAULT_THREAD ? EAGAIN : EIO;
}

/* A failure that says so: a code, and a text for it. */
static inline void assert_explained(int rc, const struct error *e, unsigned n)
{
    if (!e->text[0] || e->code != rc)
        fail_msg("call %u (%s) failed: code %d, error %d \"%s\"", n, fault_call(), rc, e->code,
                 e->text);
}

#endif
