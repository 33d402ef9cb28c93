/*
 * Network interfaces: see nic.h.
 *
 * The nodes are those of libxl (libxl__set_xenstore_nic in libxl_nic.c), so that xl network-list
 * and xl network-detach work. netback reads "script", and fails without it, but runs none; xl runs
 * it when it detaches the device, and /bin/true does. With hotplug-status there from the start,
 * netback connects as soon as the guest does (Linux, drivers/net/xen-netback/xenbus.c: connect). A
 * script of the administrator's writes it itself, when the port is made.
 */
#include "restore/xen/nic.h"

#include "base/log.h"
#include "base/units.h"
#include "restore/xen/hotplug.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/io/xenbus.h>

#define SCRIPT_TIMEOUT_MS 20000u

int nic_open(struct nic *n, const struct nic_conf *conf, const struct uuid *uuid,
             const struct nic_rules *rules, struct error *e)
{
    *n = (struct nic){.conf = conf, .rules = *rules};
    n->mac = rules->mac == MAC_SAVED ? conf->mac : mac_of_uuid(rules->mac, uuid, conf->devid);
    (void)nic_addresses_parse(conf->ip, n->addresses, &n->n_addresses); /* nic_conf.c has checked */
    n->bridge.mtu = NIC_MTU_DEFAULT;                                    /* a script may change it */
    int rc = rules->script ? 0 : bridge_find(conf->bridge, &n->bridge, e);
    n->mtu = conf->mtu ? conf->mtu : n->bridge.mtu;
    return rc ? error_prefix(e, "vif %u: ", conf->devid) : 0;
}

static void put_mac(const struct nic *n, struct nodes *t)
{
    char mac[MAC_TEXT_SIZE];
    mac_format(&n->mac, mac);
    nodes_put(t, "mac", "%s", mac);
}

static void backend_nodes(const struct nic *n, const char *status, struct nodes *t)
{
    const struct nic_conf *c = n->conf;
    nodes_put(t, "frontend-id", "%u", n->domid);
    nodes_put(t, "online", "1");
    nodes_put(t, "state", "%d", XenbusStateInitialising);
    nodes_put(t, "script", "%s", n->rules.script ? n->rules.script : NIC_NO_SCRIPT);
    if (c->name[0])
        nodes_put(t, "vifname", "%s", c->name);
    put_mac(n, t);
    if (c->ip[0])
        nodes_put(t, "ip", "%s", c->ip);
    if (c->gateway[0])
        nodes_put(t, "gatewaydev", "%s", c->gateway);
    if (c->rate_usecs)
        nodes_put(t, "rate", "%" PRIu64 ",%u", c->rate_bytes, c->rate_usecs);
    if (c->mtu)
        nodes_put(t, "mtu", "%u", c->mtu);
    nodes_put(t, "bridge", "%s", c->bridge);
    nodes_put(t, "handle", "%u", c->devid);
    nodes_put(t, "type", "vif");
    nodes_put(t, "hotplug-status", "%s", status);
}

void nic_nodes(struct nic *n, uint32_t domid, struct nodes *t)
{
    unsigned devid = n->conf->devid;
    n->domid = domid;
    snprintf(n->device, sizeof n->device, "vif%" PRIu32 ".%u", domid, devid);
    nodes_base(t, "/libxl/%u/device/vif/%u", domid, devid);
    nodes_put(t, "frontend", "/local/domain/%u/device/vif/%u", domid, devid);
    nodes_put(t, "backend", "/local/domain/0/backend/vif/%u/%u", domid, devid);
    backend_nodes(n, "", t);

    nodes_base(t, "/local/domain/%u/device/vif/%u", domid, devid);
    nodes_dir(t, "", NODE_GUEST_OWNS_SHARED);
    nodes_put(t, "backend", "/local/domain/0/backend/vif/%u/%u", domid, devid);
    nodes_put(t, "backend-id", "0");
    nodes_put(t, "state", "%d", XenbusStateInitialising);
    nodes_put(t, "handle", "%u", devid);
    put_mac(n, t);
    nodes_put(t, "trusted", "%d", n->conf->trusted);
    nodes_put(t, "mtu", "%u", n->mtu);
    nodes_dir(t, "mtu", NODE_GUEST_READS);

    nodes_base(t, "/local/domain/0/backend/vif/%u/%u", domid, devid);
    nodes_dir(t, "", NODE_GUEST_READS);
    nodes_put(t, "frontend", "/local/domain/%u/device/vif/%u", domid, devid);
    backend_nodes(n, n->rules.script ? "" : "connected", t);
}

void nic_backend(const struct nic *n, struct backend *out)
{
    *out = (struct backend){
        .kind = "vif", .devid = n->conf->devid, .what = n->device, .module = "xen-netback"};
    snprintf(out->name, sizeof out->name, "vif %u", n->conf->devid);
    /* netback says InitWait before it makes the interface. */
    snprintf(out->device, sizeof out->device, "/sys/class/net/%s", n->device);
}

/* netback offers as many queues as dom0 has processors, and the guest takes that node for it. */
static int one_queue(const struct nic *n, struct xs_handle *xs, struct error *e)
{
    return node_put(xs, "1", e, "/local/domain/0/backend/vif/%u/%u/multi-queue-max-queues",
                    n->domid, n->conf->devid);
}

static struct entrance entrance_of(const struct nic *n, const struct mac *mac)
{
    return (struct entrance){*mac, n->addresses, n->n_addresses};
}

static int port_make(const struct nic *n, struct error *e)
{
    const struct entrance entrance = entrance_of(n, &n->mac);
    const struct bridge_port port = {
        .device = n->device,
        .name = n->conf->name[0] ? n->conf->name : NULL,
        .bridge = n->bridge,
        .mtu = n->mtu,
        .mac = n->mac,
        .isolated = n->rules.isolated,
        .filtered = n->rules.filtered,
        .entrance = n->rules.filtered ? &entrance : NULL,
        .closed = n->rules.mac == MAC_SAVED,
    };
    int rc = bridge_port_make(&port, e);
    return rc ? error_prefix(e, "vif %u, bridge %s: ", n->conf->devid, n->conf->bridge) : 0;
}

int nic_settle(const struct nic *n, struct xs_handle *xs, struct error *e)
{
    const struct hotplug h = {n->rules.script, n->domid, n->conf->devid};
    int rc = h.script ? hotplug_online(xs, &h, SCRIPT_TIMEOUT_MS, e) : port_make(n, e);
    return rc ? rc : one_queue(n, xs, e);
}

/* Its name on the host. */
static const char *nic_name(const struct nic *n)
{
    return n->conf->name[0] ? n->conf->name : n->device;
}

/* The port takes frames of `to`, NULL: of none, instead of `from`; likewise. mac: of its frames
 * from now on; NULL: the one that they had. */
static int port_take(const struct nic *n, const struct mac *from, const struct mac *to,
                     const struct mac *mac, struct error *e)
{
    if (!n->rules.filtered || n->rules.script)
        return 0;
    const struct entrance entrance = entrance_of(n, mac ? mac : &n->mac);
    return bridge_port_set_mac(nic_name(n), from, to, mac ? &entrance : NULL, e);
}

static int mac_write(const struct nic *n, struct xs_handle *xs, const struct mac *mac,
                     struct error *e)
{
    unsigned devid = n->conf->devid;
    char text[MAC_TEXT_SIZE];
    mac_format(mac, text);
    int rc = node_put(xs, text, e, "/local/domain/%u/device/vif/%u/mac", n->domid, devid);
    if (!rc)
        rc = node_put(xs, text, e, "/local/domain/0/backend/vif/%u/%u/mac", n->domid, devid);
    return rc ? rc : node_put(xs, text, e, "/libxl/%u/device/vif/%u/mac", n->domid, devid);
}

/* An interface whose address others have, too, had none yet. */
int nic_start(struct nic *n, struct xs_handle *xs, const struct mac *mac, struct error *e)
{
    bool closed = n->rules.mac == MAC_SAVED;
    int rc = mac ? mac_write(n, xs, mac, e) : 0;
    if (!rc && mac)
        rc = port_take(n, closed || mac_equal(mac, &n->mac) ? NULL : &n->mac, mac, mac, e);
    else if (!rc && closed)
        rc = port_take(n, NULL, &n->mac, NULL, e);
    if (!rc && mac)
        n->mac = *mac;
    return rc;
}

int nic_start_undo(struct nic *n, struct xs_handle *xs, const struct mac *mac,
                   const struct mac *own, struct error *e)
{
    bool closed = n->rules.mac == MAC_SAVED;
    int rc = mac ? mac_write(n, xs, own, e) : 0;
    if (!rc && mac)
        rc = port_take(n, !closed && mac_equal(mac, own) ? NULL : mac, closed ? NULL : own, own, e);
    else if (!rc && closed)
        rc = port_take(n, own, NULL, NULL, e);
    n->mac = *own;
    return rc;
}

static void script_end(struct xs_handle *xs, uint32_t domid, const char *number)
{
    uint64_t devid;
    struct error e;
    char *script = node_get(xs, "/libxl/%u/device/vif/%s/script", domid, number);
    if (script && script[0] == '/' && strcmp(script, NIC_NO_SCRIPT) != 0 &&
        !number_parse(number, 0, UINT32_MAX, &devid)) {
        const struct hotplug h = {script, domid, (uint32_t)devid};
        if (hotplug_offline(&h, SCRIPT_TIMEOUT_MS, &e))
            log_warning("domain %u: %s", domid, e.text);
    }
    free(script);
}

void nics_end(struct xs_handle *xs, uint32_t domid)
{
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/libxl/%u/device/vif", domid);
    char **numbers = xs_directory(xs, XBT_NULL, path, &n);
    for (unsigned i = 0; numbers && i < n; i++)
        script_end(xs, domid, numbers[i]);
    free(numbers);
}
