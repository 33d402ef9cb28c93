/* How the names of a user's domains begin: see name_prefix.h. */
#include "pool/core/name_prefix.h"

#include "base/text.h"

#include <string.h>

void name_prefix_of(const struct config *config, uid_t uid, char prefix[NAME_PREFIX_SIZE])
{
    const char *setting = config_text(config, KEY_NAME_PREFIX), *at = strstr(setting, "%U");
    if (uid == 0)
        prefix[0] = '\0';
    else if (at)
        format_fits(prefix, NAME_PREFIX_SIZE, "%.*s%u%s", (int)(at - setting), setting,
                    (unsigned)uid, at + 2);
    else
        format_fits(prefix, NAME_PREFIX_SIZE, "%s", setting);
}

int name_prefix_check(const struct config *config, uid_t uid, const char *name, struct error *e)
{
    char prefix[NAME_PREFIX_SIZE];
    name_prefix_of(config, uid, prefix);
    size_t n = strlen(prefix);
    if (!strncmp(name, prefix, n) && name[n])
        return 0;
    return error_set(
        e, ANSWER_NOT_PERMITTED,
        "name \"%.63s\": the names of your domains must begin with %s, such as %s%.20s", name,
        prefix, prefix, name);
}
