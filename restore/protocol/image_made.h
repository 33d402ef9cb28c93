/*
 * The image helper's description of an image that it has made: the result in the "done" of an
 * import or a capture. It has "id", "base_id", "guest" ("pv" or "pvh"), "vcpus", "created_ms", each
 * of IMAGE_COUNTS, and "config", an object. An import may add "warnings", an array of texts.
 */
#ifndef RESTORE_IMAGE_MADE_H
#define RESTORE_IMAGE_MADE_H

#include "store/image.h"

#include <jansson.h>
#include <stdbool.h>

/* Takes the reference to config (NULL: no memory). The caller owns what is returned; NULL: no
 * memory. */
json_t *image_made_to_json(const struct image_info *info, json_t *config);

/* False: made, which may be NULL, is not such a result. *config is borrowed from made. Warnings are
 * not looked at. */
bool image_made_from_json(const json_t *made, struct image_info *info, json_t **config);

#endif
