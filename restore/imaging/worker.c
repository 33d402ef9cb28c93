/*
 * Workers: see worker.h.
 *
 * The two speak in messages of restore/protocol/image_protocol.h over a socket pair, and in two
 * pairs of their own, since paths come out of the file that the worker reads. "look" asks for the
 * fingerprint of a disk. The answer is its size, its time and on request a digest of it; never
 * content. "follow" asks whether a path is below a directory that the administrator has named.
 */
#include "restore/imaging/worker.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/message.h"
#include "base/text.h"
#include "restore/protocol/image_protocol.h"
#include "restore/protocol/protocol.h"
#include "restore/protocol/unreadable.h"
#include "store/image_format.h"

#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 200        /* how late a "stop" may be noticed */
#define PROGRESS_US 50000u /* between two messages of a worker's progress */
/* Of one worker; an image has some twenty disks, looked at twice and followed once. */
#define QUESTIONS_MAX 1000u
#define DIGEST_BYTES 32u /* of struct disk_fingerprint */

#define WORKER_LOOK(X, S)                                                                          \
    X(S, TEXT, NEEDED, vdev)                                                                       \
    X(S, TEXT, NEEDED, path)                                                                       \
    X(S, FLAG, OPTIONAL, digest)
#define WORKER_LOOKED(X, S)                                                                        \
    X(S, NUMBER, OPTIONAL, bytes)                                                                  \
    X(S, NUMBER, OPTIONAL, mtime_ns)                                                               \
    X(S, TEXT, OPTIONAL, digest) /* in hexadecimal */                                              \
    X(S, TEXT, OPTIONAL, error)  /* it could not be looked at */                                   \
    X(S, NUMBER, OPTIONAL, code) /* then: the negative code */
#define WORKER_FOLLOW(X, S) X(S, TEXT, NEEDED, path)
#define WORKER_FOLLOWED(X, S) X(S, FLAG, NEEDED, allowed)

#define WORKER_MESSAGES(M)                                                                         \
    M(worker_look, "event", "look", WORKER_LOOK)                                                   \
    M(worker_looked, "op", "looked", WORKER_LOOKED)                                                \
    M(worker_follow, "event", "follow", WORKER_FOLLOW)                                             \
    M(worker_followed, "op", "followed", WORKER_FOLLOWED)

WORKER_MESSAGES(SHAPE_DECLARE)
WORKER_MESSAGES(SHAPE_DEFINE)

static int tell(int fd, json_t *message, struct error *e)
{
    if (!message)
        return error_set(e, -ENOMEM, "out of memory for a message");
    int rc = message_send(fd, message, e);
    json_decref(message);
    return rc;
}

/* ---- the worker ---- */

static struct {
    int fd; /* to the other process */
    uint64_t told_us;
    struct message_reader reader;
} up = {.fd = -1};

int worker_progress(uint64_t done, uint64_t total, void *data)
{
    uint64_t now = clock_mono_us();
    (void)data;
    if (up.told_us && now - up.told_us < PROGRESS_US)
        return 0;
    up.told_us = now;
    const struct image_progress_event m = {.done = (int64_t)done, .total = (int64_t)total};
    return tell(up.fd, shape_encode(&image_progress_event_shape, &m), NULL);
}

static int looked_take(const json_t *answer, struct disk_fingerprint *f, struct error *e)
{
    struct worker_looked m;
    int rc = shape_decode(&worker_looked_shape, answer, &m, e);
    if (rc)
        return rc;
    if (m.error)
        return error_set(e, m.code < 0 ? (int)m.code : -EIO, "%s", m.error);
    f->taken = true;
    f->bytes = (uint64_t)m.bytes;
    f->mtime_ns = m.mtime_ns;
    f->digested = m.digest && !hex_parse(m.digest, f->digest, DIGEST_BYTES);
    return 0;
}

static int look(const struct disk_conf *d, bool digest, void *data, struct disk_fingerprint *f,
                struct error *e)
{
    const struct worker_look m = {.vdev = d->vdev, .path = d->path, .digest = digest};
    json_t *answer;
    (void)data;
    *f = (struct disk_fingerprint){0};
    int rc = tell(up.fd, shape_encode(&worker_look_shape, &m), e);
    if (!rc && (rc = message_receive(up.fd, &up.reader, &answer, e)) == 0)
        rc = error_set(e, -ECANCELED, "disk %s: nobody looks at it any more", d->vdev);
    if (rc < 0)
        return rc;
    rc = looked_take(answer, f, e);
    json_decref(answer);
    return rc;
}

const struct disk_eyes worker_eyes = {look, NULL};

/* Without an answer nothing is allowed. */
bool worker_consent(const char *path)
{
    const struct worker_follow m = {.path = path};
    struct worker_followed answer = {.allowed = false};
    struct error e;
    json_t *message;
    if (tell(up.fd, shape_encode(&worker_follow_shape, &m), &e) ||
        message_receive(up.fd, &up.reader, &message, &e) != 1)
        return false;
    bool allowed = !shape_decode(&worker_followed_shape, message, &answer, &e) && answer.allowed;
    json_decref(message);
    return allowed;
}

static int fd_order(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* All but standard error, up.fd and what is to be kept. */
static void others_close(const struct worker *w)
{
    int keep[WORKER_KEEP_MAX + 2] = {STDERR_FILENO, up.fd};
    unsigned from = 0;
    memcpy(keep + 2, w->keep, w->n_keep * sizeof *keep);
    qsort(keep, w->n_keep + 2, sizeof *keep, fd_order);
    for (size_t i = 0; i < w->n_keep + 2; i++) {
        if (keep[i] < 0)
            continue;
        if ((unsigned)keep[i] > from)
            close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    close_range(from, ~0u, 0);
}

/* What libraries open for themselves, they open now. */
static void libraries_wake(void)
{
    uint8_t digest[IMAGE_DIGEST_BYTES];
    json_object_seed(0); /* else from the time of day: a file could foresee where its keys go */
    image_digest("", 0, digest);
}

static int worker_work(const struct worker *w, json_t **result, struct error *e)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    others_close(w);
    libraries_wake();
    unreadable_report(up.fd);
    int rc = confine(w->user, w->heap_bytes, e);
    return rc ? rc : w->run(w->data, result, e);
}

static _Noreturn void worker_main(const struct worker *w, int fd)
{
    struct error e = {0};
    json_t *result = NULL;
    up.fd = fd;
    message_reader_init(&up.reader, HELPER_MESSAGE_LIMIT);
    int rc = worker_work(w, &result, &e);
    const struct image_done_event done = {.result = result};
    const struct image_failed_event failed = {
        .answer = answer_name(rc), .error = e.text, .disks = result};
    if (tell(up.fd,
             rc ? shape_encode(&image_failed_event_shape, &failed)
                : shape_encode(&image_done_event_shape, &done),
             NULL))
        _exit(2);
    _exit(rc ? 1 : 0);
}

/* ---- the other process ---- */

struct attendant {
    const struct worker *w;
    pid_t pid;
    int fd;
    struct message_reader reader;
    unsigned questions;
    json_t *result; /* NULL: not there yet */
};

static int stopped(struct error *e)
{
    return error_set(e, -ECANCELED, "stopped");
}

static int progress_take(struct attendant *a, const struct image_progress_event *m, struct error *e)
{
    const struct worker *w = a->w;
    uint64_t done = m->done > 0 ? (uint64_t)m->done : 0;
    uint64_t total = m->total > 0 ? (uint64_t)m->total : 0;
    return w->progress && w->progress(done, total, w->progress_data) ? stopped(e) : 0;
}

static int failed_take(struct attendant *a, const struct image_failed_event *m, struct error *e)
{
    if (a->w->failed)
        *a->w->failed = json_incref(m->disks);
    int answer = m->answer ? answer_by_name(m->answer) : ANSWER_INTERNAL;
    return error_set(e, answer && answer != ANSWER_INTERNAL ? answer : -EIO, "%s",
                     m->error ? m->error : "a process that reads foreign data failed");
}

static int looked_tell(struct attendant *a, int rc, const struct disk_fingerprint *f,
                       const struct error *why, struct error *e)
{
    char hex[2 * DIGEST_BYTES + 1] = "";
    if (!rc && f->digested)
        hex_format(f->digest, DIGEST_BYTES, hex);
    const struct worker_looked m = {
        .bytes = (int64_t)f->bytes,
        .mtime_ns = f->mtime_ns,
        .digest = hex,
        .error = rc ? why->text : NULL,
        .code = rc,
    };
    return tell(a->fd, shape_encode(&worker_looked_shape, &m), e);
}

static int too_much(struct error *e)
{
    return error_set(e, -EPROTO, "a process that reads foreign data asked for too much");
}

static int look_serve(struct attendant *a, const struct worker_look *m, struct error *e)
{
    const struct worker *w = a->w;
    struct disk_conf d = {.path = (char *)m->path};
    struct disk_fingerprint f;
    struct error why = {0};
    if (++a->questions > QUESTIONS_MAX || disk_conf_name(&d, m->vdev, &why))
        return too_much(e);
    int rc = fingerprint_look(&d, m->digest, w->progress, w->progress_data, &f, &why);
    if (rc != -ECANCELED)
        return looked_tell(a, rc, &f, &why, e);
    *e = why;
    return rc;
}

static int follow_serve(struct attendant *a, const struct worker_follow *m, struct error *e)
{
    const struct consent *c = a->w->consent;
    if (++a->questions > QUESTIONS_MAX)
        return too_much(e);
    const struct worker_followed answer = {.allowed = c && consent_path(c, m->path)};
    return tell(a->fd, shape_encode(&worker_followed_shape, &answer), e);
}

static int message_take(struct attendant *a, const json_t *message, struct error *e)
{
    struct image_progress_event progress;
    struct image_done_event done;
    struct image_failed_event failed;
    struct worker_look wanted;
    struct worker_follow path;
    struct error no;
    if (!shape_decode(&image_progress_event_shape, message, &progress, &no))
        return progress_take(a, &progress, e);
    if (!shape_decode(&worker_look_shape, message, &wanted, &no))
        return look_serve(a, &wanted, e);
    if (!shape_decode(&worker_follow_shape, message, &path, &no))
        return follow_serve(a, &path, e);
    if (!shape_decode(&image_failed_event_shape, message, &failed, &no))
        return failed_take(a, &failed, e);
    if (shape_decode(&image_done_event_shape, message, &done, &no))
        return error_set(e, -EPROTO, "a process that reads foreign data said what it must not say");
    a->result = json_incref(done.result);
    return 0;
}

/* Waits for the worker's end. Its status. */
static int reap(struct attendant *a)
{
    int status = 0;
    while (waitpid(a->pid, &status, 0) < 0 && errno == EINTR)
        ;
    a->pid = -1;
    return status;
}

static int died(struct attendant *a, struct error *e)
{
    int status = reap(a);
    if (WIFSIGNALED(status))
        return error_set(e, -EIO,
                         "the process that reads foreign data was killed by signal %d (%s)",
                         WTERMSIG(status), strsignal(WTERMSIG(status)));
    return error_set(e, -EIO, "the process that reads foreign data exited with status %d",
                     WEXITSTATUS(status));
}

/* What has come, if anything has. */
static int bytes_take(struct attendant *a, struct error *e)
{
    char chunk[4096];
    json_t *message;
    ssize_t n = recv(a->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    /* ECONNRESET: it has left a word of ours unread. */
    if (!n || (n < 0 && errno == ECONNRESET))
        return died(a, e);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : error_errno(e, errno, "hear a worker");
    int rc = message_reader_feed(&a->reader, chunk, (size_t)n, e);
    while (!rc && !a->result && (rc = message_reader_next(&a->reader, &message, e)) > 0) {
        rc = message_take(a, message, e);
        json_decref(message);
    }
    return rc;
}

static int attend(struct attendant *a, struct error *e)
{
    int rc = 0;
    while (!rc && !a->result) {
        struct pollfd p = {.fd = a->fd, .events = POLLIN};
        int n = poll(&p, 1, TICK_MS);
        if (a->w->stopped && a->w->stopped())
            rc = stopped(e);
        else if (n > 0)
            rc = bytes_take(a, e);
    }
    return rc;
}

static void attendant_end(struct attendant *a)
{
    if (a->pid > 0) {
        kill(a->pid, SIGKILL); /* it has nothing left to do */
        reap(a);
    }
    fd_close(&a->fd);
    message_reader_dispose(&a->reader);
}

int worker_run(const struct worker *w, json_t **result, struct error *e)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return error_errno(e, errno, "make a socket to a worker");
    struct attendant a = {.w = w, .fd = pair[0]};
    message_reader_init(&a.reader, HELPER_MESSAGE_LIMIT);
    if (w->failed)
        *w->failed = NULL;
    a.pid = fork();
    if (!a.pid)
        worker_main(w, pair[1]);
    int saved = errno;
    fd_close(&pair[1]);
    if (w->theirs)
        fd_close(w->theirs);
    int rc = a.pid > 0 ? attend(&a, e) : error_errno(e, saved, "start a worker");
    attendant_end(&a);
    *result = a.result;
    return rc;
}
