/*
 * A Varlink service (https://varlink.org): connections, calls, replies. It does no I/O: bytes of
 * a client go in by conn_feed, bytes for it come out by the transport's `send`;
 * pool/service/server.c puts a socket under it, tests/sim an array.
 *
 * Order: a connection's calls are handled one after the other. While one is open the next stay
 * unread in its buffer, so replies come in the order of the calls, and what a client can make
 * us keep is bounded: one call, one buffer of VARLINK_MESSAGE_LIMIT, one output queue.
 *
 * A client may pass one descriptor with a message (SCM_RIGHTS). It comes with the message's first
 * byte, and the sendmsg(2) that passes it holds bytes of no other message. It is the handler's to
 * read while that runs, and is closed then. A second one, while the first one's message waits for
 * its turn, is closed at once.
 *
 * No client is forgotten: a handler must return a `const struct answered *`, and only
 * call_reply, call_refuse, call_invalid and call_defer give one. What was deferred must be replied
 * later; if the client goes first, its `cancel` is called instead. Exactly one of the two.
 */
#ifndef POOL_VARLINK_H
#define POOL_VARLINK_H

#include "base/list.h"
#include "base/message.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VARLINK_MESSAGE_LIMIT (1u << 20) /* bytes of one message, and of what waits behind it */

#define VARLINK_MEMBERS_MAX 1024 /* of an array, or of a map, that a client gives */

struct answered;
struct conn;

struct call {
    struct conn *conn; /* NULL: no call is open */
    bool more, oneway;
    int fd;               /* passed with the message, or -1; closed when the handler has returned */
    uint64_t received_us; /* when its first byte could have been handled: the clock of transport */
    void (*cancel)(struct call *call); /* deferred, and the client is gone */
    void *owner;
};

/* Told when a connection ends, after its call was cancelled. Linked by conn_watch. */
struct conn_watch {
    struct list node;
    void (*closed)(struct conn_watch *w);
};

/* ---- what a service offers ---- */

enum param_type { PARAM_STRING, PARAM_INT, PARAM_BOOL, PARAM_STRINGS, PARAM_STRING_MAP };

struct param {
    const char *name; /* NULL ends the array */
    enum param_type type;
    bool required;
};

/* Whether v, which may be NULL, is one, with no more members than a client may give. */
bool param_fits(enum param_type type, const json_t *v);

struct method {
    const char *name; /* without the interface */
    const struct param *params;
    bool root_only;
    /* parameters: checked against params; nulls are removed. Borrowed. */
    const struct answered *(*handle)(struct call *call, void *owner, const json_t *parameters);
};

struct service {
    const char *interface; /* "io.dompool" */
    const char *interface_text;
    const char *vendor, *product, *version, *url;
    const struct method *methods;
    size_t n_methods;
    void *owner; /* of the handlers */
    uint64_t (*now_us)(void *owner);
};

/* ---- connections ---- */

struct transport_ops {
    /* Takes len bytes, malloc'd, which it frees. False: it cannot; the connection hangs up. */
    bool (*send)(void *transport, char *bytes, size_t len);
    /* Asks for conn_dispose, after what was sent has left, and not from inside this call. */
    void (*hang_up)(void *transport);
    /* Asks for conn_run, not from inside this call: so an answer never runs another handler. */
    void (*run_soon)(void *transport);
};

struct conn {
    const struct service *service;
    const struct transport_ops *ops;
    void *transport;
    uid_t uid;
    struct message_reader reader;
    struct call call;     /* the open one */
    uint64_t fed, taken;  /* messages that came whole, and those that have been handled */
    int passed;           /* a descriptor whose message waits for its turn; -1: none */
    uint64_t passed_with; /* that message: so many came before it */
    struct list watches;
    bool running; /* inside conn_run */
    bool broken;  /* has hung up: nothing is handled or sent any more */
};

void conn_init(struct conn *c, const struct service *service, const struct transport_ops *ops,
               void *transport, uid_t uid);
/* Bytes from the client: only buffered. */
void conn_take(struct conn *c, const void *bytes, size_t n);
/* The same with a descriptor that came with them, which is the connection's from now on. */
void conn_take_passed(struct conn *c, const void *bytes, size_t n, int fd);
/* Handles one message, if one is whole and no call is open. If another could follow, run_soon is
 * asked: what a client has sent at once takes turns with others. */
void conn_run(struct conn *c);
/* Whether conn_run would handle a message. */
bool conn_behind(struct conn *c);
/* conn_take, then conn_run. */
void conn_feed(struct conn *c, const void *bytes, size_t n);
/* The client is gone: cancels the open call, tells the watches. May run twice. */
void conn_dispose(struct conn *c);
void conn_watch(struct conn *c, struct conn_watch *w);

/* ---- answering; each takes the reference to parameters, which may be NULL (out of memory) ---- */

const struct answered *call_reply(struct call *call, json_t *parameters);
/* A reply that is not the last one; only when call->more. */
void call_progress(struct call *call, json_t *parameters);
/* io.dompool.<answer>, with a text. */
const struct answered *call_refuse(struct call *call, int code, const char *text);
/* With what this answer tells besides, an object; its reference is taken. */
const struct answered *call_refuse_with(struct call *call, int code, const char *text,
                                        json_t *details);
const struct answered *call_invalid(struct call *call, const char *parameter);
const struct answered *call_defer(struct call *call, void (*cancel)(struct call *call),
                                  void *owner);

#endif
