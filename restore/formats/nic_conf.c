/*
 * The configuration of one network interface: see nic_conf.h. The keys of our own form are a
 * format, as those of domconf.c are:
 *
 *   devid, mac, bridge, trusted
 *   name, ip, gateway     left out when empty
 *   mtu                   left out: the bridge's
 *   rate_bytes, rate_usecs   left out: no limit
 */
#include "restore/formats/nic_conf.h"

#include "base/text.h"
#include "restore/formats/domconf_keys.h"
#include "restore/formats/nic_address.h"

#include <stdlib.h>
#include <string.h>

#define MTU_MIN 68u /* ETH_MIN_MTU of linux/if_ether.h */
#define MTU_MAX 65535u

static int refuse(struct error *e, const char *what)
{
    return error_set(e, ANSWER_IMAGE_REFUSED, "%s", what);
}

bool nic_name_valid(const char *name)
{
    size_t n = strnlen(name, NIC_NAME_SIZE);
    if (!n || n == NIC_NAME_SIZE || !strcmp(name, ".") || !strcmp(name, ".."))
        return false;
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c <= 0x20 || *c == 0x7f || *c == '/' || *c == ':' || *c == '%')
            return false;
    return true;
}

static bool ip_valid(const char *text)
{
    struct nic_address addresses[NIC_ADDRESSES_MAX];
    unsigned n;
    return strlen(text) < NIC_IP_SIZE && !nic_addresses_parse(text, addresses, &n);
}

/* ---- xl's form ---- */

static int number_take(const json_t *o, const char *key, uint64_t max, uint64_t *out,
                       struct error *e)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);
    *out = 0;
    if (!v)
        return 0;
    if (!json_is_integer(v) || n < 0 || (uint64_t)n > max)
        return error_set(e, ANSWER_IMAGE_REFUSED, "%s is no number from 0 to %llu", key,
                         (unsigned long long)max);
    *out = (uint64_t)n;
    return 0;
}

static int numbers_take(const json_t *o, struct nic_conf *n, struct error *e)
{
    uint64_t devid, mtu, usecs, domid;
    if (number_take(o, "devid", NIC_INDEX_MAX, &devid, e) ||
        number_take(o, "mtu", MTU_MAX, &mtu, e) ||
        number_take(o, "rate_bytes_per_interval", INT64_MAX, &n->rate_bytes, e) ||
        number_take(o, "rate_interval_usecs", UINT32_MAX, &usecs, e) ||
        number_take(o, "backend_domid", UINT32_MAX, &domid, e))
        return e->code;
    if (domid)
        return refuse(e, "backend_domid: network back ends in driver domains are not supported by "
                         "this version");
    if (mtu && mtu < MTU_MIN)
        return refuse(e, "mtu is below 68");
    n->devid = (unsigned)devid;
    n->mtu = mtu == NIC_MTU_DEFAULT ? 0 : (unsigned)mtu;
    n->rate_usecs = (unsigned)usecs;
    return 0;
}

/* An interface name; absent: what `absent` says. */
static int name_take(const json_t *o, const char *key, const char *absent, char out[NIC_NAME_SIZE],
                     struct error *e)
{
    const json_t *v = json_object_get(o, key);
    const char *text = v && !domconf_value_is_nothing(v) ? json_string_value(v) : absent;
    if (text && (!*text || nic_name_valid(text))) {
        format_fits(out, NIC_NAME_SIZE, "%s", text);
        return 0;
    }
    return error_set(e, ANSWER_IMAGE_REFUSED, "%s is no name of an interface", key);
}

static int texts_take(const json_t *o, struct nic_conf *n, struct error *e)
{
    const json_t *mac = json_object_get(o, "mac"), *ip = json_object_get(o, "ip");
    if (!json_is_string(mac) || mac_parse(json_string_value(mac), &n->mac))
        return refuse(e, "mac is no MAC address of one interface");
    if (ip && !domconf_value_is_nothing(ip) &&
        (!json_is_string(ip) || !ip_valid(json_string_value(ip))))
        return refuse(e, "ip is no list of at most 16 addresses");
    format_fits(n->ip, sizeof n->ip, "%s", json_is_string(ip) ? json_string_value(ip) : "");
    if (name_take(o, "bridge", NIC_BRIDGE, n->bridge, e) ||
        name_take(o, "ifname", "", n->name, e) || name_take(o, "gatewaydev", "", n->gateway, e))
        return e->code;
    return 0;
}

static void script_take(const json_t *o, char out[sizeof((struct nic_conf){0}.script)])
{
    const char *text = json_string_value(json_object_get(o, "script"));
    const char *slash = text ? strrchr(text, '/') : NULL;
    bool ours = !text || !*text || !strcmp(slash ? slash + 1 : text, NIC_SCRIPT);
    format_fits(out, sizeof((struct nic_conf){0}.script), "%s", ours ? "" : text);
    text_plain(out);
}

int nic_conf_check_script(const struct nic_conf *n, struct error *e)
{
    if (!n->script[0])
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "vif %u: script %s: only what %s does is supported; to put the interface into "
                     "a bridge instead, say --vif %u=BRIDGE; to have a script make the port, set "
                     "vif_script in dompool.conf",
                     n->devid, n->script, NIC_SCRIPT, n->devid);
}

static int trusted_take(const json_t *o, bool *out, struct error *e)
{
    const json_t *v = json_object_get(o, "trusted");
    const char *text = json_string_value(v);
    *out = !text || strcmp(text, "False") != 0;
    if (!v ||
        (text && (!strcmp(text, "True") || !strcmp(text, "False") || !strcmp(text, "<default>"))))
        return 0;
    return refuse(e, "trusted is neither True nor False");
}

int nic_conf_from_xl(json_t *o, struct nic_conf *n, struct error *e)
{
    if (!json_is_object(o))
        return refuse(e, "no object");
    if (domconf_keys_check(o, KEY_NIC, e) || numbers_take(o, n, e) || texts_take(o, n, e) ||
        trusted_take(o, &n->trusted, e))
        return e->code;
    script_take(o, n->script);
    return 0;
}

/* ---- our own form ---- */

static json_t *text_or_none(const char *text)
{
    return *text ? json_string(text) : NULL;
}

static json_t *number_or_none(uint64_t n)
{
    return n ? json_integer((json_int_t)n) : NULL;
}

json_t *nic_conf_to_json(const struct nic_conf *n)
{
    char mac[MAC_TEXT_SIZE];
    mac_format(&n->mac, mac);
    return json_pack("{sI ss ss sb so* so* so* so* so* so*}", "devid", (json_int_t)n->devid, "mac",
                     mac, "bridge", n->bridge, "trusted", n->trusted, "name", text_or_none(n->name),
                     "ip", text_or_none(n->ip), "gateway", text_or_none(n->gateway), "mtu",
                     number_or_none(n->mtu), "rate_bytes", number_or_none(n->rate_bytes),
                     "rate_usecs", number_or_none(n->rate_usecs));
}

int nic_conf_from_json(json_t *o, struct nic_conf *n, struct error *e)
{
    const char *mac, *bridge, *name = "", *ip = "", *gateway = "";
    json_int_t devid, mtu = 0, bytes = 0, usecs = 0;
    int trusted;
    json_error_t why;
    if (json_unpack_ex(o, &why, JSON_STRICT, "{s:I s:s s:s s:b s?s s?s s?s s?I s?I s?I}", "devid",
                       &devid, "mac", &mac, "bridge", &bridge, "trusted", &trusted, "name", &name,
                       "ip", &ip, "gateway", &gateway, "mtu", &mtu, "rate_bytes", &bytes,
                       "rate_usecs", &usecs))
        return error_set(e, ANSWER_IMAGE_REFUSED, "%s", why.text);
    if (devid < 0 || devid > (json_int_t)NIC_INDEX_MAX || mac_parse(mac, &n->mac) ||
        !nic_name_valid(bridge) || (*name && !nic_name_valid(name)) ||
        (*gateway && !nic_name_valid(gateway)) || !ip_valid(ip))
        return refuse(e, "devid, mac, bridge, name, gateway or ip malformed");
    if ((mtu && mtu < (json_int_t)MTU_MIN) || mtu > (json_int_t)MTU_MAX || bytes < 0 || usecs < 0 ||
        usecs > (json_int_t)UINT32_MAX)
        return refuse(e, "mtu or rate is out of range");
    *n = (struct nic_conf){.devid = (unsigned)devid,
                           .mac = n->mac,
                           .mtu = (unsigned)mtu,
                           .rate_bytes = (uint64_t)bytes,
                           .rate_usecs = (unsigned)usecs,
                           .trusted = trusted};
    format_fits(n->bridge, sizeof n->bridge, "%s", bridge);
    format_fits(n->name, sizeof n->name, "%s", name);
    format_fits(n->ip, sizeof n->ip, "%s", ip);
    format_fits(n->gateway, sizeof n->gateway, "%s", gateway);
    return 0;
}

const char *nic_conf_differ(const struct nic_conf *a, const struct nic_conf *b)
{
    if (strcmp(a->bridge, b->bridge) != 0)
        return "bridge";
    if (a->mtu != b->mtu)
        return "MTU";
    if (a->rate_bytes != b->rate_bytes || a->rate_usecs != b->rate_usecs)
        return "rate";
    if (strcmp(a->name, b->name) != 0)
        return "name";
    if (strcmp(a->ip, b->ip) != 0 || strcmp(a->gateway, b->gateway) != 0)
        return "address";
    return a->trusted != b->trusted ? "trust" : NULL;
}
