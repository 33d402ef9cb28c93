/*
 * Helper processes: see process.h.
 *
 * A helper has two ends, its process and its socket, and they end in either order. Its owner
 * hears `ended` once, when the process has exited and the last bytes have been read, so that the
 * message with which a helper says why it fails is never lost. The memory goes with the second
 * of the two handles.
 *
 * A helper is started on a thread, by posix_spawn, which lends it our memory until it has its own.
 * The thread stands until the kernel has loaded the helper's file; the loop does not. fork would
 * copy our page tables, which takes milliseconds once there are thousands of leases. A helper asks
 * to be killed with its parent, which is that thread: it lives as long as the daemon.
 *
 * What is sent to a helper that is being started waits in its socket, and a signal here. The
 * process is watched by a descriptor of its own (pidfd_open); its number stays its own until we
 * have asked for its status.
 */
#include "pool/service/process.h"

#include "base/array.h"
#include "base/io.h"
#include "base/log.h"
#include "base/message.h"
#include "base/text.h"
#include "restore/protocol/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum helper_state { HELPER_STARTING, HELPER_RUNNING, HELPER_ENDED };

struct helper {
    struct list node;
    const struct helper_events *events; /* NULL: nobody listens any more */
    void *owner;
    enum helper_state state;
    pid_t pid;
    uv_poll_t process;
    uv_pipe_t pipe;
    struct message_reader reader;
    char buf[4096];
    unsigned users; /* of this memory: the pipe, and what starts or watches the process */

    /* while it is being started: the thread's */
    struct list in_queue;
    char path[400], level[64], user[96]; /* level, user: for its environment */
    char **env;
    int socket_fd;  /* its end */
    int input_fd;   /* what it gets as HELPER_INPUT_FD; -1: none */
    int process_fd; /* readable when it has ended; the watcher's later */
    int rc;         /* 0, or a negative number of errno, as libuv's */

    int signal; /* to be sent when it has been started; 0: none */
};

struct helper_write {
    uv_write_t req;
    char *bytes;
};

static void helper_left(struct helper *h)
{
    if (--h->users)
        return;
    fd_close(&h->socket_fd);
    fd_close(&h->input_fd);
    fd_close(&h->process_fd);
    list_remove(&h->node);
    message_reader_dispose(&h->reader);
    free(h->env);
    free(h);
}

static void handle_closed(uv_handle_t *handle)
{
    helper_left(handle->data);
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
        log_warning("helper %d: %s", (int)h->pid, e.text);
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

/* How it has ended, into how; false: it has not. */
static bool status_take(const struct helper *h, char *how, size_t size)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)h->pid, &info, WEXITED | WNOHANG))
        format_fits(how, size, "ended, and its status is lost: %s", strerror(errno));
    else if (!info.si_pid)
        return false;
    else if (info.si_code == CLD_EXITED)
        format_fits(how, size, "exited with status %d", info.si_status);
    else
        format_fits(how, size, "was killed by signal %d (%s)", info.si_status,
                    strsignal(info.si_status));
    return true;
}

/* Its last message, then its end. */
static void helper_over(struct helper *h, const char *how)
{
    h->state = HELPER_ENDED; /* from here on its pid may be somebody else's */
    helper_drain(h);
    if (h->events)
        h->events->ended(h, h->owner, how);
    uv_close((uv_handle_t *)&h->pipe, handle_closed);
}

static void helper_exited(uv_poll_t *process, int status, int events)
{
    struct helper *h = process->data;
    char how[96];
    (void)status;
    (void)events;
    if (!status_take(h, how, sizeof how))
        return;
    uv_close((uv_handle_t *)process, handle_closed);
    helper_over(h, how);
}

/* ---- starting ---- */

/* A variable's name, with its '='. */
static size_t name_len(const char *variable)
{
    return strcspn(variable, "=") + 1;
}

/* Our own, and these n variables. NULL: no memory. The strings are borrowed. */
static char **environment_with(char *const *variables, size_t n)
{
    size_t ours = 0;
    while (environ[ours])
        ours++;
    char **env = calloc(ours + n + 1, sizeof *env);
    if (!env)
        return NULL;
    memcpy(env, variables, n * sizeof *env);
    size_t at = n;
    for (size_t i = 0; i < ours; i++) {
        bool replaced = false;
        for (size_t k = 0; k < n; k++)
            replaced |= !strncmp(environ[i], variables[k], name_len(variables[k]));
        if (!replaced)
            env[at++] = environ[i];
    }
    return env;
}

/* What it finds: nothing to read, nobody who reads, our standard error, its end of the socket, and
 * its input if there is one. All else that we have open closes on exec. */
static int give_descriptors(posix_spawn_file_actions_t *actions, const struct helper *h)
{
    int rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_RDWR, 0);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(actions, h->socket_fd, HELPER_FD);
    if (!rc && h->input_fd >= 0)
        rc = posix_spawn_file_actions_adddup2(actions, h->input_fd, HELPER_INPUT_FD);
    return rc;
}

/* No signal blocked, none ignored or caught. */
static int give_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!rc)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    return rc ? rc : posix_spawnattr_setsigdefault(attributes, &all);
}

/* 0 or an error's number. */
static int spawn(struct helper *h)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *args[] = {h->path, NULL};
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (!rc) {
        rc = give_descriptors(&actions, h);
        if (!rc)
            rc = give_signals(&attributes);
        if (!rc)
            rc = posix_spawn(&h->pid, h->path, &actions, &attributes, args, h->env);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static void start_run(struct work_queue *q, struct list *item, void **local)
{
    struct helper *h = container_of(item, struct helper, in_queue);
    (void)q;
    (void)local;
    int rc = spawn(h);
    fd_close(&h->socket_fd);
    fd_close(&h->input_fd);
    if (!rc) {
        h->process_fd = (int)syscall(SYS_pidfd_open, h->pid, 0);
        rc = h->process_fd < 0 ? errno : 0;
    }
    h->rc = -rc;
}

/* It has been told nothing that matters, and takes no longer to end than the kernel needs. */
static void process_take_back(struct helper *h)
{
    if (h->pid <= 0)
        return;
    kill(h->pid, SIGKILL);
    waitpid(h->pid, NULL, 0);
}

static int process_watch(struct helper *h)
{
    int rc = uv_poll_init(h->pipe.loop, &h->process, h->process_fd);
    if (rc)
        return rc;
    h->users++;
    rc = uv_poll_start(&h->process, UV_READABLE, helper_exited);
    if (rc)
        uv_close((uv_handle_t *)&h->process, handle_closed);
    return rc;
}

static void start_done(struct work_queue *q, struct list *item)
{
    struct helper *h = container_of(item, struct helper, in_queue);
    (void)q;
    free(h->env);
    h->env = NULL;
    int rc = h->rc ? h->rc : process_watch(h);
    if (!rc) {
        h->state = HELPER_RUNNING;
        if (h->signal)
            kill(h->pid, h->signal);
    } else {
        char how[96];
        process_take_back(h);
        format_fits(how, sizeof how, "could not be started: %s", uv_strerror(rc));
        helper_over(h, how);
    }
    helper_left(h);
}

const struct work_ops helper_start_ops = {.run = start_run, .done = start_done};

/* The socket, and our end of it. */
static int socket_make(struct helper *h)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return -errno;
    h->socket_fd = ends[1];
    int rc = uv_pipe_open(&h->pipe, ends[0]);
    if (rc) {
        fd_close(&ends[0]);
        return rc;
    }
    return uv_read_start((uv_stream_t *)&h->pipe, helper_alloc, helper_read);
}

/* One of our own, until it has been started, above those that it gets: its number is none of
 * theirs. */
static int input_take(struct helper *h, int input)
{
    if (input < 0)
        return 0;
    h->input_fd = fcntl(input, F_DUPFD_CLOEXEC, HELPER_INPUT_FD + 1);
    return h->input_fd < 0 ? -errno : 0;
}

/* NULL: no memory. */
static char **environment_of(struct helper *h, const struct helper_settings *settings)
{
    char *const variables[] = {h->level, h->user};
    format_fits(h->level, sizeof h->level, HELPER_LEVEL_VARIABLE "=%s", settings->log_level);
    format_fits(h->user, sizeof h->user, HELPER_USER_VARIABLE "=%s", settings->user);
    return environment_with(variables, ARRAY_SIZE(variables));
}

int helper_spawn(struct work_queue *starts, uv_loop_t *loop, const char *path,
                 const struct helper_settings *settings, int input,
                 const struct helper_events *events, void *owner, struct list *list,
                 struct helper **out, struct error *e)
{
    struct helper *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(e, -ENOMEM, "start %s: out of memory", path);
    h->owner = owner;
    h->socket_fd = h->input_fd = h->process_fd = -1;
    h->pipe.data = h->process.data = h;
    list_init(&h->node);
    list_init(&h->in_queue);
    message_reader_init(&h->reader, HELPER_MESSAGE_LIMIT);
    format_fits(h->path, sizeof h->path, "%s", path);
    h->env = environment_of(h, settings);
    uv_pipe_init(loop, &h->pipe, 0);
    h->users = 1;
    int rc = h->env ? input_take(h, input) : UV_ENOMEM;
    if (!rc)
        rc = socket_make(h);
    if (rc) {
        uv_close((uv_handle_t *)&h->pipe, handle_closed);
        return error_set(e, rc, "start %s: %s", path, uv_strerror(rc));
    }
    h->users++; /* what starts it */
    h->events = events;
    list_append(list, &h->node);
    work_start(starts, &h->in_queue);
    *out = h;
    return 0;
}

/* ---- telling it ---- */

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

static void helper_signal(struct helper *h, int sig)
{
    if (h->state == HELPER_RUNNING)
        kill(h->pid, sig);
    else if (h->state == HELPER_STARTING && h->signal != SIGKILL)
        h->signal = sig;
}

void helper_stop(struct helper *h)
{
    helper_signal(h, SIGTERM);
}

void helper_kill(struct helper *h)
{
    helper_signal(h, SIGKILL);
}

void helper_abandon(struct list *node)
{
    struct helper *h = container_of(node, struct helper, node);
    h->events = NULL;
    helper_kill(h);
}
