/* Units: see units.h. */
#include "base/units.h"

#include "base/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first, so that formatting finds the shortest exact form. */
static const struct unit durations[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {
    {"T", 1ull << 40}, {"G", 1ull << 30}, {"M", 1ull << 20}, {"K", 1ull << 10}, {"", 1}};

/* Digits, then *rest points behind them; 0 or -1 (no digit, overflow). */
static int digits_parse(const char *text, uint64_t *out, const char **rest)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return -1;
    *out = value;
    *rest = at;
    return at == text ? -1 : 0;
}

static int unit_parse(const char *text, const struct unit *units, size_t n, uint64_t max,
                      uint64_t *out)
{
    uint64_t value;
    const char *suffix;
    if (digits_parse(text, &value, &suffix))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(suffix, units[i].suffix))
            continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value) || value > max)
            return -1;
        *out = value;
        return 0;
    }
    return -1;
}

static void unit_format(uint64_t value, const struct unit *units, size_t n, char *buf, size_t size)
{
    size_t i = 0;
    while (i + 1 < n && (value % units[i].factor || !value))
        i++;
    snprintf(buf, size, "%" PRIu64 "%s", value / units[i].factor, units[i].suffix);
}

int duration_parse_ms(const char *text, uint64_t *ms)
{
    if (!strcmp(text, "0")) {
        *ms = 0;
        return 0;
    }
    return unit_parse(text, durations, ARRAY_SIZE(durations), 10ull * 365 * 86400 * 1000, ms);
}

void duration_format_ms(uint64_t ms, char *buf, size_t size)
{
    unit_format(ms, durations, ARRAY_SIZE(durations), buf, size);
}

int size_parse_bytes(const char *text, uint64_t *bytes)
{
    return unit_parse(text, sizes, ARRAY_SIZE(sizes), INT64_MAX, bytes);
}

void size_format_bytes(uint64_t bytes, char *buf, size_t size)
{
    unit_format(bytes, sizes, ARRAY_SIZE(sizes), buf, size);
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value;
    const char *rest;
    if (digits_parse(text, &value, &rest) || *rest || value < min || value > max)
        return -1;
    *out = value;
    return 0;
}
