/*
 * A call whose answer takes time. The client may go first, and then there is nobody to answer; the
 * work behind the call often goes on all the same. So a struct pending is embedded in that work,
 * may be answered at any time, once, and knows whether anybody still waits.
 */
#ifndef POOL_PENDING_H
#define POOL_PENDING_H

#include "pool/service/varlink.h"

struct pending {
    struct call *call; /* NULL: answered, or the client is gone, or there never was one */
    void (*gone)(struct pending *p);
};

/* Defers the call, which must be open. gone, which may be NULL: the client has left before it was
 * answered; p counts as answered already. The handler returns what this returns. */
const struct answered *pending_begin(struct pending *p, struct call *call,
                                     void (*gone)(struct pending *p));
/* Whether somebody waits. */
bool pending_waits(const struct pending *p);
/* How far the work is, to whoever waits and has asked for it (Varlink's `more`); takes the
 * reference. */
void pending_progress(struct pending *p, json_t *parameters);
/* Answers whoever waits; else only drops the reference to parameters (NULL: out of memory). p is
 * not touched afterwards, and its owner may be freed before: see pending_take. */
void pending_reply(struct pending *p, json_t *parameters);
void pending_refuse(struct pending *p, int code, const char *text);
void pending_refuse_with(struct pending *p, int code, const char *text, json_t *details);
/* The call, for who frees p's owner first and answers then; p counts as answered. May be NULL. */
struct call *pending_take(struct pending *p);

#endif
