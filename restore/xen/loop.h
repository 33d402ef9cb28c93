/*
 * Loop devices without losetup: LOOP_CONFIGURE with autoclear. The kernel detaches the device when
 * its last user closes it, so nothing is left behind whoever dies.
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

/* Detaches the file behind the device at path; if it is still in use, at its last close. It is
 * success if there is no file, or no such device. */
int loop_detach(const char *path, struct error *e);

#endif
