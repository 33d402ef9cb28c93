/* Files below a directory that stands in for /, for tests: see kernel.h. */
#ifndef TESTS_FILES_H
#define TESTS_FILES_H

/* root: an empty directory, borrowed. */
void fake_files_init(const char *root);
/* Removes all below root. */
void fake_files_dispose(void);

/* The real path of one that the program uses; valid until the fourth call after it. */
const char *fake_path(const char *path);
/* Makes, or replaces, a file with its directories; NULL text: a directory. */
void fake_file_put(const char *path, const char *text);
void fake_file_remove(const char *path);
/* Of this process; through the file at path. */
unsigned fake_open_descriptors(const char *path);

#endif
