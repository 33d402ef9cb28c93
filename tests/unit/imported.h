/*
 * For tests that write images page by page: what only an import gives an image (configurations,
 * the stream's origin), taken from a small save file, so that their images can be exported; and
 * what libxenguest makes of the exported file.
 */
#ifndef TESTS_UNIT_IMPORTED_H
#define TESTS_UNIT_IMPORTED_H

#include "store/image.h"
#include "tests/fake_xen/fake_xen.h"

/* For a group of tests; makes the scratch directory (check.h) as well. */
int imported_setup(enum image_guest guest);
int imported_teardown(void **state);

/* Writes the records that come before all others, and the configuration. */
void imported_write(struct image_writer *w);

/* Restores an exported image on a hypervisor. over: the image itself, or its base. x was made by
 * fake_xen_init_like. */
void reference_make(struct fake_xen *x, const struct image *im, const struct image *over,
                    uint32_t store_port, uint32_t console_port);

#endif
