/*
 * Bridges and their ports for tests, in the place of restore/xen/bridge_port.c. There is one
 * bridge, "br0", of MTU 1400. A port is what bridge_port_make has made of an interface of fake
 * netback; it goes with that.
 */
#ifndef TESTS_PORTS_H
#define TESTS_PORTS_H

#include "restore/xen/bridge_port.h"

#include <stdio.h>

#define FAKE_BRIDGE "br0"
#define FAKE_BRIDGE_MTU 1400u

/* NULL: no interface of this name (its device's or its own) is a port. Texts are not kept. */
const struct bridge_port *fake_port(const char *name);
void fake_ports_init(void);
/* Somebody else's interface has the name. */
void fake_port_occupy(const char *name);
/* netback's interface is gone. */
void fake_port_end(const char *device);
/* A line for each port that there is. */
void fake_ports_print(FILE *out);

#endif
