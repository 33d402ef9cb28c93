/*
 * Addresses that a guest's interface may send from: what libxl's word `ip` of a vif says, which the
 * script vif-bridge makes rules of.
 */
#ifndef RESTORE_NIC_ADDRESS_H
#define RESTORE_NIC_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define NIC_ADDRESSES_MAX 16u

/* One address, or a network of them. */
struct nic_address {
    bool v6;
    unsigned bits; /* that count: 32 or 128 for one address */
    uint8_t b[16]; /* network order; an IPv4 one is in the first four */
};

/* From addresses of either family with blanks between them, each with /BITS or without. 0; or -1,
 * when one of them is none or there are more than NIC_ADDRESSES_MAX. Bits that do not count are
 * zeros, and none is there twice. */
int nic_addresses_parse(const char *text, struct nic_address out[NIC_ADDRESSES_MAX], unsigned *n);

bool nic_address_equal(const struct nic_address *a, const struct nic_address *b);

#endif
