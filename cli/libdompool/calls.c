/* The typed calls: options become parameters, answers become structs (objects.h). */
#include "cli/libdompool/client.h"
#include "cli/libdompool/objects.h"

#include <errno.h>
#include <stddef.h>

/* ---- allocate ---- */

/* Sets key when value is not NULL. False: out of memory, or not UTF-8. */
static bool put_text(json_t *object, const char *key, const char *value)
{
    return !value || !json_object_set_new(object, key, json_string(value));
}

static bool put_ms(json_t *object, const char *key, int64_t ms)
{
    return ms == DOMPOOL_UNSET || !json_object_set_new(object, key, json_integer(ms));
}

static bool put_true(json_t *object, const char *key, bool set)
{
    return !set || !json_object_set_new(object, key, json_true());
}

static bool put_meta(json_t *object, const struct dompool_allocate_options *o)
{
    if (!o->n_meta)
        return true;
    json_t *meta = json_object();
    bool ok = meta != NULL;
    for (size_t i = 0; ok && i < o->n_meta; i++)
        ok = put_text(meta, o->meta[2 * i], o->meta[2 * i + 1]);
    return !json_object_set_new(object, "meta", meta) && ok;
}

/* The options of a program that was built before there was a mac. */
#define OPTIONS_FIRST offsetof(struct dompool_allocate_options, mac)

static const char *allocate_mac(const struct dompool_allocate_options *o)
{
    return o->size > OPTIONS_FIRST ? o->mac : NULL;
}

static json_t *allocate_parameters(const struct dompool_allocate_options *o)
{
    json_t *p = json_object();
    if (p && put_text(p, "image", o->image) && put_text(p, "name", o->name) &&
        put_ms(p, "ttl_ms", o->ttl_ms) && put_ms(p, "wait_ms", o->wait_ms) &&
        put_true(p, "hold", o->hold) && put_true(p, "paused", o->paused) &&
        put_text(p, "mac", allocate_mac(o)) && put_meta(p, o))
        return p;
    json_decref(p);
    return NULL;
}

/* What is wrong, NULL when nothing is. Members behind those of the first version are read only if
 * they are inside. */
static const char *allocate_mistake(const struct dompool_allocate_options *o)
{
    if (!o || o->size < OPTIONS_FIRST)
        return "allocate: options are missing or their size is not set";
    if (!o->image || !*o->image)
        return "allocate: no image given";
    if (o->ttl_ms < DOMPOOL_UNSET || o->wait_ms < DOMPOOL_UNSET)
        return "allocate: a negative time";
    if (o->n_meta && !o->meta)
        return "allocate: n_meta without meta";
    for (size_t i = 0; i < 2 * o->n_meta; i++)
        if (!o->meta[i])
            return "allocate: a NULL in meta";
    return NULL;
}

int dompool_allocate(struct dompool *d, const struct dompool_allocate_options *options,
                     struct dompool_lease **out)
{
    *out = NULL;
    const char *mistake = allocate_mistake(options);
    if (mistake)
        return client_fail(d, -EINVAL, "%s", mistake);
    json_t *reply;
    int rc = client_call(d, "Allocate", allocate_parameters(options), &reply);
    if (!rc)
        rc = lease_make(d, reply, out);
    json_decref(reply);
    return rc;
}

/* ---- the others ---- */

static json_t *release_parameters(const char *const *names, size_t n, unsigned flags)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = names[i] && !json_array_append_new(list, json_string(names[i]));
    if (!ok) {
        json_decref(list);
        return NULL;
    }
    json_t *wait = json_boolean(!(flags & DOMPOOL_RELEASE_NO_WAIT));
    if (flags & DOMPOOL_RELEASE_ALL) {
        json_decref(list);
        return json_pack("{s:b, s:o}", "all", 1, "wait", wait);
    }
    return json_pack("{s:o, s:o}", "leases", list, "wait", wait);
}

int dompool_release(struct dompool *d, const char *const *names, size_t n, unsigned flags,
                    struct dompool_lease **ended)
{
    if (ended)
        *ended = NULL;
    if (flags & ~(DOMPOOL_RELEASE_ALL | DOMPOOL_RELEASE_NO_WAIT))
        return client_fail(d, -EINVAL, "release: unknown flags");
    if (!(flags & DOMPOOL_RELEASE_ALL) == !n)
        return client_fail(d, -EINVAL, "release: give either names or DOMPOOL_RELEASE_ALL");
    json_t *reply;
    int rc = client_call(d, "Release", release_parameters(names, n, flags), &reply);
    if (!rc && ended)
        rc = leases_make(d, json_object_get(reply, "released"), ended);
    json_decref(reply);
    return rc;
}

int dompool_list(struct dompool *d, struct dompool_lease **leases, struct dompool_slot **slots)
{
    json_t *reply;
    if (leases)
        *leases = NULL;
    if (slots)
        *slots = NULL;
    int rc = client_call(d, "List", json_object(), &reply);
    if (!rc && leases)
        rc = leases_make(d, json_object_get(reply, "leases"), leases);
    if (!rc && slots)
        rc = slots_make(d, json_object_get(reply, "slots"), slots);
    if (rc && leases) {
        dompool_lease_free(*leases);
        *leases = NULL;
    }
    json_decref(reply);
    return rc;
}

int dompool_wait(struct dompool *d, const char *image, int64_t timeout_ms)
{
    if (timeout_ms < DOMPOOL_UNSET)
        return client_fail(d, -EINVAL, "wait: the timeout is negative");
    json_t *p = json_object(), *reply;
    if (p && !(put_text(p, "image", image) && put_ms(p, "timeout_ms", timeout_ms))) {
        json_decref(p);
        p = NULL;
    }
    int rc = client_call(d, "PoolWait", p, &reply);
    json_decref(reply);
    return rc;
}
