/*
 * An engine fills a domain's memory from a base image and completes it into an
 * image. The slot around it (domain, devices, xenstore) is the same for all.
 *
 *   direct  our own writer: a completion costs what the delta costs
 *   guest   libxenguest, fed a migration stream that stalls between base and delta; takes whatever
 *           the importer lets through
 */
#ifndef RESTORE_ENGINE_H
#define RESTORE_ENGINE_H

#include "restore/warm/warm.h"

struct engine {
    const char *name;
    /* build fills in s->store_gfn and s->console_gfn, so that the domain is introduced to xenstore
     * while nobody waits for it; else finish does. */
    bool introduces_early;
    /* 0, or ANSWER_IMAGE_REFUSED with the reason why this engine cannot take the image. */
    int (*accepts)(const struct image *base, struct error *e);
    /* Everything that does not depend on the image asked for. Returns when every base page is in
     * the domain. */
    int (*build)(struct slot *s, struct error *e);
    /* Makes a warm slot hold `to`, a base of the same lineage as s->base, which stays open. */
    int (*turn)(struct slot *s, const struct image *to, struct error *e);
    /*
     * The two halves of a completion into `im`, which is s->base itself when nothing differs.
     * write: the pages in which it differs from the base, by as many threads as pay; it clears
     * s->untouched before it changes anything of the domain, which it may refuse to do. finish:
     * page tables, vCPUs and platform state, by one thread that is in the hypervisor most of the
     * time; once, after a write that went well, of the same im, which has stayed open.
     */
    int (*write)(struct slot *s, const struct image *im, uint64_t *delta_pages, struct error *e);
    int (*finish)(struct slot *s, const struct image *im, struct error *e);
    /* Frees s->engine_state; may be called at any time, also twice. */
    void (*dispose)(struct slot *s);
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
