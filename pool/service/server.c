/*
 * The API's socket: see server.h.
 *
 * A client's memory goes in its close callback. conn_dispose is never called from inside the
 * connection's own functions: what is to be run or closed is put on a list that an idle handle
 * works off in the loop's next round.
 */
#include "pool/service/server.h"

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "pool/service/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128
#define TURN_NS 1000000u /* of a round of the loop for messages that wait; others come next */
/* Nothing more is read from a client whose messages wait for their turn while so much does. */
#define BEHIND_MAX (256u << 10)
/* Bytes of replies that a client may leave unread before another one is made. One reply may be
 * larger: a list of ten thousand leases is. */
#define UNREAD_MAX (4u << 20)

struct server {
    const struct service *service;
    uv_pipe_t listener;
    uv_idle_t soon; /* runs while soon_list has members */
    uv_prepare_t round;
    uint64_t spent_ns; /* in this round of the loop */
    struct list soon_list, clients, accounts;
    unsigned n_clients;
    struct server_limits limits;
    unsigned turned_away;    /* since that was logged */
    uint64_t turned_away_ms; /* of the loop's clock, when it was */
    struct log_limit unread_lines;
    char path[108];
    bool listening;
    unsigned open_handles;
    char buf[65536]; /* all clients read into it: a read is handed on before the next one */
};

struct client {
    struct server *server;
    struct list node, soon;
    uv_pipe_t pipe;
    struct conn conn;
    struct account *account;
    size_t unread;
    bool reading;
    enum { CLIENT_OPEN, CLIENT_HANGING_UP, CLIENT_CLOSED } state;
};

struct client_write {
    uv_write_t req;
    struct client *client;
    char *bytes;
    size_t len;
};

static void server_maybe_free(struct server *s)
{
    if (!s->open_handles && !s->n_clients)
        free(s);
}

/* ---- a client's end ---- */

static void client_freed(uv_handle_t *handle)
{
    struct client *c = container_of(handle, struct client, pipe);
    struct server *s = c->server;
    s->n_clients--;
    account_leave(c->account);
    free(c);
    server_maybe_free(s);
}

static void client_close(struct client *c)
{
    if (c->state == CLIENT_CLOSED)
        return;
    c->state = CLIENT_CLOSED;
    list_remove(&c->node);
    list_remove(&c->soon);
    conn_dispose(&c->conn);
    uv_close((uv_handle_t *)&c->pipe, client_freed);
}

/* ---- what is done soon ---- */

static void client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void client_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

/* A client with a call that is open is read in any case: it may go. */
static void client_pace(struct client *c)
{
    bool read = !conn_behind(&c->conn) || message_reader_waiting(&c->conn.reader) < BEHIND_MAX;
    if (c->state != CLIENT_OPEN || read == c->reading)
        return;
    c->reading = read;
    if (read)
        uv_read_start((uv_stream_t *)&c->pipe, client_alloc, client_read);
    else
        uv_read_stop((uv_stream_t *)&c->pipe);
}

static void client_run(struct client *c)
{
    uint64_t begun = uv_hrtime();
    conn_run(&c->conn);
    c->server->spent_ns += uv_hrtime() - begun;
    client_pace(c);
}

static void round_begins(uv_prepare_t *round)
{
    container_of(round, struct server, round)->spent_ns = 0;
}

/* One message of each in turn, until this round's time is over. */
static void soon_run(uv_idle_t *idle)
{
    struct server *s = container_of(idle, struct server, soon);
    struct list now, *node;
    list_init(&now);
    while ((node = list_pop(&s->soon_list)))
        list_append(&now, node);
    uint64_t end = uv_hrtime() + TURN_NS;
    while (uv_hrtime() < end && (node = list_pop(&now))) {
        struct client *c = container_of(node, struct client, soon);
        if (c->state == CLIENT_HANGING_UP)
            client_close(c);
        else
            client_run(c);
    }
    struct list *first = s->soon_list.next; /* whoever had no turn comes before those who had */
    while ((node = list_pop(&now)))
        list_insert(first, node);
    if (list_empty(&s->soon_list))
        uv_idle_stop(idle);
}

static void client_soon(struct client *c)
{
    struct server *s = c->server;
    if (c->state == CLIENT_CLOSED || !list_empty(&c->soon))
        return;
    list_append(&s->soon_list, &c->soon);
    uv_idle_start(&s->soon, soon_run);
}

static void transport_run_soon(void *transport)
{
    client_soon(transport);
}

static void transport_hang_up(void *transport)
{
    struct client *c = transport;
    if (c->state == CLIENT_OPEN)
        c->state = CLIENT_HANGING_UP;
    client_soon(c);
}

/* ---- sending ---- */

static void client_written(uv_write_t *req, int status)
{
    struct client_write *w = container_of(req, struct client_write, req);
    struct client *c = w->client;
    c->unread -= w->len;
    c->account->unread -= w->len;
    free(w->bytes);
    free(w);
    if (status && c->state == CLIENT_OPEN)
        client_close(c);
}

/* What this client, or all of its user's, have left unread is enough: they get no more. */
static bool leaves_too_much(const struct client *c)
{
    const struct account *a = c->account;
    return c->unread > UNREAD_MAX || (a->uid != 0 && a->unread > c->server->limits.unread_per_user);
}

static bool send_rest(struct client *c, char *bytes, size_t sent, size_t len)
{
    struct client_write *w = leaves_too_much(c) ? NULL : calloc(1, sizeof *w);
    uv_buf_t buf = uv_buf_init(bytes + sent, (unsigned)(len - sent));
    if (w)
        *w = (struct client_write){.client = c, .bytes = bytes, .len = len};
    if (!w || uv_write(&w->req, (uv_stream_t *)&c->pipe, &buf, 1, client_written)) {
        if (log_allowed(&c->server->unread_lines, uv_hrtime() / 1000))
            log_info("a client of uid %u does not read its replies and is disconnected",
                     (unsigned)c->conn.uid);
        free(w);
        free(bytes);
        return false;
    }
    c->unread += len;
    c->account->unread += len;
    return true;
}

static bool transport_send(void *transport, char *bytes, size_t len)
{
    struct client *c = transport;
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
    int n = c->unread ? 0 : uv_try_write((uv_stream_t *)&c->pipe, &buf, 1);
    if (n == (int)len || (n < 0 && n != UV_EAGAIN)) {
        free(bytes);
        return n > 0;
    }
    return send_rest(c, bytes, n > 0 ? (size_t)n : 0, len);
}

static const struct transport_ops transport = {
    .send = transport_send, .hang_up = transport_hang_up, .run_soon = transport_run_soon};

/* ---- receiving ---- */

static void client_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = container_of(handle, struct client, pipe);
    (void)suggested;
    *buf = uv_buf_init(c->server->buf, sizeof c->server->buf);
}

static void passed_closed(uv_handle_t *handle)
{
    free(handle);
}

/* libuv gives descriptors away as handles alone. -1: no memory, or no descriptor more. */
static int passed_accept(struct client *c)
{
    uv_pipe_t *pipe = malloc(sizeof *pipe);
    uv_os_fd_t fd;
    if (!pipe)
        return -1;
    uv_pipe_init(c->pipe.loop, pipe, 0);
    int own = -1;
    if (!uv_accept((uv_stream_t *)&c->pipe, (uv_stream_t *)pipe) &&
        !uv_fileno((uv_handle_t *)pipe, &fd))
        own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    uv_close((uv_handle_t *)pipe, passed_closed);
    return own;
}

/* The first descriptor that came with the bytes just read, or -1; others are closed. */
static int passed_first(struct client *c)
{
    int first = -1;
    for (int n = c->pipe.ipc ? uv_pipe_pending_count(&c->pipe) : 0; n > 0; n--) {
        int fd = passed_accept(c);
        if (first < 0)
            first = fd;
        else
            fd_close(&fd);
    }
    return first;
}

/* At once, unless others wait for their turn or have used up this round. */
static void client_received(struct client *c, const char *bytes, size_t n)
{
    const struct server *s = c->server;
    int fd = passed_first(c);
    if (fd >= 0)
        conn_take_passed(&c->conn, bytes, n, fd);
    else
        conn_take(&c->conn, bytes, n);
    if (list_empty(&s->soon_list) && s->spent_ns < TURN_NS)
        client_run(c);
    else
        client_soon(c);
    client_pace(c);
}

static void client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = container_of(stream, struct client, pipe);
    if (n < 0)
        client_close(c);
    else if (n > 0)
        client_received(c, buf->base, (size_t)n);
}

static int peer_uid(uv_pipe_t *pipe, uid_t *uid)
{
    uv_os_fd_t fd;
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (uv_fileno((uv_handle_t *)pipe, &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
        return -1;
    *uid = cred.uid;
    return 0;
}

/* Root keeps a part of the places, so that it can always see and stop what goes on. Which limit
 * the client is one too many for, or NULL. */
static const char *too_many(const struct server *s, const struct account *a)
{
    unsigned max = s->limits.clients, kept = max / 8 ? max / 8 : 1;
    if (s->n_clients > max - (a->uid ? kept : 0))
        return "max_clients";
    return a->uid && a->clients > s->limits.clients_per_user ? "clients_per_user" : NULL;
}

#define SAY_EACH_MS 1000 /* clients cause these lines */

static void say_turned_away(struct server *s, const char *why)
{
    uint64_t now = uv_now(s->listener.loop);
    s->turned_away++;
    if (s->turned_away_ms && now - s->turned_away_ms < SAY_EACH_MS)
        return;
    log_warning("%u clients were turned away, the last one because of %s", s->turned_away, why);
    s->turned_away = 0;
    s->turned_away_ms = now;
}

static void client_connected(uv_stream_t *listener, int status)
{
    struct server *s = container_of(listener, struct server, listener);
    struct client *c = status < 0 ? NULL : calloc(1, sizeof *c);
    uid_t uid;
    if (!c) {
        log_warning("a client cannot be accepted: %s",
                    status < 0 ? uv_strerror(status) : "out of memory");
        return;
    }
    c->server = s;
    list_init(&c->soon);
    list_init(&c->node);
    uv_pipe_init(listener->loop, &c->pipe, 0);
    s->n_clients++;
    const char *limit = "an error";
    if (!uv_accept(listener, (uv_stream_t *)&c->pipe) && !peer_uid(&c->pipe, &uid) &&
        (c->account = account_join(&s->accounts, uid)))
        limit = too_many(s, c->account);
    if (limit) {
        say_turned_away(s, limit);
        c->state = CLIENT_CLOSED;
        uv_close((uv_handle_t *)&c->pipe, client_freed);
        return;
    }
    c->pipe.ipc = uid == 0; /* from others the kernel drops descriptors: their methods take none */
    conn_init(&c->conn, s->service, &transport, c, uid);
    list_append(&s->clients, &c->node);
    c->reading = true;
    uv_read_start((uv_stream_t *)&c->pipe, client_alloc, client_read);
}

/* ---- the socket ---- */

#define ANSWER_WAIT_MS 500

/* True when a daemon is behind the socket: it keeps the connection and waits for a call. A helper
 * that a killed daemon had just forked has the socket, too, until it calls exec: then the
 * connection ends at once. */
static bool socket_answered(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool connected = fd >= 0 && !connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool kept = connected && poll(&p, 1, ANSWER_WAIT_MS) == 0;
    fd_close(&fd);
    return kept;
}

/* A socket file that somebody answers belongs to another daemon. */
static int replace_old_socket(const char *path, struct error *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : error_errno(e, errno, "socket %s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(e, -EEXIST, "socket %s: something that is no socket has this name", path);
    format_fits(address.sun_path, sizeof address.sun_path, "%s", path);
    if (socket_answered(&address))
        return error_set(e, -EADDRINUSE, "socket %s: another daemon answers it", path);
    return unlink(path) ? error_errno(e, errno, "remove the old socket %s", path) : 0;
}

/* Before listen: nobody gets in with the wrong mode. */
static int set_access(const char *path, unsigned mode, const char *group, struct error *e)
{
    if (group[0]) {
        const struct group *g = getgrnam(group);
        if (!g)
            return error_set(e, -ENOENT, "socket_group: no group is called %s", group);
        if (chown(path, (uid_t)-1, g->gr_gid))
            return error_errno(e, errno, "give %s to group %s", path, group);
    }
    return chmod(path, mode) ? error_errno(e, errno, "set the mode of %s", path) : 0;
}

static int server_listen(struct server *s, unsigned mode, const char *group, struct error *e)
{
    mode_t before = umask(0177);
    int rc = uv_pipe_bind(&s->listener, s->path);
    umask(before);
    if (rc)
        return error_set(e, rc, "bind socket %s: %s", s->path, uv_strerror(rc));
    rc = set_access(s->path, mode, group, e);
    if (rc)
        return rc;
    rc = uv_listen((uv_stream_t *)&s->listener, BACKLOG, client_connected);
    return rc ? error_set(e, rc, "listen on %s: %s", s->path, uv_strerror(rc)) : 0;
}

int server_new(uv_loop_t *loop, const struct service *service, const char *path, unsigned mode,
               const char *group, const struct server_limits *limits, struct server **out,
               struct error *e)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(e, -ENOMEM, "out of memory");
    s->service = service;
    s->limits = *limits;
    list_init(&s->soon_list);
    list_init(&s->clients);
    list_init(&s->accounts);
    int rc = 0;
    if (!format_fits(s->path, sizeof s->path, "%s", path))
        rc = error_set(e, -ENAMETOOLONG, "socket %s: longer than 107 characters", path);
    if (!rc)
        rc = replace_old_socket(path, e);
    if (rc) {
        free(s);
        return rc;
    }
    uv_pipe_init(loop, &s->listener, 0);
    uv_idle_init(loop, &s->soon);
    uv_prepare_init(loop, &s->round);
    uv_prepare_start(&s->round, round_begins);
    s->open_handles = 3;
    rc = server_listen(s, mode, group, e);
    s->listening = true;
    if (rc) {
        server_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void server_set_limits(struct server *s, const struct server_limits *limits)
{
    s->limits = *limits;
}

static void handle_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;
    s->open_handles--;
    server_maybe_free(s);
}

void server_stop_accepting(struct server *s)
{
    if (!s->listening)
        return;
    s->listening = false;
    s->listener.data = s;
    uv_close((uv_handle_t *)&s->listener, handle_closed); /* libuv unlinks what it has bound */
}

void server_close(struct server *s)
{
    server_stop_accepting(s);
    list_each (node, &s->clients)
        client_close(container_of(node, struct client, node));
    s->soon.data = s->round.data = s;
    uv_close((uv_handle_t *)&s->soon, handle_closed);
    uv_close((uv_handle_t *)&s->round, handle_closed);
}
