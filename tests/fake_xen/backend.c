/* blkback and netback for tests: see backend.h. */
#include "tests/fake_xen/backend.h"

#include "tests/fake_xen/block.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/files.h"
#include "tests/fake_xen/ports.h"
#include "tests/fake_xen/store.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <xen/io/xenbus.h>

#define BACKENDS_MAX 32u
#define TOP "/local/domain/0/backend"
#define STEP_US 1000u
#define SLOW_STEP_US 500000u

static struct backend {
    bool there;       /* the kernel has a device <type>-<domid>-<devid> */
    const char *type; /* "vbd" or "vif" */
    uint32_t domid, devid;
    enum fake_backend_kind kind;
    dev_t dev; /* 0: it has none open */
    bool closing;
    unsigned number; /* each has its own */
} backends[BACKENDS_MAX];
static unsigned last_number;

static enum fake_backend_kind next_kind;

/* ---- paths ---- */

static const char *node_path(const struct backend *b, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, TOP "/%s/%u/%u%s%s", b->type, b->domid, b->devid, *name ? "/" : "",
             name);
    return path;
}

static const char *bus_path(const struct backend *b, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "/sys/bus/xen-backend/devices/%s-%u-%u%s", b->type, b->domid,
             b->devid, name);
    return path;
}

static const char *device_path(const struct backend *b)
{
    static char path[128];
    snprintf(path, sizeof path, "/sys/devices/%s-%u-%u", b->type, b->domid, b->devid);
    return path;
}

static bool is_vif(const struct backend *b)
{
    return !strcmp(b->type, "vif");
}

static const char *netdev_path(const struct backend *b)
{
    static char path[128];
    snprintf(path, sizeof path, "/sys/class/net/vif%u.%u", b->domid, b->devid);
    return path;
}

static int state_of(const struct backend *b)
{
    const char *text = fake_store_get(node_path(b, "state"));
    return text ? atoi(text) : XenbusStateUnknown;
}

static void state_put(const struct backend *b, int state)
{
    if (fake_store_get(node_path(b, "state")))
        fake_store_put(node_path(b, "state"), "%d", state);
}

static uint64_t step_us(const struct backend *b)
{
    return b->kind == BACKEND_SLOW ? SLOW_STEP_US : STEP_US;
}

/* ---- its life ---- */

static void device_close(struct backend *b)
{
    if (is_vif(b)) {
        fake_file_remove(netdev_path(b));
        fake_port_end(strrchr(netdev_path(b), '/') + 1);
        return;
    }
    fake_file_remove(bus_path(b, "/physical_device"));
    if (b->dev)
        fake_block_close(b->dev);
    b->dev = 0;
}

static void end(struct backend *b)
{
    device_close(b);
    fake_file_remove(bus_path(b, ""));
    fake_file_remove(device_path(b));
    b->there = false;
}

static void complain(struct backend *b)
{
    char path[128];
    snprintf(path, sizeof path, "/local/domain/0/error/backend/%s/%u/%u/error", b->type, b->domid,
             b->devid);
    fake_store_put(path, "2 xen_vbd_create: device could not be opened");
    state_put(b, XenbusStateClosed);
}

/* NULL: it has gone since. */
static struct backend *backend_of(uint64_t number)
{
    for (size_t i = 0; i < BACKENDS_MAX; i++)
        if (backends[i].there && backends[i].number == number)
            return &backends[i];
    return NULL;
}

static void device_open(uint64_t number)
{
    struct backend *b = backend_of(number);
    unsigned major, minor;
    if (b && is_vif(b) && !b->closing)
        fake_file_put(netdev_path(b), NULL);
    const char *text = b ? fake_store_get(node_path(b, "physical-device")) : NULL;
    if (!text || b->closing || sscanf(text, "%x:%x", &major, &minor) != 2)
        return;
    if (!fake_block_open(makedev(major, minor))) {
        complain(b);
        return;
    }
    b->dev = makedev(major, minor);
    fake_file_put(bus_path(b, "/physical_device"), text);
}

static void probe(uint64_t number)
{
    struct backend *b = backend_of(number);
    if (!b || b->closing)
        return;
    if (b->kind == BACKEND_COMPLAINS) {
        complain(b);
        return;
    }
    state_put(b, XenbusStateInitWait);
    if (b->kind != BACKEND_NO_DEVICE)
        fake_clock_in(step_us(b), device_open, number);
}

static void close_down(uint64_t number)
{
    struct backend *b = backend_of(number);
    if (!b)
        return;
    state_put(b, b->kind == BACKEND_VANISHES ? XenbusStateConnected : XenbusStateClosed);
    end(b);
}

/* ---- looking at the store ---- */

static struct backend *find(const char *type, uint32_t domid, uint32_t devid)
{
    for (size_t i = 0; i < BACKENDS_MAX; i++)
        if (backends[i].there && !strcmp(backends[i].type, type) && backends[i].domid == domid &&
            backends[i].devid == devid)
            return &backends[i];
    return NULL;
}

static void begin(const char *type, uint32_t domid, uint32_t devid)
{
    struct backend *b = backends;
    while (b->there)
        if (++b == backends + BACKENDS_MAX)
            abort();
    *b = (struct backend){.there = true,
                          .type = type,
                          .domid = domid,
                          .devid = devid,
                          .kind = next_kind,
                          .number = ++last_number};
    fake_file_put(device_path(b), NULL);
    fake_file_put(bus_path(b, ""), NULL);
    fake_clock_in(step_us(b), probe, b->number);
}

/* A node with a device, in its first state, is one that nobody serves yet. */
static void look_at_node(const char *path, const char *value, void *data)
{
    uint32_t domid, devid;
    char type[8], rest[32];
    (void)value, (void)data;
    if (sscanf(path, TOP "/%7[a-z]/%u/%u/%31s", type, &domid, &devid, rest) != 4 ||
        next_kind == BACKEND_ABSENT)
        return;
    const char *ours = !strcmp(type, "vif") ? "vif" : "vbd";
    if (strcmp(type, ours) != 0 || find(ours, domid, devid) ||
        strcmp(rest, !strcmp(ours, "vif") ? "handle" : "physical-device") != 0)
        return;
    const struct backend as = {.type = ours, .domid = domid, .devid = devid};
    if (state_of(&as) == XenbusStateInitialising)
        begin(ours, domid, devid);
}

void fake_backend_look(const char *path)
{
    FAKE_CALL();
    (void)path;
    for (size_t i = 0; i < BACKENDS_MAX; i++) {
        struct backend *b = &backends[i];
        if (!b->there)
            continue;
        if (!fake_store_get(node_path(b, ""))) {
            end(b);
        } else if (state_of(b) == XenbusStateClosing && !b->closing && b->kind != BACKEND_STUCK) {
            b->closing = true;
            fake_clock_in(step_us(b), close_down, b->number);
        }
    }
    fake_store_walk(TOP, look_at_node, NULL);
}

void fake_backend_set(enum fake_backend_kind kind)
{
    next_kind = kind;
}

void fake_backend_init(void)
{
    memset(backends, 0, sizeof backends);
    next_kind = BACKEND_GOOD;
}

void fake_backend_connect(uint32_t domid, uint32_t devid)
{
    FAKE_CALL();
    state_put(find("vbd", domid, devid), XenbusStateConnected);
}

void fake_backends_print(FILE *out)
{
    FAKE_CALL();
    for (size_t i = 0; i < BACKENDS_MAX; i++)
        if (backends[i].there)
            fprintf(out, "back end of %s %u of domain %u\n", backends[i].type, backends[i].devid,
                    backends[i].domid);
}
