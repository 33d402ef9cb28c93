/* What the parts of domdump share: see domdump_parts.h. */
#include "tests/xen/domdump_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xen/grant_table.h>

_Noreturn void die(const char *format, ...)
{
    int errnum = errno;
    va_list args;

    fprintf(stderr, "domdump: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s\n", strerror(errnum));
    exit(EXIT_FAILURE);
}

void *allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p)
        die("allocate %zu times %zu bytes", n, size);
    return p;
}

/* Every step is a bijection of the state for a given word, so one changed word always shows. */
static uint64_t hash_step(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

uint64_t hash_bytes(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t h = size;
    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = hash_step(h, word);
    }
    uint64_t last = 0;
    memcpy(&last, p, size);
    return hash_step(hash_step(h, last), 0);
}

void print_line(struct dump *d, const char *key, const char *type, uint64_t value,
                const char *class_name, const char *complaint)
{
    fprintf(d->out, "%s %s %016" PRIx64 " %s", key, type, value, class_name);
    if (complaint) {
        fprintf(d->out, " !%s", complaint);
        d->errors = true;
    }
    putc('\n', d->out);
}

void print_page(struct dump *d, uint64_t pfn, unsigned type, uint64_t value, const char *class_name,
                const char *complaint)
{
    static const char *const names[16] = {
        "notab", "l1",  "l2",  "l3",  "l4",  "type5",  "type6",  "type7",
        "type8", "l1p", "l2p", "l3p", "l4p", "broken", "xalloc", "xtab",
    };
    char key[32];
    snprintf(key, sizeof key, "%09" PRIx64, pfn);
    print_line(d, key, names[type & 15], value, class_name, complaint);
}

void frame_types(struct dump *d, const uint64_t *frames, unsigned n, uint8_t *types)
{
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_getpageframeinfo3, .domain = (domid_t)d->domid};
    DECLARE_HYPERCALL_BUFFER(uint64_t, array);
    if (!n)
        return;
    array = xc_hypercall_buffer_alloc(d->xch, array, n * sizeof *array);
    if (!array)
        die("allocate a hypercall buffer");
    memcpy(array, frames, n * sizeof *array);
    domctl.u.getpageframeinfo3.num = n;
    set_xen_guest_handle(domctl.u.getpageframeinfo3.array, array);
    if (xc_domctl(d->xch, &domctl))
        die("ask for the types of frames from 0x%" PRIx64, frames[0]);
    for (unsigned i = 0; i < n; i++)
        types[i] =
            (uint8_t)((array[i] & XEN_DOMCTL_PFINFO_LTAB_MASK) >> XEN_DOMCTL_PFINFO_LTAB_SHIFT);
    xc_hypercall_buffer_free(d->xch, array);
}

uint8_t *frames_map(struct dump *d, int prot, const xen_pfn_t *frames, unsigned n, int *err)
{
    void *at = xenforeignmemory_map(d->memory, d->domid, prot, n, frames, err);
    if (!at)
        die("map %u frames from 0x%" PRIx64, n, (uint64_t)frames[0]);
    return at;
}

void frames_unmap(struct dump *d, void *at, unsigned n)
{
    if (xenforeignmemory_unmap(d->memory, at, n))
        die("unmap %u frames", n);
}

bool frame_copy(struct dump *d, uint64_t frame, void *page)
{
    xen_pfn_t f = frame;
    int err = 0;
    uint8_t *at = xenforeignmemory_map(d->memory, d->domid, PROT_READ, 1, &f, &err);
    if (!at)
        return false;
    if (!err)
        memcpy(page, at, PAGE_BYTES);
    frames_unmap(d, at, 1);
    return !err;
}

void dump_grants(struct dump *d, uint64_t (*to_pfn)(const void *data, uint64_t frame),
                 const void *data)
{
    void *at = NULL;
    xenforeignmemory_resource_handle *r = xenforeignmemory_map_resource(
        d->memory, (domid_t)d->domid, XENMEM_resource_grant_table,
        XENMEM_resource_grant_table_id_shared, 0, 1, &at, PROT_READ, 0);
    if (!r)
        die("map the grant table");
    const grant_entry_v1_t *entries = at;
    for (unsigned i = 0; i < PAGE_BYTES / sizeof *entries; i++) {
        grant_entry_v1_t g = entries[i];
        if (!g.flags)
            continue;
        g.flags &= (uint16_t) ~(GTF_reading | GTF_writing);
        uint64_t canonical[3] = {g.flags, g.domid, to_pfn(data, g.frame)};
        char key[32];
        snprintf(key, sizeof key, "grant%u", i);
        print_line(d, key, "-", hash_bytes(canonical, sizeof canonical), "grant", NULL);
    }
    xenforeignmemory_unmap_resource(d->memory, r);
}

void poke_frame(struct dump *d, uint64_t frame)
{
    xen_pfn_t f = frame;
    int err = 0;
    uint8_t *at = frames_map(d, PROT_READ | PROT_WRITE, &f, 1, &err);
    if (err) {
        errno = -err;
        die("map frame 0x%" PRIx64 " for writing", frame);
    }
    at[PAGE_BYTES / 3] ^= 1;
    frames_unmap(d, at, 1);
}
