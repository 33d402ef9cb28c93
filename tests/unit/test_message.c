/* base/message.h: framing, limits, and both ends over a socket pair. */
#include "tests/cmocka.h"

#include "base/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void feed(struct message_reader *r, const char *bytes, size_t n)
{
    struct error e;
    assert_int_equal(message_reader_feed(r, bytes, n, &e), 0);
}

static void byte_by_byte(void **state)
{
    (void)state;
    static const char two[] = "{\"a\":1}\0{\"b\":2}";
    struct message_reader r;
    struct error e = {0};
    json_t *o;
    unsigned got = 0;
    message_reader_init(&r, 100);
    for (size_t i = 0; i < sizeof two; i++) {
        feed(&r, two + i, 1);
        int rc = message_reader_next(&r, &o, &e);
        assert_true(rc == 0 || rc == 1);
        if (rc == 1) {
            assert_int_equal(json_integer_value(json_object_get(o, got ? "b" : "a")), got + 1);
            json_decref(o);
            got++;
        }
    }
    assert_int_equal(got, 2);
    message_reader_dispose(&r);
}

static void two_at_once(void **state)
{
    (void)state;
    static const char two[] = "{\"a\":1}\0{\"b\":2}";
    struct message_reader r;
    struct error e = {0};
    json_t *o;
    message_reader_init(&r, 100);
    feed(&r, two, sizeof two);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(message_reader_next(&r, &o, &e), 1);
        json_decref(o);
    }
    assert_int_equal(message_reader_next(&r, &o, &e), 0);
    message_reader_dispose(&r);
}

static void malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "3",
                                      "{\"a\":1",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":\"\xff\"}",
                                      "{} {}",
                                      "{\"a\":\"\\u0000\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct message_reader r;
        struct error e = {0};
        json_t *o;
        message_reader_init(&r, 100);
        feed(&r, bad[i], strlen(bad[i]) + 1);
        assert_int_equal(message_reader_next(&r, &o, &e), -EPROTO);
        assert_true(e.text[0]);
        /* the stream stays in step: a good one behind it is read */
        feed(&r, "{}", 3);
        assert_int_equal(message_reader_next(&r, &o, &e), 1);
        json_decref(o);
        message_reader_dispose(&r);
    }
}

static void too_large(void **state)
{
    (void)state;
    struct message_reader r;
    struct error e = {0};
    json_t *o;
    char big[64];
    memset(big, ' ', sizeof big);
    message_reader_init(&r, 20);
    feed(&r, big, 21);
    assert_int_equal(message_reader_next(&r, &o, &e), -EMSGSIZE);
    assert_int_equal(message_reader_feed(&r, big, sizeof big, &e), -EMSGSIZE);
    message_reader_dispose(&r);
    message_reader_init(&r, 2); /* exactly the limit is fine */
    feed(&r, "{}", 3);
    assert_int_equal(message_reader_next(&r, &o, &e), 1);
    json_decref(o);
    message_reader_dispose(&r);
}

static void over_a_socket(void **state)
{
    (void)state;
    int pair[2];
    struct message_reader r;
    struct error e = {0};
    json_t *o = json_pack("{ss}", "op", "x"), *back;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    message_reader_init(&r, 100);
    assert_int_equal(message_send(pair[0], o, &e), 0);
    assert_int_equal(message_receive(pair[1], &r, &back, &e), 1);
    assert_true(json_equal(o, back));
    json_decref(back);
    assert_int_equal(send(pair[0], "{", 1, 0), 1);
    close(pair[0]);
    assert_int_equal(message_receive(pair[1], &r, &back, &e), -EPROTO);
    message_reader_dispose(&r);
    assert_int_equal(message_receive(pair[1], &r, &back, &e), 0); /* end between messages */
    assert_int_equal(message_send(pair[1], o, &e), -EPIPE);
    json_decref(o);
    close(pair[1]);
    message_reader_dispose(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_by_byte),  cmocka_unit_test(two_at_once),
        cmocka_unit_test(malformed),     cmocka_unit_test(too_large),
        cmocka_unit_test(over_a_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
