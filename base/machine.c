/* State machines: see machine.h. */
#include "base/machine.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *machine_name(const struct machine *m, unsigned state)
{
    return state < m->n ? m->names[state] : "?";
}

unsigned machine_find(const struct machine *m, const char *name)
{
    unsigned state = 0;
    while (state < m->n && strcmp(m->names[state], name) != 0)
        state++;
    return state;
}

bool machine_allows(const struct machine *m, unsigned from, unsigned to)
{
    return from < m->n && to < m->n && m->successors[from] >> to & 1;
}

unsigned machine_step(const struct machine *m, unsigned from, unsigned to, uint64_t id)
{
    if (machine_allows(m, from, to))
        return to;
    log_error("%s %" PRIu64 ": illegal move %s -> %s", m->what, id, machine_name(m, from),
              machine_name(m, to));
    abort();
}
