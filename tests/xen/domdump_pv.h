/* domdump's view of a paravirtualised domain. What the pokes do: see domdump.c. */
#ifndef TESTS_XEN_DOMDUMP_PV_H
#define TESTS_XEN_DOMDUMP_PV_H

#include "tests/xen/domdump_parts.h"

void dump_pv(struct dump *d);
uint64_t pv_frame_of(struct dump *d, uint64_t pfn);
void pv_poke_entry(struct dump *d, uint64_t pfn);
void pv_poke_register(struct dump *d, uint32_t vcpu);

#endif
