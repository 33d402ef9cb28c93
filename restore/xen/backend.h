/*
 * Back ends of a domain's devices in dom0's kernel: waiting until they are ready for their front
 * ends, and looking at how far they have closed.
 */
#ifndef RESTORE_BACKEND_H
#define RESTORE_BACKEND_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

/* Kinds whose back ends are dom0's kernel's, and are ended by dompool: "vbd", "vif", NULL. */
extern const char *const backend_kinds[];

struct backend {
    const char *kind; /* of backend_kinds */
    uint32_t devid;
    char name[24];      /* "disk xvda", for messages */
    const char *what;   /* what it serves: a path, an interface; borrowed */
    const char *module; /* of the kernel */
    char device[96];    /* a path of sysfs that is there once it has its device */
};

/*
 * Waits until every back end of the list waits for its front end (InitWait) and has its device.
 * -ETIMEDOUT names the first one that did not, and quotes an error that it left. Blocking. n 0:
 * returns at once.
 */
int backends_wait(uint32_t domid, const struct backend *list, size_t n, unsigned timeout_ms,
                  struct error *e);

#endif
