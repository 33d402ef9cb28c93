/* A Varlink service: see varlink.h. The steps of one call stand in the order in which they run. */
#include "pool/service/varlink.h"

#include "base/array.h"
#include "base/io.h"
#include "base/log.h"
#include "base/message.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Its address says that an answering function has been called; it holds nothing. */
struct answered {
    char unused;
};
static const struct answered proof;

#define STANDARD "org.varlink.service"

void conn_init(struct conn *c, const struct service *service, const struct transport_ops *ops,
               void *transport, uid_t uid)
{
    *c = (struct conn){.service = service, .ops = ops, .transport = transport, .uid = uid};
    c->call.fd = c->passed = -1;
    message_reader_init(&c->reader, VARLINK_MESSAGE_LIMIT);
    list_init(&c->watches);
}

void conn_watch(struct conn *c, struct conn_watch *w)
{
    list_append(&c->watches, &w->node);
}

/* ---- parameters ---- */

static bool strings_only(const json_t *list)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) > VARLINK_MEMBERS_MAX)
        return false;
    json_array_foreach ((json_t *)list, i, v)
        if (!json_is_string(v))
            return false;
    return true;
}

static bool string_values_only(const json_t *map)
{
    const char *key;
    json_t *v;
    if (json_object_size(map) > VARLINK_MEMBERS_MAX)
        return false;
    json_object_foreach ((json_t *)map, key, v)
        if (!json_is_string(v))
            return false;
    return true;
}

bool param_fits(enum param_type type, const json_t *v)
{
    switch (type) {
    case PARAM_STRING:
        return json_is_string(v);
    case PARAM_INT:
        return json_is_integer(v);
    case PARAM_BOOL:
        return json_is_boolean(v);
    case PARAM_STRINGS:
        return json_is_array(v) && strings_only(v);
    case PARAM_STRING_MAP:
        return json_is_object(v) && string_values_only(v);
    }
    return false;
}

static const struct param *param_find(const struct param *params, const char *name)
{
    for (; params->name; params++)
        if (!strcmp(params->name, name))
            return params;
    return NULL;
}

/* The first parameter that is unknown, missing or of the wrong type, or NULL. Removes nulls:
 * they mean "not given". */
static const char *params_check(const struct param *params, json_t *given)
{
    const char *key;
    json_t *v;
    void *next;
    json_object_foreach_safe (given, next, key, v) {
        const struct param *p = param_find(params, key);
        if (!p || (!json_is_null(v) && !param_fits(p->type, v)))
            return key;
        if (json_is_null(v))
            json_object_del(given, key);
    }
    for (; params->name; params++)
        if (params->required && !json_object_get(given, params->name))
            return params->name;
    return NULL;
}

/* ---- answering ---- */

static void conn_hang_up(struct conn *c)
{
    if (!c->broken)
        c->ops->hang_up(c->transport);
    c->broken = true;
}

static void conn_send(struct conn *c, json_t *message)
{
    size_t len;
    char *bytes = message && !c->broken ? message_encode(message, &len) : NULL;
    json_decref(message);
    if (c->broken)
        return;
    if (!bytes)
        log_error("out of memory for a reply: its client is disconnected");
    if (!bytes || !c->ops->send(c->transport, bytes, len))
        conn_hang_up(c);
}

static const struct answered *call_end(struct call *call, json_t *message)
{
    struct conn *c = call->conn;
    bool silent = call->oneway;
    call->conn = NULL;
    call->cancel = NULL;
    if (silent)
        json_decref(message);
    else
        conn_send(c, message);
    if (!c->running && !c->broken && message_reader_waiting(&c->reader))
        c->ops->run_soon(c->transport);
    return &proof;
}

const struct answered *call_reply(struct call *call, json_t *parameters)
{
    return call_end(call, parameters ? json_pack("{s:o}", "parameters", parameters) : NULL);
}

void call_progress(struct call *call, json_t *parameters)
{
    if (call->more && !call->oneway)
        conn_send(call->conn,
                  parameters ? json_pack("{s:o, s:b}", "parameters", parameters, "continues", 1)
                             : NULL);
    else
        json_decref(parameters);
}

const struct answered *call_refuse(struct call *call, int code, const char *text)
{
    return call_refuse_with(call, code, text, json_object());
}

const struct answered *call_refuse_with(struct call *call, int code, const char *text,
                                        json_t *details)
{
    char name[128];
    format_fits(name, sizeof name, "%s.%s", call->conn->service->interface, answer_name(code));
    json_t *said = json_string(text);
    if (!said)
        said = json_string(answer_text(code)); /* the text was not UTF-8 */
    if (json_object_set_new(details, "text", said)) {
        json_decref(details);
        details = NULL;
    }
    return call_end(call, json_pack("{s:s, s:o}", "error", name, "parameters", details));
}

static const struct answered *call_standard_error(struct call *call, const char *name,
                                                  const char *key, const char *value)
{
    char full[64];
    format_fits(full, sizeof full, STANDARD ".%s", name);
    return call_end(call, json_pack("{s:s, s:{s:s}}", "error", full, "parameters", key, value));
}

const struct answered *call_invalid(struct call *call, const char *parameter)
{
    return call_standard_error(call, "InvalidParameter", "parameter", parameter);
}

const struct answered *call_defer(struct call *call, void (*cancel)(struct call *call), void *owner)
{
    call->cancel = cancel;
    call->owner = owner;
    return &proof;
}

/* ---- org.varlink.service ---- */

static const char standard_text[] =
    "# The Varlink Service Interface is provided by every varlink service.\n"
    "interface " STANDARD "\n\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string, "
    "interfaces: []string)\n\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n\n"
    "error InterfaceNotFound (interface: string)\n\n"
    "error MethodNotFound (method: string)\n\n"
    "error MethodNotImplemented (method: string)\n\n"
    "error InvalidParameter (parameter: string)\n";

static const struct answered *get_info(struct call *call, void *owner, const json_t *parameters)
{
    const struct service *s = call->conn->service;
    (void)owner;
    (void)parameters;
    return call_reply(call, json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", s->vendor,
                                      "product", s->product, "version", s->version, "url", s->url,
                                      "interfaces", STANDARD, s->interface));
}

static const struct answered *get_description(struct call *call, void *owner,
                                              const json_t *parameters)
{
    const struct service *s = call->conn->service;
    const char *name = json_string_value(json_object_get(parameters, "interface"));
    (void)owner;
    const char *text = !strcmp(name, STANDARD)       ? standard_text
                       : !strcmp(name, s->interface) ? s->interface_text
                                                     : NULL;
    if (!text)
        return call_standard_error(call, "InterfaceNotFound", "interface", name);
    return call_reply(call, json_pack("{s:s}", "description", text));
}

static const struct param no_params[] = {{0}};
static const struct param description_params[] = {{"interface", PARAM_STRING, true}, {0}};
static const struct method standard_methods[] = {
    {"GetInfo", no_params, false, get_info},
    {"GetInterfaceDescription", description_params, false, get_description},
};

/* ---- one call, from message to handler ---- */

static const struct method *method_in(const struct method *methods, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(methods[i].name, name))
            return &methods[i];
    return NULL;
}

static const struct answered *call_method(struct call *call, const struct method *m,
                                          json_t *parameters)
{
    struct conn *c = call->conn;
    const char *bad = params_check(m->params, parameters);
    if (bad)
        return call_invalid(call, bad);
    if (m->root_only && c->uid != 0) {
        char text[160];
        format_fits(text, sizeof text, "%s is for root only; you are uid %u", m->name,
                    (unsigned)c->uid);
        return call_refuse(call, ANSWER_NOT_PERMITTED, text);
    }
    return m->handle(call, c->service->owner, parameters);
}

static const struct answered *call_dispatch(struct call *call, const char *full, json_t *parameters)
{
    const struct service *s = call->conn->service;
    const char *dot = strrchr(full, '.');
    if (!dot)
        return call_standard_error(call, "MethodNotFound", "method", full);
    char interface[128];
    if (!format_fits(interface, sizeof interface, "%.*s", (int)(dot - full), full))
        return call_standard_error(call, "InterfaceNotFound", "interface", interface);
    const struct method *m;
    if (!strcmp(interface, STANDARD))
        m = method_in(standard_methods, ARRAY_SIZE(standard_methods), dot + 1);
    else if (!strcmp(interface, s->interface))
        m = method_in(s->methods, s->n_methods, dot + 1);
    else
        return call_standard_error(call, "InterfaceNotFound", "interface", interface);
    if (!m)
        return call_standard_error(call, "MethodNotFound", "method", full);
    return call_method(call, m, parameters);
}

/* A flag that is given must be a boolean. */
static bool flag(const json_t *message, const char *name, bool *out)
{
    const json_t *v = json_object_get(message, name);
    *out = json_is_true(v);
    return !v || json_is_null(v) || json_is_boolean(v);
}

/* fd: that was passed with it, or -1. */
static const struct answered *call_start(struct conn *c, json_t *message, int fd)
{
    struct call *call = &c->call;
    *call =
        (struct call){.conn = c, .fd = fd, .received_us = c->service->now_us(c->service->owner)};
    bool upgrade, ok = flag(message, "more", &call->more) &&
                       flag(message, "oneway", &call->oneway) && flag(message, "upgrade", &upgrade);
    const char *method = json_string_value(json_object_get(message, "method"));
    json_t *parameters = json_object_get(message, "parameters");
    if (!method)
        return call_invalid(call, "method");
    if (!ok || upgrade)
        return call_invalid(call, !ok ? "more" : "upgrade");
    if (parameters && !json_is_null(parameters) && !json_is_object(parameters))
        return call_invalid(call, "parameters");
    json_t *given = json_is_object(parameters) ? json_incref(parameters) : json_object();
    if (!given)
        return call_refuse(call, -ENOMEM, "out of memory");
    const struct answered *done = call_dispatch(call, method, given);
    json_decref(given);
    return done;
}

/* Says what was wrong, then hangs up. */
static void conn_complain(struct conn *c, const struct error *e)
{
    log_debug("a client of uid %u is disconnected: %s", (unsigned)c->uid, e->text);
    if (!c->call.conn) {
        c->call = (struct call){.conn = c, .fd = -1};
        c->running = true; /* nothing is read behind a broken message */
        call_refuse(&c->call, ANSWER_BAD_VALUE, e->text);
    }
    conn_hang_up(c);
}

bool conn_behind(struct conn *c)
{
    return !c->call.conn && !c->broken && message_reader_ready(&c->reader);
}

/* What was passed with the message that has its turn, or -1. */
static int passed_take(struct conn *c)
{
    int fd = c->passed_with == c->taken++ ? c->passed : -1;
    if (fd >= 0)
        c->passed = -1;
    return fd;
}

void conn_run(struct conn *c)
{
    json_t *message;
    struct error e;
    if (c->running || c->call.conn || c->broken)
        return;
    c->running = true;
    int rc = message_reader_next(&c->reader, &message, &e);
    if (rc < 0) {
        conn_complain(c, &e);
    } else if (rc > 0) {
        call_start(c, message, passed_take(c));
        fd_close(&c->call.fd);
        json_decref(message);
    }
    c->running = false;
    if (conn_behind(c))
        c->ops->run_soon(c->transport);
}

/* Messages that end within the bytes. */
static uint64_t messages_end(const char *bytes, size_t n)
{
    const char *at = bytes, *end = bytes + n;
    uint64_t messages = 0;
    for (; at < end && (at = memchr(at, 0, (size_t)(end - at))); at++)
        messages++;
    return messages;
}

void conn_take_passed(struct conn *c, const void *bytes, size_t n, int fd)
{
    if (c->broken || c->passed >= 0 || !n) {
        fd_close(&fd);
    } else {
        /* Its message is the last one that begins here: what ends with the last byte began here. */
        c->passed_with = c->fed + messages_end(bytes, n - 1);
        c->passed = fd;
    }
    conn_take(c, bytes, n);
}

void conn_take(struct conn *c, const void *bytes, size_t n)
{
    struct error e;
    c->fed += messages_end(bytes, n);
    if (!c->broken && n && message_reader_feed(&c->reader, bytes, n, &e))
        conn_complain(c, &e);
}

void conn_feed(struct conn *c, const void *bytes, size_t n)
{
    conn_take(c, bytes, n);
    conn_run(c);
}

void conn_dispose(struct conn *c)
{
    c->broken = true;
    c->running = true; /* nothing more is handled */
    if (c->call.conn) {
        void (*cancel)(struct call *) = c->call.cancel;
        c->call.cancel = NULL;
        if (cancel)
            cancel(&c->call);
        c->call.conn = NULL;
    }
    struct list *node;
    while ((node = list_pop(&c->watches))) {
        struct conn_watch *w = container_of(node, struct conn_watch, node);
        w->closed(w);
    }
    fd_close(&c->passed);
    message_reader_dispose(&c->reader);
}
