/* States: see points.h. */
#include "tests/bench/points.h"

#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int point_order(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    int order = strcmp(x->guest, y->guest);
    if (!order)
        order = x->vcpus - y->vcpus;
    if (!order)
        order = x->mib - y->mib;
    return order ? order : x->delta - y->delta;
}

static struct point point_of(const struct series_key *key)
{
    struct point p = {.mib = key->mib, .vcpus = key->vcpus, .delta = key->delta};
    memcpy(p.guest, key->guest, sizeof p.guest);
    return p;
}

static bool points_have(const struct points *p, const struct point *wanted)
{
    for (size_t i = 0; i < p->n; i++)
        if (!point_order(&p->at[i], wanted))
            return true;
    return false;
}

int points_of(const struct samples *s, const char *row, struct points *p)
{
    *p = (struct points){.at = calloc(s->n + 1, sizeof *p->at)};
    if (!p->at)
        return -ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        struct point found = point_of(&s->series[i].key);
        if (!strcmp(s->series[i].key.row, row) && !points_have(p, &found))
            p->at[p->n++] = found;
    }
    qsort(p->at, p->n, sizeof *p->at, point_order);
    return 0;
}

void points_dispose(struct points *p)
{
    free(p->at);
    *p = (struct points){0};
}

const struct series *point_series(const struct samples *s, const char *row, const char *who,
                                  const struct point *p, const char *metric)
{
    struct series_key key = {.mib = p->mib, .vcpus = p->vcpus, .delta = p->delta};
    memcpy(key.guest, p->guest, sizeof key.guest);
    format_fits(key.row, sizeof key.row, "%s", row);
    format_fits(key.who, sizeof key.who, "%s", who);
    format_fits(key.metric, sizeof key.metric, "%s", metric);
    return samples_find(s, &key);
}

static void part(char *buf, size_t size, const char *separator, int number, const char *unit)
{
    size_t used = strlen(buf);
    if (number >= 0)
        format_fits(buf + used, size - used, "%s%d %s%s", used ? separator : "", number, unit,
                    number == 1 || unit[0] == 'M' ? "" : "s");
}

void point_format(const struct point *p, char *buf, size_t size)
{
    format_fits(buf, size, "%s", p->guest);
    for (char *c = buf; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    part(buf, size, " ", p->mib, "MB");
    part(buf, size, ", ", p->vcpus, "vCPU");
    part(buf, size, ", ", p->delta, "page");
}
