/*
 * MAC addresses: see mac.h.
 *
 *   generated  02|u0:u1:u2:u3:u4:index, the second bit of the first byte set, the first one clear
 *   xen        00:16:3e:u0:u1:u2 with the index in the last four bits
 *
 * u0 to u4 are the first bytes of the UUID, all random in version 4. What both rules use of it is
 * 18 bits: enough for a choice to find a free one among the domains of a host, not to be free by
 * chance.
 */
#include "base/mac.h"

#include "base/array.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define INDEX_MASK 0x0fu /* of the last byte, by MAC_XEN */

static const char *const rules[] = {"generated", "xen", "saved"};

int mac_rule_parse(const char *text, enum mac_rule *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (!strcmp(rules[i], text)) {
            *out = (enum mac_rule)i;
            return 0;
        }
    return -1;
}

const char *mac_rule_name(enum mac_rule rule)
{
    return rules[rule];
}

static int is_usable(const struct mac *m)
{
    static const struct mac none = {{0}};
    return !(m->b[0] & 1) && memcmp(m, &none, sizeof none) != 0;
}

int mac_parse(const char *text, struct mac *out)
{
    if (strlen(text) != MAC_TEXT_SIZE - 1)
        return -1;
    for (size_t i = 0; i < sizeof out->b; i++) {
        const char *pair = text + 3 * i;
        if (hex_take(pair, &out->b[i], 1) || pair[2] != (i < 5 ? ':' : '\0'))
            return -1;
    }
    return is_usable(out) ? 0 : -1;
}

void mac_format(const struct mac *m, char text[MAC_TEXT_SIZE])
{
    snprintf(text, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", m->b[0], m->b[1], m->b[2],
             m->b[3], m->b[4], m->b[5]);
}

bool mac_equal(const struct mac *a, const struct mac *b)
{
    return !memcmp(a, b, sizeof *a);
}

int macs_parse(const char *text, struct macs *out)
{
    char one[MAC_TEXT_SIZE];
    *out = (struct macs){0};
    for (const char *at = text; *at; at += MAC_TEXT_SIZE - 1) {
        at += out->n && *at == ',';
        if (out->n == MACS_MAX || strnlen(at, MAC_TEXT_SIZE - 1) < MAC_TEXT_SIZE - 1)
            return -1;
        format_fits(one, sizeof one, "%.*s", (int)MAC_TEXT_SIZE - 1, at);
        if (mac_parse(one, &out->at[out->n++]))
            return -1;
    }
    return 0;
}

void macs_format(const struct macs *m, char text[MACS_TEXT_SIZE])
{
    text[0] = '\0';
    for (unsigned i = 0; i < m->n; i++) {
        char *at = text + i * MAC_TEXT_SIZE;
        if (i)
            at[-1] = ',';
        mac_format(&m->at[i], at);
    }
}

json_t *macs_to_json(const struct macs *m)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < m->n; i++) {
        char text[MAC_TEXT_SIZE];
        mac_format(&m->at[i], text);
        if (json_array_append_new(array, json_string(text))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

bool macs_share(const struct macs *a, const struct macs *b)
{
    for (unsigned i = 0; i < a->n; i++)
        for (unsigned k = 0; k < b->n; k++)
            if (mac_equal(&a->at[i], &b->at[k]))
                return true;
    return false;
}

struct mac mac_of_uuid(enum mac_rule rule, const struct uuid *uuid, unsigned index)
{
    const uint8_t *u = uuid->bytes;
    uint8_t i = (uint8_t)(index & INDEX_MASK);
    if (rule == MAC_XEN)
        return (struct mac){{0x00, 0x16, 0x3e, u[0], u[1], (uint8_t)((u[2] & ~INDEX_MASK) | i)}};
    return (struct mac){{(uint8_t)((u[0] & ~3u) | 2u), u[1], u[2], u[3], u[4], i}};
}

/* The two low bits of u0 are not in a generated address. */
uint32_t mac_key(const struct uuid *uuid)
{
    const uint8_t *u = uuid->bytes;
    return (uint32_t)(u[0] & ~3u) << 16 | (uint32_t)u[1] << 8 | (u[2] & ~INDEX_MASK);
}
