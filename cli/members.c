/* Members of answers, and numbers that read: see members.h. */
#include "cli/members.h"

#include "base/array.h"

#include <inttypes.h>
#include <stdio.h>

const char *get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int64_t get_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool get_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool has(const json_t *object, const char *key)
{
    const json_t *member = json_object_get(object, key);
    return member && !json_is_null(member);
}

/* ---- numbers ---- */

const char *readable_bytes(uint64_t bytes, char *buf)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = (double)bytes;
    for (; value >= 1023.95 && unit + 1 < ARRAY_SIZE(units); unit++) /* not "1024.0 KiB" */
        value /= 1024;
    snprintf(buf, READABLE_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buf;
}

const char *readable_us(uint64_t us, char *buf)
{
    if (us < 1000)
        snprintf(buf, READABLE_SIZE, "%" PRIu64 " us", us);
    else if (us < 1000000)
        snprintf(buf, READABLE_SIZE, us < 100000 ? "%.2f ms" : "%.0f ms", (double)us / 1000);
    else
        snprintf(buf, READABLE_SIZE, "%.2f s", (double)us / 1000000);
    return buf;
}

const char *readable_span(int64_t ms, char *buf)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    int64_t seconds = ms > 0 ? ms / 1000 : 0;
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(units) && seconds < units[i].seconds)
        i++;
    int64_t rest = seconds % units[i].seconds;
    int n =
        snprintf(buf, READABLE_SIZE, "%" PRId64 "%c", seconds / units[i].seconds, units[i].unit);
    if (i + 1 < ARRAY_SIZE(units) && rest / units[i + 1].seconds)
        snprintf(buf + n, READABLE_SIZE - (size_t)n, "%" PRId64 "%c", rest / units[i + 1].seconds,
                 units[i + 1].unit);
    return buf;
}
