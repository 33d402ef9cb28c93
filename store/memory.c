/* Walks over the memory of images: see memory.h. */
#include "store/memory.h"

#include "base/page.h"

#include <inttypes.h>
#include <string.h>

/* Both tables are sorted. The first pfn that base has not; UINT64_MAX when there is none. */
static uint64_t first_added(const struct image *base, const struct image *delta)
{
    uint64_t at = 0, in_base = image_info(base)->entries, in_delta = image_info(delta)->entries;
    for (uint64_t i = 0; i < in_delta; i++) {
        uint64_t pfn = image_page_pfn(&image_pages(delta)[i]);
        while (at < in_base && image_page_pfn(&image_pages(base)[at]) < pfn)
            at++;
        if (at == in_base || image_page_pfn(&image_pages(base)[at]) != pfn)
            return pfn;
    }
    return UINT64_MAX;
}

int memory_check(const struct image_memory *m, struct error *e)
{
    const struct image_info *base = image_info(m->base);
    const struct image_info *delta = m->delta ? image_info(m->delta) : NULL;
    if (!image_is_base(base))
        return error_set(e, ANSWER_IMAGE_REFUSED, "a derived image cannot be a base");
    if (!delta)
        return 0;
    if (!uuid_equal(&delta->base_id, &base->id))
        return error_set(e, ANSWER_IMAGE_REFUSED, "the image is not derived from this base");
    if (delta->guest != base->guest || delta->max_pfn != base->max_pfn ||
        delta->vcpus != base->vcpus)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image and its base differ in guest kind, vCPUs or highest pfn");
    if (delta->populated != base->populated)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image has %" PRIu64 " populated pages, but its base has %" PRIu64,
                         delta->populated, base->populated);
    uint64_t added = first_added(m->base, m->delta);
    if (added != UINT64_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the image has a page at pfn %#" PRIx64 ", but its base has none there",
                         added);
    return 0;
}

void memory_walk_start(struct memory_walk *w, const struct image_memory *m)
{
    *w = (struct memory_walk){.memory = *m};
}

static uint64_t pfn_at(const struct image *im, uint64_t index)
{
    return im && index < image_info(im)->entries ? image_page_pfn(&image_pages(im)[index])
                                                 : UINT64_MAX;
}

static void page_fill(struct memory_page *p, const struct image *im, const struct image_page *entry)
{
    *p = (struct memory_page){
        .pfn = image_page_pfn(entry),
        .type = image_page_type(entry),
        .image = im,
        .payload = entry->payload,
    };
}

bool memory_walk_next(struct memory_walk *w, struct memory_page *out)
{
    const struct image *base = w->memory.base, *delta = w->memory.delta;
    uint64_t in_base = pfn_at(base, w->at_base), in_delta = pfn_at(delta, w->at_delta);
    if (in_base == UINT64_MAX && in_delta == UINT64_MAX)
        return false;
    if (in_delta <= in_base)
        page_fill(out, delta, &image_pages(delta)[w->at_delta]);
    else
        page_fill(out, base, &image_pages(base)[w->at_base]);
    w->at_base += in_base == out->pfn;
    w->at_delta += in_delta == out->pfn;
    return true;
}

bool memory_find(const struct image_memory *m, uint64_t pfn, struct memory_page *out)
{
    const struct image_page *entry = m->delta ? image_find(m->delta, pfn) : NULL;
    const struct image *im = entry ? m->delta : m->base;
    if (!entry)
        entry = image_find(m->base, pfn);
    if (entry)
        page_fill(out, im, entry);
    return entry != NULL;
}

const void *memory_content(const struct memory_page *p)
{
    return image_payload(p->image, p->payload);
}

bool memory_page_equal(const struct memory_page *a, const struct memory_page *b)
{
    const void *x = memory_content(a), *y = memory_content(b); /* one and the same for zeros */
    return a->type == b->type && (x == y || !memcmp(x, y, PAGE_BYTES));
}

void memory_diff_start(struct memory_diff *d, const struct image_memory *from,
                       const struct image_memory *to)
{
    memory_walk_start(&d->from_walk, from);
    memory_walk_start(&d->to_walk, to);
    d->from_left = memory_walk_next(&d->from_walk, &d->from);
    d->to_left = memory_walk_next(&d->to_walk, &d->to);
}

bool memory_diff_step(struct memory_diff *d, struct memory_difference *out)
{
    bool from = d->from_left && (!d->to_left || d->from.pfn <= d->to.pfn);
    bool to = d->to_left && (!d->from_left || d->to.pfn <= d->from.pfn);
    if (!from && !to)
        return false;
    *out = (struct memory_difference){.change = !from ? MEMORY_ADDED : MEMORY_REMOVED};
    if (from) {
        out->from = d->from;
        d->from_left = memory_walk_next(&d->from_walk, &d->from);
    }
    if (to) {
        out->to = d->to;
        d->to_left = memory_walk_next(&d->to_walk, &d->to);
    }
    if (from && to)
        out->change = memory_page_equal(&out->from, &out->to) ? MEMORY_SAME : MEMORY_CHANGED;
    return true;
}

bool memory_diff_next(struct memory_diff *d, struct memory_difference *out)
{
    while (memory_diff_step(d, out))
        if (out->change != MEMORY_SAME)
            return true;
    return false;
}
