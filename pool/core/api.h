/* The API io.dompool (pool/core/io.dompool.varlink): its methods over the core. */
#ifndef POOL_API_H
#define POOL_API_H

#include "pool/core/core.h"
#include "pool/service/varlink.h"

/* The service of this core; s is filled in. */
void api_init(struct service *s, struct core *core);

struct lease;
struct pool;

/* Replies' parameters. NULL: out of memory. */
json_t *api_pools(const struct core *core, const char *image); /* image "": all */
json_t *api_image(const struct pool *p);
json_t *api_allocated(const struct lease *l, uint64_t now_us);

#endif
