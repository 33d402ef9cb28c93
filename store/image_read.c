/*
 * Image files, the reading side: see image.h for the format.
 *
 * image_open maps the whole file and looks at everything small: the header with
 * its digest, the section table, every entry of PAGES, every record's length.
 * From then on the accessors index without checks, because nothing that they
 * follow can point outside the mapping any more. The file must not shrink while
 * it is open; image directories belong to root, and the daemon only ever renames
 * whole files into them and unlinks them.
 *
 * A page of the mapping that the disk does not give is a SIGBUS for whoever
 * touches it. image_open has the kernel map in all but PAYLOAD first, so that it
 * fails in order. A page of PAYLOAD may end a helper process: image_of_address says which
 * file it was.
 * The daemon may not. It calls image_read_facts, which maps nothing: it reads
 * the header and the configuration, and a disk's error is an error like others.
 *
 * The sections' digests cost a read of the whole file, so they are checked only
 * by image_verify: never on the way to a running domain.
 */
#include "store/image_format.h"

#include "base/io.h"
#include "base/page.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGEST_STEP_BYTES (4u << 20)
/* A configuration has some hundred bytes for each disk; this bounds what a header can ask for. */
#define FACTS_CONFIG_BYTES_MAX (1u << 20)

struct image {
    char *path;
    int fd;
    size_t size;
    const uint8_t *map;
    const struct image_header *header;
    struct image_info info;
    uint64_t near; /* payloads 0 to near - 1 have been mapped in */
};

static const _Alignas(PAGE_BYTES) uint8_t zero_page[PAGE_BYTES];

/* Images that are mapped, for image_of_address. One that finds no place is not named by it. */
#define MAPPED_MAX 64u
static struct image *_Atomic mapped[MAPPED_MAX];

const char *image_section_name(enum image_section_kind kind)
{
    static const char *const names[IMAGE_SECTION_COUNT] = {"PAYLOAD", "PAGES", "RECORDS", "CONFIG"};
    return names[kind];
}

void image_digest(const void *bytes, size_t size, uint8_t digest[IMAGE_DIGEST_BYTES])
{
    /* cannot fail for a digest of this size; sodium_init only picks the fastest code */
    (void)!sodium_init();
    (void)crypto_generichash(digest, IMAGE_DIGEST_BYTES, bytes, size, NULL, 0);
}

static int refuse(const struct image *im, struct error *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct image *im, struct error *e, const char *fmt, ...)
{
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return error_set(e, ANSWER_IMAGE_REFUSED, "image file %s: %s", im->path, why);
}

/* ---- the checks of image_open, in the order in which they run ---- */

static int header_check(const struct image *im, struct error *e)
{
    const struct image_header *h = im->header;
    if (memcmp(h->magic, IMAGE_MAGIC, sizeof h->magic))
        return refuse(im, e, "not a dompool image (wrong magic at byte 0)");
    if (h->version != IMAGE_FORMAT_VERSION)
        return refuse(im, e, "format version %u, but this dompool reads version %u: %s", h->version,
                      IMAGE_FORMAT_VERSION,
                      h->version < IMAGE_FORMAT_VERSION ? "import the image again"
                                                        : "use a newer dompool");
    uint8_t digest[IMAGE_DIGEST_BYTES];
    image_digest(h, offsetof(struct image_header, digest), digest);
    if (memcmp(digest, h->digest, sizeof digest))
        return refuse(im, e,
                      "the header is damaged (wrong digest): restore the file from a copy, or "
                      "import the image again");
    if (h->sections != IMAGE_SECTION_COUNT)
        return refuse(im, e, "%u sections, expected %u", h->sections,
                      (unsigned)IMAGE_SECTION_COUNT);
    if (h->file_bytes != im->size)
        return refuse(im, e, "%zu bytes long, but its header says %" PRIu64 " (truncated?)",
                      im->size, h->file_bytes);
    if (h->guest != IMAGE_GUEST_PV && h->guest != IMAGE_GUEST_PVH)
        return refuse(im, e, "guest kind %u is not known", h->guest);
    if (h->max_pfn >= IMAGE_PFN_LIMIT || !h->vcpus)
        return refuse(im, e, "max_pfn %#" PRIx64 " or %u vCPUs out of range", h->max_pfn, h->vcpus);
    return 0;
}

/* Sections follow one another without holes, so none can overlap another or the header. */
static int sections_check(const struct image *im, struct error *e)
{
    uint64_t at = PAGE_BYTES;
    for (unsigned i = 0; i < IMAGE_SECTION_COUNT; i++) {
        const struct image_section *s = &im->header->section[i];
        const char *name = image_section_name((enum image_section_kind)i);
        if (s->kind != i || s->offset != at)
            return refuse(im, e, "section %s: kind %u at byte %" PRIu64 ", expected %u at %" PRIu64,
                          name, s->kind, s->offset, i, at);
        if (s->length > im->size - at)
            return refuse(im, e,
                          "section %s: %" PRIu64 " bytes at byte %" PRIu64
                          " reach past the end of the file",
                          name, s->length, at);
        at += image_round_page(s->length);
        if (at > im->size)
            return refuse(im, e, "section %s ends in the middle of the file's last page", name);
    }
    return at == im->size
               ? 0
               : refuse(im, e, "%" PRIu64 " bytes after the last section", im->size - at);
}

static int section_refuse(const struct image *im, const struct image_section *s, struct error *e)
{
    return refuse(im, e,
                  "section %s is damaged (wrong digest): restore the file from a copy, or import "
                  "the image again",
                  image_section_name((enum image_section_kind)s->kind));
}

static const struct image_section *section(const struct image *im, enum image_section_kind kind)
{
    return &im->header->section[kind];
}

static int pages_check(const struct image *im, struct error *e)
{
    const struct image_page *pages = image_pages(im);
    uint64_t zeros = 0, next = 0;
    for (uint64_t i = 0; i < im->info.entries; i++) {
        uint64_t pfn = image_page_pfn(&pages[i]);
        if (pfn < next || pfn > im->info.max_pfn)
            return refuse(im, e,
                          "PAGES entry %" PRIu64 ": pfn %#" PRIx64
                          " out of order or above max_pfn %#" PRIx64,
                          i, pfn, im->info.max_pfn);
        next = pfn + 1;
        if (pages[i].payload == IMAGE_PAGE_ZERO)
            zeros++;
        else if (pages[i].payload >= im->info.payload_pages)
            return refuse(
                im, e, "PAGES entry %" PRIu64 ": payload %" PRIu64 ", but there are only %" PRIu64,
                i, pages[i].payload, im->info.payload_pages);
    }
    if (zeros != im->info.zero_pages)
        return refuse(im, e, "%" PRIu64 " zero pages, but its header says %" PRIu64, zeros,
                      im->info.zero_pages);
    return 0;
}

static int records_check(const struct image *im, struct error *e)
{
    const struct image_section *s = section(im, IMAGE_SECTION_RECORDS);
    uint64_t at = 0;
    while (at < s->length) {
        struct image_record_header h;
        if (s->length - at < sizeof h)
            return refuse(im, e, "RECORDS end inside a record's header at byte %" PRIu64,
                          s->offset + at);
        memcpy(&h, im->map + s->offset + at, sizeof h);
        uint64_t padded = (uint64_t)h.length + image_record_padding(h.length);
        if (padded > s->length - at - sizeof h)
            return refuse(im, e, "record of type %#x at byte %" PRIu64 ": %u bytes do not fit",
                          h.type, s->offset + at, h.length);
        at += sizeof h + padded;
    }
    return 0;
}

static int config_check(const struct image *im, const void *text, struct error *e)
{
    uint64_t length = section(im, IMAGE_SECTION_CONFIG)->length;
    if (length < 2 || memchr(text, 0, length) != (const char *)text + length - 1)
        return refuse(im, e, "CONFIG is not a text that ends with its only NUL byte");
    return 0;
}

static int lengths_check(struct image *im, struct error *e)
{
    const struct image_header *h = im->header;
    uint64_t payload = section(im, IMAGE_SECTION_PAYLOAD)->length;
    uint64_t table = section(im, IMAGE_SECTION_PAGES)->length;
    if (payload % PAGE_BYTES || table % sizeof(struct image_page))
        return refuse(im, e,
                      "PAYLOAD (%" PRIu64 " bytes) or PAGES (%" PRIu64
                      " bytes) does not hold a whole number of entries",
                      payload, table);
    im->info = (struct image_info){
        .guest = (enum image_guest)h->guest,
        .vcpus = h->vcpus,
        .entries = table / sizeof(struct image_page),
        .payload_pages = payload / PAGE_BYTES,
#define FROM_HEADER(name) .name = h->name,
        IMAGE_HEADER_COUNTS(FROM_HEADER)
#undef FROM_HEADER
            .created_ms = h->created_ms,
    };
    im->info.id = h->id;
    im->info.base_id = h->base_id;
    return 0;
}

bool image_counts_fit(const struct image_info *i)
{
    if (i->populated > i->max_pfn + 1 || i->entries > i->populated || i->zero_pages > i->entries)
        return false;
    if (image_is_base(i) && (i->entries != i->populated || i->free_pages > i->zero_pages))
        return false;
    /* one payload for all at the most, one payload each at the least */
    uint64_t stored = i->entries - i->zero_pages;
    uint64_t most = stored ? stored - 1 : 0;
    uint64_t least = stored > i->payload_pages ? stored - i->payload_pages : 0;
    return i->repeated_pages >= least && i->repeated_pages <= most && i->free_pages <= i->populated;
}

/* What the header counts of the guest must hold for the table. */
static int counts_check(const struct image *im, struct error *e)
{
    const struct image_info *i = &im->info;
    if (image_counts_fit(i))
        return 0;
    return refuse(im, e,
                  "its header counts %" PRIu64 " populated, %" PRIu64 " repeated, %" PRIu64
                  " free pages, which does not fit its table of %" PRIu64 " entries",
                  i->populated, i->repeated_pages, i->free_pages, i->entries);
}

/* What the first page says by itself. */
static int head_check(struct image *im, struct error *e)
{
    int rc = header_check(im, e);
    if (!rc)
        rc = sections_check(im, e);
    if (!rc)
        rc = lengths_check(im, e);
    return rc ? rc : counts_check(im, e);
}

/* Maps a part in, so that what the disk does not give is an error here, and no SIGBUS in the
 * checks. A kernel that cannot (Linux before 5.14) leaves it to the checks. */
static int part_read(const struct image *im, uint64_t at, uint64_t n, struct error *e)
{
#ifdef MADV_POPULATE_READ
    if (n && madvise((void *)(uintptr_t)(im->map + at), n, MADV_POPULATE_READ) && errno == EFAULT)
        return refuse(
            im, e, "of bytes %" PRIu64 " to %" PRIu64 " some cannot be read: the disk is failing",
            at, at + n - 1);
#endif
    (void)im, (void)at, (void)n, (void)e;
    return 0;
}

/* All that is not PAYLOAD. */
static int tables_read(const struct image *im, struct error *e)
{
    uint64_t at = section(im, IMAGE_SECTION_PAGES)->offset;
    return part_read(im, at, im->size - at, e);
}

static int image_check(struct image *im, struct error *e)
{
    int rc = part_read(im, 0, PAGE_BYTES, e);
    if (!rc)
        rc = head_check(im, e);
    if (!rc)
        rc = tables_read(im, e);
    if (!rc)
        rc = pages_check(im, e);
    if (!rc)
        rc = records_check(im, e);
    return rc ? rc : config_check(im, image_config(im), e);
}

/* ---- opening ---- */

static int size_find(struct image *im, struct error *e)
{
    struct stat st;
    if (fstat(im->fd, &st))
        return error_errno(e, errno, "image file %s: stat", im->path);
    if (!S_ISREG(st.st_mode))
        return refuse(im, e, "not a regular file");
    if (st.st_size < (off_t)PAGE_BYTES)
        return refuse(im, e, "%lld bytes long, shorter than a header (truncated?)",
                      (long long)st.st_size);
    im->size = (size_t)st.st_size;
    return 0;
}

static void mapped_note(struct image *im)
{
    for (size_t i = 0; i < MAPPED_MAX; i++) {
        struct image *none = NULL;
        if (atomic_compare_exchange_strong(&mapped[i], &none, im))
            return;
    }
}

static void mapped_forget(struct image *im)
{
    for (size_t i = 0; i < MAPPED_MAX; i++) {
        struct image *which = im;
        if (atomic_compare_exchange_strong(&mapped[i], &which, NULL))
            return;
    }
}

static int image_map(struct image *im, struct error *e)
{
    void *map = mmap(NULL, im->size, PROT_READ, MAP_SHARED, im->fd, 0);
    if (map == MAP_FAILED)
        return error_errno(e, errno, "image file %s: map %zu bytes", im->path, im->size);
    im->map = map;
    im->header = map;
    mapped_note(im);
    return 0;
}

/* fd becomes the image's, also on failure. */
static int image_new(int fd, const char *path, struct image **out, struct error *e)
{
    struct image *im = calloc(1, sizeof *im);
    char *copy = strdup(path);
    if (!im || !copy) {
        free(im);
        free(copy);
        fd_close(&fd);
        return error_set(e, -ENOMEM, "image file %s: out of memory", path);
    }
    im->path = copy;
    im->fd = fd;
    *out = im;
    int rc = size_find(im, e);
    if (rc)
        image_close(im);
    return rc;
}

int image_open_file(const char *path, struct error *e)
{
    /* O_NONBLOCK: a FIFO under this name must not hold up the caller */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? error_errno(e, errno, "image file %s: open", path) : fd;
}

/* ---- interface ---- */

int image_open_fd(int fd, const char *path, struct image **out, struct error *e)
{
    struct image *im;
    int rc = image_new(fd, path, &im, e);
    if (rc)
        return rc;
    rc = image_map(im, e);
    if (!rc)
        rc = image_check(im, e);
    if (rc) {
        image_close(im);
        return rc;
    }
    *out = im;
    return 0;
}

int image_open(const char *path, struct image **out, struct error *e)
{
    int fd = image_open_file(path, e);
    return fd < 0 ? fd : image_open_fd(fd, path, out, e);
}

void image_close(struct image *im)
{
    if (!im)
        return;
    mapped_forget(im);
    if (im->map)
        munmap((void *)(uintptr_t)im->map, im->size);
    fd_close(&im->fd);
    free(im->path);
    free(im);
}

/* Exactly n bytes, or an error that says where. */
static int file_read(const struct image *im, void *to, size_t n, uint64_t at, struct error *e)
{
    int rc = pread_full(im->fd, to, n, at);
    if (rc == -ENODATA)
        return refuse(im, e, "it has become shorter than byte %" PRIu64, at + n);
    return rc ? error_errno(e, -rc, "image file %s: read %zu bytes at byte %" PRIu64, im->path, n,
                            at)
              : 0;
}

static int facts_read_config(const struct image *im, char **config, struct error *e)
{
    const struct image_section *s = section(im, IMAGE_SECTION_CONFIG);
    uint8_t digest[IMAGE_DIGEST_BYTES];
    if (s->length > FACTS_CONFIG_BYTES_MAX)
        return refuse(im, e, "CONFIG has %" PRIu64 " bytes, more than %u", s->length,
                      FACTS_CONFIG_BYTES_MAX);
    char *text = malloc(s->length + 1);
    if (!text)
        return error_set(e, -ENOMEM, "image file %s: out of memory", im->path);
    int rc = file_read(im, text, s->length, s->offset, e);
    if (!rc)
        rc = config_check(im, text, e);
    if (!rc) {
        image_digest(text, s->length, digest);
        rc = memcmp(digest, s->digest, sizeof digest) ? section_refuse(im, s, e) : 0;
    }
    if (rc)
        free(text);
    else
        *config = text;
    return rc;
}

static int facts_read(struct image *im, struct image_info *info, char **config, struct error *e)
{
    struct image_header *header = malloc(sizeof *header);
    if (!header)
        return error_set(e, -ENOMEM, "image file %s: out of memory", im->path);
    im->header = header;
    int rc = file_read(im, header, sizeof *header, 0, e);
    if (!rc)
        rc = head_check(im, e);
    if (!rc)
        rc = facts_read_config(im, config, e);
    if (!rc)
        *info = im->info;
    free(header);
    return rc;
}

int image_read_facts(const char *path, struct image_info *info, char **config, struct error *e)
{
    struct image *im;
    int fd = image_open_file(path, e);
    int rc = fd < 0 ? fd : image_new(fd, path, &im, e);
    if (rc)
        return rc;
    rc = facts_read(im, info, config, e);
    image_close(im);
    return rc;
}

const char *image_of_address(const void *address, uint64_t *offset)
{
    uintptr_t at = (uintptr_t)address;
    for (size_t i = 0; i < MAPPED_MAX; i++) {
        const struct image *im = atomic_load(&mapped[i]);
        if (!im || at < (uintptr_t)im->map || at - (uintptr_t)im->map >= im->size)
            continue;
        *offset = at - (uintptr_t)im->map;
        return im->path;
    }
    return NULL;
}

const struct image_info *image_info(const struct image *im)
{
    return &im->info;
}

int image_fd(const struct image *im)
{
    return im->fd;
}

const struct image_page *image_pages(const struct image *im)
{
    /* sections start on pages, so the table is aligned */
    return (const void *)(im->map + section(im, IMAGE_SECTION_PAGES)->offset);
}

const struct image_page *image_find(const struct image *im, uint64_t pfn)
{
    const struct image_page *pages = image_pages(im);
    uint64_t low = 0, high = im->info.entries;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (image_page_pfn(&pages[mid]) < pfn)
            low = mid + 1;
        else
            high = mid;
    }
    return low < im->info.entries && image_page_pfn(&pages[low]) == pfn ? &pages[low] : NULL;
}

const void *image_payload(const struct image *im, uint64_t payload)
{
    return payload == IMAGE_PAGE_ZERO ? zero_page
                                      : im->map + image_payload_offset(im) + payload * PAGE_BYTES;
}

int image_read_payloads(const struct image *im, uint64_t payload, uint64_t n, void *to,
                        struct error *e)
{
    uint64_t at = image_payload_offset(im) + payload * PAGE_BYTES, left = n * PAGE_BYTES;
    for (uint8_t *p = to; left;) {
        ssize_t got = pread(im->fd, p, left, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_errno(e, errno, "image file %s: read %" PRIu64 " bytes at byte %" PRIu64,
                               im->path, left, at);
        if (!got)
            return refuse(im, e, "it ends at byte %" PRIu64 ", inside its payload", at);
        p += got;
        at += (uint64_t)got;
        left -= (uint64_t)got;
    }
    return 0;
}

/* Of n payloads from the one of that number on, in the mapping. */
static int payloads_advise(const struct image *im, uint64_t payload, uint64_t n, int advice)
{
    const uint8_t *at = im->map + image_payload_offset(im) + payload * PAGE_BYTES;
    return madvise((void *)(uintptr_t)at, n * PAGE_BYTES, advice);
}

bool image_prefault(struct image *im, uint64_t n)
{
#ifdef MADV_POPULATE_READ /* Linux 5.14 */
    uint64_t left = im->info.payload_pages - im->near;
    if (n > left)
        n = left;
    if (!n || payloads_advise(im, im->near, n, MADV_POPULATE_READ))
        return false;
    im->near += n;
    return true;
#else
    (void)im, (void)n;
    return false;
#endif
}

bool image_unfault(struct image *im, uint64_t n)
{
    if (n > im->near)
        n = im->near;
    im->near -= n;
    return n && !payloads_advise(im, im->near, n, MADV_DONTNEED); /* a file's, so not lost */
}

uint64_t image_near(const struct image *im)
{
    return im->near;
}

bool image_is_at(const struct image *im, const char *path)
{
    struct stat a, b;
    return !fstat(im->fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

uint64_t image_payload_offset(const struct image *im)
{
    return section(im, IMAGE_SECTION_PAYLOAD)->offset;
}

bool image_next_record(const struct image *im, size_t *cursor, struct image_record *out)
{
    const struct image_section *s = section(im, IMAGE_SECTION_RECORDS);
    if (*cursor >= s->length)
        return false;
    const uint8_t *at = im->map + s->offset + *cursor;
    struct image_record_header h;
    memcpy(&h, at, sizeof h);
    *out = (struct image_record){.type = h.type, .length = h.length, .body = at + sizeof h};
    *cursor += sizeof h + h.length + image_record_padding(h.length);
    return true;
}

bool image_find_record(const struct image *im, uint32_t type, unsigned nth,
                       struct image_record *out)
{
    size_t cursor = 0;
    while (image_next_record(im, &cursor, out))
        if (out->type == type && !nth--)
            return true;
    *out = (struct image_record){0};
    return false;
}

const char *image_config(const struct image *im)
{
    return (const char *)im->map + section(im, IMAGE_SECTION_CONFIG)->offset;
}

void image_prefault_records(const struct image *im)
{
#ifdef MADV_POPULATE_READ /* Linux 5.14 */
    const struct image_section *records = section(im, IMAGE_SECTION_RECORDS);
    (void)madvise((void *)(uintptr_t)(im->map + records->offset), im->size - records->offset,
                  MADV_POPULATE_READ);
#else
    (void)im;
#endif
}

void image_drop(const struct image *im)
{
    (void)madvise((void *)(uintptr_t)im->map, im->size, MADV_DONTNEED); /* a file's, so not lost */
}

static void section_digest(const struct image *im, const struct image_section *s,
                           uint8_t digest[IMAGE_DIGEST_BYTES])
{
    crypto_generichash_state state;
    (void)!sodium_init();
    (void)crypto_generichash_init(&state, NULL, 0, IMAGE_DIGEST_BYTES);
    for (uint64_t at = 0; at < s->length; at += DIGEST_STEP_BYTES) {
        uint64_t left = s->length - at;
        (void)crypto_generichash_update(&state, im->map + s->offset + at,
                                        left < DIGEST_STEP_BYTES ? left : DIGEST_STEP_BYTES);
        image_drop(im);
    }
    (void)crypto_generichash_final(&state, digest, IMAGE_DIGEST_BYTES);
}

int image_verify(const struct image *im, struct error *e)
{
    for (unsigned i = 0; i < IMAGE_SECTION_COUNT; i++) {
        const struct image_section *s = &im->header->section[i];
        uint8_t digest[IMAGE_DIGEST_BYTES];
        section_digest(im, s, digest);
        if (memcmp(digest, s->digest, sizeof digest))
            return section_refuse(im, s, e);
    }
    return 0;
}
