/*
 * The keys of the configuration. Only the table in the header is used, so what is printed here is
 * what the daemon parses.
 */
#include "docs/document/document.h"

#include "base/array.h"
#include "base/units.h"
#include "pool/service/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct key_info keys[] = {
#define KEY_ROW(sym, scope, name, type, fallback, min, max, live, description)                     \
    {SCOPE_##scope, name, KEY_TYPE_##type, fallback, min, max, live, description},
    CONFIG_KEYS(KEY_ROW)
#undef KEY_ROW
};

static const struct {
    const char *placeholder;
    bool bounded; /* by values that are worth saying */
} types[] = {
    [KEY_TYPE_TEXT] = {"text", false},    [KEY_TYPE_PATH] = {"path", false},
    [KEY_TYPE_NUMBER] = {"number", true}, [KEY_TYPE_DURATION] = {"duration", true},
    [KEY_TYPE_SIZE] = {"size", true},     [KEY_TYPE_MODE] = {"mode", true},
    [KEY_TYPE_DIRS] = {"paths", false},   [KEY_TYPE_PREFIX] = {"prefix", false},
    [KEY_TYPE_LEVEL] = {"level", false},  [KEY_TYPE_ENGINE] = {"engine", false},
    [KEY_TYPE_FILE] = {"path", false},    [KEY_TYPE_SWITCH] = {"on|off", false},
    [KEY_TYPE_MAC] = {"rule", false},
};

static void format_bound(const struct key_info *k, uint64_t bound, char *buf, size_t size)
{
    if (k->type == KEY_TYPE_DURATION)
        duration_format_ms(bound, buf, size);
    else if (k->type == KEY_TYPE_SIZE)
        size_format_bytes(bound, buf, size);
    else
        snprintf(buf, size, k->type == KEY_TYPE_MODE ? "%04" PRIo64 : "%" PRIu64, bound);
}

/* "RUN_DIR/x" stands for the value of run_dir. */
static bool default_refers(const struct key_info *k)
{
    return !strncmp(k->fallback, "RUN_DIR/", 8);
}

static void man_default(const struct key_info *k)
{
    if (default_refers(k))
        printf("The default is\n.Pa %s\n"
               "in\n.Cm run_dir .\n",
               k->fallback + 8);
    else if (!*k->fallback)
        printf("Empty by default.\n");
    else if (k->type == KEY_TYPE_PATH)
        printf("The default is\n.Pa %s .\n", k->fallback);
    else
        printf("The default is %s.\n", k->fallback);
}

static void man_key(const struct key_info *k)
{
    char low[32], high[32];
    format_bound(k, k->min, low, sizeof low);
    format_bound(k, k->max, high, sizeof high);
    printf(".It Cm %s No = Ar %s\n", k->name, types[k->type].placeholder);
    printf("%c%s.\n", k->description[0] & ~0x20, k->description + 1);
    man_default(k);
    if (types[k->type].bounded && k->type == KEY_TYPE_SIZE && k->max == INT64_MAX)
        ; /* as good as unbounded */
    else if (types[k->type].bounded)
        printf("The range is %s to %s.\n", low, high);
    if (!k->live)
        printf("A change needs a restart.\n");
}

static void man_section(enum key_scope scope)
{
    printf(".Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (keys[i].scope == scope)
            man_key(&keys[i]);
    printf(".El\n");
}

void table_daemon_keys(void)
{
    man_section(SCOPE_DAEMON);
}

void table_pool_keys(void)
{
    man_section(SCOPE_POOL);
}

static void sample_section(enum key_scope scope)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (keys[i].scope != scope)
            continue;
        printf("\n# %s%s\n", keys[i].description, keys[i].live ? "" : " (needs a restart)");
        printf("#%s =%s%s\n", keys[i].name, *keys[i].fallback ? " " : "",
               default_refers(&keys[i]) ? "/run/dompool/io.dompool" : keys[i].fallback);
    }
}

void table_daemon_sample(void)
{
    sample_section(SCOPE_DAEMON);
}

void table_pool_sample(void)
{
    sample_section(SCOPE_POOL);
}
