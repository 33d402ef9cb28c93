/* See image_made.h. */
#include "restore/protocol/image_made.h"

#include "base/uuid.h"
#include "store/image_format.h"

#include <limits.h>
#include <string.h>

static const char *guest_name(enum image_guest guest)
{
    return guest == IMAGE_GUEST_PV ? "pv" : "pvh";
}

json_t *image_made_to_json(const struct image_info *info, json_t *config)
{
    char id[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE];
    uuid_format(&info->id, id);
    uuid_format(&info->base_id, base);
    json_t *made = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "id", id, "base_id", base, "guest",
                             guest_name(info->guest), "vcpus", (json_int_t)info->vcpus,
                             "created_ms", (json_int_t)info->created_ms, "config", config);
    bool failed = false;
#define SET(name)                                                                                  \
    failed = json_object_set_new(made, #name, json_integer((json_int_t)info->name)) || failed;
    IMAGE_COUNTS(SET)
#undef SET
    if (!failed)
        return made;
    json_decref(made);
    return NULL;
}

static bool number_read(const json_t *made, const char *key, uint64_t most, uint64_t *out)
{
    const json_t *v = json_object_get(made, key);
    *out = (uint64_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0 && *out <= most;
}

static bool uuid_read(const json_t *made, const char *key, struct uuid *uuid)
{
    const char *text = json_string_value(json_object_get(made, key));
    return text && !uuid_parse(text, uuid);
}

static bool guest_read(const json_t *made, enum image_guest *guest)
{
    const char *text = json_string_value(json_object_get(made, "guest"));
    *guest = text && !strcmp(text, guest_name(IMAGE_GUEST_PV)) ? IMAGE_GUEST_PV : IMAGE_GUEST_PVH;
    return text && !strcmp(text, guest_name(*guest));
}

bool image_made_from_json(const json_t *made, struct image_info *info, json_t **config)
{
    uint64_t vcpus, created_ms;
    bool ok = uuid_read(made, "id", &info->id) && uuid_read(made, "base_id", &info->base_id) &&
              guest_read(made, &info->guest) && number_read(made, "vcpus", UINT_MAX, &vcpus) &&
              number_read(made, "created_ms", INT64_MAX, &created_ms);
#define READ(name) ok = ok && number_read(made, #name, INT64_MAX, &info->name);
    IMAGE_COUNTS(READ)
#undef READ
    *config = json_object_get(made, "config");
    if (!ok || !json_is_object(*config))
        return false;
    info->vcpus = (unsigned)vcpus;
    info->created_ms = (int64_t)created_ms;
    return info->vcpus && info->populated && image_counts_fit(info);
}
