/* Block devices and loop devices, for tests: see kernel.h. */
#ifndef TESTS_BLOCK_H
#define TESTS_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define FAKE_LOOP_MAJOR 7u

void fake_loops_init(void);
void fake_loops_dispose(void);

/* A disk at path (/dev/fake/...), with the size in bytes; discards: whether it takes those. */
dev_t fake_disk_make(const char *path, uint64_t bytes, bool discards);

/* Device nodes: the file at path is the device from now on. closed: called when its last user has
 * closed it; NULL: nobody asks. */
void fake_block_make(const char *path, dev_t dev, uint64_t bytes, bool discards,
                     void (*closed)(dev_t dev));
void fake_block_remove(dev_t dev);
/* So many sectors have been written to it, by anybody, since it was made. */
void fake_block_written(dev_t dev, uint64_t sectors);
/* The device that the file is; 0: it is none. */
dev_t fake_block_of_fd(int fd);
dev_t fake_block_of_path(const char *path);

/* Back ends, and devices made of others. False: there is no such device. */
bool fake_block_open(dev_t dev);
void fake_block_close(dev_t dev);
bool fake_block_find(dev_t dev, uint64_t *bytes);
unsigned fake_block_users(dev_t dev);

/* ioctl on a loop device, or on loop-control (dev 0). */
int fake_loop_ioctl(dev_t dev, int fd, unsigned long request, void *argument);
/* Somebody else takes the next n free loop devices that are asked for, just before we do. */
void fake_loops_race(unsigned n);
/* A line for each loop device that is attached. */
void fake_loops_print(FILE *out);

#endif
