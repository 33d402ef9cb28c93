/* What warm slots are told to expect: see expect.h. */
#include "pool/core/expect.h"

#include "base/util.h"
#include "pool/core/slot.h"
#include "restore/slot_protocol.h"

#include <stdlib.h>
#include <string.h>

void pool_expect_due(struct pool *p)
{
    pool_of(p)->expect_due = true;
}

void pool_expect_used(struct pool *image)
{
    image->used_us = core_now_us(image->core);
    if (image->base)
        pool_expect_due(image);
}

/* Whether slots of p may become this image any time now. */
static bool is_candidate(const struct pool *p, const struct pool *image)
{
    return image->base == p && !image->row.removing && !image->damage[0] && !image->unverified;
}

/* Allocated later, or made later if neither ever was. */
static bool is_before(const struct pool *a, const struct pool *b)
{
    if (a->used_us != b->used_us)
        return a->used_us > b->used_us;
    return a->facts.info.created_ms > b->facts.info.created_ms;
}

/* Into best, sorted; what is beyond EXPECTED_MAX falls out at the end. */
static void insert(const struct pool *image, const struct pool *best[EXPECTED_MAX + 1], size_t *n)
{
    size_t at = *n;
    for (; at && is_before(image, best[at - 1]); at--)
        best[at] = best[at - 1];
    best[at] = image;
    if (*n < EXPECTED_MAX)
        ++*n;
}

static size_t candidates(const struct pool *p, const struct pool *best[EXPECTED_MAX + 1])
{
    size_t n = 0;
    list_each (node, &p->core->pools) {
        const struct pool *image = container_of(node, struct pool, in_core);
        if (is_candidate(p, image))
            insert(image, best, &n);
    }
    return n;
}

/* Paths; NULL: no memory. One that is too large does not keep smaller ones out. */
static json_t *list_make(const struct pool *p)
{
    const struct pool *best[EXPECTED_MAX + 1];
    size_t n = candidates(p, best);
    uint64_t left = p->settings.expect_max;
    char path[400];
    json_t *list = json_array();
    for (size_t i = 0; i < n && list; i++) {
        uint64_t bytes = best[i]->facts.info.payload_pages * PAGE_BYTES;
        if (bytes > left)
            continue;
        left -= bytes;
        pool_path(best[i], path, sizeof path);
        if (json_array_append_new(list, json_string(path))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* False: no memory. */
static bool tell(const struct slot *s)
{
    json_t *message = json_pack("{s:s, s:O}", "op", "expect", "images", s->pool->expected);
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    json_decref(message);
    return message != NULL;
}

/* All are told with the next background work, whatever it is then: no list is like null. */
static void untold(struct pool *p)
{
    json_decref(p->expected);
    p->expected = json_null();
    p->expect_due = true;
}

/* Slots of an older version of the base can become none of its images; they let go of what they
 * have, and are told when they have been turned. */
static bool is_told(const struct slot *s)
{
    return s->state == SLOT_WARM && (slot_is_current(s) || !json_array_size(s->pool->expected));
}

static void tell_all(struct pool *p)
{
    bool told = true;
    list_each (node, &p->slots) {
        const struct slot *s = container_of(node, struct slot, in_pool);
        if (is_told(s))
            told &= tell(s);
    }
    if (!told)
        untold(p);
}

/* In whatever order, which is that of the work and no more: a slot that has done it has none. */
static bool same_images(const json_t *a, const json_t *b)
{
    size_t i, found = 0;
    json_t *path;
    json_array_foreach ((json_t *)a, i, path)
        for (size_t j = 0; j < json_array_size(b); j++)
            found += json_equal(path, json_array_get(b, j)) ? 1 : 0;
    return found == json_array_size(a) && found == json_array_size(b);
}

void pool_expect_check(struct pool *p)
{
    if (!p->expect_due)
        return;
    json_t *list = list_make(p);
    if (!list)
        return;
    p->expect_due = false;
    if (!p->expected && !json_array_size(list)) {
        json_decref(list);
        return;
    }
    bool same = json_is_array(p->expected) && same_images(list, p->expected);
    json_decref(p->expected);
    p->expected = list;
    if (!same)
        tell_all(p);
}

void slot_expect(struct slot *s)
{
    if (is_told(s) && json_is_array(s->pool->expected) && !tell(s))
        untold(s->pool);
}
