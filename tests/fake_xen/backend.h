/*
 * blkback and netback for tests: the kernel's back ends of disks and network interfaces, as seen in
 * xenstore, in sysfs, and by the devices that it has open. A back end begins when physical-device
 * (of an interface: handle) is there. A moment after it waits for its front end (InitWait), it
 * opens the device, or makes the interface. When told that its front end has gone (online 0, state
 * Closing), it closes the device and says Closed, unless its behaviour is set otherwise.
 */
#ifndef TESTS_BACKEND_H
#define TESTS_BACKEND_H

#include <stdint.h>
#include <stdio.h>

enum fake_backend_kind {
    BACKEND_GOOD,
    BACKEND_SLOW,      /* each step takes it 500 ms */
    BACKEND_ABSENT,    /* the module is not loaded: nothing happens */
    BACKEND_COMPLAINS, /* cannot open the device, says so and goes */
    BACKEND_NO_DEVICE, /* waits for its front end, and never has the device */
    BACKEND_STUCK,     /* never closes */
    BACKEND_VANISHES,  /* says Connected over our Closing and goes without a word */
};

/* Those that begin from now on. */
void fake_backend_set(enum fake_backend_kind kind);
void fake_backend_init(void);
/* For fake_store_hooks.changed. */
void fake_backend_look(const char *path);
/* The front end connects, as when a guest runs. */
void fake_backend_connect(uint32_t domid, uint32_t devid);
/* A line for each back end that there is. */
void fake_backends_print(FILE *out);

#endif
