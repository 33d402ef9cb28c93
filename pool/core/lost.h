/*
 * Whole image files that no row names: the database was lost, or comes from a backup, or the daemon
 * was killed between an image's file and its row. They are found when the daemon starts, and stay
 * where they are: `image adopt` gives one a row again, and whoever does not want it removes it.
 */
#ifndef POOL_LOST_H
#define POOL_LOST_H

#include "pool/core/ground.h"

#include <jansson.h>

/* A file of images_dir, which some image may have. Logs those that none has. */
void lost_found(struct core *core, const char *file);
/* Whether it was found, and no image has it now. */
bool lost_is(const struct core *core, const char *file);
/* Names of all such files; new reference, NULL: no memory. */
json_t *lost_to_json(const struct core *core);
/* For core_dispose alone. */
void lost_dispose(struct core *core);

#endif
