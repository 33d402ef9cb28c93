/*
 * floor: what an allocation cannot be cheaper than. Two things, timed by themselves:
 *
 *   floor memcpy IMAGEFILE REPEAT
 *       copies the pages of a derived image from its file to where a guest of its size would have
 *       them, in this process's own memory, which is there already. Cold: from a mapping made anew
 *       for each repetition, as an allocation finds it. Warm: once more, from a mapping whose
 *       pages have been touched.
 *
 *   floor hypercalls DOMID REPEAT
 *       the hypercalls that no completion can do without, on a paused domain, with what the domain
 *       has already: time-stamp counter, every vCPU (PV) or the context (PVH), and in the end the
 *       unpause, once, after which the domain runs. And version: a hypercall that does nothing.
 *
 * Prints one line of JSON for each repetition, times in milliseconds:
 *
 *   {"cold": 1.2, "warm": 0.9}
 *   {"version": 0.02, "tsc": 0.3, "vcpus": 2.1}, and last {"unpause": 1.5}
 *
 * Contents are not looked at. Exit status 1 when something cannot be done.
 */
#include "base/page.h"
#include "base/units.h"
#include "store/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <xenctrl.h>

#define REPEAT_MAX 100000u

/* Microseconds are too coarse for a hypercall. */
static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1000000;
}

/* ---- memcpy ---- */

/* As many addresses as the guest has; the pages that will be copied to are there from the start. */
static uint8_t *memory_make(const struct image *im)
{
    void *at = mmap(NULL, (image_info(im)->max_pfn + 1) * PAGE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    uint8_t *memory = at;
    const struct image_page *pages = image_pages(im);
    for (uint64_t i = 0; i < image_info(im)->entries; i++)
        memory[image_page_pfn(&pages[i]) * PAGE_BYTES] = 1;
    return memory;
}

static double copy_pages(const struct image *im, uint8_t *memory)
{
    const struct image_page *pages = image_pages(im);
    double start = now_ms();
    for (uint64_t i = 0; i < image_info(im)->entries; i++)
        memcpy(memory + image_page_pfn(&pages[i]) * PAGE_BYTES, image_payload(im, pages[i].payload),
               PAGE_BYTES);
    return now_ms() - start;
}

static int copy_once(const char *path, uint8_t **memory, struct error *e)
{
    struct image *im;
    int rc = image_open(path, &im, e);
    if (rc)
        return rc;
    if (!*memory)
        *memory = memory_make(im);
    if (*memory) {
        double cold = copy_pages(im, *memory), warm = copy_pages(im, *memory);
        printf("{\"cold\": %.4f, \"warm\": %.4f}\n", cold, warm);
    } else {
        rc = error_errno(e, errno, "memory for the guest of %s", path);
    }
    image_close(im);
    return rc;
}

static int memcpy_run(const char *path, uint64_t repeat)
{
    uint8_t *memory = NULL; /* as long as the process */
    struct error e = {0};
    for (uint64_t i = 0; i < repeat; i++) {
        if (copy_once(path, &memory, &e)) {
            fprintf(stderr, "floor: %s\n", e.text);
            return 1;
        }
    }
    return 0;
}

/* ---- hypercalls ---- */

struct domain {
    xc_interface *xch;
    uint32_t domid;
    bool hvm;
    uint32_t vcpus;
    uint8_t *context; /* PVH */
    uint32_t context_size;
    vcpu_guest_context_any_t *contexts; /* PV: of each vCPU */
    uint32_t tsc_mode, tsc_khz, tsc_incarnation;
    uint64_t tsc_ns;
};

static bool read_pv(struct domain *d)
{
    d->contexts = calloc(d->vcpus, sizeof *d->contexts);
    for (uint32_t i = 0; d->contexts && i < d->vcpus; i++)
        if (xc_vcpu_getcontext(d->xch, d->domid, i, &d->contexts[i]))
            return false;
    return d->contexts;
}

static bool read_hvm(struct domain *d)
{
    int size = xc_domain_hvm_getcontext(d->xch, d->domid, NULL, 0);
    d->context_size = size > 0 ? (uint32_t)size : 0;
    d->context = d->context_size ? malloc(d->context_size) : NULL;
    return d->context &&
           xc_domain_hvm_getcontext(d->xch, d->domid, d->context, d->context_size) >= 0;
}

static bool domain_read(struct domain *d)
{
    xc_domaininfo_t info;
    if (xc_domain_getinfolist(d->xch, d->domid, 1, &info) != 1 || info.domain != d->domid ||
        !(info.flags & XEN_DOMINF_paused))
        return false;
    d->hvm = (info.flags & XEN_DOMINF_hvm_guest) != 0;
    d->vcpus = info.max_vcpu_id + 1;
    return !xc_domain_get_tsc_info(d->xch, d->domid, &d->tsc_mode, &d->tsc_ns, &d->tsc_khz,
                                   &d->tsc_incarnation) &&
           (d->hvm ? read_hvm(d) : read_pv(d));
}

static bool set_vcpus(const struct domain *d)
{
    if (d->hvm)
        return !xc_domain_hvm_setcontext(d->xch, d->domid, d->context, d->context_size);
    for (uint32_t i = 0; i < d->vcpus; i++)
        if (xc_vcpu_setcontext(d->xch, d->domid, i, &d->contexts[i]))
            return false;
    return true;
}

static bool time_once(const struct domain *d)
{
    double start = now_ms();
    if (xc_version(d->xch, XENVER_version, NULL) < 0)
        return false;
    double version = now_ms();
    if (xc_domain_set_tsc_info(d->xch, d->domid, d->tsc_mode, d->tsc_ns, d->tsc_khz,
                               d->tsc_incarnation))
        return false;
    double tsc = now_ms();
    if (!set_vcpus(d))
        return false;
    double vcpus = now_ms();
    printf("{\"version\": %.4f, \"tsc\": %.4f, \"vcpus\": %.4f}\n", version - start, tsc - version,
           vcpus - tsc);
    return true;
}

static bool time_all(struct domain *d, uint64_t repeat)
{
    bool ok = domain_read(d);
    for (uint64_t i = 0; ok && i < repeat; i++)
        ok = time_once(d);
    if (!ok)
        return false;
    double start = now_ms();
    ok = !xc_domain_unpause(d->xch, d->domid);
    printf("{\"unpause\": %.4f}\n", now_ms() - start);
    return ok;
}

static int hypercalls_run(uint32_t domid, uint64_t repeat)
{
    struct domain d = {.xch = xc_interface_open(NULL, NULL, 0), .domid = domid};
    bool ok = d.xch && time_all(&d, repeat);
    if (!ok)
        fprintf(stderr, "floor: domain %u: a hypercall failed (is it there, and paused?)\n", domid);
    free(d.context);
    free(d.contexts);
    if (d.xch)
        xc_interface_close(d.xch);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t repeat, domid;
    bool ok = argc == 4 && !number_parse(argv[3], 1, REPEAT_MAX, &repeat);
    if (ok && !strcmp(argv[1], "memcpy"))
        return memcpy_run(argv[2], repeat);
    if (ok && !strcmp(argv[1], "hypercalls") && !number_parse(argv[2], 1, UINT16_MAX, &domid))
        return hypercalls_run((uint32_t)domid, repeat);
    fprintf(stderr, "usage: floor memcpy IMAGEFILE REPEAT | floor hypercalls DOMID REPEAT\n");
    return 64;
}
