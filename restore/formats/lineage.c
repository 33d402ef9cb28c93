/*
 * Lineage: see lineage.h.
 *
 * "The same kernel" is decided by two things that a kernel does not change. vCPU 0 always suspends
 * at the same instruction. The code around that instruction stays in place and, except for a few
 * patched pages, stays the same. With KASLR, another boot has other addresses and so is another
 * lineage.
 */
#include "restore/formats/lineage.h"

#include "base/array.h"
#include "base/page.h"
#include "restore/formats/pte.h"
#include "restore/formats/records.h"
#include "store/memory.h"

#include <inttypes.h>
#include <string.h>

#define CODE_BYTES (2ull << 20) /* looked at around the instruction pointer */

/* ---- the base ---- */

static int base_read_page(void *data, uint64_t pfn, void *page, struct error *e)
{
    const struct image *base = data;
    const struct image_page *found = image_find(base, pfn);
    if (!found)
        return error_set(e, ANSWER_IMAGE_REFUSED, "base image: pfn %#" PRIx64 " is not populated",
                         pfn);
    memcpy(page, image_payload(base, found->payload), PAGE_BYTES);
    return 0;
}

static int base_notes(struct lineage *l, struct error *e)
{
    struct image_record r;
    size_t cursor = 0;
    guest_check_init(&l->guest, image_info(l->base)->guest);
    while (image_next_record(l->base, &cursor, &r)) {
        int rc = guest_check_record(&l->guest, r.type, r.body, r.length, e);
        if (rc)
            return rc;
    }
    struct guest_memory m = {.read_page = base_read_page, .data = (void *)(uintptr_t)l->base};
    return guest_check_rings(&l->guest, &m, e);
}

int lineage_init(struct lineage *l, const struct image *base, struct error *e)
{
    *l = (struct lineage){.base = base};
    domconf_init(&l->conf);
    if (!image_is_base(image_info(base)))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "the base is a derived image itself: derive from its base");
    int rc = domconf_from_json(image_config(base), &l->conf, e);
    return rc ? rc : base_notes(l, e);
}

void lineage_dispose(struct lineage *l)
{
    domconf_dispose(&l->conf);
    guest_check_dispose(&l->guest);
}

/* ---- configuration ---- */

static int differs(struct error *e, const char *what, uint64_t base, uint64_t now)
{
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "no delta over this base: %s is %" PRIu64 ", the base's is %" PRIu64, what,
                     now, base);
}

static bool disk_changed(const struct disk_fingerprint *was, const struct disk_fingerprint *is)
{
    if (!was->taken || !is->taken)
        return false;
    return was->bytes != is->bytes || was->mtime_ns != is->mtime_ns ||
           (was->digested && is->digested &&
            memcmp(was->digest, is->digest, sizeof was->digest) != 0);
}

static int disk_check(const struct disk_conf *base, const struct disk_conf *disk, struct error *e)
{
    bool same = base->kind == disk->kind && base->size_bytes == disk->size_bytes &&
                !base->path == !disk->path && (!disk->path || !strcmp(base->path, disk->path));
    if (same && base->kind != DISK_PHY && disk_changed(&base->was, &disk->was))
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "no delta over this base: disk %s (%s) has changed since the base was "
                         "imported",
                         disk->vdev, disk->path);
    if (same)
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "no delta over this base: disk %s is %s:%s, the base's is %s:%s, and slots of "
                     "the base have the base's disks; if both hold the same, say --disk %s=%s:%s",
                     disk->vdev, disk_kind_name(disk->kind), disk->path ? disk->path : "",
                     disk_kind_name(base->kind), base->path ? base->path : "", disk->vdev,
                     disk_kind_name(base->kind), base->path ? base->path : "SIZE");
}

static const struct disk_conf *disk_find(const struct domconf *c, uint32_t devid)
{
    for (unsigned i = 0; i < c->n_disks; i++)
        if (c->disks[i].devid == devid)
            return &c->disks[i];
    return NULL;
}

static int disks_check(const struct domconf *base, const struct domconf *conf, struct error *e)
{
    if (base->n_disks != conf->n_disks)
        return differs(e, "the number of disks", base->n_disks, conf->n_disks);
    for (unsigned i = 0; i < conf->n_disks; i++) {
        const struct disk_conf *of_base = disk_find(base, conf->disks[i].devid);
        if (!of_base)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "no delta over this base: the base has no disk %s",
                             conf->disks[i].vdev);
        int rc = disk_check(of_base, &conf->disks[i], e);
        if (rc)
            return rc;
    }
    return 0;
}

/* The MACs that were saved do not count: each slot has its own. */
static int nics_check(const struct domconf *base, const struct domconf *conf, struct error *e)
{
    if (base->n_nics != conf->n_nics)
        return differs(e, "the number of network interfaces", base->n_nics, conf->n_nics);
    for (unsigned i = 0; i < conf->n_nics; i++) {
        const char *what = base->nics[i].devid == conf->nics[i].devid
                               ? nic_conf_differ(&base->nics[i], &conf->nics[i])
                               : "number";
        if (what)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "no delta over this base: vif %u has another %s, and slots of the "
                             "base have the base's interfaces",
                             conf->nics[i].devid, what);
    }
    return 0;
}

int lineage_check_config(const struct lineage *l, const struct domconf *conf, struct error *e)
{
    const struct domconf *b = &l->conf;
    const struct {
        const char *what;
        uint64_t base, now;
    } fields[] = {
        {"the kind of guest (1 PV, 2 PVH)", b->guest, conf->guest},
        {"the number of vCPUs", b->max_vcpus, conf->max_vcpus},
        {"max_memkb", b->max_mem_kib, conf->max_mem_kib},
        {"target_memkb", b->target_mem_kib, conf->target_mem_kib},
        {"shadow_memkb (the paging pool)", b->shadow_mem_kib, conf->shadow_mem_kib},
        {"tsc_mode", b->tsc_mode, conf->tsc_mode},
        {"nested_hvm", b->nested_hvm, conf->nested_hvm},
        {"nomigrate", b->nomigrate, conf->nomigrate},
        {"max_grant_frames", b->max_grant_frames, conf->max_grant_frames},
        {"max_maptrack_frames", b->max_maptrack_frames, conf->max_maptrack_frames},
        {"event_channels", b->max_event_channels, conf->max_event_channels},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (fields[i].base != fields[i].now)
            return differs(e, fields[i].what, fields[i].base, fields[i].now);
    if (memcmp(b->online, conf->online, sizeof b->online) != 0)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "no delta over this base: other vCPUs are online");
    const char *setting = domconf_settings_differ(b, conf);
    if (setting)
        return error_set(
            e, ANSWER_IMAGE_REFUSED,
            "no delta over this base: %s is not the base's, and slots of the base have "
            "the base's; import the base again if an earlier version has made it",
            setting);
    int rc = disks_check(b, conf, e);
    return rc ? rc : nics_check(b, conf, e);
}

/* ---- records ---- */

static unsigned base_static_records(const struct lineage *l)
{
    struct image_record r;
    size_t cursor = 0;
    unsigned n = 0;
    while (image_next_record(l->base, &cursor, &r))
        n += record_is_static(r.type);
    return n;
}

int lineage_check_record(struct lineage *l, uint32_t type, const uint8_t *body, uint32_t length,
                         struct error *e)
{
    struct image_record r;
    if (type == IMAGE_RECORD_ORIGIN) { /* its first field is the version of the stream */
        if (length < 4)
            return error_set(e, ANSWER_IMAGE_REFUSED, "record ORIGIN is malformed");
        if (image_find_record(l->base, type, 0, &r) && r.length >= 4 &&
            get_u32(r.body) != get_u32(body))
            return differs(e, "the version of the stream", get_u32(r.body), get_u32(body));
        return 0;
    }
    if (!record_is_static(type))
        return 0;
    l->static_records++;
    if (image_find_record(l->base, type, 0, &r) && r.length == length &&
        !memcmp(r.body, body, length))
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED, "no delta over this base: record %s differs (%s)",
                     record_name(type),
                     type == RECORD_X86_PV_P2M_FRAMES ? "another p2m layout"
                                                      : "saved with other CPU features");
}

/* ---- the kernel ---- */

/* The entry that maps address at this level, read from the base. */
static bool read_entry(const struct lineage *l, uint64_t table, unsigned level, uint64_t address,
                       uint64_t *entry)
{
    const struct image_page *p = image_find(l->base, table);
    unsigned index = address >> (12 + 9 * (level - 1)) & 511;
    if (p)
        *entry = get_u64((const uint8_t *)image_payload(l->base, p->payload) + index * 8);
    return p && *entry & PTE_PRESENT;
}

/* The pfn behind a virtual address of vCPU 0, by four-level tables. False: not mapped. */
static bool translate(const struct lineage *l, uint64_t address, uint64_t *pfn)
{
    uint64_t entry, table = l->guest.vcpus[0].cr3_pfn;
    for (unsigned level = 4; level; level--) {
        if (!read_entry(l, table, level, address, &entry))
            return false;
        table = PTE_FRAME(entry);
        if (level == 1 || (level < 4 && entry & PTE_LARGE)) {
            uint64_t below = (1ull << 9 * (level - 1)) - 1;
            *pfn = (table & ~below) | (address >> 12 & below);
            return true;
        }
    }
    return false;
}

static int code_check(const struct lineage *l, bool (*same)(const void *data, uint64_t pfn),
                      const void *data, struct error *e)
{
    uint64_t start = l->guest.vcpus[0].ip & ~(CODE_BYTES - 1), pfn;
    unsigned mapped = 0, equal = 0;
    for (uint64_t at = start; at < start + CODE_BYTES; at += PAGE_BYTES) {
        if (!translate(l, at, &pfn) || !image_find(l->base, pfn))
            continue;
        mapped++;
        equal += same(data, pfn);
    }
    if (equal * 2 >= mapped) /* also when nothing can be said: no pages mapped */
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED,
                     "no delta over this base: only %u of %u pages of code around the kernel's "
                     "instruction pointer are the same: another kernel",
                     equal, mapped);
}

int lineage_finish(const struct lineage *l, uint64_t max_pfn, const struct guest_check *guest,
                   bool (*same)(const void *data, uint64_t pfn), const void *data, struct error *e)
{
    uint64_t ip = guest->vcpus[0].ip, base_ip = l->guest.vcpus[0].ip;
    if (l->static_records != base_static_records(l))
        return differs(e, "the number of static records", base_static_records(l),
                       l->static_records);
    if (max_pfn != image_info(l->base)->max_pfn)
        return differs(e, "the highest pfn", image_info(l->base)->max_pfn, max_pfn);
    if (guest->store_pfn != l->guest.store_pfn || guest->console_pfn != l->guest.console_pfn)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "no delta over this base: xenstore or console ring is at another pfn");
    if (ip != base_ip)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "no delta over this base: the kernel suspended at %#" PRIx64
                         ", the base's at %#" PRIx64 ": another kernel, or another boot of it",
                         ip, base_ip);
    return code_check(l, same, data, e);
}

/* ---- two bases ---- */

struct base_pair {
    struct image_memory one, other;
};

static bool pair_same(const void *data, uint64_t pfn)
{
    const struct base_pair *pair = data;
    struct memory_page a, b;
    return memory_find(&pair->one, pfn, &a) && memory_find(&pair->other, pfn, &b) &&
           memory_page_equal(&a, &b);
}

static int pair_populated(const struct base_pair *pair, struct error *e)
{
    const struct image *a = pair->one.base, *b = pair->other.base;
    uint64_t n = image_info(a)->entries, i = 0;
    if (n != image_info(b)->entries)
        return differs(e, "the number of populated pages", n, image_info(b)->entries);
    while (i < n && image_page_pfn(&image_pages(a)[i]) == image_page_pfn(&image_pages(b)[i]))
        i++;
    if (i == n)
        return 0;
    return error_set(e, ANSWER_IMAGE_REFUSED, "no delta over this base: other pages are populated");
}

static int pair_records(struct lineage *l, const struct image *other, struct error *e)
{
    struct image_record r;
    size_t cursor = 0;
    int rc = 0;
    l->static_records = 0;
    while (!rc && image_next_record(other, &cursor, &r))
        rc = lineage_check_record(l, r.type, r.body, r.length, e);
    return rc;
}

int lineage_check_image(struct lineage *l, const struct image *other, struct error *e)
{
    struct base_pair pair = {{l->base, NULL}, {other, NULL}};
    struct lineage of_other;
    int rc = lineage_init(&of_other, other, e);
    if (!rc)
        rc = lineage_check_config(l, &of_other.conf, e);
    if (!rc)
        rc = pair_records(l, other, e);
    if (!rc)
        rc = pair_populated(&pair, e);
    if (!rc)
        rc = lineage_finish(l, image_info(other)->max_pfn, &of_other.guest, pair_same, &pair, e);
    lineage_dispose(&of_other);
    return rc;
}

bool lineage_leaves_out(const struct lineage *l, uint64_t pfn)
{
    if (pfn == l->guest.store_pfn || pfn == l->guest.console_pfn)
        return true;
    for (uint64_t i = 0; i < l->guest.n_p2m_frames; i++)
        if (l->guest.p2m_frames[i] == pfn)
            return true;
    return false;
}
