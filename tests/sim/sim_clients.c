/* Clients of the simulated world: each end of a connection is an array. See world_sim.h. */
#include "tests/sim/world_sim.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reply {
    struct list node;
    json_t *message;
};

static void client_run(struct sim *s, void *arg)
{
    struct sim_client *c = arg;
    (void)s;
    sim_memory_restore(false);
    conn_run(&c->conn);
    sim_memory_spare();
}

static void client_drop(struct sim *s, void *arg)
{
    struct sim_client *c = arg;
    (void)s;
    sim_memory_restore(false);
    conn_dispose(&c->conn);
    sim_memory_spare();
}

static void note_allocated(struct sim *s, const json_t *message)
{
    s->allocated += json_object_get(json_object_get(message, "parameters"), "delta_pages") != NULL;
}

static bool transport_send(void *transport, char *bytes, size_t len)
{
    struct sim_client *c = transport;
    struct sim *s = c->sim;
    bool before = sim_memory_spare();
    json_error_t why;
    struct reply *r = sim_alloc(sizeof *r);
    MUST(len && !bytes[len - 1]);
    r->message = json_loads(bytes, JSON_REJECT_DUPLICATES, &why);
    MUST(r->message);
    free(bytes);
    list_append(&c->replies, &r->node);
    if (!json_is_true(json_object_get(r->message, "continues")))
        c->answered++;
    note_allocated(c->sim, r->message);
    sim_memory_restore(before);
    return true;
}

static void transport_hang_up(void *transport)
{
    struct sim_client *c = transport;
    bool before = sim_memory_spare();
    c->hung_up = true;
    sim_at(c->sim, 0, client_drop, c);
    sim_memory_restore(before);
}

static void transport_run_soon(void *transport)
{
    struct sim_client *c = transport;
    bool before = sim_memory_spare();
    sim_at(c->sim, 0, client_run, c);
    sim_memory_restore(before);
}

static const struct transport_ops transport = {transport_send, transport_hang_up,
                                               transport_run_soon};

struct sim_client *sim_connect(struct sim *s, uid_t uid)
{
    bool before = sim_memory_spare();
    struct sim_client *c = sim_alloc(sizeof *c);
    c->sim = s;
    list_init(&c->replies);
    conn_init(&c->conn, &s->service, &transport, c, uid);
    list_append(&s->clients, &c->node);
    sim_memory_restore(before);
    return c;
}

json_t *sim_reply(struct sim_client *c)
{
    struct list *node = list_pop(&c->replies);
    if (!node)
        return NULL;
    struct reply *r = container_of(node, struct reply, node);
    json_t *message = r->message;
    free(r);
    return message;
}

void sim_disconnect(struct sim_client *c)
{
    json_t *message;
    conn_dispose(&c->conn);
    bool before = sim_memory_spare();
    sim_cancel(c->sim, c);
    while ((message = sim_reply(c)))
        json_decref(message);
    list_remove(&c->node);
    free(c);
    sim_memory_restore(before);
}

void sim_call(struct sim_client *c, const char *method, json_t *parameters)
{
    size_t len;
    char name[80];
    bool before = sim_memory_spare();
    format_fits(name, sizeof name, "%s%s", strchr(method, '.') ? "" : "io.dompool.", method);
    json_t *message = json_pack("{s:s, s:o}", "method", name, "parameters",
                                parameters ? parameters : json_object());
    char *bytes = message_encode(message, &len);
    json_decref(message);
    c->sent++;
    sim_memory_restore(before);
    conn_feed(&c->conn, bytes, len);
    free(bytes);
}

json_t *sim_ask(struct sim_client *c, const char *method, json_t *parameters, uint64_t ms)
{
    uint64_t until = c->sim->now_us + ms * 1000;
    sim_call(c, method, parameters);
    bool before = sim_memory_spare();
    while (list_empty(&c->replies) && !c->hung_up && sim_step(c->sim, until))
        sim_check(c->sim);
    sim_memory_restore(before);
    return sim_reply(c);
}

const char *sim_error_name(const json_t *reply)
{
    const char *name = json_string_value(json_object_get(reply, "error"));
    return name ? strrchr(name, '.') + 1 : "";
}

void sim_expect(struct sim_client *c, const char *method, json_t *parameters, uint64_t ms,
                const char *name)
{
    json_t *reply = sim_ask(c, method, parameters, ms);
    if (!reply || strcmp(sim_error_name(reply), name ? name : "") != 0) {
        char *text = reply ? json_dumps(reply, 0) : NULL;
        fprintf(stderr, "%s: expected %s, got %s\n", method, name ? name : "a reply",
                text ? text : "nothing");
        abort();
    }
    json_decref(reply);
}
