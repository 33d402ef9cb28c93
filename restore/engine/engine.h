/*
 * Room engine: a domain's memory, and its vCPUs.
 *
 * An engine fills a domain's memory from a base image and completes it into an image. What is
 * around it (domain, devices, xenstore) is the same for all engines and none of their business:
 * whoever uses an engine makes a domain, describes it in a struct target and calls the engine.
 *
 *   direct  our own writer: a completion costs what the delta costs
 *   guest   libxenguest, fed a migration stream that stalls between base and delta; takes whatever
 *           the importer lets through
 *
 * For others: this header and trace.h. All other headers of this folder are parts of the engines:
 * direct.h, frames.h, populate.h, page_writer.h, grant_copy.h, table_pins.h.
 *
 * May include: xen, formats, store, base.
 */
#ifndef RESTORE_ENGINE_H
#define RESTORE_ENGINE_H

#include "restore/engine/trace.h"
#include "restore/formats/domconf.h"
#include "restore/xen/xen.h"
#include "store/image.h"

#include <stdbool.h>

/* The domain that an engine works on. Its owner sets what stands above the engine's part. */
struct target {
    struct xen xen;
    struct image *base; /* what the domain is filled from */
    struct domconf conf;
    uint32_t domid; /* DOMID_INVALID until the domain exists */
    uint32_t store_port, console_port;
    struct trace trace;
    bool untouched; /* a completion that failed has changed nothing: set before, cleared by write */
    /* the engine's */
    uint64_t store_gfn, console_gfn; /* of the rings, known as introduces_early says */
    void *engine_state;
};

struct engine {
    const char *name;
    /* build fills in t->store_gfn and t->console_gfn, so that the domain is introduced to xenstore
     * while nobody waits for it; else finish does. */
    bool introduces_early;
    /* 0, or ANSWER_IMAGE_REFUSED with the reason why this engine cannot take the image. */
    int (*accepts)(const struct image *base, struct error *e);
    /* Everything that does not depend on the image asked for. Returns when every base page is in
     * the domain. */
    int (*build)(struct target *t, struct error *e);
    /* Makes a filled domain hold `to`, a base of the same lineage as t->base, which stays open. */
    int (*turn)(struct target *t, const struct image *to, struct error *e);
    /*
     * The two halves of a completion into `im`, which is t->base itself when nothing differs.
     * write: the pages in which it differs from the base, by as many threads as pay; it clears
     * t->untouched before it changes anything of the domain, which it may refuse to do. finish:
     * page tables, vCPUs and platform state, by one thread that is in the hypervisor most of the
     * time; once, after a write that went well, of the same im, which has stayed open.
     */
    int (*write)(struct target *t, const struct image *im, uint64_t *delta_pages, struct error *e);
    int (*finish)(struct target *t, const struct image *im, struct error *e);
    /* Frees t->engine_state; may be called at any time, also twice. */
    void (*dispose)(struct target *t);
};

extern const struct engine engine_direct, engine_guest;

/*
 * The engine for this base: the one of this name, or for "auto" the first that accepts it; why
 * others did not is logged. ANSWER_BAD_VALUE when there is none of this name, or
 * ANSWER_IMAGE_REFUSED.
 */
int engine_choose(const char *name, const struct image *base, const struct engine **out,
                  struct error *e);

#endif
