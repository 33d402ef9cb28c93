/*
 * Room engine: a domain's memory, and its vCPUs.
 *
 * An engine fills a domain's memory from a base image and completes it into an image. Domain,
 * devices and xenstore are the same for all engines, which do not deal with them. The caller makes
 * a domain, describes it in a struct target and calls the engine.
 *
 *   direct  our own writer: a completion costs what the delta costs
 *   guest   libxenguest, fed a migration stream that stalls between base and delta; takes every
 *           image that the importer accepts
 *
 * For others: this header, trial.h and trace.h. The other headers of this folder are parts of the
 * engines: direct.h, frames.h, populate.h, page_writer.h, grant_copy.h, table_pins.h, vcpus.h.
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

/* The domain that an engine works on. Its owner sets the members above the engine's part. */
struct target {
    struct xen xen;
    struct image *base; /* what the domain is filled from */
    struct domconf conf;
    uint32_t domid; /* DOMID_INVALID until the domain exists */
    uint32_t store_port, console_port;
    struct trace trace;
    bool untouched; /* nothing is changed yet: set before a completion, cleared by write */
    /* the engine's */
    uint64_t store_gfn, console_gfn; /* of the rings; introduces_early says from when on */
    void *engine_state;
};

struct engine {
    const char *name;
    /* True: build fills in t->store_gfn and t->console_gfn, so that the domain is introduced to
     * xenstore while nobody waits for it. False: finish fills them in. */
    bool introduces_early;
    /* 0, or ANSWER_IMAGE_REFUSED with the reason why this engine cannot take the image. */
    int (*accepts)(const struct image *base, struct error *e);
    /* Does everything that does not depend on the image that will be requested. Returns when every
     * base page is in the domain. */
    int (*build)(struct target *t, struct error *e);
    /* Makes a filled domain hold `to`, a base of the same lineage as t->base, which stays open. */
    int (*turn)(struct target *t, const struct image *to, struct error *e);
    /*
     * The two halves of a completion into `im`, which is t->base itself when nothing differs.
     *
     * write: writes the pages in which im differs from the base, by as many threads as pay. It may
     * refuse; it clears t->untouched before it changes anything of the domain.
     *
     * finish: sets page tables, vCPUs and platform state, by one thread that is in the hypervisor
     * most of the time. Called once, after a successful write of the same im, which has stayed
     * open.
     */
    int (*write)(struct target *t, const struct image *im, uint64_t *delta_pages, struct error *e);
    int (*finish)(struct target *t, const struct image *im, struct error *e);
    /* Frees t->engine_state; may be called at any time, also twice. */
    void (*dispose)(struct target *t);
};

extern const struct engine engine_direct, engine_guest;

/*
 * The engine of this name for this base; for "auto" the first one that accepts the base (the log
 * says why others did not). ANSWER_BAD_VALUE: no engine has this name. ANSWER_IMAGE_REFUSED: none
 * accepts the base.
 */
int engine_choose(const char *name, const struct image *base, const struct engine **out,
                  struct error *e);

#endif
