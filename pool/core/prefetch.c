/* Prefetching: see prefetch.h. */
#include "pool/core/prefetch.h"

#include "base/page.h"
#include "pool/core/slot_helper.h"
#include "restore/protocol/slot_protocol.h"

#include <stdlib.h>
#include <string.h>

/* Whether slots of p may become this image any time now. */
static bool is_candidate(const struct pool *p, const struct entry *im)
{
    return im->base == p->set.image && im->state == ENTRY_SOUND;
}

/* Allocated later, or made later if neither ever was. */
static bool is_before(const struct entry *a, const struct entry *b)
{
    if (a->used_us != b->used_us)
        return a->used_us > b->used_us;
    return a->facts.info.created_ms > b->facts.info.created_ms;
}

/* Into best, sorted; what is beyond EXPECTED_MAX falls out at the end. */
static void insert(const struct entry *im, const struct entry *best[EXPECTED_MAX + 1], size_t *n)
{
    size_t at = *n;
    for (; at && is_before(im, best[at - 1]); at--)
        best[at] = best[at - 1];
    best[at] = im;
    if (*n < EXPECTED_MAX)
        ++*n;
}

static size_t candidates(const struct pool *p, const struct entry *best[EXPECTED_MAX + 1])
{
    size_t n = 0;
    list_each (node, &p->core->images)
        if (is_candidate(p, entry_at(node)))
            insert(entry_at(node), best, &n);
    return n;
}

/* Paths; NULL: no memory. One that is too large does not keep smaller ones out. */
static json_t *list_make(const struct pool *p)
{
    const struct entry *best[EXPECTED_MAX + 1];
    size_t n = candidates(p, best);
    uint64_t left = p->settings.expect_max;
    char path[IMAGE_PATH_SIZE];
    json_t *list = json_array();
    for (size_t i = 0; i < n && list; i++) {
        uint64_t bytes = best[i]->facts.info.payload_pages * PAGE_BYTES;
        if (bytes > left)
            continue;
        left -= bytes;
        entry_path(best[i], path);
        if (json_array_append_new(list, json_string(path))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* All are told with the next background work, whatever it is then: no list is like null. */
static void untold(struct pool *p)
{
    json_decref(p->prefetched);
    p->prefetched = json_null();
    p->set.image->prefetch_due = true;
}

/* Slots of an older version of the base can become none of its images; they let go of what they
 * have, and are told when they have been turned. */
static bool is_told(const struct slot *s)
{
    return s->state == SLOT_WARM &&
           (slot_is_current(s) || !json_array_size(slot_pool(s)->prefetched));
}

static void tell_all(struct pool *p)
{
    bool told = true;
    list_each (node, &p->set.slots) {
        struct slot *s = container_of(node, struct slot, in_set);
        if (is_told(s))
            told &= slot_prefetch(s, p->prefetched);
    }
    if (!told)
        untold(p);
}

/* In any order: it only decides what is opened first, and a slot that has done so keeps no
 * order. */
static bool same_images(const json_t *a, const json_t *b)
{
    size_t i, found = 0;
    json_t *path;
    json_array_foreach ((json_t *)a, i, path)
        for (size_t j = 0; j < json_array_size(b); j++)
            found += json_equal(path, json_array_get(b, j)) ? 1 : 0;
    return found == json_array_size(a) && found == json_array_size(b);
}

void prefetch_check(struct pool *p)
{
    if (!p->set.image->prefetch_due)
        return;
    json_t *list = list_make(p);
    if (!list)
        return;
    p->set.image->prefetch_due = false;
    if (!p->prefetched && !json_array_size(list)) {
        json_decref(list);
        return;
    }
    bool same = json_is_array(p->prefetched) && same_images(list, p->prefetched);
    json_decref(p->prefetched);
    p->prefetched = list;
    if (!same)
        tell_all(p);
}

void prefetch_tell(struct slot *s)
{
    struct pool *p = slot_pool(s);
    if (is_told(s) && json_is_array(p->prefetched) && !slot_prefetch(s, p->prefetched))
        untold(p);
}
