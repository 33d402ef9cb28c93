/*
 * Names of block devices, as guests and xl know them, by Xen's rules
 * (docs/man/xen-vbd-interface.7).
 */
#ifndef RESTORE_VDEV_H
#define RESTORE_VDEV_H

#include <stdint.h>

/* "xvda", "sdb1", "hdc", "d0p1": *devid is the number under device/vbd, 51712 for xvda. 0 or -1. */
int vdev_to_devid(const char *vdev, uint32_t *devid);

#endif
