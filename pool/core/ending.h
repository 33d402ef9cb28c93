/*
 * What the end of a guest means to its lease. By its configuration, as xl.cfg(5) has it, or by the
 * pool's setting on_end:
 *
 *   destroy, and all others     the lease ends: a disposable domain is not started again
 *   preserve                    the domain stays as it is until the lease ends
 */
#ifndef POOL_ENDING_H
#define POOL_ENDING_H

#include "pool/core/lease.h"

/* Whether the lease goes on, with its domain as it is, when the guest has ended for this reason (of
 * host_shutdown_reason_name). What the image and its pool say at this moment counts. */
bool ending_keeps(const struct lease *l, const char *reason);

#endif
