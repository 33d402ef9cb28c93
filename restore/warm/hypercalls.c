/*
 * Answers two calls of the Xen libraries before they reach their own library. Linked only into the
 * slot helper, a process that makes one domain and exits. Its symbols are exported so that the
 * libraries find them first.
 *
 * xencall0..5 are counted and passed on: libxenctrl issues all its hypercalls
 * through them, so a stage can say how many it took.
 *
 * munmap of the machine-to-physical table is left to the end of the process. libxenguest maps that
 * table (8 bytes for each frame of the host) when a restore starts. It unmaps it before
 * xc_domain_restore returns, while somebody waits for the domain. In a PV dom0, every page-table
 * entry that munmap clears traps into the hypervisor. That takes 18 ms on an 8 GiB host under
 * emulation, and grows with the host's memory. An exiting process drops the mapping in a sixth of
 * that time. The table is recognised by its address, as returned by the mapping call for DOMID_XEN,
 * never by its size: other mappings hold references on guest pages and must go when they are told
 * to.
 */
#include "restore/xen/xen.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xencall.h>
#include <xenforeignmemory.h>

static atomic_uint_fast64_t hypercalls;

uint64_t xen_hypercalls(void)
{
    return atomic_load_explicit(&hypercalls, memory_order_relaxed);
}

/* The library's own function; without it nothing works, so its absence is fatal. */
static void *next_symbol(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f)
        abort();
    return f;
}

#define COUNTED(name, params, args)                                                                \
    int name params                                                                                \
    {                                                                                              \
        static int(*_Atomic real) params;                                                          \
        int(*f) params = atomic_load_explicit(&real, memory_order_relaxed);                        \
        if (!f) {                                                                                  \
            f = (int(*) params)next_symbol(#name);                                                 \
            atomic_store_explicit(&real, f, memory_order_relaxed);                                 \
        }                                                                                          \
        atomic_fetch_add_explicit(&hypercalls, 1, memory_order_relaxed);                           \
        return f args;                                                                             \
    }

COUNTED(xencall0, (xencall_handle * h, unsigned int op), (h, op))
COUNTED(xencall1, (xencall_handle * h, unsigned int op, uint64_t a), (h, op, a))
COUNTED(xencall2, (xencall_handle * h, unsigned int op, uint64_t a, uint64_t b), (h, op, a, b))
COUNTED(xencall3, (xencall_handle * h, unsigned int op, uint64_t a, uint64_t b, uint64_t c),
        (h, op, a, b, c))
COUNTED(xencall4,
        (xencall_handle * h, unsigned int op, uint64_t a, uint64_t b, uint64_t c, uint64_t d),
        (h, op, a, b, c, d))
COUNTED(xencall5,
        (xencall_handle * h, unsigned int op, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
         uint64_t x),
        (h, op, a, b, c, d, x))

static void *_Atomic m2p_address;

void *xenforeignmemory_map(xenforeignmemory_handle *h, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[])
{
    typedef void *map_fn(xenforeignmemory_handle *, uint32_t, int, size_t, const xen_pfn_t[],
                         int[]);
    static map_fn *_Atomic real;
    map_fn *f = atomic_load_explicit(&real, memory_order_relaxed);
    if (!f) {
        f = (map_fn *)next_symbol("xenforeignmemory_map");
        atomic_store_explicit(&real, f, memory_order_relaxed);
    }
    void *at = f(h, dom, prot, pages, arr, err);
    if (dom == DOMID_XEN && at)
        atomic_store(&m2p_address, at);
    return at;
}

int munmap(void *at, size_t length)
{
    if (at && at == atomic_load_explicit(&m2p_address, memory_order_relaxed)) {
        atomic_store(&m2p_address, NULL);
        return 0;
    }
    return (int)syscall(SYS_munmap, at, length);
}
