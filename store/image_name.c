/* Names in the directory of images: see image_name.h. */
#include "store/image_name.h"

#include "base/uuid.h"

#include <string.h>

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_temporary(const char *suffix)
{
    const size_t fixed = strcspn(IMAGE_TEMPORARY, "X");
    return strlen(suffix) == strlen(IMAGE_TEMPORARY) && !strncmp(suffix, IMAGE_TEMPORARY, fixed) &&
           !suffix[fixed + strspn(suffix + fixed, DIGITS LETTERS)];
}

enum image_name image_name_of(const char *name)
{
    static const char ending[] = ".img";
    char text[UUID_TEXT_SIZE], again[UUID_TEXT_SIZE];
    struct uuid uuid;
    if (strlen(name) < UUID_TEXT_SIZE - 1 + strlen(ending))
        return IMAGE_NAME_OTHER;
    memcpy(text, name, UUID_TEXT_SIZE - 1);
    text[UUID_TEXT_SIZE - 1] = '\0';
    if (uuid_parse(text, &uuid))
        return IMAGE_NAME_OTHER;
    uuid_format(&uuid, again);
    const char *rest = name + UUID_TEXT_SIZE - 1;
    if (strcmp(text, again) || strncmp(rest, ending, strlen(ending)))
        return IMAGE_NAME_OTHER;
    rest += strlen(ending);
    if (!*rest)
        return IMAGE_NAME_WHOLE;
    return is_temporary(rest) ? IMAGE_NAME_TEMPORARY : IMAGE_NAME_OTHER;
}

bool image_name_belongs(const char *name, const char *file)
{
    size_t n = strlen(file);
    return image_name_of(file) == IMAGE_NAME_WHOLE && image_name_of(name) != IMAGE_NAME_OTHER &&
           !strncmp(name, file, n);
}
