/* Messages of the helpers: restore/protocol/. */
#include "restore/protocol/image_protocol.h"
#include "restore/protocol/slot_protocol.h"
#include "tests/cmocka.h"

#include "base/array.h"

#include <errno.h>
#include <string.h>

#define SHAPE_ADDRESS(struct_, kind, name, LIST) &struct_##_shape,
static const struct shape *const shapes[] = {SLOT_MESSAGES(SHAPE_ADDRESS)
                                                 IMAGE_MESSAGES(SHAPE_ADDRESS)};

static json_t *value_of(enum field_type type)
{
    switch (type) {
    case FIELD_TEXT:
        return json_string("text");
    case FIELD_NUMBER:
        return json_integer(7);
    case FIELD_FLAG:
        return json_true();
    case FIELD_LIST:
        return json_pack("[s]", "member");
    case FIELD_MAP:
        return json_pack("{s:s}", "key", "value");
    }
    return NULL;
}

/* needed_only: without what may be left out. */
static json_t *message_of(const struct shape *shape, bool needed_only)
{
    json_t *m = json_pack("{s:s}", shape->kind, shape->name);
    for (const struct field *f = shape->fields; f->name; f++)
        if (!needed_only || f->need == FIELD_NEEDED)
            assert_int_equal(json_object_set_new(m, f->name, value_of(f->type)), 0);
    return m;
}

static void decode(const struct shape *shape, const json_t *m, void *values, int expected)
{
    struct error e = {0};
    int rc = shape_decode(shape, m, values, &e);
    if (rc != expected)
        fail_msg("%s: %d (%s), expected %d", shape->name, rc, e.text, expected);
    if (rc)
        assert_true(e.text[0]);
}

/* What one end encodes the other end decodes, with everything and with what is needed alone. */
static void test_round_trip(void **state)
{
    (void)state;
    long values[64];
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        assert_true(shapes[i]->size <= sizeof values);
        for (int needed_only = 0; needed_only < 2; needed_only++) {
            json_t *m = message_of(shapes[i], needed_only);
            decode(shapes[i], m, values, 0);
            json_t *again = shape_encode(shapes[i], values);
            decode(shapes[i], again, values, 0);
            if (!needed_only)
                assert_true(json_equal(m, again));
            json_decref(again);
            json_decref(m);
        }
    }
}

/* Each field once missing, and once of each other type. */
static void test_malformed(void **state)
{
    (void)state;
    long values[64];
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
        for (const struct field *f = shapes[i]->fields; f->name; f++) {
            json_t *m = message_of(shapes[i], false);
            json_object_del(m, f->name);
            decode(shapes[i], m, values, f->need == FIELD_NEEDED ? -EPROTO : 0);
            for (int type = FIELD_TEXT; type <= FIELD_MAP; type++) {
                json_object_set_new(m, f->name, value_of((enum field_type)type));
                decode(shapes[i], m, values, type == (int)f->type ? 0 : -EPROTO);
            }
            json_object_set_new(m, f->name, json_null());
            decode(shapes[i], m, values, -EPROTO);
            json_decref(m);
        }
}

static void test_numbers(void **state)
{
    struct slot_created_event v;
    (void)state;
    json_t *m = json_pack("{s:s, s:i}", "event", "created", "domid", -1);
    decode(&slot_created_event_shape, m, &v, 0);
    assert_true(v.domid == -1);
    json_object_set_new(m, "domid", json_real(7.0));
    decode(&slot_created_event_shape, m, &v, -EPROTO);
    json_object_set_new(m, "domid", json_integer(INT64_MAX));
    decode(&slot_created_event_shape, m, &v, 0);
    assert_true(v.domid == INT64_MAX);
    json_decref(m);
}

/* Of two messages one name each; what is no object is none of them. */
static void test_names(void **state)
{
    (void)state;
    json_t *none = json_array();
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        json_t *m = message_of(shapes[i], false);
        assert_true(shape_is(shapes[i], m));
        assert_false(shape_is(shapes[i], none));
        assert_false(shape_is(shapes[i], NULL));
        for (size_t j = 0; j < ARRAY_SIZE(shapes); j++)
            if (strcmp(shapes[i]->kind, shapes[j]->kind) ||
                strcmp(shapes[i]->name, shapes[j]->name))
                assert_false(shape_is(shapes[j], m));
        json_decref(m);
    }
    json_decref(none);
}

/* A text that is needed and not there cannot be sent. */
static void test_incomplete(void **state)
{
    (void)state;
    const struct slot_turn_op m = {.image = NULL};
    assert_null(shape_encode(&slot_turn_op_shape, &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_incomplete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
