/*
 * Warm slots that somebody has spoilt, on the Xen host of tests: each way in which a domain, or
 * what its disks lie on, can be something else than what was built. No such slot is completed; the
 * answer says what has happened; and what is no harm is none.
 */
#include "tests/unit/on_machine.h"
#include "tests/unit/slots.h"

#include "base/array.h"
#include "restore/xen/domain.h"
#include "tests/fake_xen/domains.h"
#include "tests/fake_xen/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <xen/sched.h>

static struct warm slot;
static struct stat disk_file; /* as it was imported */

static const char *const engines[] = {"direct", "guest"};

static void helper_ends(void)
{
    warm_dispose(&slot);
}

static void disk_file_restore(void)
{
    const struct timespec times[2] = {disk_file.st_atim, disk_file.st_mtim};
    assert_int_equal(truncate(DISK_FILE, disk_file.st_size), 0);
    assert_int_equal(utimensat(AT_FDCWD, DISK_FILE, times, 0), 0);
}

static int end(void **state)
{
    helper_ends();
    return on_machine_end(state);
}

static void build(const char *engine)
{
    const struct warm_request r = slot_request(engine, pv_images.base);
    if (slot_build(&slot, &r, &err))
        fail_msg("%s", err.text);
}

static int complete(void)
{
    struct warm_outcome outcome;
    err = (struct error){0};
    int rc = slot_run(&slot, pv_images.delta, LEASE_NAME, false, &outcome, &err);
    return rc ? rc : warm_leave(&slot, &err);
}

static struct fake_domain *domain(void)
{
    return fake_domain_find(slot.target.domid);
}

static dev_t device(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_rdev;
}

/* ---- what can be done to it ---- */

static void unpause(void)
{
    domain()->pauses = 0;
}

static void shut_down(void)
{
    fake_domain_shutdown(slot.target.domid, SHUTDOWN_poweroff);
}

static void destroyed(void)
{
    fake_domain_end(slot.target.domid);
}

static void another_domain(void)
{
    memset(&domain()->uuid, 0x66, sizeof domain()->uuid);
}

static void ask(const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "/local/domain/%u/control/shutdown", slot.target.domid);
    fake_store_put(path, "%s", what);
}

static void ask_poweroff(void)
{
    ask("poweroff");
}

static void ask_suspend(void)
{
    ask("suspend");
}

static void file_written(void)
{
    int fd = open(DISK_FILE, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 4096), 1);
    close(fd);
    /* later than the import by more than the clock's step */
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    assert_int_equal(utimensat(AT_FDCWD, DISK_FILE, times, 0), 0);
}

static void file_grown(void)
{
    const struct timespec times[2] = {disk_file.st_atim, disk_file.st_mtim};
    assert_int_equal(truncate(DISK_FILE, disk_file.st_size + 4096), 0);
    assert_int_equal(utimensat(AT_FDCWD, DISK_FILE, times, 0), 0);
}

#define ASIDE scratch_path(&dir, "aside.raw")

/* The same bytes and time, but not what the slot has open. */
static void file_replaced(void)
{
    static const char nothing[DISK_FILE_BYTES];
    assert_int_equal(rename(DISK_FILE, ASIDE), 0);
    scratch_write(&dir, "disk.raw", nothing, sizeof nothing);
    disk_file_restore();
}

static void file_gone(void)
{
    assert_int_equal(rename(DISK_FILE, ASIDE), 0);
}

static void file_back(void)
{
    (void)rename(ASIDE, DISK_FILE);
    disk_file_restore();
}

static void block_written(void)
{
    static uint64_t sectors; /* the device stays from slot to slot */
    fake_block_written(device(DISK_BLOCK), sectors += 8);
}

static void layer_written(void)
{
    fake_block_written(slot.disks[0].dev, 8);
}

static void scratch_written(void)
{
    fake_block_written(slot.disks[2].dev, 8);
}

static const struct spoiler {
    void (*spoil)(void);
    int code;
    const char *says;
    bool late; /* found beside the writing of pages */
} spoilers[] = {
    {unpause, ANSWER_DOMAIN_STATE, "was unpaused by somebody", false},
    {shut_down, ANSWER_DOMAIN_STATE, "was shut down by somebody", false},
    {destroyed, ANSWER_DOMAIN_STATE, "was destroyed by somebody", false},
    {another_domain, ANSWER_DOMAIN_STATE, "was destroyed by somebody", false},
    {ask_poweroff, ANSWER_DOMAIN_STATE, "asked by somebody for \"poweroff\"", true},
    {ask_suspend, ANSWER_DOMAIN_STATE, "asked by somebody for \"suspend\"", true},
    {file_written, ANSWER_IMAGE_BROKEN, "has been written since", true},
    {file_grown, ANSWER_IMAGE_BROKEN, "another size", true},
    {file_replaced, ANSWER_IMAGE_BROKEN, "another file", true},
    {file_gone, ANSWER_IMAGE_BROKEN, "no longer there", true},
    {block_written, ANSWER_IMAGE_BROKEN, "disk xvdb: " DISK_BLOCK " has been written", true},
    {layer_written, ANSWER_DOMAIN_STATE, "disk xvda: its private device", true},
    {scratch_written, ANSWER_DOMAIN_STATE, "disk xvdc: its private device", true},
};

static void spoilt(const char *engine, const struct spoiler *s)
{
    build(engine);
    s->spoil();
    int rc = complete();
    if (rc != s->code)
        fail_msg("%s: %d instead of %d: %s", s->says, rc, s->code, err.text);
    assert_says(err.text, s->says);
    assert_true(slot.unusable);
    assert_int_equal(slot.target.untouched, !s->late);
    /* It has not begun to run for anybody. */
    const struct fake_domain *d = domain();
    assert_true(!d || d->dying || d->shutdown || s->spoil == unpause || d->pauses == 1);
    if (s->spoil == another_domain)
        uuid_parse(SLOT_UUID, &domain()->uuid);
    helper_ends();
    file_back();
    slot_clean(s->says);
}

static void each_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
        for (size_t j = 0; j < ARRAY_SIZE(spoilers); j++)
            spoilt(engines[i], &spoilers[j]);
}

/* ---- what is no harm ---- */

/* Shared disks are written by design. A new link and a read change nothing that counts. */
static void no_harm(void **state)
{
    (void)state;
    char other[256];
    snprintf(other, sizeof other, "%s/link.raw", dir.dir);
    build("direct");
    fake_block_written(device(DISK_SHARED), 800);
    assert_int_equal(link(DISK_FILE, other), 0);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(complete(), 0);
    assert_completed(&slot, pv_images.delta, LEASE_NAME, false, "no harm");
    helper_ends();
    slot_clean("no harm");
}

static void no_counts(void **state)
{
    (void)state;
    dev_t dev = device(DISK_BLOCK);
    char *path = fake_format("/sys/dev/block/%u:%u/stat", major(dev), minor(dev));
    fake_file_remove(path);
    free(path);
    build("direct");
    assert_int_equal(complete(), 0);
    helper_ends();
    slot_clean("no counts");
}

/* A hypervisor that cannot say is no spoilt slot: it is as warm as it was. (Each call after that
 * one fails in test_warm.c.) */
static void cannot_look(void **state)
{
    (void)state;
    build("direct");
    fault_plan(FAULT_HYPERVISOR, 0, EIO);
    assert_int_equal(complete(), -EIO);
    assert_true(fault_end());
    assert_false(slot.unusable);
    assert_true(slot.target.untouched);
    assert_int_equal(complete(), 0);
    assert_completed(&slot, pv_images.delta, LEASE_NAME, false, "looked");
    helper_ends();
    slot_clean("looked");
}

/* What the look costs whoever waits: one hypercall, and a call for each file and each count. */
static void what_it_costs(void **state)
{
    (void)state;
    build("direct");
    fault_plan(FAULT_KERNEL, 1000, EIO);
    assert_int_equal(domain_check_waits(&slot.target.xen, slot.target.domid, &slot.id, &err), 0);
    for (size_t i = 0; i < slot.n_disks; i++)
        assert_int_equal(disk_check(&slot.disks[i], &err), 0);
    assert_int_equal(fault_calls(FAULT_HYPERVISOR), 1);
    assert_int_equal(fault_calls(FAULT_KERNEL), 3); /* stat; the scratch disk has no path */
    assert_int_equal(fault_calls(FAULT_STORE), 0);
    fault_end();
    helper_ends();
    slot_clean("costs");
}

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN); /* as in the helper: libxenguest may stop reading */
    int rc = slots_setup(state);
    return rc ? rc : stat(DISK_FILE, &disk_file);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, on_machine_begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_way), TEST(no_harm), TEST(no_counts), TEST(cannot_look), TEST(what_it_costs),
    };
    return cmocka_run_group_tests(tests, setup, dir_teardown);
}
