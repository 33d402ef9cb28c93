/* Traces of leases: see lease_trace.h. In the order in which a trace lives. */
#include "pool/core/lease_trace.h"

#include "base/log.h"
#include "base/message.h"
#include "pool/service/varlink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>

#define STAGES_MAX 64
#define WORD_MAX 31
#define US_MAX (10ll * 365 * 86400 * 1000000) /* as base/util.h parses durations */

/* ---- recording ---- */

static json_t *stage(const char *name, uint64_t us)
{
    return json_pack("{s:s, s:I, s:i, s:i}", "name", name, "us", (json_int_t)us, "hypercalls", 0,
                     "pages", 0);
}

/* What passes between us and the helper: all that the helper did not count as its own. */
static uint64_t between_us(const struct lease *l)
{
    uint64_t span = l->completed_us - l->picked_us;
    return l->helper_us < span ? span - l->helper_us : 0;
}

/* Of that, what passed before the helper began. One that does not say when has it all. */
static uint64_t handover_us(const struct lease *l)
{
    uint64_t all = between_us(l);
    if (!l->helper_start_us)
        return all;
    if (l->helper_start_us < l->picked_us)
        return 0;
    uint64_t before = l->helper_start_us - l->picked_us;
    return before < all ? before : all;
}

static const char *first_stage(const struct lease *l)
{
    return l->cold ? "wait" : "pick";
}

/* As in restore/trace.h. */
static void probe(const struct lease *l, const char *name, uint64_t us)
{
    DTRACE_PROBE6(dompool, stage, "allocate", name, us, (uint64_t)0, (uint64_t)0, l->slot->domid);
}

void lease_probe_picked(const struct lease *l)
{
    probe(l, first_stage(l), l->picked_us - l->received_us);
}

void lease_probe_completed(const struct lease *l)
{
    probe(l, "handover", handover_us(l));
    probe(l, "return", between_us(l) - handover_us(l));
}

void lease_probe_replied(const struct lease *l)
{
    probe(l, "commit", l->replied_us - l->completed_us);
}

json_t *lease_stages(const struct lease *l, uint64_t replied_us)
{
    json_t *stages = json_array();
    if (!stages ||
        json_array_append_new(stages, stage(first_stage(l), l->picked_us - l->received_us)) ||
        json_array_append_new(stages, stage("handover", handover_us(l))) ||
        (l->stages && json_array_extend(stages, l->stages)) ||
        json_array_append_new(stages, stage("return", between_us(l) - handover_us(l))) ||
        json_array_append_new(stages, stage("commit", replied_us - l->completed_us))) {
        json_decref(stages);
        return NULL;
    }
    return stages;
}

static json_t *trace_json(const struct lease *l)
{
    const struct slot *s = l->slot;
    return json_pack(
        "{s:o, s:I, s:s, s:s, s:i, s:I, s:I, s:o}", "slot", json_sprintf("s%" PRIu64, s->id),
        "domid", (json_int_t)s->domid, "engine", s->engine, "from", l->cold ? "cold" : "warm",
        "retries", (int)l->tries, "delta_pages", (json_int_t)l->delta_pages, "total_us",
        (json_int_t)(l->replied_us - l->received_us), "stages", lease_stages(l, l->replied_us));
}

/* *text: malloc'd, for the row. */
static int trace_encode(const struct lease *l, char **text, struct error *e)
{
    json_t *trace = trace_json(l);
    size_t len = 0;
    int rc = trace ? lease_trace_check(trace, e) : error_set(e, -ENOMEM, "out of memory");
    if (!rc) {
        *text = message_encode(trace, &len);
        if (!*text)
            rc = error_set(e, -ENOMEM, "out of memory");
        else if (len > DB_TRACE_SIZE)
            rc = error_set(e, -EMSGSIZE, "it has %zu bytes", len);
    }
    json_decref(trace);
    return rc;
}

void lease_trace_record(struct lease *l)
{
    struct error e;
    char *text = NULL;
    if (!l->trace_due)
        return;
    l->trace_due = false;
    if (trace_encode(l, &text, &e)) {
        log_warning("lease l%" PRIu64 ": its trace is not kept: %s", l->id, e.text);
        free(text);
        text = NULL;
    }
    l->trace = text;
    json_decref(l->stages); /* from here on they are in the text */
    l->stages = NULL;
}

/* ---- checking ---- */

static bool word_valid(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= WORD_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool slot_valid(const char *text)
{
    uint64_t id;
    return text[0] == 's' && !number_parse(text + 1, 1, INT64_MAX, &id);
}

static int stage_check(json_t *v, struct error *e)
{
    const char *name;
    json_int_t us, hypercalls, pages;
    json_error_t why;
    if (json_unpack_ex(v, &why, JSON_STRICT, "{s:s, s:I, s:I, s:I}", "name", &name, "us", &us,
                       "hypercalls", &hypercalls, "pages", &pages))
        return error_set(e, -EUCLEAN, "a stage is malformed: %s", why.text);
    if (!word_valid(name) || us < 0 || us > US_MAX || hypercalls < 0 || pages < 0)
        return error_set(e, -EUCLEAN, "stage %.40s has a value out of range", name);
    return 0;
}

static int stages_check(const json_t *stages, struct error *e)
{
    size_t i;
    json_t *v;
    if (!json_is_array(stages) || !json_array_size(stages) || json_array_size(stages) > STAGES_MAX)
        return error_set(e, -EUCLEAN, "it has no list of 1 to %d stages", STAGES_MAX);
    json_array_foreach ((json_t *)(uintptr_t)stages, i, v) {
        int rc = stage_check(v, e);
        if (rc)
            return rc;
    }
    return 0;
}

int lease_trace_check(const json_t *trace, struct error *e)
{
    const char *slot, *engine, *from;
    json_int_t domid, retries, delta, total;
    json_t *stages;
    json_error_t why;
    if (json_unpack_ex((json_t *)(uintptr_t)trace, &why, JSON_STRICT,
                       "{s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:o}", "slot", &slot, "domid", &domid,
                       "engine", &engine, "from", &from, "retries", &retries, "delta_pages", &delta,
                       "total_us", &total, "stages", &stages))
        return error_set(e, -EUCLEAN, "it is malformed: %s", why.text);
    if (!slot_valid(slot) || !word_valid(engine) || !word_valid(from))
        return error_set(e, -EUCLEAN, "its slot, engine or origin is none");
    if (domid < 0 || domid > UINT16_MAX || retries < 0 || retries > UINT32_MAX || delta < 0 ||
        total < 0 || total > US_MAX)
        return error_set(e, -EUCLEAN, "a number is out of range");
    return stages_check(stages, e);
}

/* ---- showing ---- */

/* One call of Trace that waits for its lease to be read. */
struct trace_call {
    struct call *call; /* NULL: gone */
    char what[DB_NAME_SIZE + 16];
    struct lease_lookup lookup;
};

static void trace_cancelled(struct call *call)
{
    ((struct trace_call *)call->owner)->call = NULL;
}

/* Whom the name means; false when it can be no lease's. Numbers are domids, and those are the
 * living leases' alone: Xen gives them again. */
static bool trace_target(const struct core *core, const char *what, struct lease_lookup *f)
{
    const struct lease *l = lease_find(core, what);
    if (l)
        f->id = l->id;
    else if (what[0] != 'l' || number_parse(what + 1, 1, INT64_MAX, &f->id))
        return name_valid(what) && format_fits(f->name, sizeof f->name, "%s", what);
    return true;
}

static int unknown(struct error *e, const char *what)
{
    return error_set(e, ANSWER_NO_SUCH_LEASE, "no lease, domain name or domid matches %.80s", what);
}

/* The row's part of the answer. NULL: no memory, or a text in it is not UTF-8. */
static json_t *row_json(const struct lease_row *r)
{
    return json_pack("{s:o, s:s, s:s, s:I, s:I, s:o, s:o}", "lease",
                     json_sprintf("l%" PRIu64, r->id), "image", r->image, "name", r->name,
                     "owner_uid", (json_int_t)r->owner_uid, "created_ms", (json_int_t)r->created_ms,
                     "ended_ms", r->ended_ms ? json_integer(r->ended_ms) : json_null(),
                     "end_reason", r->ended_ms ? json_string(r->end_reason) : json_null());
}

/* A row is checked when it is read, whoever has written it. *reply: new reference. */
static int trace_answer(const struct lease_row *r, json_t **reply, struct error *e)
{
    json_error_t why;
    json_t *trace = json_loads(r->trace, JSON_REJECT_DUPLICATES, &why);
    int rc = trace ? lease_trace_check(trace, e) : error_set(e, -EUCLEAN, "%s", why.text);
    if (!rc) {
        json_t *whole = row_json(r);
        if (whole && !json_object_update(whole, trace))
            *reply = json_incref(whole);
        json_decref(whole);
        if (!*reply)
            rc = error_set(e, -EUCLEAN, "its row is malformed, or there is no memory for it");
    }
    json_decref(trace);
    if (rc)
        error_prefix(e, "the trace of lease l%" PRIu64 " in the database is damaged: ", r->id);
    return rc;
}

static int trace_outcome(const struct trace_call *t, json_t **reply, struct error *e)
{
    const struct lease_lookup *lookup = &t->lookup;
    if (lookup->rc)
        return error_set(e, lookup->rc, "%s", lookup->error.text);
    if (!lookup->found)
        return unknown(e, t->what);
    if (!lookup->row.trace)
        return error_set(e, ANSWER_NO_TRACE,
                         "no trace of lease l%" PRIu64 " was kept: it is from before traces were, "
                         "or the daemon ended right after it was given, or its log says why",
                         lookup->row.id);
    return trace_answer(&lookup->row, reply, e);
}

static void trace_found(void *owner, int rc, const struct error *e)
{
    struct trace_call *t = owner;
    struct error why = *e;
    json_t *reply = NULL;
    if (!rc && t->call)
        rc = trace_outcome(t, &reply, &why);
    if (t->call && rc)
        call_refuse(t->call, rc, why.text);
    else if (t->call)
        call_reply(t->call, reply);
    free(t->lookup.row.trace);
    free(t);
}

const struct answered *lease_trace_show(struct core *core, struct call *call, const char *what)
{
    if (core->state == CORE_STOPPING)
        return call_refuse(call, ANSWER_STOPPING, "the daemon is shutting down");
    struct lease_lookup lookup = {0};
    struct error e;
    if (!trace_target(core, what, &lookup)) {
        int rc = unknown(&e, what);
        return call_refuse(call, rc, e.text);
    }
    struct trace_call *t = calloc(1, sizeof *t);
    struct rows *r = t ? rows_new(core) : NULL;
    if (!r) {
        free(t);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    format_fits(t->what, sizeof t->what, "%.*s", (int)sizeof t->what - 1, what);
    t->lookup = lookup;
    t->call = call;
    const struct answered *deferred = call_defer(call, trace_cancelled, t);
    rows_traces(core); /* read is what has been written */
    rows_lease_lookup(r, &t->lookup);
    rows_commit(core, r, trace_found, t);
    return deferred;
}
