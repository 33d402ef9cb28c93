/*
 * Import: see import.h.
 *
 * Page contents go straight from the read buffer to the image; kept in memory
 * are 16 bytes for each page and the records. A page that comes more than once
 * (live migration) has more than one entry until the stream ends; then the last
 * one counts, and contents that nobody names any more stay in the file unused.
 *
 * `xl save` writes pfns in ascending order, so normally there is nothing to
 * sort. A stream in another order is sorted stably, which keeps "the last one".
 *
 * Only when memory and records are complete can they be checked against one
 * another (guest_check.h); only then is the image committed.
 */
#include "restore/import.h"

#include "base/util.h"
#include "restore/domconf.h"
#include "restore/guest_check.h"
#include "restore/savefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Populated pages beyond the configured memory: libxl's own allowance of 1 MiB for
 * special pages, and grant and status frames that a PVH guest has mapped and that
 * the saver takes for memory.
 */
#define EXTRA_PAGES 1024u
/* Pfns may lie above the memory's size: MMIO holes below 4 GiB, and Linux' room for
 * ballooning, at most 10 times the memory. What libxenguest allocates grows with them. */
#define PFN_SPREAD 16u
#define PFN_BASE ((4ull << 30) / PAGE_BYTES)

struct import {
    struct domconf conf;
    struct image_writer *writer;
    struct guest_check check;
    struct image_page *pages;
    uint64_t n_pages, pages_max;
    uint64_t next_pfn; /* one more than the highest that came */
    bool sorted;
    uint64_t max_pfn;
    uint8_t *types;  /* see struct guest_memory */
    char *xl_config; /* the file's JSON, verbatim */
    size_t xl_config_len;
};

static void import_init(struct import *im)
{
    *im = (struct import){.sorted = true};
    domconf_init(&im->conf);
}

static void import_dispose(struct import *im)
{
    domconf_dispose(&im->conf);
    image_writer_free(im->writer);
    guest_check_dispose(&im->check);
    free(im->pages);
    free(im->types);
    free(im->xl_config);
    import_init(im);
}

/* ---- what stream_read calls ---- */

static int import_header(void *data, const struct stream_header *h, struct error *e)
{
    struct import *im = data;
    struct image_record_origin origin = {
        .stream_version = h->version,
        .xen_major = h->xen_major,
        .xen_minor = h->xen_minor,
    };
    return image_writer_record(im->writer, IMAGE_RECORD_ORIGIN, &origin, sizeof origin, e);
}

static int import_record(void *data, uint32_t type, const void *body, uint32_t length,
                         struct error *e)
{
    struct import *im = data;
    int rc = guest_check_record(&im->check, type, body, length, e);
    return rc ? rc : image_writer_record(im->writer, type, body, length, e);
}

static int page_append(struct import *im, uint64_t pfn, unsigned type, uint64_t payload,
                       struct error *e)
{
    if (im->n_pages == im->pages_max) {
        uint64_t more = im->pages_max ? im->pages_max * 2 : 4096;
        struct image_page *bigger = realloc(im->pages, more * sizeof *bigger);
        if (!bigger)
            return error_set(e, -ENOMEM, "out of memory for %" PRIu64 " pages", more);
        im->pages = bigger;
        im->pages_max = more;
    }
    im->pages[im->n_pages++] = (struct image_page){
        .pfn_type = pfn | (uint64_t)type << IMAGE_TYPE_SHIFT,
        .payload = payload,
    };
    if (pfn < im->next_pfn)
        im->sorted = false;
    else
        im->next_pfn = pfn + 1;
    return 0;
}

static int import_page(void *data, uint64_t pfn, unsigned type, const void *content,
                       struct error *e)
{
    struct import *im = data;
    uint64_t payload = IMAGE_PAGE_ZERO;
    if (!content && pfn >= im->next_pfn)
        return 0; /* takes nothing away, for nothing came before */
    int rc = content ? image_writer_payload(im->writer, content, &payload, e) : 0;
    return rc ? rc : page_append(im, pfn, content ? type : PAGE_XTAB, payload, e);
}

/* ---- once the stream has ended ---- */

/* Merges the sorted runs [0, mid) and [mid, n); of equals the left one stays first. */
static void runs_merge(const struct image_page *from, uint64_t mid, uint64_t n,
                       struct image_page *to)
{
    uint64_t left = 0, right = mid;
    for (uint64_t i = 0; i < n; i++) {
        bool take_left = left < mid && (right >= n || image_page_pfn(&from[left]) <=
                                                          image_page_pfn(&from[right]));
        to[i] = from[take_left ? left++ : right++];
    }
}

/* Stable sort by pfn (qsort promises no stability). */
static int pages_sort(struct import *im, struct error *e)
{
    struct image_page *other = malloc((im->n_pages + 1) * sizeof *other);
    if (!other)
        return error_set(e, -ENOMEM, "out of memory sorting %" PRIu64 " pages", im->n_pages);
    for (uint64_t run = 1; run < im->n_pages; run *= 2) {
        for (uint64_t at = 0; at < im->n_pages; at += 2 * run) {
            uint64_t left = im->n_pages - at, n = left < 2 * run ? left : 2 * run;
            runs_merge(im->pages + at, run < n ? run : n, n, other + at);
        }
        struct image_page *sorted = other;
        other = im->pages;
        im->pages = sorted;
    }
    im->pages_max = im->n_pages + 1;
    free(other);
    return 0;
}

/* Keeps the last entry of each pfn, and of these the populated ones. */
static void pages_compact(struct import *im)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < im->n_pages; i++) {
        bool last = i + 1 == im->n_pages ||
                    image_page_pfn(&im->pages[i]) != image_page_pfn(&im->pages[i + 1]);
        if (last && image_page_type(&im->pages[i]) != PAGE_XTAB)
            im->pages[kept++] = im->pages[i];
    }
    im->n_pages = kept;
}

static int pages_finish(struct import *im, struct error *e)
{
    int rc = im->sorted ? 0 : pages_sort(im, e);
    if (rc)
        return rc;
    pages_compact(im);
    uint64_t allowed = im->conf.max_mem_kib / (PAGE_BYTES / 1024) + EXTRA_PAGES;
    if (!im->n_pages || im->n_pages > allowed)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: PAGE_DATA: %" PRIu64 " pages of memory, but the "
                         "configuration allows 1 to %" PRIu64 " (max_memkb %" PRIu64 ")",
                         im->n_pages, allowed, im->conf.max_mem_kib);
    return 0;
}

static int types_fill(struct import *im, struct error *e)
{
    im->types = malloc(im->max_pfn + 1); /* below stream_limits.pfn_limit */
    if (!im->types)
        return error_set(e, -ENOMEM, "out of memory for %" PRIu64 " page types", im->max_pfn + 1);
    memset(im->types, GUEST_NOT_POPULATED, im->max_pfn + 1);
    for (uint64_t i = 0; i < im->n_pages; i++)
        im->types[image_page_pfn(&im->pages[i])] = (uint8_t)image_page_type(&im->pages[i]);
    return 0;
}

static int page_compare(const void *key, const void *entry)
{
    uint64_t pfn = *(const uint64_t *)key, other = image_page_pfn(entry);
    return (pfn > other) - (pfn < other);
}

/* guest_check's read_page: only for pfns that are populated */
static int import_read_page(void *data, uint64_t pfn, void *page, struct error *e)
{
    struct import *im = data;
    const struct image_page *found =
        bsearch(&pfn, im->pages, im->n_pages, sizeof *found, page_compare);
    return image_writer_read_payload(im->writer, found->payload, page, e);
}

static int guest_finish(struct import *im, struct error *e)
{
    int rc = types_fill(im, e);
    if (rc)
        return rc;
    struct guest_memory m = {
        .max_pfn = im->max_pfn,
        .types = im->types,
        .read_page = import_read_page,
        .data = im,
    };
    return guest_check_finish(&im->check, &m, e);
}

static int image_finish(struct import *im, struct image_info *info, struct error *e)
{
    char *json = NULL;
    int rc = domconf_to_json(&im->conf, &json, e);
    if (!rc)
        rc = image_writer_config(im->writer, json, e);
    free(json);
    if (!rc)
        rc = image_writer_pages(im->writer, im->pages, im->n_pages, e);
    *info = (struct image_info){
        .guest = im->conf.guest,
        .vcpus = im->conf.max_vcpus,
        .max_pfn = im->max_pfn,
    };
    return rc ? rc : image_writer_commit(im->writer, info, e);
}

/* ---- the steps, in the order in which they run ---- */

static int config_take(struct import *im, struct source *src, const struct import_options *o,
                       struct error *e)
{
    int rc = savefile_read_config(src, &im->xl_config, &im->xl_config_len, e);
    if (rc)
        return rc;
    rc = domconf_from_xl(im->xl_config, im->xl_config_len, &im->conf, e);
    for (size_t i = 0; i < o->n_disks && !rc; i++)
        rc = domconf_set_disk(&im->conf, o->disks[i].vdev, o->disks[i].spec, e);
    guest_check_init(&im->check, im->conf.guest);
    return rc;
}

static int stream_take(struct import *im, struct source *src, struct error *e)
{
    uint64_t memory = im->conf.max_mem_kib / (PAGE_BYTES / 1024);
    uint64_t limit = memory * PFN_SPREAD + PFN_BASE;
    struct stream_limits limits = {
        .guest = im->conf.guest,
        .vcpus = im->conf.max_vcpus,
        .pfn_limit = limit < IMAGE_PFN_LIMIT ? limit : IMAGE_PFN_LIMIT,
    };
    struct stream_handlers handlers = {
        .header = import_header,
        .record = import_record,
        .page = import_page,
        .data = im,
    };
    return savefile_read_stream(src, &limits, &handlers, &im->max_pfn, e);
}

int import_source(struct source *src, const struct import_options *o, struct image_info *info,
                  struct error *e)
{
    struct import im;
    import_init(&im);
    int rc = config_take(&im, src, o, e);
    if (!rc)
        rc = image_writer_new(o->image_path, &im.writer, e);
    if (!rc)
        rc = image_writer_record(im.writer, IMAGE_RECORD_XL_CONFIG, im.xl_config,
                                 (uint32_t)im.xl_config_len, e);
    if (!rc)
        rc = stream_take(&im, src, e);
    if (!rc)
        rc = pages_finish(&im, e);
    if (!rc)
        rc = guest_finish(&im, e);
    if (!rc)
        rc = image_finish(&im, info, e);
    import_dispose(&im);
    return rc;
}

int import_save_file(const struct import_options *o, struct image_info *info, struct error *e)
{
    int fd = open(o->save_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "open save file %s", o->save_path);
    struct source src;
    int rc = source_init_fd(&src, fd, e);
    src.progress = o->progress;
    src.progress_data = o->progress_data;
    if (!rc)
        rc = import_source(&src, o, info, e);
    source_dispose(&src);
    fd_close(&fd);
    return rc;
}
