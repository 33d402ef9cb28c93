/*
 * Messages: one JSON object, ended by a NUL byte. Varlink's framing, used on
 * the API socket and between the daemon and its helper processes.
 *
 * The reader is hostile-input safe: a message larger than the limit, invalid
 * UTF-8, duplicate keys, nesting beyond jansson's limit or anything but an
 * object is an error. It does no I/O itself: bytes go in, objects come out.
 */
#ifndef BASE_MESSAGE_H
#define BASE_MESSAGE_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct message_reader {
    char *buf;
    size_t start, scanned, used; /* taken up to start, no NUL between start and scanned */
    size_t size, limit;
};

/* limit: the largest message taken, in bytes. */
void message_reader_init(struct message_reader *r, size_t limit);
void message_reader_dispose(struct message_reader *r);
/* Copies bytes in. 0, -ENOMEM, or -EMSGSIZE when a message exceeds the limit. */
int message_reader_feed(struct message_reader *r, const void *bytes, size_t n, struct error *e);
/* Bytes that were fed and not taken. */
size_t message_reader_waiting(const struct message_reader *r);
/* Whether a whole message waits. */
bool message_reader_ready(struct message_reader *r);
/* Takes the next whole message: 1 and *out (caller owns a reference), 0 none yet,
 * -EPROTO when it is not a JSON object. */
int message_reader_next(struct message_reader *r, json_t **out, struct error *e);

/* Serialises: malloc'd bytes including the final NUL, *len counts it. NULL: out of memory. */
char *message_encode(const json_t *object, size_t *len);

/* Blocking send and receive on a socket, for helper processes and the client library. */
int message_send(int fd, const json_t *object, struct error *e);
/* 1 and *out, 0 at end of file between messages, or an error. */
int message_receive(int fd, struct message_reader *r, json_t **out, struct error *e);

#endif
