/*
 * Start and stop: what a restart finds, and what a stop leaves.
 *
 * Three truths are compared at the start: the rows, the hypervisor's list of domains (matched by
 * UUID and domid: both are reused), and what lies on the disk.
 *
 *   row          domain       then
 *   leased       runs         the lease goes on, unless a connection held it
 *   leased       has ended    as ever: the lease ends, or the domain is kept (ending.h)
 *   leased       is gone      the lease ends
 *   any other    exists       destroyed: what is in it can't be proved any more
 *   any other    is gone      the row goes
 *   none         has our tag  destroyed
 *
 * Destruction is the ordinary end of a slot (slot_reap), so a domain that will not die is tried
 * again and again, and does not keep the daemon from starting: the socket opens when each
 * leftover has been tried once and the sweep is over.
 */
#ifndef POOL_RECONCILE_H
#define POOL_RECONCILE_H

#include "pool/core/slot.h"

/* Takes over what the rows and the host's list hold; startup.on_started is called when the socket
 * may open, or with an error. rows are borrowed for the call. */
void core_start(struct core *core, const struct db_rows *rows);
/* The first listing is there, or rc. */
void start_listed(struct core *core, int rc, const struct error *e);
/* The slot's first destruction has come back: it is no leftover any more. */
void start_tried(struct slot *s);

/* A domain with our tag that no slot knows is destroyed, and this is true: its row was lost with a
 * failing database, or a helper of a killed daemon was too late to notice its end. Without memory
 * the next listing is for it. */
bool orphan_adopt(struct core *core, const struct host_domain *d);

/* Refuses requests, destroys what is not leased, then calls startup.on_stopped; at the latest after
 * stop_timeout. */
void core_stop(struct core *core);
/* Background work: a core that stops may be done. */
void core_stop_check(struct core *core);

#endif
