/*
 * Ports of bridges: see bridge_port.h. Messages and attributes are those of rtnetlink(7) and of the
 * kernel's headers linux/if_link.h, linux/if_bridge.h and linux/neighbour.h.
 *
 * The filter is the kernel's own for bridges: a "locked" port (5.18) forwards a frame only if the
 * bridge's table has its source address at this port. The port learns nothing, and the table gets
 * one static entry.
 */
#include "restore/xen/bridge_port.h"

#include "restore/xen/rtnetlink.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

/* Of linux/if_link.h; headers of a kernel before 5.18 have no name for it. */
#define PORT_LOCKED 39

/* ---- looking at an interface ---- */

struct look {
    unsigned index, mtu;
    bool is_bridge, is_isolated, is_locked;
};

static int take_slave(const struct nlattr *a, void *data)
{
    struct look *l = data;
    if (mnl_attr_get_type(a) == IFLA_BRPORT_ISOLATED)
        l->is_isolated = mnl_attr_get_u8(a) != 0;
    if (mnl_attr_get_type(a) == PORT_LOCKED)
        l->is_locked = mnl_attr_get_u8(a) != 0;
    return MNL_CB_OK;
}

static int take_info(const struct nlattr *a, void *data)
{
    struct look *l = data;
    if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
        l->is_bridge = !strcmp(mnl_attr_get_str(a), "bridge");
    if (mnl_attr_get_type(a) == IFLA_INFO_SLAVE_DATA)
        (void)mnl_attr_parse_nested(a, take_slave, l);
    return MNL_CB_OK;
}

static int take_attribute(const struct nlattr *a, void *data)
{
    struct look *l = data;
    if (mnl_attr_get_type(a) == IFLA_MTU)
        l->mtu = mnl_attr_get_u32(a);
    if (mnl_attr_get_type(a) == IFLA_LINKINFO)
        (void)mnl_attr_parse_nested(a, take_info, l);
    return MNL_CB_OK;
}

static int take_link(const struct nlmsghdr *n, void *data)
{
    struct look *l = data;
    const struct ifinfomsg *i = mnl_nlmsg_get_payload(n);
    l->index = (unsigned)i->ifi_index;
    return mnl_attr_parse(n, sizeof *i, take_attribute, l);
}

/* *failed: the kernel's errno, or 0 */
static int look_at(const char *name, struct look *l, int *failed, struct error *e)
{
    struct batch b;
    batch_init(&b);
    *l = (struct look){0};
    struct nlmsghdr *n = message_begin(&b, RTM_GETLINK, 0);
    mnl_nlmsg_put_extra_header(n, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(n, IFLA_IFNAME, name);
    message_end(&b, n);
    int rc = batch_run(&b, take_link, l, e);
    *failed = b.failed[0];
    return rc;
}

int bridge_find(const char *name, struct bridge *out, struct error *e)
{
    struct look l;
    int failed, rc = look_at(name, &l, &failed, e);
    if (rc)
        return rc;
    if (failed && failed != ENODEV)
        return error_errno(e, failed, "look for the bridge %s", name);
    if (failed)
        return error_set(e, -ENODEV,
                         "there is no bridge %s on this host; make it, or name another one with "
                         "--vif",
                         name);
    if (!l.is_bridge)
        return error_set(e, -ENODEV, "%s is a network interface, but no bridge", name);
    *out = (struct bridge){l.index, l.mtu};
    return 0;
}

/* ---- a port ---- */

/* In the bridge, up, with its MTU and name; and without an address of its own: the bridge has
 * those. */
static void put_link(struct batch *b, const struct bridge_port *p, unsigned index)
{
    struct nlmsghdr *n = message_begin(b, RTM_NEWLINK, 0);
    struct ifinfomsg *i = mnl_nlmsg_put_extra_header(n, sizeof *i);
    i->ifi_index = (int)index;
    i->ifi_flags = i->ifi_change = IFF_UP;
    if (p->name)
        mnl_attr_put_strz(n, IFLA_IFNAME, p->name);
    mnl_attr_put_u32(n, IFLA_MTU, p->mtu);
    mnl_attr_put_u32(n, IFLA_MASTER, p->bridge.index);
    message_end(b, n);
}

/* A host without IPv6 refuses this alone; a port has no address there anyway. */
static void put_no_address(struct batch *b, unsigned index)
{
    struct nlmsghdr *n = message_begin(b, RTM_NEWLINK, 0);
    struct ifinfomsg *i = mnl_nlmsg_put_extra_header(n, sizeof *i);
    i->ifi_index = (int)index;
    struct nlattr *spec = mnl_attr_nest_start(n, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(n, AF_INET6);
    mnl_attr_put_u8(n, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(n, inet6);
    mnl_attr_nest_end(n, spec);
    message_end(b, n);
}

static void put_port(struct batch *b, const struct bridge_port *p, unsigned index)
{
    struct nlmsghdr *n = message_begin(b, RTM_SETLINK, 0);
    struct ifinfomsg *i = mnl_nlmsg_put_extra_header(n, sizeof *i);
    i->ifi_family = AF_BRIDGE;
    i->ifi_index = (int)index;
    struct nlattr *port = mnl_attr_nest_start(n, IFLA_PROTINFO);
    mnl_attr_put_u8(n, IFLA_BRPORT_ISOLATED, p->isolated);
    if (p->filtered) {
        mnl_attr_put_u8(n, IFLA_BRPORT_LEARNING, 0);
        mnl_attr_put_u8(n, PORT_LOCKED, 1);
    }
    mnl_attr_nest_end(n, port);
    message_end(b, n);
}

static void put_mac(struct batch *b, uint16_t type, uint16_t flags, unsigned index,
                    const struct mac *mac)
{
    struct nlmsghdr *n = message_begin(b, type, flags);
    struct ndmsg *entry = mnl_nlmsg_put_extra_header(n, sizeof *entry);
    entry->ndm_family = AF_BRIDGE;
    entry->ndm_ifindex = (int)index;
    entry->ndm_flags = NTF_MASTER;
    entry->ndm_state = NUD_NOARP; /* static, for an address beyond the port */
    mnl_attr_put(n, NDA_LLADDR, sizeof mac->b, mac->b);
    message_end(b, n);
}

static int index_of(const char *device, unsigned *index, struct error *e)
{
    *index = if_nametoindex(device);
    return *index ? 0 : error_errno(e, errno, "network interface %s", device);
}

static int not_made(const struct bridge_port *p, int failed, struct error *e)
{
    if (failed == EEXIST && p->name)
        return error_set(e, -EEXIST,
                         "network interface %s: there is one called %s already, of another slot or "
                         "of somebody else; each slot needs one of its own",
                         p->device, p->name);
    return error_errno(e, failed, "network interface %s: make it a port of its bridge", p->device);
}

/* What an older kernel does not know it ignores. */
static int check_understood(const struct bridge_port *p, struct error *e)
{
    const char *name = p->name ? p->name : p->device;
    struct look l;
    int failed, rc = look_at(name, &l, &failed, e);
    if (rc)
        return rc;
    if (failed)
        return error_errno(e, failed, "network interface %s: look at it", name);
    if ((p->isolated && !l.is_isolated) || (p->filtered && !l.is_locked))
        return error_set(e, -EOPNOTSUPP,
                         "network interface %s: this kernel has no %s for ports of a bridge; "
                         "see vif_%s in dompool.conf(5)",
                         name, p->filtered && !l.is_locked ? "filter (5.18)" : "isolation (4.18)",
                         p->filtered && !l.is_locked ? "filter" : "isolation");
    return 0;
}

static int port_make(const struct bridge_port *p, unsigned index, struct error *e)
{
    struct batch b;
    batch_init(&b);
    put_no_address(&b, index); /* may fail */
    put_link(&b, p, index);
    if (p->isolated || p->filtered)
        put_port(&b, p, index);
    if (p->filtered && !p->closed)
        put_mac(&b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, index, &p->mac);
    int rc = batch_run(&b, NULL, NULL, e);
    int failed = batch_failure(&b, 1);
    return !rc && failed ? not_made(p, failed, e) : rc;
}

int bridge_port_make(const struct bridge_port *p, struct error *e)
{
    unsigned index;
    int rc = index_of(p->device, &index, e);
    if (!rc && p->entrance) /* before the port is up */
        rc = entrance_make(p->device, index, p->entrance, e);
    if (!rc)
        rc = port_make(p, index, e);
    return !rc && (p->isolated || p->filtered) ? check_understood(p, e) : rc;
}

int bridge_port_set_mac(const char *device, const struct mac *from, const struct mac *to,
                        const struct entrance *entrance, struct error *e)
{
    struct batch b;
    unsigned index;
    int rc = index_of(device, &index, e);
    if (!rc && entrance)
        rc = entrance_make(device, index, entrance, e);
    if (rc)
        return rc;
    batch_init(&b);
    if (to)
        put_mac(&b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, index, to);
    if (from)
        put_mac(&b, RTM_DELNEIGH, 0, index, from);
    rc = batch_run(&b, NULL, NULL, e);
    if (!rc && from && b.failed[b.n - 1] == ENOENT)
        b.failed[b.n - 1] = 0;
    int failed = batch_failure(&b, 0);
    if (!rc && failed)
        rc = error_errno(e, failed, "network interface %s: change the address of its filter",
                         device);
    return rc;
}
