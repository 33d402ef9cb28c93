/*
 * A crew: threads that wait for work which falls into parts, and do the parts at the same time. For
 * copies of memory, which one processor alone does not do as fast as a machine can.
 *
 * The threads are there from the start, so that work costs waking them and no more. They take no
 * signals.
 */
#ifndef BASE_CREW_H
#define BASE_CREW_H

#include "base/error.h"

#define CREW_MAX 4u /* beyond that it is memory that is busy, not processors */

struct crew;

/* One part of the work, on any thread. worker is that thread's number, 0 to crew_size - 1, the
 * caller's own is 0: no two parts with the same number are done at the same time, so it can choose
 * what a thread has for itself. Not 0: it failed, and says why. */
typedef int crew_part(void *data, unsigned part, unsigned worker, struct error *e);

/* How many the machine has processors for, at most CREW_MAX. */
unsigned crew_size_best(void);
/* size: how many parts are done at the same time, the caller's own among them; at least 1. Where so
 * many threads are not to be had, it is fewer. -ENOMEM. *out: crew_free. */
int crew_new(unsigned size, struct crew **out, struct error *e);
void crew_free(struct crew *c); /* NULL is fine */
unsigned crew_size(const struct crew *c);

/*
 * Parts 0 to parts - 1 are begun in this order, each on any thread. begin returns at once, and what
 * the parts need must be there until end has returned: it does parts as well, as worker 0, until
 * none is left, and waits for those of others. After a part has failed no further one begins; the
 * answer of end is that of the failed part with the lowest number. Each begin has its end.
 */
void crew_begin(struct crew *c, unsigned parts, crew_part *fn, void *data);
int crew_end(struct crew *c, struct error *e);

#endif
