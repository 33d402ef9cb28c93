/*
 * What Linux does for a slot's disks, for tests: block devices, loop devices, device-mapper (with
 * udev's cookies), and files below a directory that stands in for /. The linker sends the program's
 * system calls on files here (tests/unit/CMakeLists.txt); paths below
 *
 *   /dev/loop*  /dev/mapper/  /dev/xen/  /dev/fake/  /sys/  /var/lib/xen
 *
 * are those below the directory, all others are what they are. A device is an empty file there, of
 * which stat says that it is a device.
 *
 *   - a loop device holds its file; in autoclear mode it lets go when nobody has it open any more
 *   - a device that another one is made of, or that a back end has opened, is in use
 *   - a device of device-mapper that is in use is removed with its last user, if that was asked for
 */
#ifndef TESTS_KERNEL_H
#define TESTS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* root: an empty directory, borrowed. */
void fake_kernel_init(const char *root);
/* Removes all below root. */
void fake_kernel_dispose(void);

/* The real path of one that the program uses; valid until the fourth call after it. */
const char *fake_path(const char *path);
/* Makes, or replaces, a file with its directories; NULL text: a directory. */
void fake_file_put(const char *path, const char *text);
void fake_file_remove(const char *path);

/* A disk at path (/dev/fake/...), with the size in bytes; discards: whether it takes those. */
dev_t fake_disk_make(const char *path, uint64_t bytes, bool discards);

/* Back ends, and devices made of others. False: there is no such device. */
bool fake_block_open(dev_t dev);
void fake_block_close(dev_t dev);
bool fake_block_find(dev_t dev, uint64_t *bytes);
unsigned fake_block_users(dev_t dev);

/* Somebody else takes the next n free loop devices that are asked for, just before we do. */
void fake_loops_race(unsigned n);
/* A line for each loop device that is attached and each device of device-mapper. */
void fake_loops_print(FILE *out);
void fake_mapper_print(FILE *out);
/* A guest has written to the snapshot; somebody else has made a device. */
void fake_mapper_write(const char *name);
void fake_mapper_foreign(const char *name, const char *uuid);

/* ---- between kernel.c, block.c and mapper.c ---- */

void fake_loops_init(void);
void fake_loops_dispose(void);
void fake_mapper_init(void);
void fake_mapper_dispose(void);
/* Device nodes: the file at path is the device from now on. */
void fake_block_make(const char *path, dev_t dev, uint64_t bytes, bool discards);
void fake_block_remove(dev_t dev);
/* Somebody has closed it for the last time. */
void fake_mapper_closed(dev_t dev);
/* The device that the file is; 0: it is none. */
dev_t fake_block_of_fd(int fd);
dev_t fake_block_of_path(const char *path);
/* Of this process; through the file at path. */
unsigned fake_open_descriptors(const char *path);
/* ioctl on a loop device, or on loop-control (dev 0). */
int fake_loop_ioctl(dev_t dev, int fd, unsigned long request, void *argument);

#define FAKE_LOOP_MAJOR 7u
#define FAKE_MAPPER_MAJOR 253u

#endif
