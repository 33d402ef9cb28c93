/*
 * A hypervisor for one PV or PVH domain, for tests of engine `direct` without Xen. It has the calls
 * of libxenctrl and its sisters that the engine makes, over frames in our own memory. It has Xen's
 * rules for page types (xen/arch/x86/mm.c: get_page_type, put_page_type, promote and demote of
 * tables):
 *
 *   - a frame has one type at a time, with a count; a table may not be writable, nor the reverse
 *   - a table becomes one when something first needs it to be: then each of its present entries is
 *     validated, at the level asked for, whatever the page was meant to be, and Xen writes into it
 *   - a copy to a frame that is a table fails with a status of its own; the call succeeds
 *   - a list of operations stops at the first that fails; what is behind it is not done
 *   - fresh frames hold anything but zeros
 *   - the context of vCPU 0 sets the wall clock in shared_info; any vCPU's comes before its xsave
 *     state, part of which it overwrites
 *
 * For a PVH domain (hvm is set after fake_xen_init) it keeps parameters and context as they come.
 *
 * fake_restore.c adds what the real libxenguest needs to restore a save file into such a domain, as
 * a reference for what the engine makes.
 */
#ifndef TESTS_FAKE_XEN_H
#define TESTS_FAKE_XEN_H

#include "base/page.h"

#include <stdbool.h>
#include <stdint.h>
#include <xenctrl.h>

/* 1 to 4 are page tables of that level. */
enum { FAKE_UNTYPED = 0, FAKE_WRITABLE = 5, FAKE_GDT = 6 };

#define FAKE_PTE_PRESENT 0x1ull
#define FAKE_PTE_WRITABLE 0x2ull
#define FAKE_PTE_FRAME(pte) (((pte) >> 12) & 0xffffffffffull)
#define FAKE_VCPUS 4u
#define FAKE_STATE_BYTES 1024u
#define FAKE_WALL_CLOCK 1700000000u /* seconds */

struct fake_frame {
    uint64_t *words; /* of the domain's memory */
    bool owned, pinned;
    unsigned type, count;
};

/* A vCPU's state besides its context. */
struct fake_state {
    uint32_t bytes; /* 0: none has been set */
    uint8_t body[FAKE_STATE_BYTES];
};

struct fake_vcpu {
    bool set;
    vcpu_guest_context_any_t context;
    struct fake_state extended, xsave, msrs;
};

/* As in a stream. */
struct fake_tsc {
    uint32_t mode, khz;
    uint64_t nsec;
    uint32_t incarnation, reserved;
};

struct fake_xen {
    struct fake_frame *frames; /* by mfn */
    uint64_t *memory;          /* of all frames */
    uint64_t n_frames;
    const struct fake_xen *like; /* whose frames it gets for its pfns; NULL: any */
    int memory_fd;               /* of one that can be mapped: frames, then m2p; else -1 */
    uint64_t *m2p;               /* of one that can be mapped: pfns by mfn */
    uint64_t mfns[8192];         /* of populated pfns, 0: none */
    uint64_t pages, max_pages;   /* populated, and how many may be; max_pages 0: any */
    uint64_t *free_pages;        /* of the machine; NULL: there is no end of them */
    uint64_t next_mfn;           /* in large extents */
    unsigned scatter;            /* how page-by-page frames are scattered: odd */
    unsigned large_extents;      /* that are left */
    unsigned large_asked, large_given;
    uint8_t *grants;                  /* the first frame of the grant table */
    uint8_t *shared_info;             /* the frame FAKE_SHARED_INFO_MFN */
    uint8_t started_with[PAGE_BYTES]; /* shared_info as vCPU 0's context left it */
    struct fake_vcpu vcpus[FAKE_VCPUS];
    unsigned l1_tables, late_tables; /* L1 tables validated at any time, and as a vCPU was set */
    struct fake_tsc tsc;
    bool no_clears; /* pages are not cleared for this dom0 */
    bool hvm;       /* the toolstack says pfns, and no page has a type */
    uint64_t params[64], params_set;
    uint8_t context[8192];
    uint32_t context_bytes;
    unsigned calls, fail_at; /* the fail_at-th call, or copy within one, fails; 0: none */
};

#define FAKE_SHARED_INFO_MFN 1u

/* The processor: the components of its xsave state, and the bits of each word of the feature set
 * that it lacks. */
#define FAKE_FEATURE_WORDS 13u
extern uint64_t fake_xen_components;
extern uint32_t fake_xen_lacks[FAKE_FEATURE_WORDS];

/* The domain that the calls speak to, unless fake_xen_of says otherwise. */
extern struct fake_xen *fake_xen;

/* Where there are several domains (domains.h): the memory of this one, or NULL and errno. */
extern struct fake_xen *(*fake_xen_of)(uint32_t domid);
/* What xc_domain_getinfolist answers there: up to max domains from first on. */
extern int (*fake_xen_list)(uint32_t first, unsigned max, xc_domaininfo_t *out);

/* For fakes: whether a call about this domain fails; it also does if there is no such domain. From
 * here on fake_xen is its memory. */
bool fake_xen_refuses(const char *call, uint32_t domid);

/* What the program holds; where there are several domains, without mappings of their pages. */
struct fake_xen_held {
    int handles, mappings, buffers;
};
extern struct fake_xen_held fake_xen_held;

/* For a guest of up to `pfns` pages, at most 4096. */
void fake_xen_init(struct fake_xen *x, uint64_t pfns, unsigned scatter, unsigned large_extents);
/* One whose pages the real libxenguest can map. */
void fake_xen_init_mappable(struct fake_xen *x, uint64_t pfns);
/* One that gets the same frames for the same pfns as `like`, which must live longer. One at a
 * time. */
void fake_xen_init_like(struct fake_xen *x, const struct fake_xen *like);
void fake_xen_dispose(struct fake_xen *x);
/* How many pages of one that is mappable the program has mapped. */
uint64_t fake_xen_mapped(const struct fake_xen *x);

/*
 * Makes what `xl restore` would make of a save file of xl, by the real libxenguest:
 * xc_domain_restore of the file's libxc stream into x, which fake_xen_init_like made. 0, or -1 when
 * it refuses (it says why on stderr).
 */
int fake_xen_restore(struct fake_xen *x, const char *save_path, uint32_t store_port,
                     uint32_t console_port);

/* Large extents that a domain of these pfns has place for. */
unsigned fake_xen_large_places(const bool *populated, uint64_t pfns);

#endif
