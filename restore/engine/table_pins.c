/* Pins of page tables: see table_pins.h. */
#include "restore/engine/table_pins.h"

#include "restore/formats/records.h"

#include <inttypes.h>

void table_pins_init(struct table_pins *t, struct xen *x, uint32_t domid, struct frames *frames)
{
    t->xen = x;
    t->frames = frames;
    t->domid = domid;
    t->n = 0;
}

int table_pins_flush(struct table_pins *t, struct error *e)
{
    if (t->n && xc_mmuext_op(t->xen->xch, t->ops, t->n, t->domid))
        return xen_error(t->xen, e,
                         "domain %u: pin or unpin %u page tables, pfn %#" PRIx64 " to %#" PRIx64,
                         t->domid, t->n, t->pfns[0], t->pfns[t->n - 1]);
    t->n = 0;
    frames_pins_done(t->frames);
    return 0;
}

static int queue(struct table_pins *t, unsigned cmd, uint64_t pfn, struct error *e)
{
    t->pfns[t->n] = pfn;
    t->ops[t->n++] = (struct mmuext_op){.cmd = cmd, .arg1.mfn = frames_mfn(t->frames, pfn)};
    return t->n == TABLE_PINS_BATCH ? table_pins_flush(t, e) : 0;
}

int table_pin(struct table_pins *t, uint64_t pfn, struct error *e)
{
    static const unsigned cmds[] = {
        [PAGE_L1TAB] = MMUEXT_PIN_L1_TABLE,
        [PAGE_L2TAB] = MMUEXT_PIN_L2_TABLE,
        [PAGE_L3TAB] = MMUEXT_PIN_L3_TABLE,
        [PAGE_L4TAB] = MMUEXT_PIN_L4_TABLE,
    };
    unsigned level;
    int rc = frames_pin(t->frames, pfn, &level, e);
    return rc ? rc : queue(t, cmds[level], pfn, e);
}

int table_unpin(struct table_pins *t, uint64_t pfn, struct error *e)
{
    int rc = frames_unpin(t->frames, pfn, e);
    return rc ? rc : queue(t, MMUEXT_UNPIN_TABLE, pfn, e);
}
