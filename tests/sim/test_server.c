/*
 * pool/service/server.h on a real socket, with a service of its own: what users may leave unread,
 * and the descriptors that they pass. Needs root, for clients of two users.
 */
#include "base/io.h"
#include "base/log.h"
#include "base/message.h"
#include "pool/service/server.h"
#include "tests/cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define BIG (64u << 10)
#define PATIENCE_MS 20000

static char dir[64], sock[100];
static pid_t server_pid;

/* ---- the server ---- */

static const struct answered *big(struct call *call, void *owner, const json_t *given)
{
    (void)owner;
    (void)given;
    char *text = calloc(1, BIG + 1);
    memset(text, 'x', BIG);
    json_t *reply = json_pack("{s:s}", "text", text);
    free(text);
    return call_reply(call, reply);
}

/* Says how long the file is that was passed; -1: none was. */
static const struct answered *size(struct call *call, void *owner, const json_t *given)
{
    struct stat st;
    (void)owner;
    (void)given;
    return call_reply(call, json_pack("{s:i}", "size",
                                      call->fd < 0 || fstat(call->fd, &st) ? -1 : (int)st.st_size));
}

static uint64_t now_us(void *owner)
{
    (void)owner;
    return 1;
}

static const struct param none[] = {{0}};
static const struct method methods[] = {{"Big", none, false, big}, {"Size", none, false, size}};

_Noreturn static void serve(const struct server_limits *limits)
{
    static const struct service service = {.interface = "test",
                                           .interface_text = "interface test\n",
                                           .methods = methods,
                                           .n_methods = sizeof methods / sizeof methods[0],
                                           .now_us = now_us};
    uv_loop_t loop;
    struct server *s;
    struct error e = {0};
    uv_loop_init(&loop);
    if (server_new(&loop, &service, sock, 0666, "", limits, &s, &e)) {
        fprintf(stderr, "%s\n", e.text);
        _exit(1);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(0);
}

static int connect_now(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, sock);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!connect(fd, (struct sockaddr *)&address, sizeof address))
        return fd;
    close(fd);
    return -1;
}

static void server_start(const struct server_limits *limits)
{
    strcpy(dir, "/tmp/dompool-server.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0755), 0);
    snprintf(sock, sizeof sock, "%s/socket", dir);
    server_pid = fork();
    if (!server_pid)
        serve(limits);
    int fd = -1;
    for (int i = 0; i < PATIENCE_MS / 10 && fd < 0; i++) {
        usleep(10000);
        fd = connect_now();
    }
    assert_true(fd >= 0);
    close(fd);
}

static void server_end(void)
{
    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    unlink(sock);
    rmdir(dir);
}

/* ---- clients ---- */

struct client {
    int fd;
    struct message_reader reader;
};

static void client_open(struct client *c)
{
    c->fd = connect_now();
    message_reader_init(&c->reader, 4 * BIG);
}

static void client_close(struct client *c)
{
    fd_close(&c->fd);
    message_reader_dispose(&c->reader);
}

/* Sends n calls, and gives the server the time to answer them all. */
static void ask_big(const struct client *c, unsigned n)
{
    static const char call[] = "{\"method\":\"test.Big\"}";
    for (unsigned i = 0; i < n; i++)
        if (send(c->fd, call, sizeof call, MSG_NOSIGNAL) < 0)
            break;
    usleep(400000);
}

/* Replies until n have come or the connection ends. */
static unsigned read_big(struct client *c, unsigned n)
{
    unsigned got = 0;
    for (; got < n; got++) {
        json_t *reply;
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (poll(&p, 1, PATIENCE_MS) != 1 || message_receive(c->fd, &c->reader, &reply, NULL) != 1)
            break;
        json_decref(reply);
    }
    return got;
}

/* In a process of that user's. */
static int as_user(uid_t uid, int (*run)(void))
{
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(setresuid(uid, uid, uid) ? 99 : run());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- unread replies ---- */

#define CALLS 24u /* 1.5 MiB of replies; a socket takes some hundred KiB of them */

/* Two connections together leave more than 2 MiB unread: how many of the two are kept. The first
 * one's replies are whole in any case. */
static int two_deaf(void)
{
    struct client a, b, c;
    client_open(&a);
    client_open(&b);
    ask_big(&a, CALLS);
    ask_big(&b, CALLS);
    int kept = read_big(&a, CALLS) == CALLS;
    if (!kept)
        return 90;
    kept += read_big(&b, CALLS) == CALLS;
    client_close(&a);
    client_close(&b);
    client_open(&c); /* nothing is unread any more */
    ask_big(&c, CALLS);
    if (read_big(&c, CALLS) != CALLS)
        return 91;
    client_close(&c);
    return kept;
}

static void unread_of_a_user(void **state)
{
    (void)state;
    assert_int_equal(geteuid(), 0);
    server_start(&(struct server_limits){16, 16, 2u << 20});
    assert_int_equal(as_user(NOBODY, two_deaf), 1);
    assert_int_equal(as_user(0, two_deaf), 2);
    server_end();
    server_start(&(struct server_limits){16, 16, 16u << 20});
    assert_int_equal(as_user(NOBODY, two_deaf), 2);
    server_end();
}

/* ---- descriptors ---- */

/* Descriptors of the server's process. */
static unsigned server_fds(void)
{
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)server_pid);
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Sends bytes with n descriptors, of files of 1, 2, ... bytes. */
static void pass(const struct client *c, const char *bytes, size_t len, int n)
{
    union {
        char bytes[CMSG_SPACE(200 * sizeof(int))];
        struct cmsghdr align;
    } control;
    int fds[200];
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
    memset(&control, 0, sizeof control);
    for (int i = 0; i < n; i++) {
        fds[i] = memfd_create("passed", MFD_CLOEXEC);
        if (ftruncate(fds[i], i + 1))
            _exit(98);
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
    memcpy(CMSG_DATA(head), fds, (size_t)n * sizeof(int));
    if (sendmsg(c->fd, &m, MSG_NOSIGNAL) < 0)
        _exit(97);
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

static const char size_call[] = "{\"method\":\"test.Size\"}";

/* The size that the server sees, 0: none. */
static int size_seen(struct client *c)
{
    json_t *reply;
    if (message_receive(c->fd, &c->reader, &reply, NULL) != 1)
        _exit(96);
    json_t *seen = json_object_get(json_object_get(reply, "parameters"), "size");
    int got = (int)json_integer_value(seen);
    json_decref(reply);
    return got < 0 ? 0 : got;
}

static int pass_one(void)
{
    struct client c;
    client_open(&c);
    pass(&c, size_call, sizeof size_call, 1);
    return size_seen(&c);
}

/* The first of many counts. */
static int pass_many(void)
{
    struct client c;
    client_open(&c);
    pass(&c, size_call, sizeof size_call, 60);
    int seen = size_seen(&c);
    pass(&c, size_call, sizeof size_call, 200); /* more than one receive takes */
    return 10 * seen + size_seen(&c);
}

/* Bytes that never become a message, each with descriptors; the connection stays. Says how many of
 * them the server keeps. */
static int flood(void)
{
    struct client c;
    client_open(&c);
    send(c.fd, "{", 1, MSG_NOSIGNAL);
    usleep(100000);
    unsigned before = server_fds();
    for (int i = 0; i < 300; i++)
        pass(&c, " ", 1, 10);
    usleep(300000);
    return (int)(server_fds() - before);
}

static void descriptors(void **state)
{
    (void)state;
    assert_int_equal(geteuid(), 0);
    server_start(&(struct server_limits){16, 16, 2u << 20});
    unsigned before = server_fds();
    assert_int_equal(as_user(0, pass_one), 1);
    assert_int_equal(as_user(NOBODY, pass_one), 0);
    assert_int_equal(as_user(0, pass_many), 11);
    assert_int_equal(as_user(NOBODY, pass_many), 0);
    assert_int_equal(as_user(0, flood), 1);
    usleep(100000);
    assert_int_equal(server_fds(), before); /* all of them went with their connections */
    server_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unread_of_a_user),
        cmocka_unit_test(descriptors),
    };
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
