/*
 * Private disks that take no writes any more. A copy-on-write layer that is full, or could not be
 * written, ends its snapshot for good: from then on the guest gets I/O errors, and nobody is told.
 * The daemon looks for such disks every few seconds and says whose they are.
 */
#ifndef POOL_LAYERS_H
#define POOL_LAYERS_H

#include "pool/core/ground.h"

/* Looks, and then again and again until the daemon stops. */
void layers_look(struct core *core);

#endif
