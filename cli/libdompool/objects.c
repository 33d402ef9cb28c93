/*
 * Leases and slots made from the daemon's JSON: see objects.h.
 *
 * Each keeps the JSON that it came from, and its strings point into that: nothing is copied, and
 * freeing one is dropping one reference.
 */
#include "cli/libdompool/objects.h"

#include "cli/libdompool/client.h"

#include <errno.h>
#include <stdlib.h>

/* The public struct comes first: a pointer to one is a pointer to the other. */
struct lease_box {
    struct dompool_lease lease;
    json_t *json;
    struct dompool_stage *stages;
    const char **meta, **macs;
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

static bool lease_macs(struct lease_box *box)
{
    const json_t *macs = json_object_get(box->json, "macs");
    size_t n = json_array_size(macs);
    box->macs = calloc(n + 1, sizeof *box->macs);
    if (!box->macs)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(macs, i));
        box->macs[i] = text ? text : "";
    }
    box->lease.macs = box->macs;
    box->lease.n_macs = n;
    return true;
}

static void box_free(struct lease_box *box)
{
    json_decref(box->json);
    free(box->stages);
    free(box->meta);
    free(box->macs);
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
        .domid = number_of(json, "domid"),
        .from = text_of(json, "from"),
        .delta_pages = (uint64_t)number_of(json, "delta_pages"),
        .total_us = (uint64_t)number_of(json, "total_us"),
        .owner_uid = (uint32_t)number_of(json, "owner_uid"),
        .created_ms = number_of(json, "created_ms"),
        .expires_ms = number_of(json, "expires_ms"),
        .hold = json_is_true(json_object_get(json, "hold")),
        .paused = json_is_true(json_object_get(json, "paused")),
        .fault = text_of(json, "fault"),
    };
    if (lease_stages(box) && lease_meta(box) && lease_macs(box))
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

/* What a list without memory or with an entry of another kind ends with. */
static int list_fail(struct dompool *d, bool complete, const char *what)
{
    return complete ? client_fail(d, -ENOMEM, "out of memory for a %s", what)
                    : client_fail(d, -EPROTO, "the daemon's answer is no %s", what);
}

int lease_make(struct dompool *d, json_t *json, struct dompool_lease **out)
{
    struct lease_box *box = lease_complete(json) ? box_new(json) : NULL;
    *out = box ? &box->lease : NULL;
    return box ? 0 : list_fail(d, lease_complete(json), "lease");
}

int leases_make(struct dompool *d, const json_t *list, struct dompool_lease **out)
{
    *out = NULL;
    for (size_t i = json_array_size(list); i-- > 0;) { /* from the end: each goes in front */
        struct dompool_lease *lease;
        int rc = lease_make(d, json_array_get(list, i), &lease);
        if (rc) {
            dompool_lease_free(*out);
            *out = NULL;
            return rc;
        }
        lease->next = *out;
        *out = lease;
    }
    return 0;
}

void dompool_lease_free(struct dompool_lease *lease)
{
    while (lease) {
        struct dompool_lease *next = (struct dompool_lease *)(uintptr_t)lease->next;
        box_free((struct lease_box *)lease);
        lease = next;
    }
}

/* ---- slots ---- */

struct slot_box {
    struct dompool_slot slot; /* first, as in lease_box */
    json_t *json;
};

static struct slot_box *slot_new(json_t *json)
{
    struct slot_box *box = calloc(1, sizeof *box);
    if (!box)
        return NULL;
    const json_t *domid = json_object_get(json, "domid");
    box->json = json_incref(json);
    box->slot = (struct dompool_slot){
        .slot = text_of(json, "slot"),
        .image = text_of(json, "image"),
        .state = text_of(json, "state"),
        .engine = text_of(json, "engine"),
        .uuid = text_of(json, "uuid"),
        .name = text_of(json, "name"),
        .lease = text_of(json, "lease"),
        .reason = text_of(json, "reason"),
        .domid = json_is_integer(domid) ? json_integer_value(domid) : DOMPOOL_UNSET,
        .since_ms = number_of(json, "since_ms"),
    };
    return box;
}

int slots_make(struct dompool *d, const json_t *list, struct dompool_slot **out)
{
    *out = NULL;
    for (size_t i = json_array_size(list); i-- > 0;) {
        json_t *json = json_array_get(list, i);
        bool complete = json_is_string(json_object_get(json, "slot"));
        struct slot_box *box = complete ? slot_new(json) : NULL;
        if (!box) {
            dompool_slot_free(*out);
            *out = NULL;
            return list_fail(d, complete, "slot");
        }
        box->slot.next = *out;
        *out = &box->slot;
    }
    return 0;
}

void dompool_slot_free(struct dompool_slot *slot)
{
    while (slot) {
        struct dompool_slot *next = (struct dompool_slot *)(uintptr_t)slot->next;
        json_decref(((struct slot_box *)slot)->json);
        free(slot);
        slot = next;
    }
}
