/* Addresses of interfaces: see nic_address.h. */
#include "restore/formats/nic_address.h"

#include "base/units.h"

#include <arpa/inet.h>
#include <string.h>

static int address_parse(char *text, struct nic_address *a)
{
    uint64_t bits;
    char *slash = strchr(text, '/');
    if (slash)
        *slash = '\0';
    *a = (struct nic_address){.v6 = strchr(text, ':') != NULL};
    unsigned most = a->v6 ? 128 : 32;
    if (inet_pton(a->v6 ? AF_INET6 : AF_INET, text, a->b) != 1)
        return -1;
    if (slash && number_parse(slash + 1, 0, most, &bits))
        return -1;
    a->bits = slash ? (unsigned)bits : most;
    return 0;
}

int nic_addresses_parse(const char *text, struct nic_address out[NIC_ADDRESSES_MAX], unsigned *n)
{
    char one[INET6_ADDRSTRLEN + 4];
    *n = 0;
    for (;;) {
        text += strspn(text, " ");
        size_t len = strcspn(text, " ");
        if (!len)
            return 0;
        if (len >= sizeof one || *n == NIC_ADDRESSES_MAX)
            return -1;
        memcpy(one, text, len);
        one[len] = '\0';
        if (address_parse(one, &out[(*n)++]))
            return -1;
        text += len;
    }
}
