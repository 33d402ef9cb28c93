/*
 * Private disks that take no writes any more: see layers.h.
 *
 * The look is a job of the host, on a thread: one request to device-mapper, whose list says which
 * devices have had an event, however many there are (restore/xen/snapshot.c). A thread that waits
 * for events (DM_DEV_ARM_POLL) would know some seconds earlier, but it would be woken by every
 * event of every device of the host, LVM's and multipath's too, and would have to look just the
 * same. Nothing can be done for such a disk, so some seconds do not matter.
 *
 * What has been found is not written to the database: the kernel knows it for as long as it holds,
 * and the first look of the next daemon finds it again.
 */
#include "pool/core/layers.h"

#include "base/log.h"
#include "base/text.h"
#include "pool/core/lease.h"
#include "pool/core/slot_reap.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOOK_MS 5000

static void describe(const struct slot *s, const struct host_layer *layer,
                     char text[DB_REASON_SIZE])
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&s->uuid, uuid);
    format_fits(text, DB_REASON_SIZE,
                "disk %s takes no writes any more: its layer /dev/mapper/dompool-%s-%s, a file in "
                "%.60s, is full or failed (%s)",
                layer->vdev, uuid, layer->vdev, s->core->cow_dir, layer->state);
}

static void lease_faulty(struct slot *s, const char *why)
{
    slot_set_fault(s, why);
    log_warning("lease l%" PRIu64 " (%s), domain %" PRId64 " (%s): %s; release it", s->lease_id,
                s->lease->image->row.name, s->domid, s->name, why);
}

/* One that is being completed is looked at when it is leased. */
static void slot_failed(struct slot *s, const struct host_layer *layer)
{
    char why[DB_REASON_SIZE];
    describe(s, layer, why);
    if (s->state == SLOT_WARM) {
        pool_slot_lost(slot_pool(s), ANSWER_INTERNAL, why);
        slot_break(s, why);
    } else if (slot_is_leased(s) && s->lease && !s->fault[0]) {
        lease_faulty(s, why);
    }
}

static void layer_failed(struct core *core, const struct host_layer *layer)
{
    struct slot *next, *s = slot_of_uuid(core, &layer->uuid);
    for (; s; s = next) {
        next = slot_next_of_uuid(s);
        slot_failed(s, layer);
    }
}

static void look_again(struct timer *t)
{
    layers_look(container_of(t, struct core, layers.next));
}

static void looked(struct host_job *job)
{
    struct core *core = container_of(job, struct core, layers.job);
    core->layers.looking = false;
    if (job->rc)
        log_warning("look for disks that take no writes: %s", job->error.text);
    for (size_t i = 0; i < job->n_layers; i++)
        layer_failed(core, &job->layers[i]);
    free(job->layers);
    job->layers = NULL;
    if (core->state == CORE_STOPPING)
        core_kick(core);
    else
        timer_start(&core->timers, &core->layers.next, LOOK_MS, look_again);
}

void layers_look(struct core *core)
{
    struct layers *l = &core->layers;
    if (l->looking || core->state == CORE_STOPPING)
        return;
    l->looking = true;
    l->job.kind = HOST_JOB_LAYERS;
    l->job.tag = core->tag;
    l->job.done = looked;
    core->world->ops->host_start(core->world, &l->job);
}
