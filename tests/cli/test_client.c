/*
 * libdompool against a server of canned bytes: a thread that takes requests, looks whether each
 * holds the text that it should, and writes what the test gave it, in one piece or byte by byte.
 */
#include "dompool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct turn {
    const char *expect; /* the request holds this; NULL: do not wait for a request */
    const char *answer; /* sent with its NUL; NULL: hang up */
    size_t repeat;      /* send the answer that often; 0: once */
};

struct server {
    char dir[32], path[64];
    int listener, conn;
    bool bytewise, wrong;
    const struct turn *turns;
    pthread_t thread;
};

/* Reads to the next NUL. */
static bool request_read(int fd, char *buf, size_t size)
{
    for (size_t used = 0; used < size; used++) {
        if (recv(fd, buf + used, 1, 0) != 1)
            return false;
        if (!buf[used])
            return true;
    }
    return false;
}

static void answer_send(const struct server *s, const char *text)
{
    size_t len = strlen(text) + 1, at_once = s->bytewise ? 1 : len;
    for (size_t sent = 0; sent < len; sent += at_once)
        if (send(s->conn, text + sent, at_once, MSG_NOSIGNAL) < 0)
            return;
}

static void *server_run(void *data)
{
    struct server *s = data;
    static char request[1 << 16];
    s->conn = accept(s->listener, NULL, NULL);
    for (const struct turn *t = s->turns; t->expect || t->answer; t++) {
        if (t->expect && !request_read(s->conn, request, sizeof request))
            break;
        if (t->expect && !strstr(request, t->expect)) {
            fprintf(stderr, "request %s\nlacks   %s\n", request, t->expect);
            s->wrong = true;
        }
        if (!t->answer)
            break;
        for (size_t i = 0; i < (t->repeat ? t->repeat : 1); i++)
            answer_send(s, t->answer);
    }
    close(s->conn);
    return NULL;
}

static struct dompool *server_start(struct server *s, const struct turn *turns, bool bytewise)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    *s = (struct server){.dir = "/tmp/dompool-test-XXXXXX", .turns = turns, .bytewise = bytewise};
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof s->path, "%s/socket", s->dir);
    memcpy(at.sun_path, s->path, strlen(s->path) + 1);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    struct dompool *d;
    assert_int_equal(dompool_connect(s->path, &d), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
    return d;
}

static void server_stop(struct server *s, struct dompool *d)
{
    dompool_close(d);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->dir);
    assert_false(s->wrong);
}

/* ---- connecting ---- */

static void connect_failures(void **state)
{
    (void)state;
    struct dompool *d = (struct dompool *)1;
    assert_int_equal(dompool_connect("/nonexistent/socket", &d), -ENOENT);
    assert_null(d);
    assert_int_equal(dompool_connect("", &d), -ENOENT);
    char path[200];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(dompool_connect(path, &d), -ENAMETOOLONG);
    assert_int_equal(dompool_connect("/dev/null", &d), -ECONNREFUSED);
    dompool_close(NULL);
    dompool_lease_free(NULL);
}

static void socket_path(void **state)
{
    (void)state;
    setenv("DOMPOOL_SOCKET", "/a", 1);
    assert_string_equal(dompool_socket_path(NULL), "/a");
    assert_string_equal(dompool_socket_path("/b"), "/b");
    setenv("DOMPOOL_SOCKET", "", 1);
    assert_string_equal(dompool_socket_path(NULL), "/run/dompool/io.dompool");
    unsetenv("DOMPOOL_SOCKET");
    assert_string_equal(dompool_socket_path(NULL), "/run/dompool/io.dompool");
}

/* ---- calls ---- */

static void call_answers(void **state)
{
    (void)state;
    static const struct turn turns[] = {
        {"{\"method\":\"io.dompool.Status\"}", "{\"parameters\":{\"pid\":7}}", 0},
        {"\"org.varlink.service.GetInfo\",\"parameters\":{\"a\":1}", "{}", 0},
        {"Nope",
         "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":"
         "{\"method\":\"io.dompool.Nope\"}}",
         0},
        {"ImageShow",
         "{\"error\":\"io.dompool.NoSuchImage\",\"parameters\":"
         "{\"text\":\"image web:\\u001b none\"}}",
         0},
        {"ImageShow", "{\"error\":\"io.dompool.NoSuchImage\"}", 0},
        {"ImageShow", "{\"error\":\"com.example.Odd\",\"parameters\":{}}", 0},
        {0}};
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        struct server s;
        struct dompool *d = server_start(&s, turns, bytewise);
        char *reply;
        assert_int_equal(dompool_call(d, "Status", NULL, &reply), 0);
        assert_string_equal(reply, "{\"pid\":7}");
        free(reply);
        assert_int_equal(dompool_call(d, "org.varlink.service.GetInfo", "{\"a\":1}", NULL), 0);
        assert_int_equal(dompool_call(d, "Nope", NULL, &reply), DOMPOOL_REFUSED);
        assert_null(reply);
        assert_string_equal(dompool_error_name(d), "org.varlink.service.MethodNotFound");
        assert_string_equal(dompool_error_text(d), "the daemon has no method io.dompool.Nope");
        assert_int_equal(dompool_call(d, "ImageShow", NULL, NULL), DOMPOOL_REFUSED);
        assert_string_equal(dompool_error_name(d), "NoSuchImage");
        assert_string_equal(dompool_error_text(d), "image web:? none");
        assert_int_equal(dompool_call(d, "ImageShow", NULL, NULL), DOMPOOL_REFUSED);
        assert_string_equal(dompool_error_text(d), "no image has this name");
        assert_int_equal(dompool_call(d, "ImageShow", NULL, NULL), DOMPOOL_REFUSED);
        assert_string_equal(dompool_error_name(d), "com.example.Odd");
        server_stop(&s, d);
    }
}

static void call_mistakes(void **state)
{
    (void)state;
    static const struct turn turns[] = {{"Status", "{}", 0}, {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    char *reply;
    assert_int_equal(dompool_call(d, "Status", "{", &reply), -EINVAL);
    assert_non_null(strstr(dompool_error_text(d), "not a JSON object"));
    assert_string_equal(dompool_error_name(d), "");
    assert_int_equal(dompool_call(d, "Status", "[]", &reply), -EINVAL);
    assert_int_equal(dompool_call(d, "Status", "{\"a\":1,\"a\":2}", &reply), -EINVAL);
    assert_int_equal(dompool_call(d, "", NULL, &reply), -EINVAL);
    assert_int_equal(dompool_call(d, NULL, NULL, &reply), -EINVAL);
    assert_int_equal(dompool_call(d, "\xff", NULL, &reply), -EINVAL);
    assert_null(reply);
    /* Nothing of all this has reached the server. */
    assert_int_equal(dompool_call(d, "Status", NULL, NULL), 0);
    server_stop(&s, d);
}

/* Whatever the server does wrong, the call ends with that error and later ones repeat it. */
static void broken_answers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int rc;
    } rows[] = {
        {"hello", -EPROTO},
        {"[]", -EPROTO},
        {"{\"a\":1,\"a\":2}", -EPROTO},
        {"{\"error\":7}", -EPROTO},
        {"{\"parameters\":[]}", -EPROTO},
        {"{\"parameters\":{},\"continues\":true}", -EPROTO},
        {NULL, -ECONNRESET},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct turn turns[] = {{"Status", rows[i].answer, 0}, {0}};
        struct server s;
        struct dompool *d = server_start(&s, turns, false);
        assert_int_equal(dompool_call(d, "Status", NULL, NULL), rows[i].rc);
        assert_true(*dompool_error_text(d));
        assert_string_equal(dompool_error_name(d), "");
        assert_int_equal(dompool_call(d, "Status", NULL, NULL), rows[i].rc);
        assert_int_equal(dompool_dispatch(d), rows[i].rc);
        assert_int_equal(dompool_run(d), rows[i].rc);
        server_stop(&s, d);
    }
}

static void answer_unasked(void **state)
{
    (void)state;
    static const struct turn turns[] = {{NULL, "{}", 0}, {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    struct pollfd watch = {.fd = dompool_fd(d), .events = dompool_events(d)};
    assert_int_equal(watch.events, POLLIN);
    assert_int_equal(poll(&watch, 1, 5000), 1);
    assert_int_equal(dompool_dispatch(d), -EPROTO);
    server_stop(&s, d);
}

static void answer_too_large(void **state)
{
    (void)state;
    char *piece = malloc(17u << 20);
    assert_non_null(piece);
    memset(piece, ' ', 17u << 20);
    piece[(17u << 20) - 1] = '\0';
    const struct turn turns[] = {{"Status", piece, 0}, {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    assert_int_equal(dompool_call(d, "Status", NULL, NULL), -EMSGSIZE);
    server_stop(&s, d);
    free(piece);
}

/* ---- typed calls ---- */

static void allocate(void **state)
{
    (void)state;
    static const struct turn turns[] = {
        {"{\"method\":\"io.dompool.Allocate\",\"parameters\":{\"image\":\"web\"}}",
         "{\"parameters\":{\"lease\":\"l1\",\"image\":\"web\",\"domid\":12,\"uuid\":\"u\","
         "\"name\":\"web-1\",\"macs\":[\"02:00:00:00:00:07\"],\"slot\":\"s1\",\"from\":\"warm\","
         "\"delta_pages\":3,"
         "\"total_us\":4000,\"stages\":[{\"name\":\"a\",\"us\":1,\"hypercalls\":2},"
         "{\"name\":\"b\",\"us\":3,\"hypercalls\":4}]}}",
         0},
        {"{\"image\":\"web\",\"name\":\"n\",\"ttl_ms\":5,\"wait_ms\":0,\"hold\":true,"
         "\"paused\":true,\"mac\":\"02:00:00:00:00:01\",\"meta\":{\"k\":\"v\",\"k2\":\"\"}}",
         "{\"parameters\":{}}", 0},
        {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    struct dompool_allocate_options o = DOMPOOL_ALLOCATE_OPTIONS_INIT;
    struct dompool_lease *lease;
    assert_int_equal(dompool_allocate(d, &o, &lease), -EINVAL); /* no image */
    o.image = "web";
    assert_int_equal(dompool_allocate(d, &o, &lease), 0);
    assert_string_equal(lease->lease, "l1");
    assert_string_equal(lease->name, "web-1");
    assert_string_equal(lease->from, "warm");
    assert_int_equal(lease->domid, 12);
    assert_int_equal(lease->delta_pages, 3);
    assert_int_equal(lease->total_us, 4000);
    assert_int_equal(lease->n_stages, 2);
    assert_int_equal(lease->n_macs, 1);
    assert_string_equal(lease->macs[0], "02:00:00:00:00:07");
    assert_string_equal(lease->stages[1].name, "b");
    assert_int_equal(lease->stages[1].hypercalls, 4);
    assert_int_equal(lease->n_meta, 0);
    assert_null(lease->next);
    dompool_lease_free(lease);

    static const char *const meta[] = {"k", "v", "k2", ""};
    o = (struct dompool_allocate_options){sizeof o, "web", "n",  5, 0,
                                          true,     true,  meta, 2, "02:00:00:00:00:01"};
    assert_int_equal(dompool_allocate(d, &o, &lease), -EPROTO); /* an answer without a lease */
    assert_null(lease);
    server_stop(&s, d);
}

static void allocate_mistakes(void **state)
{
    (void)state;
    static const struct turn turns[] = {{0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    static const char *const hole[] = {"k", NULL};
    struct dompool_allocate_options o = DOMPOOL_ALLOCATE_OPTIONS_INIT;
    struct dompool_lease *lease;
    assert_int_equal(dompool_allocate(d, NULL, &lease), -EINVAL);
    o.image = "\xff";
    assert_int_equal(dompool_allocate(d, &o, &lease), -EINVAL);
    o.image = "web";
    o.size = 8;
    assert_int_equal(dompool_allocate(d, &o, &lease), -EINVAL);
    o.size = sizeof o;
    o.ttl_ms = -2;
    assert_int_equal(dompool_allocate(d, &o, &lease), -EINVAL);
    o.ttl_ms = 0;
    o.n_meta = 1;
    assert_int_equal(dompool_allocate(d, &o, &lease), -EINVAL);
    o.meta = hole;
    assert_int_equal(dompool_allocate(d, &o, &lease), -EINVAL);
    assert_int_equal(dompool_release(d, NULL, 0, 0, NULL), -EINVAL);
    assert_int_equal(dompool_release(d, hole, 1, DOMPOOL_RELEASE_ALL, NULL), -EINVAL);
    assert_int_equal(dompool_release(d, hole, 2, 0, NULL), -EINVAL);
    assert_int_equal(dompool_release(d, hole, 1, 8, NULL), -EINVAL);
    assert_int_equal(dompool_wait(d, NULL, -2), -EINVAL);
    assert_null(lease);
    server_stop(&s, d);
}

static void release(void **state)
{
    (void)state;
    static const struct turn turns[] = {
        {"{\"leases\":[\"a\",\"7\"],\"wait\":true}",
         "{\"parameters\":{\"released\":["
         "{\"lease\":\"l1\",\"name\":\"a\",\"domid\":6,\"image\":\"web\"},"
         "{\"lease\":\"l2\",\"name\":\"b\",\"domid\":7,\"image\":\"db\"}]}}",
         0},
        {"{\"all\":true,\"wait\":false}", "{\"parameters\":{\"released\":[]}}", 0},
        {"{\"all\":true,\"wait\":true}", "{\"parameters\":{\"released\":[{}]}}", 0},
        {"{\"all\":true,\"wait\":true}", "{\"parameters\":{\"released\":[{}]}}", 0},
        {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    static const char *const names[] = {"a", "7"};
    struct dompool_lease *ended;
    assert_string_equal(dompool_reply_text(d), "{}");
    assert_int_equal(dompool_release(d, names, 2, 0, &ended), 0);
    assert_string_equal(ended->lease, "l1");
    assert_string_equal(ended->next->name, "b");
    assert_string_equal(ended->next->image, "db");
    assert_int_equal(ended->next->domid, 7);
    assert_null(ended->next->next);
    dompool_lease_free(ended);
    unsigned flags = DOMPOOL_RELEASE_ALL | DOMPOOL_RELEASE_NO_WAIT;
    assert_int_equal(dompool_release(d, NULL, 0, flags, &ended), 0);
    assert_null(ended);
    assert_string_equal(dompool_reply_text(d), "{\"released\":[]}");
    assert_int_equal(dompool_release(d, NULL, 0, DOMPOOL_RELEASE_ALL, &ended), -EPROTO);
    assert_null(ended);
    assert_int_equal(dompool_release(d, NULL, 0, DOMPOOL_RELEASE_ALL, NULL), 0); /* not looked at */
    server_stop(&s, d);
}

static void list(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"parameters\":{\"slots\":["
        "{\"slot\":\"s1\",\"image\":\"web\",\"state\":\"leased\",\"engine\":\"direct\",\"domid\":1,"
        "\"uuid\":\"u\",\"name\":\"a\",\"since_ms\":7,\"lease\":\"l1\",\"reason\":null},"
        "{\"slot\":\"s2\",\"image\":\"web\",\"state\":\"building\",\"engine\":null,\"domid\":null}]"
        ","
        "\"leases\":["
        "{\"lease\":\"l1\",\"name\":\"a\",\"domid\":1,\"owner_uid\":1000,\"created_ms\":5,"
        "\"expires_ms\":9,\"hold\":true,\"meta\":{\"k\":\"v\"}},"
        "{\"lease\":\"l2\",\"name\":\"b\",\"domid\":-1,\"expires_ms\":null}]}}";
    static const struct turn turns[] = {
        {"\"io.dompool.List\"", answer, 0},
        {"List", answer, 0},
        {"List", "{\"parameters\":{\"leases\":[{\"lease\":\"l1\",\"name\":\"a\",\"domid\":1},7]}}",
         0},
        {"List",
         "{\"parameters\":{\"leases\":[{\"lease\":\"l1\",\"name\":\"a\",\"domid\":1}],"
         "\"slots\":[{}]}}",
         0},
        {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    struct dompool_lease *leases;
    struct dompool_slot *slots;
    assert_int_equal(dompool_list(d, &leases, &slots), 0);
    assert_string_equal(leases->lease, "l1");
    assert_int_equal(leases->owner_uid, 1000);
    assert_int_equal(leases->expires_ms, 9);
    assert_true(leases->hold);
    assert_int_equal(leases->n_meta, 1);
    assert_string_equal(leases->meta[1], "v");
    assert_string_equal(leases->next->lease, "l2");
    assert_int_equal(leases->next->expires_ms, 0);
    assert_int_equal(leases->next->domid, DOMPOOL_UNSET);
    assert_null(leases->next->next);
    dompool_lease_free(leases);
    assert_string_equal(slots->slot, "s1");
    assert_string_equal(slots->state, "leased");
    assert_string_equal(slots->engine, "direct");
    assert_string_equal(slots->lease, "l1");
    assert_string_equal(slots->reason, "");
    assert_int_equal(slots->domid, 1);
    assert_int_equal(slots->since_ms, 7);
    assert_string_equal(slots->next->engine, "");
    assert_int_equal(slots->next->domid, DOMPOOL_UNSET);
    assert_null(slots->next->next);
    dompool_slot_free(slots);
    assert_int_equal(dompool_list(d, NULL, NULL), 0);
    assert_int_equal(dompool_list(d, &leases, NULL), -EPROTO);
    assert_null(leases);
    assert_int_equal(dompool_list(d, &leases, &slots), -EPROTO);
    assert_null(leases);
    assert_null(slots);
    server_stop(&s, d);
}

static void wait_for_pools(void **state)
{
    (void)state;
    static const struct turn turns[] = {
        {"{\"method\":\"io.dompool.PoolWait\",\"parameters\":{}}",
         "{\"parameters\":{\"pools\":[]}}", 0},
        {"{\"image\":\"web\",\"timeout_ms\":50}", "{\"error\":\"io.dompool.TimedOut\"}", 0},
        {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    assert_int_equal(dompool_wait(d, NULL, DOMPOOL_UNSET), 0);
    assert_string_equal(dompool_reply_text(d), "{\"pools\":[]}");
    assert_int_equal(dompool_wait(d, "web", 50), DOMPOOL_REFUSED);
    assert_string_equal(dompool_error_name(d), "TimedOut");
    server_stop(&s, d);
}

/* ---- asynchronous ---- */

struct log {
    char text[512];
    bool start_more;
};

static void log_answer(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    struct log *log = data;
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof log->text - used, "%d%s%s;", rc, more ? "+" : "",
             reply ? reply : "-");
    assert_int_equal(dompool_call(d, "Status", NULL, NULL), -EDEADLK);
    assert_int_equal(dompool_dispatch(d) ? -EDEADLK : 0, -EDEADLK);
    if (log->start_more) {
        log->start_more = false;
        int started = dompool_start(d, "Third", NULL, 0, log_answer, log);
        assert_true(rc < 0 ? started < 0 : !started);
    }
}

static void callbacks_in_order(void **state)
{
    (void)state;
    static const struct turn turns[] = {
        {"\"more\":true", "{\"parameters\":{\"n\":1},\"continues\":true}", 3},
        {NULL, "{\"parameters\":{\"n\":2}}", 0},
        {"Second", "{\"error\":\"io.dompool.Stopping\",\"parameters\":{\"text\":\"bye\"}}", 0},
        {"Status", "{\"parameters\":{\"ok\":true}}", 0},
        {"Third", "{}", 0},
        {0}};
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        struct server s;
        struct dompool *d = server_start(&s, turns, bytewise);
        struct log log = {0}, second = {.start_more = true};
        char *reply;
        assert_int_equal(dompool_start(d, "First", NULL, DOMPOOL_MORE, log_answer, &log), 0);
        assert_int_equal(dompool_events(d), POLLIN | POLLOUT);
        assert_int_equal(dompool_start(d, "Second", NULL, 0, log_answer, &second), 0);
        /* The blocking call waits for the two, and its own answer is not disturbed by them. */
        assert_int_equal(dompool_call(d, "Status", NULL, &reply), 0);
        assert_string_equal(reply, "{\"ok\":true}");
        free(reply);
        assert_string_equal(log.text, "0+{\"n\":1};0+{\"n\":1};0+{\"n\":1};0{\"n\":2};");
        assert_int_equal(dompool_run(d), 0);
        assert_string_equal(second.text, "1{\"text\":\"bye\"};0{};");
        server_stop(&s, d);
    }
}

static void callbacks_of_the_lost(void **state)
{
    (void)state;
    static const struct turn turns[] = {{"First", NULL, 0}, {0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    struct log log = {.start_more = true};
    assert_int_equal(dompool_start(d, "First", NULL, 0, log_answer, &log), 0);
    assert_int_equal(dompool_start(d, "Second", NULL, 0, log_answer, &log), 0);
    int rc = dompool_run(d);
    assert_true(rc == -ECONNRESET || rc == -EPIPE);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%d-;%d-;", rc, rc);
    assert_string_equal(log.text, wanted);
    assert_int_equal(dompool_start(d, "Third", NULL, 0, log_answer, &log), rc);
    server_stop(&s, d);
    assert_string_equal(log.text, wanted);
}

static void callbacks_at_close(void **state)
{
    (void)state;
    static const struct turn turns[] = {{0}};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    struct log log = {0};
    assert_int_equal(dompool_start(d, "First", NULL, 0, log_answer, &log), 0);
    server_stop(&s, d);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%d-;", -ECANCELED);
    assert_string_equal(log.text, wanted);
}

/* More bytes than a socket buffer takes, while the server is not reading yet. */
static void large_request(void **state)
{
    (void)state;
    static char parameters[60000];
    memset(parameters, 'x', sizeof parameters - 1);
    memcpy(parameters, "{\"a\":\"", 6);
    memcpy(parameters + sizeof parameters - 3, "\"}", 2);
    enum { REQUESTS = 20 };
    struct turn turns[REQUESTS + 1] = {0};
    for (size_t i = 0; i < REQUESTS; i++)
        turns[i] = (struct turn){"xxx", "{}", 0};
    struct server s;
    struct dompool *d = server_start(&s, turns, false);
    struct log log = {0};
    for (size_t i = 0; i < REQUESTS; i++)
        assert_int_equal(dompool_start(d, "Big", parameters, 0, log_answer, &log), 0);
    assert_int_equal(dompool_run(d), 0);
    assert_int_equal(strlen(log.text), REQUESTS * strlen("0{};"));
    server_stop(&s, d);
}

/* ---- descriptors ---- */

/* What one receive gives: the descriptor's file size in *passed, -1 for none. */
static ssize_t receive(int fd, char *buf, size_t size, long *passed)
{
    union {
        char bytes[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {buf, size};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(fd, &m, 0);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    *passed = -1;
    if (c) {
        struct stat st;
        int got;
        memcpy(&got, CMSG_DATA(c), sizeof got);
        assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof got));
        assert_int_equal(fstat(got, &st), 0);
        *passed = (long)st.st_size;
        close(got);
    }
    return n;
}

/* Each leaves with the first byte of its request, in a piece of its own: the request behind it
 * waits. */
static void passing(void **state)
{
    (void)state;
    static const struct turn nothing[] = {{0}};
    struct server s;
    struct log log = {0};
    struct dompool *d = server_start(&s, nothing, false);
    pthread_join(s.thread, NULL); /* it has closed its end: this test has its own */
    dompool_close(d);
    assert_int_equal(dompool_connect(s.path, &d), 0);
    int conn = accept(s.listener, NULL, NULL);
    for (int i = 0; i < 6; i++) {
        int fd = memfd_create("passed", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, i), 0);
        int rc = i % 3 ? dompool_start_passing(d, "Take", NULL, fd, 0, log_answer, &log)
                       : dompool_start(d, "Plain", NULL, 0, log_answer, &log);
        assert_int_equal(rc, 0);
        close(fd); /* the library has its own */
    }
    assert_int_equal(dompool_start_passing(d, "Take", NULL, -1, 0, log_answer, &log), -EBADF);
    assert_int_equal(dompool_start_passing(d, "Take", NULL, 9999, 0, log_answer, &log), -EBADF);
    assert_int_equal(dompool_dispatch(d), 0);
    for (int i = 0; i < 6; i++) {
        char buf[1000];
        long passed;
        ssize_t n = receive(conn, buf, sizeof buf, &passed);
        assert_true(n > 0 && !buf[n - 1]);
        /* A request without one may be received together with what follows. */
        const char *last = buf;
        for (; last + strlen(last) + 1 < buf + n; last += strlen(last) + 1, i++)
            assert_non_null(strstr(last, "Plain"));
        assert_int_equal(passed, i % 3 ? i : -1);
        assert_non_null(strstr(last, i % 3 ? "Take" : "Plain"));
    }
    /* One that has not left goes with the handle. */
    int fd = memfd_create("passed", MFD_CLOEXEC), next = dup(fd);
    close(next);
    assert_int_equal(dompool_start_passing(d, "Take", NULL, fd, 0, log_answer, &log), 0);
    assert_int_equal(fcntl(next, F_GETFD) >= 0, 1);
    close(conn);
    dompool_close(d);
    assert_int_equal(fcntl(next, F_GETFD), -1);
    close(fd);
    close(s.listener);
    unlink(s.path);
    rmdir(s.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_failures),
        cmocka_unit_test(socket_path),
        cmocka_unit_test(call_answers),
        cmocka_unit_test(call_mistakes),
        cmocka_unit_test(broken_answers),
        cmocka_unit_test(answer_unasked),
        cmocka_unit_test(answer_too_large),
        cmocka_unit_test(allocate),
        cmocka_unit_test(allocate_mistakes),
        cmocka_unit_test(release),
        cmocka_unit_test(list),
        cmocka_unit_test(wait_for_pools),
        cmocka_unit_test(callbacks_in_order),
        cmocka_unit_test(callbacks_of_the_lost),
        cmocka_unit_test(callbacks_at_close),
        cmocka_unit_test(large_request),
        cmocka_unit_test(passing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
