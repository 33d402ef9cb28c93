/*
 * A file that is there whole or not at all: written under a temporary name in its directory,
 * synced, then given its name, which overwrites nothing. Who writes the content need not be who
 * gives the name: the descriptor may go to a process that may open nothing.
 */
#ifndef BASE_NEW_FILE_H
#define BASE_NEW_FILE_H

#include "base/error.h"

/* Behind the file's name while it is written, see mkstemp(3). */
#define NEW_FILE_SUFFIX ".tmp-XXXXXX"

struct new_file {
    const char *what; /* "image file", for messages; not owned */
    char *path, *temp_path;
    int fd;
};

/* What new_file_drop may be called on. */
#define NEW_FILE_NONE ((struct new_file){.fd = -1})

/* Creates the temporary file, mode 0600, opened for reading and writing. -EEXIST when there is
 * something at path; other negative codes; then *f is NEW_FILE_NONE. Blocking. */
int new_file_create(struct new_file *f, const char *what, const char *path, struct error *e);

/*
 * Syncs the file, names it and syncs its directory: durable when this returns 0. Then *f is
 * NEW_FILE_NONE. -EEXIST when something has appeared at path, which is not touched; after any error
 * there is nothing at path that was not there before, and new_file_drop is due. Blocking.
 */
int new_file_publish(struct new_file *f, struct error *e);

/* Removes the temporary file, if there is one, and closes it. May be called twice. */
void new_file_drop(struct new_file *f);

#endif
