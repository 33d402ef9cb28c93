/* The frames of a domain: see frames.h. */
#include "restore/engine/frames.h"

#include "restore/formats/records.h"
#include "store/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int frames_init(struct frames *f, uint64_t count, struct error *e)
{
    *f = (struct frames){.count = count};
    if (count > IMAGE_PFN_LIMIT)
        return error_set(e, -EINVAL, "a domain of %" PRIu64 " pages is too large", count);
    f->mfn = malloc(count * sizeof *f->mfn);
    f->type = malloc(count);
    f->level = calloc(count, 1);
    f->kept = calloc(count, 1);
    if (!f->mfn || !f->type || !f->level || !f->kept)
        return error_set(e, -ENOMEM, "out of memory for the frames of %" PRIu64 " pages", count);
    memset(f->mfn, 0xff, count * sizeof *f->mfn); /* FRAME_NONE */
    memset(f->type, FRAME_EMPTY, count);
    return 0;
}

void frames_dispose(struct frames *f)
{
    free(f->mfn);
    free(f->type);
    free(f->level);
    free(f->kept);
    *f = (struct frames){0};
}

static int wrong(struct error *e, uint64_t pfn, const char *step, const char *why)
{
    return error_set(e, -EINVAL, "pfn %#" PRIx64 ": it cannot be %s: %s", pfn, step, why);
}

int frames_place(struct frames *f, uint64_t pfn, uint64_t mfn, struct error *e)
{
    if (pfn >= f->count)
        return wrong(e, pfn, "populated", "it is beyond the guest's memory");
    if (f->mfn[pfn] != FRAME_NONE)
        return wrong(e, pfn, "populated", "it has a frame already");
    if (mfn == FRAME_NONE)
        return wrong(e, pfn, "populated", "Xen gave it no frame");
    f->mfn[pfn] = mfn;
    f->populated++;
    return 0;
}

int frames_writes_begin(struct frames *f, struct error *e)
{
    if (f->live || f->pins)
        return error_set(e, -EINVAL, "pages cannot be written: %s",
                         f->live ? "vCPUs have been set" : "pins are under way");
    f->writing = true;
    return 0;
}

int frames_write_refused(const struct frames *f, uint64_t pfn, struct error *e)
{
    const char *why = !f->writing                        ? "no writes have begun"
                      : frames_mfn(f, pfn) == FRAME_NONE ? "it is not populated"
                      : f->level[pfn]                    ? "it is pinned"
                                                         : "it is kept as it is";
    return wrong(e, pfn, "written", why);
}

void frames_writes_done(struct frames *f)
{
    f->writing = false;
}

int frames_keep(struct frames *f, uint64_t pfn, struct error *e)
{
    if (frames_mfn(f, pfn) == FRAME_NONE)
        return wrong(e, pfn, "settled", "it is not populated");
    f->kept[pfn] = 1;
    return 0;
}

int frames_pin(struct frames *f, uint64_t pfn, unsigned *level, struct error *e)
{
    if (frames_mfn(f, pfn) == FRAME_NONE)
        return wrong(e, pfn, "pinned", "it is not populated");
    if (f->type[pfn] == FRAME_EMPTY || !page_type_is_table(f->type[pfn]))
        return wrong(e, pfn, "pinned", "its content is not a page table");
    if (f->level[pfn])
        return wrong(e, pfn, "pinned", "it is pinned already");
    if (f->writing)
        return wrong(e, pfn, "pinned", "writes are under way");
    *level = f->type[pfn] & PAGE_TYPE_LEVEL_MASK;
    f->level[pfn] = (uint8_t)*level;
    f->pinned++;
    f->pins++;
    return 0;
}

int frames_unpin(struct frames *f, uint64_t pfn, struct error *e)
{
    if (!frames_pin_level(f, pfn))
        return wrong(e, pfn, "unpinned", "it is not pinned");
    if (f->writing)
        return wrong(e, pfn, "unpinned", "writes are under way");
    f->level[pfn] = 0;
    f->pinned--;
    f->pins++;
    return 0;
}

void frames_pins_done(struct frames *f)
{
    f->pins = 0;
}

int frames_go_live(struct frames *f, struct error *e)
{
    if (f->writing || f->pins)
        return error_set(e, -EINVAL, "vCPUs cannot be set: %s are under way",
                         f->writing ? "writes" : "pins");
    f->live = true;
    return 0;
}
