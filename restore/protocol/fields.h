/*
 * Messages as tables. A message is a flat JSON object: a first member that says which it is, then
 * its fields. One list of fields (an X-macro) makes the struct that both ends use and the table
 * from which it is encoded, decoded and checked.
 */
#ifndef RESTORE_FIELDS_H
#define RESTORE_FIELDS_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type {
    FIELD_TEXT,   /* const char *: of a decoded message, the message's */
    FIELD_NUMBER, /* int64_t, of any size: ranges are for who reads it */
    FIELD_FLAG,   /* bool */
    FIELD_LIST,   /* json_t *, an array: of a decoded message, borrowed from it */
    FIELD_MAP     /* json_t *, an object: likewise */
};

enum field_need { FIELD_OPTIONAL, FIELD_NEEDED };

struct field {
    const char *name; /* NULL ends the table */
    enum field_type type;
    enum field_need need;
    size_t offset; /* in the struct */
};

struct shape {
    const char *kind, *name; /* "op" and "build": the first member */
    const struct field *fields;
    size_t size; /* of the struct */
};

/* Of one list of fields, LIST(X, S) with an X(S, TYPE, NEED, name) for each. */
#define FIELD_C_TEXT const char *
#define FIELD_C_NUMBER int64_t
#define FIELD_C_FLAG bool
#define FIELD_C_LIST json_t *
#define FIELD_C_MAP json_t *
#define FIELD_MEMBER(struct_, type, need, name) FIELD_C_##type name;
#define FIELD_ENTRY(struct_, type, need, name)                                                     \
    {#name, FIELD_##type, FIELD_##need, offsetof(struct struct_, name)},

/* For M(struct, kind, name, LIST) of a protocol's messages: in its header, and in its source. */
#define SHAPE_DECLARE(struct_, kind, name, LIST)                                                   \
    struct struct_ {                                                                               \
        LIST(FIELD_MEMBER, struct_)                                                                \
    };                                                                                             \
    extern const struct shape struct_##_shape;
#define SHAPE_DEFINE(struct_, kind, name, LIST)                                                    \
    static const struct field struct_##_fields[] = {LIST(FIELD_ENTRY, struct_){0}};                \
    const struct shape struct_##_shape = {kind, name, struct_##_fields, sizeof(struct struct_)};

/* Makes a new message of the struct at values. An optional text that is NULL or "", and an optional
 * list or map that is NULL, are left out; required ones must be there. New reference; NULL: no
 * memory. */
json_t *shape_encode(const struct shape *shape, const void *values);
/* Checks a message, which must be of this shape, and fills the struct at values. Optional members
 * that are missing become NULL, 0 or false. Members that the table does not know are ignored.
 * -EPROTO, with the fault. */
int shape_decode(const struct shape *shape, const json_t *message, void *values, struct error *e);
/* Whether the message's first member names this shape. */
bool shape_is(const struct shape *shape, const json_t *message);

#endif
