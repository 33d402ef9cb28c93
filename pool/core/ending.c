/* What the end of a guest means: see ending.h. */
#include "pool/core/ending.h"

#include <string.h>

/* The image's configuration has it in on_end (restore/formats/endings.h). One that could not be
 * read yet says nothing. */
static bool image_says_preserve(const struct entry *im, const char *reason)
{
    const json_t *on_end = json_object_get(im->facts.config, "on_end");
    const char *action = json_string_value(json_object_get(on_end, reason));
    return action && !strcmp(action, "preserve");
}

bool ending_keeps(const struct lease *l, const char *reason)
{
    const struct entry *im = l->image;
    return im->on_end == ON_END_IMAGE ? image_says_preserve(im, reason)
                                      : im->on_end == ON_END_PRESERVE;
}
