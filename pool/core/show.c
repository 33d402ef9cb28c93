/* Pieces of the API's replies: see show.h. */
#include "pool/core/show.h"

#include "base/text.h"
#include "base/uuid.h"
#include "store/db.h"

#include <inttypes.h>

json_t *show_id(char kind, uint64_t id)
{
    return json_sprintf("%c%" PRIu64, kind, id);
}

json_t *show_text(const char *text)
{
    char plain[DB_REASON_SIZE];
    format_fits(plain, sizeof plain, "%s", text);
    text_plain(plain);
    return text[0] ? json_string(plain) : json_null();
}

json_t *show_uuid(const struct uuid *uuid)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    return json_string(text);
}
