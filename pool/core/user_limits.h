/*
 * What a user other than root may ask of Allocate. Everything here lets root pass. Each refusal,
 * ANSWER_LIMIT_REACHED, has the bound and its setting in the text.
 */
#ifndef POOL_USER_LIMITS_H
#define POOL_USER_LIMITS_H

#include "pool/service/config.h"

#include <sys/types.h>

/* Of a request: ttl_ms 0 means no deadline. */
int user_limits_ttl(const struct config *config, uid_t uid, uint64_t ttl_ms, struct error *e);
int user_limits_wait(const struct config *config, uid_t uid, uint64_t wait_ms, struct error *e);
/* One lease more, besides so many of this user, with those that wait. */
int user_limits_leases(const struct config *config, uid_t uid, unsigned leases, struct error *e);
/* One request more would wait for a slot, besides so many of this user. */
int user_limits_waiting(const struct config *config, uid_t uid, unsigned waiting, struct error *e);
/* The time to live of a lease whose request gives none: the image's, or less. */
uint64_t user_limits_default_ttl(const struct config *config, uid_t uid, uint64_t image_ttl_ms);

#endif
