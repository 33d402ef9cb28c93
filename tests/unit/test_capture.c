/*
 * restore/imaging/capture.h with a Xen that is played here: one domain, its nodes in the xenstored
 * of tests, and a guest that answers a request to suspend in one way or another. What must hold
 * whatever happens: the domain goes on, no request and no watch remains, and a failure leaves no
 * file.
 *
 * The functions of the Xen libraries below stand in front of the libraries' own.
 */
#include "tests/fake_xen/store.h"
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/io.h"
#include "restore/formats/domconf.h"
#include "restore/formats/records.h"
#include "restore/imaging/capture.h"
#include "restore/imaging/confined.h"
#include "restore/imaging/suspend.h"
#include "restore/xen/userdata.h"
#include "restore/xen/xen.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <xen/sched.h>
#include <xenguest.h>

#define DOMID 7
#define RUNNING (XEN_DOMINF_running)
#define SHUT_DOWN(reason) (XEN_DOMINF_shutdown | (uint32_t)(reason) << XEN_DOMINF_shutdownshift)

enum guest {
    GUEST_SUSPENDS,
    GUEST_SUSPENDS_SLOWLY, /* acknowledges at once */
    GUEST_DEAF,
    GUEST_DROWSY,     /* passes over the first request */
    GUEST_WAKES_LATE, /* acknowledges when the request is being taken back */
    GUEST_POWERS_OFF,
    GUEST_GOES_AWAY
};

/* One domain and its nodes. Used by the saver's thread or by the test's, never both at a time. */
static struct {
    enum guest guest;
    uint32_t flags;
    bool gone;
    struct uuid uuid;
    uint64_t suspends_at; /* us; 0: not on its way */
    unsigned asked, resume_failures;
    struct stream_build build;
    size_t save_limit; /* bytes after which xc_domain_save fails */
    bool let_go;       /* somebody lets the domain go on while it is read */
    bool save_ended;
} world;

static char image_path[128];

#define REQUEST "/local/domain/7/control/shutdown"
#define SECOND_CPU "/local/domain/7/cpu/1/availability"
#define VBD "/libxl/7/device/vbd/51712"

static void guest_hears(const char *path);
static void guest_stirs(void);

static void store_reset(void)
{
    const struct fake_store_hooks hooks = {.changed = guest_hears, .started = guest_stirs};
    fake_store_dispose();
    fake_store_init(&hooks);
    fake_store_put("/local/domain/7/name", "renamed");
    fake_store_put("/local/domain/7/cpu/0/availability", "online");
    fake_store_put(SECOND_CPU, "online");
    fake_store_put("/local/domain/7/memory/static-max", "8192");
    fake_store_put("/local/domain/7/memory/target", "6144");
    fake_store_put(REQUEST, "%s", "");
    fake_store_put(VBD, "%s", "");
}

static void world_reset(enum image_guest guest)
{
    stream_build_dispose(&world.build);
    memset(&world, 0, sizeof world);
    stream_build_init(&world.build, guest);
    world.flags = RUNNING;
    store_reset();
    world.save_limit = SIZE_MAX;
    memset(&world.uuid, 0x42, sizeof world.uuid);
    scratch_files(&dir, true);
    snprintf(image_path, sizeof image_path, "%s/x.img", dir.dir);
}

/* ---- the guest ---- */

static void suspends_in(uint64_t us)
{
    fake_store_put(REQUEST, "%s", "");
    world.suspends_at = clock_mono_us() + us;
}

static void guest_asked(void)
{
    world.asked++;
    if (world.guest == GUEST_DROWSY && world.asked == 1)
        return;
    switch (world.guest) {
    case GUEST_DROWSY:
    case GUEST_SUSPENDS:
        fake_store_put(REQUEST, "%s", "");
        world.flags = SHUT_DOWN(SHUTDOWN_suspend);
        break;
    case GUEST_SUSPENDS_SLOWLY:
        suspends_in(250000);
        break;
    case GUEST_POWERS_OFF:
        world.flags = SHUT_DOWN(SHUTDOWN_poweroff);
        break;
    case GUEST_GOES_AWAY:
        world.gone = true;
        fake_store_remove("/local/domain/7");
        break;
    default:
        break;
    }
}

/* Of a change in xenstore. */
static void guest_hears(const char *path)
{
    const char *value = strcmp(path, REQUEST) ? NULL : fake_store_get(REQUEST);
    if (value && !strcmp(value, "suspend"))
        guest_asked();
}

/* A transaction begins. */
static void guest_stirs(void)
{
    if (world.guest == GUEST_WAKES_LATE && world.asked)
        suspends_in(50000);
}

/* ---- libxenctrl and libxenguest ---- */

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild, unsigned f)
{
    (void)logger, (void)dombuild, (void)f;
    return (xc_interface *)&world;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_domain_getinfolist(xc_interface *xch, uint32_t first, unsigned max, xc_domaininfo_t *info)
{
    (void)xch, (void)max;
    if (world.suspends_at && clock_mono_us() >= world.suspends_at)
        world.flags = SHUT_DOWN(SHUTDOWN_suspend);
    memset(info, 0, sizeof *info);
    info->domain = (domid_t)(first <= DOMID && !world.gone ? DOMID : first + 1);
    info->flags = world.flags;
    info->tot_pages = 1024;
    memcpy(info->handle, &world.uuid, sizeof info->handle);
    return 1;
}

int xc_domain_resume(xc_interface *xch, uint32_t domid, int fast)
{
    (void)xch;
    if (domid != DOMID || !fast || world.flags != SHUT_DOWN(SHUTDOWN_suspend))
        abort(); /* in the saver's thread, where cmocka cannot fail */
    if (world.resume_failures) {
        world.resume_failures--;
        errno = EIO;
        return -1;
    }
    world.flags = RUNNING;
    return 0;
}

static int write_stream(int fd, const struct built *f)
{
    size_t size = f->size - f->libxc_at - 8, at = 0; /* without libxl's END record */
    while (at < size && at < world.save_limit) {
        size_t n = size - at < 4096 ? size - at : 4096;
        if (write_full(fd, f->bytes + f->libxc_at + at, n))
            return -1;
        at += n;
    }
    errno = EIO;
    return at < size ? -1 : 0;
}

int xc_domain_save(xc_interface *xch, int fd, uint32_t domid, uint32_t flags,
                   struct save_callbacks *callbacks, xc_stream_type_t type, int recv_fd)
{
    (void)xch, (void)recv_fd;
    if (domid != DOMID || flags || type != XC_STREAM_PLAIN ||
        callbacks->switch_qemu_logdirty(domid, 1, callbacks->data))
        abort();
    struct built f;
    stream_build_bytes(&world.build, &f);
    int rc = callbacks->suspend(callbacks->data) == 1 ? write_stream(fd, &f) : -1;
    built_dispose(&f);
    world.save_ended = true;
    if (world.let_go)
        world.flags = RUNNING;
    return rc;
}

/* ---- what restore/xen/userdata.c reads from /var/lib/xen ---- */

int userdata_read(uint32_t domid, const char *uuid, size_t max, char **json, size_t *len,
                  struct error *e)
{
    (void)domid, (void)uuid, (void)max, (void)e;
    *json = strdup(world.build.config);
    *len = strlen(*json);
    return 0;
}

/* ---- a capture, and what holds after each ---- */

static bool confined; /* the reading is done by a process without rights */

static int import_confined(const char *xl_config, size_t len, int *stream,
                           const struct import_options *o, struct image_info *info, void *data,
                           struct error *e)
{
    struct confined by = {.stopped = NULL};
    struct confined_capture reading = {.by = &by};
    (void)data;
    int rc = confine_user_find(CONFINE_USER, &by.user, e);
    if (!rc)
        rc = confined_capture_import(xl_config, len, stream, o, info, &reading, e);
    assert_int_equal(*stream, -1);
    json_decref(reading.made);
    return rc;
}

static struct capture_options options(void)
{
    return (struct capture_options){.domid = DOMID,
                                    .uuid = &world.uuid,
                                    .image_path = image_path,
                                    .suspend_timeout_ms = 5000,
                                    .import = confined ? import_confined : NULL};
}

static void succeeds(const struct capture_options *o)
{
    struct error e = {0};
    struct image_info info;
    if (capture_domain(o, &info, &e))
        fail_msg("%s", e.text);
    assert_int_equal(fake_store_held().abandoned, 0);
    assert_string_equal(fake_store_get(REQUEST), "");
    assert_int_equal(scratch_files(&dir, false), 1);
    assert_int_equal(world.flags, o->stop ? SHUT_DOWN(SHUTDOWN_suspend) : RUNNING);
    assert_int_equal(fake_store_resumed(), !o->stop);
}

static void fails(const struct capture_options *o, int code, const char *part)
{
    struct error e = {0};
    struct image_info info;
    int rc = capture_domain(o, &info, &e);
    if (rc != code)
        fail_msg("%s instead of %s: %s", answer_name(rc), answer_name(code), e.text);
    assert_int_equal(e.code, rc);
    assert_says(e.text, part);
    assert_int_equal(fake_store_held().abandoned, 0);
    assert_int_equal(scratch_files(&dir, false), 0);
}

/* The same for a domain that was not disturbed: it was not even asked. */
static void refuses(const struct capture_options *o, int code, const char *part)
{
    uint32_t flags = world.flags;
    fails(o, code, part);
    assert_int_equal(world.asked, 0);
    assert_int_equal(world.flags, flags);
}

static void runs_again(unsigned resumed)
{
    assert_int_equal(world.flags, RUNNING);
    assert_string_equal(fake_store_get(REQUEST), "");
    assert_int_equal(fake_store_resumed(), resumed);
}

static void conf_of_image(struct domconf *c)
{
    struct error e = {0};
    struct image *im;
    if (image_open(image_path, &im, &e) || domconf_from_json(image_config(im), c, &e))
        fail_msg("%s", e.text);
    image_close(im);
}

/* ---- tests ---- */

static void captures(void **state)
{
    (void)state;
    const enum image_guest guests[] = {IMAGE_GUEST_PV, IMAGE_GUEST_PVH};
    for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
        world_reset(guests[i]);
        fake_store_conflict(2);
        uint64_t still_us = 0;
        struct capture_options o = options();
        o.still_us = &still_us;
        succeeds(&o);
        assert_int_equal(world.asked, 1);
        assert_true(still_us > 0);
    }
}

/* The configuration is that of the domain as it is now. */
static void configuration_of_now(void **state)
{
    (void)state;
    struct domconf c;
    domconf_init(&c);
    world_reset(IMAGE_GUEST_PV);
    struct capture_options o = options();
    succeeds(&o);
    conf_of_image(&c);
    assert_string_equal(c.name, "renamed");
    assert_true(uuid_equal(&c.uuid, &world.uuid));
    assert_int_equal(c.max_mem_kib, 8192);
    assert_int_equal(c.target_mem_kib, 6144);
    assert_int_equal(c.online[0], 3);
    assert_int_equal(c.n_disks, 1);
    world_reset(IMAGE_GUEST_PV);
    fake_store_put(SECOND_CPU, "offline");
    fake_store_remove(VBD);
    succeeds(&o);
    conf_of_image(&c);
    assert_int_equal(c.online[0], 1);
    assert_int_equal(c.n_disks, 0);
    domconf_dispose(&c);
}

static void stops(void **state)
{
    (void)state;
    world_reset(IMAGE_GUEST_PV);
    struct capture_options o = options();
    o.stop = true;
    succeeds(&o);
    world_reset(IMAGE_GUEST_PV); /* not, when it fails */
    stream_build_page(&world.build, BUILD_PFN_L1)[0] = 0xff;
    put_u64(stream_build_page(&world.build, BUILD_PFN_L1), UINT64_MAX);
    fails(&o, ANSWER_IMAGE_REFUSED, "capture of domain 7: ");
    runs_again(1);
}

static void slow_guests(void **state)
{
    (void)state;
    struct capture_options o = options();
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_SUSPENDS_SLOWLY;
    o.suspend_timeout_ms = 10; /* is for the acknowledgement */
    succeeds(&o);
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_WAKES_LATE;
    succeeds(&o);
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_DROWSY;
    o.suspend_timeout_ms = 60000; /* the request is repeated long before */
    succeeds(&o);
    assert_int_equal(world.asked, 2);
    o.suspend_timeout_ms = 10;
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_DEAF;
    fails(&o, ANSWER_TIMED_OUT, "did not answer the request to suspend within 10 ms");
    runs_again(0);
}

static void guests_that_end(void **state)
{
    (void)state;
    struct capture_options o = options();
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_POWERS_OFF;
    fails(&o, ANSWER_DOMAIN_STATE, "domain 7 powered off instead of suspending");
    assert_int_equal(fake_store_resumed(), 0);
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_GOES_AWAY;
    fails(&o, ANSWER_NO_SUCH_DOMAIN, "domain 7 has gone");
    assert_int_equal(fake_store_resumed(), 0);
}

static void wrong_states(void **state)
{
    (void)state;
    const struct {
        uint32_t flags;
        const char *text;
    } wrong[] = {
        {XEN_DOMINF_paused, "is paused"},
        {XEN_DOMINF_dying, "is being destroyed"},
        {SHUT_DOWN(SHUTDOWN_suspend), "is suspended already"},
        {SHUT_DOWN(SHUTDOWN_crash), "has shut down"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        world_reset(IMAGE_GUEST_PV);
        struct capture_options o = options();
        world.flags = wrong[i].flags;
        refuses(&o, ANSWER_DOMAIN_STATE, wrong[i].text);
    }
    world_reset(IMAGE_GUEST_PV);
    struct capture_options o = options();
    o.domid = 0;
    refuses(&o, ANSWER_BAD_VALUE, "domain 0");
    o.domid = DOMID - 1;
    refuses(&o, ANSWER_NO_SUCH_DOMAIN, "domain 6 has gone");
    o.domid = DOMID;
    const struct uuid other = {{1}};
    o.uuid = &other;
    refuses(&o, ANSWER_NO_SUCH_DOMAIN, "domain 7 has gone");
    o.uuid = &world.uuid;
    fake_store_put(REQUEST, "poweroff");
    refuses(&o, ANSWER_DOMAIN_STATE, "\"poweroff\"");
    fake_store_remove(REQUEST);
    refuses(&o, ANSWER_DOMAIN_STATE, "it has no /local/domain/7/control/shutdown");
}

/* What the importer refuses beforehand never reaches the guest. */
static void refused_beforehand(void **state)
{
    (void)state;
    world_reset(IMAGE_GUEST_PV);
    struct capture_options o = options();
    const struct import_disk wrong = {"xvdq", "ro:/dev/x"};
    o.disks = &wrong;
    o.n_disks = 1;
    refuses(&o, ANSWER_BAD_VALUE, "xvdq");
    o.n_disks = 0;
    o.image_path = "/nonexistent/x.img";
    refuses(&o, -ENOENT, "/nonexistent");
    o.image_path = "/dev/null";
    struct error e = {0};
    assert_int_equal(capture_domain(&o, &(struct image_info){.entries = 0}, &e), -EEXIST);
    o.image_path = image_path;
    stream_build_config(&world.build, "{\"c_info\":{\"type\":\"hvm\"},\"b_info\":{}}");
    refuses(&o, ANSWER_IMAGE_REFUSED, "HVM");
    stream_build_config(&world.build, "[");
    refuses(&o, ANSWER_IMAGE_REFUSED, "JSON");
}

static void save_fails(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 60000; limit += 8192) {
        world_reset(IMAGE_GUEST_PV);
        struct capture_options o = options();
        o.stop = limit & 8192;
        world.save_limit = limit;
        fails(&o, -EIO, "libxenguest could not read it");
        runs_again(1);
    }
}

static void import_refuses(void **state)
{
    (void)state;
    struct capture_options o = options();
    world_reset(IMAGE_GUEST_PV);
    stream_build_find(&world.build, RECORD_SHARED_INFO, 0)->type = 0x77;
    fails(&o, ANSWER_IMAGE_REFUSED, "unknown record");
    runs_again(1);
    assert_true(world.save_ended);
}

struct cancel {
    unsigned calls, at;
};

static int cancel_at(uint64_t done, uint64_t total, void *data)
{
    struct cancel *c = data;
    assert_true(done <= total);
    return c->calls++ == c->at;
}

static void cancelled(void **state)
{
    (void)state;
    for (unsigned at = 0;; at++) {
        world_reset(IMAGE_GUEST_PV);
        struct cancel c = {.at = at};
        struct capture_options o = options();
        struct error e = {0};
        struct image_info info;
        o.progress = cancel_at;
        o.progress_data = &c;
        int rc = capture_domain(&o, &info, &e);
        runs_again(at ? 1 : 0);
        if (!rc)
            break;
        assert_int_equal(rc, -ECANCELED);
        assert_int_equal(scratch_files(&dir, false), 0);
    }
}

static volatile sig_atomic_t alarmed;

static void on_alarm(int number)
{
    (void)number;
    alarmed = 1;
}

static int stop_when_alarmed(uint64_t done, uint64_t total, void *data)
{
    (void)done, (void)total, (void)data;
    return alarmed;
}

/* A signal while the guest has yet to answer: nothing is in the pipe. */
static void stopped_while_waiting(void **state)
{
    (void)state;
    struct sigaction sa = {.sa_handler = on_alarm};
    const struct itimerval soon = {.it_value = {.tv_usec = 150000}};
    world_reset(IMAGE_GUEST_PV);
    world.guest = GUEST_DEAF;
    struct capture_options o = options();
    o.suspend_timeout_ms = 60000;
    o.progress = stop_when_alarmed;
    sigaction(SIGALRM, &sa, NULL);
    uint64_t began = clock_mono_us();
    setitimer(ITIMER_REAL, &soon, NULL);
    fails(&o, -ECANCELED, "stopped");
    assert_true(clock_mono_us() - began < 10000000);
    runs_again(0);
}

static void resume_fails(void **state)
{
    (void)state;
    struct capture_options o = options();
    world_reset(IMAGE_GUEST_PV);
    world.resume_failures = 1; /* tried again */
    succeeds(&o);
    world_reset(IMAGE_GUEST_PV);
    world.resume_failures = 2;
    fails(&o, -EIO, "domain 7 stands still: let it go on");
    world_reset(IMAGE_GUEST_PV);
    world.resume_failures = 2;
    world.save_limit = 4096;
    fails(&o, -EIO, "could not read it: ");
    world_reset(IMAGE_GUEST_PV);
    world.resume_failures = 1;
    world.save_limit = 4096;
    fails(&o, -EIO, "; and domain 7 stands still");
}

/* What was read is no moment of the domain's life. */
static void let_go_meanwhile(void **state)
{
    (void)state;
    struct capture_options o = options();
    world_reset(IMAGE_GUEST_PV);
    world.let_go = true;
    fails(&o, ANSWER_DOMAIN_STATE, "domain 7 went on while its memory was read");
    o.stop = true;
    world_reset(IMAGE_GUEST_PV);
    world.let_go = true;
    fails(&o, ANSWER_DOMAIN_STATE, "domain 7 went on while its memory was read");
}

/* For what a killed capture has left. */
static void undoes(void **state)
{
    (void)state;
    struct xen x;
    struct error e = {0};
    enum suspend_undone what;
    world_reset(IMAGE_GUEST_PV);
    assert_int_equal(xen_open(&x, &e), 0);
    assert_int_equal(suspend_undo(&x, DOMID, &world.uuid, &what, &e), 0);
    assert_int_equal(what, UNDONE_NOTHING);
    runs_again(0);
    world.flags = SHUT_DOWN(SHUTDOWN_suspend);
    assert_int_equal(suspend_undo(&x, DOMID, &world.uuid, &what, &e), 0);
    assert_int_equal(what, UNDONE_SUSPENSION);
    runs_again(1);
    world.guest = GUEST_DEAF;
    fake_store_put(REQUEST, "suspend");
    assert_int_equal(suspend_undo(&x, DOMID, &world.uuid, &what, &e), 0);
    assert_int_equal(what, UNDONE_REQUEST);
    runs_again(1);
    fake_store_put(REQUEST, "poweroff");
    assert_int_equal(suspend_undo(&x, DOMID, &world.uuid, NULL, &e), 0);
    assert_string_equal(fake_store_get(REQUEST), "poweroff");
    const struct uuid other = {{1}};
    world.flags = SHUT_DOWN(SHUTDOWN_suspend);
    assert_int_equal(suspend_undo(&x, DOMID, &other, &what, &e), ANSWER_NO_SUCH_DOMAIN);
    assert_int_equal(world.flags, SHUT_DOWN(SHUTDOWN_suspend));
    xen_close(&x);
}

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    stream_build_init(&world.build, IMAGE_GUEST_PV);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stream_build_dispose(&world.build);
    fake_store_dispose();
    scratch_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures),
        cmocka_unit_test(configuration_of_now),
        cmocka_unit_test(stops),
        cmocka_unit_test(slow_guests),
        cmocka_unit_test(guests_that_end),
        cmocka_unit_test(wrong_states),
        cmocka_unit_test(refused_beforehand),
        cmocka_unit_test(save_fails),
        cmocka_unit_test(import_refuses),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(stopped_while_waiting),
        cmocka_unit_test(resume_fails),
        cmocka_unit_test(let_go_meanwhile),
        cmocka_unit_test(undoes),
    };
    int failed = cmocka_run_group_tests_name("here", tests, setup, teardown);
    const char *preload = getenv("LD_PRELOAD"); /* valgrind's, which cannot work without rights */
    confined = !preload || !strstr(preload, "vgpreload");
    return failed + cmocka_run_group_tests_name("confined", tests, setup, teardown);
}
