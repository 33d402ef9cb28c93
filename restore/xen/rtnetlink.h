/*
 * Questions to the kernel about network interfaces: messages of rtnetlink(7) in one batch, and what
 * the kernel said to each. For bridge_port.c and entrance.c alone.
 *
 * Calls block for as long as the kernel takes: some ten microseconds, or until another program lets
 * go of the kernel's lock on network interfaces.
 */
#ifndef RESTORE_RTNETLINK_H
#define RESTORE_RTNETLINK_H

#include "base/error.h"

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_BYTES 16384u
#define BATCH_MESSAGES 48u

struct batch {
    char bytes[BATCH_BYTES];
    size_t used;
    unsigned n;                 /* messages; the sequence number of each is its place */
    int failed[BATCH_MESSAGES]; /* errno of each after batch_run, or 0 */
};

static inline void batch_init(struct batch *b)
{
    b->used = b->n = 0;
}

/* Begins a message; its attributes are put by libmnl, up to message_end. The caller sees to it that
 * BATCH_BYTES and BATCH_MESSAGES are enough. */
struct nlmsghdr *message_begin(struct batch *b, uint16_t type, uint16_t flags);
void message_end(struct batch *b, const struct nlmsghdr *n);

/* Sends all, and reads all answers; take, which may be NULL, is called for what is no
 * acknowledgement. An error of rtnetlink itself; what becomes of each message is in b->failed. */
int batch_run(struct batch *b, mnl_cb_t take, void *data, struct error *e);

/* The first failure of messages from number `first` on: an errno, or 0. */
int batch_failure(const struct batch *b, unsigned first);

#endif
