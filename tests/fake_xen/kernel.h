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

/* root: an empty directory, borrowed. */
void fake_kernel_init(const char *root);
/* Removes all below root. */
void fake_kernel_dispose(void);

#endif
