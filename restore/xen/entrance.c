/*
 * The entrance of a port: see entrance.h. Messages and attributes are those of the kernel's headers
 * linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h and linux/tc_act/tc_skbmod.h.
 *
 * Each rule ends with an action of skbmod: it gives the frame its source, and lets it pass or drops
 * it. A guest's kernel keeps ready Ethernet headers for those that it was talking to when it was
 * saved, with the address that it had then; dropping these would cut it off from them until they
 * are forgotten.
 *
 * Rules of one priority are for one protocol; the kernel goes through priorities upwards, and the
 * first rule that fits ends it.
 */
#include "restore/xen/entrance.h"

#include "restore/xen/rtnetlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_skbmod.h>
#include <netinet/in.h>
#include <string.h>

enum priority { PRIORITY_IP = 1, PRIORITY_ARP, PRIORITY_IPV6, PRIORITY_REST };

#define ENTRANCE TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define DHCP_SERVER_PORT 67 /* RFC 2131 */

static const struct nic_address nobody[] =
    {
        [PRIORITY_IP] = {.bits = 32},
        [PRIORITY_ARP] = {.bits = 32},
        [PRIORITY_IPV6] = {.v6 = true, .bits = 128},
},
                                link_local = {true, 10, {0xfe, 0x80}}; /* RFC 4291 */

static struct nlmsghdr *traffic_begin(struct batch *b, uint16_t type, uint16_t flags,
                                      unsigned index, uint32_t handle, uint32_t parent,
                                      uint32_t info)
{
    struct nlmsghdr *n = message_begin(b, type, flags);
    struct tcmsg *t = mnl_nlmsg_put_extra_header(n, sizeof *t);
    t->tcm_family = AF_UNSPEC;
    t->tcm_ifindex = (int)index;
    t->tcm_handle = handle;
    t->tcm_parent = parent;
    t->tcm_info = info;
    return n;
}

/* The place where rules are kept. */
static void put_place(struct batch *b, unsigned index)
{
    struct nlmsghdr *n = traffic_begin(b, RTM_NEWQDISC, NLM_F_CREATE, index,
                                       TC_H_MAKE(TC_H_CLSACT, 0), TC_H_CLSACT, 0);
    mnl_attr_put_strz(n, TCA_KIND, "clsact");
    message_end(b, n);
}

static void put_no_rules(struct batch *b, unsigned index)
{
    message_end(b, traffic_begin(b, RTM_DELTFILTER, 0, index, 0, ENTRANCE, 0));
}

/* ---- a rule ---- */

static struct nlmsghdr *rule_begin(struct batch *b, unsigned index, enum priority priority,
                                   uint16_t protocol, const char *kind)
{
    struct nlmsghdr *n =
        traffic_begin(b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, index, 0, ENTRANCE,
                      TC_H_MAKE((uint32_t)priority << 16, htons(protocol)));
    mnl_attr_put_strz(n, TCA_KIND, kind);
    return n;
}

/* kind: the attribute of the rule's options that has its actions. */
static void put_action(struct nlmsghdr *n, uint16_t kind, const struct mac *mac, int verdict)
{
    const struct tc_skbmod set = {.action = verdict, .flags = SKBMOD_F_SMAC};
    struct nlattr *actions = mnl_attr_nest_start(n, kind);
    struct nlattr *first = mnl_attr_nest_start(n, 1);
    mnl_attr_put_strz(n, TCA_ACT_KIND, "skbmod");
    struct nlattr *skbmod = mnl_attr_nest_start(n, TCA_ACT_OPTIONS);
    mnl_attr_put(n, TCA_SKBMOD_PARMS, sizeof set, &set);
    mnl_attr_put(n, TCA_SKBMOD_SMAC, sizeof mac->b, mac->b);
    mnl_attr_nest_end(n, skbmod);
    mnl_attr_nest_end(n, first);
    mnl_attr_nest_end(n, actions);
}

/* What no other rule fits. */
static void put_rest(struct batch *b, unsigned index, const struct mac *mac, int verdict)
{
    struct nlmsghdr *n = rule_begin(b, index, PRIORITY_REST, ETH_P_ALL, "matchall");
    struct nlattr *options = mnl_attr_nest_start(n, TCA_OPTIONS);
    put_action(n, TCA_MATCHALL_ACT, mac, verdict);
    mnl_attr_nest_end(n, options);
    message_end(b, n);
}

static void put_range(struct nlmsghdr *n, uint16_t key, uint16_t mask, const struct nic_address *a)
{
    uint8_t bits[16] = {0};
    for (unsigned i = 0; i < a->bits; i++)
        bits[i / 8] |= (uint8_t)(0x80 >> i % 8);
    mnl_attr_put(n, key, a->v6 ? 16 : 4, a->b);
    mnl_attr_put(n, mask, a->v6 ? 16 : 4, bits);
}

static void put_key(struct nlmsghdr *n, uint16_t key, uint16_t mask, uint8_t value)
{
    mnl_attr_put_u8(n, key, value);
    mnl_attr_put_u8(n, mask, 0xff);
}

/* What is allowed to who has no address yet: IPv4, a request to a DHCP server; ARP, a question. (A
 * frame that the kernel cannot take apart has zeros for an address, but no operation.) IPv6, its
 * probes. */
static void put_nobody(struct nlmsghdr *n, enum priority priority)
{
    if (priority == PRIORITY_ARP) {
        put_key(n, TCA_FLOWER_KEY_ARP_OP, TCA_FLOWER_KEY_ARP_OP_MASK, ARPOP_REQUEST);
        return;
    }
    mnl_attr_put_u8(n, TCA_FLOWER_KEY_IP_PROTO,
                    priority == PRIORITY_IP ? IPPROTO_UDP : IPPROTO_ICMPV6);
    if (priority == PRIORITY_IP) {
        mnl_attr_put_u16(n, TCA_FLOWER_KEY_UDP_DST, htons(DHCP_SERVER_PORT));
        mnl_attr_put_u16(n, TCA_FLOWER_KEY_UDP_DST_MASK, 0xffff);
    }
}

/* Frames that are from an address; NULL: from none. */
static void put_source(struct batch *b, unsigned index, const struct mac *mac,
                       enum priority priority, const struct nic_address *a)
{
    static const struct {
        uint16_t protocol, key, mask;
    } of[] = {
        [PRIORITY_IP] = {ETH_P_IP, TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK},
        [PRIORITY_ARP] = {ETH_P_ARP, TCA_FLOWER_KEY_ARP_SIP, TCA_FLOWER_KEY_ARP_SIP_MASK},
        [PRIORITY_IPV6] = {ETH_P_IPV6, TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK},
    };
    struct nlmsghdr *n = rule_begin(b, index, priority, of[priority].protocol, "flower");
    struct nlattr *options = mnl_attr_nest_start(n, TCA_OPTIONS);
    mnl_attr_put_u16(n, TCA_FLOWER_KEY_ETH_TYPE, htons(of[priority].protocol));
    put_range(n, of[priority].key, of[priority].mask, a ? a : &nobody[priority]);
    if (!a)
        put_nobody(n, priority);
    put_action(n, TCA_FLOWER_ACT, mac, TC_ACT_OK);
    mnl_attr_nest_end(n, options);
    message_end(b, n);
}

/* The kernel refuses a rule that is there already. */
static bool has(const struct entrance *en, const struct nic_address *a)
{
    for (unsigned i = 0; i < en->n_addresses; i++)
        if (nic_address_equal(&en->addresses[i], a))
            return true;
    return false;
}

static void put_addresses(struct batch *b, unsigned index, const struct entrance *en)
{
    for (unsigned i = 0; i < en->n_addresses; i++) {
        const struct nic_address *a = &en->addresses[i];
        put_source(b, index, &en->mac, a->v6 ? PRIORITY_IPV6 : PRIORITY_IP, a);
        if (!a->v6)
            put_source(b, index, &en->mac, PRIORITY_ARP, a);
    }
    for (enum priority p = PRIORITY_IP; p < PRIORITY_REST; p++)
        put_source(b, index, &en->mac, p, NULL);
    if (!has(en, &link_local))
        put_source(b, index, &en->mac, PRIORITY_IPV6, &link_local);
}

/* ---- all of them ---- */

static int not_made(const char *device, const struct entrance *en, int failed, struct error *e)
{
    if (failed != ENOENT && failed != EOPNOTSUPP)
        return error_errno(e, failed, "network interface %s: make the rules of its entrance",
                           device);
    return error_set(
        e, -EOPNOTSUPP,
        "network interface %s: this kernel cannot rewrite the source of frames; the "
        "modules sch_ingress, cls_matchall%s and act_skbmod do that (modprobe them), or "
        "see vif_filter in dompool.conf(5)",
        device, en->n_addresses ? ", cls_flower" : "");
}

int entrance_make(const char *device, unsigned index, const struct entrance *en, struct error *e)
{
    struct batch b;
    batch_init(&b);
    put_place(&b, index);
    put_no_rules(&b, index); /* there may be none */
    if (en->n_addresses)
        put_addresses(&b, index, en);
    put_rest(&b, index, &en->mac, en->n_addresses ? TC_ACT_SHOT : TC_ACT_OK);
    int rc = batch_run(&b, NULL, NULL, e);
    int failed = b.failed[0] ? b.failed[0] : batch_failure(&b, 2);
    return !rc && failed ? not_made(device, en, failed, e) : rc;
}
