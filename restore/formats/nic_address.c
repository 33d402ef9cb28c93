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
    for (unsigned i = a->bits; i < most; i++)
        a->b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
    return 0;
}

bool nic_address_equal(const struct nic_address *a, const struct nic_address *b)
{
    return a->v6 == b->v6 && a->bits == b->bits && !memcmp(a->b, b->b, sizeof a->b);
}

static bool is_new(const struct nic_address *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (nic_address_equal(&list[i], &list[n]))
            return false;
    return true;
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
        if (address_parse(one, &out[*n]))
            return -1;
        *n += is_new(out, *n);
        text += len;
    }
}
