/*
 * The hypervisor's list of domains, for tests: creating, limiting, pausing, listing and destroying
 * them, each with its memory in a struct fake_xen (fake_xen.h). What it refuses is what Xen
 * refuses:
 *
 *   - more vCPUs than the domain was created for; pages beyond its limit, or beyond what is free
 *   - whatever is done to a domain that is not there, or is being destroyed
 *   - a cpupool that is not there or has no processor; an affinity without any of its processors;
 *     parameters of a scheduler that is not the cpupool's
 *
 * A destroyed domain is dying for a while, and for as long as somebody maps its memory. Then it is
 * gone, its memory is free, and xenstored is told, if it knows the domain.
 */
#ifndef TESTS_DOMAINS_H
#define TESTS_DOMAINS_H

#include "base/uuid.h"
#include "tests/fake_xen/fake_xen.h"

#include <stdio.h>

#define FAKE_PORTS_MAX 8u
#define FAKE_CPUS 4u /* of the host; so many NUMA nodes as well */
#define FAKE_POOLS 3u

struct fake_domain {
    struct fake_domain *next;
    uint32_t domid;
    struct uuid uuid;
    struct xen_domctl_createdomain created_as;
    struct fake_xen memory;
    unsigned vcpus, pauses; /* it runs when pauses is 0 */
    bool dying, shutdown;
    unsigned shutdown_reason;
    bool held; /* by something that the test plays: it stays dying */
    uint64_t max_mem_kib, map_limit_kib, paging_pool_bytes;
    uint32_t ports[FAKE_PORTS_MAX]; /* that dom0 may bind to */
    unsigned n_ports, policies;     /* policies: how often its CPU policy has been set */
    /* Where it runs: bit n for processor n. All processors, where nothing has been set. */
    uint8_t hard[FAKE_VCPUS], soft[FAKE_VCPUS], nodes;
    unsigned weight, cap, affinities; /* affinities: how many have been set */
    int32_t time_offset_s;
};

/* Of number n in the array; n 0 has all processors. */
struct fake_pool {
    bool there;
    uint32_t scheduler; /* XEN_SCHEDULER_* */
    uint8_t cpus;       /* bit n for processor n */
};

struct fake_hypervisor {
    uint64_t total_pages, free_pages, scrub_pages;
    uint32_t next_domid;
    unsigned death_ms; /* how long a domain is dying */
    unsigned nameless; /* domains that were made while xenstore had no name for them */
    unsigned lingers;  /* so often a domid that is asked for is said to be in use still */
    bool old_grants;   /* Xen was built without version 2 of grant tables */
    bool vpmu;         /* Xen gives performance counters */
    int version;       /* as XENVER_version has it; the headers' own */
    struct fake_pool pools[FAKE_POOLS];
};
extern struct fake_hypervisor fake_hypervisor;

/* No domain but dom0; a machine of 1 GiB. */
void fake_domains_init(void);
void fake_domains_dispose(void);

/* NULL: there is none, not even a dying one. */
struct fake_domain *fake_domain_find(uint32_t domid);
/* Somebody else's domain: running, with this uuid, or NULL: one of 0x77. */
struct fake_domain *fake_domain_add(uint32_t domid, const struct uuid *uuid);
/* It shuts itself down. */
void fake_domain_shutdown(uint32_t domid, unsigned reason);
/* It is destroyed by somebody else, and gone at once. */
void fake_domain_end(uint32_t domid);
/* For fake_store_hooks.introduce: xenstored can map its ring and bind to its port. */
bool fake_domain_introduce(uint32_t domid, uint64_t gfn, uint32_t port);
/* A line for each domain, and for each handle and mapping that the program holds. */
void fake_domains_print(FILE *out);

#endif
