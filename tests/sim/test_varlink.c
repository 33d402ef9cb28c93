/* The protocol's side of the API: framing, order, standard errors, broken clients. */
#include "base/array.h"
#include "base/log.h"
#include "pool/service/varlink.h"
#include "tests/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char sent[1 << 16]; /* what the service has sent, messages parted by newlines */
static size_t used;
static bool hung_up, refuse_to_send, run_soon;
static struct conn conn;
static struct call *open_call;
static unsigned cancelled, closed;

static bool take(void *transport, char *bytes, size_t len)
{
    (void)transport;
    if (!refuse_to_send) {
        memcpy(sent + used, bytes, len);
        used += len;
        sent[used - 1] = '\n';
        sent[used] = '\0';
    }
    free(bytes);
    return !refuse_to_send;
}

static void hang_up(void *transport)
{
    (void)transport;
    assert_false(hung_up); /* once */
    hung_up = true;
}

static void want_run(void *transport)
{
    (void)transport;
    run_soon = true;
}

static const struct transport_ops transport = {take, hang_up, want_run};

static void call_cancelled(struct call *call)
{
    assert_ptr_equal(call, open_call);
    cancelled++;
}

static const struct answered *echo(struct call *call, void *owner, const json_t *given)
{
    (void)owner;
    return call_reply(call, json_deep_copy(given));
}

static const struct answered *later(struct call *call, void *owner, const json_t *given)
{
    (void)owner;
    (void)given;
    open_call = call;
    call_progress(call, json_pack("{s:i}", "n", 1));
    return call_defer(call, call_cancelled, NULL);
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

static const struct answered *no_memory(struct call *call, void *owner, const json_t *given)
{
    (void)owner;
    (void)given;
    return call_reply(call, NULL);
}

static const struct param echo_params[] = {
    {"text", PARAM_STRING, false},    {"number", PARAM_INT, false}, {"list", PARAM_STRINGS, false},
    {"map", PARAM_STRING_MAP, false}, {"truth", PARAM_BOOL, false}, {0}};
static const struct param none[] = {{0}};
static const struct method methods[] = {{"Echo", echo_params, false, echo},
                                        {"Later", none, false, later},
                                        {"Root", none, true, echo},
                                        {"Size", none, false, size},
                                        {"NoMemory", none, false, no_memory}};

static uint64_t now(void *owner)
{
    (void)owner;
    return 5;
}

static const struct service service = {.interface = "io.test",
                                       .interface_text = "interface io.test",
                                       .vendor = "v",
                                       .product = "p",
                                       .version = "1",
                                       .url = "u",
                                       .methods = methods,
                                       .n_methods = ARRAY_SIZE(methods),
                                       .now_us = now};

static int begin(void **state)
{
    (void)state;
    used = 0;
    sent[0] = '\0';
    hung_up = refuse_to_send = run_soon = false;
    open_call = NULL;
    cancelled = closed = 0;
    conn_init(&conn, &service, &transport, NULL, 1000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    conn_dispose(&conn);
    conn_dispose(&conn); /* may run twice */
    return 0;
}

static void feed_bytes(const char *bytes, size_t n)
{
    conn_feed(&conn, bytes, n);
    while (run_soon) {
        run_soon = false;
        conn_run(&conn);
    }
}

static void feed(const char *text)
{
    feed_bytes(text, strlen(text) + 1);
}

static void expect(const char *text)
{
    assert_string_equal(sent, text);
    used = 0;
    sent[0] = '\0';
}

static void test_calls(void **state)
{
    (void)state;
    feed("{\"method\":\"io.test.Echo\",\"parameters\":{\"number\":3,\"text\":null}}");
    expect("{\"parameters\":{\"number\":3}}\n");
    feed("{\"method\":\"io.test.Echo\"}");
    expect("{\"parameters\":{}}\n");
    feed("{\"method\":\"io.test.Echo\",\"parameters\":null,\"more\":true}");
    expect("{\"parameters\":{}}\n");
    feed("{\"method\":\"io.test.Echo\",\"oneway\":true}");
    expect("");
    feed("{\"method\":\"io.test.Root\"}");
    expect("{\"error\":\"io.test.NotPermitted\",\"parameters\":{\"text\":"
           "\"Root is for root only; you are uid 1000\"}}\n");
    feed("{\"method\":\"org.varlink.service.GetInterfaceDescription\","
         "\"parameters\":{\"interface\":\"io.test\"}}");
    expect("{\"parameters\":{\"description\":\"interface io.test\"}}\n");
    feed("{\"method\":\"org.varlink.service.GetInfo\"}");
    expect("{\"parameters\":{\"vendor\":\"v\",\"product\":\"p\",\"version\":\"1\",\"url\":\"u\","
           "\"interfaces\":[\"org.varlink.service\",\"io.test\"]}}\n");
}

#define STANDARD(name, key, value)                                                                 \
    "{\"error\":\"org.varlink.service." name "\",\"parameters\":{\"" key "\":\"" value "\"}}\n"

static void test_standard_errors(void **state)
{
    static const char *const cases[][2] = {
        {"{}", STANDARD("InvalidParameter", "parameter", "method")},
        {"{\"method\":5}", STANDARD("InvalidParameter", "parameter", "method")},
        {"{\"method\":\"plain\"}", STANDARD("MethodNotFound", "method", "plain")},
        {"{\"method\":\"io.test.Nope\"}", STANDARD("MethodNotFound", "method", "io.test.Nope")},
        {"{\"method\":\"io.nope.X\"}", STANDARD("InterfaceNotFound", "interface", "io.nope")},
        {"{\"method\":\"org.varlink.service.GetInterfaceDescription\"}",
         STANDARD("InvalidParameter", "parameter", "interface")},
        {"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
         "{\"interface\":\"a.b\"}}",
         STANDARD("InterfaceNotFound", "interface", "a.b")},
        {"{\"method\":\"io.test.Echo\",\"parameters\":[]}",
         STANDARD("InvalidParameter", "parameter", "parameters")},
        {"{\"method\":\"io.test.Echo\",\"more\":1}",
         STANDARD("InvalidParameter", "parameter", "more")},
        {"{\"method\":\"io.test.Echo\",\"upgrade\":true}",
         STANDARD("InvalidParameter", "parameter", "upgrade")},
        {"{\"method\":\"io.test.Echo\",\"parameters\":{\"wat\":1}}",
         STANDARD("InvalidParameter", "parameter", "wat")},
        {"{\"method\":\"io.test.Echo\",\"parameters\":{\"number\":1.5}}",
         STANDARD("InvalidParameter", "parameter", "number")},
        {"{\"method\":\"io.test.Echo\",\"parameters\":{\"list\":[\"a\",1]}}",
         STANDARD("InvalidParameter", "parameter", "list")},
        {"{\"method\":\"io.test.Echo\",\"parameters\":{\"map\":{\"a\":1}}}",
         STANDARD("InvalidParameter", "parameter", "map")},
        {"{\"method\":\"io.test.Echo\",\"parameters\":{\"truth\":\"yes\"}}",
         STANDARD("InvalidParameter", "parameter", "truth")},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        feed(cases[i][0]);
        expect(cases[i][1]);
        assert_false(hung_up);
    }
}

/* What cannot be understood is answered once, and nothing behind it is read. */
static void test_broken_clients(void **state)
{
    static const char *const broken[] = {"", "x", "[]", "{\"a\":1,\"a\":2}",
                                         "{\"method\":\"\xff\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        begin(state);
        char both[200];
        size_t n = strlen(broken[i]) + 1;
        memcpy(both, broken[i], n);
        memcpy(both + n, "{\"method\":\"io.test.Echo\"}", 26);
        feed_bytes(both, n + 26);
        assert_true(hung_up);
        assert_non_null(strstr(sent, "io.test.BadValue"));
        assert_null(strstr(strchr(sent, '\n') + 1, "parameters"));
        feed("{\"method\":\"io.test.Echo\"}");
        end(state);
    }
}

static void test_too_large(void **state)
{
    char *big = malloc(VARLINK_MESSAGE_LIMIT);
    (void)state;
    memset(big, 'x', VARLINK_MESSAGE_LIMIT);
    conn_feed(&conn, big, VARLINK_MESSAGE_LIMIT);
    conn_feed(&conn, big, 4096);
    conn_feed(&conn, big, 4096);
    assert_true(hung_up);
    assert_non_null(strstr(sent, "larger than"));
    end(state);
    begin(state);
    feed("{\"method\":\"io.test.Later\"}"); /* and behind a call that is open */
    for (int i = 0; i < 40 && !hung_up; i++)
        conn_feed(&conn, big, VARLINK_MESSAGE_LIMIT / 16);
    assert_true(hung_up);
    free(big);
}

static void test_deferred(void **state)
{
    (void)state;
    feed("{\"method\":\"io.test.Later\",\"more\":true}");
    feed("{\"method\":\"io.test.Echo\",\"parameters\":{\"number\":1}}");
    expect("{\"parameters\":{\"n\":1},\"continues\":true}\n");
    call_reply(open_call, json_object());
    expect("{\"parameters\":{}}\n"); /* the next call does not run inside the answer */
    assert_true(run_soon);
    conn_run(&conn);
    expect("{\"parameters\":{\"number\":1}}\n");
    feed("{\"method\":\"io.test.Later\"}"); /* without more: no progress */
    expect("");
    call_refuse(open_call, ANSWER_TIMED_OUT, "\xff not UTF-8");
    assert_non_null(strstr(sent, "io.test.TimedOut"));
}

/* However much a client sends at once, it gets one turn at a time. */
static void test_turns(void **state)
{
    static const char text[] = "{\"method\":\"io.test.Echo\"}\0{\"method\":\"io.test.Echo\"}\0{";
    (void)state;
    conn_take(&conn, text, sizeof text - 1);
    assert_true(conn_behind(&conn));
    expect("");
    conn_run(&conn);
    expect("{\"parameters\":{}}\n");
    assert_true(run_soon && conn_behind(&conn));
    run_soon = false;
    conn_run(&conn);
    expect("{\"parameters\":{}}\n");
    assert_false(run_soon || conn_behind(&conn)); /* the third is not whole */
}

static void test_members(void **state)
{
    json_t *list = json_array(), *map = json_object();
    char key[16];
    (void)state;
    for (int i = 0; i <= VARLINK_MEMBERS_MAX; i++) {
        snprintf(key, sizeof key, "%d", i);
        json_array_append_new(list, json_string(key));
        json_object_set_new(map, key, json_string(key));
    }
    json_t *call =
        json_pack("{s:s, s:{s:o}}", "method", "io.test.Echo", "parameters", "list", list);
    char *bytes = json_dumps(call, 0);
    feed(bytes);
    assert_non_null(strstr(sent, "InvalidParameter"));
    free(bytes);
    json_decref(call);
    call = json_pack("{s:s, s:{s:o}}", "method", "io.test.Echo", "parameters", "map", map);
    bytes = json_dumps(call, 0);
    used = 0;
    feed(bytes);
    assert_non_null(strstr(sent, "InvalidParameter"));
    free(bytes);
    json_decref(call);
}

static void watch_closed(struct conn_watch *w)
{
    (void)w;
    assert_int_equal(cancelled, 1); /* the call first */
    closed++;
}

static void test_client_dies(void **state)
{
    struct conn_watch watch = {.closed = watch_closed};
    (void)state;
    conn_watch(&conn, &watch);
    feed("{\"method\":\"io.test.Later\"}");
    conn_dispose(&conn);
    assert_int_equal(cancelled, 1);
    assert_int_equal(closed, 1);
}

static void test_no_memory_and_slow_readers(void **state)
{
    (void)state;
    feed("{\"method\":\"io.test.NoMemory\"}");
    assert_true(hung_up);
    end(state);
    begin(state);
    refuse_to_send = true;
    feed("{\"method\":\"io.test.Echo\"}");
    assert_true(hung_up);
    feed("{\"method\":\"io.test.Echo\"}");
}

/* Cut anywhere, the bytes mean the same. */
static void test_every_cut(void **state)
{
    static const char text[] = "{\"method\":\"io.test.Echo\"}\0{\"method\":\"io.test.Echo\","
                               "\"parameters\":{\"text\":\"a\"}}";
    (void)state;
    for (size_t cut = 0; cut <= sizeof text; cut++) {
        feed_bytes(text, cut);
        feed_bytes(text + cut, sizeof text - cut);
        expect("{\"parameters\":{}}\n{\"parameters\":{\"text\":\"a\"}}\n");
    }
}

/* ---- descriptors ---- */

#define SIZE "{\"method\":\"io.test.Size\"}"
#define ECHO "{\"method\":\"io.test.Echo\"}"

/* A descriptor of a file of so many bytes. */
static int file_of(int bytes)
{
    int fd = memfd_create("passed", MFD_CLOEXEC);
    assert_true(fd >= 0 && !ftruncate(fd, bytes));
    return fd;
}

static bool is_closed(int fd)
{
    return fcntl(fd, F_GETFD) < 0 && errno == EBADF;
}

static void run_all(void)
{
    do {
        run_soon = false;
        conn_run(&conn);
    } while (run_soon);
}

/* It belongs to the last message that begins within the bytes it came with, wherever they are
 * cut. */
static void test_passed(void **state)
{
    static const char text[] = ECHO "\0" SIZE;
    size_t second = sizeof ECHO;
    (void)state;
    for (size_t from = 0; from <= second; from += second)
        for (size_t to = second + 1; to <= sizeof text; to++) {
            int fd = file_of((int)to);
            char wanted[80];
            snprintf(wanted, sizeof wanted,
                     "{\"parameters\":{}}\n{\"parameters\":{\"size\":%zu}}\n", to);
            conn_take(&conn, text, from);
            conn_take_passed(&conn, text + from, to - from, fd);
            assert_false(is_closed(fd));
            conn_take(&conn, text + to, sizeof text - to);
            run_all();
            expect(wanted);
            assert_true(is_closed(fd));
        }
    feed(SIZE); /* the next one has none */
    expect("{\"parameters\":{\"size\":-1}}\n");
}

/* A method that takes none, an error, a hang-up: it is closed. A second one is closed at once. */
static void test_passed_in_vain(void **state)
{
    static const char *const others[] = {ECHO, "{\"method\":\"io.test.Nope\"}",
                                         "{\"method\":\"io.test.Root\"}", "{\"method\":7}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        int fd = file_of(1);
        conn_take_passed(&conn, others[i], strlen(others[i]) + 1, fd);
        run_all();
        assert_true(is_closed(fd));
    }
    used = 0;
    int first = file_of(11), second = file_of(22);
    conn_take_passed(&conn, SIZE, sizeof SIZE, first);
    conn_take_passed(&conn, SIZE, sizeof SIZE, second);
    assert_true(is_closed(second));
    run_all();
    expect("{\"parameters\":{\"size\":11}}\n{\"parameters\":{\"size\":-1}}\n");
    int late = file_of(3);
    conn_take_passed(&conn, "{\"me", 4, late);
    conn_dispose(&conn);
    assert_true(is_closed(late));
    conn_init(&conn, &service, &transport, NULL, 1000);
    feed("x"); /* and of a client that was told to go */
    late = file_of(3);
    conn_take_passed(&conn, SIZE, sizeof SIZE, late);
    assert_true(is_closed(late));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_calls),     TEST(test_standard_errors), TEST(test_broken_clients),
        TEST(test_too_large), TEST(test_deferred),        TEST(test_turns),
        TEST(test_members),   TEST(test_client_dies),     TEST(test_no_memory_and_slow_readers),
        TEST(test_every_cut), TEST(test_passed),          TEST(test_passed_in_vain),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
