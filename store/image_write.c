/*
 * Image files, the writing side: see image.h for the format.
 *
 * PAYLOAD goes to the disk as it comes, through a buffer, and is digested on the
 * way; the tables are small and are kept until the commit, which writes them
 * behind it and the header last. The file has a temporary name,
 * PATH.tmp-XXXXXX, until all of it is synced (base/new_file.h): whatever kills
 * us before the rename leaves a name that the daemon sweeps at its start, and
 * nothing else.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/new_file.h"
#include "base/page.h"
#include "base/uuid.h"
#include "store/image_format.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_BUFFER_BYTES (1u << 20)

struct buffer {
    uint8_t *bytes;
    size_t used, size;
};

/* Where the page of a repeated word stands. payload_plus_1 0: not written yet. */
struct word_payload {
    uint64_t word, payload_plus_1;
};
#define WORDS_SHIFT 10u

struct image_writer {
    char *path;
    struct new_file file; /* unless somebody else gives the file its name */
    int fd;
    bool committed;
    uint8_t *pending; /* payload not written yet */
    size_t pending_used;
    uint64_t payload_pages;
    crypto_generichash_state payload_digest;
    struct image_page *pages;
    uint64_t n_pages, zero_pages, repeated_pages;
    struct word_payload words[1u << WORDS_SHIFT];
    struct buffer records;
    char *config;
};

/* ---- small parts ---- */

static int buffer_append(struct buffer *b, const void *bytes, size_t n)
{
    if (n > SIZE_MAX / 4 - b->used)
        return -ENOMEM;
    if (b->used + n > b->size) {
        size_t size = (b->used + n) * 2;
        uint8_t *bigger = realloc(b->bytes, size);
        if (!bigger)
            return -ENOMEM;
        b->bytes = bigger;
        b->size = size;
    }
    if (n)
        memcpy(b->bytes + b->used, bytes, n);
    b->used += n;
    return 0;
}

static int writer_failed(const struct image_writer *w, int rc, const char *doing, struct error *e)
{
    return error_errno(e, -rc, "image file %s: %s", w->path, doing);
}

/* ---- start and end of a writer ---- */

/* fd -1: the writer creates the file, and names it. */
static int writer_new(int fd, const char *path, struct image_writer **out, struct error *e)
{
    /* the digest's state wants more alignment than malloc gives */
    struct image_writer *w = aligned_alloc(_Alignof(struct image_writer), sizeof *w);
    if (!w)
        return error_set(e, -ENOMEM, "image file %s: out of memory", path);
    memset(w, 0, sizeof *w);
    w->file = NEW_FILE_NONE;
    w->path = strdup(path);
    w->pending = malloc(WRITE_BUFFER_BYTES);
    int rc =
        w->path && w->pending ? 0 : error_set(e, -ENOMEM, "image file %s: out of memory", path);
    if (!rc && fd < 0)
        rc = new_file_create(&w->file, "image file", path, e);
    w->fd = fd < 0 ? w->file.fd : fd;
    /* the header's page stays a hole until the commit */
    if (!rc && lseek(w->fd, PAGE_BYTES, SEEK_SET) < 0)
        rc = writer_failed(w, -errno, "seek", e);
    if (rc) {
        image_writer_free(w);
        return rc;
    }
    (void)!sodium_init();
    (void)crypto_generichash_init(&w->payload_digest, NULL, 0, IMAGE_DIGEST_BYTES);
    *out = w;
    return 0;
}

int image_writer_new(const char *path, struct image_writer **out, struct error *e)
{
    return writer_new(-1, path, out, e);
}

int image_writer_new_fd(int fd, const char *path, struct image_writer **out, struct error *e)
{
    return writer_new(fd, path, out, e);
}

void image_writer_free(struct image_writer *w)
{
    if (!w)
        return;
    new_file_drop(&w->file);
    free(w->path);
    free(w->pending);
    free(w->pages);
    free(w->records.bytes);
    free(w->config);
    free(w);
}

/* ---- PAYLOAD ---- */

static int payload_flush(struct image_writer *w, struct error *e)
{
    int rc = write_full(w->fd, w->pending, w->pending_used);
    if (rc)
        return writer_failed(w, rc, "write page contents", e);
    (void)crypto_generichash_update(&w->payload_digest, w->pending, w->pending_used);
    w->pending_used = 0;
    return 0;
}

/* Where a page of one repeated word is, or is to be, noted; NULL for any other page. A word that
 * falls on another one's place takes it, and a third page of either is stored again. */
static struct word_payload *repeated_find(struct image_writer *w, const void *page)
{
    uint64_t word;
    if (!page_is_repeated(page, &word))
        return NULL;
    uint64_t hash = word * 0x9e3779b97f4a7c15ull; /* 2^64 / golden ratio */
    struct word_payload *at = &w->words[hash >> (64 - WORDS_SHIFT)];
    if (at->word != word)
        *at = (struct word_payload){.word = word};
    return at;
}

int image_writer_payload(struct image_writer *w, const void *page, uint64_t *payload,
                         struct error *e)
{
    if (page_is_zero(page)) {
        *payload = IMAGE_PAGE_ZERO;
        return 0;
    }
    struct word_payload *known = repeated_find(w, page);
    if (known && known->payload_plus_1) {
        *payload = known->payload_plus_1 - 1;
        return 0;
    }
    if (w->pending_used == WRITE_BUFFER_BYTES) {
        int rc = payload_flush(w, e);
        if (rc)
            return rc;
    }
    memcpy(w->pending + w->pending_used, page, PAGE_BYTES);
    w->pending_used += PAGE_BYTES;
    *payload = w->payload_pages++;
    if (known)
        known->payload_plus_1 = w->payload_pages;
    return 0;
}

int image_writer_read_payload(struct image_writer *w, uint64_t payload, void *page, struct error *e)
{
    if (payload == IMAGE_PAGE_ZERO) {
        memset(page, 0, PAGE_BYTES);
        return 0;
    }
    if (payload >= w->payload_pages)
        return error_set(e, -EINVAL, "image file %s: payload %" PRIu64 " not written", w->path,
                         payload);
    uint64_t on_disk = w->payload_pages - w->pending_used / PAGE_BYTES;
    if (payload >= on_disk) {
        memcpy(page, w->pending + (payload - on_disk) * PAGE_BYTES, PAGE_BYTES);
        return 0;
    }
    int rc = pread_full(w->fd, page, PAGE_BYTES, PAGE_BYTES + payload * PAGE_BYTES);
    return rc ? writer_failed(w, rc, "read back a page", e) : 0;
}

/* ---- the tables ---- */

static int page_compare(const void *a, const void *b)
{
    uint64_t x = image_page_pfn(a), y = image_page_pfn(b);
    return (x > y) - (x < y);
}

static bool pages_sorted(const struct image_page *pages, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++)
        if (image_page_pfn(&pages[i - 1]) > image_page_pfn(&pages[i]))
            return false;
    return true;
}

/* Entries whose payload an earlier one has too. */
static int repeated_count(struct image_writer *w, struct error *e)
{
    uint8_t *seen = calloc(w->payload_pages / 8 + 1, 1);
    if (!seen)
        return writer_failed(w, -ENOMEM, "count its pages", e);
    w->repeated_pages = 0;
    for (uint64_t i = 0; i < w->n_pages; i++) {
        uint64_t payload = w->pages[i].payload;
        if (payload == IMAGE_PAGE_ZERO)
            continue;
        uint8_t bit = (uint8_t)(1u << payload % 8);
        w->repeated_pages += (seen[payload / 8] & bit) != 0;
        seen[payload / 8] |= bit;
    }
    free(seen);
    return 0;
}

static int pages_check(struct image_writer *w, struct error *e)
{
    w->zero_pages = 0;
    for (uint64_t i = 0; i < w->n_pages; i++) {
        const struct image_page *p = &w->pages[i];
        if (i && image_page_pfn(p) == image_page_pfn(p - 1))
            return error_set(e, -EEXIST, "image file %s: pfn %#" PRIx64 " given twice", w->path,
                             image_page_pfn(p));
        if (p->payload == IMAGE_PAGE_ZERO)
            w->zero_pages++;
        else if (p->payload >= w->payload_pages)
            return error_set(e, -EINVAL, "image file %s: pfn %#" PRIx64 " has no content", w->path,
                             image_page_pfn(p));
    }
    return repeated_count(w, e);
}

int image_writer_pages(struct image_writer *w, const struct image_page *pages, uint64_t n,
                       struct error *e)
{
    free(w->pages);
    w->n_pages = 0;
    w->pages = n > SIZE_MAX / sizeof *pages ? NULL : malloc(n ? n * sizeof *pages : 1);
    if (!w->pages)
        return error_set(e, -ENOMEM, "image file %s: out of memory for %" PRIu64 " pages", w->path,
                         n);
    if (n)
        memcpy(w->pages, pages, n * sizeof *pages);
    w->n_pages = n;
    if (!pages_sorted(w->pages, n))
        qsort(w->pages, n, sizeof *pages, page_compare);
    int rc = pages_check(w, e);
    if (rc) { /* so that it cannot be committed */
        free(w->pages);
        w->pages = NULL;
        w->n_pages = 0;
    }
    return rc;
}

int image_writer_record(struct image_writer *w, uint32_t type, const void *body, uint32_t length,
                        struct error *e)
{
    static const uint8_t zeros[IMAGE_RECORD_ALIGN];
    struct image_record_header h = {.type = type, .length = length};
    int rc = buffer_append(&w->records, &h, sizeof h);
    if (!rc)
        rc = buffer_append(&w->records, body, length);
    if (!rc)
        rc = buffer_append(&w->records, zeros, image_record_padding(length));
    return rc ? writer_failed(w, rc, "keep a record", e) : 0;
}

int image_writer_config(struct image_writer *w, const char *json, struct error *e)
{
    free(w->config);
    w->config = strdup(json);
    return w->config ? 0 : writer_failed(w, -ENOMEM, "keep the configuration", e);
}

/* ---- commit: sections, header, sync, rename, in this order (the last two by base/new_file.h)
 * ---- */

static int section_write(struct image_writer *w, struct image_header *h,
                         enum image_section_kind kind, const void *bytes, size_t length,
                         struct error *e)
{
    struct image_section *s = &h->section[kind];
    s->kind = kind;
    s->offset = h->file_bytes;
    s->length = length;
    image_digest(bytes, length, s->digest);
    h->file_bytes += image_round_page(length);
    int rc = pwrite_full(w->fd, bytes, length, s->offset);
    return rc ? writer_failed(w, rc, "write a table", e) : 0;
}

static int payload_finish(struct image_writer *w, struct image_header *h, struct error *e)
{
    int rc = payload_flush(w, e);
    if (rc)
        return rc;
    struct image_section *s = &h->section[IMAGE_SECTION_PAYLOAD];
    s->kind = IMAGE_SECTION_PAYLOAD;
    s->offset = PAGE_BYTES;
    s->length = w->payload_pages * PAGE_BYTES;
    h->file_bytes = s->offset + s->length;
    (void)crypto_generichash_final(&w->payload_digest, s->digest, sizeof s->digest);
    return 0;
}

static int header_write(struct image_writer *w, struct image_header *h, struct error *e)
{
    image_digest(h, offsetof(struct image_header, digest), h->digest);
    if (ftruncate(w->fd, (off_t)h->file_bytes))
        return writer_failed(w, -errno, "set its length", e);
    int rc = pwrite_full(w->fd, h, sizeof *h, 0);
    return rc ? writer_failed(w, rc, "write its header", e) : 0;
}

static void header_fill(const struct image_writer *w, struct image_info *info,
                        struct image_header *h)
{
    uuid_random(&info->id);
    info->entries = w->n_pages;
    if (image_is_base(info))
        info->populated = w->n_pages;
    info->zero_pages = w->zero_pages;
    info->repeated_pages = w->repeated_pages;
    info->payload_pages = w->payload_pages;
    info->created_ms = clock_wall_ms();
    *h = (struct image_header){
        .magic = IMAGE_MAGIC,
        .version = IMAGE_FORMAT_VERSION,
        .sections = IMAGE_SECTION_COUNT,
        .guest = info->guest,
        .vcpus = info->vcpus,
#define TO_HEADER(name) .name = info->name,
        IMAGE_HEADER_COUNTS(TO_HEADER)
#undef TO_HEADER
            .created_ms = info->created_ms,
    };
    h->id = info->id;
    h->base_id = info->base_id;
}

static int commit_check(const struct image_writer *w, const struct image_info *info,
                        struct error *e)
{
    uint64_t last = w->n_pages ? image_page_pfn(&w->pages[w->n_pages - 1]) : 0;
    if (!w->pages || !w->config || !*w->config || w->committed)
        return error_set(e, -EINVAL, "image file %s: committed before it was complete", w->path);
    if (last > info->max_pfn || info->max_pfn >= IMAGE_PFN_LIMIT || !info->vcpus ||
        (info->guest != IMAGE_GUEST_PV && info->guest != IMAGE_GUEST_PVH))
        return error_set(e, -EINVAL,
                         "image file %s: guest kind %u, last pfn %#" PRIx64 ", max_pfn %#" PRIx64
                         ", %u vCPUs",
                         w->path, (unsigned)info->guest, last, info->max_pfn, info->vcpus);
    return 0;
}

int image_writer_commit(struct image_writer *w, struct image_info *info, struct error *e)
{
    struct image_header h;
    int rc = commit_check(w, info, e);
    if (rc)
        return rc;
    header_fill(w, info, &h);
    if (!image_counts_fit(info))
        return error_set(e, -EINVAL,
                         "image file %s: %" PRIu64 " pages of %" PRIu64 " populated, %" PRIu64
                         " of them free",
                         w->path, info->entries, info->populated, info->free_pages);
    rc = payload_finish(w, &h, e);
    if (!rc)
        rc = section_write(w, &h, IMAGE_SECTION_PAGES, w->pages, w->n_pages * sizeof *w->pages, e);
    if (!rc)
        rc = section_write(w, &h, IMAGE_SECTION_RECORDS, w->records.bytes, w->records.used, e);
    if (!rc)
        rc = section_write(w, &h, IMAGE_SECTION_CONFIG, w->config, strlen(w->config) + 1, e);
    if (!rc)
        rc = header_write(w, &h, e);
    if (!rc && w->file.temp_path)
        rc = new_file_publish(&w->file, e);
    w->committed = !rc;
    info->file_bytes = h.file_bytes;
    return rc;
}
