/*
 * dompool-slot: the helper process of one slot. Protocol: restore/protocol/slot_protocol.h.
 *
 * It builds the slot, turns it into another version of its image when told to, waits for the one
 * message that completes it, and for the one that lets it go.
 * It never destroys a domain, and it undoes nothing on the way out: the
 * kernel drops its mappings and descriptors faster than we could.
 */
#include "base/log.h"
#include "base/message.h"
#include "base/util.h"
#include "restore/protocol/parent.h"
#include "restore/protocol/protocol.h"
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

struct helper {
    struct warm warm;
    struct message_reader reader;
    enum phase phase;
};

static int send_created(struct warm *w, void *data)
{
    (void)data;
    return parent_tell(json_pack("{s:s, s:i}", "event", "created", "domid", (int)w->target.domid),
                       NULL);
}

static int send_warm(const struct warm *w, struct error *e)
{
    return parent_tell(json_pack("{s:s, s:i, s:s, s:o}", "event", "warm", "domid",
                                 (int)w->target.domid, "engine", w->engine->name, "stages",
                                 trace_to_json(&w->target.trace)),
                       e);
}

static int send_completed(const struct warm *w, const struct warm_outcome *o, struct error *e)
{
    return parent_tell(json_pack("{s:s, s:i, s:I, s:I, s:I, s:o}", "event", "completed", "domid",
                                 (int)w->target.domid, "delta_pages", (json_int_t)o->delta_pages,
                                 "start_us", (json_int_t)w->target.trace.start_us, "total_us",
                                 (json_int_t)trace_total_us(&w->target.trace), "stages",
                                 trace_to_json(&w->target.trace)),
                       e);
}

/* event: "failed", or "refused" */
static int send_failure(const struct warm *w, const char *event, int rc, const struct error *e)
{
    const char *step = w->target.step ? w->target.step : "start";
    log_warning("%s (stage %s)", e->text, step);
    return parent_tell(json_pack("{s:s, s:s, s:s, s:s}", "event", event, "answer", answer_name(rc),
                                 "error", e->text, "stage", step),
                       NULL);
}

static int build(struct helper *h, json_t *request, struct error *e)
{
    struct warm_request r = {0};
    json_int_t reserve = 0;
    json_error_t why;
    if (json_unpack_ex(request, &why, 0, "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s?I}", "slot",
                       &r.slot, "uuid", &r.uuid, "name", &r.name, "image", &r.image_path, "engine",
                       &r.engine, "tag", &r.tag, "cow_dir", &r.cow_dir, "memory_reserve_kib",
                       &reserve) ||
        reserve < 0)
        return error_set(e, -EPROTO, "malformed build request: %s", why.text);
    r.memory_reserve_kib = (uint64_t)reserve;
    background_group(true);
    int rc = warm_build(&h->warm, &r, send_created, NULL, e);
    background_group(false);
    if (rc)
        error_prefix(e, "slot %s: ", r.slot);
    return rc ? rc : send_warm(&h->warm, e);
}

static int complete(struct helper *h, json_t *request, struct error *e)
{
    const char *image, *name;
    int paused = 0;
    json_error_t why;
    if (json_unpack_ex(request, &why, 0, "{s:s, s:s, s?b}", "image", &image, "name", &name,
                       "paused", &paused))
        return error_set(e, -EPROTO, "malformed complete request: %s", why.text);
    struct warm_outcome outcome = {0};
    int rc = warm_complete(&h->warm, image, name, paused, &outcome, e);
    if (!rc)
        return send_completed(&h->warm, &outcome, e);
    if (!h->warm.target.untouched)
        return rc;
    h->phase = PHASE_WARM;
    return send_failure(&h->warm, "refused", rc, e);
}

static int turn(struct helper *h, json_t *request, struct error *e)
{
    const char *image;
    json_error_t why;
    if (json_unpack_ex(request, &why, 0, "{s:s}", "image", &image))
        return error_set(e, -EPROTO, "malformed turn request: %s", why.text);
    background_group(true);
    int rc = warm_turn(&h->warm, image, e);
    background_group(false);
    return rc ? rc : send_warm(&h->warm, e);
}

static int expect(struct helper *h, json_t *request, struct error *e)
{
    const json_t *images = json_object_get(request, "images");
    const char *paths[EXPECTED_MAX];
    size_t n = json_array_size(images);
    if (!json_is_array(images) || n > ARRAY_SIZE(paths))
        return error_set(e, -EPROTO, "malformed expect request: no images, or more than %u",
                         EXPECTED_MAX);
    for (size_t i = 0; i < n; i++)
        if (!(paths[i] = json_string_value(json_array_get(images, i))))
            return error_set(e, -EPROTO, "malformed expect request: image %zu is no text", i);
    if (warm_prefetch(&h->warm, paths, n, e))
        log_warning("%s", e->text); /* nothing depends on it */
    return 0;
}

static int leave(struct helper *h, json_t *request, struct error *e)
{
    (void)request;
    if (warm_leave(&h->warm, e))
        log_warning("%s: it has no console until the daemon is restarted", e->text);
    background_group(true); /* somebody's domain has begun to run, and the kernel unmaps much */
    return 0;
}

/* A slot is built once, turned and told what to expect any number of times, completed once; then it
 * goes. */
static const struct {
    const char *op;
    enum phase from, to;
    int (*run)(struct helper *, json_t *, struct error *);
} requests[] = {
    {"build", PHASE_NEW, PHASE_WARM, build},
    {"turn", PHASE_WARM, PHASE_WARM, turn},
    {"expect", PHASE_WARM, PHASE_WARM, expect},
    {"complete", PHASE_WARM, PHASE_COMPLETED, complete},
    {"leave", PHASE_COMPLETED, PHASE_LEFT, leave},
};

static int request_run(struct helper *h, json_t *request, struct error *e)
{
    const char *op = json_string_value(json_object_get(request, "op"));
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        if (!op || strcmp(op, requests[i].op) != 0 || requests[i].from != h->phase)
            continue;
        h->phase = requests[i].to;
        return requests[i].run(h, request, e);
    }
    return error_set(e, -EPROTO, "the request %s does not come now", op ? op : "without op");
}

static bool request_waits(const struct helper *h)
{
    struct pollfd p = {.fd = HELPER_FD, .events = POLLIN};
    return h->reader.used || poll(&p, 1, 0) != 0;
}

/* Nobody asks for anything: time for what a completion will be glad of. */
static void use_time(struct helper *h)
{
    background_group(true);
    while (!request_waits(h) && warm_prepare(&h->warm))
        ;
    background_group(false);
}

static int serve(struct helper *h, struct error *e)
{
    int rc = 0;
    while (!rc && h->phase != PHASE_LEFT) {
        json_t *request;
        if (h->phase == PHASE_WARM)
            use_time(h);
        rc = message_receive(HELPER_FD, &h->reader, &request, e);
        if (rc == 0)
            return error_set(e, -ESHUTDOWN, "the daemon has gone");
        if (rc < 0)
            return rc;
        rc = request_run(h, request, e);
        json_decref(request);
    }
    return rc;
}

int main(int argc, char **argv)
{
    (void)argv;
    const char *level = getenv("DOMPOOL_LOG_LEVEL");
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
    struct helper h = {.warm.target.domid = DOMID_INVALID};
    message_reader_init(&h.reader, HELPER_MESSAGE_LIMIT);
    struct error e = {0};
    int rc = serve(&h, &e);
    if (rc && rc != -ESHUTDOWN)
        (void)send_failure(&h.warm, "failed", rc, &e);
    _exit(rc ? 1 : 0); /* no unmapping: see above */
}
