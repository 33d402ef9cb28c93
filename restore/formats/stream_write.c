/* The libxc migration stream, the writing side: see stream_write.h. */
#include "restore/formats/stream_write.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "restore/formats/records.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define BATCH_PAGES 1024u /* what libxenguest itself sends in one record */

/* Writes all of iov, which is changed on the way. */
static int write_iov(int fd, struct iovec *iov, size_t n)
{
    while (n) {
        ssize_t done = writev(fd, iov, n < IOV_MAX ? (int)n : IOV_MAX);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        while (n && (size_t)done >= iov->iov_len) {
            done -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return 0;
}

/* ---- pages ---- */

/* Only these carry 4 KiB in a stream. The importer left out the others, except XALLOC, which is
 * memory without content. */
static bool page_has_content(unsigned type)
{
    return type == PAGE_NOTAB || page_type_is_table(type);
}

struct page_batch {
    struct {
        uint32_t type, length, count, reserved;
        uint64_t pfns[BATCH_PAGES];
    } head;
    struct iovec iov[1 + BATCH_PAGES];
    size_t n_iov, n_data;
};

static void batch_start(struct page_batch *b)
{
    b->head.count = 0;
    b->n_iov = 1;
    b->n_data = 0;
}

static struct page_batch *batch_new(void)
{
    struct page_batch *b = malloc(sizeof *b);
    if (b)
        batch_start(b);
    return b;
}

static bool batch_full(const struct page_batch *b)
{
    return b->head.count == BATCH_PAGES;
}

/* The batch must not be full. */
static void batch_add(struct page_batch *b, const struct image *im, const struct image_page *page)
{
    b->head.pfns[b->head.count++] = page->pfn_type;
    if (!page_has_content(image_page_type(page)))
        return;
    b->n_data++;
    char *content = (char *)(uintptr_t)image_payload(im, page->payload);
    struct iovec *last = &b->iov[b->n_iov - 1];
    if (b->n_iov > 1 && (char *)last->iov_base + last->iov_len == content)
        last->iov_len += PAGE_BYTES;
    else
        b->iov[b->n_iov++] = (struct iovec){content, PAGE_BYTES};
}

/* Writes the batch and empties it. For an empty batch nothing is written. */
static int batch_send(int fd, struct page_batch *b)
{
    size_t table = b->head.count * sizeof b->head.pfns[0];
    b->head.type = RECORD_PAGE_DATA;
    b->head.length = (uint32_t)(8 + table + b->n_data * PAGE_BYTES);
    b->head.reserved = 0;
    b->iov[0] = (struct iovec){&b->head, 16 + table};
    int rc = b->head.count ? write_iov(fd, b->iov, b->n_iov) : 0;
    batch_start(b);
    return rc;
}

int stream_write_table(int fd, const struct image *im)
{
    struct page_batch *b = batch_new();
    if (!b)
        return -ENOMEM;
    int rc = 0;
    const struct image_page *pages = image_pages(im);
    uint64_t n = image_info(im)->entries;
    for (uint64_t i = 0; i < n && !rc; i++) {
        batch_add(b, im, &pages[i]);
        if (batch_full(b))
            rc = batch_send(fd, b);
    }
    if (!rc)
        rc = batch_send(fd, b);
    free(b);
    return rc;
}

static void batch_add_page(struct page_batch *b, const struct memory_page *page)
{
    struct image_page entry = {
        .pfn_type = page->pfn | (uint64_t)page->type << IMAGE_TYPE_SHIFT,
        .payload = page->payload,
    };
    batch_add(b, page->image, &entry);
}

int stream_write_changes(int fd, const struct image_memory *from, const struct image_memory *to)
{
    struct page_batch *b = batch_new();
    if (!b)
        return -ENOMEM;
    struct memory_diff walk;
    struct memory_difference d;
    int rc = 0;
    memory_diff_start(&walk, from, to);
    while (!rc && memory_diff_next(&walk, &d)) {
        if (d.change != MEMORY_CHANGED) {
            rc = -EINVAL;
            break;
        }
        batch_add_page(b, &d.to);
        if (batch_full(b))
            rc = batch_send(fd, b);
    }
    if (!rc)
        rc = batch_send(fd, b);
    free(b);
    return rc;
}

/* The next pages of the walk, as many as fit. */
static void batch_fill(struct page_batch *b, struct memory_walk *walk)
{
    struct memory_page page;
    while (!batch_full(b) && memory_walk_next(walk, &page))
        batch_add_page(b, &page);
}

static int write_memory(int fd, const struct image_memory *m, stream_progress *progress, void *data)
{
    struct page_batch *b = batch_new();
    if (!b)
        return -ENOMEM;
    struct memory_walk walk;
    memory_walk_start(&walk, m);
    uint64_t done = 0, total = image_info(m->base)->entries * PAGE_BYTES;
    int rc = 0;
    for (bool more = true; more && !rc;) {
        if (progress && progress(done, total, data)) {
            rc = -ECANCELED;
            break;
        }
        batch_fill(b, &walk);
        more = b->head.count > 0;
        done += (uint64_t)b->head.count * PAGE_BYTES;
        rc = batch_send(fd, b);
        image_drop(m->base);
    }
    free(b);
    return rc;
}

/* ---- headers and records ---- */

struct image_record_origin stream_origin(const struct image *im)
{
    struct image_record_origin origin = {.stream_version = 3, .xen_major = 4, .xen_minor = 17};
    struct image_record r;
    if (image_find_record(im, IMAGE_RECORD_ORIGIN, 0, &r) && r.length >= sizeof origin)
        memcpy(&origin, r.body, sizeof origin);
    return origin;
}

int stream_write_headers(int fd, const struct image *im)
{
    struct image_record_origin origin = stream_origin(im);
    struct {
        uint64_t marker;
        uint32_t id, version; /* big endian, as the options */
        uint16_t options, reserved16;
        uint32_t reserved32;
        uint32_t type;
        uint16_t page_shift, reserved;
        uint32_t xen_major, xen_minor;
    } head = {
        .marker = UINT64_MAX,
        .id = htonl(0x58454e46), /* "XENF" */
        .version = htonl(origin.stream_version),
        .type = image_info(im)->guest == IMAGE_GUEST_PV ? 1 : 2,
        .page_shift = 12,
        .xen_major = origin.xen_major,
        .xen_minor = origin.xen_minor,
    };
    _Static_assert(sizeof head == 40, "two headers of the stream, 24 and 16 bytes");
    return write_full(fd, &head, sizeof head);
}

int stream_write_record(int fd, uint32_t type, const void *body, uint32_t length)
{
    static const char padding[8];
    uint32_t header[2] = {type, length};
    struct iovec iov[] = {{header, sizeof header},
                          {(void *)(uintptr_t)body, length},
                          {(void *)(uintptr_t)padding, -length % 8}};
    return write_iov(fd, iov, ARRAY_SIZE(iov));
}

/* Records that come before memory, or those that come after it; our own ones never. */
static int write_records(int fd, const struct image *im, bool before_pages)
{
    struct image_record r;
    size_t cursor = 0;
    while (image_next_record(im, &cursor, &r)) {
        if (r.type == IMAGE_RECORD_ORIGIN || r.type == IMAGE_RECORD_XL_CONFIG ||
            record_is_static(r.type) != before_pages)
            continue;
        int rc = stream_write_record(fd, r.type, r.body, r.length);
        if (rc)
            return rc;
    }
    return 0;
}

int stream_write_static(int fd, const struct image *im)
{
    return write_records(fd, im, true);
}

int stream_write_state(int fd, const struct image *im)
{
    return write_records(fd, im, false);
}

/* ---- the whole ---- */

int stream_write(int fd, const struct image_memory *m, stream_progress *progress, void *data)
{
    const struct image *im = m->delta ? m->delta : m->base;
    int rc = stream_write_headers(fd, im);
    if (!rc)
        rc = stream_write_static(fd, im);
    if (!rc)
        rc = write_memory(fd, m, progress, data);
    if (!rc)
        rc = stream_write_state(fd, im);
    if (!rc)
        rc = stream_write_record(fd, RECORD_END, NULL, 0);
    return rc;
}
