/*
 * Image files for fuzz targets: the input, with its header's digest made right, or nothing else
 * would ever be reached; and what is derived is derived from the base that stands ready.
 */
#ifndef TESTS_FUZZ_IMAGE_FILE_H
#define TESTS_FUZZ_IMAGE_FILE_H

#include "store/image.h"

/* A file without a name in any directory. */
struct image_file {
    int fd;
    char path[32];       /* under /proc */
    struct image *image; /* NULL: it does not open */
};

/* The image of tests/fuzz/image_base.h. */
void image_file_base(struct image_file *out);
/* The file that these bytes are. */
void image_file_make(const uint8_t *data, size_t size, const struct image_file *base,
                     struct image_file *out);
void image_file_dispose(struct image_file *f);

/* A new directory, in memory where there is /dev/shm. */
void scratch_dir_make(char dir[40]);

#endif
