/*
 * Import: see image_import.h.
 *
 * Page contents go straight from the read buffer to the image. Only 16 bytes for each page, and the
 * records, are kept in memory. A page that comes more than once (live migration) has several
 * entries until the stream ends. Then the last one counts; contents that no entry names stay in the
 * file unused.
 *
 * `xl save` writes pfns in ascending order, so normally there is nothing to
 * sort. A stream in another order is sorted stably, which keeps "the last one".
 *
 * The disks' fingerprints are taken when the first page comes. Before that, a domain that is
 * captured may write to its disks; by then it has suspended.
 *
 * With a base, a page that equals the base's in type and content is not stored. Its entry says so,
 * counts like any other in the checks, and is dropped at the end.
 *
 * Only when memory and records are complete can they be checked against one
 * another (guest_check.h); only then is the image committed.
 */
#include "restore/imaging/image_import.h"

#include "base/io.h"
#include "base/page.h"
#include "base/units.h"
#include "restore/formats/domconf.h"
#include "restore/formats/fingerprint.h"
#include "restore/formats/guest_check.h"
#include "restore/formats/lineage.h"
#include "restore/formats/records.h"
#include "restore/formats/savefile.h"
#include "restore/formats/vdev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Populated pages beyond the configured memory: libxl allows 1 MiB for special pages. A PVH guest
 * may also have mapped grant and status frames, which the saver takes for memory.
 */
#define EXTRA_PAGES 1024u
/* Pfns may lie above the memory's size: MMIO holes below 4 GiB, and Linux' room for
 * ballooning, at most 10 times the memory. What libxenguest allocates grows with them. */
#define PFN_SPREAD 16u
#define PFN_BASE ((4ull << 30) / PAGE_BYTES)

/* Payloads of entries without a payload in this image, besides IMAGE_PAGE_ZERO. */
#define PAYLOAD_OF_BASE (UINT64_MAX - 1)
#define PAYLOAD_FREE (UINT64_MAX - 2) /* as the base has it, or zeros */

#define BASE_DROP_PAGES 4096u

struct import {
    const struct import_options *options;
    struct import_remarks remarks;
    struct domconf conf;
    struct image *base; /* NULL: stored whole */
    struct lineage lineage;
    struct image_writer *writer;
    struct guest_check check;
    struct image_page *pages;
    uint64_t n_pages, pages_max;
    uint64_t next_pfn; /* one more than the highest that came */
    bool sorted, disks_seen;
    uint64_t max_pfn;
    uint64_t populated, free_pages;
    uint8_t *types; /* see struct guest_memory */
};

static void import_init(struct import *im, const struct import_options *o)
{
    *im = (struct import){.options = o, .sorted = true};
    domconf_init(&im->conf);
}

void import_remarks_dispose(struct import_remarks *r)
{
    json_decref(r->missing);
    json_decref(r->left_out);
    *r = (struct import_remarks){NULL, NULL};
}

static void import_dispose(struct import *im)
{
    import_remarks_dispose(&im->remarks);
    domconf_dispose(&im->conf);
    image_writer_free(im->writer);
    lineage_dispose(&im->lineage);
    image_close(im->base);
    guest_check_dispose(&im->check);
    free(im->pages);
    free(im->types);
    import_init(im, NULL);
}

/* ---- disks ---- */

static int disks_look(struct import *im, bool digests, struct error *e)
{
    const struct import_options *o = im->options;
    int rc = o->eyes ? fingerprints_take_by(&im->conf, digests, o->eyes, e)
                     : fingerprints_take(&im->conf, digests, o->progress, o->progress_data, e);
    return !rc && im->base ? lineage_check_config(&im->lineage, &im->conf, e) : rc;
}

bool import_names_disk(const void *data, const struct disk_conf *d)
{
    const struct import_options *o = data;
    uint32_t devid;
    for (size_t i = 0; i < o->n_disks; i++)
        if (!vdev_to_devid(o->disks[i].vdev, &devid) && devid == d->devid)
            return true;
    return false;
}

/* The save file's disks, before any of them is looked at. */
static int disks_allow(struct import *im, struct error *e)
{
    const struct import_options *o = im->options;
    struct domconf base;
    domconf_init(&base);
    int rc = im->base ? domconf_from_json(image_config(im->base), &base, e) : 0;
    if (!rc)
        rc = consent_disks(&o->consent, &im->conf, import_names_disk, o, im->base ? &base : NULL,
                           &im->remarks.missing, e);
    domconf_dispose(&base);
    return rc;
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
    int rc = im->base ? lineage_check_record(&im->lineage, IMAGE_RECORD_ORIGIN,
                                             (const uint8_t *)&origin, sizeof origin, e)
                      : 0;
    return rc ? rc
              : image_writer_record(im->writer, IMAGE_RECORD_ORIGIN, &origin, sizeof origin, e);
}

static int import_record(void *data, uint32_t type, const void *body, uint32_t length,
                         struct error *e)
{
    struct import *im = data;
    int rc = guest_check_record(&im->check, type, body, length, e);
    if (!rc && im->base)
        rc = lineage_check_record(&im->lineage, type, body, length, e);
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

/* A page table full of such words is still a table; its entries merely happen to be useless. */
static bool page_is_free(unsigned type, const void *content)
{
    uint64_t word;
    return !page_type_is_table(type) && page_is_repeated(content, &word) && word == IMAGE_FREE_WORD;
}

/* True when the base's page serves: same type, and same content or one that does not matter. */
static bool page_as_in_base(const struct import *im, uint64_t pfn, unsigned type,
                            const void *content)
{
    const struct image_page *base = im->base ? image_find(im->base, pfn) : NULL;
    return base && image_page_type(base) == type &&
           (!memcmp(image_payload(im->base, base->payload), content, PAGE_BYTES) ||
            lineage_leaves_out(&im->lineage, pfn));
}

static int import_page(void *data, uint64_t pfn, unsigned type, const void *content,
                       struct error *e)
{
    struct import *im = data;
    if (im->base && im->n_pages % BASE_DROP_PAGES == 0)
        image_drop(im->base);
    uint64_t payload = IMAGE_PAGE_ZERO;
    int rc = im->disks_seen ? 0 : disks_look(im, im->options->disk_digests, e);
    im->disks_seen = true;
    if (rc)
        return rc;
    if (!content) {
        if (pfn >= im->next_pfn)
            return 0; /* takes nothing away, for nothing came before */
        type = PAGE_XTAB;
    } else if (page_is_free(type, content)) {
        payload = PAYLOAD_FREE;
    } else if (page_as_in_base(im, pfn, type, content)) {
        payload = PAYLOAD_OF_BASE;
    } else {
        rc = image_writer_payload(im->writer, content, &payload, e);
    }
    return rc ? rc : page_append(im, pfn, type, payload, e);
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

/* A page that the guest declared free stays as the base has it, if the type is the same. */
static void free_pages_settle(struct import *im)
{
    for (uint64_t i = 0; i < im->n_pages; i++) {
        struct image_page *p = &im->pages[i];
        if (p->payload != PAYLOAD_FREE)
            continue;
        const struct image_page *base = im->base ? image_find(im->base, image_page_pfn(p)) : NULL;
        bool as_base = base && image_page_type(base) == image_page_type(p);
        p->payload = as_base ? PAYLOAD_OF_BASE : IMAGE_PAGE_ZERO;
        im->free_pages++;
    }
}

/* The pages must be those of the base and no others: a slot has the base's. */
static int populated_check(struct import *im, struct error *e)
{
    const struct image_page *base = image_pages(im->base);
    uint64_t n = image_info(im->base)->entries;
    for (uint64_t i = 0; i < n && i < im->n_pages; i++)
        if (image_page_pfn(&base[i]) != image_page_pfn(&im->pages[i]))
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "no delta over this base: other pages are populated, first at pfn "
                             "%#" PRIx64 " (ballooned?)",
                             image_page_pfn(&base[i]) < image_page_pfn(&im->pages[i])
                                 ? image_page_pfn(&base[i])
                                 : image_page_pfn(&im->pages[i]));
    if (n == im->n_pages)
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "no delta over this base: %" PRIu64 " pages are populated, in the base "
                     "%" PRIu64 " (ballooned?)",
                     im->n_pages, n);
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
    im->populated = im->n_pages;
    free_pages_settle(im);
    return im->base ? populated_check(im, e) : 0;
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

static const struct image_page *page_find(const struct import *im, uint64_t pfn)
{
    return bsearch(&pfn, im->pages, im->n_pages, sizeof(struct image_page), page_compare);
}

/* guest_check's read_page: only for pfns that are populated, or that it does not know */
static int import_read_page(void *data, uint64_t pfn, void *page, struct error *e)
{
    struct import *im = data;
    const struct image_page *found = page_find(im, pfn);
    if (!found)
        return error_set(e, ANSWER_IMAGE_REFUSED, "save file: pfn %#" PRIx64 " is not populated",
                         pfn);
    if (found->payload != PAYLOAD_OF_BASE)
        return image_writer_read_payload(im->writer, found->payload, page, e);
    memcpy(page, image_payload(im->base, image_find(im->base, pfn)->payload), PAGE_BYTES);
    return 0;
}

static bool page_is_base(const void *data, uint64_t pfn)
{
    const struct image_page *found = page_find(data, pfn);
    return found && found->payload == PAYLOAD_OF_BASE;
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
    rc = guest_check_finish(&im->check, &m, e);
    if (!rc && im->base)
        rc = lineage_finish(&im->lineage, im->max_pfn, &im->check, page_is_base, im, e);
    return rc;
}

static void base_pages_drop(struct import *im)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < im->n_pages; i++)
        if (im->pages[i].payload != PAYLOAD_OF_BASE)
            im->pages[kept++] = im->pages[i];
    im->n_pages = kept;
}

static int image_finish(struct import *im, struct image_info *info, struct error *e)
{
    char *json = NULL;
    int rc = domconf_to_json(&im->conf, &json, e);
    if (!rc)
        rc = image_writer_config(im->writer, json, e);
    free(json);
    base_pages_drop(im);
    if (!rc)
        rc = image_writer_pages(im->writer, im->pages, im->n_pages, e);
    *info = (struct image_info){
        .guest = im->conf.guest,
        .vcpus = im->conf.max_vcpus,
        .max_pfn = im->max_pfn,
        .populated = im->populated,
        .free_pages = im->free_pages,
    };
    if (im->base)
        info->base_id = image_info(im->base)->id;
    return rc ? rc : image_writer_commit(im->writer, info, e);
}

/* ---- the steps, in the order in which they run ---- */

/* A delta over a damaged base would be a delta over something that nobody has. */
static int base_open(struct import *im, struct error *e)
{
    const struct import_options *o = im->options;
    if (!o->base_path)
        return 0;
    int rc = o->files ? image_open_fd(o->files->base, o->base_path, &im->base, e)
                      : image_open(o->base_path, &im->base, e);
    if (rc)
        return rc;
    rc = image_verify(im->base, e);
    return rc ? rc : lineage_init(&im->lineage, im->base, e);
}

/* Interfaces are put into bridges, those of the save file or those that were named instead. */
static int vifs_place(struct import *im, struct error *e)
{
    const struct import_options *o = im->options;
    int rc = 0;
    for (size_t i = 0; i < o->n_vifs && !rc; i++)
        rc = domconf_set_vif(&im->conf, o->vifs[i].devid, o->vifs[i].bridge, e);
    for (unsigned i = 0; i < im->conf.n_nics && !rc && !o->vif_script; i++)
        rc = nic_conf_check_script(&im->conf.nics[i], e);
    return rc;
}

/* Refuses as early as possible: a domain that is captured has not been disturbed yet. */
static int config_take(struct import *im, const char *json, size_t len, struct error *e)
{
    const struct import_options *o = im->options;
    int rc = domconf_from_xl(json, len, &im->conf, e);
    for (size_t i = 0; i < o->n_disks && !rc; i++)
        rc = domconf_set_disk(&im->conf, o->disks[i].vdev, o->disks[i].spec, e);
    if (!rc)
        rc = domconf_check_disks(&im->conf, e);
    if (!rc)
        rc = vifs_place(im, e);
    if (!rc && !o->trusted)
        rc = disks_allow(im, e);
    if (!rc)
        rc = disks_look(im, false, e);
    guest_check_init(&im->check, im->conf.guest);
    return rc;
}

/* stream_read, or savefile_read_stream */
typedef int stream_reader(struct source *src, const struct stream_limits *limits,
                          const struct stream_handlers *handlers, uint64_t *max_pfn,
                          struct error *e);

static int stream_take(struct import *im, struct source *src, stream_reader *read_stream,
                       struct error *e)
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
    return read_stream(src, &limits, &handlers, &im->max_pfn, e);
}

int import_place_disk(json_t *xl_config, const struct disk_conf *d)
{
    return domconf_xl_set_disk(json_object_get(xl_config, "disks"), d->vdev,
                               d->path ? d->path : IMPORT_NO_DISK, d->kind != DISK_RO);
}

/* With the disks where this image has them: an exported file must not name disks that are gone. */
static int xl_disks_adapt(const struct import *im, json_t *config)
{
    int rc = 0;
    for (unsigned i = 0; i < im->conf.n_disks && !rc; i++) {
        const struct disk_conf *d = &im->conf.disks[i];
        if (import_names_disk(im->options, d))
            rc = import_place_disk(config, d);
    }
    return rc;
}

/* Likewise, with the bridges that were named. */
static int xl_vifs_adapt(const struct import *im, json_t *config)
{
    int rc = 0;
    for (size_t i = 0; i < im->options->n_vifs && !rc; i++) {
        const struct import_vif *v = &im->options->vifs[i];
        uint64_t devid; /* domconf_set_vif has read it */
        if (!number_parse(v->devid, 0, NIC_INDEX_MAX, &devid))
            rc = domconf_xl_set_vif(json_object_get(config, "nics"), (unsigned)devid, v->bridge);
    }
    return rc;
}

/* *text is NULL when the configuration is kept as it is. */
static int xl_config_adapt(struct import *im, const char *json, size_t len, char **text,
                           struct error *e)
{
    const struct import_options *o = im->options;
    json_t *config;
    bool repaired;
    int rc = domconf_xl_load(json, len, &config, &repaired, e);
    *text = NULL;
    if (!rc && !o->trusted)
        rc = consent_config(&o->consent, config, &im->remarks.left_out, e);
    if (!rc && o->n_disks)
        rc = xl_disks_adapt(im, config);
    if (!rc && o->n_vifs)
        rc = xl_vifs_adapt(im, config);
    if (!rc && (repaired || o->n_disks || o->n_vifs || json_array_size(im->remarks.left_out))) {
        *text = json_dumps(config, JSON_INDENT(4));
        rc = *text ? 0 : -ENOMEM;
    }
    json_decref(config);
    return rc ? error_set(e, rc, "out of memory for the configuration") : 0;
}

static int xl_config_keep(struct import *im, const char *json, size_t len, struct error *e)
{
    char *adapted;
    int rc = xl_config_adapt(im, json, len, &adapted, e);
    if (rc)
        return rc;
    const char *text = adapted ? adapted : json;
    size_t bytes = adapted ? strlen(adapted) : len;
    rc = image_writer_record(im->writer, IMAGE_RECORD_XL_CONFIG, text, (uint32_t)bytes, e);
    free(adapted);
    return rc;
}

static int writer_start(struct import *im, struct error *e)
{
    const struct import_options *o = im->options;
    return o->files ? image_writer_new_fd(o->files->image, o->image_path, &im->writer, e)
                    : image_writer_new(o->image_path, &im->writer, e);
}

static int written_open(const struct import_options *o, struct image **out, struct error *e)
{
    if (!o->files)
        return image_open(o->image_path, out, e);
    int fd = dup(o->files->image);
    return fd < 0 ? error_errno(e, errno, "image file %s: read it back", o->image_path)
                  : image_open_fd(fd, o->image_path, out, e);
}

/* The file must read back as it was meant, or there is no image. */
static int written_check(const struct import_options *o, struct error *e)
{
    struct image *im;
    int rc = written_open(o, &im, e);
    if (!rc) {
        rc = image_verify(im, e);
        image_close(im);
    }
    if (rc && !o->files)
        unlink(o->image_path);
    return rc;
}

/* Imports from a configuration, and a source that stands where read_stream begins. */
static int import_run(const char *xl_config, size_t xl_config_len, struct source *src,
                      stream_reader *read_stream, const struct import_options *o,
                      struct image_info *info, struct error *e)
{
    struct import im;
    import_init(&im, o);
    int rc = base_open(&im, e);
    if (!rc)
        rc = config_take(&im, xl_config, xl_config_len, e);
    if (!rc)
        rc = writer_start(&im, e);
    if (!rc)
        rc = xl_config_keep(&im, xl_config, xl_config_len, e);
    if (!rc)
        rc = stream_take(&im, src, read_stream, e);
    if (!rc)
        rc = pages_finish(&im, e);
    if (!rc)
        rc = guest_finish(&im, e);
    if (!rc)
        rc = image_finish(&im, info, e);
    if (!rc)
        rc = written_check(o, e);
    if (o->remarks) {
        *o->remarks = im.remarks;
        im.remarks = (struct import_remarks){NULL, NULL};
    }
    import_dispose(&im);
    return rc;
}

int import_stream(const char *xl_config, size_t xl_config_len, struct source *libxc_stream,
                  const struct import_options *o, struct image_info *info, struct error *e)
{
    return import_run(xl_config, xl_config_len, libxc_stream, stream_read, o, info, e);
}

int import_source(struct source *src, const struct import_options *o, struct image_info *info,
                  struct error *e)
{
    char *xl_config = NULL;
    size_t len = 0;
    int rc = savefile_read_config(src, &xl_config, &len, e);
    if (!rc)
        rc = import_run(xl_config, len, src, savefile_read_stream, o, info, e);
    free(xl_config);
    return rc;
}

/* What whoever named the file got wrong is for them to put right; the rest is ours or the
 * disk's. */
static bool is_callers_mistake(int code)
{
    return code == ENOENT || code == ENOTDIR || code == EISDIR || code == EACCES || code == ELOOP ||
           code == ENAMETOOLONG || code == ENXIO;
}

int import_open(const struct import_options *o, int *fd, struct error *e)
{
    struct stat st;
    *fd = o->save_fd ? o->save_fd : open(o->save_path, O_RDONLY | O_CLOEXEC);
    int code = *fd < 0 ? errno : 0;
    if (!code && fstat(*fd, &st))
        code = errno;
    if (!code && S_ISDIR(st.st_mode))
        code = EISDIR;
    if (!code)
        return 0;
    fd_close(fd);
    error_errno(e, code, "open save file %s", o->save_path);
    if (is_callers_mistake(code))
        e->code = ANSWER_BAD_VALUE;
    return e->code;
}

int import_save_file(const struct import_options *o, struct image_info *info, struct error *e)
{
    int fd, rc = import_open(o, &fd, e);
    if (rc)
        return rc;
    struct source src;
    rc = source_init_fd(&src, fd, e);
    src.progress = o->progress;
    src.progress_data = o->progress_data;
    if (!rc)
        rc = import_source(&src, o, info, e);
    source_dispose(&src);
    fd_close(&fd);
    return rc;
}
