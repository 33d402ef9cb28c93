/* Slots: see slot.h. */
#include "pool/core/slot.h"

#include "base/log.h"
#include "base/text.h"
#include "pool/core/rows.h"
#include "pool/core/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

void slot_set_init(struct slot_set *set, struct entry *image)
{
    *set = (struct slot_set){.image = image};
    list_init(&set->slots);
    list_init(&set->warm);
}

static const char *image_name(const struct slot *s)
{
    return s->set ? s->set->image->row.name : "";
}

static void tables_put(struct slot *s)
{
    struct tables *t = &s->core->tables;
    hash_node_init(&s->by_domid);
    hash_node_init(&s->by_id);
    hash_node_init(&s->by_uuid);
    hash_node_init(&s->by_mac_key);
    hash_put(&t->slot_ids, &s->by_id, key_of_number(s->core, s->id));
    hash_put(&t->slot_uuids, &s->by_uuid, key_of_uuid(s->core, &s->uuid));
    hash_put(&t->slot_mac_keys, &s->by_mac_key, key_of_number(s->core, mac_key(&s->uuid)));
}

static void tables_remove(struct slot *s)
{
    struct tables *t = &s->core->tables;
    hash_remove(&t->slot_ids, &s->by_id);
    hash_remove(&t->slot_uuids, &s->by_uuid);
    hash_remove(&t->slot_domids, &s->by_domid);
    hash_remove(&t->slot_mac_keys, &s->by_mac_key);
}

struct slot *slot_new(struct core *core, struct slot_set *set, uint64_t id, const struct uuid *uuid,
                      enum slot_state state)
{
    struct slot *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->core = core;
    s->set = set;
    s->id = id;
    s->uuid = *uuid;
    s->state = s->before = state;
    s->domid = DB_NO_DOMID;
    s->since_ms = core_wall_ms(core);
    list_init(&s->in_set);
    list_init(&s->in_warm);
    list_init(&s->in_reaps);
    list_init(&s->in_leftovers);
    list_init(&s->job.node);
    list_init(&s->watches);
    timer_init(&s->timer);
    list_append(&core->slots, &s->in_core);
    tables_put(s);
    if (set) {
        if (!slot_is_leased(s))
            list_append(&set->slots, &s->in_set);
        set->count[state]++;
        set->total++;
    }
    return s;
}

void slot_watches_tell(struct slot *s, int rc, const char *failure)
{
    struct list *node;
    while ((node = list_pop(&s->watches))) {
        struct slot_watch *w = container_of(node, struct slot_watch, node);
        w->gone(w, rc, failure);
    }
}

void slot_free(struct slot *s)
{
    slot_watches_tell(s, -ECANCELED, "the daemon stopped first");
    timer_stop(&s->timer);
    if (s->core->survey.next == &s->in_core)
        s->core->survey.next = s->in_core.next;
    tables_remove(s);
    list_remove(&s->in_core);
    list_remove(&s->in_set);
    list_remove(&s->in_warm);
    list_remove(&s->in_reaps);
    list_remove(&s->in_leftovers);
    if (s->set) {
        s->set->count[s->state]--;
        s->set->total--;
    }
    free(s);
}

bool slot_is_leased(const struct slot *s)
{
    return s->state == SLOT_LEASED || s->state == SLOT_SAVED || s->state == SLOT_KEPT;
}

bool slot_is_current(const struct slot *s)
{
    return s->set && uuid_equal(&s->holds, &s->set->image->row.id);
}

bool slot_is_leaving(const struct slot *s)
{
    return s->state == SLOT_RELEASING || s->state == SLOT_BROKEN;
}

/* ---- moving ---- */

static void trace_move(const struct slot *s)
{
    log_debug("slot s%" PRIu64 " (%s): %s -> %s%s%s", s->id, s->set ? image_name(s) : "?",
              slot_state_name(s->before), slot_state_name(s->state), s->reason[0] ? ": " : "",
              s->reason);
    if (s->core->on_move)
        s->core->on_move(s->core, s, (int)s->before, (int)s->state);
}

void slot_put(const struct slot *s, struct rows *r)
{
    struct db_op *op = rows_add(r, s->state == SLOT_GONE ? DB_SLOT_DELETE : DB_SLOT_PUT);
    if (!op)
        return;
    struct slot_row *row = &op->slot;
    row->id = s->id;
    row->uuid = s->uuid;
    format_fits(row->image, sizeof row->image, "%s", image_name(s));
    format_fits(row->state, sizeof row->state, "%s", slot_state_name(s->state));
    format_fits(row->engine, sizeof row->engine, "%s", s->engine);
    row->domid = s->domid;
    format_fits(row->name, sizeof row->name, "%s", s->name);
    row->since_ms = s->since_ms;
    format_fits(row->reason, sizeof row->reason, "%s", s->reason);
    row->macs = s->macs;
}

/* That a slot is being completed is written when it has come to its end, as leased or as broken:
 * a restart destroys it as it does a warm one, and a transaction of its own would take a processor
 * from the pages that are being written. */
static void write_move(const struct slot *s, struct rows *r)
{
    if (s->state == SLOT_COMPLETING)
        return;
    struct rows *own = r ? r : rows_new(s->core);
    slot_put(s, own);
    if (!r)
        rows_commit(s->core, own, NULL, NULL);
}

/* Its places in its set, for the state that it has come to. */
static void set_place(struct slot *s)
{
    struct slot_set *set = s->set;
    set->count[s->before]--;
    set->count[s->state]++;
    if (slot_is_leased(s))
        list_remove(&s->in_set);
    else if (list_empty(&s->in_set))
        list_append(&set->slots, &s->in_set);
    if (s->state == SLOT_WARM && slot_is_current(s))
        list_append(&set->warm, &s->in_warm);
}

void slot_move(struct slot *s, enum slot_state to, struct rows *r, const char *reason)
{
    bool was_leased = slot_is_leased(s);
    s->before = s->state;
    s->state = (enum slot_state)machine_step(&slot_machine, s->state, to, s->id);
    s->since_ms = core_wall_ms(s->core);
    format_fits(s->reason, sizeof s->reason, "%s", reason ? reason : "");
    list_remove(&s->in_warm);
    s->core->faulty -= was_leased && !slot_is_leased(s) && s->fault[0];
    if (s->set)
        set_place(s);
    write_move(s, r);
    trace_move(s);
}

void slot_choose_name(struct slot *s)
{
    format_fits(s->name, sizeof s->name, "%s-s%" PRIu64, s->core->tag, s->id);
}

void slot_watch(struct slot *s, struct slot_watch *w,
                void (*gone)(struct slot_watch *w, int rc, const char *failure))
{
    w->gone = gone;
    list_append(&s->watches, &w->node);
}

/* ---- looking up ---- */

struct slot *slot_of_id(const struct core *core, uint64_t id)
{
    const struct hash *table = &core->tables.slot_ids;
    struct hash_node *node = hash_first(table, key_of_number(core, id));
    for (; node; node = hash_next(table, node))
        if (container_of(node, struct slot, by_id)->id == id)
            return container_of(node, struct slot, by_id);
    return NULL;
}

/* node or the first one behind it whose slot has the uuid. */
static struct slot *with_uuid(const struct core *core, struct hash_node *node,
                              const struct uuid *uuid)
{
    for (; node; node = hash_next(&core->tables.slot_uuids, node))
        if (uuid_equal(&container_of(node, struct slot, by_uuid)->uuid, uuid))
            return container_of(node, struct slot, by_uuid);
    return NULL;
}

struct slot *slot_of_uuid(const struct core *core, const struct uuid *uuid)
{
    return with_uuid(core, hash_first(&core->tables.slot_uuids, key_of_uuid(core, uuid)), uuid);
}

struct slot *slot_next_of_uuid(const struct slot *s)
{
    return with_uuid(s->core, hash_next(&s->core->tables.slot_uuids, &s->by_uuid), &s->uuid);
}

bool slot_has_mac_key(const struct core *core, uint32_t key)
{
    const struct hash *table = &core->tables.slot_mac_keys;
    struct hash_node *node = hash_first(table, key_of_number(core, key));
    while (node && mac_key(&container_of(node, struct slot, by_mac_key)->uuid) != key)
        node = hash_next(table, node);
    return node != NULL;
}

struct slot *slot_leased_as(const struct core *core, uint64_t domid)
{
    const struct hash *table = &core->tables.slot_domids;
    struct hash_node *node = hash_first(table, key_of_number(core, domid));
    for (; node; node = hash_next(table, node)) {
        struct slot *s = container_of(node, struct slot, by_domid);
        if (s->domid == (int64_t)domid && slot_is_leased(s) && s->state != SLOT_SAVED)
            return s;
    }
    return NULL;
}

/* ---- its domain ---- */

void slot_set_domid(struct slot *s, int64_t domid)
{
    struct hash *table = &s->core->tables.slot_domids;
    hash_remove(table, &s->by_domid);
    s->domid = domid;
    if (domid != DB_NO_DOMID)
        hash_put(table, &s->by_domid, key_of_number(s->core, (uint64_t)domid));
}

void slot_set_fault(struct slot *s, const char *why)
{
    format_fits(s->fault, sizeof s->fault, "%s", why);
    s->core->faulty++;
}

/* True when d is the slot's domain: same UUID, and same domid unless xl may have given it a new
 * one. */
static bool slot_has_domain(const struct slot *s, const struct host_domain *d)
{
    if (!uuid_equal(&d->uuid, &s->uuid))
        return false;
    return s->domid == DB_NO_DOMID || slot_is_leased(s) || s->domid == (int64_t)d->domid;
}

const struct host_domain *slot_find_domain(const struct slot *s)
{
    const struct domain_list *l = &s->core->listing.domains;
    const struct host_domain *found = NULL, *d = domain_list_first(l, &s->uuid);
    for (; d; d = domain_list_next(l, d))
        if (slot_has_domain(s, d) && (!found || d->state != HOST_DOMAIN_DYING))
            found = d;
    return found;
}

void slot_restored(struct slot *s, const struct host_domain *d)
{
    log_info("slot s%" PRIu64 ": its saved domain is back as domain %u", s->id, d->domid);
    slot_set_domid(s, d->domid);
    s->suspended = true; /* until it has run: a restore that fails is no end of the lease */
    if (s->state == SLOT_SAVED) {
        slot_move(s, SLOT_LEASED, NULL, NULL);
        return;
    }
    struct rows *r = rows_new(s->core);
    slot_put(s, r);
    rows_commit(s->core, r, NULL, NULL);
}

void slot_keep(struct slot *s, const char *why)
{
    char reason[DB_REASON_SIZE];
    if (s->state == SLOT_KEPT)
        return;
    format_fits(reason, sizeof reason, "%s: its guest has ended, its domain is kept", why);
    log_info("slot s%" PRIu64 ", domain %" PRId64 " (%s): %s until the lease ends", s->id, s->domid,
             s->name, reason);
    slot_move(s, SLOT_KEPT, NULL, reason);
}

/* What a lease brings with it is between its owner and root. */
static json_t *slot_to_json_outside(const struct slot *s)
{
    return json_pack("{s:o, s:s, s:s, s:o, s:n, s:s, s:s, s:I, s:n, s:n}", "slot",
                     show_id('s', s->id), "image", image_name(s), "state",
                     slot_state_name(s->state), "engine", show_text(s->engine), "domid", "uuid", "",
                     "name", "", "since_ms", (json_int_t)s->since_ms, "lease", "reason");
}

json_t *slot_to_json(const struct slot *s, bool inside)
{
    if (!inside && s->state != SLOT_BUILDING && s->state != SLOT_WARM)
        return slot_to_json_outside(s);
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:s, s:I, s:o, s:o}", "slot",
                     show_id('s', s->id), "image", image_name(s), "state",
                     slot_state_name(s->state), "engine", show_text(s->engine), "domid",
                     s->domid == DB_NO_DOMID ? json_null() : json_integer(s->domid), "uuid",
                     show_uuid(&s->uuid), "name", s->name, "since_ms", (json_int_t)s->since_ms,
                     "lease", s->lease ? show_id('l', s->lease_id) : json_null(), "reason",
                     show_text(s->reason[0] ? s->reason : s->fault));
}
