/* The choice of an engine: see engine.h. */
#include "restore/engine/engine.h"

#include "base/array.h"
#include "base/log.h"

#include <string.h>

/* The order in which "auto" asks them. */
static const struct engine *const engines[] = {&engine_direct, &engine_guest};

static int choose_first(const struct image *base, const struct engine **out, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        *out = engines[i];
        rc = engines[i]->accepts(base, e);
        if (!rc)
            return 0;
        log_info("engine %s is not used: %s", engines[i]->name, e->text);
    }
    return rc;
}

int engine_choose(const char *name, const struct image *base, const struct engine **out,
                  struct error *e)
{
    if (!strcmp(name, "auto"))
        return choose_first(base, out, e);
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
        if (!strcmp(name, engines[i]->name)) {
            *out = engines[i];
            return engines[i]->accepts(base, e);
        }
    return error_set(e, ANSWER_BAD_VALUE, "no engine is called %s", name);
}
