/* The bare libxc stream. First byte: guest kind, second: number of vCPUs. */
#include "tests/fuzz/fuzz.h"

#include "base/page.h"
#include "restore/formats/guest_check.h"
#include "restore/formats/records.h"
#include "restore/formats/stream.h"

#define PFN_LIMIT (1u << 21)

struct seen {
    struct guest_check check;
    unsigned headers;
    uint8_t sum; /* makes sure that every byte given to us can be read */
};

static int on_header(void *data, const struct stream_header *h, struct error *e)
{
    struct seen *s = data;
    (void)e;
    FUZZ_CHECK(h->version == 2 || h->version == 3);
    FUZZ_CHECK(!s->headers++);
    return 0;
}

static int on_record(void *data, uint32_t type, const void *body, uint32_t length, struct error *e)
{
    struct seen *s = data;
    FUZZ_CHECK(s->headers && type < RECORD_TYPES && type != RECORD_PAGE_DATA);
    for (uint32_t i = 0; i < length; i++)
        s->sum = (uint8_t)(s->sum + ((const uint8_t *)body)[i]);
    return guest_check_record(&s->check, type, body, length, e);
}

static int on_page(void *data, uint64_t pfn, unsigned type, const void *content, struct error *e)
{
    struct seen *s = data;
    (void)e;
    FUZZ_CHECK(pfn < PFN_LIMIT && type <= PAGE_XTAB);
    FUZZ_CHECK((content != NULL) == (type == PAGE_NOTAB || page_type_is_table(type)));
    for (unsigned i = 0; content && i < PAGE_BYTES; i++)
        s->sum = (uint8_t)(s->sum + ((const uint8_t *)content)[i]);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct seen s = {.headers = 0};
    struct source src;
    struct error e = {0};
    uint64_t max_pfn;
    const struct stream_limits limits = {
        .guest = data[0] & 1 ? IMAGE_GUEST_PV : IMAGE_GUEST_PVH,
        .vcpus = data[1] % STREAM_VCPUS_MAX + 1,
        .pfn_limit = PFN_LIMIT,
    };
    const struct stream_handlers handlers = {on_header, on_record, on_page, &s};
    guest_check_init(&s.check, limits.guest);
    source_init_memory(&src, data + 2, size - 2);
    int rc = stream_read(&src, &limits, &handlers, &max_pfn, &e);
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    FUZZ_CHECK(rc || max_pfn < PFN_LIMIT);
    source_dispose(&src);
    guest_check_dispose(&s.check);
    return 0;
}
