/* The method PoolWait: see wait_call.h. */
#include "pool/core/wait_call.h"

#include "base/text.h"
#include "pool/core/pool.h"
#include "pool/service/pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pool_wait {
    struct list node;
    struct core *core;
    struct pending pending;
    char image[DB_NAME_SIZE]; /* "": every pool */
    struct timer timer;
};

static struct call *wait_free(struct pool_wait *w)
{
    struct call *call = pending_take(&w->pending);
    timer_stop(&w->timer);
    list_remove(&w->node);
    free(w);
    return call;
}

static bool pool_full(const struct pool *p)
{
    unsigned min = p->settings.min, max = p->settings.max;
    return pool_warm(p) >= (max && max < min ? max : min);
}

enum verdict { VERDICT_WAIT, VERDICT_FULL, VERDICT_REFUSED };

static enum verdict judge(const struct core *core, const char *image, struct error *e)
{
    enum verdict verdict = VERDICT_FULL;
    struct entry *asked;
    if (core_ready(core, e) || (image[0] && entry_need(core, image, &asked, e)))
        return VERDICT_REFUSED;
    list_each (node, &core->images) {
        const struct entry *im = entry_at(node);
        if (entry_is_going(im) || (image[0] ? im != asked : im->base != NULL))
            continue;
        if (pool_full(im->pool))
            continue;
        if (pool_hopeless(im->pool, e))
            return VERDICT_REFUSED;
        verdict = VERDICT_WAIT;
    }
    return verdict;
}

void waits_check(struct core *core)
{
    list_each (node, &core->waits) {
        struct pool_wait *w = container_of(node, struct pool_wait, node);
        struct error e;
        enum verdict verdict = judge(core, w->image, &e);
        if (verdict == VERDICT_WAIT)
            continue;
        json_t *reply = verdict == VERDICT_FULL ? pools_to_json(core, w->image) : NULL;
        struct call *call = wait_free(w);
        if (verdict == VERDICT_FULL)
            call_reply(call, reply);
        else
            call_refuse(call, e.code, e.text);
    }
}

static void wait_timed_out(struct timer *t)
{
    struct pool_wait *w = container_of(t, struct pool_wait, timer);
    struct error e;
    char text[DB_REASON_SIZE + 200] = "some pools do not hold their minimum yet";
    const struct entry *im = w->image[0] ? entry_find(w->core, w->image) : NULL;
    if (im) {
        pool_refusal(im->pool, &e);
        format_fits(text, sizeof text, "%u of %u slots are warm; %s", pool_warm(im->pool),
                    im->pool->settings.min, e.text);
    }
    call_refuse(wait_free(w), ANSWER_TIMED_OUT, text);
}

static void client_gone(struct pending *p)
{
    wait_free(container_of(p, struct pool_wait, pending));
}

const struct answered *wait_call(struct core *core, struct call *call, const char *name,
                                 uint64_t timeout_ms)
{
    struct error e;
    const char *image = name ? name : "";
    enum verdict verdict = judge(core, image, &e);
    if (verdict == VERDICT_REFUSED)
        return call_refuse(call, e.code, e.text);
    if (verdict == VERDICT_FULL)
        return call_reply(call, pools_to_json(core, image));
    struct pool_wait *w = calloc(1, sizeof *w);
    if (!w)
        return call_refuse(call, -ENOMEM, "out of memory");
    w->core = core;
    format_fits(w->image, sizeof w->image, "%s", image);
    timer_init(&w->timer);
    timer_start(&core->timers, &w->timer, timeout_ms, wait_timed_out);
    list_append(&core->waits, &w->node);
    return pending_begin(&w->pending, call, client_gone);
}
