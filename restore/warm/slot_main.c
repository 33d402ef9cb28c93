/*
 * dompool-slot: the helper process of one slot. Protocol: restore/protocol/slot_protocol.h.
 *
 * It builds the slot, turns it into another version of its image when told to, and waits for the
 * message that completes it and then for the one that lets it go. It never destroys a domain. On
 * the way out it undoes nothing: the kernel drops its mappings and descriptors faster than we
 * could.
 */
#include "base/array.h"
#include "base/log.h"
#include "base/message.h"
#include "base/thread.h"
#include "restore/protocol/parent.h"
#include "restore/protocol/protocol.h"
#include "restore/protocol/slot_protocol.h"
#include "restore/protocol/unreadable.h"
#include "restore/warm/warm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Which requests may come next: see requests. */
enum phase { PHASE_NEW, PHASE_WARM, PHASE_COMPLETED, PHASE_LEFT };

struct slot_process {
    struct warm warm;
    struct message_reader reader;
    enum phase phase;
};

static int send_created(struct warm *w, void *data)
{
    const struct slot_created_event m = {w->domid};
    (void)data;
    return parent_tell(shape_encode(&slot_created_event_shape, &m), NULL);
}

static struct macs macs_of(const struct warm *w)
{
    struct macs macs = {0};
    for (size_t i = 0; i < w->n_nics; i++)
        macs.at[macs.n++] = w->nics[i].mac;
    return macs;
}

static int send_warm(const struct warm *w, struct error *e)
{
    const struct macs macs = macs_of(w);
    const struct slot_warm_event m = {
        .domid = w->target.domid,
        .engine = w->engine->name,
        .macs = macs_to_json(&macs),
        .stages = trace_to_json(&w->target.trace),
    };
    json_t *message = m.macs && m.stages ? shape_encode(&slot_warm_event_shape, &m) : NULL;
    json_decref(m.macs);
    json_decref(m.stages);
    return parent_tell(message, e);
}

static int send_completed(const struct warm *w, const struct warm_outcome *o, struct error *e)
{
    const struct slot_completed_event m = {
        .domid = w->target.domid,
        .delta_pages = (int64_t)o->delta_pages,
        .start_us = (int64_t)w->target.trace.start_us,
        .total_us = (int64_t)trace_total_us(&w->target.trace),
        .stages = trace_to_json(&w->target.trace),
    };
    json_t *message = m.stages ? shape_encode(&slot_completed_event_shape, &m) : NULL;
    json_decref(m.stages);
    return parent_tell(message, e);
}

/* shape: of "failed", "refused" or "unusable" */
static int send_failure(const struct warm *w, const struct shape *shape, int rc,
                        const struct error *e)
{
    const struct slot_failed_event m = {
        .answer = answer_name(rc),
        .error = e->text,
        .stage = w->target.trace.step ? w->target.trace.step : "start",
    };
    log_warning("%s (stage %s)", e->text, m.stage);
    return parent_tell(shape_encode(shape, &m), NULL);
}

static int build(struct slot_process *p, const json_t *request, struct error *e)
{
    struct slot_build_op m;
    if (shape_decode(&slot_build_op_shape, request, &m, e))
        return e->code;
    if (m.memory_reserve_kib < 0 || m.cow_max_bytes < 0)
        return error_set(e, -EPROTO, "the message \"build\": a number is below 0");
    enum mac_rule mac = MAC_GENERATED;
    if (m.mac && mac_rule_parse(m.mac, &mac))
        return error_set(e, -EPROTO, "the message \"build\": there is no rule %.40s for MACs",
                         m.mac);
    const struct warm_request r = {
        .slot = m.slot,
        .uuid = m.uuid,
        .name = m.name,
        .image_path = m.image,
        .engine = m.engine,
        .tag = m.tag,
        .cow_dir = m.cow_dir,
        .cow_max = (uint64_t)m.cow_max_bytes,
        .memory_reserve_kib = (uint64_t)m.memory_reserve_kib,
        .nics = {mac, m.vif_isolation, m.vif_filter, m.vif_script},
    };
    background_group(true);
    int rc = warm_build(&p->warm, &r, send_created, NULL, e);
    background_group(false);
    if (rc)
        error_prefix(e, "slot %s: ", r.slot);
    return rc ? rc : send_warm(&p->warm, e);
}

static int complete(struct slot_process *p, const json_t *request, struct error *e)
{
    struct slot_complete_op m;
    struct warm_outcome outcome = {0};
    if (shape_decode(&slot_complete_op_shape, request, &m, e))
        return e->code;
    struct mac mac;
    if (m.mac && mac_parse(m.mac, &mac))
        return error_set(e, -EPROTO, "the message \"complete\": malformed MAC address");
    const struct warm_wish wish = {m.image, m.name, m.mac ? &mac : NULL, m.paused};
    int rc = warm_complete(&p->warm, &wish, &outcome, e);
    if (!rc)
        return send_completed(&p->warm, &outcome, e);
    if (p->warm.unusable) {
        p->phase = PHASE_LEFT;
        return send_failure(&p->warm, &slot_unusable_event_shape, rc, e);
    }
    if (!p->warm.target.untouched)
        return rc;
    p->phase = PHASE_WARM;
    return send_failure(&p->warm, &slot_refused_event_shape, rc, e);
}

static int turn(struct slot_process *p, const json_t *request, struct error *e)
{
    struct slot_turn_op m;
    if (shape_decode(&slot_turn_op_shape, request, &m, e))
        return e->code;
    background_group(true);
    int rc = warm_turn(&p->warm, m.image, e);
    background_group(false);
    return rc ? rc : send_warm(&p->warm, e);
}

static int expect(struct slot_process *p, const json_t *request, struct error *e)
{
    struct slot_expect_op m;
    const char *paths[EXPECTED_MAX];
    if (shape_decode(&slot_expect_op_shape, request, &m, e))
        return e->code;
    size_t n = json_array_size(m.images);
    if (n > ARRAY_SIZE(paths))
        return error_set(e, -EPROTO, "the message \"expect\" has more than %u images",
                         EXPECTED_MAX);
    for (size_t i = 0; i < n; i++)
        if (!(paths[i] = json_string_value(json_array_get(m.images, i))))
            return error_set(e, -EPROTO, "the message \"expect\": image %zu is no text", i);
    if (warm_prefetch(&p->warm, paths, n, e))
        log_warning("%s", e->text); /* nothing depends on it */
    return 0;
}

static int leave(struct slot_process *p, const json_t *request, struct error *e)
{
    (void)request;
    if (warm_leave(&p->warm, e))
        log_warning("%s: it has no console until the daemon is restarted", e->text);
    background_group(true); /* somebody's domain has begun to run, and the kernel unmaps much */
    return 0;
}

static int set_log(const json_t *request, struct error *e)
{
    struct slot_log_op m;
    enum log_level level;
    if (shape_decode(&slot_log_op_shape, request, &m, e))
        return e->code;
    if (log_level_parse(m.level, &level))
        return error_set(e, -EPROTO, "the message \"log\": no level is called %.40s", m.level);
    log_set_level(level);
    return 0;
}

/* A slot is built once, turned and told what to expect any number of times, and completed once.
 * Then it goes. */
static const struct {
    const struct shape *shape;
    enum phase from, to;
    int (*run)(struct slot_process *, const json_t *, struct error *);
} requests[] = {
    {&slot_build_op_shape, PHASE_NEW, PHASE_WARM, build},
    {&slot_turn_op_shape, PHASE_WARM, PHASE_WARM, turn},
    {&slot_expect_op_shape, PHASE_WARM, PHASE_WARM, expect},
    {&slot_complete_op_shape, PHASE_WARM, PHASE_COMPLETED, complete},
    {&slot_leave_op_shape, PHASE_COMPLETED, PHASE_LEFT, leave},
};

static int request_run(struct slot_process *p, const json_t *request, struct error *e)
{
    if (shape_is(&slot_log_op_shape, request))
        return set_log(request, e);
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        if (!shape_is(requests[i].shape, request) || requests[i].from != p->phase)
            continue;
        p->phase = requests[i].to;
        return requests[i].run(p, request, e);
    }
    const char *op = json_string_value(json_object_get(request, "op"));
    return error_set(e, -EPROTO, "the request %s was not expected now", op ? op : "without op");
}

static bool request_waits(const struct slot_process *p)
{
    struct pollfd fd = {.fd = HELPER_FD, .events = POLLIN};
    return message_reader_waiting(&p->reader) || poll(&fd, 1, 0) != 0;
}

/* Nobody asks for anything: prefetches for a completion. */
static void use_time(struct slot_process *p)
{
    background_group(true);
    while (!request_waits(p) && warm_prepare(&p->warm))
        ;
    background_group(false);
}

static int serve(struct slot_process *p, struct error *e)
{
    int rc = 0;
    while (!rc && p->phase != PHASE_LEFT) {
        json_t *request;
        if (p->phase == PHASE_WARM)
            use_time(p);
        rc = message_receive(HELPER_FD, &p->reader, &request, e);
        if (rc == 0)
            return error_set(e, -ESHUTDOWN, "the daemon has gone");
        if (rc < 0)
            return rc;
        rc = request_run(p, request, e);
        json_decref(request);
    }
    return rc;
}

int main(int argc, char **argv)
{
    (void)argv;
    const char *level = getenv(HELPER_LEVEL_VARIABLE);
    enum log_level max = LOG_LEVEL_INFO;
    if (level)
        log_level_parse(level, &max);
    log_init("dompool-slot", max);
    signal(SIGPIPE, SIG_IGN);
    if (argc != 1 || !parent_attach(SIGKILL)) {
        fprintf(stderr, "dompool-slot is started by dompoold, with a socket as descriptor %d\n",
                HELPER_FD);
        return 64;
    }
    (void)setpgid(0, 0); /* for background_group */
    unreadable_report(HELPER_FD);
    struct slot_process p = {.warm.target.domid = DOMID_INVALID};
    message_reader_init(&p.reader, HELPER_MESSAGE_LIMIT);
    struct error e = {0};
    int rc = serve(&p, &e);
    if (rc && rc != -ESHUTDOWN)
        (void)send_failure(&p.warm, &slot_failed_event_shape, rc, &e);
    _exit(rc ? 1 : 0); /* no unmapping: see above */
}
