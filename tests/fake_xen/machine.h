/*
 * A whole Xen host for tests, made of the fakes in this directory: hypervisor, xenstored, Linux
 * with its block devices, blkback, and a clock that nobody waits for. And the question that every
 * test ends with: what is left?
 */
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

/* An empty host. dir: an empty directory, borrowed. */
void fake_machine_init(const char *dir);
void fake_machine_dispose(void);

/*
 * Reports what there is of domains besides dom0: a line for each domain, xenstore node, device,
 * back end and configuration in /var/lib/xen. It also reports what the program holds of the Xen
 * libraries, and descriptors beyond those at fake_machine_init. "": there is nothing. Valid until
 * the next call.
 */
const char *fake_machine_left(void);

#endif
