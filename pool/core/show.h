/* Pieces of the API's replies. Each returns a new reference; NULL: no memory. */
#ifndef POOL_SHOW_H
#define POOL_SHOW_H

#include "base/uuid.h"

#include <jansson.h>
#include <stdint.h>

/* "s12" or "l7". */
json_t *show_id(char kind, uint64_t id);
/* null for "". */
json_t *show_text(const char *text);
json_t *show_uuid(const struct uuid *uuid);

#endif
