/* Files and descriptors. Blocking. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Closes *fd if it is >= 0 and sets it to -1. Keeps errno. */
void fd_close(int *fd);
/* Reads or writes exactly size bytes; 0, -EIO-like code, or -ENODATA when the file ends before. */
int pread_full(int fd, void *buf, size_t size, uint64_t offset);
int write_full(int fd, const void *buf, size_t size);
int pwrite_full(int fd, const void *buf, size_t size, uint64_t offset);
/* mkdir -p with mode for what is missing. */
int make_dirs(const char *path, unsigned mode, struct error *e);
/* rename that overwrites nothing: 0, -EEXIST when there is something at `to`, or another code. */
int rename_new(const char *from, const char *to);
/* fsync of the directory that holds path, so that a rename in it is durable. */
int fsync_parent(const char *path, struct error *e);
/* Reads a whole small file, at most max bytes, NUL-terminated, caller frees. */
int read_file(const char *path, size_t max, char **out, size_t *len, struct error *e);

#endif
