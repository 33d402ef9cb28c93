/*
 * What helpers say, as bytes, to a daemon in the simulated world. No helper does or says anything
 * of itself, but for this: a slot's makes its domain when it is to build, and an image's makes its
 * file when it is to make an image. Between their messages clients ask, time passes, helpers die,
 * and the daemon is killed, so that messages come in each state of a slot and of a piece of work.
 */
#include "tests/fuzz/fuzz.h"

#include "base/array.h"
#include "base/io.h"
#include "base/log.h"
#include "pool/core/image_job.h"
#include "pool/core/slot.h"
#include "restore/protocol/protocol.h"
#include "tests/fuzz/pieces.h"
#include "tests/sim/world_sim.h"

#include <fcntl.h>
#include <unistd.h>

static const char config[] = "complete_timeout = 2s\nbuild_timeout = 10s\nparallel = 2\n"
                             "[pool]\nmin = 0\nmax = 4\nbackoff_max = 2s\n";

static struct sim sim;
static struct sim_client *root;

/* ---- helpers that only say what they are made to say ---- */

struct helper {
    struct list node;
    enum helper_kind kind;
    const struct helper_events *events;
    void *owner;
    struct message_reader reader;
    bool ended;
};

static struct list helpers;

static int helper_start(struct world *w, enum helper_kind kind, int input,
                        const struct helper_events *events, void *owner, struct helper **out,
                        struct error *e)
{
    (void)w, (void)input, (void)e;
    struct helper *h = sim_alloc(sizeof *h);
    h->kind = kind;
    h->events = events;
    h->owner = owner;
    message_reader_init(&h->reader, HELPER_MESSAGE_LIMIT);
    list_append(&helpers, &h->node);
    *out = h;
    return 0;
}

static void helper_free(struct helper *h)
{
    sim_cancel(&sim, h);
    list_remove(&h->node);
    message_reader_dispose(&h->reader);
    free(h);
}

static void helpers_free(void)
{
    list_each (node, &helpers)
        helper_free(container_of(node, struct helper, node));
}

static void helper_end(struct sim *s, void *arg)
{
    struct helper *h = arg;
    (void)s;
    h->events->ended(h, h->owner, "was killed by signal 9 (Killed)");
    helper_free(h);
}

static void helper_kill(struct helper *h)
{
    if (!h->ended)
        sim_at(&sim, 200, helper_end, h);
    h->ended = true;
}

/* A helper that listens to nobody must be killed. */
static void helper_stop(struct helper *h)
{
    (void)h;
}

static const char *get(const json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text ? text : "";
}

static void make_domain(const json_t *message)
{
    struct uuid uuid;
    FUZZ_CHECK(!uuid_parse(get(message, "uuid"), &uuid));
    sim_domain_add(&sim, get(message, "name"), get(message, "tag"), &uuid);
    sim_changed(&sim);
}

/* As sim_image_read would have it. */
static void make_file(const json_t *message)
{
    static const char content[] = "11111111-2222-3333-4444-555555555555 "
                                  "00000000-0000-0000-0000-000000000000";
    int fd = open(get(message, "image"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && !write_full(fd, content, strlen(content)));
    close(fd);
}

static void helper_send(struct helper *h, const json_t *message)
{
    const char *op = get(message, "op");
    FUZZ_CHECK(op[0]);
    if (h->ended)
        return;
    if (!strcmp(op, "build"))
        make_domain(message);
    else if (!strcmp(op, "import") || !strcmp(op, "capture"))
        make_file(message);
}

/* As pool/service/process.c does it. */
static void helper_say(struct helper *h, const uint8_t *bytes, size_t n)
{
    json_t *message;
    int rc = message_reader_feed(&h->reader, bytes, n, NULL);
    while (!rc && (rc = message_reader_next(&h->reader, &message, NULL)) > 0) {
        h->events->message(h, h->owner, message);
        json_decref(message);
        sim_check(&sim);
        rc = 0;
    }
    if (rc < 0) {
        h->events->message(h, h->owner, NULL);
        sim_check(&sim);
        helper_kill(h);
    }
}

/* Ones that have not ended, oldest first. */
static struct helper *helper_at(enum helper_kind kind, unsigned n)
{
    list_each (node, &helpers) {
        struct helper *h = container_of(node, struct helper, node);
        if (h->kind == kind && !h->ended && !n--)
            return h;
    }
    return NULL;
}

/* ---- controls ---- */

static struct {
    enum helper_kind kind;
    unsigned n;
} speaker;

static void speak_as_slot(unsigned n)
{
    speaker.kind = HELPER_SLOT;
    speaker.n = n;
}

static void speak_as_image(unsigned n)
{
    speaker.kind = HELPER_IMAGE;
    speaker.n = n;
}

static void wait_for(unsigned power)
{
    sim_run_us(&sim, 1000ull << power % 16);
}

static void die(unsigned argument)
{
    struct helper *h = helper_at(speaker.kind, speaker.n);
    (void)argument;
    if (h)
        helper_kill(h);
}

static const struct {
    const char *method, *parameters;
} calls[] = {
    {"Allocate", "{\"image\":\"fire\"}"},
    {"Allocate", "{\"image\":\"fire\",\"wait_ms\":20000,\"name\":\"work\",\"ttl_ms\":9000}"},
    {"Allocate", "{\"image\":\"mist\",\"wait_ms\":20000,\"hold\":true}"},
    {"PoolSet", "{\"image\":\"fire\",\"settings\":{\"min\":\"2\"}}"},
    {"PoolSet", "{\"image\":\"fire\",\"settings\":{\"min\":\"0\"}}"},
    {"Release", "{\"all\":true,\"wait\":false}"},
    {"ImageImport", "{\"name\":\"ice\",\"path\":\"/save\"}"},
    {"ImageImport", "{\"name\":\"fire\",\"path\":\"/save\",\"replace\":true}"},
    {"ImageImport", "{\"name\":\"snow\",\"path\":\"/save\",\"base\":\"fire\"}"},
    {"ImageCapture", "{\"name\":\"snow\",\"domain\":\"work\",\"base\":\"fire\",\"stop\":true}"},
    {"ImageVerify", "{\"name\":\"fire\"}"},
    {"ImageExport", "{\"name\":\"mist\",\"path\":\"/save\"}"},
    {"ImageDiff", "{\"a\":\"fire\",\"b\":\"mist\"}"},
    {"ImageRemove", "{\"name\":\"mist\"}"},
    {"List", "{}"},
    {"Status", "{}"},
    {"Trace", "{\"lease\":\"l1\"}"},
    {"ImageShow", "{\"name\":\"fire\"}"},
    {"ImageList", "{}"},
};

/* Each on a connection of its own, so that none waits for another's answer. */
static void call(unsigned n)
{
    const size_t which = n % ARRAY_SIZE(calls);
    json_t *parameters = json_loads(calls[which].parameters, 0, NULL);
    FUZZ_CHECK(parameters);
    sim_call(sim_connect(&sim, 0), calls[which].method, parameters);
}

static void hang_up(unsigned n)
{
    list_each (node, &sim.clients) {
        struct sim_client *c = container_of(node, struct sim_client, node);
        if (c != root && !n--) {
            sim_disconnect(c);
            return;
        }
    }
}

static void shut_down(unsigned reason)
{
    if (!list_empty(&sim.domains))
        sim_domain_shutdown(&sim, container_of(sim.domains.next, struct sim_domain, node)->d.domid,
                            reason % 4);
}

static void kill_daemon(unsigned argument)
{
    (void)argument;
    sim_crash(&sim);
    helpers_free();
    sim_restart(&sim, config, NULL);
    root = sim_connect(&sim, 0);
}

static void (*const controls[CONTROLS])(unsigned argument) = {
    [0x01] = speak_as_slot, [0x02] = speak_as_image, [0x03] = wait_for,  [0x04] = die,
    [0x05] = call,          [0x06] = hang_up,        [0x07] = shut_down, [0x08] = kill_daemon,
};

/* ---- one input ---- */

/* No slot is made before the helpers are ours. */
static void begin(void)
{
    static bool quiet;
    static struct world_ops ops;
    if (!quiet)
        log_init("fuzz", LOG_LEVEL_ERROR);
    quiet = true;
    list_init(&helpers);
    speak_as_slot(0);
    sim_start(&sim, config);
    sim_image(&sim, "fire");
    sim_derive(&sim, "mist", "fire");
    sim_run(&sim, 2000);
    ops = *sim.world.ops;
    ops.helper_start = helper_start;
    ops.helper_send = helper_send;
    ops.helper_stop = helper_stop;
    ops.helper_kill = helper_kill;
    sim.world.ops = &ops;
    root = sim_connect(&sim, 0);
}

/* Whatever they have said, clients are answered, and the daemon stops in time. */
static void end(void)
{
    sim_expect(root, "Status", NULL, 1000, NULL);
    sim_expect(root, "List", NULL, 1000, NULL);
    sim_expect(root, "ImageList", NULL, 1000, NULL);
    sim_stop(&sim);
    sim_end(&sim);
    helpers_free();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *const last = data + size;
    struct piece p;
    begin();
    while (piece_next(&at, last, &p)) {
        struct helper *h = p.control ? NULL : helper_at(speaker.kind, speaker.n);
        if (h)
            helper_say(h, p.bytes, p.n);
        else if (p.control && controls[p.control])
            controls[p.control](p.argument);
    }
    end();
    return 0;
}
