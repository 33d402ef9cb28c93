/* Versions of images: see versions.h. */
#include "pool/core/versions.h"

#include "base/log.h"
#include "pool/core/image_job.h"
#include "pool/core/lease.h"
#include "pool/core/slot_helper.h"
#include "pool/core/slot_reap.h"

int version_allowed(const struct entry *im, struct error *e)
{
    char derived[160];
    if (!entry_has_derived(im, derived, sizeof derived))
        return 0;
    return error_set(e, ANSWER_IMAGE_IN_USE,
                     "image %s: %s derived from it, and a delta is of no use over another base; "
                     "import the new base under another name, derive again, then remove these",
                     im->row.name, derived);
}

void version_take(struct entry *im, const struct image_row *row, struct image_facts *facts,
                  struct old_file *old)
{
    entry_replace(im, row, facts, old);
    pool_image_replaced(im->own);
    leases_rehome(im->core);
    log_info("image %s: replaced by a new version", im->row.name);
}

void version_turn_refused(struct slot *s)
{
    slot_pool(s)->turn_refused = true;
}

/* ---- old files ---- */

static bool is_before_lease(const struct slot *s)
{
    return s->state == SLOT_BUILDING || s->state == SLOT_TURNING || s->state == SLOT_WARM ||
           s->state == SLOT_COMPLETING;
}

/* Its helper reads, or is about to read, the file of that version of the image. */
static bool is_becoming(const struct slot *s, const struct entry *im, const struct uuid *version)
{
    return s->state == SLOT_COMPLETING && s->lease->image == im &&
           uuid_equal(&s->lease->version, version);
}

/* Slots of any pool: the image may have had another base when its lease was given one. */
static bool old_in_use(const struct entry *im, const struct old_file *old)
{
    list_each (node, &im->own->set.slots) {
        const struct slot *s = container_of(node, struct slot, in_set);
        if (is_before_lease(s) && uuid_equal(&s->holds, &old->id))
            return true;
    }
    list_each (other, &im->core->images)
        list_each (node, &pool_at(other)->set.slots)
            if (is_becoming(container_of(node, struct slot, in_set), im, &old->id))
                return true;
    return image_jobs_read(im->core, old->path);
}

static void discard_unused(struct entry *im)
{
    list_each (node, &im->old) {
        struct old_file *old = container_of(node, struct old_file, node);
        if (!old_in_use(im, old))
            old_file_discard(im, old);
    }
}

/* ---- old slots ---- */

static struct slot *warm_of_old(const struct pool *p)
{
    list_each (node, &p->set.slots) {
        struct slot *s = container_of(node, struct slot, in_set);
        if (s->state == SLOT_WARM && !slot_is_current(s))
            return s;
    }
    return NULL;
}

/* One that cannot be destroyed is not waited for. */
static bool old_is_leaving(const struct pool *p)
{
    list_each (node, &p->set.slots) {
        const struct slot *s = container_of(node, struct slot, in_set);
        bool old = s->before == SLOT_TURNING || !slot_is_current(s);
        if (slot_is_leaving(s) && s->reap != REAP_PAUSE && old)
            return true;
    }
    return false;
}

/* The next old slot goes when the one before is gone and what can be built in its place is. */
static bool may_replace(const struct pool *p)
{
    return !pool_building(p) && !pool_may_build(p) && !old_is_leaving(p);
}

static void turn_next(struct pool *p)
{
    const struct entry *im = p->set.image;
    struct slot *s = warm_of_old(p);
    if (!s || !pools_have_room(p->core) || p->set.count[SLOT_TURNING] || entry_is_going(im) ||
        im->state == ENTRY_DAMAGED || timer_armed(&p->failures.pause))
        return;
    if (!p->turn_refused)
        slot_turn(s);
    else if (may_replace(p))
        slot_release(s, "of an older version of its image");
}

void versions_check(struct entry *im)
{
    turn_next(im->own);
    discard_unused(im);
}
