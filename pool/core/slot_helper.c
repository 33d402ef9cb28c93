/* A slot's helper: see slot_helper.h. What it says stands in the order in which it comes. */
#include "pool/core/slot_helper.h"

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "pool/core/rows.h"
#include "pool/core/slot_mac.h"
#include "pool/core/slot_reap.h"
#include "restore/protocol/slot_protocol.h"

#include <errno.h>
#include <inttypes.h>

#define HELPER_EXIT_MS 5000         /* a helper that may leave has nothing left to do */
#define DOMID_FIRST_RESERVED 0x7ff0 /* of xen/include/public/xen.h */

static void fail(struct slot *s, int answer, const char *why)
{
    s->core->up->slot_failed(s, answer, why);
}

/* False: no memory for the message. */
static bool tell(struct slot *s, const struct shape *shape, const void *values)
{
    json_t *message = shape_encode(shape, values);
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    json_decref(message);
    return message != NULL;
}

/* Likewise; then the slot has failed. */
static bool tell_or_fail(struct slot *s, const struct shape *shape, const void *values)
{
    bool told = tell(s, shape, values);
    if (!told)
        fail(s, ANSWER_INTERNAL, "out of memory");
    return told;
}

static bool is_being_made(const struct slot *s)
{
    return s->state == SLOT_BUILDING || s->state == SLOT_TURNING;
}

static void timed_out(struct timer *t)
{
    struct slot *s = container_of(t, struct slot, timer);
    if (slot_is_leased(s)) {
        log_warning("slot s%" PRIu64 ": its helper did not exit and is killed", s->id);
        s->core->world->ops->helper_kill(s->helper);
        return;
    }
    enum config_key key = is_being_made(s) ? KEY_BUILD_TIMEOUT : KEY_COMPLETE_TIMEOUT;
    char why[128];
    format_fits(why, sizeof why, "not %s within %s = %s", is_being_made(s) ? "built" : "completed",
                config_keys[key].name, config_text(s->core->config, key));
    fail(s, ANSWER_TIMED_OUT, why);
}

static void timer_for(struct slot *s, enum config_key key)
{
    timer_start(&s->core->timers, &s->timer, config_number(s->core->config, key), timed_out);
}

/* ---- what it says ---- */

static bool domid_valid(int64_t domid)
{
    return domid > 0 && domid < DOMID_FIRST_RESERVED;
}

/* Whether it may be the slot's. */
static bool domid_fits(const struct slot *s, int64_t domid, struct error *e)
{
    if (!domid_valid(domid))
        error_set(e, -EPROTO, "domid %" PRId64 " is none, they are 1 to %d", domid,
                  DOMID_FIRST_RESERVED - 1);
    else if (s->domid != DB_NO_DOMID && s->domid != domid)
        error_set(e, -EPROTO, "domid %" PRId64 " is not its own, which is %" PRId64, domid,
                  s->domid);
    return !e->code;
}

static bool helper_created(struct slot *s, const void *values, struct error *e)
{
    const struct slot_created_event *m = values;
    if (s->state != SLOT_BUILDING || s->domid != DB_NO_DOMID || !domid_fits(s, m->domid, e))
        return false;
    slot_set_domid(s, m->domid);
    s->known_since_list = s->core->listing.started;
    struct rows *r = rows_new(s->core);
    slot_put(s, r);
    rows_commit(s->core, r, NULL, NULL);
    return true;
}

static bool take_macs(struct slot *s, const json_t *list, struct error *e)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) > MACS_MAX) {
        error_set(e, -EPROTO, "%zu MAC addresses are too many", json_array_size(list));
        return false;
    }
    s->macs.n = 0;
    json_array_foreach (list, i, v) {
        const char *text = json_string_value(v);
        if (!text || mac_parse(text, &s->macs.at[i])) {
            error_set(e, -EPROTO, "MAC address %zu is malformed", i);
            return false;
        }
        s->macs.n++;
    }
    return true;
}

static bool helper_warm(struct slot *s, const void *values, struct error *e)
{
    const struct slot_warm_event *m = values;
    if (!is_being_made(s) || !domid_fits(s, m->domid, e) || !take_macs(s, m->macs, e))
        return false;
    if (s->domid == DB_NO_DOMID)
        s->known_since_list = s->core->listing.started;
    slot_set_domid(s, m->domid);
    format_fits(s->engine, sizeof s->engine, "%s", m->engine);
    timer_stop(&s->timer);
    slot_move(s, SLOT_WARM, NULL, NULL);
    s->core->up->slot_warm(s);
    return true;
}

/* 0 for what is no number above that. */
static uint64_t above_0(int64_t n)
{
    return n > 0 ? (uint64_t)n : 0;
}

static bool helper_completed(struct slot *s, const void *values, struct error *e)
{
    const struct slot_completed_event *m = values;
    (void)e;
    if (s->state != SLOT_COMPLETING)
        return false;
    const struct completion c = {
        .delta_pages = (int64_t)above_0(m->delta_pages),
        .start_us = above_0(m->start_us),
        .total_us = above_0(m->total_us),
        .stages = m->stages,
    };
    timer_stop(&s->timer);
    s->core->up->slot_completed(s, &c);
    return true;
}

/* What a helper says of its failure. Returns the answer. */
static int failure_text(const struct slot_failed_event *m, char why[DB_REASON_SIZE])
{
    format_fits(why, DB_REASON_SIZE, "%s%s%s", m->stage ? m->stage : "", m->stage ? ": " : "",
                m->error ? m->error : "its helper failed and did not say why");
    return m->answer ? answer_by_name(m->answer) : ANSWER_INTERNAL;
}

static bool helper_failed(struct slot *s, const void *values, struct error *e)
{
    char why[DB_REASON_SIZE];
    (void)e;
    int answer = failure_text(values, why);
    fail(s, answer, why);
    return true;
}

static bool helper_refused(struct slot *s, const void *values, struct error *e)
{
    char why[DB_REASON_SIZE];
    (void)e;
    if (s->state != SLOT_COMPLETING)
        return false;
    int answer = failure_text(values, why);
    timer_stop(&s->timer);
    slot_choose_name(s); /* it still has that */
    slot_mac_give_back(s);
    slot_move(s, SLOT_WARM, NULL, NULL);
    s->core->up->slot_refused(s, answer, why);
    return true;
}

static bool helper_unusable(struct slot *s, const void *values, struct error *e)
{
    char why[DB_REASON_SIZE];
    (void)e;
    if (s->state != SLOT_COMPLETING)
        return false;
    int answer = failure_text(values, why);
    timer_stop(&s->timer);
    s->core->up->slot_unusable(s, answer, why);
    return true;
}

/* The fields of "refused" and "unusable" are those of "failed". */
_Static_assert(sizeof(struct slot_refused_event) == sizeof(struct slot_failed_event), "one text");
_Static_assert(sizeof(struct slot_unusable_event) == sizeof(struct slot_failed_event), "one text");

static const struct {
    const struct shape *shape;
    /* False: it is none that the slot waits for; *e is set if what it says is wrong by itself. */
    bool (*take)(struct slot *s, const void *values, struct error *e);
} events[] = {
    {&slot_created_event_shape, helper_created},     {&slot_warm_event_shape, helper_warm},
    {&slot_completed_event_shape, helper_completed}, {&slot_refused_event_shape, helper_refused},
    {&slot_unusable_event_shape, helper_unusable},   {&slot_failed_event_shape, helper_failed},
};

union event {
    struct slot_created_event created;
    struct slot_warm_event warm;
    struct slot_completed_event completed;
    struct slot_refused_event refused;
    struct slot_unusable_event unusable;
    struct slot_failed_event failed;
};

static void not_understood(struct slot *s, const json_t *message, const struct error *e)
{
    const char *event = json_string_value(json_object_get(message, "event"));
    char why[DB_REASON_SIZE];
    if (e->code && event)
        format_fits(why, sizeof why, "its helper said %.40s: %s", event, e->text);
    else
        format_fits(why, sizeof why, "its helper sent %.40s while the slot was %s",
                    event ? event : "no message", slot_state_name(s->state));
    fail(s, ANSWER_INTERNAL, why);
}

/* "created" crossed our decision to end it: its domid saves a lookup. */
static void learn_domid(struct slot *s, const json_t *message)
{
    struct slot_created_event m;
    struct error e;
    if (s->domid == DB_NO_DOMID && !shape_decode(&slot_created_event_shape, message, &m, &e) &&
        domid_valid(m.domid))
        slot_set_domid(s, m.domid);
}

/* Once a slot is on its way out its helper is about to be killed and nobody listens. */
static void message_came(struct helper *h, void *owner, const json_t *message)
{
    struct slot *s = owner;
    struct error e = {0};
    union event values;
    (void)h;
    if (slot_is_leaving(s)) {
        learn_domid(s, message);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        if (shape_is(events[i].shape, message) &&
            !shape_decode(events[i].shape, message, &values, &e) && events[i].take(s, &values, &e))
            return;
    not_understood(s, message, &e);
}

static void helper_ended(struct helper *h, void *owner, const char *how)
{
    struct slot *s = owner;
    char why[160];
    (void)h;
    s->helper = NULL;
    format_fits(why, sizeof why, "its helper %s", how);
    if (slot_is_leaving(s))
        slot_reap(s);
    else if (slot_is_leased(s))
        timer_stop(&s->timer);
    else
        fail(s, ANSWER_INTERNAL, why);
}

static const struct helper_events helper_events = {message_came, helper_ended};

/* ---- what it is told ---- */

static bool build_tell(struct slot *s)
{
    char id[24], uuid[UUID_TEXT_SIZE], path[IMAGE_PATH_SIZE];
    format_fits(id, sizeof id, "s%" PRIu64, s->id);
    uuid_format(&s->uuid, uuid);
    entry_path(s->set->image, path);
    const struct slot_build_op m = {
        .slot = id,
        .uuid = uuid,
        .name = s->name,
        .image = path,
        .engine = s->set->engine,
        .tag = s->core->tag,
        .cow_dir = s->core->cow_dir,
        .cow_max_bytes = (int64_t)s->set->cow_max,
        .memory_reserve_kib = (int64_t)(config_number(s->core->config, KEY_MEMORY_RESERVE) / 1024),
        .mac = mac_rule_name(s->set->mac),
        .vif_isolation = s->set->vif_isolation,
        .vif_filter = s->set->vif_filter,
        .vif_script = s->set->vif_script,
    };
    return tell_or_fail(s, &slot_build_op_shape, &m);
}

static void build_start(struct slot *s)
{
    struct world *w = s->core->world;
    struct error why;
    if (w->ops->helper_start(w, HELPER_SLOT, -1, &helper_events, s, &s->helper, &why)) {
        fail(s, ANSWER_INTERNAL, why.text);
        return;
    }
    s->domain = DOMAIN_MAYBE;
    s->holds = s->set->image->row.id; /* replaced meanwhile? */
    if (build_tell(s))
        timer_for(s, KEY_BUILD_TIMEOUT);
}

/* The row is committed: whatever is built now will be found again. */
static void build_recorded(void *owner, int rc, const struct error *e)
{
    struct slot *s = owner;
    s->domain = DOMAIN_NONE;
    if (s->state != SLOT_BUILDING)
        slot_reap(s);
    else if (rc) /* not the image's fault, and nothing has been made */
        slot_break(s, e->text);
    else
        build_start(s);
}

#define UUID_TRIES 100

/* A UUID of which no other slot's MAC addresses are made. There are 2^18 keys, so with ten thousand
 * slots one in 26 tries fails. */
static void choose_uuid(struct core *core, struct uuid *uuid)
{
    unsigned tries = 0;
    do
        core_new_uuid(core, uuid);
    while (slot_has_mac_key(core, mac_key(uuid)) && ++tries < UUID_TRIES);
}

bool slot_build(struct slot_set *set)
{
    struct core *core = set->image->core;
    struct uuid uuid;
    choose_uuid(core, &uuid);
    struct rows *r = rows_new(core);
    struct slot *s = slot_new(core, set, core->next_slot, &uuid, SLOT_BUILDING);
    if (!r || !s) {
        rows_commit(core, r, NULL, NULL); /* NULL: noted; empty: harmless */
        if (s)
            slot_free(s);
        return false;
    }
    core->next_slot++;
    s->holds = set->image->row.id;
    slot_choose_name(s);
    slot_put(s, r);
    s->domain = DOMAIN_NOT_YET;
    rows_commit(core, r, build_recorded, s);
    if (core->on_move)
        core->on_move(core, s, SLOT_BUILDING, SLOT_BUILDING);
    return true;
}

void slot_turn(struct slot *s)
{
    char path[IMAGE_PATH_SIZE];
    entry_path(s->set->image, path);
    s->holds = s->set->image->row.id;
    slot_move(s, SLOT_TURNING, NULL, "turned into the image's new version");
    timer_for(s, KEY_BUILD_TIMEOUT);
    tell_or_fail(s, &slot_turn_op_shape, &(struct slot_turn_op){path});
}

/* Not from inside slot_complete: its lease is not where a failure finds it. */
static void no_message(struct timer *t)
{
    fail(container_of(t, struct slot, timer), ANSWER_INTERNAL, "out of memory");
}

void slot_complete(struct slot *s, const char *path, const struct slot_wish *wish)
{
    char mac[MAC_TEXT_SIZE];
    if (wish->mac)
        mac_format(wish->mac, mac);
    const struct slot_complete_op m = {
        .image = path, .name = wish->name, .mac = wish->mac ? mac : NULL, .paused = wish->paused};
    bool told = tell(s, &slot_complete_op_shape, &m); /* first: the caller waits for this */
    format_fits(s->name, sizeof s->name, "%s", wish->name);
    slot_move(s, SLOT_COMPLETING, NULL, NULL);
    timer_for(s, KEY_COMPLETE_TIMEOUT);
    if (!told)
        timer_start(&s->core->timers, &s->timer, 0, no_message);
}

bool slot_prefetch(struct slot *s, json_t *paths)
{
    return tell(s, &slot_expect_op_shape, &(struct slot_expect_op){paths});
}

void slot_dismiss(struct slot *s)
{
    if (!s->helper)
        return;
    tell(s, &slot_leave_op_shape, NULL); /* without memory it is killed when the timer fires */
    timer_start(&s->core->timers, &s->timer, HELPER_EXIT_MS, timed_out);
}

void slots_set_log_level(struct core *core)
{
    const struct slot_log_op m = {config_text(core->config, KEY_LOG_LEVEL)};
    list_each (node, &core->slots)
        if (slot_at(node)->helper && !slot_is_leaving(slot_at(node)))
            tell(slot_at(node), &slot_log_op_shape, &m);
}
