/*
 * libdompool without memory: the N-th allocation fails, for N = 0, 1, 2, ... until a run needs
 * fewer. Each time every call must end with an error that it documents, every callback must come
 * exactly once, and (the sanitizer and valgrind look) nothing may leak.
 *
 * The library's sources are compiled in, with its allocations wrapped by the linker; jansson's go
 * through its own hook.
 */
#include "dompool.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

static long allocations, failing = -1; /* the one that fails; -1: none */

static bool fails(void)
{
    return allocations++ == failing;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

/* ---- a server that allocates nothing: its turns go by the method asked for ---- */

static const struct {
    const char *method, *answer; /* the answer in one string, a "|" for each NUL */
} turns[] = {
    {"Allocate", "{\"parameters\":{\"lease\":\"l1\",\"name\":\"a\",\"domid\":1,"
                 "\"stages\":[{\"name\":\"x\",\"us\":1,\"hypercalls\":2}],"
                 "\"meta\":{\"k\":\"v\"}}}|"},
    {"List", "{\"parameters\":{\"slots\":[{\"slot\":\"s1\"},{\"slot\":\"s2\"}],\"leases\":[{"
             "\"lease\":\"l1\",\"name\":\"a\",\"domid\":1},"
             "{\"lease\":\"l2\",\"name\":\"b\",\"domid\":2}]}}|"},
    {"\"l9\"", "{\"error\":\"io.dompool.NoSuchLease\",\"parameters\":{\"text\":\"none\"}}|"},
    {"\"l1\"", "{\"parameters\":{\"released\":[{\"lease\":\"l1\",\"name\":\"a\",\"domid\":1}]}}|"},
    {"Events", "{\"parameters\":{\"n\":1},\"continues\":true}|{\"parameters\":{\"n\":2}}|"},
};

static void answer(int fd, const char *request)
{
    char text[512];
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        if (!strstr(request, turns[i].method))
            continue;
        size_t len = strlen(turns[i].answer);
        memcpy(text, turns[i].answer, len);
        for (size_t k = 0; k < len; k++)
            if (text[k] == '|')
                text[k] = '\0';
        (void)!send(fd, text, len, MSG_NOSIGNAL);
    }
}

static void *serve(void *data)
{
    int fd = accept(*(int *)data, NULL, NULL);
    char request[512];
    size_t used = 0;
    while (used < sizeof request && recv(fd, request + used, 1, 0) == 1) {
        if (request[used++])
            continue;
        answer(fd, request);
        used = 0;
    }
    close(fd);
    return NULL;
}

static int listener = -1;
static char path[64];

static int server_open(void **state)
{
    (void)state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/dompool-test-XXXXXX";
    if (!mkdtemp(dir))
        return -1;
    strcat(strcpy(path, dir), "/socket");
    memcpy(at.sun_path, path, strlen(path) + 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1);
}

static int server_close(void **state)
{
    (void)state;
    close(listener);
    unlink(path);
    *strrchr(path, '/') = '\0';
    return rmdir(path);
}

/* ---- one run ---- */

static unsigned last_answers;

static void streamed(struct dompool *d, int rc, bool more, const char *reply, void *data)
{
    (void)d;
    (void)data;
    assert_int_equal(rc < 0, reply == NULL);
    last_answers += !more;
}

/* No memory, or what comes of it: an answer that could not be read, a connection lost by that. */
static void check(int rc)
{
    assert_true(rc == 0 || rc == DOMPOOL_REFUSED || rc == -ENOMEM || rc == -EPROTO ||
                rc == -EINVAL);
    assert_true(rc == 0 || failing >= 0 || rc == DOMPOOL_REFUSED);
}

static void use_typed(struct dompool *d)
{
    static const char *const meta[] = {"k", "v"}, *const names[] = {"l9", "l1"};
    struct dompool_allocate_options o = DOMPOOL_ALLOCATE_OPTIONS_INIT;
    struct dompool_lease *lease;
    o.image = "web";
    o.wait_ms = 5;
    o.hold = true;
    o.meta = meta;
    o.n_meta = 1;
    int rc = dompool_allocate(d, &o, &lease);
    check(rc);
    assert_int_equal(rc == 0, lease != NULL);
    dompool_lease_free(lease);
    struct dompool_slot *slots;
    rc = dompool_list(d, &lease, &slots);
    check(rc);
    assert_int_equal(rc == 0, lease != NULL);
    assert_int_equal(rc == 0, slots != NULL);
    dompool_lease_free(lease);
    dompool_slot_free(slots);
    dompool_list(d, NULL, NULL);
    rc = dompool_release(d, names, 1, 0, NULL);
    check(rc);
    assert_int_not_equal(rc, 0);
    rc = dompool_release(d, names + 1, 1, 0, &lease);
    check(rc);
    assert_int_equal(rc == 0, lease != NULL);
    dompool_lease_free(lease);
}

static void use_stream(struct dompool *d)
{
    last_answers = 0;
    int rc = dompool_start(d, "Events", "{\"a\":[1]}", DOMPOOL_MORE, streamed, NULL);
    check(rc);
    if (rc) {
        assert_int_equal(last_answers, 0);
        return;
    }
    check(dompool_run(d));
    assert_int_equal(last_answers, 1);
}

static void run(void)
{
    struct dompool *d;
    int rc = dompool_connect(path, &d);
    if (rc) {
        assert_int_equal(rc, -ENOMEM);
        assert_null(d);
        return;
    }
    pthread_t server;
    assert_int_equal(pthread_create(&server, NULL, serve, &listener), 0);
    use_typed(d);
    use_stream(d);
    dompool_close(d);
    pthread_join(server, NULL);
}

static void every_allocation(void **state)
{
    (void)state;
    json_set_alloc_funcs(__wrap_malloc, free);
    failing = -1;
    run();
    for (failing = 0;; failing++) {
        allocations = 0;
        run();
        if (allocations <= failing)
            break;
    }
    assert_true(failing > 50); /* the wrapping works */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_allocation, server_open, server_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
