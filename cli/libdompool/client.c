/*
 * The client's connection: requests queue up in `out`, answers come through `in`, and the
 * list of calls says, in order, whose answer comes next. Varlink answers in the order of
 * the requests, so the first call of the list owns every reply until one without
 * "continues".
 *
 * The socket is always non-blocking; a blocking call is poll(2) around the same dispatch.
 * Once the connection is broken it stays so: every outstanding call is told once, with the
 * reason, and each later call gets the reason back.
 *
 * A call leaves the list before its last callback runs, so the callback may start others.
 */
#include "cli/libdompool/client.h"

#include "base/array.h"
#include "base/io.h"
#include "base/message.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/dompool/io.dompool"
/* A List of 10,000 slots is about 4 MiB; what is larger than this is no answer of ours. */
#define REPLY_LIMIT (16u << 20)
/* Read at most this often in one dispatch, so that a flood cannot keep the caller's loop. */
#define READS_AT_ONCE 64

struct sent_call {
    struct sent_call *next;
    dompool_reply_fn *fn;
    void *data;
    bool more; /* the request asked for a stream */
};

/* A descriptor that leaves with the first byte of its request. */
struct passing {
    struct passing *next;
    int fd;
    uint64_t begin, end; /* the request, in bytes of all that is sent */
};

struct dompool {
    int fd;
    int broken;  /* 0, or the negated errno value that ended the connection */
    bool inside; /* a callback is running */
    struct message_reader in;
    char *out; /* bytes to send: out[out_sent .. out_used) */
    size_t out_used, out_sent, out_size;
    uint64_t sent; /* bytes, in all */
    struct passing *passing, **last_passing;
    struct sent_call *first, **last;
    char *reply; /* of the typed call that succeeded last; NULL: none yet */
    char error_name[128];
    struct error error;
};

/* ---- errors ---- */

int client_fail(struct dompool *d, int rc, const char *fmt, ...)
{
    char text[sizeof d->error.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->error_name[0] = '\0';
    return error_set(&d->error, rc, "%s", text);
}

const char *dompool_error_name(const struct dompool *d)
{
    return d->error_name;
}

const char *dompool_error_text(const struct dompool *d)
{
    return d->error.text;
}

const char *dompool_reply_text(const struct dompool *d)
{
    return d->reply ? d->reply : "{}";
}

/* Varlink's own errors carry one parameter that says what was wrong. */
static const struct {
    const char *name, *key, *text;
} service_errors[] = {
    {"org.varlink.service.InterfaceNotFound", "interface", "the daemon has no interface %s"},
    {"org.varlink.service.MethodNotFound", "method", "the daemon has no method %s"},
    {"org.varlink.service.MethodNotImplemented", "method", "the daemon does not implement %s"},
    {"org.varlink.service.InvalidParameter", "parameter", "parameter %s is wrong or missing"},
};

static void refusal_text(struct dompool *d, const char *name, json_t *parameters)
{
    const char *text = json_string_value(json_object_get(parameters, "text"));
    if (text) {
        error_set(&d->error, DOMPOOL_REFUSED, "%s", text);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(service_errors); i++) {
        text = json_string_value(json_object_get(parameters, service_errors[i].key));
        if (strcmp(name, service_errors[i].name) || !text)
            continue;
        char line[sizeof d->error.text];
        const char *hole = strstr(service_errors[i].text, "%s");
        snprintf(line, sizeof line, "%.*s%s%s", (int)(hole - service_errors[i].text),
                 service_errors[i].text, text, hole + 2);
        error_set(&d->error, DOMPOOL_REFUSED, "%s", line);
        return;
    }
    const char *known = strncmp(name, API_INTERFACE, strlen(API_INTERFACE))
                            ? "the daemon gave no reason"
                            : answer_text(answer_by_name(name + strlen(API_INTERFACE)));
    error_set(&d->error, DOMPOOL_REFUSED, "%s", known);
}

static int refusal(struct dompool *d, const char *name, json_t *parameters)
{
    refusal_text(d, name, parameters);
    if (!strncmp(name, API_INTERFACE, strlen(API_INTERFACE)))
        name += strlen(API_INTERFACE);
    snprintf(d->error_name, sizeof d->error_name, "%s", name);
    return DOMPOOL_REFUSED;
}

/* ---- the connection ---- */

const char *dompool_socket_path(const char *path)
{
    if (path)
        return path;
    path = getenv("DOMPOOL_SOCKET");
    return path && *path ? path : DEFAULT_SOCKET;
}

static int socket_connect(int fd, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!*path)
        return -ENOENT;
    if (!format_fits(to.sun_path, sizeof to.sun_path, "%s", path))
        return -ENAMETOOLONG;
    int r;
    do
        r = connect(fd, (const struct sockaddr *)&to, sizeof to);
    while (r && errno == EINTR);
    return r ? -errno : 0;
}

int dompool_connect(const char *path, struct dompool **out)
{
    *out = NULL;
    struct dompool *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->last = &d->first;
    d->last_passing = &d->passing;
    message_reader_init(&d->in, REPLY_LIMIT);
    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = d->fd < 0 ? -errno : socket_connect(d->fd, dompool_socket_path(path));
    if (rc) {
        dompool_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

static void call_answer(struct dompool *d, struct sent_call *call, int rc, bool more,
                        const char *reply)
{
    bool outer = d->inside;
    d->inside = true;
    call->fn(d, rc, more, reply, call->data);
    d->inside = outer;
}

static struct sent_call *calls_pop(struct dompool *d)
{
    struct sent_call *call = d->first;
    d->first = call->next;
    if (!d->first)
        d->last = &d->first;
    return call;
}

/* The connection is over: tells every outstanding call. A callback may look at the error. */
static int client_break(struct dompool *d, int rc)
{
    d->broken = rc;
    struct error why = d->error;
    while (d->first) {
        struct sent_call *call = calls_pop(d);
        d->error = why;
        d->error_name[0] = '\0';
        call_answer(d, call, rc, false, NULL);
        free(call);
    }
    d->error = why;
    return rc;
}

static void passing_pop(struct dompool *d)
{
    struct passing *p = d->passing;
    d->passing = p->next;
    if (!d->passing)
        d->last_passing = &d->passing;
    fd_close(&p->fd);
    free(p);
}

void dompool_close(struct dompool *d)
{
    if (!d)
        return;
    client_fail(d, -ECANCELED, "the connection was closed by its user");
    client_break(d, -ECANCELED);
    fd_close(&d->fd);
    while (d->passing)
        passing_pop(d);
    message_reader_dispose(&d->in);
    free(d->out);
    free(d->reply);
    free(d);
}

int dompool_fd(const struct dompool *d)
{
    return d->fd;
}

short dompool_events(const struct dompool *d)
{
    return d->out_sent < d->out_used ? POLLIN | POLLOUT : POLLIN;
}

/* ---- sending ---- */

static bool out_append(struct dompool *d, const char *bytes, size_t n)
{
    if (d->out_sent) {
        memmove(d->out, d->out + d->out_sent, d->out_used - d->out_sent);
        d->out_used -= d->out_sent;
        d->out_sent = 0;
    }
    if (n > d->out_size - d->out_used) {
        char *bigger = realloc(d->out, d->out_used + n);
        if (!bigger)
            return false;
        d->out = bigger;
        d->out_size = d->out_used + n;
    }
    memcpy(d->out + d->out_used, bytes, n);
    d->out_used += n;
    return true;
}

/* Sends n bytes with a descriptor (-1: none), as sendmsg(2). */
static ssize_t send_with(int socket, const char *bytes, size_t n, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)bytes, n};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The next piece: up to a request that passes a descriptor, or of that request alone. */
static ssize_t out_send(struct dompool *d)
{
    size_t n = d->out_used - d->out_sent;
    const struct passing *p = d->passing;
    bool now = p && p->begin == d->sent;
    uint64_t border = !p ? UINT64_MAX : now ? p->end - d->sent : p->begin - d->sent;
    ssize_t sent =
        send_with(d->fd, d->out + d->out_sent, border < n ? (size_t)border : n, now ? p->fd : -1);
    if (sent > 0 && now)
        passing_pop(d);
    return sent;
}

/* 0, also when the socket is full, or the error that ends the connection: dispatch alone calls
 * this, and breaks the connection with it once everything that was answered is read. */
static int out_flush(struct dompool *d)
{
    while (d->out_sent < d->out_used) {
        ssize_t n = out_send(d);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0) {
            d->out_used = d->out_sent = 0;
            return -errno;
        }
        d->out_sent += (size_t)n;
        d->sent += (uint64_t)n;
    }
    return 0;
}

/* The request as text, NUL included; NULL when memory runs out. */
static char *request_encode(const char *method, json_t *parameters, bool more, size_t *len)
{
    json_t *request =
        json_pack("{s:s+}", "method", strchr(method, '.') ? "" : API_INTERFACE, method);
    bool whole = request && (!parameters || !json_object_set(request, "parameters", parameters)) &&
                 (!more || !json_object_set_new(request, "more", json_true()));
    char *text = whole ? message_encode(request, len) : NULL;
    json_decref(request);
    return text;
}

static void passing_free(struct passing *p)
{
    if (p)
        fd_close(&p->fd);
    free(p);
}

/* A descriptor for the request of len bytes that is queued next; NULL in *out for none (fd -1). */
static int passing_new(struct dompool *d, int fd, size_t len, struct passing **out)
{
    *out = NULL;
    if (fd < 0)
        return 0;
    struct passing *p = calloc(1, sizeof *p);
    if (!p)
        return client_fail(d, -ENOMEM, "out of memory for a request");
    p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (p->fd < 0) {
        int rc = -errno;
        free(p);
        return client_fail(d, rc, "pass descriptor %d: %s", fd, strerror(-rc));
    }
    p->begin = d->sent + d->out_used - d->out_sent;
    p->end = p->begin + len;
    *out = p;
    return 0;
}

/* What is to be sent with the request. */
struct request {
    const char *method;
    json_t *parameters;
    unsigned flags;
    int fd; /* -1: none */
};

static int call_queue(struct dompool *d, const struct request *rq, dompool_reply_fn *fn, void *data)
{
    size_t len = 0;
    char *text = request_encode(rq->method, rq->parameters, rq->flags & DOMPOOL_MORE, &len);
    struct sent_call *call = calloc(1, sizeof *call);
    struct passing *passing = NULL;
    int rc = text && call ? passing_new(d, rq->fd, len, &passing)
                          : client_fail(d, -ENOMEM, "out of memory for a request");
    if (!rc && !out_append(d, text, len))
        rc = client_fail(d, -ENOMEM, "out of memory for a request");
    free(text);
    if (rc) {
        passing_free(passing);
        free(call);
        return rc;
    }
    if (passing) {
        *d->last_passing = passing;
        d->last_passing = &passing->next;
    }
    *call = (struct sent_call){.fn = fn, .data = data, .more = rq->flags & DOMPOOL_MORE};
    *d->last = call;
    d->last = &call->next;
    return 0;
}

static int call_start(struct dompool *d, const struct request *rq, dompool_reply_fn *fn, void *data)
{
    if (d->broken)
        return d->broken;
    return call_queue(d, rq, fn, data);
}

static int start(struct dompool *d, struct request rq, const char *parameters, dompool_reply_fn *fn,
                 void *data)
{
    json_t *name = rq.method && *rq.method ? json_string(rq.method) : NULL; /* NULL: no UTF-8 */
    json_decref(name);
    if (!name || !fn || rq.flags & ~DOMPOOL_MORE)
        return client_fail(d, -EINVAL, "method, callback or flags are not valid");
    json_error_t why;
    json_t *object = parameters ? json_loads(parameters, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (parameters && !json_is_object(object)) {
        client_fail(d, -EINVAL, "the parameters are not a JSON object: %s (line %d, column %d)",
                    object ? "another type" : why.text, object ? 1 : why.line,
                    object ? 1 : why.column);
        json_decref(object);
        return -EINVAL;
    }
    rq.parameters = object;
    int rc = call_start(d, &rq, fn, data);
    json_decref(object);
    return rc;
}

int dompool_start(struct dompool *d, const char *method, const char *parameters, unsigned flags,
                  dompool_reply_fn *fn, void *data)
{
    return start(d, (struct request){method, NULL, flags, -1}, parameters, fn, data);
}

int dompool_start_passing(struct dompool *d, const char *method, const char *parameters, int fd,
                          unsigned flags, dompool_reply_fn *fn, void *data)
{
    if (fd < 0)
        return client_fail(d, -EBADF, "there is no descriptor %d to pass", fd);
    return start(d, (struct request){method, NULL, flags, fd}, parameters, fn, data);
}

/* ---- receiving ---- */

static void reply_deliver(struct dompool *d, struct sent_call *call, int rc, bool more,
                          json_t *parameters)
{
    char *text = parameters ? json_dumps(parameters, JSON_COMPACT) : strdup("{}");
    if (!text)
        rc = client_fail(d, -ENOMEM, "out of memory for an answer");
    call_answer(d, call, rc, more, text);
    free(text);
}

/* One message from the daemon: an answer of the first call. */
static int reply_handle(struct dompool *d, json_t *message)
{
    json_t *error = json_object_get(message, "error");
    json_t *parameters = json_object_get(message, "parameters");
    bool more = json_is_true(json_object_get(message, "continues"));
    if (!d->first)
        return client_fail(d, -EPROTO, "the daemon sent an answer that nobody asked for");
    if (more && (error || !d->first->more))
        return client_fail(d, -EPROTO, "the daemon sent a stream instead of a single answer");
    if ((error && !json_is_string(error)) || (parameters && !json_is_object(parameters)))
        return client_fail(d, -EPROTO, "the daemon's answer is not a Varlink message");
    int rc = error ? refusal(d, json_string_value(error), parameters) : 0;
    if (more) {
        reply_deliver(d, d->first, rc, true, parameters);
        return 0;
    }
    struct sent_call *call = calls_pop(d);
    reply_deliver(d, call, rc, false, parameters);
    free(call);
    return 0;
}

static int replies_handle(struct dompool *d)
{
    json_t *message;
    struct error e = {0};
    int rc;
    while ((rc = message_reader_next(&d->in, &message, &e)) > 0) {
        rc = reply_handle(d, message);
        json_decref(message);
        if (rc)
            return rc;
    }
    return rc ? client_fail(d, rc, "the daemon's answer: %s", e.text) : 0;
}

static int in_read(struct dompool *d)
{
    char chunk[65536];
    for (int i = 0; i < READS_AT_ONCE; i++) {
        ssize_t n = recv(d->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0)
            return client_fail(d, -errno, "receive: %s", strerror(errno));
        if (n == 0)
            return client_fail(d, -ECONNRESET, "the daemon closed the connection");
        struct error e = {0};
        int rc = message_reader_feed(&d->in, chunk, (size_t)n, &e);
        if (rc)
            return client_fail(d, rc, "the daemon's answer: %s", e.text);
        rc = replies_handle(d);
        /* With nothing awaited any more, the end of the connection is for the next dispatch: it
         * must not turn a dompool_run whose answers all came into a failure. */
        if (rc || !d->first)
            return rc;
    }
    return 0;
}

int dompool_dispatch(struct dompool *d)
{
    if (d->broken)
        return d->broken;
    if (d->inside)
        return client_fail(d, -EDEADLK,
                           "dompool_dispatch must not be called from inside a callback");
    int sent = out_flush(d);
    int rc = in_read(d); /* what was answered before the connection broke still counts */
    if (!rc && sent)
        rc = client_fail(d, sent, "send: %s", strerror(-sent));
    return rc ? client_break(d, rc) : 0;
}

/* ---- blocking ---- */

static int client_pump(struct dompool *d)
{
    struct pollfd watch = {.fd = d->fd, .events = dompool_events(d)};
    if (poll(&watch, 1, -1) < 0 && errno != EINTR)
        return client_break(d, client_fail(d, -errno, "poll: %s", strerror(errno)));
    return dompool_dispatch(d);
}

int dompool_run(struct dompool *d)
{
    if (d->inside)
        return client_fail(d, -EDEADLK, "a blocking call must not be made from inside a callback");
    int rc = d->broken;
    while (!rc && d->first)
        rc = client_pump(d);
    return rc;
}

struct wanted {
    bool there;
    int rc;
    char *text;
    struct error error;
    char error_name[sizeof((struct dompool *)0)->error_name];
};

static void wanted_keep(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    (void)more; /* not asked for, so reply_handle has refused it */
    struct wanted *w = data;
    w->there = true;
    w->rc = rc;
    w->text = rc ? NULL : strdup(reply);
    if (!rc && !w->text)
        w->rc = client_fail(d, -ENOMEM, "out of memory for an answer");
    w->error = d->error;
    memcpy(w->error_name, d->error_name, sizeof w->error_name);
}

/* Waits for an answer that was asked for with rc. Answers to requests started by other
 * callbacks in the meantime may have left their own error, so ours is put back. */
static int wanted_wait(struct dompool *d, struct wanted *w, int rc, char **reply)
{
    *reply = NULL;
    if (rc)
        return rc;
    while (!w->there)
        client_pump(d);
    d->error = w->error;
    memcpy(d->error_name, w->error_name, sizeof d->error_name);
    *reply = w->text;
    return w->rc;
}

int dompool_call(struct dompool *d, const char *method, const char *parameters, char **reply)
{
    if (reply)
        *reply = NULL;
    if (d->inside)
        return client_fail(d, -EDEADLK, "a blocking call must not be made from inside a callback");
    struct wanted w = {0};
    char *text;
    int rc = wanted_wait(d, &w, dompool_start(d, method, parameters, 0, wanted_keep, &w), &text);
    if (reply)
        *reply = text;
    else
        free(text);
    return rc;
}

int client_call(struct dompool *d, const char *method, json_t *parameters, json_t **reply)
{
    *reply = NULL;
    char *text = parameters ? json_dumps(parameters, JSON_COMPACT) : NULL;
    json_decref(parameters);
    if (!text)
        return client_fail(d, -EINVAL, "an argument is not UTF-8 text, or out of memory");
    char *answer;
    int rc = dompool_call(d, method, text, &answer);
    free(text);
    if (rc)
        return rc;
    *reply = json_loads(answer, 0, NULL);
    free(d->reply);
    d->reply = answer;
    return *reply ? 0 : client_fail(d, -ENOMEM, "out of memory for an answer");
}
