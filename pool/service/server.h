/*
 * The API's socket: accepts clients, learns who they are (SO_PEERCRED), and puts a struct conn
 * (varlink.h) over each. Bounded: clients, what each may send, what each and what all of a user's
 * may leave unread.
 */
#ifndef POOL_SERVER_H
#define POOL_SERVER_H

#include "base/error.h"
#include "pool/service/varlink.h"

#include <uv.h>

struct server;

struct server_limits {
    unsigned clients;          /* connections; one in eight is root's */
    unsigned clients_per_user; /* of a user other than root */
    uint64_t unread_per_user;  /* bytes of replies, likewise, before another one is made */
};

/* Binds and listens. An old socket that nobody answers is replaced; one that somebody answers is
 * an error. group: "" for the daemon's own. */
int server_new(uv_loop_t *loop, const struct service *service, const char *path, unsigned mode,
               const char *group, const struct server_limits *limits, struct server **out,
               struct error *e);
void server_set_limits(struct server *s, const struct server_limits *limits);
/* Accepts nobody any more and removes the socket; clients stay. */
void server_stop_accepting(struct server *s);
/* Disconnects all. Freed by the loop's next rounds; the service may be freed when it is idle. */
void server_close(struct server *s);

#endif
