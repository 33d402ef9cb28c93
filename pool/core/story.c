/* Stories of requests: see story.h. In the order in which a trace lives. */
#include "pool/core/story.h"

#include "base/log.h"
#include "base/message.h"
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>

#define STAGES_MAX 64
#define WORD_MAX 31
#define US_MAX (10ll * 365 * 86400 * 1000000) /* as base/units.h parses durations */

/* ---- recording ---- */

static json_t *stage(const char *name, uint64_t us)
{
    return json_pack("{s:s, s:I, s:i, s:i}", "name", name, "us", (json_int_t)us, "hypercalls", 0,
                     "pages", 0);
}

/* What passes between us and the helper: all that the helper did not count as its own. */
static uint64_t between_us(const struct story *st)
{
    uint64_t span = st->completed_us - st->picked_us;
    return st->helper_us < span ? span - st->helper_us : 0;
}

/* The part before the helper started; all of it if the helper gave no start time. */
static uint64_t handover_us(const struct story *st)
{
    uint64_t all = between_us(st);
    if (!st->helper_start_us)
        return all;
    if (st->helper_start_us < st->picked_us)
        return 0;
    uint64_t before = st->helper_start_us - st->picked_us;
    return before < all ? before : all;
}

static const char *first_stage(const struct story *st)
{
    return st->cold ? "wait" : "pick";
}

/* As in restore/engine/trace.h. */
static void probe(const struct slot *s, const char *name, uint64_t us)
{
    DTRACE_PROBE6(dompool, stage, "allocate", name, us, (uint64_t)0, (uint64_t)0, s->domid);
}

void story_dispose(struct story *st)
{
    json_decref(st->stages);
    free(st->trace);
}

void story_completed(struct story *st, const struct completion *c, uint64_t now_us)
{
    st->completed_us = now_us;
    st->delta_pages = c->delta_pages;
    st->helper_start_us = c->start_us;
    st->helper_us = c->total_us;
    st->stages = json_incref(c->stages);
}

void story_probe_picked(const struct story *st, const struct slot *s)
{
    probe(s, first_stage(st), st->picked_us - st->received_us);
}

void story_probe_completed(const struct story *st, const struct slot *s)
{
    probe(s, "handover", handover_us(st));
    probe(s, "return", between_us(st) - handover_us(st));
}

void story_probe_replied(const struct story *st, const struct slot *s)
{
    probe(s, "commit", st->replied_us - st->completed_us);
}

json_t *story_stages(const struct story *st, uint64_t replied_us)
{
    json_t *stages = json_array();
    if (!stages ||
        json_array_append_new(stages, stage(first_stage(st), st->picked_us - st->received_us)) ||
        json_array_append_new(stages, stage("handover", handover_us(st))) ||
        (st->stages && json_array_extend(stages, st->stages)) ||
        json_array_append_new(stages, stage("return", between_us(st) - handover_us(st))) ||
        json_array_append_new(stages, stage("commit", replied_us - st->completed_us))) {
        json_decref(stages);
        return NULL;
    }
    return stages;
}

static json_t *trace_json(const struct story *st, const struct slot *s)
{
    return json_pack(
        "{s:o, s:I, s:s, s:s, s:i, s:I, s:I, s:o}", "slot", json_sprintf("s%" PRIu64, s->id),
        "domid", (json_int_t)s->domid, "engine", s->engine, "from", st->cold ? "cold" : "warm",
        "retries", (int)st->tries, "delta_pages", (json_int_t)st->delta_pages, "total_us",
        (json_int_t)(st->replied_us - st->received_us), "stages", story_stages(st, st->replied_us));
}

/* *text: malloc'd, for the row. */
static int trace_encode(const struct story *st, const struct slot *s, char **text, struct error *e)
{
    json_t *trace = trace_json(st, s);
    size_t len = 0;
    int rc = trace ? story_check(trace, e) : error_set(e, -ENOMEM, "out of memory");
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

void story_record(struct story *st, const struct slot *s)
{
    struct error e;
    char *text = NULL;
    if (!st->trace_due)
        return;
    st->trace_due = false;
    if (trace_encode(st, s, &text, &e)) {
        log_warning("lease l%" PRIu64 ": its trace is not kept: %s", s->lease_id, e.text);
        free(text);
        text = NULL;
    }
    st->trace = text;
    json_decref(st->stages); /* from here on they are in the text */
    st->stages = NULL;
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

int story_check(const json_t *trace, struct error *e)
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
