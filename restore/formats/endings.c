/* What is to become of a domain when its guest has ended: see endings.h. */
#include "restore/formats/endings.h"

#include "base/array.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const reasons[] = {
    [ENDING_POWEROFF] = "poweroff", [ENDING_REBOOT] = "reboot",         [ENDING_CRASH] = "crash",
    [ENDING_WATCHDOG] = "watchdog", [ENDING_SOFT_RESET] = "soft-reset",
};

static const char *const actions[] = {
    [ENDING_DESTROY] = "destroy",
    [ENDING_RESTART] = "restart",
    [ENDING_RENAME_RESTART] = "rename-restart",
    [ENDING_PRESERVE] = "preserve",
    [ENDING_COREDUMP_DESTROY] = "coredump-destroy",
    [ENDING_COREDUMP_RESTART] = "coredump-restart",
    [ENDING_RESET] = "soft-reset",
};

_Static_assert(ARRAY_SIZE(reasons) == ENDING_REASONS, "each has a name");
_Static_assert(ARRAY_SIZE(actions) == ENDING_ACTIONS, "each has a name");

/* libxl writes underscores where xl.cfg has hyphens. */
static bool same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && (*a != '_' || *b != '-'))
            return false;
    return *a == *b;
}

/* n: there is none of that name. */
static size_t word_find(const char *const *words, size_t n, const char *word)
{
    size_t i = 0;
    while (i < n && !same_word(word, words[i]))
        i++;
    return i;
}

static int action_take(const json_t *v, const char *where, const char *key, enum ending_action *out,
                       struct error *e)
{
    const char *word = json_string_value(v);
    size_t i = word ? word_find(actions, ARRAY_SIZE(actions), word) : ARRAY_SIZE(actions);
    if (i == ARRAY_SIZE(actions))
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: %s%s: \"%.40s\" is not known",
                         where, key, word ? word : "no text");
    *out = (enum ending_action)i;
    return 0;
}

int endings_from_xl(const json_t *o, struct endings *out, struct error *e)
{
    static const char *const keys[] = {
        [ENDING_POWEROFF] = "on_poweroff",     [ENDING_REBOOT] = "on_reboot",
        [ENDING_CRASH] = "on_crash",           [ENDING_WATCHDOG] = "on_watchdog",
        [ENDING_SOFT_RESET] = "on_soft_reset",
    };
    *out = (struct endings){{ENDING_DESTROY}};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(keys) && !rc; i++) {
        const json_t *v = json_object_get(o, keys[i]);
        if (v && !json_is_null(v))
            rc = action_take(v, "", keys[i], &out->of[i], e);
    }
    return rc;
}

json_t *endings_to_json(const struct endings *in)
{
    json_t *o = json_object();
    for (size_t i = 0; o && i < ENDING_REASONS; i++)
        if (in->of[i] != ENDING_DESTROY &&
            json_object_set_new(o, reasons[i], json_string(actions[in->of[i]]))) {
            json_decref(o);
            o = NULL;
        }
    return o;
}

int endings_from_json(json_t *o, struct endings *out, struct error *e)
{
    const char *reason;
    json_t *action;
    *out = (struct endings){{ENDING_DESTROY}};
    if (o && !json_is_object(o))
        return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: on_end is no object");
    json_object_foreach (o, reason, action) {
        size_t i = word_find(reasons, ARRAY_SIZE(reasons), reason);
        if (i == ARRAY_SIZE(reasons))
            return error_set(e, ANSWER_IMAGE_REFUSED, "configuration: on_end.%.40s is not known",
                             reason);
        int rc = action_take(action, "on_end.", reason, &out->of[i], e);
        if (rc)
            return rc;
    }
    return 0;
}
