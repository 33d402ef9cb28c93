/*
 * A domain that stays suspended after its capture until its image is recorded, and then ends.
 * Without the record it goes on.
 */
#ifndef RESTORE_STOPPED_H
#define RESTORE_STOPPED_H

#include "base/uuid.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct stopped {
    bool waits;  /* there is such a domain */
    bool leased; /* it is a lease's, which the daemon destroys */
    uint32_t domid;
    struct uuid uuid;
    char image[PATH_MAX];
};

/* The image is recorded: destroys the domain, unless it is a lease's. Blocking; a failure is
 * logged. */
void stopped_end(const struct stopped *s);
/* It is not: the domain goes on, and the image's file goes. Blocking; a failure is logged. */
void stopped_undo(const struct stopped *s);

#endif
