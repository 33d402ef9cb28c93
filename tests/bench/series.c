/* Samples and figures: see series.h. */
#include "tests/bench/series.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void samples_init(struct samples *s)
{
    *s = (struct samples){.failures = json_array()};
}

void samples_dispose(struct samples *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->series[i].values);
    free(s->series);
    json_decref(s->about);
    json_decref(s->failures);
    *s = (struct samples){0};
}

/* ---- series ---- */

static bool key_like(const struct series_key *a, const struct series_key *b)
{
    return !strcmp(a->row, b->row) && !strcmp(a->who, b->who) && !strcmp(a->guest, b->guest) &&
           !strcmp(a->metric, b->metric) && a->mib == b->mib && a->vcpus == b->vcpus;
}

static struct series *find(const struct samples *s, const struct series_key *key)
{
    for (size_t i = 0; i < s->n; i++)
        if (key_like(&s->series[i].key, key) && s->series[i].key.delta == key->delta)
            return &s->series[i];
    return NULL;
}

const struct series *samples_find(const struct samples *s, const struct series_key *key)
{
    return find(s, key);
}

/* Doubles *room of an array with elements of size; NULL: no memory, and nothing has changed. */
static void *grow(void *at, size_t *room, size_t size)
{
    size_t wanted = *room ? 2 * *room : 16;
    void *bigger = reallocarray(at, wanted, size);
    if (bigger)
        *room = wanted;
    return bigger;
}

static struct series *find_or_add(struct samples *s, const struct series_key *key)
{
    struct series *found = find(s, key);
    if (found)
        return found;
    if (s->n == s->room) {
        struct series *bigger = grow(s->series, &s->room, sizeof *bigger);
        if (!bigger)
            return NULL;
        s->series = bigger;
    }
    s->series[s->n] = (struct series){.key = *key};
    return &s->series[s->n++];
}

static int add_value(struct samples *s, struct series_key key, const char *metric, double value)
{
    format_fits(key.metric, sizeof key.metric, "%s", metric);
    struct series *to = find_or_add(s, &key);
    if (!to)
        return -ENOMEM;
    if (to->n == to->room) {
        double *bigger = grow(to->values, &to->room, sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        to->values = bigger;
    }
    to->values[to->n++] = value;
    return 0;
}

static int value_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort_all(struct samples *s)
{
    for (size_t i = 0; i < s->n; i++)
        qsort(s->series[i].values, s->series[i].n, sizeof(double), value_order);
}

/* ---- a line ---- */

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static int add_numbers(struct samples *s, const struct series_key *key, json_t *numbers)
{
    const char *metric;
    json_t *value;
    int rc = 0;
    json_object_foreach (numbers, metric, value)
        if (!rc && json_is_number(value))
            rc = add_value(s, *key, metric, json_number_value(value));
    return rc;
}

static int add_stages(struct samples *s, const struct series_key *key, const json_t *stages)
{
    double hypercalls = 0;
    size_t i;
    json_t *stage;
    int rc = 0;
    json_array_foreach (stages, i, stage) {
        const char *name = json_string_value(json_object_get(stage, "name"));
        char metric[SERIES_TEXT];
        if (!name || rc)
            continue;
        hypercalls += number_of(stage, "hypercalls"); /* grant copies are the kernel's, not seen */
        format_fits(metric, sizeof metric, "stage %s", name);
        rc = add_value(s, *key, metric, number_of(stage, "us") / 1000);
    }
    return rc ? rc : add_value(s, *key, "hypercalls", hypercalls);
}

/* What comes after the unpause, before the reply leaves. */
static double behind_us(const json_t *stages)
{
    double us = 0;
    bool behind = false;
    size_t i;
    json_t *stage;
    json_array_foreach (stages, i, stage) {
        const char *name = json_string_value(json_object_get(stage, "name"));
        if (behind)
            us += number_of(stage, "us");
        behind |= name && !strcmp(name, "unpause");
    }
    return us;
}

static int add_lease(struct samples *s, const struct series_key *key, const json_t *lease)
{
    const json_t *stages = json_object_get(lease, "stages");
    double us = number_of(lease, "total_us");
    int rc = add_value(s, *key, "unpaused", (us - behind_us(stages)) / 1000);
    if (!rc)
        rc = add_value(s, *key, "replied", us / 1000);
    return rc ? rc : add_stages(s, key, stages);
}

static int add_sign(struct samples *s, const struct series_key *key, const json_t *sign)
{
    int rc = add_value(s, *key, "exit", number_of(sign, "exit_ms"));
    if (!rc && !strncmp(key->who, "xl", 2))
        rc = add_value(s, *key, "unpaused", number_of(sign, "exit_ms"));
    if (!rc && !strncmp(key->who, "xl", 2))
        rc = add_value(s, *key, "replied", number_of(sign, "exit_ms"));
    return rc ? rc : add_value(s, *key, "life", number_of(sign, "life_ms"));
}

static void key_text(const json_t *line, const char *name, char out[SERIES_TEXT])
{
    const char *text = json_string_value(json_object_get(line, name));
    format_fits(out, SERIES_TEXT, "%s", text ? text : "");
}

static int key_number(const json_t *line, const char *name)
{
    const json_t *value = json_object_get(line, name);
    return json_is_integer(value) ? (int)json_integer_value(value) : -1;
}

static struct series_key key_of(const json_t *line)
{
    struct series_key key = {.mib = key_number(line, "mib"),
                             .vcpus = key_number(line, "vcpus"),
                             .delta = key_number(line, "delta")};
    key_text(line, "row", key.row);
    key_text(line, "who", key.who);
    key_text(line, "guest", key.guest);
    return key;
}

static bool has_failed(const json_t *line)
{
    const json_t *lease = json_object_get(line, "lease");
    const char *from = json_string_value(json_object_get(lease, "from"));
    return json_object_get(line, "failed") || (lease && (!from || strcmp(from, "warm") != 0));
}

static int add_sample(struct samples *s, json_t *line)
{
    struct series_key key = key_of(line);
    const json_t *lease = json_object_get(line, "lease"), *sign = json_object_get(line, "sign");
    if (has_failed(line))
        return json_array_append(s->failures, line) ? -ENOMEM : 0;
    int rc = add_numbers(s, &key, json_object_get(line, "ms"));
    if (!rc)
        rc = add_numbers(s, &key, json_object_get(line, "counts"));
    if (!rc && lease)
        rc = add_lease(s, &key, lease);
    return rc || !sign ? rc : add_sign(s, &key, sign);
}

static int add_line(struct samples *s, json_t *line)
{
    json_t *about = json_object_get(line, "about");
    if (!json_is_object(about))
        return json_is_string(json_object_get(line, "row")) ? add_sample(s, line) : -EPROTO;
    json_decref(s->about);
    s->about = json_incref(about);
    return 0;
}

int samples_load(struct samples *s, FILE *f, const char *name, struct error *e)
{
    char *text = NULL;
    size_t room = 0;
    int rc = 0;
    for (unsigned number = 1; !rc && getline(&text, &room, f) >= 0; number++) {
        json_error_t why;
        json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &why);
        rc = line ? add_line(s, line) : -EPROTO;
        if (rc)
            error_set(e, rc, "%s:%u: %s", name, number,
                      rc == -ENOMEM ? "out of memory"
                      : line        ? "neither a sample nor about the run"
                                    : why.text);
        json_decref(line);
    }
    free(text);
    if (!rc && ferror(f))
        rc = error_errno(e, errno, "read %s", name);
    sort_all(s);
    return rc;
}

/* ---- figures ---- */

double series_median(const struct series *s)
{
    size_t middle = s->n / 2;
    return s->n % 2 ? s->values[middle] : (s->values[middle - 1] + s->values[middle]) / 2;
}

double series_p95(const struct series *s)
{
    return s->values[(s->n * 95 + 99) / 100 - 1];
}

double series_min(const struct series *s)
{
    return s->values[0];
}

double series_max(const struct series *s)
{
    return s->values[s->n - 1];
}

bool samples_slope(const struct samples *s, const struct series_key *key, double *slope)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct series *at = &s->series[i];
        if (!key_like(&at->key, key) || at->key.delta <= 0)
            continue;
        double pages = at->key.delta, ms = series_median(at);
        n += 1;
        x += pages;
        y += ms;
        xx += pages * pages;
        xy += pages * ms;
    }
    double spread = n * xx - x * x;
    if (spread <= 0)
        return false;
    *slope = (n * xy - x * y) / spread;
    return true;
}
