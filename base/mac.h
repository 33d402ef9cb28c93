/* MAC addresses of network interfaces. */
#ifndef BASE_MAC_H
#define BASE_MAC_H

#include "base/uuid.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MAC_TEXT_SIZE 18 /* "02:12:34:56:78:00" and its NUL */

struct mac {
    uint8_t b[6];
};

bool mac_equal(const struct mac *a, const struct mac *b);

/* Of a domain's interfaces, by rising number. */
#define MACS_MAX 16u
#define MACS_TEXT_SIZE (MACS_MAX * MAC_TEXT_SIZE)
struct macs {
    unsigned n;
    struct mac at[MACS_MAX];
};

/* With commas between them; "" for none. 0 or -1. */
int macs_parse(const char *text, struct macs *out);
void macs_format(const struct macs *m, char text[MACS_TEXT_SIZE]);
/* An array of texts. New reference; NULL: no memory. */
json_t *macs_to_json(const struct macs *m);
/* Whether both have an address. */
bool macs_share(const struct macs *a, const struct macs *b);

/* How the interfaces of copies get their addresses. */
enum mac_rule {
    MAC_GENERATED, /* locally administered, from the domain's UUID */
    MAC_XEN,       /* the same in Xen's own range, 00:16:3e */
    MAC_SAVED      /* as it was saved */
};

/* "generated", "xen", "saved"; 0 or -1. */
int mac_rule_parse(const char *text, enum mac_rule *out);
/* Static. */
const char *mac_rule_name(enum mac_rule rule);

/* Six pairs of hexadecimal digits with colons between them, as xl takes them. 0, or -1: another
 * text, or an address that no interface may have (a group's, or all zeros). */
int mac_parse(const char *text, struct mac *out);
void mac_format(const struct mac *m, char text[MAC_TEXT_SIZE]);

/*
 * The address of a domain's interface number `index`, 0 to 15, by MAC_GENERATED or MAC_XEN. It is
 * made of the domain's UUID, so whoever knows that knows the address, and nothing has to be kept.
 * The addresses of two domains differ, by either rule, if the mac_keys of their UUIDs do.
 */
struct mac mac_of_uuid(enum mac_rule rule, const struct uuid *uuid, unsigned index);
/* The bits of a UUID that both rules use: 18. */
uint32_t mac_key(const struct uuid *uuid);

#endif
