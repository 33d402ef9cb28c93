/*
 * A guard over a capture: a child process that lets the domain go on when the capturing process is
 * killed. The killed process could not do this itself.
 */
#ifndef RESTORE_GUARD_H
#define RESTORE_GUARD_H

#include "base/error.h"
#include "base/uuid.h"

#include <stdint.h>
#include <sys/types.h>

struct guard {
    pid_t pid;
    int fd; /* the guard acts when this is closed without the last word */
};

/* To be called before anything is asked of the domain, and before the process has threads. -EAGAIN
 * and the like. */
int guard_start(struct guard *g, uint32_t domid, const struct uuid *uuid, struct error *e);
/* From here on the domain is asked to suspend. If the process ends without guard_dismiss, the guard
 * undoes that. */
void guard_arm(struct guard *g);
/* The domain is as it should be: the guard ends without touching it. May be called twice. */
void guard_dismiss(struct guard *g);

#endif
