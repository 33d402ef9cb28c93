/* Pools: see pool.h. */
#include "pool/core/pool.h"

#include "base/log.h"
#include "pool/core/expect.h"
#include "pool/core/image_query.h"
#include "pool/core/import.h"
#include "pool/core/lease.h"

#include <stdlib.h>
#include <string.h>

/* A slot that was built for somebody who waits no more is kept so long for the next one: else
 * somebody who asks again and again with short waits would never get one. */
#define LINGER_MS 30000

struct pool *pool_new(struct core *core, const struct image_row *row, struct image_facts *facts)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->core = core;
    p->row = *row;
    p->facts = *facts;
    *facts = (struct image_facts){0};
    list_init(&p->in_core);
    list_init(&p->slots);
    list_init(&p->warm);
    list_init(&p->waiting);
    list_init(&p->removals);
    list_init(&p->old);
    timer_init(&p->backoff);
    timer_init(&p->linger);
    pool_configure(p);
    struct list *before = core->pools.next; /* by name */
    while (before != &core->pools &&
           strcmp(container_of(before, struct pool, in_core)->row.name, row->name) < 0)
        before = before->next;
    list_insert(before, &p->in_core);
    pools_link(core);
    return p;
}

void pool_free(struct pool *p)
{
    struct core *core = p->core;
    timer_stop(&p->backoff);
    timer_stop(&p->linger);
    list_remove(&p->in_core);
    pool_old_free(p);
    json_decref(p->facts.config);
    json_decref(p->expected);
    free(p);
    pools_link(core);
}

static struct pool *pool_at(struct list *node)
{
    return container_of(node, struct pool, in_core);
}

/* The base that p's row names; NULL: it has none, or it is not there. */
static struct pool *pool_find_base(const struct pool *p)
{
    static const uint8_t none[16];
    if (!memcmp(p->row.base, none, sizeof none))
        return NULL;
    list_each (node, &p->core->pools)
        if (!memcmp(pool_at(node)->row.id, p->row.base, sizeof p->row.base))
            return pool_at(node);
    return NULL;
}

void pools_link(struct core *core)
{
    list_each (node, &core->pools) {
        struct pool *p = pool_at(node);
        p->base = pool_find_base(p);
        p->expect_due = true;
    }
}

struct pool *pool_of(struct pool *p)
{
    return p->base ? p->base : p;
}

bool pool_has_derived(const struct pool *p, char *text, size_t size)
{
    bool any = false;
    text[0] = '\0';
    list_each (node, &p->core->pools) {
        const struct pool *d = pool_at(node);
        size_t used = strlen(text);
        if (d->base != p)
            continue;
        format_fits(text + used, size - used, "%s%s", any ? ", " : "", d->row.name);
        any = true;
    }
    const char *coming = any ? NULL : import_commits_derived(p->core, p->row.name);
    if (coming)
        format_fits(text, size, "%s", coming);
    return any || coming;
}

struct pool *pool_find(const struct core *core, const char *image)
{
    list_each (node, &core->pools) {
        struct pool *p = container_of(node, struct pool, in_core);
        if (!strcmp(p->row.name, image))
            return p;
    }
    return NULL;
}

void pool_path(const struct pool *p, char *buf, size_t size)
{
    format_fits(buf, size, "%s/%s", p->core->images_dir, p->row.file);
}

void pool_configure(struct pool *p)
{
    unsigned before = p->settings.min;
    p->settings = config_pool(p->core->config, p->row.name);
    if (p->settings.min < before)
        p->shrink = true;
    pool_expect_due(p);
}

unsigned pool_leased(const struct pool *p)
{
    return p->count[SLOT_LEASED] + p->count[SLOT_SAVED];
}

/* ---- failures ---- */

static void backoff_over(struct timer *t)
{
    core_kick(container_of(t, struct pool, backoff)->core);
}

static uint64_t backoff_delay(const struct pool *p)
{
    uint64_t delay = p->settings.backoff_ms;
    for (unsigned i = 1; i < p->failures && delay < p->settings.backoff_max_ms; i++)
        delay *= 2;
    return delay < p->settings.backoff_max_ms ? delay : p->settings.backoff_max_ms;
}

void pool_built(struct pool *p)
{
    if (p->failures)
        log_info("image %s: slots can be built again", p->row.name);
    p->failures = 0;
    p->last_answer = ANSWER_NONE;
    p->last_error[0] = '\0';
}

void pool_build_failed(struct pool *p, int answer, const char *text)
{
    struct core *core = p->core;
    p->failures++;
    p->last_answer = answer;
    format_fits(p->last_error, sizeof p->last_error, "%s", text);
    timer_start(&core->timers, &p->backoff, backoff_delay(p), backoff_over);
    log_warning("image %s: building a slot failed, %u in a row: %s", p->row.name, p->failures,
                text);
    struct error e;
    int rc = pool_check(p, &e);
    if (rc)
        leases_refuse_waiting(p, rc, e.text);
    core_kick(core);
}

void pool_memory_freed(struct core *core)
{
    list_each (node, &core->pools) {
        struct pool *p = container_of(node, struct pool, in_core);
        if (p->last_answer == ANSWER_NO_HOST_MEMORY)
            timer_stop(&p->backoff);
    }
}

uint64_t pool_backoff_ms(const struct pool *p)
{
    uint64_t now = core_now_us(p->core);
    return timer_armed(&p->backoff) && p->backoff.due_us > now
               ? (p->backoff.due_us - now) / 1000 + 1
               : 0;
}

void pool_damaged(struct pool *p, const char *text)
{
    struct error e;
    p->unverified = false;
    format_fits(p->damage, sizeof p->damage, "%s", text);
    pool_expect_due(p);
    log_error("image %s cannot be used: %s", p->row.name, text);
    leases_refuse_waiting(p, pool_check(p, &e), e.text);
    core_kick(p->core);
}

/* Lack of memory, or of Xen, is the host's trouble and keeps its name. */
static int failure_answer(const struct pool *p)
{
    bool host = p->last_answer == ANSWER_NO_HOST_MEMORY || p->last_answer == ANSWER_XEN_UNAVAILABLE;
    return host ? p->last_answer : ANSWER_IMAGE_BROKEN;
}

int pool_check(const struct pool *p, struct error *e)
{
    if (p->damage[0])
        return error_set(e, ANSWER_IMAGE_BROKEN, "image %s: %s", p->row.name, p->damage);
    if (p->failures < BROKEN_AFTER)
        return 0;
    return error_set(e, failure_answer(p), "image %s: %u builds failed in a row, the last one: %s",
                     p->row.name, p->failures, p->last_error);
}

int pool_refusal(const struct pool *p, struct error *e)
{
    const char *name = p->row.name;
    if (pool_check(p, e))
        return e->code;
    if (p->failures && failure_answer(p) != ANSWER_IMAGE_BROKEN)
        return error_set(e, failure_answer(p), "image %s: %s", name, p->last_error);
    if (p->unverified)
        return error_set(e, ANSWER_POOL_EMPTY,
                         "image %s: no slot is warm, its file is still being checked%s%s", name,
                         p->failures ? "; " : "", p->last_error);
    if (p->settings.max && p->total >= p->settings.max)
        return error_set(e, ANSWER_LIMIT_REACHED,
                         "image %s: max = %u slots are in use, %u of them leased; release one or "
                         "raise max",
                         name, p->settings.max, pool_leased(p));
    if (p->failures)
        return error_set(e, ANSWER_POOL_EMPTY,
                         "image %s: no slot is warm; the last build failed: %s", name,
                         p->last_error);
    return error_set(e, ANSWER_POOL_EMPTY,
                     "image %s: no slot is warm, %u being built; wait longer or raise min", name,
                     p->count[SLOT_BUILDING]);
}

/* ---- refill ---- */

bool pool_is_derived(const struct pool *p)
{
    static const uint8_t none[16];
    return memcmp(p->row.base, none, sizeof none) != 0;
}

static unsigned list_length(const struct list *head)
{
    unsigned n = 0;
    list_each (node, head)
        n++;
    return n;
}

unsigned pool_warm(const struct pool *p)
{
    return list_length(&p->warm);
}

/* Slots that should be warm, or on their way: the idle ones to keep, and one for each who waits. */
static unsigned pool_wanted(const struct pool *p)
{
    return p->row.removing || pool_is_derived(p) ? 0 : p->settings.min + list_length(&p->waiting);
}

static unsigned pool_supply(const struct pool *p)
{
    return p->count[SLOT_WARM] + p->count[SLOT_BUILDING];
}

/* No slot may become an image whose file is not checked. One that cannot be checked does not hold
 * up the others: whoever wants it is refused. */
static bool pool_checked(const struct pool *p)
{
    struct error e;
    if (p->unverified)
        return false;
    list_each (node, &p->core->pools) {
        const struct pool *d = pool_at(node);
        if (d->base == p && d->unverified && !pool_check(d, &e))
            return false;
    }
    return true;
}

bool pool_may_build(const struct pool *p)
{
    return !p->damage[0] && pool_checked(p) && !timer_armed(&p->backoff) &&
           pool_supply(p) < pool_wanted(p) && (!p->settings.max || p->total < p->settings.max);
}

/* The one with somebody waiting comes first, then the one that lacks the larger part. */
static bool pool_before(const struct pool *a, const struct pool *b)
{
    bool waiting_a = !list_empty(&a->waiting), waiting_b = !list_empty(&b->waiting);
    if (waiting_a != waiting_b)
        return waiting_a;
    return (uint64_t)pool_supply(a) * pool_wanted(b) < (uint64_t)pool_supply(b) * pool_wanted(a);
}

static struct pool *pool_neediest(const struct core *core)
{
    struct pool *best = NULL;
    list_each (node, &core->pools) {
        struct pool *p = container_of(node, struct pool, in_core);
        if (pool_may_build(p) && (!best || pool_before(p, best)))
            best = p;
    }
    return best;
}

/* The newest slot of a state, one of an older version of the image before the others; or NULL. */
static struct slot *pool_newest(const struct pool *p, enum slot_state state)
{
    struct slot *found = NULL;
    for (struct list *at = p->slots.prev; at != &p->slots; at = at->prev) {
        struct slot *s = container_of(at, struct slot, in_pool);
        if (s->state == state && !slot_is_current(s))
            return s;
        if (s->state == state && !found)
            found = s;
    }
    return found;
}

static void linger_over(struct timer *t)
{
    struct pool *p = container_of(t, struct pool, linger);
    p->shrink = true;
    core_kick(p->core);
}

/* Slots to remove now. */
static unsigned pool_excess(struct pool *p)
{
    unsigned supply = pool_supply(p), wanted = pool_wanted(p);
    unsigned used = p->total - p->count[SLOT_RELEASING] - p->count[SLOT_BROKEN];
    unsigned above = p->settings.max && used > p->settings.max ? used - p->settings.max : 0;
    unsigned over = supply > wanted ? supply - wanted : 0;
    bool now = p->shrink || p->row.removing;
    p->shrink = false;
    if (!over || now)
        timer_stop(&p->linger);
    else if (!timer_armed(&p->linger))
        timer_start(&p->core->timers, &p->linger, LINGER_MS, linger_over);
    return now && over > above ? over : above;
}

/* Slots beyond what is wanted or allowed go: first those that are not even built. */
static void pool_shrink(struct pool *p)
{
    for (unsigned excess = pool_excess(p); excess; excess--) {
        struct slot *s = pool_newest(p, SLOT_BUILDING);
        if (!s)
            s = pool_newest(p, SLOT_WARM);
        if (!s)
            break;
        slot_release(s, "not needed any more");
    }
}

static unsigned core_building(const struct core *core)
{
    unsigned n = 0;
    list_each (node, &core->pools)
        n += container_of(node, struct pool, in_core)->count[SLOT_BUILDING];
    return n;
}

void pools_refill(struct core *core)
{
    if (core->state != CORE_RUNNING)
        return;
    list_each (node, &core->pools) {
        struct pool *p = container_of(node, struct pool, in_core);
        pool_shrink(p);
        if (p->row.removing)
            pool_remove_check(p);
    }
    list_each (node, &core->pools)
        pool_expect_check(pool_at(node));
    unsigned parallel = (unsigned)config_number(core->config, KEY_PARALLEL);
    images_verify(core);
    list_each (node, &core->pools)
        pool_replace_check(pool_at(node), core_building(core) < parallel);
    struct pool *p;
    while (!core->db_failing && core_building(core) < parallel && (p = pool_neediest(core)))
        if (!slot_build(p))
            pool_build_failed(p, ANSWER_INTERNAL, "out of memory");
}
