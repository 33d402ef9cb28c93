/*
 * Inside the client library: the connection (client.c) as the typed calls (calls.c) see it.
 */
#ifndef CLI_LIBDOMPOOL_CLIENT_H
#define CLI_LIBDOMPOOL_CLIENT_H

#include "dompool.h"

#include <jansson.h>

#define API_INTERFACE "io.dompool."

/* Puts a formatted text where dompool_error_text finds it, clears the name, returns rc. */
int client_fail(struct dompool *d, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Blocking call, whose answer dompool_reply_text then gives. Steals parameters; NULL, which is what
 * jansson makes of a string that is not UTF-8, is -EINVAL. On success the caller owns *reply, a
 * JSON object. */
int client_call(struct dompool *d, const char *method, json_t *parameters, json_t **reply);

#endif
