/*
 * PoolWait: callers who are answered when a pool, or every pool, holds its minimum, or when it
 * turns out that it will not.
 */
#include "pool/core/api.h"
#include "pool/core/slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pool_wait {
    struct list node;
    struct core *core;
    struct call *call;
    char image[DB_NAME_SIZE]; /* "": every pool */
    struct timer timer;
};

static void wait_free(struct pool_wait *w)
{
    timer_stop(&w->timer);
    list_remove(&w->node);
    free(w);
}

static const struct answered *wait_refuse(struct pool_wait *w, int code, const char *text)
{
    struct call *call = w->call;
    wait_free(w);
    return call_refuse(call, code, text);
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
    bool found = !image[0];
    if (core_ready(core, e))
        return VERDICT_REFUSED;
    list_each (node, &core->pools) {
        const struct pool *p = container_of(node, struct pool, in_core);
        if (p->row.removing || (image[0] ? strcmp(image, p->row.name) != 0 : p->base != NULL))
            continue;
        found = true;
        p = pool_of(container_of(node, struct pool, in_core));
        if (pool_full(p))
            continue;
        if (pool_check(p, e))
            return VERDICT_REFUSED;
        verdict = VERDICT_WAIT;
    }
    if (found)
        return verdict;
    error_set(e, ANSWER_NO_SUCH_IMAGE, "no image is called %s", image);
    return VERDICT_REFUSED;
}

void pool_waits_check(struct core *core)
{
    list_each (node, &core->waits) {
        struct pool_wait *w = container_of(node, struct pool_wait, node);
        struct error e;
        enum verdict verdict = judge(core, w->image, &e);
        if (verdict == VERDICT_REFUSED)
            wait_refuse(w, e.code, e.text);
        if (verdict != VERDICT_FULL)
            continue;
        struct call *call = w->call;
        json_t *reply = api_pools(core, w->image);
        wait_free(w);
        call_reply(call, reply);
    }
}

static void wait_timed_out(struct timer *t)
{
    struct pool_wait *w = container_of(t, struct pool_wait, timer);
    struct error e;
    char text[DB_REASON_SIZE + 200] = "some pools do not hold their minimum yet";
    struct pool *image = w->image[0] ? pool_find(w->core, w->image) : NULL;
    const struct pool *p = image ? pool_of(image) : NULL;
    if (p) {
        pool_refusal(p, &e);
        format_fits(text, sizeof text, "%u of %u slots are warm; %s", pool_warm(p), p->settings.min,
                    e.text);
    }
    wait_refuse(w, ANSWER_TIMED_OUT, text);
}

static void wait_cancelled(struct call *call)
{
    wait_free(call->owner);
}

const struct answered *pool_wait_start(struct core *core, struct call *call, const char *name,
                                       uint64_t timeout_ms)
{
    struct error e;
    const char *image = name ? name : "";
    enum verdict verdict = judge(core, image, &e);
    if (verdict == VERDICT_REFUSED)
        return call_refuse(call, e.code, e.text);
    if (verdict == VERDICT_FULL)
        return call_reply(call, api_pools(core, image));
    struct pool_wait *w = calloc(1, sizeof *w);
    if (!w)
        return call_refuse(call, -ENOMEM, "out of memory");
    w->core = core;
    w->call = call;
    format_fits(w->image, sizeof w->image, "%s", image);
    timer_init(&w->timer);
    timer_start(&core->timers, &w->timer, timeout_ms, wait_timed_out);
    list_append(&core->waits, &w->node);
    return call_defer(call, wait_cancelled, w);
}
