/*
 * Whether somebody has asked a domain that waits to shut down or to suspend: it would obey as soon
 * as it runs. A watch tells of that, so that a completion asks xenstored for nothing.
 */
#ifndef RESTORE_ASKED_H
#define RESTORE_ASKED_H

#include "base/error.h"

#include <stdint.h>
#include <xenstore.h>

struct asked {
    struct xs_handle *xs; /* a connection of its own: see backends_wait. NULL: not watched */
    uint32_t domid;
};

/* Sets the watch and takes its first event, which only says that it is set. Blocking: two or three
 * answers of xenstored. */
int asked_watch(struct asked *a, uint32_t domid, struct error *e);
/* 0: nobody has, as far as xenstored has told; without a word to it. When it has told of something,
 * the node is read. ANSWER_DOMAIN_STATE: somebody has; or an I/O error. */
int asked_check(struct asked *a, struct error *e);
/* Ends the watch. May be called twice. */
void asked_close(struct asked *a);

#endif
