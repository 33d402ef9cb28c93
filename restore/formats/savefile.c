/*
 * Save files: see savefile.h.
 *
 * Two nested containers, each with a header that says what a reader must understand: xl's
 * "mandatory flags" and libxl's record types. Anything mandatory and unknown is refused. So is
 * anything that needs more than memory, vCPUs and disks to come back to life: the state of a device
 * model (EMULATOR_*).
 */
#include "restore/formats/savefile.h"

#include "base/io.h"
#include "restore/formats/foreign.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define XL_HEADER_BYTES 48u
#define XL_MAGIC_BYTES 32u
#define XL_BYTE_ORDER 0x01020304u
#define XL_FLAG_JSON 1u
#define XL_FLAG_STREAM_V2 2u
#define XL_FLAGS_KNOWN (XL_FLAG_JSON | XL_FLAG_STREAM_V2)

#define LIBXL_HEADER_BYTES 16u
#define LIBXL_IDENT 0x4c6962786c466d74ull /* "LibxlFmt" */
#define LIBXL_VERSION 2u
#define LIBXL_BIG_ENDIAN 1u
#define LIBXL_LEGACY 2u
#define LIBXL_OPTIONAL 0x80000000u
#define LIBXL_RECORD_BYTES_MAX (128u << 20)

enum libxl_record {
    LIBXL_END,
    LIBXL_LIBXC_CONTEXT,
    LIBXL_EMULATOR_XENSTORE_DATA,
    LIBXL_EMULATOR_CONTEXT,
    LIBXL_CHECKPOINT_END,
    LIBXL_CHECKPOINT_STATE,
    LIBXL_RECORD_TYPES
};

#define DEVICE_MODEL "HVM guests with a device model are not supported, only PV and PVH"
#define CHECKPOINTED "the stream is a checkpointed (Remus or COLO) one, which no save file is"

/* refusal NULL: the two that a save file of a PV or PVH guest consists of, both empty. */
static const struct {
    const char *name, *refusal;
} libxl_records[LIBXL_RECORD_TYPES] = {
    [LIBXL_END] = {"END", NULL},
    [LIBXL_LIBXC_CONTEXT] = {"LIBXC_CONTEXT", NULL},
    [LIBXL_EMULATOR_XENSTORE_DATA] = {"EMULATOR_XENSTORE_DATA", DEVICE_MODEL},
    [LIBXL_EMULATOR_CONTEXT] = {"EMULATOR_CONTEXT", DEVICE_MODEL},
    [LIBXL_CHECKPOINT_END] = {"CHECKPOINT_END", CHECKPOINTED},
    [LIBXL_CHECKPOINT_STATE] = {"CHECKPOINT_STATE", CHECKPOINTED},
};

/* of tools/xl/xl.h, with its NUL and the bytes of CR that betray text mode */
static const char xl_magic[XL_MAGIC_BYTES] = "Xen saved domain, xl format\n \0 \r";

/* ---- xl ---- */

static int not_by_xl(const uint8_t *h, struct error *e)
{
    const struct foreign *f = foreign_find(h, XL_HEADER_BYTES);
    if (f)
        return error_set(e, ANSWER_IMAGE_REFUSED, "save file: it is %s; %s", f->name, f->advice);
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "save file: not written by `xl save` (wrong magic at byte 0)");
}

static int xl_header_check(const uint8_t *h, struct error *e)
{
    uint32_t order = get_u32(h + 32), mandatory = get_u32(h + 36);
    if (memcmp(h, xl_magic, sizeof xl_magic))
        return not_by_xl(h, e);
    if (order != XL_BYTE_ORDER)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: byte order %#x at byte 32, expected %#x", order,
                         XL_BYTE_ORDER);
    if (mandatory & ~XL_FLAGS_KNOWN)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: unknown mandatory flags %#x at byte 36 (a newer xl?)",
                         mandatory & ~XL_FLAGS_KNOWN);
    if (mandatory != XL_FLAGS_KNOWN)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: flags %#x at byte 36 are those of Xen 4.5 or older",
                         mandatory);
    return 0; /* of optional flags there are none yet; xl ignores them as well */
}

static int config_read(struct source *src, uint32_t data_len, char **json, size_t *len,
                       struct error *e)
{
    const uint8_t *head;
    int rc = source_take(src, 4, "the configuration's length", &head, e);
    if (rc)
        return rc;
    uint32_t n = get_u32(head);
    if (n == 0 || n > data_len - 4)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: configuration of %u bytes in %u bytes at byte %u", n,
                         data_len - 4, XL_HEADER_BYTES);
    char *text = malloc((size_t)n + 1);
    if (!text)
        return error_set(e, -ENOMEM, "out of memory for a configuration of %u bytes", n);
    rc = source_copy(src, text, n, "the configuration", e);
    if (!rc) /* optional data that this version of xl does not know */
        rc = source_skip(src, data_len - 4 - n, "the optional data", e);
    if (rc) {
        free(text);
        return rc;
    }
    text[n] = '\0';
    *len = n - (text[n - 1] == '\0'); /* xl counts a final NUL */
    *json = text;
    return 0;
}

int savefile_read_config(struct source *src, char **json, size_t *len, struct error *e)
{
    const uint8_t *h;
    int rc = source_take(src, XL_HEADER_BYTES, "xl's header", &h, e);
    if (!rc)
        rc = xl_header_check(h, e);
    if (rc)
        return rc;
    uint32_t data_len = get_u32(h + 44);
    if (data_len < 4 || data_len > SAVEFILE_CONFIG_BYTES_MAX)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: %u bytes of optional data at byte 44, expected 4 to %u",
                         data_len, SAVEFILE_CONFIG_BYTES_MAX);
    return config_read(src, data_len, json, len, e);
}

/* ---- libxl ---- */

static int libxl_header_read(struct source *src, struct error *e)
{
    const uint8_t *h;
    uint64_t at = src->offset;
    int rc = source_take(src, LIBXL_HEADER_BYTES, "the libxl stream's header", &h, e);
    if (rc)
        return rc;
    uint32_t version = get_be32(h + 8), options = get_be32(h + 12);
    if (get_be64(h) != LIBXL_IDENT)
        return error_set(e, ANSWER_IMAGE_REFUSED, "save file: no libxl stream at byte %" PRIu64,
                         at);
    if (version != LIBXL_VERSION)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: libxl stream version %u at byte %" PRIu64 ", expected %u",
                         version, at + 8, LIBXL_VERSION);
    if (options & LIBXL_BIG_ENDIAN)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: big-endian libxl stream at byte %" PRIu64, at + 12);
    if (options & LIBXL_LEGACY)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: converted from a save by Xen 4.5 or older; restore the "
                         "domain and save it again");
    return 0;
}

static int libxl_record_check(uint32_t type, uint32_t length, uint64_t at, struct error *e)
{
    if (type >= LIBXL_RECORD_TYPES)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: libxl record type %#x at byte %" PRIu64
                         " is mandatory and not known to this version",
                         type, at);
    if (libxl_records[type].refusal)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: libxl %s record at byte %" PRIu64 ": %s",
                         libxl_records[type].name, at, libxl_records[type].refusal);
    if (length)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: libxl %s record at byte %" PRIu64 ": %u bytes, expected none",
                         libxl_records[type].name, at, length);
    return 0;
}

struct libxl_reader {
    const struct stream_limits *limits;
    const struct stream_handlers *handlers;
    uint64_t *max_pfn;
    bool seen_libxc, seen_end;
};

static int libxl_record_read(struct source *src, struct libxl_reader *r, struct error *e)
{
    const uint8_t *h;
    uint64_t at = src->offset;
    int rc = source_take(src, 8, "a libxl record header", &h, e);
    if (rc)
        return rc;
    uint32_t type = get_u32(h), length = get_u32(h + 4);
    if (type & LIBXL_OPTIONAL && length <= LIBXL_RECORD_BYTES_MAX)
        return source_skip(src, ((uint64_t)length + 7) & ~7ull, "an optional libxl record", e);
    rc = libxl_record_check(type, length, at, e);
    if (rc)
        return rc;
    bool is_end = type == LIBXL_END;
    if (is_end != r->seen_libxc)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: libxl %s record at byte %" PRIu64 ": %s",
                         libxl_records[type].name, at,
                         is_end ? "no LIBXC_CONTEXT record before it" : "comes twice");
    r->seen_libxc = true;
    r->seen_end = is_end;
    return is_end ? 0 : stream_read(src, r->limits, r->handlers, r->max_pfn, e);
}

int savefile_read_stream(struct source *src, const struct stream_limits *limits,
                         const struct stream_handlers *handlers, uint64_t *max_pfn, struct error *e)
{
    struct libxl_reader r = {.limits = limits, .handlers = handlers, .max_pfn = max_pfn};
    int rc = libxl_header_read(src, e);
    while (!rc && !r.seen_end)
        rc = libxl_record_read(src, &r, e);
    bool end = true;
    if (!rc)
        rc = source_at_end(src, &end, e);
    if (!rc && !end)
        rc = error_set(e, ANSWER_IMAGE_REFUSED,
                       "save file: more bytes after its end at byte %" PRIu64, src->offset);
    return rc;
}

/* ---- writing ---- */

int savefile_write_head(int fd, const char *json, uint32_t len)
{
    struct {
        char magic[XL_MAGIC_BYTES];
        uint32_t order, mandatory, optional, data_len, config_len;
    } xl = {
        .order = XL_BYTE_ORDER,
        .mandatory = XL_FLAGS_KNOWN,
        .data_len = 4 + len + 1,
        .config_len = len + 1, /* xl counts a final NUL, and reads up to it */
    };
    _Static_assert(sizeof xl == XL_HEADER_BYTES + 4, "xl's header and the configuration's length");
    struct {
        uint64_t ident;
        uint32_t version, options; /* big endian, as ident */
        uint32_t type, length;
    } libxl = {
        .ident = htobe64(LIBXL_IDENT),
        .version = htobe32(LIBXL_VERSION),
        .type = LIBXL_LIBXC_CONTEXT,
    };
    _Static_assert(sizeof libxl == LIBXL_HEADER_BYTES + 8, "libxl's header and a record's");
    memcpy(xl.magic, xl_magic, sizeof xl_magic);
    int rc = write_full(fd, &xl, sizeof xl);
    if (!rc)
        rc = write_full(fd, json, len);
    if (!rc)
        rc = write_full(fd, "", 1);
    return rc ? rc : write_full(fd, &libxl, sizeof libxl);
}

int savefile_write_end(int fd)
{
    const uint32_t end[2] = {LIBXL_END, 0};
    return write_full(fd, end, sizeof end);
}
