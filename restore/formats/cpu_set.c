/* Sets of processors: see cpu_set.h. */
#include "restore/formats/cpu_set.h"

#include "base/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cpu_set_dispose(struct cpu_set *s)
{
    free(s->bits);
    *s = (struct cpu_set){0};
}

void cpu_sets_dispose(struct cpu_sets *s)
{
    for (unsigned i = 0; i < s->n; i++)
        cpu_set_dispose(&s->sets[i]);
    free(s->sets);
    *s = (struct cpu_sets){0};
}

bool cpu_set_has(const struct cpu_set *s, unsigned number)
{
    return number / 8 < s->bytes && s->bits[number / 8] >> number % 8 & 1;
}

bool cpu_set_is_empty(const struct cpu_set *s)
{
    for (size_t i = 0; i < s->bytes; i++)
        if (s->bits[i])
            return false;
    return true;
}

bool cpu_set_equal(const struct cpu_set *a, const struct cpu_set *b)
{
    size_t bytes = a->bytes > b->bytes ? a->bytes : b->bytes;
    for (size_t i = 0; i < bytes; i++)
        if ((i < a->bytes ? a->bits[i] : 0) != (i < b->bytes ? b->bits[i] : 0))
            return false;
    return true;
}

bool cpu_sets_equal(const struct cpu_sets *a, const struct cpu_sets *b)
{
    for (unsigned i = 0; a->n == b->n && i < a->n; i++)
        if (!cpu_set_equal(&a->sets[i], &b->sets[i]))
            return false;
    return a->n == b->n;
}

static int no_memory(struct error *e)
{
    return error_set(e, -ENOMEM, "out of memory for a set of processors");
}

static int add(struct cpu_set *s, unsigned number, struct error *e)
{
    size_t bytes = number / 8 + 1;
    if (bytes > s->bytes) {
        uint8_t *bits = realloc(s->bits, bytes);
        if (!bits)
            return no_memory(e);
        memset(bits + s->bytes, 0, bytes - s->bytes);
        s->bits = bits;
        s->bytes = bytes;
    }
    s->bits[number / 8] |= (uint8_t)(1u << number % 8);
    return 0;
}

/* ---- libxl's form ---- */

int cpu_set_from_numbers(const json_t *array, const char *key, struct cpu_set *s, struct error *e)
{
    size_t i;
    json_t *item;
    if (!json_is_array(array))
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s: no array of numbers", key);
    json_array_foreach (array, i, item) {
        json_int_t number = json_integer_value(item);
        if (!json_is_integer(item) || number < 0 || number >= CPU_SET_LIMIT)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "configuration: %s: entry %zu is no number below %u", key, i,
                             CPU_SET_LIMIT);
        int rc = add(s, (unsigned)number, e);
        if (rc)
            return rc;
    }
    return 0;
}

int cpu_sets_from_numbers(const json_t *array, const char *key, unsigned max, struct cpu_sets *s,
                          struct error *e)
{
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n > max)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: %s: no array of at most %u arrays, one for each vCPU", key,
                         max);
    if (!n)
        return 0;
    s->sets = calloc(n, sizeof *s->sets);
    if (!s->sets)
        return no_memory(e);
    int rc = 0;
    for (s->n = 0; s->n < n && !rc; s->n++)
        rc = cpu_set_from_numbers(json_array_get(array, s->n), key, &s->sets[s->n], e);
    return rc;
}

/* ---- our form ---- */

char *cpu_set_format(const struct cpu_set *s)
{
    char *text = NULL;
    size_t size;
    const char *comma = "";
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (unsigned i = 0; i < s->bytes * 8; i++) {
        unsigned first = i;
        if (!cpu_set_has(s, i))
            continue;
        while (cpu_set_has(s, i + 1))
            i++;
        fprintf(out, first == i ? "%s%u" : "%s%u-%u", comma, first, i);
        comma = ",";
    }
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}

/* "3" or "3-5", *text behind it afterwards. At least `from`. */
static bool range_parse(const char **text, unsigned from, unsigned *first, unsigned *last)
{
    unsigned *const ends[] = {first, last};
    for (int i = 0; i < 2; i++) {
        size_t digits = strspn(*text, "0123456789");
        char number[8];
        uint64_t value;
        if (!digits || digits >= sizeof number)
            return false;
        snprintf(number, sizeof number, "%.*s", (int)digits, *text);
        if (number_parse(number, from, CPU_SET_LIMIT - 1, &value))
            return false;
        *text += digits;
        *ends[i] = (unsigned)value;
        if (i || **text != '-') {
            *last = (unsigned)value;
            return true;
        }
        (*text)++;
        from = *first + 1;
    }
    return false;
}

int cpu_set_parse(const char *text, struct cpu_set *s, struct error *e)
{
    const char *rest = text;
    for (unsigned from = 0, first, last; *rest; from = last + 1) {
        if (!range_parse(&rest, from, &first, &last) || (*rest && (*rest != ',' || !rest[1])))
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "configuration: \"%.64s\" is no list of numbers like 0-3,7", text);
        rest += *rest == ',';
        for (unsigned i = first; i <= last; i++)
            if (add(s, i, e))
                return -ENOMEM;
    }
    return 0;
}
