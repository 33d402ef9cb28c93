/*
 * Loop devices without losetup: LOOP_CONFIGURE with autoclear, so that the
 * kernel detaches the device when its last user closes it and nothing is left
 * behind whoever dies.
 */
#ifndef RESTORE_LOOP_H
#define RESTORE_LOOP_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct loop {
    int fd; /* keeps the device attached until somebody else has opened it */
    dev_t dev;
    char path[32]; /* /dev/loop7 */
};

/* Attaches file_fd (a regular file; borrowed, may be closed afterwards). name is what
 * losetup shows. Blocking. */
int loop_attach(int file_fd, const char *name, bool read_only, struct loop *out, struct error *e);
void loop_close(struct loop *l);

/* Detaches whatever file is behind the device at path; at its last close if it is still in use. It is
 * success when there is none, or no such device. */
int loop_detach(const char *path, struct error *e);

#endif
