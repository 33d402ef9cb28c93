/*
 * The libxc migration stream: see stream.h.
 *
 * One table, `rules`, says for each record which guests have it, which records must come before it,
 * which must not, whether it repeats, and how long it may be. Some records have a check function
 * for their inside besides. The resulting order (indented: only one kind of guest has it; records
 * of one line come in any order):
 *
 *        headers
 *           |
 *     pv: X86_PV_INFO    X86_CPUID_POLICY?  X86_MSR_POLICY?
 *           |
 *        STATIC_DATA_END          (version 3 only; version 2 implies it)
 *           |
 *     pv: X86_PV_P2M_FRAMES
 *           |
 *        PAGE_DATA ...            X86_TSC_INFO; pv: SHARED_INFO; hvm: HVM_CONTEXT
 *           |
 *     pv: VCPU_BASIC VCPU_EXTENDED? VCPU_XSAVE? VCPU_MSRS? ...     hvm: HVM_PARAMS
 *           |
 *        END
 *
 * HVM_PARAMS follow the last page because libxenguest clears the ring pages that they name.
 * libxenguest does not need X86_TSC_INFO and SHARED_INFO, but every saver writes them. Without them
 * a guest hangs or jumps in time without any error, so here they are required.
 *
 * Nothing is allocated by a length before that many bytes have been read, so a
 * short file cannot ask for much memory.
 */
#include "restore/formats/stream.h"

#include "base/page.h"
#include "restore/formats/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/hvm/save.h>
#include <xen/xen.h>

#define IHDR_BYTES 24u
#define IHDR_MARKER UINT64_MAX
#define IHDR_ID 0x58454e46u /* "XENF" */
#define IHDR_BIG_ENDIAN 1u
#define DHDR_BYTES 16u
#define DHDR_PV 1u
#define DHDR_HVM 2u
#define RECORD_HEADER_BYTES 8u

/* libxenguest sends at most 1024 pages a record; the format would allow 16 million. */
#define PAGE_BATCH_MAX (1u << 20)
#define PAGE_DATA_HEADER_BYTES 8u
#define PFN_MASK 0x000fffffffffffffull /* bits 59 to 52 are reserved and ignored */

#define VCPU_HEADER_BYTES 8u
#define P2M_FRAMES_HEADER_BYTES 8u
#define P2M_ENTRIES_PER_FRAME 512u /* of a 64-bit guest */
#define HVM_PARAMS_HEADER_BYTES 8u
#define EXTENDED_BYTES_MAX 128u /* room in XEN_DOMCTL_set_ext_vcpucontext */
#define XSAVE_BYTES_MIN 16u     /* xcr0 and xcr0_accum */
#define TSC_MODE_MAX 3u

/* Generous limits on records that are kept in memory; real ones are far smaller. */
#define SMALL_BYTES_MAX (1u << 20)
#define HVM_CONTEXT_BYTES_MAX (64u << 20)

#define PV 1u
#define HVM 2u
#define BIT(type) (1u << (type))

enum vcpu_kind { VCPU_BASIC, VCPU_EXTENDED, VCPU_XSAVE, VCPU_MSRS, VCPU_KINDS };

struct stream {
    struct source *src;
    const struct stream_limits *limits;
    const struct stream_handlers *handlers;
    struct stream_header header;
    unsigned guest;     /* PV or HVM */
    uint32_t seen;      /* BIT of each record type that has come */
    uint32_t type;      /* record being read */
    uint64_t at;        /* its offset */
    uint64_t max_pfn;   /* PV: by P2M_FRAMES; HVM: highest seen */
    uint64_t *entries;  /* of one PAGE_DATA record */
    size_t entries_max; /* room there */
    uint8_t *body;      /* of a record larger than the window */
    size_t body_max;
    uint64_t vcpus[VCPU_KINDS][STREAM_VCPUS_MAX / 64];
};

typedef int record_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e);

struct rule {
    unsigned guests;    /* PV, HVM; none: refused, refusal says why */
    uint32_t needs;     /* must have come, as far as this guest and version have it */
    uint32_t not_after; /* must not have come */
    uint32_t min, max;  /* bytes of body */
    bool repeats;
    record_check *check;
    const char *refusal;
};

static record_check pv_info_check, p2m_frames_check, vcpu_check, tsc_check, hvm_context_check,
    hvm_params_check, cpuid_policy_check, msr_policy_check;

#define VCPU_RECORDS                                                                               \
    (BIT(RECORD_X86_PV_VCPU_BASIC) | BIT(RECORD_X86_PV_VCPU_EXTENDED) |                            \
     BIT(RECORD_X86_PV_VCPU_XSAVE) | BIT(RECORD_X86_PV_VCPU_MSRS))
#define STATIC_DATA_DONE                                                                           \
    (BIT(RECORD_STATIC_DATA_END) | BIT(RECORD_X86_PV_P2M_FRAMES) | BIT(RECORD_PAGE_DATA))
#define WHOLE_GUEST                                                                                \
    (BIT(RECORD_X86_PV_P2M_FRAMES) | BIT(RECORD_PAGE_DATA) | BIT(RECORD_X86_TSC_INFO) |            \
     BIT(RECORD_SHARED_INFO) | BIT(RECORD_X86_PV_VCPU_BASIC) | BIT(RECORD_HVM_CONTEXT) |           \
     BIT(RECORD_HVM_PARAMS))
#define CHECKPOINTED "belongs to a checkpointed (Remus or COLO) stream, which no save file is"

static const struct rule rules[RECORD_TYPES] = {
    [RECORD_X86_PV_INFO] = {PV, .min = 8, .max = 8, .check = pv_info_check},
    [RECORD_X86_CPUID_POLICY] = {PV | HVM, .not_after = STATIC_DATA_DONE, .min = 1,
                                 .max = SMALL_BYTES_MAX, .check = cpuid_policy_check},
    [RECORD_X86_MSR_POLICY] = {PV | HVM, .not_after = STATIC_DATA_DONE, .min = 1,
                               .max = SMALL_BYTES_MAX, .check = msr_policy_check},
    [RECORD_STATIC_DATA_END] = {PV | HVM, .needs = BIT(RECORD_X86_PV_INFO),
                                .not_after = STATIC_DATA_DONE},
    [RECORD_X86_PV_P2M_FRAMES] = {PV,
                                  .needs = BIT(RECORD_X86_PV_INFO) | BIT(RECORD_STATIC_DATA_END),
                                  .min = P2M_FRAMES_HEADER_BYTES + 8, .max = RECORD_BYTES_MAX,
                                  .check = p2m_frames_check},
    [RECORD_PAGE_DATA] = {PV | HVM,
                          .needs = BIT(RECORD_STATIC_DATA_END) | BIT(RECORD_X86_PV_P2M_FRAMES),
                          .not_after = VCPU_RECORDS | BIT(RECORD_HVM_PARAMS),
                          .min = PAGE_DATA_HEADER_BYTES + 8, .max = RECORD_BYTES_MAX,
                          .repeats = true},
    [RECORD_X86_TSC_INFO] = {PV | HVM, .min = 24, .max = 24, .check = tsc_check},
    [RECORD_SHARED_INFO] = {PV, .needs = BIT(RECORD_X86_PV_INFO), .min = PAGE_BYTES,
                            .max = PAGE_BYTES},
    [RECORD_X86_PV_VCPU_BASIC] = {PV, .needs = BIT(RECORD_PAGE_DATA),
                                  .min = VCPU_HEADER_BYTES + sizeof(struct vcpu_guest_context),
                                  .max = VCPU_HEADER_BYTES + sizeof(struct vcpu_guest_context),
                                  .repeats = true, .check = vcpu_check},
    [RECORD_X86_PV_VCPU_EXTENDED] = {PV, .needs = BIT(RECORD_PAGE_DATA), .min = VCPU_HEADER_BYTES,
                                     .max = VCPU_HEADER_BYTES + EXTENDED_BYTES_MAX, .repeats = true,
                                     .check = vcpu_check},
    [RECORD_X86_PV_VCPU_XSAVE] = {PV, .needs = BIT(RECORD_PAGE_DATA), .min = VCPU_HEADER_BYTES,
                                  .max = SMALL_BYTES_MAX, .repeats = true, .check = vcpu_check},
    [RECORD_X86_PV_VCPU_MSRS] = {PV, .needs = BIT(RECORD_PAGE_DATA), .min = VCPU_HEADER_BYTES,
                                 .max = SMALL_BYTES_MAX, .repeats = true, .check = vcpu_check},
    [RECORD_HVM_CONTEXT] = {HVM, .min = 16, .max = HVM_CONTEXT_BYTES_MAX,
                            .check = hvm_context_check},
    [RECORD_HVM_PARAMS] = {HVM, .needs = BIT(RECORD_PAGE_DATA), .min = HVM_PARAMS_HEADER_BYTES,
                           .max = SMALL_BYTES_MAX, .check = hvm_params_check},
    [RECORD_END] = {PV | HVM, .needs = WHOLE_GUEST},
    [RECORD_TOOLSTACK] = {.refusal = "is obsolete and belongs in no stream"},
    [RECORD_VERIFY] = {.refusal = "starts a debugging aid, not more of the guest"},
    [RECORD_CHECKPOINT] = {.refusal = CHECKPOINTED},
    [RECORD_CHECKPOINT_DIRTY_PFN_LIST] = {.refusal = CHECKPOINTED},
};

static int refuse(const struct stream *s, struct error *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct stream *s, struct error *e, const char *fmt, ...)
{
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return error_set(e, ANSWER_IMAGE_REFUSED, "save file: %s record at byte %" PRIu64 ": %s",
                     record_name(s->type), s->at, why);
}

/* ---- the insides of records, in the order in which they come ---- */

static int pv_info_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e)
{
    (void)length;
    unsigned width = body[0], levels = body[1];
    if (width == 4 && levels == 3)
        return refuse(s, e, "32-bit PV guests are not supported");
    if (width != 8 || levels != 4)
        return refuse(s, e, "guest width %u with %u page-table levels, expected 8 with 4", width,
                      levels);
    return 0;
}

static int entries_check(struct stream *s, uint32_t length, uint32_t entry, struct error *e)
{
    if (length % entry)
        return refuse(s, e, "%u bytes are no multiple of an entry's %u", length, entry);
    return 0;
}

static int cpuid_policy_check(struct stream *s, const uint8_t *body, uint32_t length,
                              struct error *e)
{
    (void)body;
    return entries_check(s, length, sizeof(xen_cpuid_leaf_t), e);
}

static int msr_policy_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e)
{
    (void)body;
    return entries_check(s, length, sizeof(xen_msr_entry_t), e);
}

static int p2m_frames_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e)
{
    uint32_t first = get_u32(body), last = get_u32(body + 4);
    if (first)
        return refuse(s, e, "starts at pfn %#x; only whole tables are supported", first);
    if (last >= s->limits->pfn_limit)
        return refuse(s, e,
                      "last pfn %#x is beyond what the configured memory allows (%#" PRIx64 ")",
                      last, s->limits->pfn_limit);
    uint64_t expected = P2M_FRAMES_HEADER_BYTES + 8 * ((uint64_t)last / P2M_ENTRIES_PER_FRAME + 1);
    if (length != expected)
        return refuse(s, e, "%u bytes, expected %" PRIu64 " for pfns 0 to %#x", length, expected,
                      last);
    s->max_pfn = last;
    return 0;
}

static int tsc_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e)
{
    (void)length;
    uint32_t mode = get_u32(body);
    return mode > TSC_MODE_MAX ? refuse(s, e, "TSC mode %u is not known", mode) : 0;
}

static int vcpu_body_check(struct stream *s, enum vcpu_kind kind, uint32_t id, const uint8_t *blob,
                           uint32_t length, struct error *e)
{
    if (kind == VCPU_XSAVE && length < XSAVE_BYTES_MIN)
        return refuse(s, e, "vCPU %u: %u bytes, expected at least %u", id, length, XSAVE_BYTES_MIN);
    if (kind == VCPU_MSRS)
        return entries_check(s, length, sizeof(xen_msr_entry_t), e);
    /* The blob is a hypercall's argument that names its vCPU and size once more. */
    if (kind == VCPU_EXTENDED && (length < 8 || get_u32(blob) != id || get_u32(blob + 4) > length))
        return refuse(s, e, "vCPU %u: its content is of another vCPU or size", id);
    return 0;
}

static int vcpu_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e)
{
    static const uint8_t kinds[RECORD_TYPES] = {
        [RECORD_X86_PV_VCPU_BASIC] = VCPU_BASIC,
        [RECORD_X86_PV_VCPU_EXTENDED] = VCPU_EXTENDED,
        [RECORD_X86_PV_VCPU_XSAVE] = VCPU_XSAVE,
        [RECORD_X86_PV_VCPU_MSRS] = VCPU_MSRS,
    };
    enum vcpu_kind kind = (enum vcpu_kind)kinds[s->type];
    uint32_t id = get_u32(body);
    if (id >= s->limits->vcpus)
        return refuse(s, e, "vCPU %u, but the configuration has %u", id, s->limits->vcpus);
    if (length == VCPU_HEADER_BYTES)
        return 0; /* erratum 1 of the specification: ignored */
    uint64_t *word = &s->vcpus[kind][id / 64], bit = 1ull << id % 64;
    if (*word & bit)
        return refuse(s, e, "vCPU %u comes twice", id);
    *word |= bit;
    return vcpu_body_check(s, kind, id, body + VCPU_HEADER_BYTES, length - VCPU_HEADER_BYTES, e);
}

/* One hvm_save_descriptor and its content; *used is their size, *last tells Xen's END. */
static int hvm_entry_check(struct stream *s, const uint8_t *at, uint32_t left, uint32_t *used,
                           bool *last, struct error *e)
{
    struct hvm_save_descriptor d;
    if (left < sizeof d)
        return refuse(s, e, "ends inside an entry's header");
    memcpy(&d, at, sizeof d);
    if (d.length > left - sizeof d)
        return refuse(s, e, "entry of type %u: %u bytes do not fit", d.typecode, d.length);
    *used = (uint32_t)sizeof d + d.length;
    *last = d.typecode == HVM_SAVE_CODE(END);
    if (*last && (d.length || left > sizeof d))
        return refuse(s, e, "%zu bytes after its end", left - sizeof d);
    if (d.typecode != HVM_SAVE_CODE(CPU))
        return 0;
    if (d.instance >= s->limits->vcpus)
        return refuse(s, e, "state of vCPU %u, but the configuration has %u", d.instance,
                      s->limits->vcpus);
    s->vcpus[VCPU_BASIC][d.instance / 64] |= 1ull << d.instance % 64;
    return 0;
}

static bool hvm_header_valid(const uint8_t *body, uint32_t length)
{
    struct hvm_save_descriptor d;
    memcpy(&d, body, sizeof d);
    return d.typecode == HVM_SAVE_CODE(HEADER) && d.length == HVM_SAVE_LENGTH(HEADER) &&
           length >= sizeof d + d.length && get_u32(body + sizeof d) == HVM_FILE_MAGIC &&
           get_u32(body + sizeof d + 4) == HVM_FILE_VERSION;
}

static int hvm_context_check(struct stream *s, const uint8_t *body, uint32_t length,
                             struct error *e)
{
    if (!hvm_header_valid(body, length))
        return refuse(s, e, "does not start with Xen's HVM save header");
    bool last = false;
    int rc = 0;
    for (uint32_t at = 0, used = 0; !rc && !last; at += used)
        rc = hvm_entry_check(s, body + at, length - at, &used, &last, e);
    return rc;
}

static int hvm_params_check(struct stream *s, const uint8_t *body, uint32_t length, struct error *e)
{
    uint64_t expected = HVM_PARAMS_HEADER_BYTES + 16 * (uint64_t)get_u32(body);
    if (length != expected)
        return refuse(s, e, "%u bytes, expected %" PRIu64 " for %u parameters", length, expected,
                      get_u32(body));
    return 0;
}

/* ---- PAGE_DATA ---- */

static bool page_type_has_content(unsigned type)
{
    return type == PAGE_NOTAB || page_type_is_table(type);
}

static int entry_check(struct stream *s, uint32_t index, bool *has_content, struct error *e)
{
    uint64_t pfn = s->entries[index] & PFN_MASK;
    unsigned type = (unsigned)(s->entries[index] >> IMAGE_TYPE_SHIFT);
    uint64_t limit = s->guest == PV ? s->max_pfn + 1 : s->limits->pfn_limit;
    if (pfn >= limit)
        return refuse(s, e, "pfn %#" PRIx64 " (entry %u) is not below %#" PRIx64, pfn, index,
                      limit);
    if (type == PAGE_XALLOC)
        return refuse(s, e,
                      "pfn %#" PRIx64 " (entry %u) has type XALLOC, of saves by Xen 4.5 "
                      "or older, which are not supported",
                      pfn, index);
    *has_content = page_type_has_content(type);
    if (!*has_content && type != PAGE_BROKEN && type != PAGE_XTAB)
        return refuse(s, e, "pfn %#" PRIx64 " (entry %u) has unknown type %#x", pfn, index, type);
    if (s->guest == HVM && page_type_is_table(type))
        return refuse(s, e,
                      "pfn %#" PRIx64 " (entry %u) has page-table type %#x, which only PV "
                      "guests have",
                      pfn, index, type);
    if (s->guest == HVM && pfn > s->max_pfn)
        s->max_pfn = pfn;
    s->entries[index] = pfn | (uint64_t)type << IMAGE_TYPE_SHIFT;
    return 0;
}

/* Reads count entries, growing the array only as bytes really come. */
static int entries_read(struct stream *s, uint32_t count, struct error *e)
{
    const size_t step = SOURCE_WINDOW_BYTES / sizeof *s->entries;
    for (size_t have = 0; have < count;) {
        size_t part = count - have < step ? count - have : step;
        if (have + part > s->entries_max) {
            uint64_t *bigger = realloc(s->entries, (have + part) * sizeof *bigger);
            if (!bigger)
                return error_set(e, -ENOMEM, "out of memory for %zu pfns", have + part);
            s->entries = bigger;
            s->entries_max = have + part;
        }
        int rc = source_copy(s->src, s->entries + have, part * sizeof *s->entries, "PAGE_DATA", e);
        if (rc)
            return rc;
        have += part;
    }
    return 0;
}

static int entries_check_all(struct stream *s, uint32_t count, uint32_t length, struct error *e)
{
    uint64_t contents = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool has_content = false;
        int rc = entry_check(s, i, &has_content, e);
        if (rc)
            return rc;
        contents += has_content;
    }
    uint64_t expected = PAGE_DATA_HEADER_BYTES + 8 * (uint64_t)count + contents * PAGE_BYTES;
    if (length != expected)
        return refuse(
            s, e, "%u bytes, expected %" PRIu64 " for %u entries with %" PRIu64 " page contents",
            length, expected, count, contents);
    return 0;
}

static int contents_deliver(struct stream *s, uint32_t count, struct error *e)
{
    int rc = 0;
    for (uint32_t i = 0; i < count && !rc; i++) {
        unsigned type = (unsigned)(s->entries[i] >> IMAGE_TYPE_SHIFT);
        const uint8_t *content = NULL;
        if (page_type_has_content(type))
            rc = source_take(s->src, PAGE_BYTES, "PAGE_DATA", &content, e);
        if (!rc)
            rc = s->handlers->page(s->handlers->data, s->entries[i] & IMAGE_PFN_MASK, type, content,
                                   e);
    }
    return rc;
}

static int page_data_read(struct stream *s, uint32_t length, struct error *e)
{
    const uint8_t *header;
    int rc = source_take(s->src, PAGE_DATA_HEADER_BYTES, "PAGE_DATA", &header, e);
    if (rc)
        return rc;
    uint32_t count = get_u32(header);
    if (count < 1 || count > PAGE_BATCH_MAX)
        return refuse(s, e, "%u entries, expected 1 to %u", count, PAGE_BATCH_MAX);
    if (length < PAGE_DATA_HEADER_BYTES + 8 * count)
        return refuse(s, e, "%u bytes are too few for %u entries", length, count);
    rc = entries_read(s, count, e);
    if (!rc)
        rc = entries_check_all(s, count, length, e);
    if (!rc)
        rc = contents_deliver(s, count, e);
    return rc;
}

/* ---- records ---- */

/* A body larger than the window is gathered piece by piece. */
static int body_gather(struct stream *s, uint32_t length, const char *name, struct error *e)
{
    for (uint32_t have = 0; have < length;) {
        uint32_t part = length - have < SOURCE_WINDOW_BYTES ? length - have : SOURCE_WINDOW_BYTES;
        if (have + part > s->body_max) {
            size_t size = (size_t)have * 2 + part;
            uint8_t *bigger = realloc(s->body, size);
            if (!bigger)
                return error_set(e, -ENOMEM, "out of memory for %zu bytes of %s", size, name);
            s->body = bigger;
            s->body_max = size;
        }
        int rc = source_copy(s->src, s->body + have, part, name, e);
        if (rc)
            return rc;
        have += part;
    }
    return 0;
}

static uint32_t padded(uint32_t length)
{
    return (length + 7) & ~7u; /* lengths are at most RECORD_BYTES_MAX */
}

static int body_read(struct stream *s, uint32_t length, const uint8_t **body, struct error *e)
{
    const char *name = record_name(s->type);
    if (padded(length) <= SOURCE_WINDOW_BYTES)
        return source_take(s->src, padded(length), name, body, e);
    int rc = body_gather(s, padded(length), name, e);
    *body = s->body;
    return rc;
}

/* Which of the records in `wanted` do not exist for this guest and version. */
static uint32_t records_foreign(const struct stream *s, uint32_t wanted)
{
    uint32_t foreign = 0;
    for (unsigned type = 0; type < RECORD_TYPES; type++)
        if (wanted & BIT(type) && !(rules[type].guests & s->guest))
            foreign |= BIT(type);
    if (s->header.version < 3) /* there its place is implied */
        foreign |= BIT(RECORD_STATIC_DATA_END);
    return foreign;
}

/* Name of the lowest type in a set. */
static const char *first_name(uint32_t set)
{
    return record_name((uint32_t)__builtin_ctz(set));
}

static int order_check(struct stream *s, const struct rule *rule, struct error *e)
{
    uint32_t missing = rule->needs & ~s->seen;
    if (missing)
        missing &= ~records_foreign(s, missing);
    if (missing)
        return refuse(s, e, "no %s record before it", first_name(missing));
    if (rule->not_after & s->seen)
        return refuse(s, e, "comes after %s", first_name(rule->not_after & s->seen));
    if (!rule->repeats && s->seen & BIT(s->type))
        return refuse(s, e, "comes twice");
    return 0;
}

static int rule_check(struct stream *s, const struct rule *rule, uint32_t length, struct error *e)
{
    if (rule->refusal)
        return refuse(s, e, "%s", rule->refusal);
    if (!(rule->guests & s->guest))
        return refuse(s, e, "is not of a %s guest", s->guest == PV ? "PV" : "PVH");
    int rc = order_check(s, rule, e);
    if (rc)
        return rc;
    if (length < rule->min || length > rule->max)
        return refuse(s, e, "%u bytes, expected %u to %u", length, rule->min, rule->max);
    s->seen |= BIT(s->type);
    return 0;
}

/* Erratum 1 of the specification: to be ignored. */
static bool record_is_empty(const struct stream *s, const uint8_t *body, uint32_t length)
{
    if (s->type == RECORD_HVM_PARAMS)
        return get_u32(body) == 0;
    return BIT(s->type) & VCPU_RECORDS && length == VCPU_HEADER_BYTES;
}

static int known_record_read(struct stream *s, uint32_t length, struct error *e)
{
    const struct rule *rule = &rules[s->type];
    int rc = rule_check(s, rule, length, e);
    if (rc)
        return rc;
    if (s->type == RECORD_PAGE_DATA)
        return page_data_read(s, length, e);
    const uint8_t *body;
    rc = body_read(s, length, &body, e);
    if (!rc && rule->check)
        rc = rule->check(s, body, length, e);
    if (rc || s->type == RECORD_END || record_is_empty(s, body, length))
        return rc;
    return s->handlers->record(s->handlers->data, s->type, body, length, e);
}

static int record_read(struct stream *s, struct error *e)
{
    const uint8_t *header;
    s->at = s->src->offset;
    int rc = source_take(s->src, RECORD_HEADER_BYTES, "a record header", &header, e);
    if (rc)
        return rc;
    s->type = get_u32(header);
    uint32_t length = get_u32(header + 4);
    if (length > RECORD_BYTES_MAX)
        return refuse(s, e, "%u bytes, more than any record may have (%u)", length,
                      RECORD_BYTES_MAX);
    if (s->type < RECORD_TYPES)
        return known_record_read(s, length, e);
    if (s->type & RECORD_OPTIONAL)
        return source_skip(s->src, padded(length), "an optional record", e);
    return refuse(s, e, "type %#x is mandatory and not known to this version", s->type);
}

/* ---- headers and the whole ---- */

static int image_header_read(struct stream *s, struct error *e)
{
    const uint8_t *h;
    uint64_t at = s->src->offset;
    int rc = source_take(s->src, IHDR_BYTES, "the libxc stream's header", &h, e);
    if (rc)
        return rc;
    if (get_u64(h) != IHDR_MARKER || get_be32(h + 8) != IHDR_ID)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: no libxc stream at byte %" PRIu64
                         " (damaged, or saved by Xen 4.5 or older)",
                         at);
    s->header.version = get_be32(h + 12);
    if (s->header.version < 2 || s->header.version > 3)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: libxc stream version %u at byte %" PRIu64
                         ", this dompool reads 2 and 3",
                         s->header.version, at + 12);
    if (h[17] & IHDR_BIG_ENDIAN) /* low byte of the big-endian options */
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: big-endian libxc stream at byte %" PRIu64, at + 16);
    return 0;
}

static int domain_header_read(struct stream *s, struct error *e)
{
    const uint8_t *h;
    uint64_t at = s->src->offset;
    int rc = source_take(s->src, DHDR_BYTES, "the libxc domain header", &h, e);
    if (rc)
        return rc;
    uint32_t type = get_u32(h);
    unsigned shift = h[4] | (unsigned)h[5] << 8;
    s->guest = s->limits->guest == IMAGE_GUEST_PV ? PV : HVM;
    if (type != (s->guest == PV ? DHDR_PV : DHDR_HVM))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: guest type %u at byte %" PRIu64
                         ", but its configuration is that of a %s guest",
                         type, at, s->guest == PV ? "PV" : "PVH");
    if (shift != 12)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "save file: page shift %u at byte %" PRIu64 ", expected 12", shift,
                         at + 4);
    s->header.xen_major = get_u32(h + 8);
    s->header.xen_minor = get_u32(h + 12);
    return s->handlers->header(s->handlers->data, &s->header, e);
}

/* Checks what only the whole stream shows: every vCPU that has other state must have registers;
 * vCPU 0 always. */
static int vcpus_check(const struct stream *s, struct error *e)
{
    if (!(s->vcpus[VCPU_BASIC][0] & 1))
        return refuse(s, e, "vCPU 0's registers did not come");
    for (unsigned id = 0; id < STREAM_VCPUS_MAX; id++) {
        uint64_t bit = 1ull << id % 64, any = 0;
        for (unsigned kind = VCPU_EXTENDED; kind < VCPU_KINDS; kind++)
            any |= s->vcpus[kind][id / 64];
        if (any & bit && !(s->vcpus[VCPU_BASIC][id / 64] & bit))
            return refuse(s, e, "vCPU %u has no X86_PV_VCPU_BASIC record", id);
    }
    return 0;
}

int stream_read(struct source *src, const struct stream_limits *limits,
                const struct stream_handlers *handlers, uint64_t *max_pfn, struct error *e)
{
    struct stream s = {.src = src, .limits = limits, .handlers = handlers, .type = UINT32_MAX};
    int rc = image_header_read(&s, e);
    if (!rc)
        rc = domain_header_read(&s, e);
    while (!rc && s.type != RECORD_END)
        rc = record_read(&s, e);
    if (!rc)
        rc = vcpus_check(&s, e);
    *max_pfn = s.max_pfn;
    free(s.entries);
    free(s.body);
    return rc;
}
