/* libdevmapper and device-mapper behind it, for tests: see kernel.h. */
#ifndef TESTS_MAPPER_H
#define TESTS_MAPPER_H

#include <stdbool.h>
#include <stdio.h>

#define FAKE_MAPPER_MAJOR 253u

void fake_mapper_init(void);
void fake_mapper_dispose(void);

/* A line for each device. */
void fake_mapper_print(FILE *out);
/* A guest has written to the snapshot, or more than fits; somebody else has made a device. */
void fake_mapper_write(const char *name);
void fake_mapper_fail(const char *name);
/* The driver is of before Linux 4.13: its list counts no events. */
void fake_mapper_old(bool old);
void fake_mapper_foreign(const char *name, const char *uuid);

#endif
