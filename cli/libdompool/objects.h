/* Inside the client library: leases and slots made from the daemon's JSON. */
#ifndef CLI_LIBDOMPOOL_OBJECTS_H
#define CLI_LIBDOMPOOL_OBJECTS_H

#include "dompool.h"

#include <jansson.h>

/* Each takes references of its own. *out is NULL on failure, and for an empty list. -EPROTO, with
 * the reason where dompool_error_text finds it: json is not what it should be. -ENOMEM. */
int lease_make(struct dompool *d, json_t *json, struct dompool_lease **out);
int leases_make(struct dompool *d, const json_t *list, struct dompool_lease **out);
int slots_make(struct dompool *d, const json_t *list, struct dompool_slot **out);

#endif
