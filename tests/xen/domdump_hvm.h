/* domdump's view of a PVH domain. What the poke does: see domdump.c. */
#ifndef TESTS_XEN_DOMDUMP_HVM_H
#define TESTS_XEN_DOMDUMP_HVM_H

#include "tests/xen/domdump_parts.h"

void dump_hvm(struct dump *d);
void hvm_poke_register(struct dump *d, uint32_t vcpu);

#endif
