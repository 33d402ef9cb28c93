/* dompool-slot for the fake host: speaks restore/protocol/slot_protocol.h, makes no domain but a
 * file. */
#include "base/log.h"
#include "base/message.h"
#include "base/text.h"
#include "base/uuid.h"
#include "restore/protocol/protocol.h"
#include "store/image.h"
#include "tests/sim/fake.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct host_domain domain;
static struct uuid holds; /* id of the image whose pages the domain has */

static void say(json_t *message)
{
    struct error e;
    if (!message || message_send(HELPER_FD, message, &e))
        _exit(1);
    json_decref(message);
}

static void fail(const char *answer, const char *text, const char *stage)
{
    say(json_pack("{s:s, s:s, s:s, s:s}", "event", "failed", "answer", answer, "error", text,
                  "stage", stage));
    _exit(1);
}

/* Does what the fault says, or nothing. */
static void suffer(const char *fault, const char *stage)
{
    if (fake_fault_is(fault, "die"))
        raise(SIGKILL);
    if (fake_fault_is(fault, "hang"))
        for (;;)
            pause();
    if (fake_fault_is(fault, "no-memory"))
        fail("NoHostMemory", "the fake host has no memory left", stage);
    if (fake_fault_is(fault, "fail"))
        fail("Internal", "the fake helper is told to fail", stage);
}

static json_t *stage(const char *name, int us, int hypercalls)
{
    return json_pack("{s:s, s:i, s:i, s:i}", "name", name, "us", us, "hypercalls", hypercalls,
                     "pages", 0);
}

static const char *get(const json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text ? text : "";
}

static void say_warm(void)
{
    say(json_pack("{s:s, s:i, s:s, s:[o, o]}", "event", "warm", "domid", (int)domain.domid,
                  "engine", "guest", "stages", stage("create", 900, 12),
                  stage("populate", 19000, 400)));
}

/* What the file at that path is; the helper fails when it is none. */
static struct image_info image_at(const char *path, const char *step)
{
    struct error e;
    struct image *im;
    if (image_open(path, &im, &e))
        fail(answer_name(e.code), e.text, step);
    struct image_info info = *image_info(im);
    image_close(im);
    return info;
}

static void build(const json_t *message)
{
    suffer("build", "create");
    if (fake_fault_is("disk", "changed"))
        fail("ImageBroken", "the fake disk has changed", "disks");
    format_fits(domain.name, sizeof domain.name, "%s", get(message, "name"));
    format_fits(domain.tag, sizeof domain.tag, "%s", get(message, "tag"));
    struct image_info info = image_at(get(message, "image"), "create");
    if (uuid_parse(get(message, "uuid"), &domain.uuid) || !image_is_base(&info))
        fail("Internal", "build: no uuid or no base", "create");
    holds = info.id;
    domain.domid = fake_domid_next();
    domain.paused = true;
    if (!domain.domid || fake_domain_write(&domain))
        fail("Internal", "the fake domain cannot be written", "create");
    suffer("created", "create");
    say(json_pack("{s:s, s:i}", "event", "created", "domid", (int)domain.domid));
    fake_sleep("build_ms", 20);
    suffer("populate", "populate");
    say_warm();
}

static void turn(const json_t *message)
{
    struct image_info info = image_at(get(message, "image"), "image");
    fake_sleep("turn_ms", 5);
    suffer("turn", "memory");
    if (fake_fault_is("turn", "refuse") || !image_is_base(&info))
        fail("ImageRefused", "the fake versions have no lineage in common", "lineage");
    holds = info.id;
    say_warm();
}

/* A test may have done to the domain what an administrator does with xl. */
static void look(void)
{
    struct host_domain now;
    bool disk = fake_fault_is("disk", "changed");
    if (!disk && !fake_domain_read(domain.domid, &now) && now.paused &&
        now.state == HOST_DOMAIN_ALIVE)
        return;
    say(json_pack("{s:s, s:s, s:s, s:s}", "event", "unusable", "answer",
                  disk ? "ImageBroken" : "DomainState", "error",
                  disk ? "the fake disk has changed" : "somebody has touched the fake domain",
                  "stage", "look"));
    exit(0);
}

static void complete(const json_t *message)
{
    struct image_info info = image_at(get(message, "image"), "image");
    if (!uuid_equal(&info.id, &holds) && !uuid_equal(&info.base_id, &holds))
        fail("ImageRefused", "neither what the slot holds nor derived from it", "delta");
    suffer("complete", "delta");
    look();
    if (fake_fault_is("complete", "vanish")) {
        fake_domain_remove(domain.domid);
        raise(SIGKILL);
    }
    fake_sleep("complete_ms", 1);
    format_fits(domain.name, sizeof domain.name, "%s", get(message, "name"));
    domain.paused = json_is_true(json_object_get(message, "paused"));
    if (fake_domain_write(&domain))
        fail("Internal", "the fake domain cannot be written", "unpause");
    say(json_pack("{s:s, s:i, s:i, s:i, s:[o, o]}", "event", "completed", "domid",
                  (int)domain.domid, "delta_pages", 0, "total_us", 1200, "stages",
                  stage("vcpus", 700, 3), stage("unpause", 500, 1)));
    suffer("completed", "exit");
}

int main(void)
{
    struct message_reader reader;
    struct error e = {0};
    json_t *message;
    int rc;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    log_init("fake-slot", LOG_LEVEL_INFO);
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    const char *level = getenv("DOMPOOL_LOG_LEVEL");
    fake_note("level", level ? level : "");
    while ((rc = message_receive(HELPER_FD, &reader, &message, &e)) == 1) {
        if (!strcmp(get(message, "op"), "build"))
            build(message);
        else if (!strcmp(get(message, "op"), "turn"))
            turn(message);
        else if (!strcmp(get(message, "op"), "complete"))
            complete(message);
        else if (!strcmp(get(message, "op"), "log"))
            fake_note("level", get(message, "level"));
        else if (!strcmp(get(message, "op"), "leave"))
            exit(0);
        json_decref(message);
    }
    message_reader_dispose(&reader);
    return rc ? 1 : 0;
}
