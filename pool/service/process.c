/*
 * Helper processes: see helper.h.
 *
 * A helper has two ends, its process and its socket, and they end in either order. Its owner
 * hears `ended` once, when the process has exited and the last bytes have been read, so that the
 * message with which a helper says why it fails is never lost. The memory goes with the second
 * of the two handles.
 */
#include "pool/service/process.h"

#include "base/log.h"
#include "base/message.h"
#include "base/text.h"
#include "restore/protocol/protocol.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct helper {
    struct list node;
    const struct helper_events *events; /* NULL: nobody listens any more */
    void *owner;
    uv_process_t process;
    uv_pipe_t pipe;
    struct message_reader reader;
    char buf[4096];
    unsigned open_handles;
    bool exited;
};

struct helper_write {
    uv_write_t req;
    char *bytes;
};

static void handle_closed(uv_handle_t *handle)
{
    struct helper *h = handle->data;
    if (--h->open_handles)
        return;
    list_remove(&h->node);
    message_reader_dispose(&h->reader);
    free(h);
}

static void helper_close(struct helper *h)
{
    uv_close((uv_handle_t *)&h->process, handle_closed);
    uv_close((uv_handle_t *)&h->pipe, handle_closed);
}

static void helper_feed(struct helper *h, const char *bytes, size_t n)
{
    struct error e;
    json_t *message;
    int rc = message_reader_feed(&h->reader, bytes, n, &e);
    while (!rc && h->events && (rc = message_reader_next(&h->reader, &message, &e)) > 0) {
        h->events->message(h, h->owner, message);
        json_decref(message);
        rc = 0;
    }
    if (rc < 0) {
        log_warning("helper %d: %s", h->process.pid, e.text);
        if (h->events)
            h->events->message(h, h->owner, NULL);
        helper_kill(h);
    }
}

static void helper_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct helper *h = handle->data;
    (void)suggested;
    *buf = uv_buf_init(h->buf, sizeof h->buf);
}

static void helper_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct helper *h = stream->data;
    if (n > 0)
        helper_feed(h, buf->base, (size_t)n);
    else if (n < 0)
        uv_read_stop(stream); /* its exit follows */
}

/* What the helper wrote before it exited and the loop has not read yet. A child of its own may
 * still write: whatever is more than any message is not waited for. */
static void helper_drain(struct helper *h)
{
    uv_os_fd_t fd;
    ssize_t n;
    if (uv_fileno((uv_handle_t *)&h->pipe, &fd))
        return;
    size_t left = HELPER_MESSAGE_LIMIT;
    while (left && ((n = read(fd, h->buf, sizeof h->buf)) > 0 || (n < 0 && errno == EINTR))) {
        if (n <= 0)
            continue;
        helper_feed(h, h->buf, (size_t)n);
        left -= (size_t)n < left ? (size_t)n : left;
    }
}

static void helper_exited(uv_process_t *process, int64_t status, int sig)
{
    struct helper *h = process->data;
    char how[96];
    h->exited = true; /* from here on its pid may be somebody else's */
    helper_drain(h);
    if (sig)
        format_fits(how, sizeof how, "was killed by signal %d (%s)", sig, strsignal(sig));
    else
        format_fits(how, sizeof how, "exited with status %d", (int)status);
    if (h->events)
        h->events->ended(h, h->owner, how);
    helper_close(h);
}

/* Our own, and this variable. NULL: no memory. The strings are borrowed. */
static char **environment_with(char *variable)
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 2, sizeof *env);
    if (!env)
        return NULL;
    env[0] = variable;
    size_t at = 1;
    const size_t name_len = strcspn(variable, "=") + 1;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], variable, name_len) != 0)
            env[at++] = environ[i];
    return env;
}

static int spawn(struct helper *h, uv_loop_t *loop, const char *path, const char *log_level,
                 int input)
{
    char variable[64];
    format_fits(variable, sizeof variable, "DOMPOOL_LOG_LEVEL=%s", log_level);
    char **env = environment_with(variable);
    if (!env)
        return UV_ENOMEM;
    char *args[] = {(char *)path, NULL};
    uv_stdio_container_t stdio[HELPER_INPUT_FD + 1] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    stdio[HELPER_FD].flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE;
    stdio[HELPER_FD].data.stream = (uv_stream_t *)&h->pipe;
    stdio[HELPER_INPUT_FD].flags = UV_INHERIT_FD;
    stdio[HELPER_INPUT_FD].data.fd = input;
    uv_process_options_t options = {
        .exit_cb = helper_exited,
        .file = path,
        .args = args,
        .env = env,
        .stdio = stdio,
        .stdio_count = input < 0 ? HELPER_FD + 1 : HELPER_INPUT_FD + 1,
    };
    int rc = uv_spawn(loop, &h->process, &options);
    free(env);
    return rc ? rc : uv_read_start((uv_stream_t *)&h->pipe, helper_alloc, helper_read);
}

int helper_spawn(uv_loop_t *loop, const char *path, const char *log_level, int input,
                 const struct helper_events *events, void *owner, struct list *list,
                 struct helper **out, struct error *e)
{
    struct helper *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(e, -ENOMEM, "start %s: out of memory", path);
    h->owner = owner;
    h->open_handles = 2;
    h->pipe.data = h->process.data = h;
    list_init(&h->node);
    message_reader_init(&h->reader, HELPER_MESSAGE_LIMIT);
    uv_pipe_init(loop, &h->pipe, 0);
    int rc = spawn(h, loop, path, log_level, input);
    if (rc) {
        helper_close(h);
        return error_set(e, rc, "start %s: %s", path, uv_strerror(rc));
    }
    h->events = events;
    list_append(list, &h->node);
    *out = h;
    return 0;
}

static void helper_written(uv_write_t *req, int status)
{
    struct helper_write *w = container_of(req, struct helper_write, req);
    (void)status; /* a helper that does not read any more has ended, or will time out */
    free(w->bytes);
    free(w);
}

/* The socket took only the first part at once. */
static void helper_send_rest(struct helper *h, char *bytes, size_t sent, size_t len)
{
    struct helper_write *w = calloc(1, sizeof *w);
    uv_buf_t buf = uv_buf_init(bytes + sent, (unsigned)(len - sent));
    if (w)
        w->bytes = bytes;
    if (!w || uv_write(&w->req, (uv_stream_t *)&h->pipe, &buf, 1, helper_written)) {
        free(w);
        free(bytes);
        helper_kill(h);
    }
}

void helper_send(struct helper *h, const json_t *message)
{
    size_t len;
    char *bytes = message_encode(message, &len);
    if (!bytes) {
        helper_kill(h);
        return;
    }
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&h->pipe, &buf, 1);
    if (n < 0 && n != UV_EAGAIN)
        helper_kill(h); /* most likely it has just ended */
    if (n == (int)len || (n < 0 && n != UV_EAGAIN))
        free(bytes);
    else
        helper_send_rest(h, bytes, n > 0 ? (size_t)n : 0, len);
}

void helper_stop(struct helper *h)
{
    if (!h->exited)
        uv_process_kill(&h->process, SIGTERM);
}

void helper_kill(struct helper *h)
{
    if (!h->exited)
        uv_process_kill(&h->process, SIGKILL);
}

void helper_abandon(struct list *node)
{
    struct helper *h = container_of(node, struct helper, node);
    h->events = NULL;
    helper_kill(h);
}
