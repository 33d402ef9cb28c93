/* Populating a domain: see populate.h. */
#include "restore/engine/populate.h"

#include "base/array.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define BATCH 1024u
#define ORDER_1G 18u
#define ORDER_2M 9u

struct populating {
    struct xen *xen;
    uint32_t domid;
    const struct image *im;
    struct frames *frames;
    unsigned order;
    uint64_t extents_got; /* of the present order */
    size_t n;
    xen_pfn_t pfns[BATCH], extents[BATCH];
};

/* Requests the batch's extents and records those that it got, *got of them. */
static int batch_send(struct populating *p, size_t *got, struct error *e)
{
    bool pv = image_info(p->im)->guest == IMAGE_GUEST_PV;
    *got = 0;
    if (!p->n)
        return 0;
    for (size_t i = 0; i < p->n; i++)
        p->extents[i] = p->pfns[i];
    int done = xc_domain_populate_physmap(p->xen->xch, p->domid, p->n, p->order, 0, p->extents);
    if (done < 0)
        return xen_error(p->xen, e, "domain %u: allocate %zu extents of order %u", p->domid, p->n,
                         p->order);
    *got = (size_t)done;
    p->extents_got += *got;
    for (size_t i = 0; i < *got; i++)
        for (uint64_t j = 0; j < 1ull << p->order; j++) {
            uint64_t first = pv ? p->extents[i] : p->pfns[i];
            int rc = frames_place(p->frames, p->pfns[i] + j, first + j, e);
            if (rc)
                return rc;
        }
    return 0;
}

/* Whether an extent of the present order can start at this entry of the image's table. */
static bool extent_at(const struct populating *p, uint64_t entry)
{
    const struct image_page *pages = image_pages(p->im);
    uint64_t size = 1ull << p->order, first = image_page_pfn(&pages[entry]);
    if (first % size || image_info(p->im)->entries - entry < size ||
        frames_mfn(p->frames, first) != FRAME_NONE)
        return false;
    /* entries are sorted and unique, so all between them exist too */
    return image_page_pfn(&pages[entry + size - 1]) == first + size - 1;
}

/* Requests as many extents of the present order as Xen has. *short_of: Xen had fewer. */
static int populate_order(struct populating *p, bool *short_of, struct error *e)
{
    uint64_t pages = image_info(p->im)->entries;
    *short_of = false;
    p->n = 0;
    for (uint64_t i = 0; i < pages && !*short_of;) {
        bool fits = extent_at(p, i);
        if (fits)
            p->pfns[p->n++] = image_page_pfn(&image_pages(p->im)[i]);
        i += fits ? 1ull << p->order : 1;
        if (p->n < BATCH && i < pages)
            continue;
        size_t got;
        int rc = batch_send(p, &got, e);
        if (rc)
            return rc;
        *short_of = got < p->n;
        p->n = 0;
    }
    return 0;
}

int populate(struct xen *x, uint32_t domid, const struct image *im, struct frames *frames,
             struct error *e)
{
    static const unsigned orders[] = {ORDER_1G, ORDER_2M, 0};
    struct populating *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(e, -ENOMEM, "out of memory for extents");
    *p = (struct populating){.xen = x, .domid = domid, .im = im, .frames = frames};
    xen_log_clear(x);
    bool short_of = false;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(orders) && !rc; i++) {
        p->order = orders[i];
        p->extents_got = 0;
        rc = populate_order(p, &short_of, e);
        log_debug("domain %u: %" PRIu64 " extents of order %u", domid, p->extents_got, p->order);
    }
    if (!rc && short_of)
        rc = error_set(e, ANSWER_NO_HOST_MEMORY,
                       "domain %u: the hypervisor had only %" PRIu64 " of %" PRIu64
                       " pages; release leases or lower the pools",
                       domid, frames->populated, image_info(im)->entries);
    free(p);
    return rc;
}
