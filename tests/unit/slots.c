/* Slots on a Xen host of tests: see slots.h. */
#include "tests/unit/slots.h"

#include "restore/xen/host.h"
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "base/page.h"
#include "base/uuid.h"
#include "restore/formats/records.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_import.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/domains.h"
#include "tests/fake_xen/fake_xen.h"
#include "tests/fake_xen/files.h"
#include "tests/fake_xen/ports.h"
#include "tests/unit/stream_build.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <xen/hvm/params.h>

#define DESTROY_MS 10000u
/* Low, so that the fake hypervisor has room for them. */
#define PVH_STORE 3u
#define PVH_CONSOLE 4u

struct slot_images pv_images = {.guest = IMAGE_GUEST_PV}, pvh_images = {.guest = IMAGE_GUEST_PVH};
unsigned slot_numbered;
uint32_t slot_domid;

/* ---- images ---- */

/* xvda is copied on write, xvdb a read-only CD, xvdc empty, xvdd shared. Two network interfaces. It
 * has a place, a share and a clock of its own. */
static void config_put(struct stream_build *b)
{
    char *json = fake_format(
        "{\"c_info\":{\"type\":\"pv\",\"name\":\"saved\",\"uuid\":\"%s\",\"pool_name\":\"lab\"},"
        "\"b_info\":{\"max_vcpus\":2,\"avail_vcpus\":[0,1],\"max_memkb\":4096,"
        "\"target_memkb\":4096,\"type.pv\":{},\"vcpu_hard_affinity\":[[1],[1,2]],"
        "\"vcpu_soft_affinity\":[[2]],\"rtc_timeoffset\":4294960096,"
        "\"sched_params\":{\"sched\":\"credit\",\"weight\":512,\"cap\":50}},\"disks\":["
        "{\"pdev_path\":\"%s\",\"vdev\":\"xvda\",\"format\":\"raw\",\"readwrite\":1},"
        "{\"pdev_path\":\"%s\",\"vdev\":\"xvdb\",\"format\":\"raw\",\"readwrite\":0,"
        "\"is_cdrom\":1,\"removable\":1},"
        "{\"pdev_path\":\"%s\",\"vdev\":\"xvdc\",\"format\":\"raw\",\"readwrite\":1},"
        "{\"pdev_path\":\"%s\",\"vdev\":\"xvdd\",\"format\":\"raw\",\"readwrite\":1}],"
        "\"nics\":[{\"devid\":3,\"mac\":\"00:16:3e:00:00:03\",\"bridge\":\"br0\",\"mtu\":1300,"
        "\"ifname\":\"lab3\",\"rate_bytes_per_interval\":5000,\"rate_interval_usecs\":50000,"
        "\"script\":\"/etc/xen/scripts/vif-bridge\"},"
        "{\"devid\":0,\"mac\":\"00:16:3e:00:00:01\",\"bridge\":\"br0\",\"ip\":\"10.0.0.9\"}]}",
        "11112222-3333-4444-5555-666677778888", DISK_FILE, DISK_BLOCK, DISK_BLOCK, DISK_SHARED);
    stream_build_config(b, json);
    free(json);
}

static void pvh_rings_put(struct stream_build *b)
{
    put_u64(stream_build_entry(b, BUILD_PVH_STORE), PVH_STORE);
    put_u64(stream_build_entry(b, BUILD_PVH_CONSOLE), PVH_CONSOLE);
    uint8_t *params = stream_build_find(b, RECORD_HVM_PARAMS, 0)->body;
    put_u64(params + 16, PVH_STORE);
    put_u64(params + 32, PVH_CONSOLE);
}

/* The guest as it was saved at one time or another. */
static void guest_make(struct stream_build *b, enum image_guest guest, unsigned time)
{
    stream_build_init(b, guest);
    if (guest == IMAGE_GUEST_PVH) {
        pvh_rings_put(b);
        memset(stream_build_page(b, BUILD_PVH_DATA), 0xd0 + (int)time, PAGE_BYTES);
        memset(stream_build_page(b, BUILD_PVH_ZERO), time == 1 ? 0x11 : 0, PAGE_BYTES);
        return;
    }
    config_put(b);
    memset(stream_build_page(b, BUILD_PFN_DATA), 0xd0 + (int)time, PAGE_BYTES);
    memset(stream_build_page(b, BUILD_PFN_ZERO), time == 1 ? 0x11 : 0, PAGE_BYTES);
    put_u64(stream_build_page(b, BUILD_PFN_L1) + 30 * 8,
            (uint64_t)BUILD_PFN_DATA << 12 | 1 | time << 9);
}

static void import(struct stream_build *b, const char *base, const char *image)
{
    static const struct import_disk disks[] = {{"xvdc", "scratch:1M"},
                                               {"xvdd", "phy:" DISK_SHARED}};
    struct import_options o = {.image_path = image, .base_path = base, .trusted = true};
    struct image_info info;
    struct source src;
    struct built f;
    struct error e = {0};
    if (b->guest == IMAGE_GUEST_PV) {
        o.disks = disks;
        o.n_disks = ARRAY_SIZE(disks);
    }
    stream_build_bytes(b, &f);
    source_init_memory(&src, f.bytes, f.size);
    if (import_source(&src, &o, &info, &e))
        fail_msg("import of %s: %s", image, e.text);
    source_dispose(&src);
    built_dispose(&f);
    stream_build_dispose(b);
}

static void images_make(struct slot_images *s, const char *kind)
{
    char *const paths[] = {s->base, s->delta, s->second, s->further};
    const char *const over[] = {NULL, s->base, NULL, s->second};
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        struct stream_build b;
        snprintf(paths[i], sizeof s->base, "%s/%s-%u.img", dir.dir, kind, i);
        guest_make(&b, s->guest, i);
        import(&b, over[i], paths[i]);
    }
}

int slots_setup(void **state)
{
    on_machine_setup(state);
    machine_begin();
    images_make(&pv_images, "pv");
    images_make(&pvh_images, "pvh");
    return on_machine_end(state);
}

/* ---- slots ---- */

struct warm_request slot_request(const char *engine, const char *image)
{
    return (struct warm_request){.slot = "s1",
                                 .uuid = SLOT_UUID,
                                 .name = SLOT_NAME,
                                 .image_path = image,
                                 .engine = engine,
                                 .tag = TAG,
                                 .cow_dir = dir.dir,
                                 .nics = {.isolated = true, .filtered = true}};
}

static int numbered(struct warm *w, void *data)
{
    (void)data;
    slot_numbered++;
    slot_domid = w->domid;
    return w->domid != DOMID_INVALID && w->target.domid == DOMID_INVALID ? 0 : -EINVAL;
}

int slot_run(struct warm *w, const char *image, const char *name, bool paused,
             struct warm_outcome *outcome, struct error *e)
{
    const struct warm_wish wish = {image, name, NULL, paused};
    return warm_complete(w, &wish, outcome, e);
}

int slot_build(struct warm *w, const struct warm_request *r, struct error *e)
{
    slot_numbered = 0;
    return warm_build(w, r, numbered, NULL, e);
}

/* ---- what must hold ---- */

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: %s", what, #condition);                                                  \
    } while (0)

static bool node_is(const char *value, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool node_is(const char *value, const char *fmt, ...)
{
    char path[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    const char *there = fake_store_get(path);
    if (value ? there && !strcmp(there, value) : !there)
        return true;
    print_error("%s is \"%s\"\n", path, there ? there : "(none)");
    return false;
}

static void limits_check(const struct warm *w, const struct fake_domain *d, const char *what)
{
    const struct domconf *c = &w->target.conf;
    bool pv = c->guest == IMAGE_GUEST_PV;
    HOLDS(d->vcpus == c->max_vcpus && d->created_as.max_vcpus == c->max_vcpus);
    HOLDS(d->memory.hvm == !pv && d->policies);
    HOLDS(d->max_mem_kib == c->target_mem_kib + 1024);
    HOLDS(d->map_limit_kib == (pv ? c->max_mem_kib : 0));
    HOLDS(d->paging_pool_bytes == (pv ? 0 : c->shadow_mem_kib * 1024));
    HOLDS(pv || d->memory.params[HVM_PARAM_TIMER_MODE] == 1);
    HOLDS(d->memory.pages == image_info(w->target.base)->entries);
    HOLDS(d->n_ports == 2 && w->target.store_port != w->target.console_port);
}

static void place_check(const struct warm *w, const struct fake_domain *d, const char *what)
{
    if (w->target.conf.guest == IMAGE_GUEST_PV) {
        HOLDS(d->created_as.cpupool_id == 1);
        HOLDS(d->hard[0] == 2 && d->hard[1] == 6 && d->soft[0] == 4 && d->soft[1] == 0xf);
        HOLDS(d->weight == 512 && d->cap == 50);
        HOLDS(d->time_offset_s == -7200);
    } else {
        HOLDS(!d->created_as.cpupool_id && !d->affinities && d->weight == 256 && !d->cap);
        HOLDS(!d->time_offset_s);
    }
}

static void disks_check(const struct warm *w, const char *what)
{
    for (size_t i = 0; i < w->n_disks; i++) {
        const struct disk *disk = &w->disks[i];
        HOLDS(node_is("2", "/local/domain/0/backend/vbd/%u/%u/state", w->target.domid,
                      disk->conf->devid));
        HOLDS(node_is(disk->path, "/local/domain/0/backend/vbd/%u/%u/params", w->target.domid,
                      disk->conf->devid));
        bool is_cd = !strcmp(disk->conf->vdev, "xvdb");
        HOLDS(node_is(is_cd ? "cdrom" : "disk", "/local/domain/0/backend/vbd/%u/%u/device-type",
                      w->target.domid, disk->conf->devid));
        HOLDS(node_is(is_cd ? "cdrom" : "disk", "/local/domain/%u/device/vbd/%u/device-type",
                      w->target.domid, disk->conf->devid));
        HOLDS(node_is(is_cd ? "1" : "0", "/libxl/%u/device/vbd/%u/removable", w->target.domid,
                      disk->conf->devid));
        HOLDS(fake_block_users(disk->dev) >= 1);
        HOLDS(disk->file.fd < 0 && disk->cow.fd < 0);
    }
    HOLDS(w->n_disks == w->target.conf.n_disks);
}

/* Each is a port of its bridge that takes frames of its address alone, and the guest is told of
 * it. */
static void nics_check(const struct warm *w, const char *what)
{
    for (size_t i = 0; i < w->n_nics; i++) {
        const struct nic *n = &w->nics[i];
        const struct bridge_port *port = fake_port(n->device);
        uint32_t domid = w->target.domid, devid = n->conf->devid;
        char mac[MAC_TEXT_SIZE];
        mac_format(&n->mac, mac);
        HOLDS(node_is("2", "/local/domain/0/backend/vif/%u/%u/state", domid, devid));
        HOLDS(
            node_is("connected", "/local/domain/0/backend/vif/%u/%u/hotplug-status", domid, devid));
        HOLDS(
            node_is("1", "/local/domain/0/backend/vif/%u/%u/multi-queue-max-queues", domid, devid));
        HOLDS(node_is(mac, "/local/domain/0/backend/vif/%u/%u/mac", domid, devid));
        HOLDS(node_is(mac, "/local/domain/%u/device/vif/%u/mac", domid, devid));
        HOLDS(node_is(mac, "/libxl/%u/device/vif/%u/mac", domid, devid));
        HOLDS(node_is(devid ? "1300" : "1400", "/local/domain/%u/device/vif/%u/mtu", domid, devid));
        HOLDS(node_is(devid ? "5000,50000" : NULL, "/local/domain/0/backend/vif/%u/%u/rate", domid,
                      devid));
        HOLDS(node_is(devid ? NULL : "10.0.0.9", "/local/domain/0/backend/vif/%u/%u/ip", domid,
                      devid));
        HOLDS(port && mac_equal(&port->mac, &n->mac) && port->isolated && port->filtered);
        HOLDS(!port->closed || n->rules.mac == MAC_SAVED);
        HOLDS(port->mtu == (devid ? 1300 : FAKE_BRIDGE_MTU));
        HOLDS(!strcmp(port->name, devid ? "lab3" : port->device));
    }
    HOLDS(w->n_nics == w->target.conf.n_nics);
    HOLDS(w->n_nics == (w->target.conf.guest == IMAGE_GUEST_PV ? 2 : 0));
}

static json_t *config_read(const struct warm *w)
{
    char path[128];
    snprintf(path, sizeof path, "/var/lib/xen/userdata-d.%u.%s.libxl-json", w->target.domid,
             w->uuid);
    return json_load_file(fake_path(path), JSON_DISABLE_EOF_CHECK, NULL);
}

/* xl's configuration names the domain and its disks as they are. */
static void config_check(const struct warm *w, const char *what)
{
    json_t *config = config_read(w), *disks = json_object_get(config, "disks");
    HOLDS(config);
    const char *uuid =
        json_string_value(json_object_get(json_object_get(config, "c_info"), "uuid"));
    HOLDS(uuid && !strcmp(uuid, SLOT_UUID));
    for (size_t i = 0; i < w->n_disks; i++) {
        const json_t *disk = json_array_get(disks, i);
        const char *path = json_string_value(json_object_get(disk, "pdev_path"));
        HOLDS(path && !strcmp(path, w->disks[i].path));
        HOLDS(json_integer_value(json_object_get(disk, "readwrite")) == w->disks[i].writable);
    }
    for (size_t i = 0; i < w->n_nics; i++) { /* as they were saved, the second one first */
        const json_t *nic = json_array_get(json_object_get(config, "nics"), 1 - i);
        char mac[MAC_TEXT_SIZE];
        mac_format(&w->nics[i].mac, mac);
        HOLDS(!strcmp(json_string_value(json_object_get(nic, "mac")), mac));
    }
    json_decref(config);
}

/* Everything about the domain that a completion does not change. */
static const struct fake_domain *domain_check(const struct warm *w, const char *what)
{
    const struct fake_domain *d = fake_domain_find(w->target.domid);
    HOLDS(d && !d->dying && d->domid == slot_domid);
    limits_check(w, d, what);
    place_check(w, d, what);
    disks_check(w, what);
    nics_check(w, what);
    config_check(w, what);
    HOLDS(node_is(TAG, "/libxl/%u/dompool/tag", d->domid));
    HOLDS(node_is("/vm/" SLOT_UUID, "/local/domain/%u/vm", d->domid));
    HOLDS(fake_store_held().transactions == 0);
    return d;
}

/* Data and zeros are the image's, page by page; tables are for the tests of the engines. */
static void pages_check(const struct fake_xen *x, const struct image *im, const struct image *over,
                        const char *what)
{
    const struct image_page *pages = image_pages(im);
    for (uint64_t i = 0; i < image_info(im)->entries; i++) {
        uint64_t pfn = image_page_pfn(&pages[i]), mfn = x->mfns[pfn];
        bool data = image_info(im)->guest == IMAGE_GUEST_PV
                        ? pfn == BUILD_PFN_DATA || pfn == BUILD_PFN_ZERO
                        : pfn == BUILD_PVH_DATA || pfn == BUILD_PVH_ZERO;
        HOLDS(mfn);
        HOLDS(!data ||
              !memcmp(x->frames[mfn].words, image_payload(im, pages[i].payload), PAGE_BYTES));
    }
    if (over)
        for (uint64_t i = 0; i < image_info(over)->entries; i++)
            HOLDS(x->mfns[image_page_pfn(&image_pages(over)[i])]);
}

static void introduction_check(const struct warm *w, bool introduced, const char *what)
{
    char store[24], console[24];
    uint32_t domid = w->target.domid;
    snprintf(store, sizeof store, "%" PRIu64, w->target.store_gfn);
    snprintf(console, sizeof console, "%" PRIu64, w->target.console_gfn);
    HOLDS(fake_store_introduced(domid) == introduced);
    HOLDS(node_is(introduced ? store : NULL, "/local/domain/%u/store/ring-ref", domid));
    HOLDS(node_is(introduced ? console : NULL, "/local/domain/%u/console/ring-ref", domid));
}

void assert_warm(const struct warm *w, const char *what)
{
    bool direct = w->engine == &engine_direct;
    const struct fake_domain *d = domain_check(w, what);
    HOLDS(slot_numbered == 1);
    HOLDS(d->pauses == 1);
    HOLDS(node_is(SLOT_NAME, "/local/domain/%u/name", d->domid));
    HOLDS(node_is(direct ? "dompool" : "xenconsoled", "/local/domain/%u/console/type", d->domid));
    introduction_check(w, direct, what);
    pages_check(&d->memory, w->target.base, NULL, what);
    for (unsigned v = 0; v < FAKE_VCPUS; v++)
        HOLDS(!d->memory.vcpus[v].set);
    HOLDS(!d->memory.context_bytes);
}

static void vcpus_check(const struct warm *w, const struct fake_domain *d, const char *what)
{
    const uint32_t kib = 2000000; /* kHz of the guest's TSC, in stream_build.c */
    HOLDS(d->memory.tsc.khz == kib);
    if (w->target.conf.guest == IMAGE_GUEST_PVH)
        HOLDS(d->memory.context_bytes);
    else
        for (unsigned v = 0; v < FAKE_VCPUS; v++)
            HOLDS(d->memory.vcpus[v].set == (v < d->vcpus));
}

void assert_completed(const struct warm *w, const char *image, const char *name, bool paused,
                      const char *what)
{
    const struct fake_domain *d = domain_check(w, what);
    struct image *im;
    HOLDS(d->pauses == paused);
    HOLDS(node_is(name, "/local/domain/%u/name", d->domid));
    HOLDS(node_is("xenconsoled", "/local/domain/%u/console/type", d->domid));
    introduction_check(w, true, what);
    vcpus_check(w, d, what);
    if (image_open(image, &im, &err))
        fail_msg("%s: %s", what, err.text);
    pages_check(&d->memory, im, w->target.base, what);
    image_close(im);
}

/* ---- the daemon's part ---- */

static uint32_t domid_of(struct host *h, const struct uuid *uuid, const char *what)
{
    struct host_domain *list;
    size_t n;
    uint32_t domid = 0;
    if (host_list(h, &list, &n, &err))
        fail_msg("%s: %s", what, err.text);
    for (size_t i = 0; i < n; i++)
        if (uuid_equal(&list[i].uuid, uuid))
            domid = list[i].domid;
    free(list);
    return domid;
}

void slot_end(const char *what)
{
    struct host *h;
    struct error e = {0};
    struct uuid uuid;
    unsigned removed;
    uuid_parse(SLOT_UUID, &uuid);
    if (host_open(&h, &e))
        fail_msg("%s: %s", what, e.text);
    uint32_t domid = domid_of(h, &uuid, what);
    if (domid && host_destroy(h, domid, &uuid, DESTROY_MS, &e))
        fail_msg("%s: %s", what, e.text);
    if (host_sweep(h, TAG, NULL, 0, &removed, &e))
        fail_msg("%s: %s", what, e.text);
    host_close(h);
}

void slot_clean(const char *what)
{
    slot_end(what);
    assert_nothing_left("%s", what);
}

/* ---- slots whose helper is gone ---- */

uint32_t slot_start(const char *engine, const struct slot_images *im)
{
    static struct warm w;
    const struct warm_request r = slot_request(engine, im->base);
    struct warm_outcome outcome;
    struct error e = {0};
    if (slot_build(&w, &r, &e) || slot_run(&w, im->delta, LEASE_NAME, false, &outcome, &e) ||
        warm_leave(&w, &e))
        fail_msg("start a slot: %s", e.text);
    uint32_t domid = w.target.domid;
    warm_dispose(&w);
    return domid;
}

/* As xl's script does it: without autoclear. */
static unsigned loop_of_xl(void)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int file = open(DISK_FILE, O_RDWR | O_CLOEXEC);
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    char path[32];
    snprintf(path, sizeof path, "/dev/loop%d", number);
    int device = open(path, O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (unsigned)file};
    if (number < 0 || ioctl(device, LOOP_CONFIGURE, &config))
        fail_msg("%s: %s", path, strerror(errno));
    close(device);
    close(file);
    close(control);
    return (unsigned)number;
}

void slot_attach_loop(uint32_t domid)
{
    const unsigned devid = 51792; /* xvdf */
    unsigned number = loop_of_xl();
    char *top = fake_format("/local/domain/0/backend/vbd/%u/%u", domid, devid);
    char *nodes[] = {fake_format("%s/state", top), fake_format("%s/node", top),
                     fake_format("%s/physical-device", top)};
    fake_store_put(nodes[0], "1");
    fake_store_put(nodes[1], "/dev/loop%u", number);
    fake_store_put(nodes[2], "%x:%x", FAKE_LOOP_MAJOR, number);
    fake_clock_pass(10000);
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        free(nodes[i]);
    free(top);
}
