/* The API io.dompool (pool/core/io.dompool.varlink): its methods over the core. */
#ifndef POOL_API_H
#define POOL_API_H

#include "pool/core/ground.h"
#include "pool/service/varlink.h"

/* The service of this core; s is filled in. */
void api_init(struct service *s, struct core *core);

/* The text of pool/core/io.dompool.varlink, NUL-terminated: interface.c, made by CMake. */
extern const char api_interface_text[];

#endif
