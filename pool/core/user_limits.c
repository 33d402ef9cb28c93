/* What a user other than root may ask of Allocate: see user_limits.h. */
#include "pool/core/user_limits.h"

static int too_much(const struct config *config, enum config_key key, const char *what,
                    struct error *e)
{
    return error_set(e, ANSWER_LIMIT_REACHED, "%s of a user other than root: at most %s (%s)", what,
                     config_text(config, key), config_keys[key].name);
}

int user_limits_ttl(const struct config *config, uid_t uid, uint64_t ttl_ms, struct error *e)
{
    uint64_t most = config_number(config, KEY_TTL_MAX);
    if (uid == 0 || !most || (ttl_ms && ttl_ms <= most))
        return 0;
    return too_much(config, KEY_TTL_MAX, "time to live of a lease", e);
}

int user_limits_wait(const struct config *config, uid_t uid, uint64_t wait_ms, struct error *e)
{
    if (uid == 0 || wait_ms <= config_number(config, KEY_WAIT_MAX))
        return 0;
    return too_much(config, KEY_WAIT_MAX, "waiting time for a slot", e);
}

int user_limits_leases(const struct config *config, uid_t uid, unsigned leases, struct error *e)
{
    uint64_t most = config_number(config, KEY_LEASES_PER_USER);
    if (uid == 0 || !most || leases < most)
        return 0;
    return too_much(config, KEY_LEASES_PER_USER, "leases", e);
}

int user_limits_waiting(const struct config *config, uid_t uid, unsigned waiting, struct error *e)
{
    if (uid == 0 || waiting < config_number(config, KEY_WAITING_PER_USER))
        return 0;
    return too_much(config, KEY_WAITING_PER_USER, "requests that wait for a slot", e);
}

uint64_t user_limits_default_ttl(const struct config *config, uid_t uid, uint64_t image_ttl_ms)
{
    struct error e;
    return user_limits_ttl(config, uid, image_ttl_ms, &e) ? config_number(config, KEY_TTL_MAX)
                                                          : image_ttl_ms;
}
