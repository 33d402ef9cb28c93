/*
 * Helpers of the simulated world: see world_sim.h. A slot's helper knows what its domain holds, and
 * refuses to go on with anything else.
 */
#include "base/array.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "pool/core/lease.h"
#include "restore/protocol/image_made.h"
#include "tests/sim/sim_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a slot's helper may be asked for. */
enum phase { PHASE_NEW, PHASE_BUSY, PHASE_WARM, PHASE_COMPLETED };

struct helper {
    struct list node;
    struct sim *sim;
    enum helper_kind kind;
    enum sim_fate fate;
    const struct helper_events *events;
    void *owner;
    bool ended;
    json_t *request; /* what it works for */

    /* of a slot */
    enum phase phase;
    uint32_t domid;
    struct uuid uuid, holds;
    char name[64], tag[64];
    enum mac_rule mac_rule;
    json_t *expects; /* paths; NULL: was told nothing */

    /* of work on images */
    struct uuid base; /* id of the new image's base */
    bool rotten;      /* what it verifies */
    struct sim_file verified;
    bool began;        /* there is a temporary file */
    uint32_t captured; /* domid of what it has suspended; 0: none */
    bool waits;        /* for the word that its image is recorded */
};

/* ---- every helper ---- */

static void helper_free(struct helper *h)
{
    json_decref(h->request);
    json_decref(h->expects);
    free(h);
}

static void helper_end(struct sim *s, void *arg)
{
    struct helper *h = arg;
    sim_cancel(s, h);
    list_remove(&h->node);
    sim_memory_restore(false);
    h->events->ended(h, h->owner, "was killed by signal 9 (Killed)");
    sim_memory_spare();
    helper_free(h);
}

static void helper_die(struct helper *h)
{
    sim_cancel(h->sim, h);
    h->ended = true;
    h->sim->stranded += h->captured != 0;
    sim_at(h->sim, 200, helper_end, h);
}

/* Frees message. */
static void say(struct helper *h, json_t *message)
{
    sim_memory_restore(false);
    h->events->message(h, h->owner, message);
    sim_memory_spare();
    json_decref(message);
}

static void helper_fail(struct helper *h, const char *answer, const char *text)
{
    say(h, json_pack("{s:s, s:s, s:s, s:s, s:O*}", "event", "failed", "answer", answer, "error",
                     text, "stage", "test", "disks", h->sim->missing));
    if (!h->ended)
        helper_die(h);
}

static void told_to_fail(struct helper *h, const char *answer)
{
    helper_fail(h, answer, "told to fail");
}

/* NULL when the message has no such key. */
static const char *maybe(const json_t *message, const char *key)
{
    return json_string_value(json_object_get(message, key));
}

static const char *get(const json_t *message, const char *key)
{
    const char *text = maybe(message, key);
    if (!text)
        abort();
    return text;
}

/* ---- a slot's helper ---- */

/* Opens what it was told to: a file that was discarded too early is a mistake of the daemon. */
static void slot_open(const struct helper *h, struct sim_file *f)
{
    const struct sim *s = h->sim;
    MUST(sim_file_read(get(h->request, "image"), f));
}

static void warm_dies(struct sim *s, void *arg)
{
    (void)s;
    helper_die(arg);
}

/* Of as many interfaces as the test has said. */
static json_t *macs(const struct helper *h)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < h->sim->nics; i++) {
        struct mac mac = {{0, 0x16, 0x3e, 0, 0, (uint8_t)(i + 1)}};
        char text[MAC_TEXT_SIZE];
        if (h->mac_rule != MAC_SAVED)
            mac = mac_of_uuid(h->mac_rule, &h->uuid, i);
        mac_format(&mac, text);
        json_array_append_new(array, json_string(text));
    }
    return array;
}

static void say_warm(struct helper *h, const char *event)
{
    h->phase = PHASE_WARM;
    say(h, json_pack("{s:s, s:i, s:s, s:o, s:[]}", "event", event, "domid", (int)h->domid, "engine",
                     "guest", "macs", macs(h), "stages"));
}

static void build_done(struct sim *s, void *arg)
{
    struct helper *h = arg;
    if (h->fate == FATE_BUILD_FAILS_LATE) {
        told_to_fail(h, "Internal");
    } else if (h->fate == FATE_BUILD_DIES_LATE) {
        helper_die(h);
    } else {
        say_warm(h, h->fate == FATE_NONSENSE ? "completed" : "warm");
        if (h->fate == FATE_WARM_DIES && !h->ended)
            sim_at(s, 300000, warm_dies, h);
    }
}

static void say_created(struct helper *h, uint32_t domid)
{
    say(h, json_pack("{s:s, s:i}", "event", "created", "domid", (int)domid));
}

static void build_created(struct sim *s, void *arg)
{
    struct helper *h = arg;
    if (h->fate == FATE_BUILD_DIES_NAMED) {
        say_created(h, 0x4000);
        if (!h->ended)
            helper_die(h);
        return;
    }
    struct sim_domain *d = sim_domain_add(s, h->name, h->tag, &h->uuid);
    d->d.paused = true;
    h->domid = d->d.domid;
    sim_changed(s);
    if (h->fate == FATE_BUILD_DIES_UNTOLD) {
        helper_die(h);
        return;
    }
    say_created(h, h->fate == FATE_DOMID ? 0x7ff0 : h->domid);
    if (h->fate != FATE_BUILD_HANGS && !h->ended)
        sim_at(s, s->build_ms * 1000ull, build_done, h);
}

static void build_start(struct sim *s, void *arg)
{
    struct helper *h = arg;
    struct sim_file f;
    slot_open(h, &f);
    MUST(uuid_is_none(&f.base)); /* a delta is no domain */
    h->holds = f.id;
    if (h->fate == FATE_BUILD_FAILS)
        told_to_fail(h, "Internal");
    else if (h->fate == FATE_BUILD_NO_MEMORY)
        told_to_fail(h, "NoHostMemory");
    else if (h->fate == FATE_BUILD_UNREADABLE)
        told_to_fail(h, "ImageRefused");
    else if (h->fate == FATE_BUILD_DIES)
        helper_die(h);
    else if (h->fate == FATE_GARBAGE)
        say(h, NULL);
    else
        sim_at(s, 500, build_created, h);
}

static void build(struct helper *h, const json_t *message)
{
    struct sim *s = h->sim;
    MUST(h->phase == PHASE_NEW);
    format_fits(h->name, sizeof h->name, "%s", get(message, "name"));
    format_fits(h->tag, sizeof h->tag, "%s", get(message, "tag"));
    MUST(!uuid_parse(get(message, "uuid"), &h->uuid));
    MUST(!mac_rule_parse(get(message, "mac"), &h->mac_rule));
    s->vif_isolation = json_is_true(json_object_get(message, "vif_isolation"));
    s->vif_filter = json_is_true(json_object_get(message, "vif_filter"));
    format_fits(s->vif_script, sizeof s->vif_script, "%s",
                maybe(message, "vif_script") ? maybe(message, "vif_script") : "");
    s->cow_max = json_integer_value(json_object_get(message, "cow_max_bytes"));
    sim_at(s, 1000, build_start, h);
}

static enum sim_fate doom_draw(struct sim *s, struct sim_doom *doom)
{
    enum sim_fate fate = doom->fate;
    if (doom->n && !--doom->n)
        doom->fate = FATE_GOOD;
    if (s->faults.random_percent && sim_random(s, 100) < s->faults.random_percent)
        fate = (enum sim_fate)sim_random(s, FATE_COUNT);
    return fate;
}

static void turn_done(struct sim *s, void *arg)
{
    struct helper *h = arg;
    struct sim_file f;
    slot_open(h, &f);
    enum sim_fate fate = doom_draw(s, &s->faults.turn);
    MUST(uuid_is_none(&f.base) && !uuid_equal(&f.id, &h->holds));
    if (fate == FATE_TURN_HANGS)
        return;
    if (fate == FATE_TURN_REFUSED) {
        told_to_fail(h, "ImageRefused");
    } else if (fate == FATE_TURN_FAILS) {
        told_to_fail(h, "Internal");
    } else if (fate == FATE_TURN_DIES || !sim_domain_find(s, h->domid)) {
        helper_die(h);
    } else {
        h->holds = f.id;
        s->turned++;
        say_warm(h, "warm");
    }
}

static void refuse(struct helper *h, const char *answer)
{
    h->phase = PHASE_WARM;
    say(h, json_pack("{s:s, s:s, s:s, s:s}", "event", "refused", "answer", answer, "error",
                     "the simulated image is not read", "stage", "image"));
}

/* As the real one: it looks at the domain, and ends. False: all is well. */
static bool is_unusable(struct helper *h, enum sim_fate fate, const struct sim_domain *d)
{
    bool disk = fate == FATE_DISK_CHANGED;
    if (!disk && fate != FATE_UNPAUSED && d->d.state == HOST_DOMAIN_ALIVE && d->d.paused &&
        !d->d.asked)
        return false;
    say(h, json_pack("{s:s, s:s, s:s, s:s}", "event", "unusable", "answer",
                     disk ? "ImageBroken" : "DomainState", "error",
                     disk ? "the simulated disk has changed" : "somebody has touched the domain",
                     "stage", "look"));
    if (!h->ended)
        helper_die(h);
    return true;
}

static void complete_done(struct sim *s, void *arg)
{
    struct helper *h = arg;
    enum sim_fate fate = doom_draw(s, &s->faults.complete);
    struct sim_file f;
    struct sim_domain *d = sim_domain_find(s, h->domid);
    slot_open(h, &f);
    MUST(uuid_equal(&f.id, &h->holds) || uuid_equal(&f.base, &h->holds));
    if (!d || h->fate == FATE_COMPLETE_DIES) {
        helper_die(h);
        return;
    }
    if (h->fate == FATE_COMPLETE_FAILS) {
        told_to_fail(h, "Internal");
        return;
    }
    if (h->fate == FATE_COMPLETE_UNREADABLE) {
        told_to_fail(h, "ImageRefused");
        return;
    }
    MUST(!d->used);
    if (is_unusable(h, fate, d))
        return;
    if (fate == FATE_REFUSED || fate == FATE_UNREAD) {
        /* A derived image that is refused once is so for good, which no random run survives. */
        refuse(h, fate == FATE_REFUSED && !s->faults.random_percent ? "ImageRefused" : "Internal");
        return;
    }
    if (maybe(h->request, "mac") && !s->nics) {
        refuse(h, "BadValue");
        return;
    }
    d->used = true;
    d->d.paused = json_is_true(json_object_get(h->request, "paused"));
    format_fits(d->d.name, sizeof d->d.name, "%s", get(h->request, "name"));
    json_t *stages = s->stages ? json_incref(s->stages)
                               : json_pack("[{s:s, s:i, s:i, s:i}]", "name", "vcpus", "us", 500,
                                           "hypercalls", 3, "pages", 7);
    h->phase = PHASE_COMPLETED;
    int64_t began_us = s->began_us ? s->began_us : (int64_t)s->now_us - 500;
    say(h, json_pack("{s:s, s:i, s:i, s:I, s:i, s:o}", "event", "completed", "domid", (int)h->domid,
                     "delta_pages", 7, "start_us", (json_int_t)began_us, "total_us", 500, "stages",
                     stages));
}

/* Not before the caller has been told. */
static void leave(struct helper *h)
{
    struct sim *s = h->sim;
    const struct slot *slot = h->owner;
    MUST(h->phase == PHASE_COMPLETED && slot->lease->state == LEASE_ACTIVE);
    if (h->fate != FATE_COMPLETED_HANGS)
        helper_die(h);
}

/* Nobody is given an older version once there is a newer one. */
static void complete(struct helper *h, const json_t *message)
{
    struct sim *s = h->sim;
    struct entry *im = sim_entry_at_path(s, get(message, "image"));
    MUST(im && uuid_equal(&h->holds, &im->pool->set.image->row.id));
    if (h->fate != FATE_COMPLETE_HANGS)
        sim_at(s, s->complete_us, complete_done, h);
}

/* Every image is there, and the slot can become it. */
static void expect_take(struct helper *h, const json_t *message)
{
    struct sim *s = h->sim;
    struct sim_file f;
    size_t i;
    json_t *path, *images = json_object_get(message, "images");
    MUST(h->phase == PHASE_WARM && json_is_array(images));
    json_array_foreach (images, i, path) {
        MUST(sim_file_read(json_string_value(path), &f));
        MUST(uuid_equal(&f.base, &h->holds));
    }
    json_decref(h->expects);
    h->expects = json_deep_copy(images);
}

const json_t *sim_helper_expects(const struct helper *h)
{
    return h->expects;
}

static void slot_take(struct helper *h, const json_t *message)
{
    struct sim *s = h->sim;
    const char *op = get(message, "op");
    if (!strcmp(op, "build")) {
        build(h, message);
    } else {
        MUST(h->phase == PHASE_WARM);
        if (!strcmp(op, "turn"))
            sim_at(s, s->turn_ms * 1000ull, turn_done, h);
        else
            complete(h, message);
        MUST(!strcmp(op, "turn") || !strcmp(op, "complete"));
    }
    h->phase = PHASE_BUSY;
}

/* ---- work on images ---- */

static bool makes_image(const struct helper *h)
{
    const char *op = get(h->request, "op");
    return !strcmp(op, "import") || !strcmp(op, "capture");
}

/* The domain runs again, and there is no file. */
static void work_undo(struct helper *h)
{
    char aside[420];
    struct sim_domain *d = sim_domain_find(h->sim, h->captured);
    if (d)
        d->d.state = HOST_DOMAIN_ALIVE;
    h->captured = 0;
    if (!h->began)
        return;
    sim_file_aside(aside, sizeof aside, get(h->request, "image"));
    unlink(aside);
    h->began = false;
}

static void work_refuse(struct helper *h, const char *answer, const char *text)
{
    work_undo(h);
    helper_fail(h, answer, text);
}

/* False: it has said what is wrong. */
static bool work_read(struct helper *h, const char *key, struct sim_file *f)
{
    const char *path = maybe(h->request, key);
    *f = (struct sim_file){0};
    if (!path || sim_file_read(path, f))
        return true;
    h->sim->missed++;
    work_refuse(h, "ImageRefused", "no such file");
    return false;
}

static struct sim_domain *domain_wanted(const struct helper *h)
{
    const char *wanted = get(h->request, "domain"), *text = maybe(h->request, "uuid");
    struct uuid uuid;
    uint64_t domid = UINT64_MAX;
    (void)number_parse(wanted, 0, UINT32_MAX, &domid);
    list_each (node, &h->sim->domains) {
        struct sim_domain *d = container_of(node, struct sim_domain, node);
        bool leased = text && !uuid_parse(text, &uuid) && uuid_equal(&uuid, &d->d.uuid);
        if ((text ? leased && d->d.domid == domid
                  : !d->d.tag[0] && (d->d.domid == domid || !strcmp(d->d.name, wanted))) &&
            d->d.state == HOST_DOMAIN_ALIVE)
            return d;
    }
    return NULL;
}

static bool capture_start(struct helper *h)
{
    struct sim_domain *d = domain_wanted(h);
    if (!d) {
        work_refuse(h, "NoSuchDomain", "no such domain runs");
        return false;
    }
    h->captured = d->d.domid;
    d->d.state = HOST_DOMAIN_SHUTDOWN;
    d->d.shutdown_reason = 2; /* suspend */
    sim_changed(h->sim);
    return true;
}

static bool verifies(const struct helper *h)
{
    return !strcmp(get(h->request, "op"), "verify");
}

static json_t *made_json(struct sim *s, const struct sim_file *f)
{
    bool whole = uuid_is_none(&f->base);
    struct image_info info = {
        .guest = IMAGE_GUEST_PV,
        .vcpus = 2,
        .max_pfn = 99,
        .populated = 100,
        .entries = whole ? 100 : 7,
        .zero_pages = whole ? 10 : 1,
        .payload_pages = whole ? 90 : 6,
        .file_bytes = 400000,
        .created_ms = s->world.ops->wall_ms(&s->world),
    };
    info.id = f->id;
    info.base_id = f->base;
    return image_made_to_json(&info, sim_file_config(s));
}

static json_t *make_image(struct helper *h)
{
    struct sim_file f = {0};
    char aside[420];
    const char *path = get(h->request, "image");
    struct sim *s = h->sim;
    s->world.ops->random(&s->world, &f.id, sizeof f.id);
    uuid_version4(&f.id);
    f.base = h->base;
    sim_file_aside(aside, sizeof aside, path);
    sim_file_write(s, aside, &f);
    MUST(access(path, F_OK) && !rename(aside, path));
    h->began = false;
    return made_json(s, &f);
}

/* It goes on, or stays suspended until the image is recorded. */
static void capture_end(struct helper *h)
{
    struct sim_domain *d = sim_domain_find(h->sim, h->captured);
    h->waits = json_is_true(json_object_get(h->request, "stop"));
    if (h->waits)
        return;
    h->captured = 0;
    if (d)
        d->d.state = HOST_DOMAIN_ALIVE;
}

/* xl destroys what is no lease's. */
static void recorded(struct helper *h)
{
    struct sim *s = h->sim;
    MUST(h->waits);
    if (!maybe(h->request, "uuid") && sim_domain_find(s, h->captured))
        sim_domain_destroy(s, h->captured);
    h->waits = false;
    h->captured = 0;
    helper_die(h);
}

static void work_done(struct sim *s, void *arg)
{
    struct helper *h = arg;
    if (h->fate == FATE_WORK_FAILS) {
        work_refuse(h, s->missing ? "DisksNotAllowed" : "ImageRefused", "told to fail");
        return;
    }
    if (h->rotten) {
        work_refuse(h, "ImageRefused", "its digests are wrong");
        return;
    }
    json_t *result = makes_image(h) ? make_image(h)
                     : verifies(h)  ? made_json(s, &h->verified)
                                    : json_pack("{s:i}", "pages", 3);
    if (s->warnings)
        json_object_set(result, "warnings", s->warnings);
    capture_end(h);
    if (h->fate == FATE_WORK_DIES_LATE) {
        json_decref(result);
        helper_die(h);
        return;
    }
    if (h->fate == FATE_WORK_NONSENSE)
        json_object_set_new(result, "id", json_integer(7));
    say(h, json_pack("{s:s, s:o}", "event", "done", "result", result));
    if (h->fate == FATE_WORK_FAILS_DONE && !h->ended)
        told_to_fail(h, "Internal");
    else if (h->fate != FATE_WORK_DONE_HANGS && !h->ended && !h->waits)
        helper_die(h);
}

static void work_progress(struct sim *s, void *arg)
{
    struct helper *h = arg;
    say(h, json_pack("{s:s, s:i, s:i}", "event", "progress", "done", 1, "total", 2));
    if (h->ended)
        return;
    if (h->fate == FATE_WORK_HANGS && s->hang_ms)
        sim_at(s, s->hang_ms * 1000ull, work_done, h);
    else if (h->fate == FATE_WORK_HANGS)
        return;
    else if (h->fate == FATE_WORK_DIES)
        helper_die(h);
    else if (h->fate == FATE_GARBAGE)
        say(h, NULL);
    else
        sim_at(s, s->build_ms * 1000ull, work_done, h);
}

/* Both sides of what it reads must be of one lineage. */
static bool work_open(struct helper *h)
{
    static const char *const keys[][2] = {{"image", "base"}, {"a", "a_base"}, {"b", "b_base"}};
    const struct sim *s = h->sim;
    bool verify = verifies(h);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct sim_file f, base;
        if (!work_read(h, keys[i][0], &f) || !work_read(h, keys[i][1], &base))
            return false;
        MUST(verify || uuid_equal(&f.base, &base.id));
        h->rotten |= verify && f.rotten;
        if (verify && !i)
            h->verified = f;
    }
    return true;
}

static bool make_start(struct helper *h)
{
    const struct sim *s = h->sim;
    char aside[420];
    struct sim_file base;
    if (!work_read(h, "base", &base))
        return false;
    MUST(uuid_is_none(&base.base)); /* a delta of a delta */
    h->base = base.id;
    sim_file_aside(aside, sizeof aside, get(h->request, "image"));
    sim_file_write(s, aside, &base);
    h->began = true;
    return strcmp(get(h->request, "op"), "capture") != 0 || capture_start(h);
}

static void work_start(struct sim *s, void *arg)
{
    struct helper *h = arg;
    if (makes_image(h) ? make_start(h) : work_open(h))
        work_progress(s, h);
}

static void work_take(struct helper *h, const json_t *message)
{
    struct sim *s = h->sim;
    json_decref(s->asked);
    s->asked = json_deep_copy(message);
    sim_at(s, 1000, work_start, h);
}

static void work_stopped(struct sim *s, void *arg)
{
    (void)s;
    work_refuse(arg, "Internal", "stopped");
}

/* ---- what the daemon calls ---- */

static enum sim_fate draw_fate(struct sim *s, enum helper_kind kind)
{
    struct sim_faults *f = &s->faults;
    if (kind == HELPER_IMAGE)
        return doom_draw(s, &f->work);
    struct sim_doom doom = {f->fate, f->fate_for};
    enum sim_fate fate = doom_draw(s, &doom);
    f->fate = doom.fate;
    f->fate_for = doom.n;
    return fate;
}

int sim_helper_start(struct world *w, enum helper_kind kind, int input,
                     const struct helper_events *events, void *owner, struct helper **out,
                     struct error *e)
{
    struct sim *s = container_of(w, struct sim, world);
    if (kind == HELPER_IMAGE)
        s->input = input;
    enum sim_fate fate = draw_fate(s, kind);
    if (fate == FATE_NO_START)
        return error_set(e, -ENOENT, "start helper: no such file");
    bool before = sim_memory_spare();
    struct helper *h = sim_alloc(sizeof *h);
    h->sim = s;
    h->kind = kind;
    h->fate = fate;
    h->events = events;
    h->owner = owner;
    list_append(&s->helpers, &h->node);
    *out = h;
    sim_memory_restore(before);
    return 0;
}

static void helper_take(struct helper *h, const json_t *message)
{
    struct sim *s = h->sim;
    const char *op = get(message, "op");
    if (h->kind == HELPER_IMAGE && h->request) {
        MUST(!strcmp(op, "recorded"));
        recorded(h);
    } else if (!strcmp(op, "expect")) {
        expect_take(h, message);
    } else if (!strcmp(op, "log")) {
        MUST(h->kind == HELPER_SLOT && get(message, "level"));
    } else if (!strcmp(op, "leave")) {
        leave(h);
    } else {
        json_decref(h->request);
        h->request = json_deep_copy(message);
        if (h->kind == HELPER_SLOT)
            slot_take(h, message);
        else
            work_take(h, message);
    }
}

void sim_helper_send(struct helper *h, const json_t *message)
{
    bool before = sim_memory_spare();
    if (!h->ended && !h->sim->dead)
        helper_take(h, message);
    sim_memory_restore(before);
}

/* It takes back what it has done, says so and ends; unless it is stuck. */
void sim_helper_stop(struct helper *h)
{
    bool before = sim_memory_spare();
    if (!h->ended && !h->sim->dead && h->fate != FATE_WORK_HANGS &&
        h->fate != FATE_WORK_DONE_HANGS) {
        sim_cancel(h->sim, h);
        sim_at(h->sim, 300, work_stopped, h);
    }
    sim_memory_restore(before);
}

void sim_helper_kill(struct helper *h)
{
    bool before = sim_memory_spare();
    if (!h->ended && !h->sim->dead)
        helper_die(h);
    sim_memory_restore(before);
}

/* They end with their daemon; a suspended domain goes on. */
void sim_helpers_drop(struct sim *s)
{
    struct list *node;
    while ((node = list_pop(&s->helpers))) {
        struct helper *h = container_of(node, struct helper, node);
        struct sim_domain *d = sim_domain_find(s, h->captured);
        if (d)
            d->d.state = HOST_DOMAIN_ALIVE;
        helper_free(h);
    }
}
