/*
 * The typed calls: options become parameters, answers become structs.
 *
 * A lease keeps the JSON that it came from, and its strings point into that: nothing is
 * copied, and freeing a lease is dropping one reference.
 */
#include "cli/libdompool/client.h"

#include <errno.h>
#include <stdlib.h>

/* The public struct comes first: a pointer to one is a pointer to the other. */
struct lease_box {
    struct dompool_lease lease;
    json_t *json;
    struct dompool_stage *stages;
    const char **meta;
};

/* ---- reading ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int64_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool lease_stages(struct lease_box *box)
{
    json_t *stages = json_object_get(box->json, "stages"), *stage;
    size_t n = json_array_size(stages), i;
    box->stages = calloc(n + 1, sizeof *box->stages);
    if (!box->stages)
        return false;
    json_array_foreach (stages, i, stage) {
        box->stages[i] = (struct dompool_stage){
            .name = text_of(stage, "name"),
            .us = (uint64_t)number_of(stage, "us"),
            .hypercalls = (uint64_t)number_of(stage, "hypercalls"),
        };
    }
    box->lease.stages = box->stages;
    box->lease.n_stages = n;
    return true;
}

static bool lease_meta(struct lease_box *box)
{
    json_t *meta = json_object_get(box->json, "meta"), *value;
    size_t n = 0;
    const char *key;
    box->meta = calloc(2 * json_object_size(meta) + 1, sizeof *box->meta);
    if (!box->meta)
        return false;
    json_object_foreach (meta, key, value) {
        const char *text = json_string_value(value);
        box->meta[n++] = key;
        box->meta[n++] = text ? text : "";
    }
    box->lease.meta = box->meta;
    box->lease.n_meta = n / 2;
    return true;
}

static void box_free(struct lease_box *box)
{
    json_decref(box->json);
    free(box->stages);
    free(box->meta);
    free(box);
}

/* Takes its own reference. NULL: out of memory. */
static struct lease_box *box_new(json_t *json)
{
    struct lease_box *box = calloc(1, sizeof *box);
    if (!box)
        return NULL;
    box->json = json_incref(json);
    box->lease = (struct dompool_lease){
        .lease = text_of(json, "lease"),
        .image = text_of(json, "image"),
        .uuid = text_of(json, "uuid"),
        .name = text_of(json, "name"),
        .slot = text_of(json, "slot"),
        .domid = (uint32_t)number_of(json, "domid"),
        .from = text_of(json, "from"),
        .delta_pages = (uint64_t)number_of(json, "delta_pages"),
        .total_us = (uint64_t)number_of(json, "total_us"),
        .owner_uid = (uint32_t)number_of(json, "owner_uid"),
        .created_ms = number_of(json, "created_ms"),
        .expires_ms = number_of(json, "expires_ms"),
        .hold = json_is_true(json_object_get(json, "hold")),
        .paused = json_is_true(json_object_get(json, "paused")),
    };
    if (lease_stages(box) && lease_meta(box))
        return box;
    box_free(box);
    return NULL;
}

/* Everything that a lease must have to be of use. */
static bool lease_complete(const json_t *json)
{
    return json_is_string(json_object_get(json, "lease")) &&
           json_is_string(json_object_get(json, "name")) &&
           json_is_integer(json_object_get(json, "domid"));
}

void dompool_lease_free(struct dompool_lease *lease)
{
    while (lease) {
        struct dompool_lease *next = (struct dompool_lease *)(uintptr_t)lease->next;
        box_free((struct lease_box *)lease);
        lease = next;
    }
}

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

static json_t *allocate_parameters(const struct dompool_allocate_options *o)
{
    json_t *p = json_object();
    if (p && put_text(p, "image", o->image) && put_text(p, "name", o->name) &&
        put_ms(p, "ttl_ms", o->ttl_ms) && put_ms(p, "wait_ms", o->wait_ms) &&
        put_true(p, "hold", o->hold) && put_true(p, "paused", o->paused) && put_meta(p, o))
        return p;
    json_decref(p);
    return NULL;
}

/* What is wrong, NULL when nothing is. The size check becomes one against the first version's
 * size when the struct grows, with the members behind it read only if they are inside. */
static const char *allocate_mistake(const struct dompool_allocate_options *o)
{
    if (!o || o->size < sizeof *o)
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
    if (rc)
        return rc;
    struct lease_box *box = lease_complete(reply) ? box_new(reply) : NULL;
    if (box)
        *out = &box->lease;
    else if (lease_complete(reply))
        rc = client_fail(d, -ENOMEM, "out of memory for a lease");
    else
        rc = client_fail(d, -EPROTO, "the daemon's answer to Allocate is no lease");
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
                    size_t *n_released)
{
    if (n_released)
        *n_released = 0;
    if (flags & ~(DOMPOOL_RELEASE_ALL | DOMPOOL_RELEASE_NO_WAIT))
        return client_fail(d, -EINVAL, "release: unknown flags");
    if (!(flags & DOMPOOL_RELEASE_ALL) == !n)
        return client_fail(d, -EINVAL, "release: either names or DOMPOOL_RELEASE_ALL");
    json_t *reply;
    int rc = client_call(d, "Release", release_parameters(names, n, flags), &reply);
    if (rc)
        return rc;
    if (n_released)
        *n_released = json_array_size(json_object_get(reply, "released"));
    json_decref(reply);
    return 0;
}

static int leases_build(struct dompool *d, const json_t *leases, struct dompool_lease **out)
{
    *out = NULL;
    for (size_t i = json_array_size(leases); i-- > 0;) { /* from the end: each goes in front */
        json_t *json = json_array_get(leases, i);
        struct lease_box *box = lease_complete(json) ? box_new(json) : NULL;
        if (!box) {
            dompool_lease_free(*out);
            *out = NULL;
            return lease_complete(json) ? client_fail(d, -ENOMEM, "out of memory for a lease")
                                        : client_fail(d, -EPROTO, "an entry of List is no lease");
        }
        box->lease.next = *out;
        *out = &box->lease;
    }
    return 0;
}

int dompool_list(struct dompool *d, struct dompool_lease **out)
{
    *out = NULL;
    json_t *reply;
    int rc = client_call(d, "List", json_object(), &reply);
    if (!rc)
        rc = leases_build(d, json_object_get(reply, "leases"), out);
    json_decref(reply);
    return rc;
}

int dompool_wait(struct dompool *d, const char *image, int64_t timeout_ms)
{
    if (timeout_ms < DOMPOOL_UNSET)
        return client_fail(d, -EINVAL, "wait: a negative time");
    json_t *p = json_object(), *reply;
    if (p && !(put_text(p, "image", image) && put_ms(p, "timeout_ms", timeout_ms))) {
        json_decref(p);
        p = NULL;
    }
    int rc = client_call(d, "PoolWait", p, &reply);
    json_decref(reply);
    return rc;
}
