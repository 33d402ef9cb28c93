/*
 * Disks, loop devices and snapshots (restore/xen/disk.h, loop.h, snapshot.h) over the block devices
 * of tests: what is behind each kind of disk, who holds what for how long, and that a disk that
 * could not be opened leaves nothing, whatever failed.
 */
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "restore/xen/disk.h"
#include "restore/xen/loop.h"
#include "restore/xen/snapshot.h"
#include "restore/xen/xen.h"
#include "tests/fake_xen/backend.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/files.h"
#include "tests/fake_xen/mapper.h"

#include <fcntl.h>

#define UUID "6d9bb2e8-4a51-4c8a-9c1f-0d0a7c0f2b11"
#define DOMID 7u
#define MAPPED "/dev/mapper/dompool-" UUID "-xvda"
#define COW_EXTRA_BYTES 65536u

static const struct disk_place *place(void)
{
    static struct disk_place p = {.tag = TAG, .uuid = UUID};
    p.cow_dir = dir.dir;
    return &p;
}

static struct disk_conf conf_of(enum disk_kind kind, const char *path)
{
    return (struct disk_conf){.vdev = "xvda",
                              .devid = 51712,
                              .kind = kind,
                              .path = (char *)(uintptr_t)path,
                              .size_bytes = kind == DISK_SCRATCH ? 1u << 20 : 0};
}

static char *printed(void (*print)(FILE *out))
{
    static char *text;
    size_t size;
    free(text);
    FILE *out = open_memstream(&text, &size);
    print(out);
    fclose(out);
    return text;
}

static unsigned lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void remove_snapshots(void)
{
    struct snapshot_found *list;
    size_t n;
    assert_int_equal(snapshot_list(UUID, &list, &n, &err), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(snapshot_remove(list[i].name, &err), 0);
    free(list);
}

/* ---- each kind, of a file and of a block device ---- */

static const struct {
    enum disk_kind kind;
    bool of_file;
    unsigned major, loops, mapped;
    uint64_t bytes;
    bool writable, discards;
} kinds[] = {
    {DISK_PHY, true, FAKE_LOOP_MAJOR, 1, 0, DISK_FILE_BYTES, true, true},
    {DISK_PHY, false, 202, 0, 0, 2u << 20, true, true},
    {DISK_RO, true, FAKE_LOOP_MAJOR, 1, 0, DISK_FILE_BYTES, false, true},
    {DISK_RO, false, 202, 0, 0, 2u << 20, false, true},
    {DISK_COW, true, FAKE_MAPPER_MAJOR, 2, 1, DISK_FILE_BYTES, true, false},
    {DISK_COW, false, FAKE_MAPPER_MAJOR, 1, 1, 2u << 20, true, false},
    {DISK_SCRATCH, true, FAKE_MAPPER_MAJOR, 1, 1, 1u << 20, true, false},
};

static struct disk_conf conf_of_kind(size_t i)
{
    return conf_of(kinds[i].kind, kinds[i].kind == DISK_SCRATCH ? NULL
                                  : kinds[i].of_file            ? DISK_FILE
                                                                : DISK_BLOCK);
}

static void assert_disk(const struct disk *d, size_t i)
{
    uint64_t bytes;
    assert_true(fake_block_find(d->dev, &bytes));
    assert_int_equal(bytes, kinds[i].bytes);
    assert_int_equal(major(d->dev), kinds[i].major);
    assert_int_equal(d->writable, kinds[i].writable);
    assert_string_equal(d->path, kinds[i].mapped ? MAPPED : d->conf->path);
    assert_int_equal(lines(printed(fake_loops_print)), kinds[i].loops);
    assert_int_equal(lines(printed(fake_mapper_print)), kinds[i].mapped);
}

/* A back end keeps what it has opened; without one, loop devices go as we close them, and named
 * devices when they are removed. */
static void each_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (int opened = 0; opened < 2; opened++) {
            struct disk_conf conf = conf_of_kind(i);
            struct disk d;
            assert_int_equal(disk_open(&d, &conf, place(), &err), 0);
            assert_disk(&d, i);
            assert_int_equal(d.discards, kinds[i].discards);
            if (opened)
                assert_true(fake_block_open(d.dev));
            disk_dispose(&d);
            disk_dispose(&d);
            if (opened)
                assert_disk(&d, i);
            remove_snapshots(); /* of one that is open: as it is closed */
            if (opened) {
                assert_disk(&d, i);
                fake_block_close(d.dev);
            }
            assert_nothing_left("kind %zu", i);
        }
    }
}

/* A saved kernel has a disk's size in memory; a copy-on-write file has room for all of it. */
static void room_to_write(void **state)
{
    (void)state;
    struct disk_conf conf = conf_of(DISK_COW, DISK_BLOCK);
    struct disk d;
    uint64_t bytes;
    assert_int_equal(disk_open(&d, &conf, place(), &err), 0);
    assert_true(fake_block_find(d.cow.dev, &bytes));
    assert_int_equal(bytes, (2u << 20) + COW_EXTRA_BYTES);
    bool written = true;
    assert_int_equal(snapshot_written(UUID, "xvda", &written, &err), 0);
    assert_false(written);
    fake_mapper_write("dompool-" UUID "-xvda");
    assert_int_equal(snapshot_written(UUID, "xvda", &written, &err), 0);
    assert_true(written);
    disk_dispose(&d);
    remove_snapshots();
    assert_true(snapshot_written(UUID, "xvda", &written, &err) < 0);
    assert_says(err.text, "dompool-" UUID "-xvda");
}

/* A layer may be smaller than its disk, but not so small that nothing fits. */
static void room_is_bounded(void **state)
{
    (void)state;
    const struct {
        uint64_t max, bytes;
    } cases[] = {{(1u << 20) + (1u << 19) + 5, (1u << 20) + (1u << 19)},
                 {1, 1u << 20},
                 {UINT64_C(1) << 40, (2u << 20) + COW_EXTRA_BYTES}};
    struct disk_conf conf = conf_of(DISK_COW, DISK_BLOCK);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct disk_place bounded = *place();
        struct disk d;
        uint64_t bytes;
        bounded.cow_max = cases[i].max;
        assert_int_equal(disk_open(&d, &conf, &bounded, &err), 0);
        assert_true(fake_block_find(d.cow.dev, &bytes));
        assert_int_equal(bytes, cases[i].bytes);
        assert_true(fake_block_find(d.dev, &bytes)); /* the disk itself is as large as ever */
        assert_int_equal(bytes, 2u << 20);
        disk_dispose(&d);
        remove_snapshots();
    }
}

static void fails(const struct disk_conf *conf, int code, const char *why)
{
    struct disk d;
    err = (struct error){0};
    assert_int_equal(disk_open(&d, conf, place(), &err), code);
    assert_says(err.text, "disk xvda: ");
    assert_says(err.text, why);
    assert_int_equal(d.file.fd, -1);
    assert_int_equal(d.cow.fd, -1);
    assert_nothing_left("%s", why);
}

static void no_disk_there(void **state)
{
    (void)state;
    const enum disk_kind kinds_with_path[] = {DISK_PHY, DISK_RO, DISK_COW};
    scratch_write(&dir, "small", "x", 1);
    for (size_t i = 0; i < ARRAY_SIZE(kinds_with_path); i++) {
        struct disk_conf conf = conf_of(kinds_with_path[i], "/dev/fake/none");
        fails(&conf, -ENOENT, "/dev/fake/none: No such file");
        conf.path = (char *)(uintptr_t)dir.dir;
        fails(&conf, -EINVAL, "is neither a block device nor a file");
        conf.path = (char *)(uintptr_t)scratch_path(&dir, "small");
        fails(&conf, -EINVAL, "is too small for a disk: it has 1 bytes");
    }
    struct disk_conf scratch = conf_of(DISK_SCRATCH, NULL);
    struct disk_place nowhere = {.cow_dir = "/nonexistent", .tag = TAG, .uuid = UUID};
    struct disk d;
    assert_int_equal(disk_open(&d, &scratch, &nowhere, &err), -ENOENT);
    assert_says(err.text, "make a temporary file in /nonexistent");
    unlink(scratch_path(&dir, "small"));
}

/* Two slots never share a name; a second disk of the same name is refused and leaves the first. */
static void name_is_taken(void **state)
{
    (void)state;
    struct disk_conf conf = conf_of(DISK_SCRATCH, NULL);
    struct disk first, second;
    assert_int_equal(disk_open(&first, &conf, place(), &err), 0);
    assert_int_equal(disk_open(&second, &conf, place(), &err), -EBUSY);
    assert_says(err.text, "create device-mapper snapshot dompool-" UUID "-xvda");
    assert_says(err.text, "libdevmapper: ");
    disk_dispose(&first);
    assert_int_equal(lines(printed(fake_mapper_print)), 1);
    assert_int_equal(lines(printed(fake_loops_print)), 1);
    remove_snapshots();
    assert_nothing_left("name");
}

/* ---- loop devices ---- */

static void others_take_loops(void **state)
{
    (void)state;
    struct loop l;
    int fd = open(DISK_FILE, O_RDWR | O_CLOEXEC);
    fake_loops_race(5);
    assert_int_equal(loop_attach(fd, "name", false, &l, &err), 0);
    assert_string_equal(l.path, "/dev/loop5");
    assert_string_equal(printed(fake_loops_print), "loop device 5 of name\n");
    assert_int_equal(loop_detach(l.path, &err), 0); /* in use: later */
    assert_int_equal(lines(printed(fake_loops_print)), 1);
    loop_close(&l);
    assert_int_equal(lines(printed(fake_loops_print)), 0);
    assert_int_equal(loop_detach("/dev/loop5", &err), 0); /* nothing is attached any more */
    assert_int_equal(loop_detach("/dev/loop99", &err), 0);
    fake_loops_race(1000);
    assert_true(loop_attach(fd, "name", false, &l, &err) < 0);
    assert_says(err.text, "attach a loop device to name");
    close(fd);
}

/* ---- each call fails once ---- */

static void assert_opened_or_nothing(size_t i, unsigned n, int rc, struct disk *d)
{
    if (rc) {
        assert_explained(rc, &err, n);
        assert_nothing_left("kind %zu, call %u (%s)", i, n, fault_call());
        return;
    }
    assert_disk(d, i);
    disk_dispose(d);
    remove_snapshots();
    assert_nothing_left("kind %zu, call %u (%s), which did no harm", i, n, fault_call());
}

static void each_fails(enum fault_kind kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        bool came = true;
        for (unsigned n = 0; came; n++) {
            struct disk_conf conf = conf_of_kind(i);
            struct disk d;
            err = (struct error){0};
            fault_plan(kind, n, fault_errno(kind));
            int rc = disk_open(&d, &conf, place(), &err);
            came = fault_end();
            assert_true(came || !rc);
            assert_opened_or_nothing(i, n, rc, &d);
        }
    }
}

static void kernel_fails(void **state)
{
    (void)state;
    each_fails(FAULT_KERNEL);
}

static void memory_fails(void **state)
{
    (void)state;
    each_fails(FAULT_MEMORY);
}

/* Listing and removing: what is there is removed, or it is said that it was not. */
static void removal_fails(void **state)
{
    (void)state;
    struct disk_conf conf = conf_of(DISK_COW, DISK_FILE);
    const enum fault_kind both[] = {FAULT_KERNEL, FAULT_MEMORY};
    for (unsigned n = 0, came = 2; came; n++) {
        came = 0;
        for (size_t k = 0; k < ARRAY_SIZE(both); k++) {
            struct snapshot_found *list = NULL;
            struct disk d;
            size_t found = 0;
            assert_int_equal(disk_open(&d, &conf, place(), &err), 0);
            disk_dispose(&d);
            err = (struct error){0};
            fault_plan(both[k], n, fault_errno(both[k]));
            int rc = snapshot_list(UUID, &list, &found, &err);
            if (!rc && found)
                rc = snapshot_remove(list[0].name, &err);
            came += fault_end();
            free(list);
            if (rc)
                assert_explained(rc, &err, n);
            else
                assert_nothing_left("call %u (%s)", n, fault_call());
            remove_snapshots();
        }
    }
}

static void without_device_mapper(void **state)
{
    (void)state;
    struct snapshot_found *list;
    size_t n = 1;
    fake_file_remove("/dev/mapper/control");
    assert_int_equal(snapshot_list(NULL, &list, &n, &err), 0);
    assert_int_equal(n, 0);
    free(list);
}

/* ---- names ---- */

static void snapshots_found(void **state)
{
    (void)state;
    struct snapshot_id ids[] = {{"a-b", UUID, "xvda"},
                                {"c", "11112222-3333-4444-5555-666677778888", "sdb1"}};
    char name[SNAPSHOT_NAME_SIZE];
    dev_t dev, block = fake_disk_make("/dev/fake/other", 1u << 20, true);
    struct snapshot_found *list;
    size_t n;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        assert_int_equal(snapshot_create(&ids[i], block, block, 100, &dev, name, &err), 0);
    assert_true(fake_block_open(dev));
    fake_mapper_foreign("vg-root", "LVM-xyz");
    fake_mapper_foreign("dompool-odd", "DOMPOOL-short");
    assert_int_equal(snapshot_list(NULL, &list, &n, &err), 0);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(list[i].tag, ids[i].tag);
        assert_string_equal(list[i].uuid, ids[i].uuid);
        assert_int_equal(list[i].in_use, i == 1);
    }
    free(list);
    assert_int_equal(snapshot_list(UUID, &list, &n, &err), 0);
    assert_int_equal(n, 1);
    free(list);
    ids[0].vdev = "a-name-that-is-much-too-long-for-a-device-of-the-kernel's-device-mapper-and-"
                  "for-the-buffer-that-takes-the-name-of-it-as-well";
    assert_int_equal(snapshot_create(&ids[0], block, block, 100, &dev, name, &err), -ENAMETOOLONG);
    bool written;
    assert_int_equal(snapshot_written(UUID, ids[0].vdev, &written, &err), -ENAMETOOLONG);
}

/* Looks for what takes no writes any more; each name is expected in the order of the list. */
static void assert_failed(const char *tag, const char *const *vdevs, size_t n_vdevs)
{
    struct snapshot_failed *list;
    size_t n;
    if (snapshot_list_failed(tag, &list, &n, &err))
        fail_msg("%s", err.text);
    assert_int_equal(n, n_vdevs);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(list[i].uuid, UUID);
        assert_string_equal(list[i].vdev, vdevs[i]);
        assert_string_equal(list[i].state, "Invalid");
    }
    free(list);
}

static void failed_found(void **state)
{
    (void)state;
    const struct snapshot_id ids[] = {
        {"a-b", UUID, "xvda"}, {"a-b", UUID, "xvdb"}, {"other", UUID, "xvdc"}, {"a-b", UUID, "sd"}};
    static const char *const failed[] = {"xvda", "sd"};
    char name[SNAPSHOT_NAME_SIZE];
    dev_t dev, block = fake_disk_make("/dev/fake/other", 1u << 20, true);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        assert_int_equal(snapshot_create(&ids[i], block, block, 100, &dev, name, &err), 0);
    fake_mapper_foreign("dompool-odd", "DOMPOOL-short");
    for (int old = 0; old < 2; old++) {
        fake_mapper_old(old);
        assert_failed("a-b", NULL, 0);
    }
    fake_mapper_fail("dompool-odd");
    fake_mapper_fail("dompool-" UUID "-xvda");
    fake_mapper_fail("dompool-" UUID "-xvdc");
    fake_mapper_fail("dompool-" UUID "-sd");
    for (int old = 0; old < 2; old++) {
        fake_mapper_old(old);
        assert_failed("a-b", failed, ARRAY_SIZE(failed));
    }
}

/* However many there are: only those with an event are asked. */
static void a_look_is_cheap(void **state)
{
    (void)state;
    const char *const vdevs[] = {"xvda", "xvdb", "xvdc", "xvdd"};
    char name[SNAPSHOT_NAME_SIZE];
    unsigned calls[2];
    dev_t dev, block = fake_disk_make("/dev/fake/other", 1u << 20, true);
    for (size_t i = 0; i < ARRAY_SIZE(vdevs); i++) {
        const struct snapshot_id id = {TAG, UUID, vdevs[i]};
        assert_int_equal(snapshot_create(&id, block, block, 100, &dev, name, &err), 0);
        fault_plan(FAULT_KERNEL, 1000, EIO);
        assert_failed(TAG, NULL, 0);
        calls[i != 0] = fault_calls(FAULT_KERNEL);
        assert_int_equal(calls[0], calls[i != 0]);
        fault_end();
    }
}

static void failed_cannot_be_asked(void **state)
{
    (void)state;
    const struct snapshot_id id = {TAG, UUID, "xvda"};
    char name[SNAPSHOT_NAME_SIZE];
    dev_t dev, block = fake_disk_make("/dev/fake/other", 1u << 20, true);
    assert_int_equal(snapshot_create(&id, block, block, 100, &dev, name, &err), 0);
    fake_mapper_fail("dompool-" UUID "-xvda");
    bool came = true;
    for (unsigned n = 0; came; n++) {
        struct snapshot_failed *list;
        size_t found;
        err = (struct error){0};
        fault_plan(FAULT_KERNEL, n, EIO);
        int rc = snapshot_list_failed(TAG, &list, &found, &err);
        came = fault_end();
        if (rc)
            assert_explained(rc, &err, n);
        assert_true(found <= 1 && (came || found == 1));
        free(list);
    }
}

static void discards(void **state)
{
    (void)state;
    struct disk_conf conf = conf_of(DISK_PHY, DISK_SHARED);
    struct disk d;
    assert_int_equal(disk_open(&d, &conf, place(), &err), 0);
    assert_false(d.discards);
    char *queue = fake_format("/sys/dev/block/%u:%u/queue", major(d.dev), minor(d.dev));
    fake_file_remove(queue); /* nobody says: it may */
    assert_int_equal(disk_open(&d, &conf, place(), &err), 0);
    assert_true(d.discards);
    free(queue);
    queue =
        fake_format("/sys/dev/block/%u:%u/../queue/discard_max_bytes", major(d.dev), minor(d.dev));
    fake_file_put(queue, "0\n"); /* a partition: its disk says */
    assert_int_equal(disk_open(&d, &conf, place(), &err), 0);
    assert_false(d.discards);
    free(queue);
}

/* ---- back ends ---- */

static struct disk served;
static struct disk_conf served_conf;

/* A disk whose nodes are there; its back end is of this kind. */
static void serve(enum fake_backend_kind kind)
{
    struct xen x;
    struct nodes t;
    served_conf = conf_of(DISK_RO, DISK_FILE);
    fake_backend_set(kind);
    assert_int_equal(xen_open(&x, &err), 0);
    assert_int_equal(disk_open(&served, &served_conf, place(), &err), 0);
    nodes_init(&t);
    disk_nodes(&served, DOMID, IMAGE_GUEST_PV, &t);
    assert_int_equal(nodes_write(&t, x.xs, DOMID, &err), 0);
    nodes_dispose(&t);
    xen_close(&x);
}

static void unserve(void)
{
    disk_dispose(&served);
    fake_store_remove("/local/domain/0/backend/vbd/7");
    fake_store_remove("/local/domain/0/error/backend/vbd/7");
    fake_store_remove("/local/domain/7");
    fake_store_remove("/libxl/7");
    assert_nothing_left("what was served");
}

static int wait_served(unsigned timeout_ms, struct error *e)
{
    struct backend b;
    disk_backend(&served, DOMID, &b);
    return backends_wait(DOMID, &b, 1, timeout_ms, e);
}

static void backends_get_ready(void **state)
{
    (void)state;
    assert_int_equal(backends_wait(DOMID, NULL, 0, 1000, &err), 0);
    const enum fake_backend_kind good[] = {BACKEND_GOOD, BACKEND_SLOW};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        serve(good[i]);
        assert_int_equal(wait_served(5000, &err), 0);
        assert_node("/local/domain/0/backend/vbd/7/51712/state", "2");
        assert_int_equal(fake_block_users(served.dev), 1); /* so our descriptor may go */
        unserve();
    }
}

static void backends_that_do_not(void **state)
{
    (void)state;
    const struct {
        enum fake_backend_kind kind;
        const char *says;
        bool at_once;
    } bad[] = {
        {BACKEND_ABSENT, "(state 1); is the xen-blkback module loaded?", false},
        {BACKEND_NO_DEVICE, "(state 2)", false},
        {BACKEND_SLOW, "(state 1)", false},
        {BACKEND_COMPLAINS, "(state 6, it said: 2 xen_vbd_create: device", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        serve(bad[i].kind);
        uint64_t began = fake_clock_us();
        assert_int_equal(wait_served(400, &err), -ETIMEDOUT);
        assert_says(err.text, "disk xvda: back end did not get ready for ");
        assert_says(err.text, bad[i].says);
        uint64_t took = fake_clock_us() - began;
        assert_true(bad[i].at_once ? took < 100000 : took >= 400000 && took < 500000);
        unserve();
    }
}

/* Whatever xenstored refuses once, the back end is ready, or it is said why nobody knows. */
static void waiting_fails(void **state)
{
    (void)state;
    const enum fault_kind all[] = {FAULT_STORE, FAULT_KERNEL};
    for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
        bool came = true;
        for (unsigned n = 0; came; n++) {
            serve(BACKEND_GOOD);
            err = (struct error){0};
            fault_plan(all[k], n, EIO);
            int rc = wait_served(1000, &err);
            came = fault_end();
            assert_true(came || !rc);
            if (rc)
                assert_explained(rc, &err, n);
            else
                assert_int_equal(fake_block_users(served.dev), 1);
            assert_int_equal(fake_store_held().connections, 0);
            unserve();
        }
    }
}

static void xenstored_ends(void)
{
    fake_store_hang_up(true);
}

/* Nobody waits for back ends that will never be heard of. */
static void xenstored_dies(void **state)
{
    (void)state;
    bool came = true;
    for (unsigned n = 0; came; n++) {
        serve(BACKEND_GOOD);
        err = (struct error){0};
        fault_moment(FAULT_STORE, n, xenstored_ends);
        uint64_t began = fake_clock_us();
        int rc = wait_served(30000, &err);
        came = fault_end();
        fake_store_hang_up(false);
        assert_int_equal(rc, came ? -EPIPE : 0);
        assert_true(!came || err.text[0]);
        assert_true(fake_clock_us() - began < 100000);
        unserve();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_MACHINE(each_kind),
        TEST_ON_MACHINE(room_to_write),
        TEST_ON_MACHINE(room_is_bounded),
        TEST_ON_MACHINE(no_disk_there),
        TEST_ON_MACHINE(name_is_taken),
        TEST_ON_MACHINE(others_take_loops),
        TEST_ON_MACHINE(kernel_fails),
        TEST_ON_MACHINE(memory_fails),
        TEST_ON_MACHINE(removal_fails),
        TEST_ON_MACHINE(without_device_mapper),
        TEST_ON_MACHINE(snapshots_found),
        TEST_ON_MACHINE(failed_found),
        TEST_ON_MACHINE(a_look_is_cheap),
        TEST_ON_MACHINE(failed_cannot_be_asked),
        TEST_ON_MACHINE(discards),
        TEST_ON_MACHINE(backends_get_ready),
        TEST_ON_MACHINE(backends_that_do_not),
        TEST_ON_MACHINE(waiting_fails),
        TEST_ON_MACHINE(xenstored_dies),
    };
    return cmocka_run_group_tests(tests, on_machine_setup, dir_teardown);
}
