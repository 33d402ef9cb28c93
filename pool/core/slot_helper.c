/* A slot's helper: see slot_helper.h. What it says stands in the order in which it comes. */
#include "pool/core/slot_helper.h"

#include "base/log.h"
#include "base/util.h"
#include "pool/core/domains.h"
#include "pool/core/rows.h"
#include "pool/core/slot_reap.h"

#include <inttypes.h>
#include <string.h>

#define HELPER_EXIT_MS 5000         /* a helper that may leave has nothing left to do */
#define DOMID_FIRST_RESERVED 0x7ff0 /* of xen/include/public/xen.h */

static void fail(struct slot *s, int answer, const char *why)
{
    s->core->up->slot_failed(s, answer, why);
}

/* Sends and drops the message; without one (no memory) the slot has failed. */
static bool send(struct slot *s, json_t *message)
{
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    else
        fail(s, ANSWER_INTERNAL, "out of memory");
    json_decref(message);
    return message != NULL;
}

static bool is_being_made(const struct slot *s)
{
    return s->state == SLOT_BUILDING || s->state == SLOT_TURNING;
}

static void timed_out(struct timer *t)
{
    struct slot *s = container_of(t, struct slot, timer);
    if (s->state == SLOT_LEASED) {
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

static bool read_domid(const json_t *message, int64_t *domid)
{
    const json_t *v = json_object_get(message, "domid");
    *domid = json_integer_value(v);
    return json_is_integer(v) && *domid > 0 && *domid < DOMID_FIRST_RESERVED;
}

static bool helper_created(struct slot *s, const json_t *message)
{
    if (s->state != SLOT_BUILDING || s->domid != DB_NO_DOMID || !read_domid(message, &s->domid))
        return false;
    s->known_since_list = s->core->listing.started;
    struct rows *r = rows_new(s->core);
    slot_put(s, r);
    rows_commit(s->core, r, NULL, NULL);
    return true;
}

static bool helper_warm(struct slot *s, const json_t *message)
{
    int64_t domid;
    const char *engine = json_string_value(json_object_get(message, "engine"));
    if (!is_being_made(s) || !read_domid(message, &domid) ||
        (s->domid != DB_NO_DOMID && s->domid != domid))
        return false;
    if (s->domid == DB_NO_DOMID)
        s->known_since_list = s->core->listing.started;
    s->domid = domid;
    format_fits(s->engine, sizeof s->engine, "%s", engine ? engine : "");
    timer_stop(&s->timer);
    slot_move(s, SLOT_WARM, NULL, NULL);
    s->core->up->slot_warm(s);
    return true;
}

/* 0 for what is no number above that. */
static uint64_t number_in(const json_t *message, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(message, key));
    return n > 0 ? (uint64_t)n : 0;
}

static bool helper_completed(struct slot *s, const json_t *message)
{
    if (s->state != SLOT_COMPLETING)
        return false;
    json_t *stages = json_object_get(message, "stages");
    const struct completion c = {
        .delta_pages = json_integer_value(json_object_get(message, "delta_pages")),
        .start_us = number_in(message, "start_us"),
        .total_us = number_in(message, "total_us"),
        .stages = json_is_array(stages) ? stages : NULL,
    };
    timer_stop(&s->timer);
    s->core->up->slot_completed(s, &c);
    return true;
}

/* What a helper says of its failure. Returns the answer. */
static int read_failure(const json_t *message, char why[DB_REASON_SIZE])
{
    const char *answer = json_string_value(json_object_get(message, "answer"));
    const char *text = json_string_value(json_object_get(message, "error"));
    const char *stage = json_string_value(json_object_get(message, "stage"));
    format_fits(why, DB_REASON_SIZE, "%s%s%s", stage ? stage : "", stage ? ": " : "",
                text ? text : "its helper failed and did not say why");
    return answer ? answer_by_name(answer) : ANSWER_INTERNAL;
}

static bool helper_failed(struct slot *s, const json_t *message)
{
    char why[DB_REASON_SIZE];
    int answer = read_failure(message, why);
    fail(s, answer, why);
    return true;
}

static bool helper_refused(struct slot *s, const json_t *message)
{
    char why[DB_REASON_SIZE];
    if (s->state != SLOT_COMPLETING)
        return false;
    int answer = read_failure(message, why);
    timer_stop(&s->timer);
    slot_choose_name(s); /* it still has that */
    slot_move(s, SLOT_WARM, NULL, NULL);
    s->core->up->slot_refused(s, answer, why);
    return true;
}

static const struct {
    const char *name;
    bool (*take)(struct slot *s, const json_t *message);
} messages[] = {
    {"created", helper_created}, {"warm", helper_warm},     {"completed", helper_completed},
    {"refused", helper_refused}, {"failed", helper_failed},
};

/* Once a slot is on its way out its helper is about to be killed and nobody listens. */
static void message_came(struct helper *h, void *owner, const json_t *message)
{
    struct slot *s = owner;
    (void)h;
    if (slot_is_leaving(s)) {
        int64_t domid;
        if (s->domid == DB_NO_DOMID && read_domid(message, &domid))
            s->domid = domid; /* "created" crossed our decision: it saves a lookup */
        return;
    }
    const char *event = json_string_value(json_object_get(message, "event"));
    for (size_t i = 0; event && i < ARRAY_SIZE(messages); i++)
        if (!strcmp(event, messages[i].name) && messages[i].take(s, message))
            return;
    char why[128];
    format_fits(why, sizeof why, "its helper sent %.40s while the slot was %s",
                event ? event : "no message", slot_state_name(s->state));
    fail(s, ANSWER_INTERNAL, why);
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
    else if (s->state == SLOT_LEASED)
        timer_stop(&s->timer);
    else
        fail(s, ANSWER_INTERNAL, why);
}

static const struct helper_events helper_events = {message_came, helper_ended};

/* ---- what it is told ---- */

static json_t *build_message(struct slot *s)
{
    char id[24], uuid[UUID_TEXT_SIZE], path[IMAGE_PATH_SIZE];
    const struct config *c = s->core->config;
    format_fits(id, sizeof id, "s%" PRIu64, s->id);
    uuid_format(s->uuid, uuid);
    entry_path(s->set->image, path);
    uint64_t reserve_kib = config_number(c, KEY_MEMORY_RESERVE) / 1024;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "op", "build", "slot",
                     id, "uuid", uuid, "name", s->name, "image", path, "engine", s->set->engine, "tag",
                     s->core->tag, "cow_dir", s->core->cow_dir, "log_level",
                     config_text(c, KEY_LOG_LEVEL), "memory_reserve_kib", (json_int_t)reserve_kib);
}

static void build_start(struct slot *s)
{
    struct world *w = s->core->world;
    struct error why;
    if (w->ops->helper_start(w, HELPER_SLOT, &helper_events, s, &s->helper, &why)) {
        fail(s, ANSWER_INTERNAL, why.text);
        return;
    }
    s->domain = DOMAIN_MAYBE;
    memcpy(s->holds, s->set->image->row.id, sizeof s->holds); /* replaced meanwhile? */
    if (send(s, build_message(s)))
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

bool slot_build(struct slot_set *set)
{
    struct core *core = set->image->core;
    struct rows *r = rows_new(core);
    struct slot *s = slot_new(core, set, core->next_slot, SLOT_BUILDING);
    if (!r || !s) {
        rows_commit(core, r, NULL, NULL); /* NULL: noted; empty: harmless */
        if (s)
            slot_free(s);
        return false;
    }
    core->next_slot++;
    core_new_uuid(core, s->uuid);
    memcpy(s->holds, set->image->row.id, sizeof s->holds);
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
    memcpy(s->holds, s->set->image->row.id, sizeof s->holds);
    slot_move(s, SLOT_TURNING, NULL, "turned into the image's new version");
    timer_for(s, KEY_BUILD_TIMEOUT);
    send(s, json_pack("{s:s, s:s}", "op", "turn", "image", path));
}

/* Not from inside slot_complete: its lease is not where a failure finds it. */
static void no_message(struct timer *t)
{
    fail(container_of(t, struct slot, timer), ANSWER_INTERNAL, "out of memory");
}

void slot_complete(struct slot *s, const char *path, const char *name, bool paused)
{
    json_t *message = json_pack("{s:s, s:s, s:s, s:b}", "op", "complete", "image", path, "name",
                                name, "paused", (int)paused);
    if (message)
        s->core->world->ops->helper_send(s->helper, message); /* first: the caller waits for this */
    format_fits(s->name, sizeof s->name, "%s", name);
    slot_move(s, SLOT_COMPLETING, NULL, NULL);
    timer_for(s, KEY_COMPLETE_TIMEOUT);
    if (!message)
        timer_start(&s->core->timers, &s->timer, 0, no_message);
    json_decref(message);
}

bool slot_prefetch(struct slot *s, const json_t *paths)
{
    json_t *message = json_pack("{s:s, s:O}", "op", "expect", "images", paths);
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    json_decref(message);
    return message != NULL;
}

void slot_dismiss(struct slot *s)
{
    if (!s->helper)
        return;
    json_t *message = json_pack("{s:s}", "op", "leave");
    if (message)
        s->core->world->ops->helper_send(s->helper, message);
    json_decref(message);
    timer_start(&s->core->timers, &s->timer, HELPER_EXIT_MS, timed_out);
}

void slots_set_log_level(struct core *core)
{
    const char *level = config_text(core->config, KEY_LOG_LEVEL);
    json_t *message = json_pack("{s:s, s:s}", "op", "log", "level", level);
    list_each (node, &core->slots)
        if (message && slot_at(node)->helper && !slot_is_leaving(slot_at(node)))
            core->world->ops->helper_send(slot_at(node)->helper, message);
    json_decref(message);
}
