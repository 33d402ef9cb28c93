/* What two images differ in: see image_diff.h. */
#include "restore/imaging/image_diff.h"

#include "base/page.h"
#include "restore/formats/lineage.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <string.h>

#define PROGRESS_PAGES 4096

struct counts {
    uint64_t pages, tables[4], type_changes, to_zero, added, removed, bytes, toolstack_pages;
};

static uint64_t bytes_differing(const uint8_t *a, const uint8_t *b)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < PAGE_BYTES; i++)
        n += a[i] != b[i];
    return n;
}

static void change_count(struct counts *c, const struct memory_difference *d)
{
    c->pages++;
    c->type_changes += d->from.type != d->to.type;
    c->to_zero += d->to.payload == IMAGE_PAGE_ZERO && d->from.payload != IMAGE_PAGE_ZERO;
    if (page_type_is_table(d->to.type))
        c->tables[(d->to.type & PAGE_TYPE_LEVEL_MASK) - 1]++;
    c->bytes += bytes_differing(memory_content(&d->from), memory_content(&d->to));
}

static int pages_count(const struct image_memory *a, const struct image_memory *b,
                       const struct lineage *l,
                       int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                       struct counts *c, struct error *e)
{
    struct memory_diff walk;
    struct memory_difference d;
    uint64_t total = image_info(a->base)->entries, seen = 0;
    memory_diff_start(&walk, a, b);
    while (memory_diff_step(&walk, &d)) {
        if (!(seen++ % PROGRESS_PAGES)) {
            image_drop(a->base);
            image_drop(b->base);
            if (progress && progress(seen, total, data))
                return error_set(e, -ECANCELED, "comparison stopped");
        }
        if (d.change == MEMORY_SAME)
            continue;
        if (d.change == MEMORY_ADDED)
            c->added++;
        else if (d.change == MEMORY_REMOVED)
            c->removed++;
        else if (lineage_leaves_out(l, d.to.pfn))
            c->toolstack_pages++;
        else
            change_count(c, &d);
    }
    return 0;
}

/* ---- records ---- */

static const struct image *records_of(const struct image_memory *m)
{
    return m->delta ? m->delta : m->base;
}

static bool records_differ(const struct image *a, const struct image *b, uint32_t type)
{
    struct image_record x, y;
    for (unsigned nth = 0;; nth++) {
        bool in_a = image_find_record(a, type, nth, &x);
        bool in_b = image_find_record(b, type, nth, &y);
        if (in_a != in_b)
            return true;
        if (!in_a)
            return false;
        if (x.length != y.length || memcmp(x.body, y.body, x.length) != 0)
            return true;
    }
}

static json_t *records_json(const struct image *a, const struct image *b)
{
    json_t *names = json_array();
    for (uint32_t type = 0; type < RECORD_TYPES; type++)
        if (records_differ(a, b, type))
            json_array_append_new(names, json_string(record_name(type)));
    if (records_differ(a, b, IMAGE_RECORD_XL_CONFIG))
        json_array_append_new(names, json_string("configuration"));
    return names;
}

int image_diff(const struct image_memory *a, const struct image_memory *b,
               int (*progress)(uint64_t done, uint64_t total, void *data), void *data, json_t **out,
               struct error *e)
{
    struct counts c = {0};
    struct lineage l;
    int rc = lineage_init(&l, a->base, e);
    if (!rc)
        rc = pages_count(a, b, &l, progress, data, &c, e);
    lineage_dispose(&l);
    if (rc)
        return rc;
    *out = json_pack("{s:I, s:[I, I, I, I], s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "pages",
                     (json_int_t)c.pages, "tables", (json_int_t)c.tables[0],
                     (json_int_t)c.tables[1], (json_int_t)c.tables[2], (json_int_t)c.tables[3],
                     "type_changes", (json_int_t)c.type_changes, "to_zero", (json_int_t)c.to_zero,
                     "added", (json_int_t)c.added, "removed", (json_int_t)c.removed, "bytes",
                     (json_int_t)c.bytes, "toolstack_pages", (json_int_t)c.toolstack_pages,
                     "records", records_json(records_of(a), records_of(b)));
    return *out ? 0 : error_set(e, -ENOMEM, "out of memory");
}
