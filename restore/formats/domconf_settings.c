/*
 * Settings: what a configuration may leave out, because xl and Xen have a default for it. They came
 * into our own form one by one, and an image that was made before has none of them. So each one is
 * written only if it is not at its default, and reading takes it out of the object before the
 * strict part sees the rest.
 *
 *   hard_affinity, soft_affinity   array of texts like "0-3,7", one for each of the first vCPUs
 *   node_affinity                  such a text
 *   cpupool                        name; or cpupool_id, a number
 *   weight, cap                    the scheduler's
 *   time_offset_s, localtime
 *   max_grant_version              1 or 2
 *   timer_mode                     0 to 3 as in libxl_timer_mode
 *   vpmu, msr_relaxed
 *   video_mem_kib, slack_mem_kib
 */
#include "restore/formats/domconf_private.h"

#include "base/array.h"
#include "base/text.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* As libxl's sched_credit2_domain_set and sched_credit_domain_set have them. */
#define WEIGHT_MAX 65535
#define CAP_PER_VCPU 100u

enum kind { UNSIGNED, SIGNED, KIB, BOOL };

static const struct setting {
    const char *key;
    size_t offset;
    enum kind kind;
    int64_t absent, min, max;
} settings[] = {
#define MEMBER(m) #m, offsetof(struct domconf, m)
    {MEMBER(cpupool_id), UNSIGNED, 0, 0, UINT32_MAX},
    {MEMBER(weight), UNSIGNED, 0, 0, WEIGHT_MAX},
    {MEMBER(cap), UNSIGNED, 0, 0, (int64_t)CAP_PER_VCPU *DOMCONF_VCPUS_MAX},
    {MEMBER(time_offset_s), SIGNED, 0, INT32_MIN, INT32_MAX},
    {MEMBER(localtime), BOOL, 0, 0, 1},
    {MEMBER(max_grant_version), UNSIGNED, 0, 0, 2},
    {MEMBER(timer_mode), UNSIGNED, DOMCONF_TIMER_MODE, 0, 3},
    {MEMBER(vpmu), BOOL, 0, 0, 1},
    {MEMBER(msr_relaxed), BOOL, 0, 0, 1},
    {MEMBER(video_mem_kib), KIB, 0, 0, (int64_t)DOMCONF_MEM_KIB_MAX},
    {MEMBER(slack_mem_kib), KIB, 0, 0, (int64_t)DOMCONF_MEM_KIB_MAX},
#undef MEMBER
};

static int64_t setting_get(const struct setting *s, const struct domconf *c)
{
    const char *at = (const char *)c + s->offset;
    switch (s->kind) {
    case UNSIGNED:
        return *(const unsigned *)(const void *)at;
    case SIGNED:
        return *(const int *)(const void *)at;
    case KIB:
        return (int64_t) * (const uint64_t *)(const void *)at;
    case BOOL:
        break;
    }
    return *(const bool *)at;
}

static void setting_put(const struct setting *s, struct domconf *c, int64_t value)
{
    char *at = (char *)c + s->offset;
    switch (s->kind) {
    case UNSIGNED:
        *(unsigned *)(void *)at = (unsigned)value;
        break;
    case SIGNED:
        *(int *)(void *)at = (int)value;
        break;
    case KIB:
        *(uint64_t *)(void *)at = (uint64_t)value;
        break;
    case BOOL:
        *(bool *)at = value != 0;
        break;
    }
}

void settings_dispose(struct domconf *c)
{
    cpu_sets_dispose(&c->hard_affinity);
    cpu_sets_dispose(&c->soft_affinity);
    cpu_set_dispose(&c->node_affinity);
}

/* ---- writing ---- */

static json_t *set_to_json(const struct cpu_set *s)
{
    char *text = cpu_set_format(s);
    json_t *v = text ? json_string(text) : NULL;
    free(text);
    return v;
}

static int sets_to_json(const struct cpu_sets *s, const char *key, json_t *o)
{
    if (!s->n)
        return 0;
    json_t *array = json_array();
    for (unsigned i = 0; i < s->n; i++)
        if (json_array_append_new(array, set_to_json(&s->sets[i]))) {
            json_decref(array);
            return -ENOMEM;
        }
    return json_object_set_new(o, key, array) ? -ENOMEM : 0;
}

int settings_to_json(const struct domconf *c, json_t *o)
{
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        int64_t value = setting_get(&settings[i], c);
        if (value != settings[i].absent &&
            json_object_set_new(o, settings[i].key,
                                settings[i].kind == BOOL ? json_true() : json_integer(value)))
            return -ENOMEM;
    }
    if ((c->cpupool[0] && json_object_set_new(o, "cpupool", json_string(c->cpupool))) ||
        (!cpu_set_is_empty(&c->node_affinity) &&
         json_object_set_new(o, "node_affinity", set_to_json(&c->node_affinity))) ||
        sets_to_json(&c->hard_affinity, "hard_affinity", o))
        return -ENOMEM;
    return sets_to_json(&c->soft_affinity, "soft_affinity", o);
}

/* ---- reading ---- */

static int malformed(struct error *e, const char *key)
{
    return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s: malformed or out of range", key);
}

/* The value under key, which is no longer in o, or NULL: the caller's. */
static json_t *take(json_t *o, const char *key)
{
    json_t *v = json_incref(json_object_get(o, key));
    if (v)
        json_object_del(o, key);
    return v;
}

static int setting_from_json(const struct setting *s, const json_t *v, struct domconf *c,
                             struct error *e)
{
    json_int_t value = s->kind == BOOL ? json_is_true(v) : json_integer_value(v);
    if ((s->kind == BOOL ? !json_is_boolean(v) : !json_is_integer(v)) || value < s->min ||
        value > s->max)
        return malformed(e, s->key);
    setting_put(s, c, value);
    return 0;
}

static int set_from_json(const json_t *v, const char *key, struct cpu_set *s, struct error *e)
{
    return json_is_string(v) ? cpu_set_parse(json_string_value(v), s, e) : malformed(e, key);
}

static int sets_from_json(const json_t *v, const char *key, struct cpu_sets *s, struct error *e)
{
    size_t n = json_array_size(v);
    if (!n || n > DOMCONF_VCPUS_MAX)
        return malformed(e, key);
    s->sets = calloc(n, sizeof *s->sets);
    if (!s->sets)
        return error_set(e, -ENOMEM, "out of memory for a configuration");
    int rc = 0;
    for (s->n = 0; s->n < n && !rc; s->n++)
        rc = set_from_json(json_array_get(v, s->n), key, &s->sets[s->n], e);
    return rc;
}

static int pool_from_json(const json_t *v, struct domconf *c, struct error *e)
{
    const char *name = json_string_value(v);
    return name && *name && format_fits(c->cpupool, sizeof c->cpupool, "%s", name)
               ? 0
               : malformed(e, "cpupool");
}

static int texts_from_json(const char *key, const json_t *v, struct domconf *c, struct error *e)
{
    if (!strcmp(key, "cpupool"))
        return pool_from_json(v, c, e);
    if (!strcmp(key, "node_affinity"))
        return set_from_json(v, key, &c->node_affinity, e);
    return sets_from_json(v, key, key[0] == 'h' ? &c->hard_affinity : &c->soft_affinity, e);
}

int settings_from_json(json_t *o, struct domconf *c, struct error *e)
{
    static const char *const texts[] = {"cpupool", "node_affinity", "hard_affinity",
                                        "soft_affinity"};
    int rc = 0;
    json_t *v;
    for (size_t i = 0; i < ARRAY_SIZE(settings) && !rc; i++)
        if ((v = take(o, settings[i].key))) {
            rc = setting_from_json(&settings[i], v, c, e);
            json_decref(v);
        }
    for (size_t i = 0; i < ARRAY_SIZE(texts) && !rc; i++)
        if ((v = take(o, texts[i]))) {
            rc = texts_from_json(texts[i], v, c, e);
            json_decref(v);
        }
    return rc;
}

/* ---- both forms ---- */

static int affinity_check(const struct domconf *c, const struct cpu_sets *s, const char *key,
                          struct error *e)
{
    if (s->n > c->max_vcpus)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: %s: it is for %u vCPUs, and there are only %u", key, s->n,
                         c->max_vcpus);
    for (unsigned v = 0; s == &c->hard_affinity && v < s->n; v++)
        if (cpu_set_is_empty(&s->sets[v]))
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "configuration: %s: vCPU %u may run on no processor", key, v);
    return 0;
}

int settings_check(const struct domconf *c, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        int64_t value = setting_get(&settings[i], c);
        if (value < settings[i].min || value > settings[i].max)
            return malformed(e, settings[i].key);
    }
    if (c->cap > CAP_PER_VCPU * c->max_vcpus)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "configuration: cap: %u percent are more than %u vCPUs can use", c->cap,
                         c->max_vcpus);
    if (c->video_mem_kib > c->target_mem_kib)
        return malformed(e, "video_mem_kib");
    int rc = affinity_check(c, &c->hard_affinity, "hard_affinity", e);
    return rc ? rc : affinity_check(c, &c->soft_affinity, "soft_affinity", e);
}

const char *domconf_settings_differ(const struct domconf *a, const struct domconf *b)
{
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        if (setting_get(&settings[i], a) != setting_get(&settings[i], b))
            return settings[i].key;
    if (strcmp(a->cpupool, b->cpupool) != 0)
        return "cpupool";
    if (!cpu_set_equal(&a->node_affinity, &b->node_affinity))
        return "node_affinity";
    if (!cpu_sets_equal(&a->hard_affinity, &b->hard_affinity))
        return "hard_affinity";
    return cpu_sets_equal(&a->soft_affinity, &b->soft_affinity) ? NULL : "soft_affinity";
}
