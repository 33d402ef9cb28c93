/* What unit tests need beside cmocka: checks of errors, and a scratch directory. Every function
 * fails the test when something is not as it says. */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include "base/error.h"
#include "tests/cmocka.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The text of an error must hold a part; prints both when it does not. */
void assert_says(const char *text, const char *part);
/* rc must say that the image was refused, and the text why. */
void assert_refused(int rc, const struct error *e, const char *why);

struct scratch {
    char dir[64];
};

/* In memory where that can be: images are synced when they are committed. */
void scratch_make(struct scratch *s);
/* Path of a name in the directory; valid until the eighth call after it. */
const char *scratch_path(const struct scratch *s, const char *name);
/* Makes or replaces a file. */
void scratch_write(const struct scratch *s, const char *name, const void *bytes, size_t size);
/* Number of files there; each is unlinked when `clean`. */
unsigned scratch_files(const struct scratch *s, bool clean);
/* The directory, with its files. */
void scratch_remove(const struct scratch *s);

/* The one directory of most tests: made and removed with their group, emptied after each. */
extern struct scratch dir;
int dir_setup(void **state);
int dir_teardown(void **state);
int dir_clean(void **state);

#define TEST_IN_DIR(f) cmocka_unit_test_setup_teardown(f, NULL, dir_clean)

#endif
