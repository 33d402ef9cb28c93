/* Talking to the daemon: see talk.h. */
#include "cli/talk.h"

#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *socket_path(const struct invocation *inv)
{
    return dompool_socket_path(option_text(inv, "socket"));
}

/* What the operator can do about a connection that was not made. */
static const char *connect_hint(int rc)
{
    switch (-rc) {
    case ENOENT:
    case ECONNREFUSED:
        return "is dompoold running? Start it (systemctl start dompool), or name its socket with "
               "--socket or DOMPOOL_SOCKET";
    case EACCES:
    case EPERM:
        return "run as root or as a member of the socket's group";
    default:
        return "name the daemon's socket with --socket or DOMPOOL_SOCKET";
    }
}

int talk_connect(struct invocation *inv)
{
    return inv->daemon ? STATUS_DONE : talk_connect_to(inv, &inv->daemon);
}

int talk_connect_to(struct invocation *inv, struct dompool **d)
{
    int rc = dompool_connect(option_text(inv, "socket"), d);
    if (!rc)
        return STATUS_DONE;
    if (rc == -ENOMEM)
        out_of_memory();
    complain("cannot reach the daemon at %s: %s; %s", socket_path(inv), strerror(-rc),
             connect_hint(rc));
    return STATUS_UNREACHABLE;
}

int talk_failed(struct invocation *inv, int rc, const char *what)
{
    return talk_failed_on(inv, inv->daemon, rc, what);
}

int talk_failed_on(struct invocation *inv, struct dompool *d, int rc, const char *what)
{
    if (!rc)
        return STATUS_DONE;
    const char *text = dompool_error_text(d);
    if (rc == DOMPOOL_REFUSED) {
        complain("%s: %s%s%s", dompool_error_name(d), what ? what : "", what ? ": " : "", text);
        return STATUS_REFUSED;
    }
    if (rc == -EINVAL) {
        complain("%s", text);
        return STATUS_USAGE;
    }
    if (rc == -ENOMEM)
        out_of_memory();
    complain("the connection to the daemon at %s broke: %s; its log says more "
             "(journalctl -u dompool)",
             socket_path(inv), text);
    return STATUS_UNREACHABLE;
}

void talk_print(const struct invocation *inv)
{
    json_t *reply = must(json_loads(dompool_reply_text(inv->daemon), 0, NULL));
    out_json(reply, false);
    json_decref(reply);
}

char *talk_text(json_t *parameters)
{
    if (!parameters)
        return NULL;
    char *text = json_dumps(parameters, JSON_COMPACT);
    json_decref(parameters);
    if (!text)
        out_of_memory();
    return text;
}

int talk(struct invocation *inv, const char *method, json_t *parameters, json_t **reply)
{
    *reply = NULL;
    char *request = talk_text(parameters), *answer = NULL;
    int status = talk_connect(inv);
    if (!status)
        status = talk_failed(inv, dompool_call(inv->daemon, method, request, &answer), NULL);
    free(request);
    if (!status)
        *reply = must(json_loads(answer, 0, NULL));
    free(answer);
    return status;
}

struct reply_stream {
    const struct listener *listener;
    struct invocation *inv;
    int status;
};

static void stream_answer(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    (void)d;
    (void)more;
    struct reply_stream *s = data;
    const struct listener *l = s->listener;
    void (*hear)(const json_t *, void *) = rc ? l->refused : l->each;
    s->status = talk_failed(s->inv, rc, NULL);
    if (!hear || !reply)
        return;
    json_t *object = must(json_loads(reply, 0, NULL));
    hear(object, l->data);
    json_decref(object);
}

static int stream_start(struct invocation *inv, const char *method, const char *request, int fd,
                        struct reply_stream *s)
{
    return fd < 0 ? dompool_start(inv->daemon, method, request, DOMPOOL_MORE, stream_answer, s)
                  : dompool_start_passing(inv->daemon, method, request, fd, DOMPOOL_MORE,
                                          stream_answer, s);
}

int talk_stream(struct invocation *inv, const char *method, json_t *parameters, int fd,
                const struct listener *listener)
{
    char *request = talk_text(parameters);
    struct reply_stream s = {.listener = listener, .inv = inv};
    int status = talk_connect(inv);
    if (!status)
        status = talk_failed(inv, stream_start(inv, method, request, fd, &s), NULL);
    free(request);
    if (status)
        return status;
    dompool_run(inv->daemon); /* a lost connection reaches the callback as well */
    return s.status;
}

int talk_show(struct invocation *inv, json_t *parameters, void (*human)(const json_t *reply))
{
    json_t *reply;
    int status = talk(inv, inv->command->method, parameters, &reply);
    if (status)
        return status;
    if (inv->json)
        out_json(reply, false);
    else
        human(reply);
    json_decref(reply);
    return STATUS_DONE;
}
