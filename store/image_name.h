/* Names in the directory of images, of which nothing else may be removed or taken for an image. */
#ifndef STORE_IMAGE_NAME_H
#define STORE_IMAGE_NAME_H

#include "base/new_file.h"

#include <stdbool.h>

/* Behind the name of the image file while it is being written. */
#define IMAGE_TEMPORARY NEW_FILE_SUFFIX

enum image_name {
    IMAGE_NAME_OTHER,    /* not ours */
    IMAGE_NAME_WHOLE,    /* "<uuid>.img", the UUID in lower case */
    IMAGE_NAME_TEMPORARY /* the same with six letters or digits for the X of IMAGE_TEMPORARY */
};

enum image_name image_name_of(const char *name);
/* Whether name is file, an IMAGE_NAME_WHOLE, or that of its temporary file. */
bool image_name_belongs(const char *name, const char *file);

#endif
