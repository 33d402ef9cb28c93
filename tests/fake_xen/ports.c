/* Bridges for tests: see ports.h. */
#include "tests/fake_xen/ports.h"

#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PORTS_MAX 32u
#define BRIDGE_INDEX 7u

static struct port {
    char device[16], name[16]; /* device "": free */
    struct bridge_port made;
    struct mac frames_as; /* what its entrance makes of the source */
} ports[PORTS_MAX];

static struct port *find(const char *name)
{
    for (size_t i = 0; i < PORTS_MAX; i++)
        if (ports[i].device[0] && (!strcmp(ports[i].device, name) || !strcmp(ports[i].name, name)))
            return &ports[i];
    return NULL;
}

const struct bridge_port *fake_port(const char *name)
{
    const struct port *p = find(name);
    return p ? &p->made : NULL;
}

void fake_ports_init(void)
{
    memset(ports, 0, sizeof ports);
}

static struct port *port_new(const char *device, const char *name)
{
    struct port *port = ports;
    while (port->device[0])
        if (++port == ports + PORTS_MAX)
            abort();
    snprintf(port->device, sizeof port->device, "%s", device);
    snprintf(port->name, sizeof port->name, "%s", name);
    return port;
}

void fake_port_occupy(const char *name)
{
    FAKE_CALL();
    port_new("eth9", name);
}

void fake_port_end(const char *device)
{
    struct port *p = find(device);
    if (p)
        p->device[0] = '\0';
}

void fake_ports_print(FILE *out)
{
    FAKE_CALL();
    for (size_t i = 0; i < PORTS_MAX; i++)
        if (ports[i].device[0])
            fprintf(out, "port %s of a bridge\n", ports[i].device);
}

/* ---- what the program calls ---- */

int bridge_find(const char *name, struct bridge *out, struct error *e)
{
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL))
        return error_errno(e, errno, "look for the bridge %s", name);
    if (strcmp(name, FAKE_BRIDGE) != 0)
        return error_set(e, -ENODEV, "there is no bridge %s on this host", name);
    *out = (struct bridge){BRIDGE_INDEX, FAKE_BRIDGE_MTU};
    return 0;
}

static bool is_there(const char *device)
{
    char path[64];
    snprintf(path, sizeof path, "/sys/class/net/%s", device);
    return !access(path, F_OK);
}

int bridge_port_make(const struct bridge_port *p, struct error *e)
{
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL))
        return error_errno(e, errno, "network interface %s", p->device);
    if (!is_there(p->device) || p->bridge.index != BRIDGE_INDEX)
        abort();
    if (p->name && find(p->name))
        return error_set(e, -EEXIST, "network interface %s: there is one called %s already",
                         p->device, p->name);
    struct port *port = port_new(p->device, p->name ? p->name : p->device);
    port->made = *p;
    if (p->entrance)
        port->frames_as = p->entrance->mac;
    port->made.device = port->device;
    port->made.name = port->name;
    return 0;
}

static bool takes(const struct port *p, const struct mac *mac)
{
    return !p->made.closed && mac_equal(&p->made.mac, mac);
}

/* A port here has one address at most, so whoever adds one says which one goes. */
int bridge_port_set_mac(const char *device, const struct mac *from, const struct mac *to,
                        const struct entrance *entrance, struct error *e)
{
    FAKE_CALL();
    struct port *port = find(device);
    if (FAULT(FAULT_KERNEL))
        return error_errno(e, errno, "network interface %s", device);
    if (!port || (from && to && mac_equal(from, to)))
        abort();
    if (to && !port->made.closed && !takes(port, to) && !(from && takes(port, from)))
        abort();
    if (entrance)
        port->frames_as = entrance->mac;
    if (to && port->made.entrance && !mac_equal(&port->frames_as, to))
        abort(); /* a frame would have another address than its port */
    if (from && takes(port, from))
        port->made.closed = true;
    if (to) {
        port->made.mac = *to;
        port->made.closed = false;
    }
    return 0;
}
