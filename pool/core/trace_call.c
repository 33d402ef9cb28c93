/* The method Trace: see trace_call.h. */
#include "pool/core/trace_call.h"

#include "base/text.h"
#include "base/units.h"
#include "pool/core/lease_find.h"
#include "pool/core/rows.h"
#include "pool/service/pending.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One call of Trace that waits for its lease to be read. */
struct trace_query {
    struct pending pending;
    char what[DB_NAME_SIZE + 16];
    uid_t uid; /* who asks */
    struct lease_lookup lookup;
};

/* Whom the name means; false when it can be no lease's. Numbers are domids, and those are the
 * living leases' alone: Xen gives them again. */
static bool trace_target(const struct core *core, const char *what, struct lease_lookup *f)
{
    const struct lease *l = lease_find(core, what);
    if (l)
        f->id = l->label.id;
    else if (what[0] != 'l' || number_parse(what + 1, 1, INT64_MAX, &f->id))
        return name_valid(what) && format_fits(f->name, sizeof f->name, "%s", what);
    return true;
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
    int rc = trace ? story_check(trace, e) : error_set(e, -EUCLEAN, "%s", why.text);
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

static int trace_outcome(const struct trace_query *t, json_t **reply, struct error *e)
{
    const struct lease_lookup *lookup = &t->lookup;
    if (lookup->rc)
        return error_set(e, lookup->rc, "%s", lookup->error.text);
    if (!lookup->found)
        return lease_unknown(t->what, e);
    if (t->uid && lookup->row.owner_uid != t->uid)
        return lease_not_yours(lookup->row.id, e);
    if (!lookup->row.trace)
        return error_set(e, ANSWER_NO_TRACE,
                         "no trace of lease l%" PRIu64 " was kept: it is from before traces were, "
                         "or the daemon ended right after it was given, or its log says why",
                         lookup->row.id);
    return trace_answer(&lookup->row, reply, e);
}

static void trace_found(void *owner, int rc, const struct error *e)
{
    struct trace_query *t = owner;
    struct error why = *e;
    json_t *reply = NULL;
    if (!rc && pending_waits(&t->pending))
        rc = trace_outcome(t, &reply, &why);
    if (rc)
        pending_refuse(&t->pending, rc, why.text);
    else
        pending_reply(&t->pending, reply);
    free(t->lookup.row.trace);
    free(t);
}

const struct answered *trace_call(struct core *core, struct call *call, const char *what)
{
    struct lease_lookup lookup = {.owner_uid = call->conn->uid};
    struct error e;
    if (core_running(core, &e) || (!trace_target(core, what, &lookup) && lease_unknown(what, &e)))
        return call_refuse(call, e.code, e.text);
    struct trace_query *t = calloc(1, sizeof *t);
    struct rows *r = t ? rows_new(core) : NULL;
    if (!r) {
        free(t);
        return call_refuse(call, -ENOMEM, "out of memory");
    }
    format_fits(t->what, sizeof t->what, "%.*s", (int)sizeof t->what - 1, what);
    t->uid = call->conn->uid;
    t->lookup = lookup;
    const struct answered *deferred = pending_begin(&t->pending, call, NULL);
    leases_put_traces(core); /* a row can only be read after it was written */
    rows_add(r, DB_LEASE_FIND)->lookup = &t->lookup;
    rows_commit(core, r, trace_found, t);
    return deferred;
}
