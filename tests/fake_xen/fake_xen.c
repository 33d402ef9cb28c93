/* A hypervisor for tests: see fake_xen.h. Its functions stand in for those of the Xen libraries. */
#include "tests/fake_xen/fake_xen.h"

#include "base/array.h"
#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xencall.h>
#include <xendevicemodel.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xenguest.h>

#define FIRST_MFN 16u
#define LARGE 512u
#define WORDS (PAGE_BYTES / 8)

struct fake_xen *fake_xen;
struct fake_xen *(*fake_xen_of)(uint32_t domid);
int (*fake_xen_list)(uint32_t first, unsigned max, xc_domaininfo_t *out);
struct fake_xen_held fake_xen_held;

/* One file for all domains that are made like another one, one after the other: fresh memory costs
 * time. */
static int memory_file(size_t size)
{
    static int fd = -1;
    struct stat st;
    if (fd < 0)
        fd = memfd_create("fake_xen", MFD_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || ((size_t)st.st_size < size && ftruncate(fd, (off_t)size)))
        abort();
    return fd;
}

/* Frames, and behind them Xen's table of the pfns of all frames, in a file. */
static void memory_map(struct fake_xen *x, int fd, size_t size)
{
    x->memory_fd = fd;
    x->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (x->memory == MAP_FAILED)
        abort();
    x->m2p = x->memory + x->n_frames * WORDS;
    memset(x->m2p, 0xff, x->n_frames * sizeof *x->m2p);
}

static size_t memory_size(const struct fake_xen *x)
{
    size_t m2p = (x->n_frames * sizeof *x->m2p + PAGE_BYTES - 1) / PAGE_BYTES;
    return (x->n_frames + m2p) * PAGE_BYTES;
}

static void memory_own(struct fake_xen *x)
{
    size_t size = memory_size(x);
    int fd = memfd_create("fake_xen", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        abort();
    memory_map(x, fd, size);
}

static void frames_make(struct fake_xen *x)
{
    x->frames = fake_checked(calloc(x->n_frames, sizeof *x->frames));
    for (uint64_t mfn = 0; mfn < x->n_frames; mfn++)
        x->frames[mfn].words = x->memory + mfn * WORDS;
    x->shared_info = (uint8_t *)x->frames[FAKE_SHARED_INFO_MFN].words;
    x->grants = fake_checked(aligned_alloc(PAGE_BYTES, PAGE_BYTES));
    memset(x->grants, 0, PAGE_BYTES);
    memset(x->shared_info, 0, PAGE_BYTES);
}

static void frames_soil(struct fake_xen *x)
{
    for (uint64_t mfn = FIRST_MFN; mfn < x->n_frames; mfn++)
        memset(x->frames[mfn].words, 0xa5, PAGE_BYTES);
}

void fake_xen_init(struct fake_xen *x, uint64_t pfns, unsigned scatter, unsigned large_extents)
{
    *x = (struct fake_xen){.scatter = scatter, .large_extents = large_extents, .memory_fd = -1};
    if (pfns > ARRAY_SIZE(x->mfns))
        abort();
    /* small extents first, then room for large ones */
    x->n_frames = FIRST_MFN + 2 * pfns + (uint64_t)large_extents * LARGE;
    x->next_mfn = FIRST_MFN + 2 * pfns;
    x->memory = fake_checked(aligned_alloc(PAGE_BYTES, x->n_frames * PAGE_BYTES));
    frames_make(x);
    frames_soil(x);
}

void fake_xen_init_mappable(struct fake_xen *x, uint64_t pfns)
{
    *x = (struct fake_xen){.scatter = 3, .n_frames = FIRST_MFN + 2 * pfns};
    memory_own(x);
    frames_make(x);
    frames_soil(x);
}

void fake_xen_init_like(struct fake_xen *x, const struct fake_xen *like)
{
    *x = (struct fake_xen){.like = like, .n_frames = like->n_frames, .hvm = like->hvm};
    memory_map(x, memory_file(memory_size(x)), memory_size(x));
    frames_make(x);
    for (uint64_t mfn = FIRST_MFN; mfn < x->n_frames; mfn++)
        if (like->frames[mfn].owned)
            memset(x->frames[mfn].words, 0x5a, PAGE_BYTES);
}

void fake_xen_dispose(struct fake_xen *x)
{
    if (x->memory_fd < 0)
        free(x->memory);
    else
        munmap(x->memory, memory_size(x));
    if (x->memory_fd >= 0 && !x->like)
        close(x->memory_fd);
    free(x->frames);
    free(x->grants);
}

/* Of one line of /proc/self/maps: the bytes of a mapping of the file, or 0. */
static uint64_t line_mapped(const char *line, const struct stat *file)
{
    unsigned long long from, to, inode;
    unsigned major, minor;
    if (sscanf(line, "%llx-%llx %*s %*x %x:%x %llu", &from, &to, &major, &minor, &inode) != 5)
        return 0;
    return inode == file->st_ino && makedev(major, minor) == file->st_dev ? to - from : 0;
}

/* The kernel is asked: libxenguest lets go of some of its mappings by munmap alone. */
uint64_t fake_xen_mapped(const struct fake_xen *x)
{
    FAKE_CALL();
    struct stat file;
    char line[512];
    uint64_t bytes = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps || fstat(x->memory_fd, &file))
        abort();
    while (fgets(line, sizeof line, maps))
        bytes += line_mapped(line, &file);
    fclose(maps);
    return (bytes - memory_size(x)) / PAGE_BYTES;
}

unsigned fake_xen_large_places(const bool *populated, uint64_t pfns)
{
    unsigned places = 0;
    for (uint64_t first = 0; first + LARGE <= pfns; first += LARGE)
        places += !memchr(populated + first, false, LARGE);
    return places;
}

/* True: the call fails. */
static bool refused(const char *call)
{
    if (fault_hits(FAULT_HYPERVISOR, call))
        return true;
    if (!fake_xen || ++fake_xen->calls != fake_xen->fail_at)
        return false;
    errno = EIO;
    return true;
}

bool fake_xen_refuses(const char *call, uint32_t domid)
{
    struct fake_xen *x = fake_xen_of ? fake_xen_of(domid) : fake_xen;
    if (x)
        fake_xen = x;
    return !x || refused(call);
}

/* ---- page types ---- */

static struct fake_frame *frame_of(uint64_t mfn)
{
    return mfn < fake_xen->n_frames && fake_xen->frames[mfn].owned ? &fake_xen->frames[mfn] : NULL;
}

static bool get_type(uint64_t mfn, unsigned type);
static void put_type(uint64_t mfn);

/* What a table of this level requires of a page that it names; FAKE_UNTYPED: nothing. */
static unsigned needs(unsigned level, uint64_t pte)
{
    if (!(pte & FAKE_PTE_PRESENT))
        return FAKE_UNTYPED;
    if (level > 1)
        return level - 1;
    return pte & FAKE_PTE_WRITABLE ? FAKE_WRITABLE : FAKE_UNTYPED;
}

static void demote(struct fake_frame *f, unsigned level, unsigned entries)
{
    for (unsigned i = 0; i < entries; i++)
        if (needs(level, f->words[i]))
            put_type(FAKE_PTE_FRAME(f->words[i]));
}

/* Xen sets flags in what it validates. Here a bit says at which level that was. */
static bool promote(struct fake_frame *f, unsigned level)
{
    fake_xen->l1_tables += level == 1;
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t pte = f->words[i];
        bool right = !(pte & FAKE_PTE_PRESENT) || frame_of(FAKE_PTE_FRAME(pte));
        if (right && needs(level, pte))
            right = get_type(FAKE_PTE_FRAME(pte), needs(level, pte));
        if (!right) {
            demote(f, level, i);
            return false;
        }
        if (pte & FAKE_PTE_PRESENT)
            f->words[i] |= 1ull << (52 + level);
    }
    return true;
}

static bool get_type(uint64_t mfn, unsigned type)
{
    struct fake_frame *f = frame_of(mfn);
    if (!f || (f->count && f->type != type))
        return false;
    if (f->count++)
        return true;
    f->type = type;
    if (type > 4 || promote(f, type))
        return true;
    f->count = 0;
    f->type = FAKE_UNTYPED;
    return false;
}

static void put_type(uint64_t mfn)
{
    struct fake_frame *f = frame_of(mfn);
    if (!f || !f->count)
        abort();
    if (--f->count)
        return;
    unsigned type = f->type;
    f->type = FAKE_UNTYPED;
    if (type <= 4)
        demote(f, type, WORDS);
}

static bool pin(uint64_t mfn, unsigned level)
{
    struct fake_frame *f = frame_of(mfn);
    if (!f || f->pinned || !get_type(mfn, level))
        return false;
    f->pinned = true;
    return true;
}

static bool unpin(uint64_t mfn)
{
    struct fake_frame *f = frame_of(mfn);
    if (!f || !f->pinned)
        return false;
    f->pinned = false;
    put_type(mfn);
    return true;
}

static bool clear(uint64_t mfn)
{
    if (!get_type(mfn, FAKE_WRITABLE))
        return false;
    memset(frame_of(mfn)->words, 0, PAGE_BYTES);
    put_type(mfn);
    return true;
}

/* ---- libxenctrl ---- */

static bool mmuext(const struct mmuext_op *op)
{
    switch (op->cmd) {
    case MMUEXT_PIN_L1_TABLE:
    case MMUEXT_PIN_L2_TABLE:
    case MMUEXT_PIN_L3_TABLE:
    case MMUEXT_PIN_L4_TABLE:
        return pin(op->arg1.mfn, op->cmd - MMUEXT_PIN_L1_TABLE + 1);
    case MMUEXT_UNPIN_TABLE:
        return unpin(op->arg1.mfn);
    case MMUEXT_CLEAR_PAGE:
        errno = fake_xen->no_clears ? EOPNOTSUPP : EINVAL;
        return !fake_xen->no_clears && clear(op->arg1.mfn);
    default:
        return false;
    }
}

int xc_mmuext_op(xc_interface *xch, struct mmuext_op *op, unsigned int nr_ops, uint32_t dom)
{
    FAKE_CALL();
    (void)xch;
    errno = EINVAL;
    if (fake_xen_refuses(__func__, dom) || fake_xen->hvm)
        return -1;
    for (unsigned i = 0; i < nr_ops; i++)
        if (!mmuext(&op[i]))
            return -1;
    return 0;
}

static uint64_t small_frame(uint64_t pfn)
{
    uint64_t room = fake_xen->n_frames - FIRST_MFN;
    for (uint64_t mfn = pfn * fake_xen->scatter;; mfn++)
        if (!fake_xen->frames[FIRST_MFN + mfn % room].owned)
            return FIRST_MFN + mfn % room;
}

/* Whether Xen has so many pages for the domain, and may give them to it. */
static bool pages_take(uint64_t n)
{
    struct fake_xen *x = fake_xen;
    if ((x->max_pages && x->pages + n > x->max_pages) || (x->free_pages && *x->free_pages < n))
        return false;
    x->pages += n;
    if (x->free_pages)
        *x->free_pages -= n;
    return true;
}

/* The first frame of an extent at pfn; 0: there is none. */
static uint64_t extent_find(uint64_t pfn, uint64_t size)
{
    struct fake_xen *x = fake_xen;
    if (size == LARGE && x->large_extents) {
        x->large_extents--;
        x->large_given++;
        x->next_mfn += size;
        return x->next_mfn - size;
    }
    if (size != 1)
        return 0;
    return x->like ? x->like->mfns[pfn] : small_frame(pfn);
}

static void extent_place(uint64_t pfn, uint64_t mfn, uint64_t size)
{
    struct fake_xen *x = fake_xen;
    for (uint64_t i = 0; i < size; i++) {
        x->mfns[pfn + i] = mfn + i;
        x->frames[mfn + i].owned = true;
        if (x->m2p)
            x->m2p[mfn + i] = pfn + i;
    }
}

int xc_domain_populate_physmap(xc_interface *xch, uint32_t domid, unsigned long nr_extents,
                               unsigned int extent_order, unsigned int mem_flags,
                               xen_pfn_t *extent_start)
{
    FAKE_CALL();
    (void)xch, (void)mem_flags;
    if (fake_xen_refuses(__func__, domid))
        return -1;
    uint64_t size = 1ull << extent_order;
    if (size == LARGE)
        fake_xen->large_asked += (unsigned)nr_extents;
    for (unsigned long i = 0; i < nr_extents; i++) {
        uint64_t pfn = extent_start[i], mfn = extent_find(pfn, size);
        if (!mfn || !pages_take(size))
            return (int)i;
        for (uint64_t j = 0; j < size; j++)
            if (fake_xen->mfns[pfn + j])
                return -1;
        extent_place(pfn, mfn, size);
        if (!fake_xen->hvm)
            extent_start[i] = mfn;
    }
    return (int)nr_extents;
}

/* Xen's update_domain_wallclock_time; the fields are no others' to write. */
static void wall_clock_set(void)
{
    struct shared_info *s = (struct shared_info *)fake_xen->shared_info;
    s->wc_version += 2;
    s->wc_sec = FAKE_WALL_CLOCK;
    s->wc_nsec = FAKE_WALL_CLOCK / 2;
    memcpy(fake_xen->started_with, fake_xen->shared_info, PAGE_BYTES);
}

int xc_vcpu_setcontext(xc_interface *xch, uint32_t domid, uint32_t vcpu,
                       vcpu_guest_context_any_t *ctxt)
{
    FAKE_CALL();
    (void)xch;
    if (fake_xen_refuses(__func__, domid))
        return -1;
    unsigned before = fake_xen->l1_tables;
    errno = EINVAL;
    if (vcpu >= FAKE_VCPUS || fake_xen->vcpus[vcpu].set)
        return -1;
    for (uint64_t i = 0; i < (ctxt->x64.gdt_ents + 511) / 512; i++)
        if (!get_type(ctxt->x64.gdt_frames[i], FAKE_GDT))
            return -1;
    if (!get_type(ctxt->x64.ctrlreg[3] >> 12, 4) ||
        (ctxt->x64.ctrlreg[1] && !get_type(ctxt->x64.ctrlreg[1] >> 12, 4)))
        return -1;
    fake_xen->late_tables += fake_xen->l1_tables - before;
    fake_xen->vcpus[vcpu].context = *ctxt;
    fake_xen->vcpus[vcpu].set = true;
    fake_xen->vcpus[vcpu].xsave.bytes = 0;
    if (!vcpu)
        wall_clock_set();
    return 0;
}

static int state_keep(struct fake_state *s, const void *body, uint64_t bytes)
{
    errno = EINVAL;
    if (!bytes || bytes > sizeof s->body || s->bytes)
        return -1;
    s->bytes = (uint32_t)bytes;
    memcpy(s->body, body, bytes);
    return 0;
}

static struct fake_vcpu *vcpu_of(uint32_t id)
{
    errno = ESRCH;
    return id < FAKE_VCPUS ? &fake_xen->vcpus[id] : NULL;
}

uint64_t fake_xen_components = UINT64_MAX;
uint32_t fake_xen_lacks[FAKE_FEATURE_WORDS];

int xc_get_cpu_featureset(xc_interface *xch, uint32_t index, uint32_t *nr_features,
                          uint32_t *featureset)
{
    FAKE_CALL();
    (void)xch, (void)index;
    if (refused(__func__))
        return -1;
    for (uint32_t i = 0; i < *nr_features && i < FAKE_FEATURE_WORDS; i++)
        featureset[i] = ~fake_xen_lacks[i];
    *nr_features = *nr_features < FAKE_FEATURE_WORDS ? *nr_features : FAKE_FEATURE_WORDS;
    return 0;
}

int xc_domctl(xc_interface *xch, struct xen_domctl *domctl)
{
    FAKE_CALL();
    const struct xen_domctl_ext_vcpucontext *extended = &domctl->u.ext_vcpucontext;
    const struct xen_domctl_vcpuextstate *xsave = &domctl->u.vcpuextstate;
    const struct xen_domctl_vcpu_msrs *msrs = &domctl->u.vcpu_msrs;
    struct fake_vcpu *v;
    (void)xch;
    errno = ENOSYS;
    if (fake_xen_refuses(__func__, domctl->domain))
        return -1;
    if (domctl->cmd == XEN_DOMCTL_getvcpuextstate) {
        domctl->u.vcpuextstate.xfeature_mask = fake_xen_components;
        return 0;
    }
    if (fake_xen->hvm)
        return -1;
    switch (domctl->cmd) {
    case XEN_DOMCTL_set_ext_vcpucontext:
        v = vcpu_of(extended->vcpu);
        return v ? state_keep(&v->extended, extended, sizeof *extended) : -1;
    case XEN_DOMCTL_setvcpuextstate:
        v = vcpu_of(xsave->vcpu);
        return v ? state_keep(&v->xsave, xsave->buffer.p, xsave->size) : -1;
    case XEN_DOMCTL_set_vcpu_msrs:
        v = vcpu_of(msrs->vcpu);
        return v ? state_keep(&v->msrs, msrs->msrs.p, msrs->msr_count * sizeof *msrs->msrs.p) : -1;
    default:
        return -1;
    }
}

void *xc__hypercall_buffer_alloc(xc_interface *xch, xc_hypercall_buffer_t *b, size_t size)
{
    (void)xch;
    FAKE_CALL();
    b->hbuf = refused(__func__) ? NULL : fake_checked(malloc(size));
    fake_xen_held.buffers += b->hbuf != NULL;
    return b->hbuf;
}

void xc__hypercall_buffer_free(xc_interface *xch, xc_hypercall_buffer_t *b)
{
    FAKE_CALL();
    (void)xch;
    fake_xen_held.buffers -= b->hbuf != NULL;
    free(b->hbuf);
}

int xc_domain_set_tsc_info(xc_interface *xch, uint32_t domid, uint32_t tsc_mode,
                           uint64_t elapsed_nsec, uint32_t gtsc_khz, uint32_t incarnation)
{
    FAKE_CALL();
    (void)xch;
    if (fake_xen_refuses(__func__, domid))
        return -1;
    fake_xen->tsc = (struct fake_tsc){tsc_mode, gtsc_khz, elapsed_nsec, incarnation, 0};
    return 0;
}

int xc_hvm_param_set(xc_interface *handle, uint32_t dom, uint32_t param, uint64_t value)
{
    FAKE_CALL();
    (void)handle;
    errno = EINVAL;
    if (fake_xen_refuses(__func__, dom) || !fake_xen->hvm || param >= ARRAY_SIZE(fake_xen->params))
        return -1;
    fake_xen->params[param] = value;
    fake_xen->params_set |= 1ull << param;
    return 0;
}

int xc_domain_hvm_setcontext(xc_interface *xch, uint32_t domid, uint8_t *hvm_ctxt, uint32_t size)
{
    FAKE_CALL();
    (void)xch;
    errno = EINVAL;
    if (fake_xen_refuses(__func__, domid) || !fake_xen->hvm || size > sizeof fake_xen->context)
        return -1;
    memcpy(fake_xen->context, hvm_ctxt, size);
    fake_xen->context_bytes = size;
    return 0;
}

int xc_domain_getinfolist(xc_interface *xch, uint32_t first_domain, unsigned int max_domains,
                          xc_domaininfo_t *info)
{
    FAKE_CALL();
    (void)xch;
    if (refused(__func__) || !max_domains)
        return -1;
    if (fake_xen_list)
        return fake_xen_list(first_domain, max_domains, info);
    *info = (xc_domaininfo_t){.domain = (domid_t)first_domain,
                              .shared_info_frame = FAKE_SHARED_INFO_MFN};
    return 1;
}

int xc_dom_gnttab_seed(xc_interface *xch, uint32_t guest_domid, bool is_hvm, xen_pfn_t console_gfn,
                       xen_pfn_t xenstore_gfn, uint32_t console_domid, uint32_t xenstore_domid)
{
    FAKE_CALL();
    (void)xch;
    (void)guest_domid;
    (void)is_hvm;
    if (fake_xen_refuses(__func__, guest_domid))
        return -1;
    grant_entry_v1_t *g = (grant_entry_v1_t *)fake_xen->grants;
    g[GNTTAB_RESERVED_CONSOLE] =
        (grant_entry_v1_t){GTF_permit_access, (domid_t)console_domid, (uint32_t)console_gfn};
    g[GNTTAB_RESERVED_XENSTORE] =
        (grant_entry_v1_t){GTF_permit_access, (domid_t)xenstore_domid, (uint32_t)xenstore_gfn};
    return 0;
}

int xc_cpuid_apply_policy(xc_interface *xch, uint32_t domid, bool restore,
                          const uint32_t *featureset, unsigned int nr_features, bool pae, bool itsc,
                          bool nested_virt, const struct xc_xend_cpuid *xend,
                          const struct xc_msr *msr)
{
    FAKE_CALL();
    (void)xch, (void)restore, (void)featureset, (void)nr_features, (void)pae;
    (void)itsc, (void)nested_virt, (void)xend, (void)msr;
    return fake_xen_refuses(__func__, domid) ? -1 : 0;
}

/* ---- handles, which are all the same ---- */

static void *handle_open(const char *call)
{
    if (refused(call))
        return NULL;
    fake_xen_held.handles++;
    return (void *)(uintptr_t)8;
}

static int handle_close(const void *handle)
{
    fake_xen_held.handles -= handle != NULL;
    return 0;
}

xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    FAKE_CALL();
    (void)logger, (void)open_flags;
    return handle_open(__func__);
}

int xencall_close(xencall_handle *xcall)
{
    FAKE_CALL();
    return handle_close(xcall);
}

xendevicemodel_handle *xendevicemodel_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    FAKE_CALL();
    (void)logger, (void)open_flags;
    return handle_open(__func__);
}

int xendevicemodel_close(xendevicemodel_handle *dmod)
{
    FAKE_CALL();
    return handle_close(dmod);
}

/* ---- libxenforeignmemory ---- */

xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger,
                                               unsigned open_flags)
{
    FAKE_CALL();
    (void)logger;
    (void)open_flags;
    return handle_open(__func__);
}

int xenforeignmemory_close(xenforeignmemory_handle *fmem)
{
    FAKE_CALL();
    return handle_close(fmem);
}

xenforeignmemory_resource_handle *
xenforeignmemory_map_resource(xenforeignmemory_handle *fmem, domid_t domid, unsigned int type,
                              unsigned int id, unsigned long frame, unsigned long nr_frames,
                              void **paddr, int prot, int flags)
{
    FAKE_CALL();
    (void)fmem, (void)id, (void)prot, (void)flags;
    if (fake_xen_refuses(__func__, domid) || type != XENMEM_resource_grant_table || frame ||
        nr_frames != 1)
        return NULL;
    fake_xen_held.mappings++;
    *paddr = fake_xen->grants;
    return (xenforeignmemory_resource_handle *)(uintptr_t)8;
}

int xenforeignmemory_unmap_resource(xenforeignmemory_handle *fmem,
                                    xenforeignmemory_resource_handle *fres)
{
    FAKE_CALL();
    (void)fmem;
    fake_xen_held.mappings -= fres != NULL;
    return 0;
}

/* Whether a toolstack may map it to write: shared_info, and pages that are not page tables. */
static bool may_map(uint64_t mfn)
{
    const struct fake_frame *f = frame_of(mfn);
    return mfn == FAKE_SHARED_INFO_MFN ||
           (f && (f->type == FAKE_UNTYPED || f->type == FAKE_WRITABLE));
}

static int map_one(uint8_t *at, uint64_t gfn)
{
    uint64_t mfn = fake_xen->hvm && gfn < ARRAY_SIZE(fake_xen->mfns) ? fake_xen->mfns[gfn] : gfn;
    if (!may_map(mfn))
        return -EINVAL;
    return mmap(at, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fake_xen->memory_fd,
                (off_t)(mfn * PAGE_BYTES)) == MAP_FAILED
               ? -ENOMEM
               : 0;
}

/* Like the real one, it gives an array of errors for the pages that fail, or none for all. */
static void *map_many(size_t pages, const xen_pfn_t arr[], int err[])
{
    uint8_t *at = mmap(NULL, pages * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    for (size_t i = 0; i < pages; i++) {
        int rc = map_one(at + i * PAGE_BYTES, arr[i]);
        if (err) {
            err[i] = rc;
        } else if (rc) {
            munmap(at, pages * PAGE_BYTES);
            errno = -rc;
            return NULL;
        }
    }
    return at;
}

static void *map_m2p(size_t pages)
{
    void *at = mmap(NULL, pages * PAGE_BYTES, PROT_READ, MAP_SHARED, fake_xen->memory_fd,
                    (off_t)(fake_xen->n_frames * PAGE_BYTES));
    return at == MAP_FAILED ? NULL : at;
}

/* For a domain that cannot be mapped, only shared_info: the engine maps no page of the guest. */
void *xenforeignmemory_map(xenforeignmemory_handle *fmem, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[])
{
    FAKE_CALL();
    (void)fmem, (void)prot;
    if (dom == DOMID_XEN ? !fake_xen || refused(__func__) : fake_xen_refuses(__func__, dom))
        return NULL;
    void *at = fake_xen->shared_info;
    if (fake_xen->memory_fd >= 0)
        at = dom == DOMID_XEN ? map_m2p(pages) : map_many(pages, arr, err);
    else if (pages != 1 || arr[0] != FAKE_SHARED_INFO_MFN)
        return NULL;
    else
        err[0] = 0;
    if (at && err && refused("xenforeignmemory_map, of its first page"))
        err[0] = -EBUSY; /* the call succeeds, the page has not been mapped */
    fake_xen_held.mappings += at && !fake_xen_of;
    return at;
}

int xenforeignmemory_unmap(xenforeignmemory_handle *fmem, void *addr, size_t pages)
{
    FAKE_CALL();
    (void)fmem;
    fake_xen_held.mappings -= !fake_xen_of;
    return fake_xen_of || fake_xen->memory_fd >= 0 ? munmap(addr, pages * PAGE_BYTES) : 0;
}

/* ---- libxengnttab ---- */

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    FAKE_CALL();
    (void)logger;
    (void)open_flags;
    return handle_open(__func__);
}

int xengnttab_close(xengnttab_handle *xgt)
{
    FAKE_CALL();
    return handle_close(xgt);
}

static int16_t copy_one(const xengnttab_grant_copy_segment_t *s)
{
    const grant_entry_v1_t *g = (const grant_entry_v1_t *)fake_xen->grants;
    uint32_t ref = s->dest.foreign.ref;
    if (refused("xengnttab_grant_copy, of one page"))
        return GNTST_general_error;
    if (ref >= PAGE_BYTES / sizeof *g)
        return GNTST_bad_gntref;
    if (!(g[ref].flags & GTF_permit_access) || g[ref].domid)
        return GNTST_permission_denied;
    uint64_t mfn = g[ref].frame;
    if (fake_xen->hvm)
        mfn = mfn < ARRAY_SIZE(fake_xen->mfns) ? fake_xen->mfns[mfn] : 0;
    if (s->flags != GNTCOPY_dest_gref || s->len != PAGE_BYTES || s->dest.foreign.offset ||
        !get_type(mfn, FAKE_WRITABLE))
        return GNTST_general_error;
    memcpy(frame_of(mfn)->words, s->source.virt, PAGE_BYTES);
    put_type(mfn);
    return GNTST_okay;
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
                         xengnttab_grant_copy_segment_t *segs)
{
    FAKE_CALL();
    (void)xgt;
    bool fails = count && fake_xen_refuses(__func__, segs[0].dest.foreign.domid);
    for (uint32_t i = 0; i < count && !fails; i++)
        segs[i].status = copy_one(&segs[i]);
    return fails ? -1 : 0;
}
