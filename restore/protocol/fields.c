/* Messages as tables: see fields.h. */
#include "restore/protocol/fields.h"

#include <errno.h>
#include <string.h>

static json_t *value_encode(const struct field *f, const void *at)
{
    switch (f->type) {
    case FIELD_TEXT:
        return json_string(*(const char *const *)at);
    case FIELD_NUMBER:
        return json_integer(*(const int64_t *)at);
    case FIELD_FLAG:
        return json_boolean(*(const bool *)at);
    case FIELD_LIST:
    case FIELD_MAP:
        return json_incref(*(json_t *const *)at);
    }
    return NULL;
}

static bool is_left_out(const struct field *f, const void *at)
{
    if (f->need == FIELD_NEEDED)
        return false;
    if (f->type == FIELD_TEXT) {
        const char *text = *(const char *const *)at;
        return !text || !text[0];
    }
    return (f->type == FIELD_LIST || f->type == FIELD_MAP) && !*(json_t *const *)at;
}

json_t *shape_encode(const struct shape *shape, const void *values)
{
    json_t *message = json_object();
    int rc = json_object_set_new(message, shape->kind, json_string(shape->name));
    for (const struct field *f = shape->fields; !rc && f->name; f++) {
        const void *at = (const char *)values + f->offset;
        if (!is_left_out(f, at))
            rc = json_object_set_new(message, f->name, value_encode(f, at));
    }
    if (!rc)
        return message;
    json_decref(message);
    return NULL;
}

static bool value_decode(const struct field *f, json_t *v, void *at)
{
    switch (f->type) {
    case FIELD_TEXT:
        *(const char **)at = json_string_value(v);
        return json_is_string(v);
    case FIELD_NUMBER:
        *(int64_t *)at = json_integer_value(v);
        return json_is_integer(v);
    case FIELD_FLAG:
        *(bool *)at = json_is_true(v);
        return json_is_boolean(v);
    case FIELD_LIST:
        *(json_t **)at = v;
        return json_is_array(v);
    case FIELD_MAP:
        *(json_t **)at = v;
        return json_is_object(v);
    }
    return false;
}

static const char *type_name(enum field_type type)
{
    static const char *const names[] = {
        [FIELD_TEXT] = "text", [FIELD_NUMBER] = "whole number", [FIELD_FLAG] = "boolean",
        [FIELD_LIST] = "list", [FIELD_MAP] = "object",
    };
    return names[type];
}

bool shape_is(const struct shape *shape, const json_t *message)
{
    const char *name = json_string_value(json_object_get(message, shape->kind));
    return name && !strcmp(name, shape->name);
}

int shape_decode(const struct shape *shape, const json_t *message, void *values, struct error *e)
{
    if (shape->size)
        memset(values, 0, shape->size);
    if (!shape_is(shape, message))
        return error_set(e, -EPROTO, "it is not a message \"%s\"", shape->name);
    for (const struct field *f = shape->fields; f->name; f++) {
        json_t *v = json_object_get(message, f->name);
        if (!v && f->need == FIELD_NEEDED)
            return error_set(e, -EPROTO, "the message \"%s\" lacks \"%s\"", shape->name, f->name);
        if (v && !value_decode(f, v, (char *)values + f->offset))
            return error_set(e, -EPROTO, "the message \"%s\": \"%s\" is no %s", shape->name,
                             f->name, type_name(f->type));
    }
    return 0;
}
